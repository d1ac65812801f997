//! Link options of the shared library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for option in [
        // Our constructor before every other library's, so that our child
        // handler is registered, and runs, before theirs (ld.so(8),
        // pthread_atfork(3): child handlers run in order of registration).
        "-Wl,-z,initfirst",
        // Fork handlers and exported symbols cannot be taken back safely.
        "-Wl,-z,nodelete",
        "-Wl,-z,now",
        "-Wl,-soname,libforkguard.so.0",
    ] {
        println!("cargo:rustc-cdylib-link-arg={option}");
    }
}
