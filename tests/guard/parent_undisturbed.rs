//! Whatever a child does, its parent's sessions and its event loop notice nothing.

use crate::facts::Facts;
use crate::support::{cluster, compile, compile_with, library, Outcome, Run, Transport};

/// Three children of a kind: the fault without the library, and then what they are with it.
fn with_children_that(kind: &str, transport: Transport, guarded: bool) -> Outcome {
    let outcome = Run::new(compile("parent_undisturbed"))
        .arg(cluster().conninfo(transport))
        .arg(kind)
        .guarded(guarded)
        .run();
    if guarded {
        outcome.ok().undisturbed();
    }
    outcome
}

#[test]
fn by_children_that_query() {
    for transport in Transport::ALL {
        let unguarded = with_children_that("query", transport, false);
        // Over TLS the first child uses up the record numbers of those after it.
        unguarded.must_say("child: answered by");
        with_children_that("query", transport, true).lost_to_child(3);
    }
}

#[test]
fn by_children_that_finish_the_connection() {
    for transport in Transport::ALL {
        with_children_that("finish", transport, false).disturbed();
        let guarded = with_children_that("finish", transport, true);
        guarded.check(guarded.facts("ended") == ["exit 0"; 3], "three children");
    }
}

#[test]
fn by_children_that_finish_it_at_exit() {
    for transport in Transport::ALL {
        with_children_that("atexit", transport, false).disturbed();
        let guarded = with_children_that("atexit", transport, true);
        guarded.check(
            guarded.facts("child") == ["finishes at exit"; 3],
            "three children",
        );
    }
}

#[test]
fn by_children_that_go_down_with_a_statement_under_way() {
    for (kind, end) in [
        ("segv", "signal 11"),
        ("abort", "signal 6"),
        ("kill", "signal 9"),
        ("exec", "exit 0"),
    ] {
        for transport in Transport::ALL {
            with_children_that(kind, transport, false).disturbed();
            let guarded = with_children_that(kind, transport, true);
            guarded
                .check(guarded.facts("sent").len() == 3, "three children")
                .check(guarded.facts("ended") == [end; 3], end);
        }
    }
}

/// Another library's child handler is at the session before the program is: ours comes first.
#[test]
fn by_another_librarys_fork_handler() {
    let meddler = compile_with("meddler", "libmeddler.so", &["-shared", "-fPIC"]);
    let folder = meddler.parent().unwrap().to_str().unwrap();
    let linked = compile_with(
        "parent_undisturbed",
        "parent_with_meddler",
        &[
            "-rdynamic",
            "-Wl,--no-as-needed",
            &format!("-L{folder}"),
            "-lmeddler",
            &format!("-Wl,-rpath,{folder}"),
        ],
    );
    let alone = compile_with("parent_undisturbed", "parent_rdynamic", &["-rdynamic"]);
    let (ours, its) = (
        library().display().to_string(),
        meddler.display().to_string(),
    );

    for how in ["finish", "query", "close", "raw"] {
        for (program, preloads) in [
            // Linked to the program: initialised before what is preloaded, by rights.
            (&linked, ["".to_owned(), ours.clone()].as_slice()),
            // Preloaded before us, and behind us.
            (
                &alone,
                &[
                    its.clone(),
                    format!("{its}:{ours}"),
                    format!("{ours}:{its}"),
                ],
            ),
        ] {
            for (index, preload) in preloads.iter().enumerate() {
                let outcome = Run::new(program)
                    .arg(cluster().conninfo(Transport::Tcp))
                    .arg("handler")
                    .env("MEDDLE", how)
                    .env("LD_PRELOAD", preload)
                    .run();
                let met = outcome.facts("meddler").len();
                if index == 0 {
                    outcome.check(met > 0, "its handler runs");
                    match how {
                        "query" => outcome.check(outcome.says("child: answered by"), "the fault"),
                        _ => outcome.disturbed(),
                    };
                } else {
                    outcome.ok().undisturbed();
                    outcome.check(met == 3, "its handler runs");
                    match how {
                        "query" => outcome.lost_to_child(3),
                        "close" | "raw" => {
                            outcome.check(outcome.facts("goodbye") == ["-1"; 3], "dead")
                        }
                        _ => &outcome,
                    };
                }
            }
        }
    }
}

#[test]
fn the_parents_event_loop_sees_the_same_events() {
    let seen = |kind: &str, guarded: bool| {
        let outcome = Run::new(compile("event_loop"))
            .arg(cluster().conninfo(Transport::Unix))
            .arg(kind)
            .guarded(guarded)
            .run();
        outcome.ok().check(
            outcome.facts("ended").len() == if kind == "none" { 0 } else { 3 },
            "its children",
        );
        outcome
    };
    let events = |outcome: &Outcome| {
        ["quiet", "notified", "news", "read"].map(|moment| outcome.fact(moment).to_owned())
    };
    let quiet = "level, edge, poll 0; level, edge, poll 0; ";
    // EPOLLIN is 1. Level-triggered: as long as there is input; edge-triggered: once.
    let notified = "level 1:1, edge 1:1, poll 1; level 1:1, edge, poll 1; ";
    let expected = [quiet, notified, "came", quiet].map(str::to_owned);
    for guarded in [false, true] {
        let outcome = seen("none", guarded);
        outcome.check(events(&outcome) == expected, "the events without children");
    }
    for kind in ["exit", "use", "finish", "delete", "modify", "add"] {
        let outcome = seen(kind, true);
        outcome.check(
            events(&outcome) == expected,
            "not one event more or less with children",
        );
        if kind == "delete" || kind == "modify" {
            // In the child the number is another file than the one the epoll watches.
            outcome.check(outcome.facts("done") == ["-1 -1"; 3], "not the child's");
            let unguarded = seen(kind, false);
            unguarded.check(events(&unguarded) != expected, "the fault");
        }
        if kind == "add" {
            // The epoll is the parent's as well: what is dead here must not be reported there.
            outcome.check(
                outcome.facts("done") == ["-1 -1", "-1"].repeat(3),
                "no dead socket in the parent's epoll",
            );
        }
    }
}

#[test]
fn a_killed_parents_backend_goes_while_its_child_lives() {
    for transport in Transport::ALL {
        for (guarded, seconds, backend) in [(false, "1", "still there"), (true, "10", "gone")] {
            let outcome = Run::new(compile("parent_killed"))
                .arg(cluster().conninfo(transport))
                .arg(seconds)
                .guarded(guarded)
                .run();
            outcome
                .ok()
                .check(outcome.fact("parent") == "signal 9", "killed")
                .check(outcome.fact("child") == "lives", "its child lives")
                .check(outcome.fact("backend") == backend, backend);
        }
    }
}
