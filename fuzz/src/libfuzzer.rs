//! libFuzzer over the target that `SIGNET_FUZZ_TARGET` names.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<signet_fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("SIGNET_FUZZ_TARGET").unwrap_or_default();
    signet_fuzz::find(&name).unwrap_or_else(|| panic!("SIGNET_FUZZ_TARGET names no target: {name:?}"))
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
