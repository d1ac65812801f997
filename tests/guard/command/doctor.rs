//! `forkguard doctor`: what it says is what the library does.

use super::{folder, gcc, run};
use crate::counters::Tree;
use crate::support::{compile, extensions, root, venv, Outcome, Run};

#[track_caller]
fn verdict(outcome: &Outcome, verdict: &str) {
    let last = outcome.stdout.lines().last().unwrap_or_default();
    let code = outcome.status.and_then(|status| status.code());
    outcome
        .check(last.starts_with(verdict), verdict)
        .check(
            code == Some(i32::from(verdict != "protected")),
            "the exit status",
        )
        .check(outcome.stderr.is_empty(), "no complaint");
}

fn doctor(command: &[&str]) -> Run {
    run(&["doctor", "--"]).args(command)
}

#[test]
fn a_program_is_looked_at_and_not_started() {
    let python = venv("python");
    let outcome = doctor(&[python.to_str().unwrap(), "-c", "print('started')"]).run();
    verdict(&outcome, "protected");
    outcome
        .must_say("psycopg2_binary.libs/libpq-")
        .must_say("psycopg_binary.libs/libpq-")
        .must_say("asyncpg does not use libpq")
        .check(!outcome.says("started\n"), "not started");

    let outcome = doctor(&[compile("counters").to_str().unwrap()]).run();
    verdict(&outcome, "protected");
    outcome.must_say("/libpq.so.5");

    let php = root().join("target/unpacked/usr/bin/php8.2");
    let setting = format!("extension_dir={}", extensions().display());
    let outcome = doctor(&[php.to_str().unwrap(), "-d", &setting]).run();
    verdict(&outcome, "protected");
    outcome.must_say("RTLD_DEEPBIND").must_say("pgsql.so)");

    let folder = folder();
    let program = gcc(
        folder.path(),
        "static",
        "int main() { return 0; }",
        &["-static"],
    );
    let outcome = doctor(&[&program]).run();
    verdict(&outcome, "not protected");
    outcome.must_say("static program");
}

/// The library as it is on a processor that nothing is written for, with level 1 alone.
#[test]
fn where_no_libpq_is_redirected_no_session_is_said_to_come_back() {
    let folder = root().join("target/other");
    let built = std::process::Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--lib", "--target-dir"])
        .arg(&folder)
        .current_dir(root())
        .env("RUSTFLAGS", "--cfg forkguard_other_processor")
        .env_remove("LD_PRELOAD")
        .status();
    assert!(built.expect("cargo").success(), "it does not build");
    let library = folder.join("debug/libforkguard.so");
    let outcome = doctor(&[compile("counters").to_str().unwrap()])
        .env("FORKGUARD_LIBRARY", &library)
        .run();
    verdict(&outcome, "partly");
    outcome
        .must_say("no libpq is redirected on this processor: its sessions are lost in children")
        .check(!outcome.says("come back"), "nothing comes back");

    // With a libpq that the program may load later.
    let outcome = doctor(&["true"]).env("FORKGUARD_LIBRARY", &library).run();
    outcome.check(!outcome.says("redirected"), "nothing is redirected");
}

/// Debian's own libpq.a, hidden in a library that nothing runs.
#[test]
fn a_libpq_inside_another_library_is_found() {
    let folder = folder();
    let archive = Run::new("pg_config")
        .arg("--libdir")
        .run()
        .ok()
        .stdout
        .trim_end()
        .to_owned();
    let archive = format!("{archive}/libpq.a");
    let hidden = gcc(
        folder.path(),
        "libhidden.so",
        "",
        &[
            "-shared",
            "-Wl,--exclude-libs,ALL",
            "-Wl,--whole-archive",
            &archive,
            "-Wl,--no-whole-archive",
        ],
    );
    let program = gcc(
        folder.path(),
        "program",
        "int main() { return 0; }",
        &[
            "-Wl,--no-as-needed",
            &hidden,
            "-Wl,--unresolved-symbols=ignore-all",
        ],
    );
    let outcome = doctor(&[&program])
        .env("LD_LIBRARY_PATH", folder.path())
        .run();
    verdict(&outcome, "partly protected");
    outcome.must_say("linked in statically");
}

#[test]
fn settings_are_told_with_where_they_come_from() {
    let bad = |run: Run| {
        run.env("FORKGUARD_LOG", "loud")
            .env("FORKGUARD_POLCY", "off")
    };
    let outcome = bad(doctor(&["/bin/true"]))
        .env("FORKGUARD_JOURNAL_KB", "7")
        .run();
    verdict(&outcome, "protected");
    // The very line that the library prints.
    let library = bad(Run::new("/bin/true").guarded(true)).run();
    let lines: Vec<&str> = library.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{library}");
    for line in lines {
        let complaint = line.split_once("]: ").unwrap().1;
        outcome.must_say(&format!("invalid; the library prints: {complaint}"));
    }
    outcome
        .must_say("= 7 (environment)")
        .must_say("= 100 (default)");

    let outcome = doctor(&["/bin/true"]).env("FORKGUARD_EXEMPT", "true").run();
    verdict(&outcome, "not protected");
    let outcome = doctor(&["/bin/true"]).env("FORKGUARD_POLICY", "off").run();
    verdict(&outcome, "not protected");
    outcome.must_say("off: the library does nothing");
}

#[test]
fn another_preload_of_the_same_functions_is_named() {
    let folder = folder();
    let source = "int close(int fd) { return syscall(3, fd); } int own_name(void) { return 1; }";
    let other = gcc(folder.path(), "other.so", source, &["-shared", "-fPIC"]);
    let outcome = doctor(&["/bin/true"]).env("LD_PRELOAD", &other).run();
    verdict(&outcome, "protected");
    outcome.must_say("other.so defines close too");
    outcome.check(!outcome.says("own_name"), "and nothing else");
}

#[test]
fn another_preload_before_the_library_may_keep_calls_from_it() {
    let folder = folder();
    let source = "int close(int fd) { return syscall(3, fd); }";
    let other = gcc(folder.path(), "other.so", source, &["-shared", "-fPIC"]);
    let ours = crate::support::library().display().to_string();
    let outcome = doctor(&["/bin/true"])
        .env("LD_PRELOAD", format!("{other}:{ours}"))
        .env("FORKGUARD_LOG", "off") // the command is a program, too
        .run();
    verdict(&outcome, "partly protected");
    outcome.must_say("other.so stands before the library and defines close too");
    let outcome = doctor(&["/bin/true"])
        .env("LD_PRELOAD", format!("{ours}:{other}"))
        .run();
    verdict(&outcome, "protected");
}

#[test]
fn a_process_is_looked_at_while_it_runs() {
    let tree = Tree::resuming();
    tree.tell(tree.pid(), "open");
    let pid = tree.pid().to_string();
    let outcome = run(&["doctor", "--pid", &pid]).run();
    verdict(&outcome, "protected");
    outcome
        .must_say("libforkguard.so is loaded")
        .must_say("/libpq.so.5")
        .must_say("1 sessions open, 1 libpqs redirected");
    let json = run(&["doctor", "--json", "--pid", &pid]).run();
    json.ok()
        .must_say("\"verdict\":\"protected\"")
        .must_say("\"level\":\"good\"");

    // This very test runs without the library.
    let own = std::process::id().to_string();
    let outcome = run(&["doctor", "--pid", &own]).run();
    verdict(&outcome, "not protected");
    outcome.must_say("start the program with forkguard run");
}

/// A filter answers 0 to every advice, and nothing is done: as under an emulator.
#[test]
fn a_kernel_that_lies_is_found_out() {
    let command = super::forkguard();
    let under = |lie: &str| {
        let outcome = Run::new(compile("lies"))
            .args(["", lie, "run"])
            .arg(&command)
            .args(["doctor", "--", compile("counters").to_str().unwrap()])
            .run();
        verdict(&outcome, "protected");
        outcome
    };
    let told = "does not wipe memory in forked children";
    under("madvise").must_say(told);
    under("wipe").must_say(told);
    let outcome = under("none");
    outcome.check(!outcome.says(told), "an honest kernel");
}
