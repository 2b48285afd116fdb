use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde_json::{Map, Value, json};

use super::CliError;

/// No column is made wider, in characters; what is longer pushes aside what stands behind it. With one long text among many rows
/// each row would be as long, and beyond 65,535 characters nothing can be padded at all.
const WIDEST: usize = 200;

/// Shows answers: as tables for people, or as the JSON they are.
#[derive(Debug)]
pub(super) struct Printer {
    pub(super) json: bool,
}

impl Printer {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Shows `answer`; of a table only `columns`, if it has any of them, and of anything else those first.
    pub(super) fn show(&self, answer: &Value, columns: &[&str]) -> Result<(), CliError> {
        let text = if self.json { format!("{answer:#}\n") } else { render(answer, columns) };
        write(&text)
    }
}

/// Writes `text` to standard output.
pub(super) fn write(text: &str) -> Result<(), CliError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader has seen enough, such as `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(CliError::Failed(format!("standard output can't be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// `text` without anything that could move a terminal's cursor or begin a line.
pub(super) fn plain(text: &str) -> String {
    let harmless = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}

fn render(answer: &Value, columns: &[&str]) -> String {
    match answer {
        Value::Array(rows) => table(rows, columns),
        Value::Object(members) if members.is_empty() => "done\n".to_owned(),
        Value::Object(members) if members.len() == 1 && members.values().all(|value| *value == json!([])) => {
            table(&[], columns)
        }
        Value::Object(members) => object(members, columns),
        other => format!("{}\n", cell(other)),
    }
}

/// Members one a line, `columns` first; those that are tables below, under their names unless there is nothing else.
fn object(members: &Map<String, Value>, columns: &[&str]) -> String {
    let (tables, mut plain_members): (Vec<_>, Vec<_>) =
        members.iter().partition(|(_, value)| rows_of(value).is_some());
    let place = |name: &str| columns.iter().position(|column| *column == name).unwrap_or(columns.len());
    plain_members.sort_by_key(|(name, _)| place(name));
    let width = plain_members.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(WIDEST);
    let mut out = String::new();
    for (name, value) in &plain_members {
        out.push_str(format!("{:width$}  {}", plain(name), cell(value)).trim_end());
        out.push('\n');
    }
    for (name, value) in &tables {
        if members.len() > 1 {
            writeln!(out, "\n{}:", plain(name)).ok();
        }
        out.push_str(&table(rows_of(value).unwrap_or_default(), columns));
    }
    out.trim_start_matches('\n').to_owned()
}

/// An array of objects.
fn rows_of(value: &Value) -> Option<&[Value]> {
    let rows = value.as_array()?;
    (!rows.is_empty() && rows.iter().all(Value::is_object)).then_some(rows)
}

/// A row a line. Cells that are tables themselves stand below, under the name of their row.
fn table(rows: &[Value], preferred: &[&str]) -> String {
    if rows.is_empty() {
        return "none\n".to_owned();
    }
    let has = |column: &str| rows.iter().any(|row| row.get(column).is_some());
    let mut columns: Vec<&str> = preferred.iter().copied().filter(|column| has(column)).collect();
    if columns.is_empty() {
        for name in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
            if !columns.contains(&name.as_str()) {
                columns.push(name);
            }
        }
    }
    let is_nested = |column: &&str| rows.iter().any(|row| rows_of(&row[*column]).is_some());
    let (nested, columns): (Vec<&str>, Vec<&str>) = columns.into_iter().partition(is_nested);
    let header = columns.iter().map(|column| plain(column)).collect();
    let body = rows.iter().map(|row| columns.iter().map(|column| cell(&row[*column])).collect());
    let mut out = aligned(&std::iter::once(header).chain(body).collect::<Vec<Vec<String>>>());
    for row in rows {
        let name = columns.first().map(|column| cell(&row[*column])).unwrap_or_default();
        for column in &nested {
            if let Some(inner) = rows_of(&row[*column]) {
                writeln!(out, "\n{name} {}:", plain(column)).ok();
                out.push_str(&table(inner, &[]));
            }
        }
    }
    out
}

/// Lines of cells, each column as wide as its widest cell, within bounds.
pub(super) fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).min(WIDEST)
    };
    let mut out = String::new();
    for line in lines {
        let cells: Vec<String> =
            line.iter().enumerate().map(|(column, cell)| format!("{cell:0$}", width(column))).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => plain(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, SeededEntropy};

    #[test]
    fn a_lone_table_shows_the_columns_that_people_want() {
        let answer = json!({"keys": [
            {"kid": "abc", "phase": "signing", "public": {"x": 1}},
            {"kid": "d", "phase": "published", "public": {}},
        ]});
        assert_eq!(
            render(&answer, &["phase", "kid", "absent"]),
            "phase      kid\nsigning    abc\npublished  d\n"
        );
    }

    #[test]
    fn an_object_is_a_member_a_line_and_its_tables_below() {
        let answer = json!({"empty": [], "id": "a", "none": null, "rows": [{"n": 1}], "tags": ["x", "y"]});
        assert_eq!(render(&answer, &[]), "empty  -\nid     a\nnone   -\ntags   x, y\n\nrows:\nn\n1\n");
        assert_eq!(
            render(&answer, &["tags", "none"]),
            "tags   x, y\nnone   -\nempty  -\nid     a\n\nrows:\nn\n1\n"
        );
        assert_eq!(render(&json!({"keys": []}), &[]), "none\n");
        assert_eq!(render(&json!({}), &[]), "done\n");
        assert_eq!(render(&json!([]), &[]), "none\n");
    }

    #[test]
    fn what_breaks_is_told_in_words_below_what_is_rotated() {
        let answer = json!({"rotations": [
            {"algorithm": "ES256", "kid": "a", "breaks": [{"until": "2027-01-15T08:00:00Z", "what": "some refuse it"}]},
            {"algorithm": "RS256", "kid": "b", "breaks": []},
        ]});
        let out = render(&answer, &["algorithm", "kid", "breaks"]);
        assert_eq!(
            out,
            "algorithm  kid\nES256      a\nRS256      b\n\nES256 breaks:\nuntil                 what\n\
             2027-01-15T08:00:00Z  some refuse it\n"
        );
        let calm = json!({"rotations": [{"algorithm": "ES256", "kid": "a", "breaks": []}]});
        assert_eq!(
            render(&calm, &["algorithm", "kid", "breaks"]),
            "algorithm  kid  breaks\nES256      a    -\n"
        );
    }

    /// What stands in texts and names, of which anything may come from elsewhere.
    const WORDS: [&str; 10] =
        ["", "kid", "a b", "\n", "\u{1b}[2J", "\u{9b}", "\u{202e}", "\u{2028}", "\u{1f511}", "{0}"];

    fn word(draw: &mut dyn FnMut() -> usize) -> String {
        WORDS[draw() % WORDS.len()].repeat(1 + draw() % 3)
    }

    /// Any answer, as the numbers `draw` gives have it.
    fn any(draw: &mut dyn FnMut() -> usize, depth: usize) -> Value {
        match draw() % if depth == 0 { 5 } else { 9 } {
            0 => Value::Null,
            1 => json!(draw().is_multiple_of(2)),
            2 => json!(draw()),
            3 | 4 => json!(word(draw)),
            5 | 6 => (0..draw() % 4).map(|_| any(draw, depth - 1)).collect(),
            _ => Value::Object((0..draw() % 4).map(|_| (word(draw), any(draw, depth - 1))).collect()),
        }
    }

    #[test]
    fn whatever_is_answered_is_shown_in_lines_of_plain_text() {
        let entropy: &dyn Entropy = &SeededEntropy::new(1);
        let mut draw = || usize::from(entropy.bytes::<1>()[0]);
        for _ in 0..5000 {
            let answer = any(&mut draw, 4);
            for columns in [&[][..], &["kid", ""]] {
                let out = render(&answer, columns);
                assert_eq!(plain(&out.replace('\n', " ")), out.replace('\n', " "), "{answer}");
            }
        }
    }

    #[test]
    fn a_long_text_makes_neither_every_line_long_nor_the_answer_unreadable() {
        let long = "x".repeat(70_000);
        for answer in [
            json!({ (long.clone()): 1, "b": 2 }),
            json!([{ "a": long, "b": 2 }]),
            json!([{ (long.clone()): 1 }]),
        ] {
            assert!(render(&answer, &[]).contains(&long));
        }
        let rows: Vec<Value> =
            (0..1000).map(|_| json!({ "a": 1, "b": 2 })).chain([json!({ "a": long })]).collect();
        assert!(render(&json!(rows), &[]).len() < 400_000);
    }

    #[test]
    fn nothing_in_an_answer_reaches_the_terminal_as_a_command() {
        let out = render(&json!([{"name": "a\u{1b}[2J\nb\u{202e}\u{9b}"}]), &[]);
        assert_eq!(out.lines().count(), 2);
        assert!(!out.contains(['\u{1b}', '\u{202e}', '\u{9b}']));
    }
}
