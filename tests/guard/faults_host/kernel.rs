//! The kernel refuses a system call, as in a sandbox (seccomp): each that the library makes, in
//! turn, from different moments on.

use crate::facts::Facts;
use crate::support::{cluster, compile_with, root, Outcome, Run, Transport};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// By the library's source: none can be forgotten here.
fn calls() -> BTreeSet<String> {
    fn read(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split("SYS_").skip(1) {
                let end = call.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                found.insert(call[..end.unwrap_or(call.len())].to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    read(&root().join("crates/signal-safe/src"), &mut found);
    read(&root().join("src"), &mut found);
    assert!(found.len() > 20 && found.contains("dup3"), "{found:?}");
    found
}

fn program() -> PathBuf {
    program_with("refused", &[])
}

/// The same, with more arguments for the compiler.
pub fn program_with(out: &str, args: &[&str]) -> PathBuf {
    let names: String = calls().iter().map(|call| format!("X({call}) ")).collect();
    let names = format!("-DCALLS={names}");
    compile_with("refused", out, &[&[names.as_str()], args].concat())
}

/// Unguarded, the child leaves the sessions alone: what is left is what the program can do.
fn refused(call: &str, error: &str, when: &str, guarded: bool) -> Outcome {
    let run = Run::new(program())
        .arg(cluster().conninfo(Transport::Unix))
        .args([call, error, when])
        .env("FORKGUARD_POLICY", "resume")
        .guarded(guarded);
    if guarded { run } else { run.arg("unguarded") }.run()
}

/// The program came to its end.
fn works(outcome: &Outcome) -> bool {
    outcome.success() && !outcome.facts("idle after").is_empty()
}

/// Whether the program can live without the call, and if so, what the library makes of it.
fn survives(call: &str, error: &str, when: &str) -> bool {
    let early = when == "start" || when == "connect";
    // It tells by `write`: without, there is nothing to judge but its end.
    if call == "write" || early && !works(&refused(call, error, when, false)) {
        let outcome = refused(call, error, when, true);
        let killed = outcome.status.is_none_or(|status| status.code().is_none());
        let without = refused(call, error, when, false);
        let killed_without = without.status.is_none_or(|status| status.code().is_none());
        outcome.check(!killed || killed_without, "no harm of ours");
        return false;
    }
    let outcome = refused(call, error, when, true);
    protected(&outcome);
    // A line is written by the first two, to the file that was there at the start. Without the
    // third no call of libpq's is seen: sessions are lost, and `debug` tells.
    let told = outcome.stderr.contains("inherited");
    let silent = ["newfstatat", "ppoll"].contains(&call) || call == "mprotect" && when == "start";
    outcome.check(told || silent, "the log tells");
    true
}

/// The parent is undisturbed; the child's idle session is its own and equal, or lost, and the
/// other one lost. True: its own.
#[track_caller]
pub fn protected(outcome: &Outcome) -> bool {
    outcome
        .check(works(outcome), "the program goes on")
        .check(outcome.fact("ended") == "exit 0", "the child ends well");
    for (before, after) in [("before", "after"), ("idle before", "idle after")] {
        let same = outcome.fact(before) == outcome.fact(after);
        outcome.check(same, "the parent is undisturbed");
    }
    let parents = format!("answered by backend {}", outcome.fact("idle before"));
    let (idle, busy) = (outcome.fact("child idle"), outcome.fact("child busy"));
    let resumed = idle.starts_with("answered by ") && idle != parents;
    outcome
        .check(resumed || idle.starts_with("bad, "), "its own, or lost")
        .check(busy.starts_with("bad, "), "lost")
        .check(
            outcome.fact("work_mem") == if resumed { "7MB" } else { "lost" },
            "equal",
        );
    resumed
}

fn each(errors: &[&str], moments: &[&str]) {
    for when in moments {
        for error in errors {
            let (with, without): (Vec<_>, Vec<_>) = calls()
                .into_iter()
                .partition(|call| survives(call, error, when));
            println!("errno {error} from {when} on: {} calls refused one by one, protected; the program itself needs {without:?}", with.len());
            assert!(with.len() > 15, "{with:?}");
        }
    }
}

/// EPERM, and ENOSYS.
fn errors() -> &'static [&'static str] {
    if super::all() {
        &["1", "38"]
    } else {
        &["1"]
    }
}

#[test]
fn without_it_the_child_speaks_on_its_parents_sessions() {
    let outcome = Run::new(program())
        .arg(cluster().conninfo(Transport::Unix))
        .args(["kcmp", "1", "fork"])
        .run();
    let parents = format!("answered by backend {}", outcome.fact("idle before"));
    outcome
        .check(outcome.fact("child idle") == parents, "the fault")
        .check(outcome.fact("before") != outcome.fact("after"), "the fault");
}

#[test]
fn a_call_is_refused_from_the_start() {
    each(errors(), &["start"]);
}

#[test]
fn a_call_is_refused_once_it_is_connected() {
    each(errors(), &["fork"]);
    if super::all() {
        each(errors(), &["connect", "child"]);
    }
}

/// A sandbox that kills whoever makes a call that it does not know. What the library needs beside
/// what libpq does, a program's rules must allow: docs/RELIABILITY.md lists them.
#[test]
fn calls_that_a_sandbox_must_allow() {
    let needed: Vec<String> = calls()
        .into_iter()
        .filter(|call| {
            let both = |outcome: &Outcome| works(outcome) && outcome.fact("ended") == "exit 0";
            both(&refused(call, "kill", "fork", false))
                && !both(&refused(call, "kill", "fork", true))
        })
        .collect();
    println!("{needed:?}");
    let page = std::fs::read_to_string(root().join("docs/RELIABILITY.md")).unwrap();
    assert!(needed.iter().any(|call| call == "dup3"), "{needed:?}");
    let list: Vec<_> = needed.iter().map(|call| format!("`{call}`")).collect();
    let list = list.join(", ");
    assert!(page.contains(&list), "not in docs/RELIABILITY.md: {list}");
}
