//! Behind another library that stands before libc: what it does not pass on, our hooks never see.

use crate::facts::Facts;
use crate::support::{cluster, compile, library, root, Outcome, Run, Transport};
use std::path::PathBuf;

/// The one that calls libc past everybody behind it.
fn socket_wrapper() -> PathBuf {
    unpacked("libsocket_wrapper.so")
}

fn run(what: &str, transport: Transport, preload: &[PathBuf], policy: &str) -> Outcome {
    let list: Vec<_> = preload
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Run::new(compile("behind"))
        .arg(cluster().conninfo(transport))
        .arg(what)
        .env("LD_PRELOAD", list.join(":"))
        .env("FORKGUARD_POLICY", policy)
        .run()
}

#[test]
fn a_lost_session_is_refused_whatever_stands_before_our_hooks() {
    let behind = [socket_wrapper(), library()];
    for transport in Transport::ALL {
        for policy in ["resume", "abandon"] {
            for what in ["query", "asynchronous", "another socket"] {
                let outcome = run(what, transport, &behind, policy);
                outcome.ok().lost_to_child(1).undisturbed();
                if what == "another socket" {
                    outcome.check(outcome.fact("got") == "-1", "it gets nothing of libpq's");
                }
            }
            // Refused is what is the parent's: not what the child then makes, on the same number.
            for what in ["reset", "reset in steps", "own"] {
                let outcome = run(what, transport, &behind, policy);
                outcome.ok().undisturbed();
                outcome.check(outcome.fact("child").starts_with("answered by"), "its own");
            }
            run("finish", transport, &behind, policy).ok().undisturbed();
            let cancel = run("cancel", transport, &behind, policy);
            cancel.ok().check(
                cancel.fact("cancelled") == "-1",
                "no cancel of the parent's",
            );
            let copy = run("copy in", transport, &behind, policy);
            copy.ok()
                .check(copy.fact("rows") == "1 2", "the parent's rows alone");
            copy.undisturbed();
            let copy = run("copy out", transport, &behind, policy);
            copy.ok().check(copy.fact("rows") == "3", "all of them");
            copy.undisturbed();
            let half = run("half", transport, &behind, policy);
            half.ok()
                .check(half.fact("child") == "failed", "not the child's");
            half.check(half.fact("parent") == "connected", "the parent's");
        }
        for what in ["query", "finish", "asynchronous", "own"] {
            run(what, transport, &[socket_wrapper()], "off").disturbed();
        }
    }
}

#[test]
fn before_it_sessions_come_back() {
    for transport in Transport::ALL {
        let outcome = run("query", transport, &[library(), socket_wrapper()], "resume");
        outcome.ok().undisturbed();
        let child = outcome.fact("child");
        outcome.check(child.starts_with("answered by"), "resumed");
        let before = outcome.fact("before");
        outcome.check(!child.ends_with(before), "by a backend of its own");
        outcome.check(outcome.stderr.is_empty(), "no word");
    }
}

/// A library of Debian's, by its path in `target/unpacked`.
fn unpacked(name: &str) -> PathBuf {
    let path = root()
        .join("target/unpacked/usr/lib/x86_64-linux-gnu")
        .join(name);
    assert!(path.exists(), "{name} is missing: run tools/setup");
    path
}

#[test]
fn what_stands_before_us_is_told_where_it_does_not_pass_calls_on() {
    let settings = tempfile::tempdir().unwrap();
    let [tor, proxies] = ["tor", "proxies"].map(|name| settings.path().join(name));
    std::fs::write(&tor, "AllowOutboundLocalhost 1\n").unwrap();
    let local = "localnet 127.0.0.0/255.0.0.0\n[ProxyList]\nhttp 127.0.0.1 9\n";
    std::fs::write(&proxies, local).unwrap();
    let run = |preload: &[&PathBuf]| {
        let list: Vec<_> = preload
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        Run::new(compile("behind"))
            .arg(cluster().conninfo(Transport::Tcp))
            .arg("query")
            .env("LD_PRELOAD", list.join(":"))
            .env("FORKGUARD_POLICY", "resume")
            .env("TORSOCKS_LOG_LEVEL", "1")
            .env("TORSOCKS_CONF_FILE", &tor)
            .env("PROXYCHAINS_CONF_FILE", &proxies)
            .env("PROXYCHAINS_QUIET_MODE", "1")
            .run()
    };
    for (name, passes_on) in [
        ("libsocket_wrapper.so", false),
        ("torsocks/libtorsocks.so", false),
        ("libproxychains.so.4", true),
        ("fakechroot/libfakechroot.so", true),
        ("faketime/libfaketime.so.1", true),
    ] {
        let (other, ours) = (unpacked(name), library());
        run(&[&other]).disturbed();
        let before = run(&[&other, &ours]);
        before.ok().undisturbed();
        let told = before
            .stderr
            .lines()
            .filter(|line| line.contains("comes before this library"));
        let told: Vec<_> = told.collect();
        if passes_on {
            before.check(told.is_empty(), "no word");
            let resumed = before.fact("child").starts_with("answered by");
            before.check(resumed, "resumed");
        } else {
            before.lost_to_child(1);
            before.check(told.len() == 1, "told once");
            let order = format!("LD_PRELOAD={}:{}", ours.display(), other.display());
            before.check(told[0].ends_with(&order), "and what to type");
        }
        let behind = run(&[&ours, &other]);
        behind.ok().undisturbed();
        let resumed = behind.fact("child").starts_with("answered by");
        behind.check(resumed && behind.stderr.is_empty(), "resumed, and no word");
    }
}
