//! No memory, at every allocation in turn.

use super::all;
use crate::facts::Facts;
use crate::support::{cluster, compile, Outcome, Run, Transport};
use std::time::Duration;

fn sweep(transport: Transport, how: &str, step: u32, guarded: bool) -> Outcome {
    let step = if all() { 1 } else { step };
    let mut run = Run::new(compile("every_allocation"))
        .arg(cluster().conninfo(transport))
        .args([how, "1", &step.to_string()])
        .env("FORKGUARD_POLICY", "resume")
        .guarded(guarded)
        .timeout(Duration::from_secs(if all() { 3600 } else { 120 }));
    if !guarded {
        run = run.arg("unguarded");
    }
    let outcome = run.run();
    outcome.ok();
    println!(
        "{transport:?}, {how}, guarded {guarded}, every {step}: {} runs, {}; {}",
        outcome.fact("runs"),
        outcome.fact("seen"),
        outcome.fact("well")
    );
    outcome
}

fn harmed_nobody(outcome: &Outcome) -> u32 {
    let seen = "crashed 0, hung 0, different 0, disturbed 0";
    outcome.check(outcome.fact("seen") == seen, seen);
    outcome.check(
        !outcome.stderr.contains("internal error at src/"),
        "no panic of ours",
    );
    outcome.check(
        !outcome.stderr.contains("while idle"),
        "nothing of a replay is told to the program",
    );
    outcome.fact("runs").parse().unwrap()
}

#[test]
fn one_allocation_fails() {
    // What libpq does to its own sessions: errors, nothing worse.
    harmed_nobody(&sweep(Transport::Unix, "once, from main", 12, false));
    let runs = harmed_nobody(&sweep(Transport::Unix, "once, from main", 1, true));
    assert!(runs > 200, "{runs} runs");
    harmed_nobody(&sweep(Transport::Unix, "once, from start", 97, true));
    harmed_nobody(&sweep(Transport::Tls, "once, from main", 601, true));
}

#[test]
fn no_allocation_succeeds_any_more() {
    harmed_nobody(&sweep(Transport::Unix, "on, from main", 12, false));
    let runs = harmed_nobody(&sweep(Transport::Unix, "on, from main", 5, true));
    assert!(runs > 40, "{runs} runs");
    harmed_nobody(&sweep(Transport::Unix, "on, from start", 97, true));
}
