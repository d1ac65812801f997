//! `forkguard run`: the program itself, guarded; or one line why not.

use super::{copy, folder, forkguard, gcc, is_root, refused, run, set_mode, write};
use crate::support::{library, Run};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

#[test]
fn it_becomes_the_program() {
    let child = Command::new(forkguard())
        .args(["run", "--", "sh", "-c", "echo $$ $0; exit 7", "own name"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("{pid} own name\n"));

    let killed = run(&["run", "--", "sh", "-c", "kill -TERM $$"]).run();
    killed.check(
        killed.status.and_then(|status| status.signal()) == Some(libc::SIGTERM),
        "by its signal",
    );

    // What is ignored, and which descriptors are open, is handed on as it was.
    let script = |own: &str| {
        let script = format!("trap '' PIPE HUP; exec {own} grep Sig[IB] /proc/self/status 0<&-");
        Run::new("sh").args(["-c", &script]).run()
    };
    let (plain, own) = (
        script(""),
        script(&format!("{} run --", forkguard().display())),
    );
    own.ok().check(own.stdout == plain.stdout, &plain.stdout);
}

#[test]
fn options_become_variables() {
    let folder = folder();
    let log = folder.path().join("log");
    let log = log.to_str().unwrap();
    let outcome = run(&[
        "run",
        "--policy",
        "abandon",
        "--exempt",
        "a,b",
        "--trust-functions",
        "f",
    ])
    .args([
        "--journal-kb",
        "5",
        "--fork-wait",
        "6",
        "--connect-wait",
        "7",
        "--log",
        "debug",
        "--log-file",
        log,
    ])
    .args(["--log-format", "json", "--", "env"])
    .env("FORKGUARD_POLICY", "off")
    .env("FORKGUARD_LIBRARY", library())
    .env("OTHER", "a b")
    .run();
    outcome.ok().check(outcome.stderr.is_empty(), "quiet");
    for line in [
        "FORKGUARD_POLICY=abandon",
        "FORKGUARD_EXEMPT=a,b",
        "FORKGUARD_TRUST_FUNCTIONS=f",
        "FORKGUARD_JOURNAL_KB=5",
        "FORKGUARD_FORK_WAIT=6",
        "FORKGUARD_CONNECT_WAIT=7",
        "FORKGUARD_LOG=debug",
        &format!("FORKGUARD_LOG_FILE={log}"),
        "FORKGUARD_LOG_FORMAT=json",
        &format!("LD_PRELOAD={}", library().display()),
        "OTHER=a b",
    ] {
        outcome.check(
            outcome.stdout.lines().filter(|said| *said == line).count() == 1,
            line,
        );
    }
    outcome.check(
        outcome.stdout.matches("FORKGUARD_POLICY").count() == 1,
        "set once",
    );

    refused(
        &run(&["run", "--exempt", "/a/path", "--", "true"]).run(),
        125,
        "is a path",
    );
    refused(
        &run(&["run", "--fork-wait", "99999", "--", "true"]).run(),
        125,
        "99999",
    );
    refused(&run(&["run"]).run(), 125, "COMMAND");
    refused(
        &run(&["run", "--polcy", "off", "true"]).run(),
        125,
        "--polcy",
    );
}

/// As `timeout`, `env` and `nohup` have it: our options end at the first word that is none.
#[test]
fn what_follows_the_program_is_the_programs() {
    let program = ["printf", "[%s]", "--policy", "off", "--", "-x", "--help"];
    let words = "[--policy][off][--][-x][--help]";
    for own in [
        &["run"][..],
        &["run", "--"],
        &["run", "--log", "info"],
        &["run", "--log=info", "--"],
    ] {
        let outcome = run(own).args(program).run();
        outcome.ok().check(outcome.stdout == words, words);
    }
    let outcome = run(&[
        "run",
        "--policy",
        "abandon",
        "env",
        "-u",
        "X",
        "printenv",
        "FORKGUARD_POLICY",
    ])
    .run();
    outcome
        .ok()
        .check(outcome.stdout == "abandon\n", "our option");
    // A program whose name begins with a dash, behind --.
    refused(&run(&["run", "--", "-x"]).run(), 127, "-x: not found");
    let doctor = run(&["doctor", "sh", "-c", "--json"]).run();
    doctor.ok().must_say("protected: forked children");
}

/// The path that `run` loads, for whoever sets LD_PRELOAD without it.
#[test]
fn the_librarys_path_is_printed() {
    let outcome = run(&["path"]).run();
    let path = outcome.ok().stdout.trim_end().to_owned();
    let found = std::fs::canonicalize(&path).unwrap();
    assert_eq!(found, std::fs::canonicalize(library()).unwrap());
    let preloaded = Run::new("grep")
        .args(["-c", "libforkguard.so", "/proc/self/maps"])
        .env("LD_PRELOAD", &path)
        .run();
    preloaded.ok();
    // One that would not load is not printed.
    let folder = folder();
    let bad = folder.path().join("with space");
    std::fs::copy(library(), &bad).unwrap();
    let asked = run(&["path"]).env("FORKGUARD_LIBRARY", &bad).run();
    refused(&asked, 1, "a space, a colon or a dollar sign");
}

#[test]
fn it_stands_beside_other_preloads() {
    let folder = folder();
    let other = gcc(
        folder.path(),
        "other.so",
        "int other;",
        &["-shared", "-fPIC"],
    );
    let own = library();
    let own = own.to_str().unwrap();
    for (before, after) in [
        (other.clone(), format!("{own}:{other}")),
        (format!("{other} {own}"), format!("{own}:{other}")),
        (format!("{own}:{other}:{own}"), format!("{own}:{other}")),
    ] {
        let outcome = run(&["run", "--", "printenv", "LD_PRELOAD"])
            .env("LD_PRELOAD", before)
            .run();
        outcome
            .ok()
            .check(outcome.stdout.trim_end() == after, &after);
    }

    // AddressSanitizer refuses to be second.
    let program = gcc(
        folder.path(),
        "sanitized",
        "#include <stdio.h>\nint main() { puts(\"runs\"); return 0; }",
        &["-fsanitize=address"],
    );
    let second = Run::new(&program).guarded(true).run();
    second
        .check(!second.success(), "the fault: the library alone")
        .must_say("does not come first");
    let outcome = run(&["run", "--", &program])
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .run();
    outcome.ok().must_say("runs");
}

#[test]
fn scripts_are_followed_and_guarded() {
    let folder = folder();
    let ask = "grep -c '/libforkguard.so$' /proc/$$/maps\n";
    let plain = write(folder.path(), "plain", format!("#!/bin/sh\n{ask}"));
    let by_env = write(
        folder.path(),
        "by-env",
        format!("#!/usr/bin/env -S sh -e\n{ask}"),
    );
    let bare = write(folder.path(), "bare", ask);
    let outer = write(folder.path(), "outer", format!("#! {plain}\n"));
    for script in [plain, by_env, bare, outer] {
        let outcome = run(&["run", "--", &script]).run();
        outcome.ok();
        let mapped: u32 = outcome.stdout.trim().parse().unwrap();
        outcome.check(mapped > 0, "guarded");
    }
}

#[test]
fn what_cannot_be_helped_is_one_line() {
    let folder = folder();
    let path = folder.path();
    let source = "int main() { return 0; }";
    let program = |name: &str, arguments: &[&str]| gcc(path, name, source, arguments);
    let static_program = program("static", &["-static"]);
    let pie = program("static-pie", &["-static-pie"]);
    let go = "__attribute__((section(\".go.buildinfo\"))) int go = 1; int main() { return 0; }";
    let go = gcc(path, "go", go, &["-static"]);
    let musl = program("musl", &["-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"]);
    let dynamic = std::fs::read(program("dynamic", &[])).unwrap();
    let mut bytes = dynamic.clone();
    bytes[18..20].copy_from_slice(&183_u16.to_le_bytes()); // e_machine: EM_AARCH64
    let foreign = write(path, "foreign", &bytes);
    let mut bytes = vec![0; 52]; // an Elf32_Ehdr and no more
    bytes[..20].copy_from_slice(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0");
    let old = write(path, "old", &bytes);
    let refuse = |command: &[&str], status, words: &str| {
        let mut all = vec!["run", "--"];
        all.extend(command);
        refused(&run(&all).run(), status, words);
    };
    refuse(&[&static_program], 125, "is a static program");
    refuse(&[&pie], 125, "is a static program");
    refuse(&[&go], 125, "is a static Go program");
    refuse(&[&musl], 125, "uses the C library musl");
    if cfg!(target_arch = "x86_64") {
        refuse(
            &[&foreign],
            125,
            "is built for 64-bit ARM, the library for x86-64",
        );
    }
    refuse(&[&old], 125, "is built for 32-bit x86");

    // For the superuser a program of the superuser's gains nothing.
    if is_root() {
        let setuid = write(path, "setuid", &dynamic);
        std::os::unix::fs::chown(&setuid, Some(65534), None).unwrap();
        set_mode(setuid.as_ref(), 0o4755);
        refuse(&[&setuid], 125, "is setuid");
        std::os::unix::fs::chown(&setuid, Some(0), Some(65534)).unwrap();
        set_mode(setuid.as_ref(), 0o2755);
        refuse(&[&setuid], 125, "is setgid");
        set_mode(setuid.as_ref(), 0o4755);
        run(&["run", "--", &setuid]).run().ok();
    } else {
        refuse(&["/usr/bin/passwd"], 125, "is setuid");
    }

    refuse(&["no-such-program"], 127, "not found in PATH");
    refuse(&["/no/such/program"], 127, "not found");
    refuse(&[""], 127, "empty");
    refuse(&["/etc/passwd"], 126, "Permission denied");
    refuse(&["/etc"], 126, "is a folder");
    let script = |name: &str, text: &str| write(path, name, text);
    refuse(
        &[&script("lost", "#!/no/such/sh\n")],
        127,
        "its interpreter",
    );
    refuse(
        &[&script("windows", "#!/bin/sh\r\n")],
        127,
        "line ends of Windows",
    );
    refuse(
        &[&script("clears", "#!/usr/bin/env -S -i sh\n")],
        125,
        "take LD_PRELOAD away",
    );
    refuse(&[&script("nothing", "\0\x01")], 126, "is no program");
    let own = path.join("ring").to_str().unwrap().to_owned();
    refuse(
        &[&script("ring", &format!("#!{own}\n"))],
        126,
        "too many scripts",
    );
    refuse(
        &[&script("static-script", &format!("#!{static_program}\n"))],
        125,
        "is a static program",
    );
}

#[test]
fn the_library_must_be_one_that_loads() {
    let folder = folder();
    let refuse = |library: &str, words: &str| {
        refused(
            &run(&["run", "--library", library, "--", "true"]).run(),
            125,
            words,
        );
        let by_name = run(&["run", "--", "true"])
            .env("FORKGUARD_LIBRARY", library)
            .run();
        refused(&by_name, 125, words);
    };
    refuse("/no/such.so", "No such file");
    refuse("/etc", "is no file");
    refuse("/etc/passwd", "is no ELF file");
    refuse("/bin/true", "is no shared library");
    let other = gcc(
        folder.path(),
        "other.so",
        "int other;",
        &["-shared", "-fPIC"],
    );
    refuse(&other, "is not libforkguard");
    for name in ["with space", "with:colon", "with$dollar"] {
        let path = folder.path().join(name);
        std::fs::copy(library(), &path).unwrap();
        refuse(path.to_str().unwrap(), "a space, a colon or a dollar sign");
    }
    // A glibc newer than there is: its number in the text that names the version wanted.
    let mut bytes = std::fs::read(library()).unwrap();
    let wanted = b"GLIBC_2.34\0";
    let at = bytes
        .windows(wanted.len())
        .position(|text| text == wanted)
        .expect("GLIBC_2.34");
    bytes[at..at + wanted.len()].copy_from_slice(b"GLIBC_2.99\0");
    let newer = write(folder.path(), "newer.so", bytes);
    refuse(&newer, "the library needs 2.99");

    // Beside the command, as a wheel has it; above it, as make install has it; nowhere.
    for (command, place) in [
        ("a", "a"),
        ("b/bin", "b/lib"),
        ("c/bin", "c/lib/x86_64-linux-gnu"),
    ] {
        let place = folder.path().join(place);
        let command = folder.path().join(command);
        std::fs::create_dir_all(&command).unwrap();
        std::fs::create_dir_all(&place).unwrap();
        copy(&forkguard(), &command.join("forkguard"));
        let ask = || {
            Run::new(command.join("forkguard"))
                .args(["run", "--", "printenv", "LD_PRELOAD"])
                .run()
        };
        refused(&ask(), 125, "no libforkguard.so in");
        let path = place.join("libforkguard.so");
        std::fs::copy(library(), &path).unwrap();
        let outcome = ask();
        let found = std::fs::canonicalize(outcome.ok().stdout.trim_end()).unwrap();
        outcome.check(found == std::fs::canonicalize(path).unwrap(), "found");
    }
}
