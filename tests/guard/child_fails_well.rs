//! In whatever state a connection is inherited, the child finds it lost, in words that clients
//! know, and at once; the parent goes on where it was.

use crate::facts::Facts;
use crate::support::{cluster, compile, Outcome, Run, Transport};
use std::time::Duration;

fn inherited(state: &str, conninfo: &str, guarded: bool) -> Outcome {
    Run::new(compile("child_fails_well"))
        .arg(conninfo)
        .arg(state)
        .guarded(guarded)
        .run()
}

/// `parent` and the facts with it: what the parent has in the end.
fn in_state(state: &str, parent: &[(&str, &str)]) {
    for transport in Transport::ALL {
        let conninfo = cluster().conninfo(transport);
        // Unguarded the child simply goes on with its parent's session.
        let unguarded = inherited(state, &conninfo, false);
        let fault = unguarded.fact("again").starts_with("answered by backend");
        unguarded.check(fault, "the fault");

        let guarded = inherited(state, &conninfo, true);
        guarded
            .ok()
            .lost_to_child(1)
            .undisturbed()
            .check(
                guarded.fact("woken") == "poll 1, select 1, epoll 1",
                "it wakes",
            )
            .check(guarded.fact("again").starts_with("bad, "), "it stays lost")
            .check(guarded.fact("ended") == "exit 0", "nothing hangs");
        // Where there are results, the child's end in an error, never in a short answer.
        let said = guarded.fact("goes on");
        let failed =
            said.ends_with(", error") || ["error", "input 0", "PGRES_FATAL_ERROR"].contains(&said);
        guarded.check(failed, "the child's call fails");
        for (name, expected) in parent {
            guarded.check(guarded.fact(name) == *expected, name);
        }
    }
}

#[test]
fn idle() {
    in_state("idle", &[("parent", "PGRES_TUPLES_OK")]);
}

#[test]
fn in_a_transaction() {
    in_state("transaction", &[("parent", "PGRES_TUPLES_OK")]);
}

#[test]
fn in_the_middle_of_a_result() {
    // Three of 20,000 rows were read before the fork.
    in_state("result", &[("parent", "19997 rows, no error")]);
}

#[test]
fn in_copy_in() {
    in_state("copy in", &[("parent", "all sent"), ("lines", "20000")]);
}

#[test]
fn in_copy_out() {
    in_state("copy out", &[("parent", "19997 rows, end")]);
}

#[test]
fn in_pipeline_mode() {
    in_state("pipeline", &[("parent", "3 rows, no error")]);
}

#[test]
fn listening() {
    in_state("listen", &[("parent", "input 1"), ("news", "came")]);
}

#[test]
fn at_every_step_of_a_handshake() {
    // The fewest there are: a write and a read, or more of them; TLS has its own besides.
    for (transport, fewest) in [
        (Transport::Unix, 2),
        (Transport::Tcp, 2),
        (Transport::Tls, 4),
    ] {
        let conninfo = cluster().conninfo(transport);
        // The child connects on its parent's socket, and then the parent waits for ever.
        let unguarded = Run::new(compile("child_fails_well"))
            .arg(&conninfo)
            .arg("handshake, goes on")
            .timeout(Duration::from_secs(3))
            .run();
        unguarded.must_say("child: answered by backend");
        let failed = !unguarded.success() || unguarded.says("parent: failed");
        unguarded.check(failed, "the fault");

        for fate in ["goes on", "finishes"] {
            let guarded = inherited(&format!("handshake, {fate}"), &conninfo, true);
            let steps: usize = guarded.ok().fact("steps").parse().unwrap();
            guarded
                .check(steps >= fewest, "every step")
                .check(
                    guarded.facts("ended") == vec!["exit 0"; steps],
                    "nothing hangs",
                )
                .check(guarded.facts("stuck").is_empty(), "nothing waits");
            let connected = |said: &&str| said.starts_with("answered by backend");
            let parents = guarded.facts("parent");
            guarded.check(
                parents.len() == steps && parents.iter().all(connected),
                "the parent goes on",
            );
            let lost = |said: &&str| {
                said.starts_with("bad, connection to server")
                    && (said.contains("server closed the connection unexpectedly")
                        || said.contains("SSL SYSCALL error: EOF detected"))
            };
            let children = guarded.facts("child");
            guarded.check(
                children.len() == steps
                    && children
                        .iter()
                        .all(|said| *said == "finishes" || lost(said)),
                "lost in the child",
            );
        }
    }
}

#[test]
fn a_handshake_that_libpq_begins_anew_is_the_childs_own() {
    // sslmode=prefer: where TLS fails, libpq dials once more without. That is a new connection.
    let conninfo = cluster().conninfo(Transport::Tcp) + " sslmode=prefer";
    let outcome = inherited("handshake, goes on", &conninfo, true);
    let parents = outcome.ok().facts("parent");
    let children = outcome.facts("child");
    outcome
        .check(
            parents.len() >= 4 && children.len() == parents.len(),
            "every step",
        )
        .check(
            parents
                .iter()
                .all(|said| said.starts_with("answered by backend")),
            "the parent goes on",
        );
    for (child, parent) in children.iter().zip(&parents) {
        outcome.check(child != parent, "not the parent's");
    }
}
