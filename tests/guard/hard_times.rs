//! Something has run out, or the kernel refuses: the host keeps running, its sessions stay
//! protected, and the log says what could not be done.

use crate::facts::Facts;
use crate::support::{cluster, compile, Outcome, Run, Transport};

/// The programs are run under these by `tests/programs/under.c`, with seccomp.
const NO_DEAD_SOCKETS: [&str; 3] = [
    "no files in the system", // socketpair: ENFILE
    "no memory for a socket", // socketpair: ENOMEM
    "no dup3",                // EPERM
];

fn under(hardship: &str, program: &str, arguments: &[&str], transport: Transport) -> Run {
    Run::new(compile("under"))
        .arg(hardship)
        .arg(compile(program))
        .arg(cluster().conninfo(transport))
        .args(arguments)
        .guarded(true)
}

fn in_hard_times(what: &str, transport: Transport, guarded: bool) -> Outcome {
    let outcome = Run::new(compile("hard_times"))
        .arg(cluster().conninfo(transport))
        .arg(what)
        .guarded(guarded)
        .run();
    outcome.ok();
    outcome
}

/// Two sessions are lost to the child, which is otherwise as it was.
fn protected(outcome: &Outcome) {
    outcome.ok().lost_to_child(2).undisturbed();
    outcome
        .check(outcome.fact("ended") == "exit 0", "the child ends well")
        .check(
            outcome.fact("limit") == "as it was",
            "the limit is the program's",
        )
        .check(
            outcome.fact("number") == "taken",
            "nothing else can come there",
        );
}

#[test]
fn every_number_is_taken() {
    for what in [
        "full, soft",
        "full, hard",
        "full, soft, blocking",
        "full, hard, blocking",
    ] {
        for transport in Transport::ALL {
            let unguarded = in_hard_times(what, transport, false);
            unguarded.open_to_child(2).disturbed();
            let guarded = in_hard_times(what, transport, true);
            protected(&guarded);
            let mode = if what.ends_with("blocking") {
                "blocking"
            } else {
                "non-blocking"
            };
            guarded
                .check(guarded.fact("errno") == "EMFILE", "no number is free")
                .check(guarded.fact("mode") == mode, mode)
                .check(guarded.stderr.is_empty(), "all could be done");
        }
    }
}

#[test]
fn a_limit_below_the_sessions_number() {
    for transport in Transport::ALL {
        in_hard_times("below, soft", transport, false)
            .open_to_child(2)
            .disturbed();
        let soft = in_hard_times("below, soft", transport, true);
        protected(&soft);
        soft.check(soft.stderr.is_empty(), "all could be done");
        // Nothing can be put above the hard limit.
        let hard = in_hard_times("below, hard", transport, true);
        protected(&hard);
        says_refused(&hard, 2);
    }
}

/// One line says that `count` sessions could not be replaced.
fn says_refused(outcome: &Outcome, count: usize) {
    let said = format!(", {count} could not be replaced (errno ");
    outcome.check(
        outcome.stderr.lines().count() == 1 && outcome.stderr.contains(&said),
        "one line that says what could not be done",
    );
}

#[test]
fn no_memory() {
    let outcome = in_hard_times("no memory", Transport::Tcp, true);
    outcome.undisturbed();
    outcome
        .check(outcome.fact("malloc") == "gives nothing", "no memory")
        .check(outcome.fact("ended") == "exit 0", "the child ends well")
        .check(
            outcome.fact("dead") == "530 of 530",
            "sessions and duplicates",
        )
        .check(outcome.fact("alive") == "30 of 30", "undisturbed")
        // The table's first part is there from the start; the next could not be had.
        .check(outcome.fact("beyond") == "duplicated", "a number past it")
        .check(
            outcome.stderr.lines().count() == 1 && outcome.stderr.contains("descriptor 5000"),
            "one line that says what could not be done",
        );
    let unguarded = in_hard_times("no memory", Transport::Tcp, false);
    // The child's bytes reach the server, which ends some of them before others are tried.
    unguarded.check(unguarded.fact("alive") != "30 of 30", "the fault");
}

#[test]
fn fork_itself_fails() {
    let outcome = in_hard_times("no fork", Transport::Tcp, true);
    outcome.undisturbed();
    outcome
        .check(outcome.facts("fork") == ["-1 EAGAIN"; 20], "it failed")
        .check(
            outcome.fact("thread") == "goes on",
            "nobody waits for a fork that is over",
        );
}

#[test]
fn a_child_closes_every_descriptor_it_did_not_open() {
    for transport in Transport::ALL {
        let run = |guarded| {
            let outcome = in_hard_times("child closes everything", transport, guarded);
            // Its own session, under the number of its parent's.
            outcome.undisturbed();
            outcome.check(outcome.fact("number") == "1", "the same number");
            outcome
        };
        run(false).open_to_child(1);
        let guarded = run(true);
        guarded.lost_to_child(1).check(
            guarded.fact("own after") == guarded.fact("own before"),
            "the child's own is undisturbed",
        );
    }
}

/// What the library can do without.
#[test]
fn calls_that_the_kernel_refuses() {
    for hardship in [
        "no SO_COOKIE", // ENOPROTOOPT: Linux before 4.12
        "SO_COOKIE forbidden",
        "no kcmp",
        "no madvise",
        "no process_vm_readv",
        "no SO_COOKIE, no kcmp, no madvise, no process_vm_readv, no prlimit",
    ] {
        for transport in Transport::ALL {
            let outcome = under(hardship, "hard_times", &["plain"], transport).run();
            protected(&outcome);
            let lines: Vec<&str> = outcome.stderr.lines().collect();
            let as_it_must = if hardship.contains("no madvise") {
                // Once: raw forks are then told by process ids.
                lines.len() == 1 && lines[0].contains("does not wipe memory in forked children")
            } else {
                lines.is_empty()
            };
            outcome.check(as_it_must, "all could be done");
        }
    }
    for what in ["full, soft", "full, hard"] {
        protected(
            &under(
                "no prlimit, no SO_COOKIE",
                "hard_times",
                &[what],
                Transport::Tcp,
            )
            .run(),
        );
    }
}

#[test]
fn without_cookies_numbers_used_for_something_else_are_left_alone() {
    for how in ["close_range", "raw close"] {
        for what in ["file", "pipe", "socket"] {
            let arguments = ["reuse", how, what];
            let outcome = under("no SO_COOKIE", "descriptors", &arguments, Transport::Tcp).run();
            outcome.ok().check(
                outcome.facts("child")[0].ends_with("descriptors"),
                "it can be read",
            );
        }
        let arguments = ["reuse", how, "session"];
        let outcome = under("no SO_COOKIE", "descriptors", &arguments, Transport::Tcp).run();
        outcome.ok().lost_to_child(1).undisturbed();
    }
    for how in ["dup", "of a duplicate", "over a session"] {
        for when in ["first", "later", "alone"] {
            let arguments = ["duplicates", how, when];
            let outcome = under("no SO_COOKIE", "descriptors", &arguments, Transport::Tcp).run();
            outcome.ok().undisturbed();
            outcome.check(outcome.fact("sent") == "-1 EPIPE", "dead");
        }
    }
}

#[test]
fn no_proc() {
    // SAFETY: takes nothing, returns a number.
    if unsafe { libc::geteuid() } != 0 {
        println!("not tested: this needs root, to mount something over /proc");
        return;
    }
    for transport in Transport::ALL {
        let outcome = under("no /proc", "hard_times", &["plain"], transport)
            .env("FORKGUARD_LOG", "info")
            .run();
        protected(&outcome);
        outcome.must_say("abandoned 2 PostgreSQL connections");
    }
}

#[test]
fn a_refused_session_is_lost_to_the_child() {
    for hardship in NO_DEAD_SOCKETS {
        for transport in Transport::ALL {
            let outcome = under(hardship, "hard_times", &["plain"], transport).run();
            protected(&outcome);
            says_refused(&outcome, 2);
        }
    }
}

#[test]
fn a_refused_session_is_refused_in_every_state() {
    for state in [
        "idle",
        "transaction",
        "result",
        "copy in",
        "copy out",
        "pipeline",
        "listen",
    ] {
        for transport in [Transport::Tcp, Transport::Tls] {
            let outcome = under(NO_DEAD_SOCKETS[0], "child_fails_well", &[state], transport).run();
            outcome.ok().lost_to_child(1).undisturbed();
            outcome
                .check(
                    outcome.fact("woken").starts_with("poll 1, select 1"),
                    "it wakes",
                )
                .check(outcome.fact("ended") == "exit 0", "nothing hangs");
        }
    }
}

#[test]
fn a_refused_session_is_refused_in_a_handshake() {
    for hardship in NO_DEAD_SOCKETS {
        for transport in Transport::ALL {
            let state = ["handshake, goes on"];
            let outcome = under(hardship, "child_fails_well", &state, transport).run();
            let steps: usize = outcome.ok().fact("steps").parse().unwrap();
            let (parents, children) = (outcome.facts("parent"), outcome.facts("child"));
            outcome
                .check(steps >= 2 && children.len() == steps, "every step")
                .check(
                    outcome.facts("ended") == vec!["exit 0"; steps],
                    "nothing hangs",
                )
                .check(
                    children.iter().all(|said| said.starts_with("bad, ")),
                    "lost in the child",
                )
                .check(
                    parents.iter().all(|said| said.starts_with("answered by")),
                    "the parent goes on",
                );
        }
    }
}

#[test]
fn a_refused_session_is_refused_by_every_call() {
    for way in ["fork", "_Fork"] {
        for (first, name, said) in [
            ("poll", "woken", "yes"),
            ("select", "woken", "yes"),
            ("recv", "first", "0 "),
            ("read", "first", "0 "),
            ("send", "first", "-1 EPIPE"),
            ("write", "first", "-1 EPIPE"),
            ("dup", "first", "-1 EPIPE"),
            ("wild", "first", "EFAULT EINVAL EFAULT"),
            ("finish", "child", "finished"),
        ] {
            let arguments = [way, first];
            let outcome = under(
                NO_DEAD_SOCKETS[0],
                "ways_to_fork",
                &arguments,
                Transport::Tcp,
            )
            .run();
            outcome.ok().undisturbed();
            outcome
                .check(outcome.fact(name) == said, said)
                .check(outcome.fact("ended") == "exit 0", "the child ends well");
        }
    }
}

#[test]
fn a_refused_session_stays_in_its_parents_event_loop() {
    for kind in ["use", "finish", "delete", "modify", "add"] {
        let outcome = under(NO_DEAD_SOCKETS[0], "event_loop", &[kind], Transport::Unix).run();
        // Those that add live on, and are killed, while the others' parent looks on alone.
        let end = if kind == "add" { "signal 9" } else { "exit 0" };
        let quiet = "level, edge, poll 0; level, edge, poll 0; ";
        outcome
            .ok()
            .check(outcome.facts("ended") == [end; 3], "three children")
            .check(outcome.fact("quiet") == quiet, "not one event more")
            .check(
                outcome.fact("notified")
                    == "level 1:1, edge 1:1, poll 1; level 1:1, edge, poll 1; ",
                "nor one less",
            );
    }
}

#[test]
fn a_refused_session_is_refused_under_its_other_numbers_and_further_down() {
    for how in ["dup", "F_DUPFD", "of a duplicate"] {
        for when in ["first", "later", "alone"] {
            let arguments = ["duplicates", how, when];
            let outcome = under(
                NO_DEAD_SOCKETS[0],
                "descriptors",
                &arguments,
                Transport::Tcp,
            )
            .run();
            outcome.ok().undisturbed();
            outcome.check(outcome.fact("sent") == "-1 EPIPE", "dead");
        }
    }
    let outcome = under(
        NO_DEAD_SOCKETS[0],
        "descriptors",
        &["grandchildren"],
        Transport::Tcp,
    )
    .run();
    outcome.ok().lost_to_child(3).undisturbed();
    outcome.check(
        outcome.fact("own after") == outcome.fact("own before"),
        "the child's own is undisturbed",
    );
    for way in ["double fork", "fork, then _Fork", "_Fork, then fork"] {
        let outcome = under(NO_DEAD_SOCKETS[0], "ways_to_fork", &[way], Transport::Tcp).run();
        outcome.ok().lost_to_child(1).undisturbed();
    }
}
