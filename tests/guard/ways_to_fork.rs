//! Every way to make a process. In each the child (or a later one) touches its parent's session.

use crate::facts::Facts;
use crate::support::{cluster, compile, python, Outcome, Policy, Run, Transport};

fn made_by(way: &str, first: &str, transport: Transport, guarded: bool) -> Outcome {
    let outcome = Run::new(compile("ways_to_fork"))
        .arg(cluster().conninfo(transport))
        .args([way, first])
        .guarded(guarded)
        .run();
    // Unguarded, a parent may even wait for ever for the answer that its child took.
    outcome.check(outcome.success() || !guarded, "the program runs well");
    outcome
}

/// A child made this way asks a question on its parent's session and finishes it.
fn protects_a_child_of(way: &str) {
    for transport in Transport::ALL {
        made_by(way, "query", transport, false)
            .open_to_child(1)
            .disturbed();
        let guarded = made_by(way, "query", transport, true);
        guarded.lost_to_child(1).undisturbed();
        guarded.check(guarded.fact("ended") == "exit 0", "the child ends well");
    }
}

#[test]
fn fork() {
    protects_a_child_of("fork");
}

#[test]
fn forkpty() {
    protects_a_child_of("forkpty");
}

#[test]
fn double_fork() {
    protects_a_child_of("double fork");
}

#[test]
fn raw_forks_run_no_handlers() {
    for way in ["_Fork", "SYS_fork", "SYS_clone", "clone"] {
        protects_a_child_of(way);
    }
}

#[test]
fn a_fork_in_a_raw_forks_child_and_the_other_way_round() {
    protects_a_child_of("_Fork, then fork");
    protects_a_child_of("fork, then _Fork");
}

#[test]
fn a_raw_fork_is_noticed_by_whatever_its_child_calls_first() {
    // What the call says to a child that shares its parent's session, and to a guarded one.
    for (first, name, shared, dead) in [
        ("poll", "woken", "no", "yes"),
        ("select", "woken", "no", "yes"),
        ("epoll", "woken", "no", "yes"),
        ("recv", "first", "-1 EAGAIN", "0 "),
        ("read", "first", "-1 EAGAIN", "0 "),
        ("send", "first", "5 ", "-1 EPIPE"),
        ("write", "first", "5 ", "-1 EPIPE"),
        ("dup", "first", "5 ", "-1 EPIPE"),
        ("vfork", "first", "vfork", "vfork"),
        ("finish", "child", "finished", "finished"),
    ] {
        for way in ["_Fork", "SYS_fork", "SYS_clone"] {
            let unguarded = made_by(way, first, Transport::Tcp, false);
            unguarded.check(unguarded.fact(name) == shared, "the fault");
            unguarded.disturbed();
            let guarded = made_by(way, first, Transport::Tcp, true);
            guarded.check(guarded.fact(name) == dead, "dead in the child");
            guarded.check(guarded.fact("ended") == "exit 0", "the child ends well");
            guarded.undisturbed();
            if first != "finish" {
                guarded.lost_to_child(1);
            }
        }
    }
}

#[test]
fn a_clone_that_shares_descriptors_leaves_them_to_the_parent() {
    // CLONE_FILES without CLONE_VM: what the child replaced, its parent would lose.
    for transport in Transport::ALL {
        made_by("CLONE_FILES", "no finish", transport, false).open_to_child(1);
        let guarded = made_by("CLONE_FILES", "no finish", transport, true);
        guarded.undisturbed().lost_to_child(1);
        guarded.check(guarded.fact("ended") == "exit 0", "the child ends well");
    }
}

/// A child that no handler sees does this with the session of its parent, made so by
/// `shared_table.c`.
fn with_a_table(way: &str, what: &str) -> Run {
    Run::new(compile("shared_table"))
        .arg(cluster().conninfo(Transport::Tcp))
        .args([way, what])
}

/// Why such a child's table may be the parent's, in the log.
const SHARED: &str = "this child's table of descriptors may be the parent's (";

#[test]
fn a_child_that_may_share_its_table_of_descriptors_replaces_none() {
    for (way, why) in [
        ("CLONE_FILES", "it was made with CLONE_FILES"),
        ("clone3", "it was made with CLONE_FILES"),
        // getppid is not the process whose memory it has, nor whose table.
        ("CLONE_PARENT", "it was made with CLONE_FILES"),
        ("middle gone", "it was made with CLONE_FILES"),
        ("CLONE_NEWPID", "it may be in another pid namespace"),
        // getppid is a number in the namespace, of one that has left the shared table.
        ("CLONE_NEWPID twice", "it may be in another pid namespace"),
        // Refused by a sandbox; and by the kernel, to others, where a daemon left root's rights.
        ("no kcmp", "kcmp(2) does not tell"),
        ("undumpable", "kcmp(2) does not tell"),
        // Its own parent shares, and might have left that table.
        ("again", "the process that made it may share"),
        ("thread with its own", "made by a thread with another"),
        // The kernel knows no table of a thread that has ended, and calls it another one.
        ("first thread gone", "kcmp(2) does not tell"),
        // Not a session, and its number is its parent's all the same.
        ("dead socket", "it was made with CLONE_FILES"),
    ] {
        for policy in [Policy::Abandon, Policy::Resume] {
            for what in ["use", "finish", "over"] {
                let outcome = with_a_table(way, what).policy(policy).run();
                outcome.ok().undisturbed();
                let told = outcome.stderr.matches(why).count();
                outcome.check(told == 1, "why, once");
                outcome.must_say(SHARED);
                match what {
                    "use" => drop(outcome.lost_to_child(1)),
                    // The number may be the parent's: nothing takes its place.
                    "over" => drop(outcome.check(outcome.facts("over") == ["EBUSY"; 2], "refused")),
                    _ => {}
                }
                if way == "CLONE_PARENT" {
                    let (before, after) = (outcome.fact("before own"), outcome.fact("after own"));
                    outcome.check(before == after, "the maker's own session");
                }
                if way == "dead socket" {
                    let again = outcome.fact("again").starts_with("answered by");
                    let resumes = matches!(policy, Policy::Resume);
                    outcome.check(again == resumes, "the maker's own number");
                }
            }
        }
    }
    let fault = with_a_table("CLONE_FILES", "use").run();
    fault.open_to_child(1);
    let fault = with_a_table("CLONE_FILES", "over").run();
    fault.disturbed();
}

#[test]
fn a_raw_childs_own_table_is_known_for_that() {
    for way in [
        "with a copy",
        "middle gone, with a copy",
        // libc says so where kcmp(2) does not.
        "no kcmp, _Fork",
        "undumpable, _Fork",
    ] {
        let outcome = with_a_table(way, "use").policy(Policy::Resume).run();
        outcome.ok().undisturbed();
        let child = outcome.fact("child");
        outcome
            .check(child.starts_with("answered by"), "resumed")
            .check(!outcome.says(SHARED), "and known");
        let outcome = with_a_table(way, "use").policy(Policy::Abandon).run();
        outcome.lost_to_child(1).undisturbed();
        outcome.check(!outcome.says(SHARED), "and known");
    }
    // Where nothing tells, it is refused.
    for way in ["no kcmp, with a copy", "CLONE_NEWPID with a copy"] {
        let outcome = with_a_table(way, "use").policy(Policy::Resume).run();
        outcome.ok().lost_to_child(1).undisturbed().must_say(SHARED);
    }
}

#[test]
fn a_process_whose_first_call_is_in_its_vfork_child_is_still_known_as_itself() {
    for way in ["a worker of fork", "a worker of _Fork"] {
        protects_a_child_of(way);
    }
}

/// Another program is run this way: nothing changes for the parent or for that program, and the
/// session is still known, for a child forked later is kept off.
fn running_a_program_changes_nothing(way: &str) {
    for guarded in [false, true] {
        let outcome = made_by(way, "query", Transport::Tcp, guarded);
        outcome
            .check(outcome.fact("ran") == "by the shell", "it ran")
            .check(
                outcome.facts("ended") == ["exit 0", "exit 0"],
                "both ended well",
            )
            .check(
                outcome.fact("between") == outcome.fact("before"),
                "undisturbed",
            );
        if guarded {
            outcome.lost_to_child(1).undisturbed();
        } else {
            outcome.open_to_child(1).disturbed();
        }
    }
}

#[test]
fn vfork() {
    // The child's hooks run on the parent's memory: what it closes stays the parent's.
    for way in ["vfork", "vfork that closes", "vfork that duplicates"] {
        running_a_program_changes_nothing(way);
    }
}

#[test]
fn posix_spawn() {
    running_a_program_changes_nothing("posix_spawn");
}

#[test]
fn system() {
    running_a_program_changes_nothing("system");
}

#[test]
fn popen() {
    running_a_program_changes_nothing("popen");
}

#[test]
fn pythons_subprocess() {
    for (way, touched) in [("plain", 0), ("preexec_fn", 3)] {
        for guarded in [false, true] {
            let outcome = python("subprocesses")
                .arg(cluster().conninfo(Transport::Tcp))
                .arg(way)
                .guarded(guarded)
                .run();
            let inside = outcome.facts("preexec_fn");
            outcome
                .ok()
                .check(outcome.facts("ran") == ["by the shell"; 3], "each ran")
                .check(outcome.fact("output") == "to cat", "pipes work")
                .check(
                    outcome.fact("between") == outcome.fact("before"),
                    "undisturbed",
                )
                .check(inside.len() == touched, "each preexec_fn ran");
            if guarded {
                let lost = |said: &&str| said.starts_with("bad, server closed the connection");
                outcome
                    .lost_to_child(1)
                    .check(inside.iter().all(lost), "lost")
                    .check(
                        outcome.fact("after") == outcome.fact("before"),
                        "undisturbed",
                    );
            } else {
                let answered = |said: &&str| said.starts_with("answered by");
                outcome
                    .open_to_child(1)
                    .check(inside.iter().all(answered), "the fault")
                    .disturbed();
            }
        }
    }
}

#[test]
fn daemon_hands_its_sessions_to_the_heir() {
    for transport in Transport::ALL {
        for guarded in [false, true] {
            let outcome = Run::new(compile("heir"))
                .arg(cluster().conninfo(transport))
                .guarded(guarded)
                .run();
            outcome
                .ok()
                .undisturbed()
                .check(outcome.fact("process") != outcome.fact("heir"), "a fork")
                .check(outcome.fact("locks") == "1", "its advisory lock is held")
                .check(outcome.fact("woken") == "1", "its epoll wakes")
                .check(outcome.fact("news") == "from another session", "it listens");
            // The heir's own child is a child like any other.
            if guarded {
                outcome.lost_to_child(2).check(
                    outcome.fact("finally") == outcome.fact("between"),
                    "the heir is undisturbed",
                );
            } else {
                outcome.open_to_child(2).check(
                    outcome.fact("finally") != outcome.fact("between"),
                    "the fault",
                );
            }
        }
    }
}
