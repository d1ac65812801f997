//! Libraries that go away: libpq with sessions open, and this one.

use crate::facts::Facts;
use crate::support::{cluster, compile, library, Outcome, Run, Transport};
use std::path::Path;

fn unload(what: &str, path: &Path, transport: Transport, guarded: bool) -> Outcome {
    let outcome = Run::new(compile("unload"))
        .arg(cluster().conninfo(transport))
        .arg(what)
        .arg(path)
        .env("FORKGUARD_POLICY", "resume")
        .guarded(guarded)
        .run();
    outcome.ok();
    outcome
}

/// The child's session is a new one.
fn resumed(outcome: &Outcome) -> bool {
    let child = outcome.fact("child").strip_prefix("answered by ");
    child.is_some_and(|backend| backend != outcome.fact("before"))
}

#[test]
fn libpq_is_unloaded_with_sessions_open_and_without() {
    let libpq = Run::new("gcc").arg("-print-file-name=libpq.so").run();
    let folder = tempfile::tempdir().unwrap();
    // Another file than the one that the program is linked with: it can really go.
    let copy = folder.path().join("libpq-copy.so");
    std::fs::copy(libpq.stdout.trim(), &copy).unwrap();
    for (what, left) in [("libpq, kept", 25), ("libpq, ended", 0)] {
        unload(what, &copy, Transport::Unix, false).disturbed();
        for transport in [Transport::Unix, Transport::Tls] {
            let outcome = unload(what, &copy, transport, true);
            outcome
                .undisturbed()
                .check(outcome.fact("gone") == "100", "unloaded each time")
                .check(
                    outcome.fact("dead") == format!("{left} of {left}"),
                    "what it left behind is dead in the child",
                )
                .check(resumed(&outcome), "and the last one's session resumed");
        }
    }
}

#[test]
fn opened_and_closed_by_the_program_it_stays_and_says_that_it_came_too_late() {
    let outcome = unload("ourselves", &library(), Transport::Unix, false);
    outcome
        .check(outcome.facts("state") == ["0"; 3], "its functions answer")
        .check(outcome.fact("still there") == "1", "it is never unloaded")
        .check(!resumed(&outcome), "not protected")
        .check(
            outcome.stderr.lines().count() == 1
                && outcome
                    .stderr
                    .contains("no protection: loaded after the program began"),
            "and it says so",
        );
}
