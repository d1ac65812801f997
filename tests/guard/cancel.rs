//! A cancel opens a connection of its own, and names a backend by its number and key: a child
//! that holds its parent's cancels its parent's statement: `tests/programs/cancels.c` and `.py`.

use crate::clients::said;
use crate::facts::Facts;
use crate::support::{cluster, compile, python, root, Policy, Run, Transport};
use std::os::unix::fs::symlink;

/// How many of `cancels.c`'s ways a libpq has: all, or without PQcancelCreate and its like (17).
const WAYS: usize = 4;
const ALL_WAYS: usize = 7;
/// query_canceled
const CANCELLED: &str = "57014";

/// The policies under which a child's cancel is kept from its parent: both, as soon as the
/// library knows libpq's entry points.
fn policies() -> &'static [Policy] {
    match Policy::all() {
        [Policy::Abandon] => &[],
        all => all,
    }
}

#[test]
fn with_debians_libpq() {
    everywhere(WAYS, || Run::new(compile("cancels")));
}

/// The one in psycopg's wheel.
#[test]
fn with_a_libpq_that_encrypts_its_cancels() {
    let folder = tempfile::tempdir().unwrap();
    let wheel = std::fs::read_dir(root().join("target/venv/lib"))
        .expect("target/venv: run tools/setup")
        .map(|python| {
            python
                .unwrap()
                .path()
                .join("site-packages/psycopg_binary.libs")
        })
        .find(|libraries| libraries.exists())
        .expect("psycopg-binary: run tools/setup");
    // Its libraries find each other in the folder they are loaded from.
    for library in std::fs::read_dir(wheel).unwrap() {
        let library = library.unwrap();
        let name = library.file_name();
        if name.to_str().unwrap().starts_with("libpq-") {
            symlink(library.path(), folder.path().join("libpq.so.5")).unwrap();
        }
        symlink(library.path(), folder.path().join(name)).unwrap();
    }
    everywhere(ALL_WAYS, || {
        Run::new(compile("cancels")).env("LD_LIBRARY_PATH", folder.path())
    });
}

fn everywhere(ways: usize, program: impl Fn() -> Run) {
    for transport in [Transport::Unix, Transport::Tls] {
        for when in ["busy", "idle"] {
            let run = |own: &str| {
                program()
                    .args([when, own, &ways.to_string()])
                    .envs(cluster().environment(transport))
            };
            let outcome = run("leave").run();
            let statements = outcome.ok().facts("parent's statement");
            outcome.check(
                statements.len() == ways && statements.iter().all(|said| said.ends_with(CANCELLED)),
                "the fault: each of the parent's statements is cancelled",
            );
            for policy in policies() {
                let outcome = run("own").policy(*policy).run();
                let statements = outcome.ok().facts("parent's statement");
                outcome
                    .check(
                        statements.len() == ways
                            && statements.iter().all(|said| said.ends_with(": finished")),
                        "the parent's statements come to their end",
                    )
                    .check(outcome.fact("child") == "exit 0", "a child that ends")
                    .check(
                        outcome.facts("child's cancel").len() == ways,
                        "each cancel returned",
                    );
                // What was under way at the fork is nobody's to resume.
                let resumed = *policy == Policy::Resume && when == "idle";
                let own = outcome.facts("own");
                outcome
                    .check(
                        own.len() == if resumed { ways } else { 0 },
                        "resumed, or not",
                    )
                    .check(
                        own.iter().all(|said| {
                            said.ends_with(&format!(": 1, {CANCELLED}"))
                                // There is no way to give a PGcancelConn another backend.
                                || said.starts_with("PQcancelBlocking, made before the fork: ")
                        }),
                        "the child's own statements are cancelled",
                    );
            }
        }
    }
}

#[test]
fn psycopg2() {
    driver("psycopg2", &["cancel"]);
}

#[test]
fn psycopg() {
    driver("psycopg", &["cancel", "cancel_safe"]);
}

fn driver(name: &str, ways: &[&str]) {
    for transport in [Transport::Unix, Transport::Tls] {
        for when in ["busy", "idle"] {
            let run = |own: &str| {
                python("cancels")
                    .args([name, when, own])
                    .envs(cluster().environment(transport))
            };
            let outcome = run("leave").run();
            let statements = said(outcome.ok(), "statement");
            outcome.check(
                statements.len() == ways.len()
                    && statements.iter().all(|said| said.is("result", CANCELLED)),
                "the fault: the parent's statement is cancelled",
            );
            for policy in policies() {
                let outcome = run("own").policy(*policy).run();
                let statements = said(outcome.ok(), "statement");
                outcome
                    .check(
                        statements.len() == ways.len()
                            && statements.iter().all(|said| said.is("result", "finished")),
                        "the parent's statement comes to its end",
                    )
                    .check(
                        said(&outcome, "cancel").len() == ways.len(),
                        "each cancel returned",
                    );
                let resumed = *policy == Policy::Resume && when == "idle";
                let own = said(&outcome, "own");
                outcome
                    .check(
                        own.len() == if resumed { ways.len() } else { 0 },
                        "resumed, or not",
                    )
                    .check(
                        own.iter().all(|said| said.is("result", CANCELLED)),
                        "the child's own statement is cancelled",
                    );
            }
        }
    }
}
