use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a label says instead of a value that is not in its list.
const OTHER: &str = "other";

/// A counter with two labels whose values come from closed lists, so that nothing a client sends can add
/// a time series. A series appears when it is first counted.
///
/// One atomic number a series: every request counts, and the exporter's own counters take three times as long.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; 2],
    rows: &'static [&'static str],
    columns: &'static [&'static str],
    cells: Vec<AtomicU64>,
}

impl Family {
    pub(super) fn new(
        (name, help): (&'static str, &'static str),
        labels: [&'static str; 2],
        rows: &'static [&'static str],
        columns: &'static [&'static str],
    ) -> Self {
        let mut cells = Vec::new();
        cells.resize_with((rows.len() + 1) * (columns.len() + 1), AtomicU64::default);
        Self { name, help, labels, rows, columns, cells }
    }

    /// Counts one more.
    pub(super) fn increment(&self, row: &str, column: &str) {
        let (row, column) = (place(self.rows, row), place(self.columns, column));
        // The index is in bounds: `place` is at most the length of its list.
        self.cells[row * (self.columns.len() + 1) + column].fetch_add(1, Ordering::Relaxed);
    }

    /// Appends the series that were counted in Prometheus' text format.
    pub(super) fn render(&self, out: &mut String) {
        let Self { name, help, labels: [row_label, column_label], .. } = self;
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter").ok();
        for (row, cells) in self.cells.chunks(self.columns.len() + 1).enumerate() {
            let row = self.rows.get(row).unwrap_or(&OTHER);
            for (column, cell) in cells.iter().enumerate() {
                let count = cell.load(Ordering::Relaxed);
                if count > 0 {
                    let column = self.columns.get(column).unwrap_or(&OTHER);
                    writeln!(out, "{name}{{{row_label}=\"{row}\",{column_label}=\"{column}\"}} {count}").ok();
                }
            }
        }
    }
}

fn place(list: &[&str], value: &str) -> usize {
    list.iter().position(|each| *each == value).unwrap_or(list.len())
}
