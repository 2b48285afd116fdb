//! Rules of `CONTRIBUTING.md` that reading does not catch: each reads the sources as text, and each is
//! tried on a bad sample, so that none can pass for nothing.

#![expect(clippy::unwrap_used, reason = "a test that panics says where")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What each room may import, besides itself and [`GROUND`].
const ROOMS: [(&str, &[&str]); 21] = [
    (
        "app",
        &[
            "http",
            "protocol",
            "backup",
            "tokens",
            "keys",
            "clients",
            "users",
            "limits",
            "audit",
            "outgoing",
            "store",
            "verify",
            "config",
            "telemetry",
        ],
    ),
    ("cli", &["app", "config", "audit", "backup", "protocol", "telemetry"]),
    ("http", &["protocol", "telemetry", "config"]),
    ("protocol", &["backup", "tokens", "keys", "clients", "users", "limits", "audit", "outgoing", "verify"]),
    ("backup", &["tokens", "keys", "clients", "users", "store"]),
    ("tokens", &["keys", "store", "verify"]),
    ("clients", &["outgoing", "store", "config"]),
    ("users", &["keys", "limits", "store", "config"]),
    ("limits", &["config"]),
    ("keys", &["store", "config"]),
    ("audit", &[]),
    ("outgoing", &["verify", "config"]),
    ("store", &[]),
    ("telemetry", &["config"]),
    ("config", &[]),
    ("verify", &[]),
    ("oauth", &[]),
    ("entropy", &[]),
    ("clock", &[]),
    ("priority", &[]),
    ("stall", &[]),
];

/// What a room may import beyond [`ROOMS`], and why.
const EXCEPTIONS: [(&str, &str, &str); 16] = [
    ("http", "clients", "what a page shows of a client"),
    ("http", "keys", "what the console shows of the keys"),
    ("http", "users", "what a page shows of a person"),
    ("http", "tokens", "the types that the protocol answers with"),
    ("http", "audit", "who administers, the refusal of the one who does not, and which request is answered"),
    ("telemetry", "audit", "which request a line of the log is about"),
    ("http", "limits", "who a request counts for, and the headers that say how a limit stands"),
    (
        "protocol",
        "store",
        "its error becomes an OAuth error, health probes it, and a sign-in is one commit of several rooms",
    ),
    ("protocol", "telemetry", "what is counted is handed over here"),
    ("keys", "verify", "the published keys, in the form that verifies tokens"),
    ("keys", "audit", "which request a key was changed for, until that is recorded"),
    ("cli", "http", "serving binds the listeners, and their certificate is looked at as they do"),
    ("cli", "store", "serving picks the backend"),
    ("cli", "clients", "the first start shows the first clients"),
    ("cli", "outgoing", "the file of certificates that the settings name is looked at with them"),
    ("cli", "keys", "rekey works on the sealed files, and the settings are held against the key policy"),
];

/// The rooms under all others, the lowest last.
const GROUND: [&str; 5] = ["oauth", "entropy", "stall", "clock", "priority"];

/// The rooms that a resource server builds, without the feature `server`.
const LIBRARY: [&str; 4] = ["clock", "entropy", "oauth", "verify"];

/// The longest a file may be, in lines, without its tests.
const LONGEST: usize = 400;

fn may_import(room: &str, other: &str) -> bool {
    let at = |name: &str| GROUND.iter().position(|each| *each == name);
    let listed = ROOMS.iter().any(|(each, below)| *each == room && below.contains(&other));
    let excepted = EXCEPTIONS.iter().any(|(each, below, _)| *each == room && *below == other);
    let ground = at(other).is_some_and(|other| at(room).is_none_or(|room| room < other));
    room == other || listed || excepted || ground
}

/// A source file: its path below `src`, with `/`, and its text.
pub(crate) struct Source {
    pub(crate) path: String,
    text: String,
}

impl Source {
    pub(crate) fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// The names of the modules that lead to this file.
    fn depth(&self) -> usize {
        self.path.trim_end_matches("/mod.rs").trim_end_matches(".rs").split('/').count()
    }

    /// The code without line comments and without modules for tests.
    pub(crate) fn code(&self) -> String {
        let code = without_tests(&self.text);
        code.lines().map(|line| without_comment(line).to_owned() + "\n").collect()
    }

    fn upward_imports(&self) -> Vec<String> {
        let room = self.room();
        let refuse = |other: String| {
            let below =
                ROOMS.iter().find(|(each, _)| *each == room).map_or(&[] as &[&str], |(_, below)| below);
            let advice = match below.iter().find(|each| may_import(each, &other)) {
                Some(between) => format!("ask {between}"),
                None => "take what is needed as an argument".to_owned(),
            };
            format!("src/{} imports {other}: {room} may not import {other}; {advice}", self.path)
        };
        self.imported_rooms().into_iter().filter(|other| !may_import(room, other)).map(refuse).collect()
    }

    /// The rooms that paths through `crate` or through enough `super`s lead to.
    fn imported_rooms(&self) -> BTreeSet<String> {
        let code = self.code();
        let up = "super::".repeat(self.depth());
        let mut rooms = after(&code, "crate::");
        rooms.extend(after(&code, &up).into_iter().filter(|name| ROOMS.iter().any(|(room, _)| room == name)));
        rooms
    }
}

/// The line up to its comment; two slashes behind a colon are those of a URL.
fn without_comment(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// The first names behind each `start` that begins a path, those in braces included.
fn after(code: &str, start: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(start) {
        let inside = code[..at].ends_with(|c: char| is_name(c) || c == ':');
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            _ if inside => {}
            Some(group) => names.extend(heads(group)),
            None => names.extend(head(rest)),
        }
    }
    names
}

/// The first name of every member of a group whose opening brace was read.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut members) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                members.extend(head(group[start..at].trim()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    members
}

fn head(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| is_name(*c)).collect();
    (!name.is_empty()).then_some(name)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The text without `#[cfg(test)]` modules and their bodies.
fn without_tests(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = String::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at] == "#[cfg(test)]" {
            let module = lines[at..].iter().position(|line| line.contains("mod ")).unwrap_or(0);
            let inline = lines.get(at + module).is_some_and(|line| line.ends_with('{'));
            let end = lines[at..].iter().position(|line| *line == "}").unwrap_or(lines.len());
            at += if inline { end } else { module } + 1;
        } else {
            kept.push_str(lines[at]);
            kept.push('\n');
            at += 1;
        }
    }
    kept
}

/// The paths of the files that are modules for tests, as their parents declare them.
fn test_modules(sources: &[Source]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for source in sources {
        let directory = match source.path.strip_suffix("/mod.rs") {
            Some(directory) => directory,
            None => source.path.trim_end_matches(".rs"),
        };
        let lines: Vec<&str> = source.text.lines().collect();
        for pair in lines.windows(2) {
            if let ["#[cfg(test)]", declaration] = pair
                && let Some(name) = declaration.strip_suffix(';').and_then(|line| line.split("mod ").nth(1))
            {
                paths.insert(format!("{directory}/{name}.rs"));
            }
        }
    }
    paths
}

/// The crates that only the server needs: the optional ones of `Cargo.toml`.
fn server_crates(manifest: &str) -> BTreeSet<String> {
    let optional = manifest.lines().filter(|line| line.contains("optional = true"));
    optional.filter_map(|line| line.split(" = ").next()).map(|name| name.replace('-', "_")).collect()
}

fn server_crates_named(source: &Source, server: &BTreeSet<String>, extractor: bool) -> Vec<String> {
    let code = source.code();
    let named = server.iter().filter(|name| {
        code.match_indices(name.as_str()).any(|(at, _)| {
            let before = &code[..at];
            let rest = &code[at + name.len()..];
            let inner =
                before.strip_suffix("::").is_some_and(|path| path.ends_with(|c| is_name(c) || c == '>'));
            let whole = !inner && !before.ends_with(|c| is_name(c) || c == '.');
            whole && (rest.starts_with("::") || (before.ends_with("use ") && rest.starts_with([';', ' '])))
        })
    });
    named
        .filter(|name| !(extractor && *name == "actix_web"))
        .map(|name| format!("src/{} names {name}: the library half must build without it", source.path))
        .collect()
}

/// Whether a file of the library half is behind the feature `actix`, as its parent says.
fn is_extractor(source: &Source, sources: &[Source]) -> bool {
    let Some((directory, file)) = source.path.rsplit_once('/') else { return false };
    let declaration = format!("mod {};", file.trim_end_matches(".rs"));
    let parent = sources.iter().find(|each| each.path == format!("{directory}/mod.rs"));
    parent.is_some_and(|parent| {
        let lines: Vec<&str> = parent.text.lines().collect();
        lines
            .windows(2)
            .any(|pair| pair[0] == r#"#[cfg(feature = "actix")]"# && pair[1].ends_with(&declaration))
    })
}

/// What must not be left in a source.
fn leftovers(text: &str) -> Vec<&'static str> {
    const LEFTOVERS: [&str; 5] = [
        concat!("#[ign", "ore]"),
        concat!("to", "do!"),
        concat!("unimpl", "emented!"),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
    ];
    LEFTOVERS.into_iter().filter(|each| text.contains(each)).collect()
}

/// How many times `text` has raised the version of a table's records.
fn raised(text: &str) -> u32 {
    let schema =
        |after: &str| after.trim_start().split(',').next().and_then(|text| text.trim().parse::<u32>().ok());
    let raised = text.split(".upgraded(").skip(1);
    raised.map(|after| schema(after).expect("a number: this test reads it") - 1).sum()
}

fn sources(below: &str) -> Vec<Source> {
    fn read(directory: &Path, root: &Path, sources: &mut Vec<Source>) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                read(&entry, root, sources);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let path = entry.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                sources.push(Source { path, text: fs::read_to_string(&entry).unwrap() });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(below);
    let mut sources = Vec::new();
    read(&root, &root, &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// The files of the rooms, without those that are for tests.
pub(crate) fn rooms() -> Vec<Source> {
    let sources = sources("src");
    let tests = test_modules(&sources);
    let sources: Vec<Source> = sources.into_iter().filter(|source| !tests.contains(&source.path)).collect();
    assert!(sources.len() > 20);
    sources
}

fn sample(path: &str, text: &str) -> Source {
    Source { path: path.into(), text: text.into() }
}

#[test]
fn every_file_belongs_to_a_room() {
    for source in rooms() {
        let known = ROOMS.iter().any(|(room, _)| *room == source.room());
        assert!(known || ["lib", "main"].contains(&source.room()), "src/{} is in no room", source.path);
    }
}

#[test]
fn imports_go_down_only() {
    let inner = rooms();
    let inner = inner.iter().filter(|source| !["lib", "main"].contains(&source.room()));
    let upward: Vec<String> = inner.flat_map(Source::upward_imports).collect();
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn the_rooms_are_in_order() {
    let at = |name: &str| ROOMS.iter().position(|(room, _)| *room == name).unwrap();
    for (room, below) in ROOMS {
        for other in below.iter().filter(|_| room != "cli") {
            assert!(at(room) < at(other), "{room} stands above {other}, which it imports");
        }
    }
}

#[test]
fn an_upward_import_is_seen_however_it_is_written() {
    let refused = "src/http/token.rs imports store: http may not import store; ask protocol";
    for text in [
        "use crate::store::Store;",
        "use crate::{oauth::Scope, store::{Store, Row}};",
        "fn f(store: &dyn crate::store::Store) {}",
        "use super::super::store::Store;",
        "pub use crate::store as s;",
        "let uri = (\"http://a\", crate::store::open());",
        "macro_rules! m { () => { $crate::store::open() } }",
    ] {
        assert_eq!(sample("http/token.rs", text).upward_imports(), [refused], "{text}");
    }
    let upward = sample("store/mod.rs", "use super::protocol::ProtocolError;").upward_imports();
    assert_eq!(upward.len(), 1);
    assert!(upward[0].ends_with("take what is needed as an argument"), "{upward:?}");
    assert_eq!(sample("clock.rs", "use crate::oauth::Scope;").upward_imports().len(), 1);
}

#[test]
fn a_downward_import_is_let_through() {
    for text in [
        "use crate::oauth::Scope;",
        "use crate::http::State;",
        "/// [`crate::store::Store`]",
        "use super::state::State;",
        "#[cfg(test)]\nmod tests {\n    use crate::store::MemoryStore;\n}",
    ] {
        assert_eq!(sample("http/token.rs", text).upward_imports(), [] as [&str; 0], "{text}");
    }
}

#[test]
fn no_file_is_too_long_without_its_tests() {
    for source in rooms() {
        let lines = without_tests(&source.text).lines().count();
        assert!(lines <= LONGEST, "src/{} has {lines} lines without its tests, of {LONGEST}", source.path);
    }
}

#[test]
fn only_test_modules_are_left_out_of_the_count() {
    let code = "fn f() {\n}\n".repeat(10);
    let tests = "#[cfg(test)]\nmod tests {\n    fn f() {\n    }\n}\n";
    assert_eq!(without_tests(&format!("{code}{tests}{code}")).lines().count(), 40);
    assert_eq!(without_tests("#[cfg(test)]\nmod tests;\nmod token;\n"), "mod token;\n");
    let parent = sample("keys/mod.rs", "#[cfg(test)]\nmod simulation;\nmod ring;\n");
    assert_eq!(test_modules(&[parent]), BTreeSet::from(["keys/simulation.rs".to_owned()]));
}

#[test]
fn the_library_half_names_no_crate_of_the_server() {
    let server = server_crates(include_str!("../../Cargo.toml"));
    for expected in ["actix_web", "sled", "clap", "aws_lc_rs"] {
        assert!(server.contains(expected), "{expected}: {server:?}");
    }
    let sources = rooms();
    let library = sources.iter().filter(|source| LIBRARY.contains(&source.room()));
    let named: Vec<String> = library
        .flat_map(|source| server_crates_named(source, &server, is_extractor(source, &sources)))
        .collect();
    assert!(named.is_empty(), "{}", named.join("\n"));
}

#[test]
fn a_crate_of_the_server_is_seen() {
    let server = server_crates(
        "sled = { version = \"1\", optional = true }\nactix-web = { optional = true }\nring = \"1\"",
    );
    assert_eq!(server, BTreeSet::from(["actix_web".to_owned(), "sled".to_owned()]));
    let named =
        |text: &str, extractor| server_crates_named(&sample("verify/a.rs", text), &server, extractor).len();
    assert_eq!(named("use sled::Db;", false), 1);
    assert_eq!(named("use sled;", false), 1);
    assert_eq!(named("let db = ::sled::open(p);", false), 1);
    assert_eq!(named("use ring::digest;\nlet db = backend::sled::open(p);", false), 0);
    assert_eq!(named("let db = sled::open(p);", true), 1);
    assert_eq!(named("use actix_web::HttpRequest;", false), 1);
    assert_eq!(named("use actix_web::HttpRequest;", true), 0);
    assert_eq!(named("// sled::open\nlet is_sled = unsled::open();", false), 0);
    let gated = sample("verify/mod.rs", "#[cfg(feature = \"actix\")]\nmod extractor;\nmod key;");
    let gated = [gated];
    assert!(is_extractor(&sample("verify/extractor.rs", ""), &gated));
    assert!(!is_extractor(&sample("verify/key.rs", ""), &gated));
}

/// Functions of the test file `name` that ask for a database or a server of their own, and that `.ci/run postgres` does not find by its name.
fn passed_over(name: &str, text: &str) -> Vec<String> {
    let (mut within, mut found) = ("", Vec::new());
    for line in text.lines() {
        if let Some((_, named)) = line.split_once("fn ").filter(|(before, _)| !before.contains('"')) {
            within = named.split(|c| !is_name(c)).next().unwrap_or_default();
        }
        let is_found =
            ["postgres", "vault_contract"].iter().any(|word| format!("{name}::{within}").contains(word));
        let asks = [concat!("Database", "::fresh("), concat!("Server", "::start(")];
        if asks.iter().any(|call| line.contains(call)) && !is_found {
            found.push(within.to_owned());
        }
    }
    found
}

/// Without a server they pass without having done anything.
#[test]
fn every_test_that_needs_postgres_is_run_by_its_step() {
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(passed_over(&name, &fs::read_to_string(&path).unwrap()), [""; 0], "{name}");
    }
}

#[test]
fn a_test_that_the_step_would_pass_over_is_seen() {
    let text = ["async fn moves() {", concat!("Database", "::fresh().await"), "}"].join("\n");
    assert_eq!(passed_over("backup", &text), ["moves"]);
    let server = text.replace("Database", "Server").replace("fresh()", "start(\"slow\")");
    assert_eq!(passed_over("backup", &server), ["moves"]);
    assert_eq!(passed_over("postgres_nodes", &text), [""; 0]);
    assert_eq!(passed_over("backup", &text.replace("moves", "moves_into_postgres")), [""; 0]);
}

/// A release of the former version could not read such a record, nor serve beside one that writes it: the tables' version is what
/// keeps it from starting (docs/operations.md, upgrading).
#[test]
fn records_that_the_former_release_cant_read_are_in_tables_of_another_version() {
    let typed = "store/typed.rs";
    let raised = rooms().iter().filter(|each| each.path != typed).map(|each| raised(&each.text)).sum::<u32>();
    let text = rooms().into_iter().find(|each| each.path == "store/postgres/schema.rs").unwrap().text;
    let version = text.split("VERSION: i32 = ").nth(1).unwrap().split(';').next().unwrap();
    assert!(
        version.parse::<u32>().unwrap() > raised,
        "raised {raised} times, and the tables have version {version}"
    );
}

#[test]
fn a_record_of_another_version_is_seen() {
    assert_eq!(raised("TypedTable::new(Table::plain(\"clients\"))"), 0);
    assert_eq!(raised("A.upgraded(2, |from, record| Ok(record)); B.upgraded(\n    3,\n    step)"), 3);
}

#[test]
fn nothing_is_left_for_later() {
    for directory in ["src", "tests", "benches", "examples", "fuzz"] {
        for source in sources(directory) {
            assert_eq!(leftovers(&source.text), [] as [&str; 0], "{directory}/{}", source.path);
        }
    }
}

#[test]
fn what_is_left_for_later_is_seen() {
    for text in
        ["#[ign\u{6f}re]", "  t\u{6f}do!()", "unimplemented\u{21}()", "// FIXM\u{45}: later", "// TOD\u{4f}"]
    {
        assert_eq!(leftovers(text).len(), 1, "{text}");
    }
    assert_eq!(leftovers(r#"#[ignore = "needs a database"]"#), [] as [&str; 0]);
}
