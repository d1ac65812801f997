//! What a child finds at the numbers it inherits.

use crate::facts::Facts;
use crate::support::{cluster, compile, Outcome, Run, Transport};

fn run(transport: Transport, arguments: &[&str], guarded: bool) -> Outcome {
    let outcome = Run::new(compile("descriptors"))
        .arg(cluster().conninfo(transport))
        .args(arguments)
        .guarded(guarded)
        .run();
    outcome.ok();
    let ends = outcome.facts("ended");
    outcome.check(
        !ends.is_empty() && ends.iter().all(|end| *end == "exit 0"),
        "the child ends well",
    );
    outcome
}

#[test]
fn flags_are_kept() {
    for transport in [Transport::Unix, Transport::Tcp] {
        for how in ["fcntl", "ioctl"] {
            let outcome = run(transport, &["flags", how], true);
            let parent = outcome.facts("parent");
            let mut different = parent.clone();
            different.sort_unstable();
            different.dedup();
            outcome
                .check(parent.len() == 8 && different.len() == 4, "every pair")
                .check(outcome.facts("child") == parent, "the same in the child")
                .check(
                    outcome.facts("parent again") == parent,
                    "the same afterwards",
                );
        }
    }
}

#[test]
fn the_number_stays_taken() {
    for guarded in [false, true] {
        let outcome = run(Transport::Tcp, &["number"], guarded);
        outcome.check(
            outcome.fact("child") == "given away 0 times, open 1",
            "taken",
        );
    }
}

#[test]
fn duplicates_are_dead_as_well() {
    for how in [
        "dup",
        "dup2",
        "dup3",
        "F_DUPFD",
        "F_DUPFD_CLOEXEC",
        "of a duplicate",
        "over a session",
    ] {
        // Made before the session's first byte, after its handshake, and outliving the original.
        for when in ["first", "later", "alone"] {
            for transport in [Transport::Unix, Transport::Tcp] {
                let arguments = ["duplicates", how, when];
                let unguarded = run(transport, &arguments, false);
                unguarded.check(unguarded.fact("sent") == "5 ", "the fault");
                unguarded.disturbed();
                let guarded = run(transport, &arguments, true);
                guarded.check(guarded.fact("sent") == "-1 EPIPE", "dead");
                guarded.undisturbed();
            }
        }
    }
}

#[test]
fn a_number_used_for_something_else_is_left_alone() {
    for how in ["close_range", "raw close", "fclose"] {
        for guarded in [false, true] {
            for what in ["file", "pipe", "socket"] {
                let outcome = run(Transport::Tcp, &["reuse", how, what], guarded);
                let children = outcome.facts("child");
                outcome.check(children[0].ends_with("descriptors"), "it can be read");
                if what == "socket" {
                    outcome
                        .check(children[1] == "wrote", "it can be written")
                        .check(
                            outcome.fact("parent") == "from child",
                            "and is the parent's",
                        );
                }
            }
            // Another session: known for what it is.
            let outcome = run(Transport::Tcp, &["reuse", how, "session"], guarded);
            if guarded {
                outcome.lost_to_child(1).undisturbed();
            } else {
                outcome.open_to_child(1).disturbed();
            }
        }
    }
}

#[test]
fn grandchildren_are_kept_off_their_grandparents_and_their_parents_sessions() {
    for transport in Transport::ALL {
        let unguarded = run(transport, &["grandchildren"], false);
        unguarded.must_say("child: answered by backend").disturbed();
        let guarded = run(transport, &["grandchildren"], true);
        guarded.lost_to_child(3).undisturbed();
        guarded
            .check(
                guarded.fact("fresh").starts_with("answered by"),
                "its own works",
            )
            .check(
                guarded.fact("own after") == guarded.fact("own before")
                    && guarded.fact("own after").starts_with("backend "),
                "the child's own is undisturbed",
            );
    }
}
