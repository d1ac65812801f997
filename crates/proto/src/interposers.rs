//! Other libraries that interpose libc's functions, as this one does.
//!
//! The library that the loader finds first gets the call. If it passes the call on to the
//! next definition, the call reaches us; if it calls libc directly (socket_wrapper,
//! torsocks), it does not. A constructor cannot try this out, because it runs before the
//! other library's own. So the libraries are known by name: those that were tried, before
//! us and behind us (`tests/guard/behind.rs`).

/// A path's last part.
pub fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn begins_with_one_of(path: &[u8], names: &[&str]) -> bool {
    let name = file_name(path);
    names.iter().any(|known| name.starts_with(known.as_bytes()))
}

/// The runtimes of AddressSanitizer and its kin, GCC's and Clang's. Some of them must be loaded first.
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

/// Whether a library is known to pass each call on to the next definition.
pub fn passes_on(path: &[u8]) -> bool {
    is_sanitizer(path)
        || begins_with_one_of(path, &["libproxychains", "libfakechroot.so", "libfaketime"])
}
