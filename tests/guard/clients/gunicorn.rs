//! `gunicorn --preload`: `tests/programs/web_client.py` and `web_app.py`.

use super::{parents, said, UNGUARDED_LIMIT};
use crate::support::{cluster, python, root, Run, Transport};

/// What `web_client.py` does.
const REQUESTS: u64 = 120;
const WORKERS: u64 = 3;

#[test]
fn workers_forked_after_the_application_was_loaded() {
    for transport in Transport::ALL {
        unguarded(transport);
        guarded(transport);
    }
}

/// A request may take so many seconds.
fn program(transport: Transport, seconds: u32) -> Run {
    python("web_client")
        .arg(seconds.to_string())
        .env("PYTHONPATH", root().join("tests/programs"))
        .envs(cluster().environment(transport))
}

/// Three workers on one session: what comes of it changes from run to run, but never all right.
fn unguarded(transport: Transport) {
    let outcome = program(transport, 2).timeout(UNGUARDED_LIMIT).run();
    let parent = parents(&outcome, 1)[0];
    let requests = said(&outcome, "requests");
    outcome.check(
        requests.is_empty()
            || requests[0].number("right") < REQUESTS
            || requests[0].numbers("backends").contains(&parent),
        "the fault: requests that hang, err, get another's answer or share the parent's session",
    );
}

fn guarded(transport: Transport) {
    let server = cluster();
    let mark = server.log_mark();
    let outcome = program(transport, 20).guarded(true).run();
    outcome.ok();
    let parents = parents(&outcome, 1);

    let requests = &said(&outcome, "requests")[0];
    let backends = requests.numbers("backends");
    let lost = requests.number("lost");
    outcome
        .check(requests.number("wrong") == 0, "no wrong answer")
        .check(requests.number("failed") == 0, "no other error")
        .check(
            (1..=WORKERS).contains(&lost),
            "at most one error a worker, which reads as lost",
        )
        .check(
            requests.number("right") + lost == REQUESTS,
            "an answer each",
        )
        // A worker that nobody asked twice has none of its own.
        .check(
            backends.len() as u64 <= lost && backends.len() > 1,
            "one session a worker",
        )
        .check(!backends.contains(&parents[0]), "not the parent's");
    let after = said(&outcome, "after");
    outcome.check(
        after.len() == 1 && after[0].number("same") == 1,
        "the parent's session is what it was",
    );
    let all = backends
        .into_iter()
        .chain(parents.iter().copied())
        .collect();
    server.saw_nothing_wrong(mark, &parents, &all);
}
