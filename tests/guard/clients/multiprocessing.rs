//! `multiprocessing.Pool` and `ProcessPoolExecutor`, started by fork: `tests/programs/workers.py`.

use super::{parents, said, set_of_lists, UNGUARDED_LIMIT};
use crate::support::{cluster, python, Policy, Run, Transport};

/// What `workers.py` does.
const WORKERS: usize = 3;
const TASKS: u64 = 60;

#[test]
fn a_pool_of_workers() {
    everywhere("Pool");
}

#[test]
fn an_executor() {
    everywhere("ProcessPoolExecutor");
}

fn everywhere(kind: &str) {
    for transport in Transport::ALL {
        unguarded(kind, transport);
        for policy in Policy::all() {
            guarded(kind, transport, *policy);
        }
    }
}

/// The tasks together may take so many seconds.
fn program(kind: &str, transport: Transport, seconds: u32) -> Run {
    python("workers")
        .arg(kind)
        .arg(seconds.to_string())
        .envs(cluster().environment(transport))
}

/// Three workers on one session: what comes of it changes from run to run, but never all right.
fn unguarded(kind: &str, transport: Transport) {
    let outcome = program(kind, transport, 3).timeout(UNGUARDED_LIMIT).run();
    let parent = parents(&outcome, 1)[0];
    let workers = said(&outcome, "worker");
    outcome.check(
        outcome.timed_out
            || !said(&outcome, "hung").is_empty()
            || workers
                .iter()
                .any(|said| said.number("right") < said.number("asked"))
            || workers.iter().any(|said| said.number("failed") > 0)
            || set_of_lists(&workers, "backends").contains(&parent),
        "the fault: workers that hang, err, or share their parent's session",
    );
}

fn guarded(kind: &str, transport: Transport, policy: Policy) {
    let server = cluster();
    let mark = server.log_mark();
    let outcome = program(kind, transport, 30).policy(policy).run();
    outcome.ok();
    let parents = parents(&outcome, 1);

    let workers = said(&outcome, "worker");
    outcome
        .check(workers.len() == WORKERS, "every worker had a task")
        .check(
            workers.iter().map(|said| said.number("asked")).sum::<u64>() == TASKS,
            "every task was done",
        );
    let lost = u64::from(policy == Policy::Abandon);
    for worker in &workers {
        outcome
            .check(worker.all_right(worker.number("asked")), "right answers")
            .check(
                worker.number("failed") == lost && worker.number("lost") == lost,
                "one error, and the driver knows the connection for lost; or none",
            );
    }
    let fresh = set_of_lists(&workers, "backends");
    outcome
        .check(fresh.len() == WORKERS, "one session a worker, its own")
        .check(!fresh.contains(&parents[0]), "not the parent's");
    let after = said(&outcome, "after");
    outcome.check(
        after.len() == 1 && after[0].number("same") == 1,
        "the parent's session is what it was",
    );
    let all = fresh
        .union(&parents.iter().copied().collect())
        .copied()
        .collect();
    server.saw_nothing_wrong(mark, &parents, &all);
}
