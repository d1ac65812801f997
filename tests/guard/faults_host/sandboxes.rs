//! Sandboxes that kill whoever makes a call that they do not know (seccomp): what system calls the
//! library makes beside the program's own.

use crate::facts::Facts;
use crate::support::{cluster, compile, root, Outcome, Run, Transport};
use std::collections::{BTreeMap, BTreeSet};

/// The kernel's names of this processor's system calls, by number.
fn names() -> BTreeMap<String, String> {
    let header = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"; // Debian's linux-libc-dev
    let text = std::fs::read_to_string(header).expect("linux-libc-dev");
    let define = |line: &str| {
        let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
        Some((number.trim().to_owned(), name.to_owned()))
    };
    text.lines().filter_map(define).collect()
}

fn run(what: &[&str], policy: Option<&str>) -> Outcome {
    let run = Run::new(compile("traced"))
        .arg(cluster().conninfo(Transport::Unix))
        .args(what);
    let outcome = match policy {
        Some(policy) => run.guarded(true).env("FORKGUARD_POLICY", policy),
        None => run,
    }
    .run();
    outcome.check(outcome.fact("ended") == "exit 0", "the child ends well");
    outcome
}

/// The calls, each with how often it was made.
fn counted(what: &[&str], policy: Option<&str>) -> BTreeMap<String, u64> {
    let (outcome, names) = (run(what, policy), names());
    let calls = outcome.facts("call");
    let calls = calls.iter().filter_map(|call| call.split_once(' '));
    calls
        .map(|(number, count)| (names[number].clone(), count.parse().unwrap()))
        .collect()
}

#[test]
fn before_the_first_session_no_hook_makes_a_system_call() {
    let without = counted(&["strangers"], None);
    assert!(without.values().sum::<u64>() > 60, "{without:?}");
    for policy in ["resume", "abandon", "report", "off"] {
        assert_eq!(counted(&["strangers"], Some(policy)), without, "{policy}");
    }
    // And that they would be seen: a child that uses a session makes some.
    let (session, own) = (counted(&["session"], Some("resume")), "dup3");
    assert!(session.contains_key(own), "{session:?}");
}

#[test]
fn strict_sandboxes_kill_nobody() {
    let well = |outcome: &Outcome| {
        for child in ["connects", "inherits", "pair"] {
            outcome.check(outcome.fact(child) == "exit 0", child);
        }
    };
    well(&Run::new(compile("strict")).run());
    for policy in ["resume", "abandon", "report", "off"] {
        let run = Run::new(compile("strict")).guarded(true);
        well(&run.env("FORKGUARD_POLICY", policy).run());
    }
}

/// What a sandbox must allow for the library beside what libpq needs: docs/RELIABILITY.md lists it.
#[test]
fn calls_that_a_sandbox_must_allow_beside_libpqs() {
    let beside = |guarded: &[&str], without: &[&str]| {
        let known = counted(without, None);
        let calls = counted(guarded, Some("resume"));
        let more: BTreeSet<_> = calls
            .into_keys()
            .filter(|call| !known.contains_key(call))
            .collect();
        let more: Vec<_> = more.iter().map(|call| format!("`{call}`")).collect();
        more.join(", ")
    };
    let page = std::fs::read_to_string(root().join("docs/RELIABILITY.md")).unwrap();
    let mut missing = Vec::new();
    for (who, guarded, without) in [
        (
            "a child whose parent has sessions",
            ["session"].as_slice(),
            ["session", "anew"].as_slice(),
        ),
        ("a child without, which connects", &["own"], &["own"]),
        (
            "a program that it becomes, which connects",
            &["exec"],
            &["exec"],
        ),
    ] {
        let line = format!("| {who} | {} |", beside(guarded, without));
        println!("{line}");
        if !page.contains(&line) {
            missing.push(line);
        }
    }
    assert!(
        missing.is_empty(),
        "not in docs/RELIABILITY.md: {missing:#?}"
    );
}
