//! Descriptors closed and used again at once, and very many of them.

use crate::facts::Facts;
use crate::support::{cluster, compile, Outcome, Run, Transport};
use std::time::Duration;

fn reused(how: &[&str], transport: Transport, guarded: bool) -> Outcome {
    let outcome = Run::new(compile("reused"))
        .arg(cluster().conninfo(transport))
        .args(how)
        .env("FORKGUARD_POLICY", "resume")
        .guarded(guarded)
        .timeout(Duration::from_secs(90))
        .run();
    outcome.ok();
    outcome
}

#[test]
fn a_child_uses_its_parents_numbers_again_at_once() {
    for how in ["child", "child raw"] {
        for transport in Transport::ALL {
            for guarded in [false, true] {
                let outcome = reused(&[how], transport, guarded);
                outcome
                    .check(outcome.fact("ended") == "exit 0", "it ends well")
                    .check(outcome.fact("replaced") == "3000 of 3000", "each works")
                    .check(outcome.fact("own") == "7", "and a session of its own")
                    .undisturbed();
            }
        }
    }
}

#[test]
fn a_parents_thread_uses_its_numbers_again_at_once_while_it_forks() {
    reused(&["parent"], Transport::Unix, false).disturbed();
    for how in ["parent", "parent raw"] {
        let outcome = reused(&[how], Transport::Unix, true);
        println!(
            "{how}: forks {}, strangers {}",
            outcome.fact("forks"),
            outcome.fact("churned")
        );
        outcome
            .undisturbed()
            .check(outcome.fact("children") == "all well", "all dead in each")
            .check(
                outcome.fact("churned").ends_with(", spoilt 0"),
                "no unrelated socket is touched",
            );
    }
}

#[test]
fn very_many_descriptors_are_open() {
    let run = |guarded| reused(&["many", "65536"], Transport::Unix, guarded);
    let (unguarded, guarded) = (run(false), run(true));
    unguarded.open_to_child(1);
    guarded
        .lost_to_child(1)
        .undisturbed()
        .check(
            guarded.fact("idle").starts_with("answered by backend "),
            "resumed",
        )
        .check(guarded.fact("same") == "1", "on the same number");
    let micros = |outcome: &Outcome| outcome.fact("fork").parse::<f64>().unwrap();
    let ratio = micros(&guarded) / micros(&unguarded);
    println!(
        "{} descriptors open: a fork takes {} µs, guarded {} µs: {ratio:.2}",
        guarded.fact("open"),
        micros(&unguarded),
        micros(&guarded),
    );
    // The kernel copies the table in both. Bounded against a cost for each number, not measured:
    // that is for `make bench`.
    guarded.check(ratio < 3.0, "no cost for each number");
}

/// Of sessions that are lost anyway: `hard_times::every_number_is_taken`.
#[test]
fn no_number_is_left_for_a_new_session() {
    for how in ["none", "none left in the child"] {
        for transport in Transport::ALL {
            reused(&[how], transport, false).open_to_child(1);
            let outcome = reused(&[how], transport, true);
            outcome
                .lost_to_child(1)
                .undisturbed()
                .check(outcome.fact("ended") == "exit 0", "it ends well")
                .check(outcome.fact("idle after") == "0", "nor the idle one's")
                .check(outcome.fact("idle").starts_with("bad, "), "lost")
                .check(outcome.fact("idle again").starts_with("bad, "), "for good")
                .must_say("reconnecting failed: ")
                .must_say("Too many open files")
                .check(outcome.fact("own") == "7", "with numbers again, it dials")
                .check(
                    outcome.fact("next").starts_with("answered by backend "),
                    "and what was not tried before is resumed",
                );
        }
    }
}
