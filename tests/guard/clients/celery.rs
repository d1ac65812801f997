//! A Celery prefork worker: the demo's application, smaller, over other transports and drivers:
//! `tests/programs/celery_client.py`.

use super::{parents, said, set};
use crate::support::{cluster, root, script, venv, Policy, Run, Transport};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

const TASKS: usize = 40;
/// Connections that demo/tasks.py opens before the fork, and worker processes.
const SESSIONS: usize = 3;
const WORKERS: usize = 2;

#[test]
fn with_psycopg2_over_tls() {
    everywhere("psycopg2", Transport::Tls);
}

#[test]
fn with_psycopg_over_the_unix_socket() {
    everywhere("psycopg", Transport::Unix);
}

fn everywhere(dialect: &str, transport: Transport) {
    unguarded(dialect, transport);
    for policy in Policy::all() {
        guarded(dialect, transport, *policy);
    }
}

/// By this interpreter. The tasks may take so many seconds, and the worker's way out as long.
fn program(
    python: &Path,
    dialect: &str,
    transport: Transport,
    folder: &tempfile::TempDir,
    seconds: u32,
) -> Run {
    script(python, "celery_client.py")
        .arg(folder.path())
        .arg(TASKS.to_string())
        .arg(seconds.to_string())
        .env("DEMO_DATABASE", format!("postgresql+{dialect}://"))
        .env("PYTHONPATH", root().join("demo"))
        // What a killed worker leaves behind goes with the folder.
        .env("TMPDIR", folder.path())
        .envs(cluster().environment(transport))
        // Half a minute to start, and twice 25 seconds.
        .timeout(Duration::from_secs(100))
}

/// Two workers on three sessions: what comes of it changes from run to run, but never all right.
fn unguarded(dialect: &str, transport: Transport) {
    let folder = tempfile::tempdir().unwrap();
    let outcome = program(&venv("python"), dialect, transport, &folder, 6).run();
    let parents = parents(&outcome, SESSIONS);
    let done = said(&outcome, "done");
    outcome.check(
        done.len() < TASKS
            || done.iter().any(|said| said.is("right", "False"))
            || !set(&done, "backend").is_disjoint(&parents.into_iter().collect()),
        "the fault: tasks that hang, err, get another's answer or share the parent's session",
    );
}

fn guarded(dialect: &str, transport: Transport, policy: Policy) {
    let folder = tempfile::tempdir().unwrap();
    let run = program(&venv("python"), dialect, transport, &folder, 25).policy(policy);
    works(run, policy);
}

/// In an environment that has celery, the worker started by `forkguard run`.
pub fn guarded_by(command: &Path, python: &Path) {
    unguarded("psycopg2", Transport::Tcp);
    let folder = tempfile::tempdir().unwrap();
    let run = program(python, "psycopg2", Transport::Tcp, &folder, 25)
        .env("CELERY_UNDER", format!("{} run --", command.display()))
        .env("FORKGUARD_POLICY", "");
    works(run, Policy::Resume);
}

fn works(run: Run, policy: Policy) {
    let server = cluster();
    let mark = server.log_mark();
    let outcome = run.run();
    outcome.ok();
    let parents = parents(&outcome, SESSIONS);

    let (done, failed) = (said(&outcome, "done"), said(&outcome, "failed"));
    outcome
        .check(
            done.len() + failed.len() == TASKS,
            "every task came to its end",
        )
        .check(
            done.iter().all(|said| said.is("right", "True")),
            "no wrong answer",
        );
    let workers = set(&done, "worker");
    outcome
        .check(workers.len() == WORKERS, "both workers worked")
        .check(
            match policy {
                // The first loss makes SQLAlchemy renew the whole pool.
                Policy::Abandon => failed.len() == WORKERS && set(&failed, "worker") == workers,
                Policy::Resume => failed.is_empty(),
            },
            "one error each, or none",
        )
        .check(
            failed.iter().all(|said| said.is("disconnect", "True")),
            "which SQLAlchemy takes for a lost connection",
        );

    let mut users = HashMap::new();
    for task in &done {
        let user = users
            .entry(task.number("backend"))
            .or_insert(task.number("worker"));
        outcome.check(*user == task.number("worker"), "no session is shared");
    }
    outcome.check(
        parents.iter().all(|parent| !users.contains_key(parent)),
        "none is the parent's",
    );
    let after = said(&outcome, "after");
    outcome.check(
        after.len() == 1 && after[0].number("same") == SESSIONS as u64,
        "the parent's sessions are what they were",
    );
    let all = users.into_keys().chain(parents.iter().copied()).collect();
    server.saw_nothing_wrong(mark, &parents, &all);
}
