//! Idle sessions of every kind of client: `tests/programs/idle.*`. Guarded by `resume`, a child
//! goes on with equal sessions of its own, and nothing fails. (That behind PgBouncer is in
//! `pgbouncer.rs`.)

use super::{parents, said, set, set_of_lists, Said};
use crate::support::{
    cluster, compile, other_system, php, python, script, slowness, Outcome, Policy, Run, Transport,
};
use std::collections::HashSet;

/// What the programs do: idle sessions, one more that is in use, children, a process's questions.
pub(super) const IDLE: usize = 3;
pub(super) const SESSIONS: usize = IDLE + 1;
pub(super) const CHILDREN: usize = 4;
pub(super) const QUESTIONS: u64 = 30;

/// What an inherited session's loss looks like to a child's user under `abandon`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// An error for each, and the driver knows it for a lost connection.
    Errors,
    /// None: a pool asks whether they live, or threw them away.
    Nothing,
}

#[test]
fn c() {
    everywhere(|| Run::new(compile("idle")).arg("fork"), Loss::Errors);
}

#[test]
fn psycopg2() {
    everywhere(|| python("idle").args(["psycopg2", "all"]), Loss::Errors);
}

#[test]
fn psycopg() {
    everywhere(|| python("idle").args(["psycopg", "all"]), Loss::Errors);
}

/// By ctypes: no call of it passes the process's own symbols.
#[test]
fn psycopg_in_pure_python() {
    let program = || {
        python("idle")
            .args(["psycopg", "all"])
            .env("PSYCOPG_IMPL", "python")
    };
    everywhere(program, Loss::Errors);
}

#[test]
fn django_with_persistent_connections() {
    everywhere(|| python("idle").args(["django", "all"]), Loss::Errors);
}

#[test]
fn ruby_pg() {
    everywhere(|| script("ruby", "idle.rb").arg("pg"), Loss::Errors);
}

#[test]
fn activerecord_without_its_fork_hooks() {
    everywhere(|| script("ruby", "idle.rb").arg("unhooked"), Loss::Nothing);
}

/// As it is: its hooks throw the pool away in every child, whoever guards it.
#[test]
fn activerecord() {
    let program = || script("ruby", "idle.rb").arg("activerecord");
    for transport in Transport::ALL {
        for policy in Policy::all() {
            guarded(&program, transport, *policy, |child| {
                child.number("failed") == 0 && child.number("state") == 0
            });
        }
    }
}

#[test]
fn perl_dbd_pg() {
    everywhere(|| script("perl", "idle.pl"), Loss::Errors);
}

#[test]
fn php_pg_connect() {
    everywhere(|| php().arg("pg_connect"), Loss::Errors);
}

#[test]
fn php_pg_pconnect() {
    everywhere(|| php().arg("pg_pconnect"), Loss::Errors);
}

#[test]
fn php_pdo() {
    everywhere(|| php().arg("PDO"), Loss::Errors);
}

/// A program that puts itself into the background with two forks of its own.
#[test]
fn a_daemon_goes_on() {
    let program = || Run::new(compile("idle")).args(["daemon", "1", "30"]);
    for transport in Transport::ALL {
        let run = || program().envs(cluster().environment(transport));
        for policy in Policy::all() {
            let server = cluster();
            let mark = server.log_mark();
            let outcome = run().policy(*policy).run();
            outcome.ok();
            let parents = parents(&outcome, SESSIONS);
            judge(
                &outcome,
                &parents,
                1,
                "backends",
                expect(*policy, Loss::Errors),
            );
            let all = set_of_lists(&said(&outcome, "child"), "backends");
            // Its first process is gone, and does not say goodbye.
            server.wait_for_end(mark, &parents);
            server.saw_no_fault(mark, &all);
        }
    }
}

fn everywhere(program: impl Fn() -> Run, loss: Loss) {
    for transport in Transport::ALL {
        unguarded(&program, transport);
        for policy in Policy::all() {
            guarded(&program, transport, *policy, expect(*policy, loss));
        }
    }
}

/// What each child's line should say.
fn expect(policy: Policy, loss: Loss) -> impl Fn(&Said) -> bool {
    let (failed, state) = match (policy, loss) {
        (Policy::Resume, _) => (0, IDLE as u64),
        (Policy::Abandon, Loss::Errors) => (IDLE as u64, 0),
        (Policy::Abandon, Loss::Nothing) => (0, 0),
    };
    move |child| {
        child.number("failed") == failed
            && child.number("lost") == failed
            && child.number("state") == state
    }
}

/// So many, where programs run as fast as here.
fn seconds(number: usize) -> usize {
    number * slowness() as usize
}

/// One child alone: more of them hang, and what they meet changes from run to run.
fn unguarded(program: &impl Fn() -> Run, transport: Transport) {
    if other_system().is_some() {
        // As many as with the library, to be counted beside it.
        let all = program()
            .args([CHILDREN, seconds(3)].map(|number| number.to_string()))
            .envs(cluster().environment(transport))
            .timeout(super::UNGUARDED_LIMIT)
            .run();
        count(&all, transport, "without");
    }
    let outcome = program()
        .args([1, seconds(3)].map(|number| number.to_string()))
        .envs(cluster().environment(transport))
        .timeout(super::UNGUARDED_LIMIT)
        .run();
    let parents = parents(&outcome, SESSIONS);
    let child = set_of_lists(&said(&outcome, "child"), "backends");
    outcome.check(
        child == parents[..IDLE].iter().copied().collect(),
        "the fault: a child is answered by its parent's sessions",
    );
}

fn guarded(
    program: &impl Fn() -> Run,
    transport: Transport,
    policy: Policy,
    expected: impl Fn(&Said) -> bool,
) {
    let server = cluster();
    let mark = server.log_mark();
    // 30 seconds: half a second's work on a loaded machine.
    let outcome = program()
        .args([CHILDREN, seconds(30)].map(|number| number.to_string()))
        .envs(server.environment(transport))
        .policy(policy)
        .run();
    if policy == Policy::Resume && other_system().is_some() {
        count(&outcome, transport, "with");
    }
    outcome.ok();
    let parents = parents(&outcome, SESSIONS);
    let fresh = judge(&outcome, &parents, CHILDREN, "backends", expected);
    undisturbed(&outcome);
    let all = fresh.into_iter().chain(parents.iter().copied()).collect();
    server.saw_nothing_wrong(mark, &parents, &all);
}

/// What a run came to, for the table of `tools/test-glibc`: each number with what it should be.
fn count(outcome: &Outcome, transport: Transport, library: &str) {
    let (children, asking) = (said(outcome, "child"), said(outcome, "asking"));
    let sum = |said: &[Said], name| said.iter().map(|said| said.number(name)).sum::<u64>();
    // Without the library a backend's number may be another answer's text.
    let backends = |said: &[Said]| -> HashSet<u64> {
        let texts = said.iter().filter_map(|said| said.get("backends"));
        let numbers = texts.flat_map(|text| text.split(',').map(str::parse));
        numbers.filter_map(Result::ok).collect()
    };
    let own = &backends(&children) - &backends(&said(outcome, "parent"));
    let test = std::thread::current();
    println!(
        "table: {}\t{transport:?}\t{library}\t{} {}\t{} {}\t{} {}\t{} {QUESTIONS}\t{} {SESSIONS}",
        test.name().unwrap_or("?").rsplit(':').next().unwrap_or("?"),
        sum(&children, "right"),
        CHILDREN as u64 * QUESTIONS,
        sum(&children, "state"),
        CHILDREN * IDLE,
        own.len(),
        CHILDREN * IDLE,
        sum(&asking, "right"),
        sum(&said(outcome, "after"), "same"),
    );
}

/// The children's answers are right, from `sessions` of their own. Those sessions.
pub(super) fn judge(
    outcome: &Outcome,
    parents: &[u64],
    count: usize,
    sessions: &str,
    expected: impl Fn(&Said) -> bool,
) -> HashSet<u64> {
    let children = said(outcome, "child");
    outcome
        .check(said(outcome, "broken").is_empty(), "no child broke off")
        .check(set(&children, "pid").len() == count, "every child");
    for child in &children {
        outcome
            .check(child.all_right(QUESTIONS), "right answers")
            .check(expected(child), "what fails, is lost, is kept");
    }
    let fresh = set_of_lists(&children, sessions);
    outcome
        .check(fresh.len() == count * IDLE, "sessions of each child's own")
        .check(
            parents.iter().all(|parent| !fresh.contains(parent)),
            "none the parent's",
        );
    fresh
}

/// The parent's answers beside its children, and its sessions afterwards.
pub(super) fn undisturbed(outcome: &Outcome) {
    let (asking, after) = (said(outcome, "asking"), said(outcome, "after"));
    outcome
        .check(
            asking.len() == 1 && asking[0].all_right(QUESTIONS) && asking[0].number("failed") == 0,
            "the parent's answers",
        )
        .check(
            after.len() == 1 && after[0].number("same") == SESSIONS as u64,
            "the parent's sessions are what they were, one of them in its transaction",
        );
}
