//! Workers forked after the application was loaded: `tests/programs/web_client.py`, `web_app.py`.

use super::{parents, said, UNGUARDED_LIMIT};
use crate::support::{cluster, python, root, Policy, Run, Transport};

/// What `web_client.py` does.
const REQUESTS: u64 = 120;
const WORKERS: u64 = 3;

#[test]
fn gunicorn_with_preload() {
    everywhere("gunicorn");
}

#[test]
fn uwsgi_as_it_is() {
    everywhere("uwsgi");
}

fn everywhere(web: &str) {
    for transport in Transport::ALL {
        unguarded(web, transport);
        for policy in Policy::all() {
            guarded(web, transport, *policy);
        }
    }
}

/// A request may take so many seconds.
fn program(web: &str, transport: Transport, seconds: u32) -> Run {
    python("web_client")
        .arg(web)
        .arg(seconds.to_string())
        .env("PYTHONPATH", root().join("tests/programs"))
        .envs(cluster().environment(transport))
}

/// Three workers on one session: what comes of it changes from run to run, but never all right.
fn unguarded(web: &str, transport: Transport) {
    let outcome = program(web, transport, 2).timeout(UNGUARDED_LIMIT).run();
    let parent = parents(&outcome, 1)[0];
    let requests = said(&outcome, "requests");
    outcome.check(
        requests.is_empty()
            || requests[0].number("right") < REQUESTS
            || requests[0].numbers("backends").contains(&parent),
        "the fault: requests that hang, err, get another's answer or share the parent's session",
    );
}

fn guarded(web: &str, transport: Transport, policy: Policy) {
    let server = cluster();
    let mark = server.log_mark();
    let outcome = program(web, transport, 20).policy(policy).run();
    outcome.ok();
    let parents = parents(&outcome, 1);

    let requests = &said(&outcome, "requests")[0];
    let backends = requests.numbers("backends");
    let lost = requests.number("lost");
    outcome
        .check(requests.number("wrong") == 0, "no wrong answer")
        .check(requests.number("failed") == 0, "no other error")
        .check(
            match policy {
                // A worker that nobody asked twice has none of its own.
                Policy::Abandon => (1..=WORKERS).contains(&lost) && backends.len() as u64 <= lost,
                Policy::Resume => lost == 0 && backends.len() as u64 <= WORKERS,
            },
            "one error and one session a worker at most; or no error",
        )
        .check(backends.len() > 1, "more than one worker")
        .check(
            requests.number("right") + lost == REQUESTS,
            "an answer each",
        )
        .check(!backends.contains(&parents[0]), "not the parent's");
    let after = said(&outcome, "after");
    outcome.check(
        after.len() == 1
            && match web {
                "uwsgi" => after[0].number("alive") == parents[0],
                _ => after[0].number("same") == 1,
            },
        "the parent's session is what it was",
    );
    let all = backends
        .into_iter()
        .chain(parents.iter().copied())
        .collect();
    if web == "uwsgi" {
        // Its master says no goodbye: over TLS a server calls that a reset, guarded or not.
        server.wait_for_end(mark, &parents);
        server.saw_no_fault(mark, &all);
    } else {
        server.saw_nothing_wrong(mark, &parents, &all);
    }
}
