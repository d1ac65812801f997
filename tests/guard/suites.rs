//! Other people's tests, in part: what became of each without the library became of it under the
//! library, too. All of them: `make suites`.

use crate::support::{library, root, Outcome, Run};
use std::time::Duration;

/// A minute each on a quiet machine; the machine may have ten times as much to do.
fn short(suite: &str) -> Outcome {
    Run::new(root().join("tools/suites/run"))
        .args(["--short", suite])
        .env("FORKGUARD_LIBRARY", library())
        .timeout(Duration::from_secs(600))
        .run()
}

/// psycopg2's own tests of connections, cursors, COPY, large objects, notifications, cancels and
/// asynchronous and green work: the library changes nothing where nobody forks.
#[test]
fn psycopg2s_tests_end_as_without() {
    let outcome = short("psycopg2");
    println!("{}", outcome.stdout);
    outcome.ok();
}

/// The same tests, each of which goes on in a forked child behind each connection that it makes:
/// what a child does on resumed sessions, its parent would have done on its own.
#[test]
fn psycopg2s_tests_end_in_forked_children_as_without() {
    let outcome = short("psycopg2-forked");
    println!("{}", outcome.stdout);
    outcome.ok();
}
