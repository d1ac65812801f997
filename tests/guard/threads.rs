//! A parent whose threads open, use, duplicate and close sessions while two others fork: no
//! session is missed in any child, nobody hangs, the parent's answers are right.

use crate::support::*;

/// Forks a transport. Enough for the races that were found while this was built: of a session
/// being entered, one in 250 forks; of a descriptor reused between the kernel's copies of
/// descriptors and of memory, one in some thousands.
const FORKS: i64 = 3000;

fn forks_under_load(transport: Transport, guarded: bool, forks: i64) -> Outcome {
    Run::new(compile("threads"))
        .arg(cluster().conninfo(transport))
        .arg(forks.to_string())
        .arg(if transport == Transport::Tls {
            "look"
        } else {
            "use"
        })
        .guarded(guarded)
        .timeout(std::time::Duration::from_secs(90))
        .run()
}

/// The number behind a word in what the program says.
fn number(outcome: &Outcome, fact: &str) -> i64 {
    let mut words = outcome
        .stdout
        .split_whitespace()
        .skip_while(|word| *word != fact)
        .skip(1);
    words
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no {fact}\n{outcome}"))
}

fn misses_nothing(transport: Transport) {
    let outcome = forks_under_load(transport, true, FORKS);
    outcome.ok();
    for (fact, expected) in [
        ("forks", FORKS),
        ("live", 0),
        ("wrong", 0),
        ("hung", 0),
        ("failed", 0),
        ("same", 1),
    ] {
        outcome.check(number(&outcome, fact) == expected, fact);
    }
    // The threads did work while the forks went on. Each step of a connection attempt lets the
    // forks go first that wait: 130 were opened on two processors with six programs besides.
    outcome.check(number(&outcome, "opened") > FORKS / 60, "opened");
}

#[test]
fn unguarded_children_hold_live_sessions() {
    let outcome = forks_under_load(Transport::Tcp, false, 200);
    outcome.check(number(&outcome, "live") > 200, "at least one in each child");
}

#[test]
fn no_session_is_missed_over_unix_sockets() {
    misses_nothing(Transport::Unix);
}

#[test]
fn no_session_is_missed_over_tcp() {
    misses_nothing(Transport::Tcp);
}

#[test]
fn no_session_is_missed_over_tls() {
    misses_nothing(Transport::Tls);
}
