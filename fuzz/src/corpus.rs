//! Runs every target over its corpus, and compares forged tokens between two libraries: on any toolchain, without
//! libFuzzer. Names on the command line choose targets; `list` prints their names.
#![expect(clippy::print_stdout, reason = "this is what a person or a log reads")]

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use signet_fuzz::{TARGETS, Target, differential};

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
        let broken: Vec<&PathBuf> = inputs.iter().filter(|path| !holds(target, path)).collect();
        broken.iter().for_each(|path| println!("FAILED: {} on {}", target.name, path.display()));
        println!("{}: {} inputs", target.name, inputs.len());
        // A target whose corpus was lost would hold whatever happens.
        failed += broken.len() + usize::from(inputs.is_empty());
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

/// Why it does not is told by the panic itself.
fn holds(target: &Target, path: &Path) -> bool {
    let run = target.run;
    std::fs::read(path).is_ok_and(|bytes| catch_unwind(|| run(&bytes)).is_ok())
}
