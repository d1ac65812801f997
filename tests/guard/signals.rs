//! Signal handlers may call what we interpose, at any moment, and leave by `siglongjmp`.

use crate::facts::Facts;
use crate::support::*;
use std::time::Duration;

fn run(what: &str, guarded: bool) -> Outcome {
    let log = tempfile::NamedTempFile::new().unwrap();
    let outcome = Run::new(compile("signals"))
        .arg(cluster().conninfo(Transport::Unix))
        .arg(what)
        // Every malloc and free of the program takes its arena's lock, as jemalloc's do.
        .env(
            "GLIBC_TUNABLES",
            "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0",
        )
        .env("FORKGUARD_LOG", "info")
        .env("FORKGUARD_LOG_FILE", log.path())
        .guarded(guarded)
        .timeout(Duration::from_secs(30))
        .run();
    outcome.ok();
    outcome.check(outcome.fact("answer") == "7", "the session goes on");
    outcome
}

#[test]
fn a_handler_closes_a_session_while_malloc_is_interrupted() {
    for guarded in [false, true] {
        let outcome = run("malloc", guarded);
        outcome.check(outcome.fact("closed") == "60", "all closed, nobody hung");
    }
}

#[test]
fn a_handler_jumps_out_of_our_hooks() {
    for guarded in [false, true] {
        let outcome = run("jump", guarded);
        let jumps: u32 = outcome.fact("jumps").parse().unwrap();
        outcome.check(jumps > 500, "jumps");
        let forks = outcome.facts("fork");
        // The first may wait for a thread that jumped out of the fence; once.
        outcome.check(
            forks.len() == 3 && forks[1..] == ["at once", "at once"],
            "later forks wait for nobody",
        );
    }
}

#[test]
fn a_line_past_the_limit_of_files_kills_nobody() {
    for guarded in [false, true] {
        let outcome = run("limit", guarded);
        outcome.check(
            outcome.fact("child") == "exit 7",
            "the child ends as it wants",
        );
    }
}
