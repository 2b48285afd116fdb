//! Runs every target over its corpus, and compares forged tokens between two libraries: on any toolchain, without
//! libFuzzer. Names on the command line choose targets; `list` prints their names.
//!
//! An input that takes longer than [`MOST`] fails too. That is a clock in a test, which Signet's own tests have none of: here it is
//! what is looked for. Processor time is measured, so that others' work on the machine fails nothing.
#![expect(clippy::print_stdout, reason = "this is what a person or a log reads")]

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use signet_fuzz::{TARGETS, Target, differential};

/// The processor time that one input may take.
const MOST: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).collect();
    if named == ["list"] {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        return ExitCode::SUCCESS;
    }
    let chosen = |target: &&Target| named.is_empty() || named.iter().any(|name| name == target.name);
    let mut failed = 0;
    for target in TARGETS.iter().filter(chosen) {
        let inputs = inputs(target);
        let (mut broken, mut longest) = (0, Duration::ZERO);
        for path in &inputs {
            let (holds, took) = timed(|| holds(target, path));
            longest = longest.max(took);
            if !holds || took > MOST {
                println!("FAILED: {} on {}, after {} ms", target.name, path.display(), took.as_millis());
                broken += 1;
            }
        }
        println!("{}: {} inputs, at most {} ms", target.name, inputs.len(), longest.as_millis());
        // A target whose corpus was lost would hold whatever happens.
        failed += broken + usize::from(inputs.is_empty());
    }
    if named.is_empty() {
        let report = differential::compare();
        println!("{report}");
        failed += report.unexplained.len();
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn inputs(target: &Target) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut inputs: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    inputs.sort();
    inputs
}

/// What comes of it, and how much processor time that took, of all threads together.
fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let spent = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::try_from(time).unwrap_or_default()
    };
    let before = spent();
    let outcome = run();
    (outcome, spent().saturating_sub(before))
}

/// Why it does not is told by the panic itself.
fn holds(target: &Target, path: &Path) -> bool {
    let run = target.run;
    std::fs::read(path).is_ok_and(|bytes| catch_unwind(|| run(&bytes)).is_ok())
}
