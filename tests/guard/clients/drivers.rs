//! The drivers by themselves, each over every transport, with sessions that are in use, which no
//! policy can resume, or that do not go through libpq: `tests/programs/drivers.py`.

use super::{parents, said, set, Said, UNGUARDED_LIMIT};
use crate::support::{cluster, python, Policy, Run, Transport};
use std::collections::HashSet;

/// What `drivers.py` does: sessions, children that use all of them, questions of a process.
const SESSIONS: usize = 3;
const CHILDREN: usize = 4;
const QUESTIONS: u64 = 45;

/// What libpq's clients know for the end of a connection: plain; over TLS with the libpq of
/// Debian and psycopg2's wheel; with that of psycopg's.
const LIBPQ: &[&str] = &[
    "server closed the connection unexpectedly",
    // psycopg, of one whose status is bad before the query.
    "the connection is closed",
    "SSL SYSCALL error: EOF detected",
    "SSL error: unexpected eof while reading",
];

#[test]
fn psycopg2() {
    everywhere("psycopg2", "", LIBPQ);
}

#[test]
fn psycopg_with_its_compiled_half() {
    everywhere("psycopg", "binary", LIBPQ);
}

#[test]
fn psycopg_in_pure_python() {
    everywhere("psycopg", "python", LIBPQ);
}

#[test]
fn asyncpg() {
    everywhere("asyncpg", "", &["ConnectionDoesNotExistError"]);
}

#[test]
fn pg8000() {
    everywhere("pg8000", "", &["InterfaceError: network error"]);
}

fn everywhere(driver: &str, implementation: &str, lost: &[&str]) {
    for transport in Transport::ALL {
        unguarded(driver, implementation, transport);
        for policy in Policy::all() {
            guarded(driver, implementation, transport, lost, *policy);
        }
    }
}

/// No process of it lives longer than so many seconds.
fn program(driver: &str, implementation: &str, transport: Transport, seconds: u32) -> Run {
    python("drivers")
        .arg(driver)
        .arg(seconds.to_string())
        .env("PSYCOPG_IMPL", implementation)
        .envs(cluster().environment(transport))
}

/// The fault, in what does not depend on who comes first.
fn unguarded(driver: &str, implementation: &str, transport: Transport) {
    let outcome = program(driver, implementation, transport, 3)
        .timeout(UNGUARDED_LIMIT)
        .run();
    let parents = parents(&outcome, SESSIONS);

    let first = said(&outcome, "first");
    outcome.check(
        first[0].is("error", "") && parents.contains(&first[0].number("backend")),
        "the fault: the first child is answered by its parent's session",
    );
    // asyncpg names its statements itself, and trips over the child's. The others take in the
    // clear what comes for their own, the child's row, without an error.
    let asked = said(&outcome, "asked");
    if transport == Transport::Tls || driver == "asyncpg" {
        outcome.check(asked[0].get("error").is_some(), "the fault: an error");
    } else {
        outcome.check(asked[0].is("answer", "the child"), "the fault: a wrong row");
    }
    let sessions = said(&outcome, "session");
    let intact = |said: &&Said| said.is("right", "True") && said.is("same", "True");
    outcome.check(
        sessions.iter().filter(intact).count() < SESSIONS,
        "the fault: the parent's sessions do not all survive",
    );
}

fn guarded(
    driver: &str,
    implementation: &str,
    transport: Transport,
    lost: &[&str],
    policy: Policy,
) {
    let server = cluster();
    let mark = server.log_mark();
    // 30 seconds: half a second's work on a loaded machine.
    let outcome = program(driver, implementation, transport, 30)
        .policy(policy)
        .run();
    outcome.ok();
    let parents = parents(&outcome, SESSIONS);

    let first = said(&outcome, "first");
    outcome.check(
        first.len() == 1 + CHILDREN * SESSIONS,
        "the killed child tried one session, the others all",
    );
    for first in &first {
        let error = first.get("error").unwrap_or_default();
        outcome
            .check(
                lost.iter().any(|lost| error.contains(lost)),
                "a lost connection",
            )
            .check(first.is("lost", "True"), "the driver knows it for lost");
    }
    let fresh = set(&first, "backend");
    outcome
        .check(fresh.len() == first.len(), "a fresh session each")
        .check(
            fresh.is_disjoint(&parents.iter().copied().collect()),
            "fresh",
        );

    outcome.check(
        said(&outcome, "asked")
            .iter()
            .all(|said| said.is("answer", "the parent")),
        "the parent's own answer after a child was killed",
    );
    let children = said(&outcome, "child");
    outcome
        .check(set(&children, "pid").len() == CHILDREN, "every child")
        .check(
            children.iter().all(|child| child.all_right(QUESTIONS)),
            "right answers",
        );
    let asking = said(&outcome, "asking");
    outcome
        .check(
            asking.len() == 1 && asking[0].all_right(QUESTIONS),
            "the parent's, too",
        )
        .check(said(&outcome, "broken").is_empty(), "no child broke off");

    let sessions = said(&outcome, "session");
    outcome
        .check(sessions.len() == SESSIONS, "every session of the parent")
        .check(
            sessions
                .iter()
                .all(|said| said.is("right", "True") && said.is("same", "True")),
            "the same session, in the same state",
        );
    let all: HashSet<u64> = parents.iter().copied().chain(fresh).collect();
    server.saw_nothing_wrong(mark, &parents, &all);
}
