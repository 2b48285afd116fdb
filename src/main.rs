//! The `signet` program: arguments in, exit code out.

use std::process::ExitCode;

/// A request makes and frees some forty small allocations; this one does so faster than the system's: see
/// `docs/decisions/0008-where-the-time-goes.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, of which an idle service would use a corner each: 60 MiB instead of 13.
    // Where the kernel does not know the request, nothing but that memory is lost.
    let _unknown = rustix::thread::disable_transparent_huge_pages(true);
    signet::cli::run()
}
