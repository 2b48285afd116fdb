use std::sync::OnceLock;

use metrics::{Counter, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

pub(super) static METADATA: Metadata<'static> = Metadata::new("signet", Level::INFO, Some(module_path!()));

/// What a label says instead of a value that is not in its list.
const OTHER: &str = "other";

/// A counter with two labels whose values come from closed lists, so that nothing a client sends can add
/// a time series. A series appears when it is first counted.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    labels: [&'static str; 2],
    rows: &'static [&'static str],
    columns: &'static [&'static str],
    cells: Vec<OnceLock<CounterCell>>,
}

struct CounterCell(Counter);

impl std::fmt::Debug for CounterCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("counter")
    }
}

impl Family {
    pub(super) fn new(
        name: &'static str,
        labels: [&'static str; 2],
        rows: &'static [&'static str],
        columns: &'static [&'static str],
    ) -> Self {
        let mut cells = Vec::new();
        cells.resize_with((rows.len() + 1) * (columns.len() + 1), OnceLock::new);
        Self { name, labels, rows, columns, cells }
    }

    /// Counts one more.
    pub(super) fn increment(&self, recorder: &PrometheusRecorder, row: &str, column: &str) {
        let (row, column) = (place(self.rows, row), place(self.columns, column));
        // The index is in bounds: `place` is at most the length of its list.
        let cell = self.cells[row * (self.columns.len() + 1) + column].get_or_init(|| {
            let value = |list: &'static [&'static str], place: usize| *list.get(place).unwrap_or(&OTHER);
            let labels = vec![
                Label::from_static_parts(self.labels[0], value(self.rows, row)),
                Label::from_static_parts(self.labels[1], value(self.columns, column)),
            ];
            let key = Key::from_parts(self.name, labels);
            CounterCell(recorder.register_counter(&key, &METADATA))
        });
        cell.0.increment(1);
    }
}

fn place(list: &[&str], value: &str) -> usize {
    list.iter().position(|each| *each == value).unwrap_or(list.len())
}
