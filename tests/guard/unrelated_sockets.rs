//! What is no PostgreSQL session is never touched, and what is one is known by its first bytes,
//! whichever way they are written.

use crate::facts::Facts;
use crate::support::{compile, Outcome, Run};

fn run(arguments: &[&str], guarded: bool) -> Outcome {
    let outcome = Run::new(compile("unrelated_sockets"))
        .args(arguments)
        .guarded(guarded)
        .run();
    outcome.ok();
    outcome
}

const WRITES: [&str; 7] = [
    "send",
    "sendto",
    "write",
    "writev",
    "sendmsg",
    "byte by byte",
    "by eights",
];

/// The parent speaks before the fork and after it, both ways.
fn parent_speaks(outcome: &Outcome) {
    outcome
        .check(outcome.fact("before") == "from parent", "before")
        .check(outcome.fact("after") == "from parent", "after")
        .check(outcome.fact("back") == "to parent", "both ways")
        .check(outcome.fact("ended") == "exit 0", "the child ends well");
}

fn child_speaks(outcome: &Outcome) {
    parent_speaks(outcome);
    outcome.check(
        outcome.facts("child") == ["from child", "to child"],
        "the child speaks",
    );
}

#[test]
fn strangers_go_on_working_in_both_processes() {
    for message in ["echo", "http", "kafka", "cancel", "ALPN h2"] {
        for family in ["v4", "v6", "unix"] {
            child_speaks(&run(&["speak", family, message, "send"], true));
        }
        for how in WRITES {
            child_speaks(&run(&["speak", "v4", message, how], true));
        }
        child_speaks(&run(&["speak", "v4", message, "send"], false));
    }
    // A datagram is nothing, whatever it says; and neither is a socket that never connected.
    child_speaks(&run(&["speak", "udp", "startup", "send"], true));
    child_speaks(&run(&["pair"], true));
}

#[test]
fn sessions_are_known_however_their_first_bytes_are_written() {
    for message in [
        "startup",
        "protocol 3.2",
        "SSLRequest",
        "GSSENCRequest",
        "ALPN postgresql",
    ] {
        // To this program's server they are bytes like any others: unguarded, all speak.
        child_speaks(&run(&["speak", "v4", message, "send"], false));
        let is_known = |family: &str, how: &str| {
            let outcome = run(&["speak", family, message, how], true);
            parent_speaks(&outcome);
            outcome.check(outcome.fact("child") == "EPIPE", "dead in the child");
        };
        for family in ["v4", "v6", "unix"] {
            is_known(family, "send");
        }
        for how in WRITES {
            // TLS libraries write their first record at once: crates/proto/src/wire.rs.
            if !(message.starts_with("ALPN") && how.starts_with("by")) {
                is_known("v4", how);
            }
        }
    }
}

#[test]
fn wild_pointers_are_errors_as_without_the_library() {
    let (unguarded, guarded) = (run(&["wild"], false), run(&["wild"], true));
    let tries = guarded.facts("wild");
    guarded
        .check(tries == unguarded.facts("wild"), "the same errors")
        .check(
            tries.iter().filter(|said| said.ends_with("EFAULT")).count() == 15,
            "EFAULT",
        )
        .check(
            guarded.facts("then") == vec!["hello"; tries.len()],
            "the socket still works",
        );
}

#[test]
fn a_waiting_thread_can_be_cancelled() {
    for message in ["nothing", "echo", "startup"] {
        for guarded in [false, true] {
            let outcome = run(&["cancel", message], guarded);
            let cancelled = outcome.facts("cancelled");
            outcome.check(
                cancelled.len() == 7
                    && cancelled
                        .iter()
                        .all(|said| said.ends_with(": yes, cleaned up 1 times")),
                "cancelled, and its clean-up run once",
            );
        }
    }
}

#[test]
fn errno_is_what_the_kernel_says() {
    let (unguarded, guarded) = (run(&["errno"], false), run(&["errno"], true));
    let said = guarded.facts("errno");
    guarded
        .check(said.len() == 52, "every call")
        .check(said == unguarded.facts("errno"), "as without the library");
}
