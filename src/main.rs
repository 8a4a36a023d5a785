//! The command line; the commands are in [`pgveil::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// glibc's allocator keeps what many short sessions on many threads have freed; measured per release.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pgveil::cli::main()
}
