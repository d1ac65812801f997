//! psycopg_pool: `tests/programs/psycopg_pools.py`. Its threads are gone in a child, and with
//! them all that grows it, and renews what breaks.

use super::{parents, said, set_of_lists, UNGUARDED_LIMIT};
use crate::support::{cluster, psycopg_compiled, python, Policy, Run, Transport};
use std::collections::HashSet;

/// What `psycopg_pools.py` does: connections of a pool, children, questions of a process.
const SIZE: usize = 3;
const CHILDREN: usize = 3;
const QUESTIONS: u64 = 15;

#[test]
fn a_child_goes_on_with_the_pool_or_finds_it_lost() {
    for implementation in [psycopg_compiled(), "python"] {
        for transport in Transport::ALL {
            unguarded(implementation, transport);
            for policy in Policy::all() {
                guarded(implementation, transport, *policy);
            }
        }
    }
}

fn program(implementation: &str, transport: Transport, children: usize, seconds: &str) -> Run {
    python("psycopg_pools")
        .args([&(children - 1).to_string(), seconds])
        .env("PSYCOPG_IMPL", implementation)
        .envs(cluster().environment(transport))
}

fn unguarded(implementation: &str, transport: Transport) {
    let outcome = program(implementation, transport, 1, "3")
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

fn guarded(implementation: &str, transport: Transport, policy: Policy) {
    let server = cluster();
    let mark = server.log_mark();
    let outcome = program(implementation, transport, CHILDREN, "30")
        .policy(policy)
        .run();
    outcome.ok();
    let parents = parents(&outcome, SIZE);

    let children = said(&outcome, "child");
    outcome.check(children.len() == CHILDREN, "every child");
    let fresh = set_of_lists(&children, "backends");
    for child in &children {
        outcome
            .check(child.number("tried") == SIZE as u64, "each was tried")
            .check(child.all_right(QUESTIONS), "right answers");
    }
    let (lost, inherited) = match policy {
        Policy::Abandon => (SIZE as u64, HashSet::new()),
        Policy::Resume => (0, fresh.clone()),
    };
    outcome
        .check(
            children.iter().all(|child| child.number("lost") == lost),
            "lost, as the driver knows, or none",
        )
        .check(
            set_of_lists(&children, "inherited") == inherited,
            "what was inherited answers from the child's own sessions, or not at all",
        )
        .check(
            parents.iter().all(|parent| !fresh.contains(parent)),
            "none the parent's",
        )
        .check(said(&outcome, "broken").is_empty(), "no child broke off");
    if policy == Policy::Resume {
        outcome
            .check(fresh.len() == CHILDREN * SIZE, "a pool of each child's own")
            .check(
                said(&outcome, "not grown").len() == CHILDREN,
                "it serves what it holds, and nobody makes more",
            );
    }

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
