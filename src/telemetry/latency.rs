use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 13] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];

/// A histogram of durations for each value of a label.
///
/// The exporter's own histogram keeps every sample until it is scraped, so that memory would grow with
/// the load while nobody scrapes; this one has a fixed size.
#[derive(Debug)]
pub(super) struct Latency {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: &'static [&'static str],
    histograms: Vec<Histogram>,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Latency {
    pub(super) fn new(
        (name, help): (&'static str, &'static str),
        label: &'static str,
        values: &'static [&'static str],
    ) -> Self {
        let mut histograms = Vec::new();
        histograms.resize_with(values.len() + 1, Histogram::default);
        Self { name, help, label, values, histograms }
    }

    /// Adds something of `value` that took `elapsed`; a value that is not in the list counts as `other`.
    pub(super) fn record(&self, value: &str, elapsed: Duration) {
        let place = self.values.iter().position(|each| *each == value).unwrap_or(self.values.len());
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        let histogram = &self.histograms[place];
        histogram.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        histogram.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Appends the histograms in Prometheus' text format; values of which there was nothing are left out.
    pub(super) fn render(&self, out: &mut String) {
        let Self { name, help, label, .. } = self;
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} histogram\n");
        for (place, histogram) in self.histograms.iter().enumerate() {
            let value = self.values.get(place).unwrap_or(&"other");
            let counts: Vec<u64> =
                histogram.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
            let total: u64 = counts.iter().sum();
            if total == 0 {
                continue;
            }
            let mut cumulative = 0;
            for (bound, count) in BOUNDS.iter().zip(&counts) {
                cumulative += count;
                let bound = seconds(*bound);
                writeln!(text, "{name}_bucket{{{label}=\"{value}\",le=\"{bound}\"}} {cumulative}").ok();
            }
            writeln!(text, "{name}_bucket{{{label}=\"{value}\",le=\"+Inf\"}} {total}").ok();
            let sum = seconds(histogram.sum_micros.load(Ordering::Relaxed));
            writeln!(text, "{name}_sum{{{label}=\"{value}\"}} {sum}").ok();
            writeln!(text, "{name}_count{{{label}=\"{value}\"}} {total}").ok();
        }
        out.push_str(&text);
    }
}

/// Microseconds as decimal seconds, exactly.
fn seconds(micros: u64) -> String {
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    format!("{whole}.{fraction:06}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_sums_exact() {
        let latency = Latency::new(("x_seconds", "Help."), "route", &["/a"]);
        for micros in [100, 101, 3_000_000, 9_000_000] {
            latency.record("/a", Duration::from_micros(micros));
        }
        latency.record("/unknown", Duration::ZERO);
        let mut out = String::new();
        latency.render(&mut out);
        for line in [
            "x_seconds_bucket{route=\"/a\",le=\"0.0001\"} 1",
            "x_seconds_bucket{route=\"/a\",le=\"0.00025\"} 2",
            "x_seconds_bucket{route=\"/a\",le=\"5\"} 3",
            "x_seconds_bucket{route=\"/a\",le=\"+Inf\"} 4",
            "x_seconds_sum{route=\"/a\"} 12.000201",
            "x_seconds_count{route=\"/a\"} 4",
            "x_seconds_count{route=\"other\"} 1",
        ] {
            assert!(out.lines().any(|each| each == line), "{line}\n{out}");
        }
    }
}
