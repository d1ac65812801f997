//! `docs/recipes/c.md`: built as the page says, on a library that `make install` has put somewhere.

use super::Page;
use crate::support::{cluster, root, Outcome, Run, Transport};
use std::path::Path;

#[test]
fn with_pkg_config_and_with_cmake() {
    let page = Page::open("c.md");
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for name in ["app.c", "CMakeLists.txt"] {
        std::fs::write(here.join(name), page.block(name)).unwrap();
    }
    Run::new("make")
        .args(["-s", "install"])
        .arg(format!("PREFIX={}", here.display()))
        .folder(root())
        .run()
        .ok();

    shell(
        here,
        "cc app.c $(pkg-config --cflags --libs libpq) -o plain",
    )
    .ok();
    shows_the_fault(&run(here, "plain"));

    shell(here, page.block("pkg-config")).ok();
    is_guarded(&run(here, "app"));
    shell(here, page.block("cmake")).ok();
    is_guarded(&run(here, "build/app"));
}

/// Of a run of the page's program.
#[track_caller]
pub fn shows_the_fault(outcome: &Outcome) {
    let (before, child, after) = backends(outcome);
    outcome
        .check(before == child, "the child asks its parent's session")
        .check(before == after, "the parent keeps its session");
}

/// Of a run of the page's program, whose log is at `info`.
#[track_caller]
pub fn is_guarded(outcome: &Outcome) {
    let (before, child, after) = backends(outcome);
    outcome
        .must_say("abandoned 1 PostgreSQL connection inherited from process ")
        .check(before == after, "the parent keeps its session")
        .check(before != child, "the child has one of its own");
}

/// A page's line.
fn shell(here: &Path, line: &str) -> Outcome {
    Run::new("sh")
        .args(["-ec", line])
        .folder(here)
        .env("PKG_CONFIG_PATH", here.join("lib/pkgconfig"))
        .run()
}

fn run(here: &Path, program: &str) -> Outcome {
    Run::new(here.join(program))
        .envs(cluster().environment(Transport::Unix))
        .env("LD_LIBRARY_PATH", here.join("lib")) // what ldconfig does for the page's reader
        .env("FORKGUARD_POLICY", "")
        .env("FORKGUARD_LOG", "info")
        .run()
}

/// Of the parent, its child, and the parent again.
#[track_caller]
fn backends(outcome: &Outcome) -> (String, String, String) {
    outcome.ok();
    let said: Vec<_> = outcome.stdout.lines().collect();
    let backend = |line: usize, who: &str| {
        let start = format!("{who}: backend ");
        said[line].strip_prefix(&start).unwrap().to_owned()
    };
    (
        backend(0, "parent"),
        backend(1, "child"),
        backend(2, "parent"),
    )
}
