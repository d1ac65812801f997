//! Beside other libraries that are preloaded, and sanitizers' runtimes, in either order.

use super::kernel;
use crate::support::{cluster, compile_with, library, root, Outcome, Run, Transport};
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// Those of Debian that stand before libc's functions, by path in `target/unpacked`.
const OTHERS: [&str; 13] = [
    "libuid_wrapper.so",
    "libpam_wrapper.so",
    "libresolv_wrapper.so",
    "libnss_wrapper.so",
    "libsocket_wrapper.so",
    "torsocks/libtorsocks.so",
    "fakechroot/libfakechroot.so",
    "libproxychains.so.4",
    "libjemalloc.so.2",
    "libtcmalloc_minimal.so.4",
    "faketime/libfaketime.so.1",
    "faketime/libfaketimeMT.so.1",
    "libeatmydata.so.1",
];

/// `uid_wrapper` and torsocks hung: their `syscall` asks `dlsym` for the real one, and our `dlsym`
/// called `syscall`. Before and behind each, under every policy.
#[test]
fn programs_start_beside_any_other_preload_in_either_order() {
    let folder = root().join("target/unpacked/usr/lib/x86_64-linux-gnu");
    let mut others: Vec<_> = OTHERS.iter().map(|name| folder.join(name)).collect();
    // What they all do in one: names that no library of Debian stands before, `dlsym` among them.
    let kind = ["-shared", "-fPIC"];
    others.push(compile_with("interposer", "libinterposer.so", &kind));
    let with_dlsym = ["-shared", "-fPIC", "-DDLSYM"];
    others.push(compile_with(
        "interposer",
        "libinterposer_dlsym.so",
        &with_dlsym,
    ));
    let settings = tempfile::tempdir().unwrap();
    let [tor, proxies] = ["tor", "proxies"].map(|name| settings.path().join(name));
    std::fs::write(&tor, "AllowInbound 1\n").unwrap();
    std::fs::write(&proxies, "[ProxyList]\nhttp 127.0.0.1 9\n").unwrap();
    let start = |preload: &str, policy: &str| {
        Run::new("/bin/sh")
            .args(["-c", "echo well | /bin/cat"])
            .env("LD_PRELOAD", preload)
            .env("FORKGUARD_POLICY", policy)
            .env("TORSOCKS_LOG_LEVEL", "1")
            .env("TORSOCKS_CONF_FILE", &tor)
            .env("PROXYCHAINS_CONF_FILE", &proxies)
            .env("PROXYCHAINS_QUIET_MODE", "1")
            .timeout(Duration::from_secs(20)) // it hung for ever; a start takes milliseconds
            .run()
    };
    let ours = library().display().to_string();
    let mut starts = 0;
    for other in others {
        assert!(
            other.exists(),
            "{} is missing: run tools/setup",
            other.display()
        );
        let other = other.display().to_string();
        let alone = start(&other, "resume");
        alone.check(alone.stdout == "well\n", "it starts without us");
        for order in [format!("{other}:{ours}"), format!("{ours}:{other}")] {
            for policy in ["resume", "abandon", "report", "off"] {
                let outcome = start(&order, policy);
                let well = outcome.success() && outcome.stdout == "well\n";
                outcome.check(well, &format!("{order}, {policy}"));
                starts += 1;
            }
        }
    }
    println!("beside other preloads: {starts} of {starts} start");
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
