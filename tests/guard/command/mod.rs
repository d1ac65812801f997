//! The command `forkguard`, as people run it: the built one, in a terminal and without.

mod doctor;
mod look;
mod manual;
mod run;
mod terminal;

use crate::support::{root, Outcome, Run};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `make build` built.
fn forkguard() -> PathBuf {
    let command = root().join("target/release/forkguard");
    assert!(command.exists(), "the command is missing: run make build");
    command
}

fn run(arguments: &[&str]) -> Run {
    Run::new(forkguard()).args(arguments)
}

/// One line on standard error, with these words in it, and this exit status.
#[track_caller]
fn refused(outcome: &Outcome, status: i32, words: &str) {
    let code = outcome.status.and_then(|status| status.code());
    outcome
        .check(code == Some(status), &format!("exit status {status}"))
        .check(
            outcome.stderr.starts_with("forkguard: ") && outcome.stderr.lines().count() == 1,
            "one line",
        )
        .check(outcome.stderr.contains(words), &format!("says {words:?}"))
        .check(outcome.stdout.is_empty(), "nothing else");
}

/// A folder that every user can reach.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    folder
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A file that may be executed.
fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let (aside, path) = (folder.join(format!("{name}.new")), folder.join(name));
    std::fs::write(&aside, bytes).unwrap();
    copy(&aside, &path);
    path.to_str().unwrap().to_owned()
}

/// A copy that may be executed. By a process of its own: a descriptor that is open for writing here
/// may be in another test's child at the moment, and then execve answers ETXTBSY.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success());
    set_mode(to, 0o755);
}

/// A C program or library of a few words.
#[track_caller]
fn gcc(folder: &Path, name: &str, source: &str, arguments: &[&str]) -> String {
    let (file, out) = (folder.join(format!("{name}.c")), folder.join(name));
    std::fs::write(&file, source).unwrap();
    let output = Command::new("gcc")
        .args(["-O1", "-w"])
        .arg(&file)
        .args(arguments)
        .arg("-o")
        .arg(&out)
        .output()
        .expect("gcc: run tools/setup");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    out.to_str().unwrap().to_owned()
}

fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn a_wrong_command_line_is_one_line() {
    refused(&run(&[]).run(), 2, "no command given");
    refused(&run(&["stauts"]).run(), 2, "status");
    refused(
        &run(&["stauts"]).run(),
        2,
        "a similar subcommand exists: 'status'",
    );
    refused(&run(&["status", "--watch=0"]).run(), 2, "--watch");
    let far = run(&["status", "--watch", "4194303"]).run();
    refused(&far, 2, "forkguard status 4194303 --watch");
    refused(&run(&["status", "x"]).run(), 2, "'x'");
    refused(&run(&["status", "4194304"]).run(), 1, "there is no process");
    refused(
        &run(&["metrics", "--listen", "127.0.0.1:99999"]).run(),
        2,
        "--listen",
    );
    for (address, why) in [
        ("9187", "localhost:9187"),
        ("localhost", "no port"),
        ("::1:9187", "[::1]:9187"),
    ] {
        refused(&run(&["metrics", "--listen", address]).run(), 2, why);
    }
    for nowhere in ["203.0.113.1:1", "no-such-host.invalid:1"] {
        refused(
            &run(&["metrics", "--listen", nowhere]).run(),
            1,
            "cannot listen",
        );
    }
    refused(&run(&["doctor"]).run(), 2, "--pid");
    refused(
        &run(&["doctor", "--pid", "4194304"]).run(),
        3,
        "there is no process",
    );
    refused(
        &run(&["doctor", "--", "no-such-program"]).run(),
        3,
        "not found",
    );
    refused(&run(&["completions", "cmd"]).run(), 2, "cmd");
    refused(&run(&["manual", "/proc/no"]).run(), 1, "/proc/no");
    refused(
        &run(&["path", "--library", "/bin/true"]).run(),
        1,
        "is no shared library",
    );
}
