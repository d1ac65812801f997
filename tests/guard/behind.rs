//! Behind another library that stands before libc: what it does not pass on, our hooks never see.

use crate::facts::Facts;
use crate::support::{cluster, compile, library, root, Outcome, Run, Transport};
use std::path::PathBuf;

/// Of Debian's, the one that calls libc past everybody behind it.
fn socket_wrapper() -> PathBuf {
    let path = root().join("target/unpacked/usr/lib/x86_64-linux-gnu/libsocket_wrapper.so");
    assert!(
        path.exists(),
        "libsocket_wrapper is missing: run tools/setup"
    );
    path
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
