//! The soak (`make soak`) in a short form: its checks see the damage without the library, and with it
//! find none.

use crate::support::{library, root, Outcome, Run};
use std::time::Duration;

/// Seconds with the library; `tools/soak` puts three without it before.
const SECONDS: &str = "10";

/// The number of a line of the table behind `head`.
fn number(outcome: &Outcome, head: &str, line: &str) -> u64 {
    let table = outcome
        .stdout
        .split_once(head)
        .unwrap_or_else(|| panic!("no {head}\n{outcome}"))
        .1;
    table
        .lines()
        .find_map(|found| found.trim_start().strip_prefix(line)?.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {line}\n{outcome}"))
}

#[test]
fn nobody_is_harmed_while_everybody_forks() {
    let outcome = Run::new(root().join("tools/soak"))
        .arg(SECONDS)
        .env("LIBRARY", library())
        .env("FORKGUARD_POLICY", "resume")
        // On a loaded machine it takes longer.
        .env("FORKS", "1000")
        .timeout(Duration::from_secs(240))
        .run();
    outcome.ok();

    let [without, with] = ["soak: unguarded", "soak: guarded"];
    let damage = ["wrong answers", "disturbed parents", "failed children"];
    let seen: Vec<u64> = damage.map(|line| number(&outcome, without, line)).into();
    outcome.check(seen[0] + seen[1] > 0, "answers or parents harmed without");
    outcome.check(seen[2] > 0, "live sessions seen in children without");

    for line in damage {
        outcome.check(number(&outcome, with, line) == 0, line);
    }
    for line in ["deadlocks", "protocol errors in the log"] {
        outcome.check(number(&outcome, with, line) == 0, line);
    }
    // What a thousand forks draw is ten times as much.
    for (line, least) in [
        ("forks", 500),
        ("sessions resumed", 5),
        ("opaque sessions lost loudly", 5),
        ("descriptors abandoned", 2000),
        ("children that crashed", 1),
        ("children that were killed", 1),
        ("programs executed", 1),
        ("lines of the server's log", 100),
    ] {
        outcome.check(number(&outcome, with, line) >= least, line);
    }
}
