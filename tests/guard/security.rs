//! docs/SECURITY.md, threat by threat; what other modules show is named there.

use crate::facts::Facts;
use crate::support::{compile, own, python, Policy, Run, Transport};
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};

const SECRET: &str = "hunter2";

#[test]
fn no_secret_is_logged_at_any_level() {
    let server = own();
    server.ask(&format!(
        "set password_encryption to 'scram-sha-256'; create role app login superuser password '{SECRET}'"
    ));
    server.admit("local all app scram-sha-256");
    let conninfo = server.conninfo(Transport::Unix) + " user=app";
    let folder = tempfile::tempdir().unwrap();
    for (in_environment, format) in [(false, "text"), (true, "json")] {
        let file = folder.path().join(format);
        let run = python("secrets_")
            .env("ADMIN", server.conninfo(Transport::Unix))
            .env("FORKGUARD_LOG", "trace")
            .env("FORKGUARD_LOG_FORMAT", format)
            .env("FORKGUARD_TRUST_FUNCTIONS", "gone_too")
            .env("FORKGUARD_LOG_FILE", &file)
            .policy(Policy::Resume);
        // The server of this test asks for it.
        let outcome = if in_environment {
            run.arg(&conninfo).env("PGPASSWORD", SECRET)
        } else {
            run.arg(format!("{conninfo} password={SECRET}"))
        }
        .run();
        outcome.ok();
        let log = fs::read_to_string(&file).unwrap();
        let lines = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        outcome
            .check(lines("resumed the session") >= 5, &log)
            .check(lines("is lost in this child") >= 12, &log)
            .check(lines("its replay failed: ") >= 3, &log)
            .check(!log.contains(SECRET), &log)
            .check(!outcome.says(SECRET), "nor elsewhere");
    }
}

/// The environment's owner owns the process; its values write no lines of their own all the same.
/// Those that are names of files are names in a folder of this test's own.
#[test]
fn hostile_values_write_no_lines_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("a/b/c/d"); // as deep as a value below climbs
    fs::create_dir_all(&here).unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    let long = "x".repeat(100_000);
    let injected = "bad\nforkguard[1]: all is well\r\u{1b}[2J\u{7}";
    for variable in [
        "FORKGUARD_POLICY",
        "FORKGUARD_TRUST_FUNCTIONS",
        "FORKGUARD_JOURNAL_KB",
        "FORKGUARD_EXEMPT",
        "FORKGUARD_FORK_WAIT",
        "FORKGUARD_CONNECT_WAIT",
        "FORKGUARD_LOG",
        "FORKGUARD_LOG_FORMAT",
        "FORKGUARD_LOG_FILE",
    ] {
        for value in [
            injected,
            &long,
            "%s%n%n%n",
            "\u{9b}2J",
            "../../../../etc/passwd\n",
        ] {
            let outcome = Run::new("true")
                .folder(&here)
                .guarded(true)
                .env(variable, value)
                .run();
            outcome.ok();
            for line in outcome.stderr.lines() {
                let whole = line.starts_with("forkguard[") && line.len() <= 1024;
                outcome.check(
                    whole
                        && !line.starts_with("forkguard[1]")
                        && !line.contains(['\u{1b}', '\r', '\u{7}']),
                    variable,
                );
            }
        }
    }
    // Else no name of a file was tried.
    assert!(folder.path().join("etc/passwd\n").exists());
    assert!(here.join(injected).exists());
}

/// A line at `info` is written to `file` by a run under umask 0.
fn logged(file: &std::path::Path) -> crate::support::Outcome {
    Run::new("sh")
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(compile("configured"))
        .arg("1")
        .env(
            "CONNINFO",
            crate::support::cluster().conninfo(Transport::Unix),
        )
        .env("FORKGUARD_LOG", "info")
        .env("FORKGUARD_LOG_FILE", file)
        .guarded(true)
        .run()
}

#[test]
fn the_log_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
    let text = |name: &str| fs::read_to_string(at(name)).unwrap();
    logged(&at("new")).ok();
    assert_eq!(mode("new"), 0o600, "also under umask 0");
    assert!(text("new").contains("abandoned "));
    // What is there keeps its mode, its owner and what it holds.
    fs::write(at("there"), "before\n").unwrap();
    fs::set_permissions(at("there"), fs::Permissions::from_mode(0o640)).unwrap();
    logged(&at("there")).ok();
    assert_eq!(mode("there"), 0o640);
    assert!(text("there").starts_with("before\nforkguard["));
    // Links lead where they lead, as for a shell's >>: appended to, never emptied.
    symlink(at("there"), at("link")).unwrap();
    fs::hard_link(at("there"), at("second name")).unwrap();
    logged(&at("link")).ok();
    logged(&at("second name")).ok();
    assert_eq!(text("there").lines().count(), 4);
    symlink(at("nowhere/at all"), at("dangling")).unwrap();
    // What is no file harms nobody.
    for name in [
        "/dev/null",
        "/dev/full",
        "/dev/zero",
        "/",
        "/proc/self/mem",
        "/proc/self/comm",
        &at("dangling").to_string_lossy(),
    ] {
        let outcome = logged(name.as_ref());
        outcome.ok();
    }
}

/// libpq leaves copies of what it sent in memory that it has freed, so a wiped journal would hide
/// nothing: it adds one for each text that may have to be sent again, and none of any other.
#[test]
fn what_a_core_file_holds() {
    let server = own();
    let run = |policy: Option<Policy>| {
        let run = Run::new(compile("leftovers")).arg(server.conninfo(Transport::Unix));
        let outcome = match policy {
            Some(policy) => run.policy(policy).run(),
            None => run.run(),
        };
        let copies = |what| outcome.fact(what).parse::<i64>().unwrap();
        assert_eq!(copies("none"), 0, "{outcome}");
        ["password", "later", "closed"].map(copies)
    };
    let (without, abandon, resume) = (
        run(None),
        run(Some(Policy::Abandon)),
        run(Some(Policy::Resume)),
    );
    println!("copies of a secret after ALTER ROLE, SET and PREPARE, after PQfinish: without {without:?}, abandon {abandon:?}, resume {resume:?}");
    assert!(without[2] > 0, "libpq wipes now: then the journal should");
    assert_eq!(abandon, without, "no journal, no copy");
    assert_eq!(
        resume[0], without[0],
        "ALTER ROLE … PASSWORD is not journalled"
    );
    assert!(resume[1] <= without[1] + 2, "SET and PREPARE, once each");
    assert!(resume[2] <= without[2] + 2, "and what was freed of them");
}
