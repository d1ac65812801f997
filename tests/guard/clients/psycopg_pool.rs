//! psycopg_pool: `tests/programs/psycopg_pools.py`.

use super::{parents, said, set_of_lists, UNGUARDED_LIMIT};
use crate::support::{cluster, python, Run, Transport};

/// What `psycopg_pools.py` does: connections of a pool, children, questions of a process.
const SIZE: usize = 3;
const CHILDREN: usize = 3;
const QUESTIONS: u64 = 15;

#[test]
fn a_child_finds_the_pool_lost_and_opens_its_own() {
    for implementation in ["binary", "python"] {
        for transport in Transport::ALL {
            unguarded(implementation, transport);
            guarded(implementation, transport);
        }
    }
}

/// No process of it lives longer than so many seconds.
fn program(implementation: &str, transport: Transport, seconds: u32) -> Run {
    python("psycopg_pools")
        .arg(seconds.to_string())
        .env("PSYCOPG_IMPL", implementation)
        .envs(cluster().environment(transport))
}

fn unguarded(implementation: &str, transport: Transport) {
    let outcome = program(implementation, transport, 3)
        .timeout(UNGUARDED_LIMIT)
        .run();
    let inherited = said(&outcome, "child")[0].numbers("inherited");
    outcome.check(
        parents(&outcome, SIZE)
            .iter()
            .all(|parent| inherited.contains(parent)),
        "the fault: a child is answered by its parent's sessions",
    );
    // The child closed its pool, and with it the parent's sessions.
    outcome.check(
        !said(&outcome, "after")
            .iter()
            .any(|said| said.number("same") == SIZE as u64),
        "the fault: the parent's sessions do not all survive",
    );
}

fn guarded(implementation: &str, transport: Transport) {
    let server = cluster();
    let mark = server.log_mark();
    let outcome = program(implementation, transport, 30).guarded(true).run();
    outcome.ok();
    let parents = parents(&outcome, SIZE);

    let children = said(&outcome, "child");
    outcome.check(children.len() == CHILDREN, "every child");
    for child in &children {
        outcome
            .check(
                child.numbers("inherited").is_empty(),
                "no answer from the parent's sessions",
            )
            .check(
                child.number("tried") == SIZE as u64 && child.number("lost") == SIZE as u64,
                "each of them lost, and the driver knows",
            )
            .check(
                child.all_right(QUESTIONS),
                "right answers from its own pool",
            );
    }
    let fresh = set_of_lists(&children, "backends");
    outcome
        .check(
            parents.iter().all(|parent| !fresh.contains(parent)),
            "fresh",
        )
        .check(said(&outcome, "broken").is_empty(), "no child broke off");

    let asking = said(&outcome, "asking");
    let after = said(&outcome, "after");
    outcome
        .check(
            asking.len() == 1 && asking[0].all_right(QUESTIONS),
            "the parent's answers",
        )
        .check(
            after.len() == 1 && after[0].number("same") == SIZE as u64,
            "the parent's sessions are what they were",
        );
    let all = fresh
        .union(&parents.iter().copied().collect())
        .copied()
        .collect();
    server.saw_nothing_wrong(mark, &parents, &all);
}
