//! Other libraries that stand before libc's functions, as this one does.
//!
//! Whoever is looked up first gets the call. What it passes on to the next definition
//! reaches us; what it sends to libc directly (socket_wrapper, torsocks) does not. That
//! cannot be tried in a constructor, before the other one's, so it is known by name: what
//! was tried, before us and behind us (`tests/guard/behind.rs`). This file names nothing
//! but `core`: the command `forkguard` is built with it, too.

/// A path's last part.
pub fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn begins_with_one_of(path: &[u8], names: &[&str]) -> bool {
    let name = file_name(path);
    names.iter().any(|known| name.starts_with(known.as_bytes()))
}

/// The runtimes of AddressSanitizer and its kin, GCC's and Clang's: some must be the first.
pub fn is_sanitizer(path: &[u8]) -> bool {
    begins_with_one_of(
        path,
        &[
            "libasan.so",
            "libtsan.so",
            "libubsan.so",
            "liblsan.so",
            "libhwasan.so",
            "libclang_rt.asan",
            "libclang_rt.tsan",
            "libclang_rt.ubsan",
            "libclang_rt.lsan",
            "libclang_rt.hwasan",
            "libclang_rt.msan",
        ],
    )
}

/// Whether a library is known to pass each call on to whoever stands behind it.
pub fn passes_on(path: &[u8]) -> bool {
    is_sanitizer(path)
        || begins_with_one_of(path, &["libproxychains", "libfakechroot.so", "libfaketime"])
}
