//! What `--version` says.

use std::ffi::CStr;

/// The version with the commit it was built from, the C library it runs on, and the processor.
pub fn text() -> &'static str {
    // SAFETY: takes nothing and returns a C string that lives as long as the program.
    let libc = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    let text = format!(
        "{} (commit {}, glibc {}, {})",
        env!("CARGO_PKG_VERSION"),
        env!("FORKGUARD_COMMIT"), // build.rs
        libc.to_string_lossy(),
        std::env::consts::ARCH
    );
    // clap keeps it for the life of the program.
    text.leak()
}
