//! Beside other libraries that are preloaded, and sanitizers' runtimes, in either order.

use super::kernel;
use crate::support::{cluster, library, root, Outcome, Run, Transport};
use std::path::{Path, PathBuf};

fn run(program: &Path, preload: &[&Path], transport: Transport) -> Outcome {
    let names: Vec<_> = preload
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Run::new(program)
        .arg(cluster().conninfo(transport))
        .args(["getpid", "1", "never"])
        .env("LD_PRELOAD", names.join(":"))
        .env("FORKGUARD_POLICY", "resume")
        .env("FAKETIME", "-10d")
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .run()
}

fn works(program: &Path, preload: &[&Path]) {
    for transport in [Transport::Unix, Transport::Tls] {
        let outcome = run(program, preload, transport);
        outcome.check(!outcome.stderr.contains("ERROR"), "all are loaded");
        let resumed = kernel::protected(&outcome);
        outcome.check(resumed, "the idle session is the child's own");
    }
}

#[test]
fn allocators_and_others_in_either_order() {
    let program = kernel::program_with("refused", &[]);
    let folder = root().join("target/unpacked/usr/lib/x86_64-linux-gnu");
    for name in [
        "libjemalloc.so.2",
        "libtcmalloc_minimal.so.4",
        "faketime/libfaketime.so.1",
        "faketime/libfaketimeMT.so.1",
        "libeatmydata.so.1",
    ] {
        let other = folder.join(name);
        assert!(other.exists(), "{name} is missing: run tools/setup");
        works(&program, &[&other, &library()]);
        works(&program, &[&library(), &other]);
    }
}

/// A sanitizer's runtime, of gcc's.
fn runtime(name: &str) -> PathBuf {
    let outcome = Run::new("gcc")
        .arg(format!("-print-file-name={name}"))
        .run();
    let path = PathBuf::from(outcome.ok().stdout.trim());
    assert!(path.is_absolute(), "{name} is missing: run tools/setup");
    path.canonicalize().unwrap()
}

#[test]
fn sanitizers_in_either_order() {
    let plain = kernel::program_with("refused", &[]);
    for name in ["libubsan.so", "libtsan.so", "libasan.so"] {
        let runtime = runtime(name);
        works(&plain, &[&runtime, &library()]);
        if name == "libasan.so" {
            // Its own rule, with any library: it must be the first.
            let outcome = run(&plain, &[&library(), &runtime], Transport::Unix);
            outcome
                .check(!outcome.success(), "it refuses")
                .must_say("ASan runtime does not come first in initial library list");
        } else {
            works(&plain, &[&library(), &runtime]);
        }
    }
    let built = |what: &str| {
        kernel::program_with(
            &format!("refused_{what}"),
            &[&format!("-fsanitize={what}"), "-fno-sanitize-recover=all"],
        )
    };
    works(&built("undefined"), &[&library()]);
    works(&built("thread"), &[&library()]);
    works(&built("address"), &[&runtime("libasan.so"), &library()]);
}
