//! SQLAlchemy over both of its psycopg dialects: `tests/programs/alchemy.py`. What is abandoned
//! its pool renews when it knows it for lost; with `pool_pre_ping` the application sees no error.

use super::{parents, said, set_of_lists, UNGUARDED_LIMIT};
use crate::support::{cluster, python, Policy, Run, Transport};

/// What `alchemy.py` does: the parent's connections, children, questions of each process.
const SESSIONS: usize = 3;
const TOGETHER: usize = 3;
const QUESTIONS: u64 = 30;

#[test]
fn a_child_goes_on_with_the_pool_or_its_pool_is_renewed() {
    everywhere("plain");
}

#[test]
fn with_pool_pre_ping_a_child_sees_no_error() {
    everywhere("ping");
}

fn everywhere(ping: &str) {
    for dialect in ["psycopg2", "psycopg"] {
        for transport in Transport::ALL {
            unguarded(dialect, ping, transport);
            for policy in Policy::all() {
                guarded(dialect, ping, transport, *policy);
            }
        }
    }
}

fn program(dialect: &str, ping: &str, transport: Transport, together: usize) -> Run {
    python("alchemy")
        .args([dialect, ping, &together.to_string()])
        // No process of it lives longer than so many seconds; half a second is what it takes.
        .arg(if together == 0 { "3" } else { "30" })
        .envs(cluster().environment(transport))
}

fn unguarded(dialect: &str, ping: &str, transport: Transport) {
    let outcome = program(dialect, ping, transport, 0)
        .timeout(UNGUARDED_LIMIT)
        .run();
    let alone = &said(&outcome, "alone")[0].numbers("backends");
    outcome.check(
        parents(&outcome, SESSIONS)
            .iter()
            .any(|parent| alone.contains(parent)),
        "the fault: a child is answered by its parent's sessions",
    );
    // Should it have come so far: what one child did was to call `engine.dispose()`.
    outcome.check(
        !said(&outcome, "after")
            .iter()
            .any(|said| said.number("same") == SESSIONS as u64),
        "the fault: the parent's sessions do not all survive",
    );
}

fn guarded(dialect: &str, ping: &str, transport: Transport, policy: Policy) {
    let server = cluster();
    let mark = server.log_mark();
    let outcome = program(dialect, ping, transport, TOGETHER)
        .policy(policy)
        .run();
    outcome.ok();
    let parents = parents(&outcome, SESSIONS);

    let (alone, together) = (said(&outcome, "alone"), said(&outcome, "together"));
    let disposed = said(&outcome, "disposed");
    outcome.check(
        (alone.len(), together.len(), disposed.len()) == (1, TOGETHER, 1),
        "every child",
    );
    let (failed, state) = match policy {
        // The first loss makes SQLAlchemy renew the whole pool.
        Policy::Abandon => (u64::from(ping == "plain"), 0),
        Policy::Resume => (0, QUESTIONS),
    };
    for child in alone.iter().chain(&together) {
        outcome
            .check(child.number("failed") == failed, "errors")
            .check(child.number("lost") == failed, "connection_invalidated")
            .check(child.number("state") == state, "in its parent's settings");
    }
    outcome.check(
        disposed[0].number("failed") == 0,
        "a pool disposed of inherits nothing",
    );
    let children: Vec<_> = [alone, together, disposed].into_iter().flatten().collect();
    outcome.check(
        children.iter().all(|child| child.all_right(QUESTIONS)),
        "right answers",
    );
    // Two of each child's own: it holds two at a time.
    let fresh = set_of_lists(&children, "backends");
    outcome
        .check(
            fresh.len() == 2 * children.len(),
            "sessions of each child's own",
        )
        .check(
            parents.iter().all(|parent| !fresh.contains(parent)),
            "none the parent's",
        );

    let asking = said(&outcome, "asking");
    outcome
        .check(
            asking.len() == 1 && asking[0].all_right(QUESTIONS) && asking[0].number("failed") == 0,
            "the parent's answers",
        )
        .check(said(&outcome, "broken").is_empty(), "no child broke off");
    let after = said(&outcome, "after");
    outcome.check(
        after.len() == 1 && after[0].number("same") == SESSIONS as u64,
        "the parent's sessions, one of them in its transaction",
    );
    let all = fresh
        .union(&parents.iter().copied().collect())
        .copied()
        .collect();
    server.saw_nothing_wrong(mark, &parents, &all);
}
