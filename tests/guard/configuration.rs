//! What is set by environment, what is said in the log, and where a line never goes.

use crate::counters::Tree;
use crate::facts::Facts;
use crate::support::{
    cluster, compile, compile_with, library, root, venv, Outcome, Run, Transport,
};
use serde_json::{json, Value};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

fn program(arguments: &[&str]) -> Run {
    Run::new(compile("configured"))
        .args(arguments)
        .env("CONNINFO", cluster().conninfo(Transport::Tcp))
        .guarded(true)
}

/// The host runs, and its sessions are protected.
fn protected(outcome: &Outcome, children: usize) {
    outcome.ok().undisturbed();
    if outcome
        .facts("child")
        .iter()
        .any(|said| said.starts_with("answered by"))
    {
        // The default policy: of two sessions a child, one is idle and made again.
        let (lost, resumed): (Vec<&str>, Vec<&str>) = outcome
            .facts("child")
            .into_iter()
            .partition(|said| said.starts_with("bad, server closed"));
        outcome.check(
            (lost.len(), resumed.len()) == (children, children)
                && !resumed.iter().any(|said| {
                    outcome
                        .fact("before")
                        .contains(&said["answered by ".len()..])
                }),
            "one lost and one resumed in each child",
        );
    } else {
        outcome.lost_to_child(2 * children);
    }
    outcome
        .check(
            outcome.facts("ended") == vec!["exit 0"; children],
            "children",
        )
        .check(
            outcome.fact("signals") == "none pending",
            "no signal is left",
        );
}

/// The host runs as without the library.
fn stepped_aside(outcome: &Outcome) {
    outcome.check(outcome.success(), "runs").open_to_child(2);
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn by_default_it_protects_and_says_nothing() {
    let outcome = program(&["1"]).run();
    protected(&outcome, 1);
    outcome.check(outcome.stderr.is_empty(), "quiet");
    stepped_aside(&program(&["1"]).guarded(false).run());
}

#[test]
fn the_policy_can_be_off() {
    for value in ["off", "OFF"] {
        stepped_aside(&program(&["1"]).env("FORKGUARD_POLICY", value).run());
    }
    for value in ["abandon", "resume", ""] {
        let outcome = program(&["1"]).env("FORKGUARD_POLICY", value).run();
        protected(&outcome, 1);
        let others = but_for_the_lost(&outcome);
        outcome.check(others.is_empty(), "quiet");
        outcome.check(
            outcome.stderr.is_empty() == (value == "abandon"),
            "by default, a session in a transaction that has written is lost with a line",
        );
    }
}

/// What it says beside one line for a session that the default policy could not resume: the
/// program has made a temporary table in a transaction that is open.
fn but_for_the_lost(outcome: &Outcome) -> Vec<&str> {
    let lost = "is lost in this child: it was in a transaction that had done more";
    let lines = outcome.stderr.lines();
    lines.filter(|line| !line.contains(lost)).collect()
}

#[test]
fn a_program_is_exempt_by_its_name() {
    for names in ["configured", "other,configured", "a:b configured"] {
        stepped_aside(&program(&["1"]).env("FORKGUARD_EXEMPT", names).run());
    }
    for names in ["configure", "configured2", "other"] {
        protected(&program(&["1"]).env("FORKGUARD_EXEMPT", names).run(), 1);
    }
    // By another name for the same file.
    let folder = folder();
    let link = folder.path().join("mydump");
    symlink(compile("configured"), &link).unwrap();
    let by_link = |names: &str| {
        Run::new(&link)
            .arg("1")
            .env("CONNINFO", cluster().conninfo(Transport::Tcp))
            .env("FORKGUARD_EXEMPT", names)
            .guarded(true)
            .run()
    };
    stepped_aside(&by_link("mydump"));
    protected(&by_link("configured"), 1);
}

/// A script in a folder of its own, run by its name.
fn script(first_line: &str, body: &str, exempt: &str) -> Outcome {
    let folder = folder();
    let script = folder.path().join("nightly-dump");
    fs::write(&script, format!("#!{first_line}\n{body}")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!(
        "{}:{}",
        root().join("target/venv/bin").display(),
        std::env::var("PATH").unwrap()
    );
    Run::new(&script)
        .arg("1")
        .env("PATH", path)
        .env("CONNINFO", cluster().conninfo(Transport::Tcp))
        .env("FORKGUARD_EXEMPT", exempt)
        .guarded(true)
        .run()
}

#[test]
fn a_script_is_exempt_by_its_name() {
    let interpreter = compile("configured").display().to_string();
    protected(&script(&interpreter, "", "other"), 1);
    stepped_aside(&script(&interpreter, "", "nightly-dump"));

    let python = fs::read_to_string(root().join("tests/programs/exempt.py")).unwrap();
    for first_line in [
        venv("python").display().to_string(),
        "/usr/bin/env python3".to_owned(),
    ] {
        script(&first_line, &python, "other").ok().lost_to_child(1);
        script(&first_line, &python, "nightly-dump")
            .ok()
            .open_to_child(1);
    }
}

#[test]
fn a_bad_value_is_one_clear_line_and_the_default() {
    for (variable, value) in [
        ("FORKGUARD_POLICY", "abndon"),
        ("FORKGUARD_LOG", "loud"),
        ("FORKGUARD_LOG_FORMAT", "xml"),
        ("FORKGUARD_EXEMPT", "/usr/bin/x"),
        ("FORKGUARD_POLCY", "off"),
        ("FORKGUARD_LOG_FILE", "/no/such/folder/log"),
        ("FORKGUARD_LOG_FILE", "/"),
        ("FORKGUARD_POLICY", "a\nb"),
    ] {
        let outcome = program(&["1"]).env(variable, value).run();
        protected(&outcome, 1);
        let lines = but_for_the_lost(&outcome);
        outcome.check(
            lines.len() == 1 && lines[0].contains(variable),
            "one line that names it",
        );
    }
    let outcome = program(&["1"])
        .env("FORKGUARD_POLICY", "x".repeat(100_000))
        .run();
    protected(&outcome, 1);
    let line = but_for_the_lost(&outcome);
    outcome.check(line.len() == 1 && line[0].len() < 300, "a short line");
}

#[test]
fn one_line_a_child_says_what_was_inherited() {
    for transport in Transport::ALL {
        let outcome = program(&["3"])
            .env("CONNINFO", cluster().conninfo(transport))
            .env("FORKGUARD_LOG", "info")
            .run();
        protected(&outcome, 3);
        let descriptors: Vec<&str> = outcome.fact("descriptors").split(' ').collect();
        let peer = match transport {
            Transport::Unix => format!(
                "{}/.s.PGSQL.{}",
                cluster().socket_dir.display(),
                cluster().port
            ),
            _ => format!("127.0.0.1:{}", cluster().port),
        };
        let mut expected: Vec<String> = outcome
            .facts("forked")
            .iter()
            .map(|child| {
                format!(
                    "forkguard[{child}]: abandoned 2 PostgreSQL connections inherited from process \
                     {}: descriptor {} ({peer}), {} ({peer})",
                    outcome.fact("process"),
                    descriptors[0],
                    descriptors[1]
                )
            })
            .collect();
        let mut lines: Vec<&str> = outcome.stderr.lines().collect();
        lines.sort_unstable();
        expected.sort_unstable();
        outcome.check(lines == expected, &expected.join("\n"));
    }
}

/// The log as objects, one a line, each with what every line has.
#[track_caller]
fn objects(log: &str) -> Vec<Value> {
    let object = |line: &str| -> Value {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let time = object["time"].as_str().unwrap();
        assert!(time.len() == 27 && time.ends_with('Z'), "{line}");
        assert!(
            ["error", "warn", "info", "debug", "trace"]
                .contains(&object["level"].as_str().unwrap()),
            "{line}"
        );
        assert!(object["pid"].as_u64().unwrap() > 1, "{line}");
        assert!(!object["message"].as_str().unwrap().is_empty(), "{line}");
        assert_eq!(object["program"], "forkguard", "{line}");
        assert_eq!(object.get("cut"), None, "{line}");
        object
    };
    log.lines().map(object).collect()
}

/// The objects that tell of an event.
fn events<'a>(log: &'a [Value], event: &str) -> Vec<&'a Value> {
    log.iter().filter(|line| line["event"] == event).collect()
}

#[test]
fn every_line_can_be_one_json_object_with_its_facts() {
    let folder = folder();
    let file = folder.path().join("log");
    for to_file in [false, true] {
        let mut run = program(&["2"])
            .env("FORKGUARD_LOG", "trace")
            .env("FORKGUARD_LOG_FORMAT", "json")
            // A complaint, with all that needs an escape, and what is no UTF-8.
            .env(
                "FORKGUARD_POLICY",
                OsStr::from_bytes(b"\"a\\b\n\x01\xff\xc3\xa9\""),
            );
        if to_file {
            run = run.env("FORKGUARD_LOG_FILE", &file);
        }
        let begun = seconds_now();
        let outcome = run.run();
        protected(&outcome, 2);
        let log = objects(&if to_file {
            fs::read_to_string(&file).unwrap()
        } else {
            outcome.stderr.clone()
        });
        let complaint = "FORKGUARD_POLICY=\"\"a\\b\n\u{1}\u{fffd}é\"\": no such policy \
                         (resume, abandon, report, abort, off); using resume";
        if !to_file {
            // Said before the file was opened, otherwise.
            let said = |line: &&Value| line["message"] == complaint && line["level"] == "warn";
            outcome.check(log.iter().filter(said).count() == 1, complaint);
        }
        // The clock's: between the run's beginning and now.
        for line in events(&log, "abandoned") {
            let time = line["time"].as_str().unwrap();
            let seconds = seconds_of(time);
            assert!((begun..=seconds_now()).contains(&seconds), "{time}");
        }

        let descriptors: Vec<i64> = outcome
            .fact("descriptors")
            .split(' ')
            .map(|number| number.parse().unwrap())
            .collect();
        let parent: i64 = outcome.fact("process").parse().unwrap();
        let peer = format!("127.0.0.1:{}", cluster().port);
        let children: Vec<i64> = outcome
            .facts("forked")
            .iter()
            .map(|pid| pid.parse().unwrap())
            .collect();
        for child in children {
            let of_child: Vec<Value> = log
                .iter()
                .filter(|line| line["pid"] == child)
                .cloned()
                .collect();
            let [abandoned] = events(&of_child, "abandoned")[..] else {
                panic!("{of_child:#?}");
            };
            let connections: Vec<Value> = descriptors
                .iter()
                .map(|fd| json!({"descriptor": fd, "peer": peer}))
                .collect();
            assert_eq!(abandoned["level"], "info");
            assert_eq!(abandoned["count"], 2);
            assert_eq!(abandoned["parent"], parent);
            assert_eq!(abandoned["connections"], json!(connections));
            let [lost] = events(&of_child, "lost")[..] else {
                panic!("{of_child:#?}");
            };
            assert_eq!(
                (&lost["level"], &lost["descriptor"]),
                (&json!("warn"), &json!(descriptors[0]))
            );
            assert_eq!(
                (&lost["reason"], &lost["detail"]),
                (&json!("transaction_more"), &json!("create"))
            );
            for fact in ["text", "hint"] {
                assert!(
                    lost[fact].as_str().is_some_and(|text| text.contains(' ')),
                    "{lost}"
                );
            }
            let [resumed] = events(&of_child, "resumed")[..] else {
                panic!("{of_child:#?}");
            };
            assert_eq!(resumed["descriptor"], descriptors[1]);
        }
    }
}

/// Seconds since 1970.
fn seconds_now() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// The same of a text, as date(1) reads it.
fn seconds_of(time: &str) -> u64 {
    let outcome = Run::new("date").args(["-d", time, "+%s"]).run();
    outcome.ok().stdout.trim_end().parse().unwrap()
}

#[test]
fn processes_append_to_one_file_line_by_line() {
    let folder = folder();
    let file = folder.path().join("log");
    fs::write(&file, "what was there\n").unwrap();
    for _ in 0..2 {
        let outcome = program(&["50"])
            .folder(&folder)
            .env("FORKGUARD_LOG", "info")
            .env("FORKGUARD_LOG_FILE", "log")
            .run();
        protected(&outcome, 50);
        outcome.check(
            outcome.stderr.is_empty(),
            "the file instead of standard error",
        );
    }
    let text = fs::read_to_string(&file).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("what was there"));
    let whole = |line: &str| {
        line.starts_with("forkguard[") && line.contains("]: abandoned 2 ") && line.ends_with(')')
    };
    let lines: Vec<&str> = lines.collect();
    assert!(
        lines.len() == 100 && lines.iter().all(|line| whole(line)),
        "{text}"
    );
}

#[test]
fn the_log_goes_on_in_a_daemons_folder_with_everything_closed() {
    let folder = folder();
    let outcome = program(&["close-everything", "2"])
        .folder(&folder)
        .env("FORKGUARD_LOG", "info")
        .env("FORKGUARD_LOG_FILE", "log")
        .run();
    protected(&outcome, 2);
    let text = fs::read_to_string(folder.path().join("log")).unwrap();
    outcome.check(text.lines().count() == 2, &text);
}

/// Where few descriptors are allowed, the log's still leaves 0, 1 and 2 to a program that opens them again.
#[test]
fn the_logs_descriptor_leaves_standard_input_free() {
    let opened = |limit: &str, guarded: bool| {
        let folder = folder();
        let outcome = Run::new("sh")
            .arg("-c")
            .arg(format!(
                "ulimit -n {limit}; exec python3 -c 'import os; print(os.open(\"/dev/null\", 0))' <&-"
            ))
            .folder(&folder)
            .env("FORKGUARD_LOG_FILE", "log")
            .guarded(guarded)
            .run();
        outcome.ok().check(
            folder.path().join("log").exists() == guarded,
            "a log's file",
        );
        outcome.stdout.clone()
    };
    for limit in ["1024", "256", "20"] {
        assert_eq!(opened(limit, false), "0\n");
        assert_eq!(opened(limit, true), "0\n", "{limit} descriptors");
    }
}

/// Datagrams that have come, until one does not for so long.
fn datagrams(socket: &UnixDatagram, patience_ms: u64) -> Vec<String> {
    let patience = std::time::Duration::from_millis(patience_ms);
    socket.set_read_timeout(Some(patience)).unwrap();
    let mut buffer = [0; 8192];
    let next = || {
        let count = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..count].to_vec()).unwrap())
    };
    std::iter::from_fn(next).collect()
}

/// A syslog daemon's socket: a datagram a line, with the daemon facility (3 * 8) and the severity.
#[test]
fn a_syslog_daemon_gets_each_line() {
    for (how, format) in [
        (&["2"][..], "text"),
        (&["close-everything", "2"], "text"),
        (&["2"], "json"),
    ] {
        let folder = folder();
        let path = folder.path().join("log");
        let socket = UnixDatagram::bind(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        let outcome = program(how)
            .env("FORKGUARD_LOG", "info")
            .env("FORKGUARD_LOG_FILE", &path)
            .env("FORKGUARD_LOG_FORMAT", format)
            .run();
        protected(&outcome, 2);
        outcome.check(
            outcome.stderr.is_empty(),
            "the daemon instead of standard error",
        );
        let lines = datagrams(&socket, 10);
        assert_eq!(lines.len(), 2, "{lines:?}");
        for line in &lines {
            let message = line
                .strip_prefix("<30>forkguard[")
                .unwrap_or_else(|| panic!("{line:?}"));
            let (pid, message) = message.split_once("]: ").unwrap();
            assert!(outcome.facts("forked").contains(&pid), "{line:?}");
            assert!(!message.contains('\n'), "{line:?}");
            if format == "json" {
                let object: Value = serde_json::from_str(message).unwrap();
                assert_eq!(object["event"], "abandoned");
                assert_eq!(object["count"], 2);
            } else {
                assert!(
                    message.starts_with("abandoned 2 PostgreSQL connections"),
                    "{line:?}"
                );
            }
        }
    }
}

#[test]
fn a_syslog_daemon_may_be_started_anew_and_may_be_slow() {
    let folder = folder();
    let path = folder.path().join("log");
    let first = UnixDatagram::bind(&path).unwrap();
    let tree = Tree::start(&[], |run| {
        run.env("FORKGUARD_LOG", "info")
            .env("FORKGUARD_LOG_FILE", &path)
    });
    tree.tell(tree.pid(), "open");
    let child = tree.fork(tree.pid(), "fork");
    let begin = format!("<30>forkguard[{child}]: abandoned 1 ");
    let lines = datagrams(&first, 100);
    assert!(
        lines.len() == 1 && lines[0].starts_with(&begin),
        "{lines:?}"
    );
    // Gone: nobody waits, nobody is harmed. Then another one at the same path.
    drop(first);
    tree.fork(tree.pid(), "fork");
    fs::remove_file(&path).unwrap();
    let second = UnixDatagram::bind(&path).unwrap();
    let child = tree.fork(tree.pid(), "fork");
    let begin = format!("<30>forkguard[{child}]: abandoned 1 ");
    let lines = datagrams(&second, 100);
    assert!(
        lines.len() == 1 && lines[0].starts_with(&begin),
        "{lines:?}"
    );
    // One that does not read: its queue fills (net.unix.max_dgram_qlen), and forks go on.
    tree.tell(tree.pid(), "in-turn 300");
    let lines = datagrams(&second, 10);
    assert!((1..=300).contains(&lines.len()), "{}", lines.len());
}

#[test]
fn without_a_syslog_daemon_there_is_one_line_and_no_file() {
    let missing = "/dev/forkguard-has-no-such-log";
    let folder = folder();
    let dead = folder.path().join("dead");
    drop(UnixDatagram::bind(&dead).unwrap());
    for (path, why) in [
        (Path::new(missing), "No such file or directory"),
        (&dead, "Connection refused"),
    ] {
        let outcome = program(&["1"]).env("FORKGUARD_LOG_FILE", path).run();
        protected(&outcome, 1);
        let line = format!(
            "FORKGUARD_LOG_FILE={}: cannot be written ({why}",
            path.display()
        );
        outcome.check(
            outcome.stderr.lines().count() == 1 && outcome.stderr.contains(&line),
            &line,
        );
    }
    assert!(!Path::new(missing).exists());
}

/// The real journald, in a mount namespace of its own.
#[test]
fn journald_files_each_line_under_its_name_and_level() {
    if !is_root() {
        eprintln!("NOT LOOKED AT: a mount namespace needs root");
        return;
    }
    let script = "mount -t tmpfs none /run && mount -t tmpfs none /var/log && mkdir -p /run/systemd/journal && \
        (/lib/systemd/systemd-journald & echo $! >/run/pid) 2>/dev/null; \
        trap 'kill $(cat /run/pid)' EXIT; \
        for i in $(seq 200); do [ -S /run/systemd/journal/dev-log ] && break; sleep 0.05; done; \
        FORKGUARD_LOG=info FORKGUARD_LOG_FILE=/run/systemd/journal/dev-log LD_PRELOAD=$2 $1 1 >&2; \
        for i in $(seq 100); do journalctl -t forkguard -o json --no-pager | grep . && break; sleep 0.1; done";
    let outcome = Run::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(compile("configured"))
        .arg(library())
        .env("CONNINFO", cluster().conninfo(Transport::Tcp))
        .guarded(false)
        .run();
    let entry: Value = serde_json::from_str(outcome.ok().stdout.lines().next().unwrap()).unwrap();
    assert_eq!(entry["SYSLOG_IDENTIFIER"], "forkguard", "{entry}");
    assert_eq!(entry["PRIORITY"], "6", "{entry}");
    assert_eq!(entry["SYSLOG_PID"], entry["_PID"], "{entry}");
    let message = entry["MESSAGE"].as_str().unwrap();
    assert!(
        message.starts_with("abandoned 2 PostgreSQL connections"),
        "{entry}"
    );
}

/// What is dead in a child already, it has not abandoned: it says what is so.
#[test]
fn a_childs_child_says_what_it_inherited() {
    let folder = folder();
    let log = folder.path().join("log");
    let tree = Tree::start(&[], |run| {
        run.env("FORKGUARD_LOG", "info")
            .env("FORKGUARD_LOG_FILE", &log)
    });
    tree.tell(tree.pid(), "open");
    tree.tell(tree.pid(), "open");
    let child = tree.fork(tree.pid(), "fork");
    let grandchild = tree.fork(child, "fork");
    let text = fs::read_to_string(&log).unwrap();
    let expected = format!(
        "forkguard[{grandchild}]: inherited 2 PostgreSQL connections that process {child} had inherited itself: \
         dead there, and dead here"
    );
    assert_eq!(text.lines().nth(1), Some(&*expected), "{text}");
    // One session of the child's own, one that is dead in it.
    tree.tell(child, "open");
    let other = tree.fork(child, "fork");
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with(&format!("forkguard[{other}]")))
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains(&format!(
            "abandoned 1 PostgreSQL connection inherited from process {child}: "
        )),
        "{text}"
    );
    assert!(
        lines[1].contains("inherited 2 PostgreSQL connections that process"),
        "{text}"
    );
}

#[test]
fn neither_passwords_nor_queries_are_logged() {
    let folder = folder();
    let file = folder.path().join("log");
    for transport in Transport::ALL {
        let conninfo = cluster().conninfo(transport) + " password=marker-of-a-password";
        for to_file in [false, true] {
            let mut run = program(&["1"])
                .env("CONNINFO", &conninfo)
                .env("FORKGUARD_LOG", "trace");
            if to_file {
                run = run.env("FORKGUARD_LOG_FILE", &file);
            }
            let outcome = run.run();
            protected(&outcome, 1);
            let log = if to_file {
                fs::read_to_string(&file).unwrap()
            } else {
                outcome.stderr.clone()
            };
            outcome
                .check(log.lines().count() >= 3, "there is a log")
                .check(!log.contains("marker"), &log);
        }
    }
    // The server of the tests trusts everybody; this one is told the password.
    let outcome = Run::new(compile("unrelated_sockets"))
        .arg("password")
        .env("FORKGUARD_LOG", "trace")
        .guarded(true)
        .run();
    outcome
        .ok()
        .lost_to_child(1)
        .check(
            outcome.fact("heard") == "marker-of-a-password",
            "it was sent",
        )
        .check(outcome.stderr.lines().count() >= 2, "there is a log")
        .check(!outcome.stderr.contains("marker"), "and it is not there");
}

#[test]
fn a_line_goes_nowhere_but_to_the_log() {
    // Standard error was never open: the first session takes its number.
    let outcome = program(&["stderr-closed", "1"])
        .env("FORKGUARD_LOG", "trace")
        .run();
    protected(&outcome, 1);
    outcome.check(
        outcome.fact("descriptors").starts_with("2 "),
        "a session on 2",
    );
    // It was closed, or covered, and the number holds data.
    for how in ["stderr-is-data", "stderr-is-data-covered"] {
        let folder = folder();
        let data = folder.path().join("data");
        let outcome = program(&[how, data.to_str().unwrap(), "2"])
            .env("FORKGUARD_LOG", "trace")
            .run();
        protected(&outcome, 2);
        assert_eq!(fs::read_to_string(data).unwrap(), "data\n", "{how}");
    }
}

#[test]
fn a_log_that_nobody_reads_harms_nobody() {
    for how in ["stderr-gone", "stderr-full"] {
        let run = || program(&[how, "2"]).env("FORKGUARD_LOG", "trace");
        protected(&run().run(), 2);
        protected(&run().env("FORKGUARD_LOG_FILE", "/dev/stderr").run(), 2);
        // A complaint has nowhere to go either.
        protected(&run().env("FORKGUARD_POLICY", "bad").run(), 2);
    }
    for how in ["fifo-gone", "fifo-full"] {
        let folder = folder();
        let fifo = folder.path().join("fifo");
        let outcome = program(&[how, fifo.to_str().unwrap(), "2"])
            .env("FORKGUARD_LOG", "trace")
            .run();
        protected(&outcome, 2);
    }
    protected(
        &program(&["2"])
            .env("FORKGUARD_LOG", "trace")
            .env("FORKGUARD_LOG_FILE", "/dev/full")
            .run(),
        2,
    );
}

#[test]
fn a_fifo_without_a_reader_is_a_complaint() {
    let folder = folder();
    let fifo = folder.path().join("fifo");
    let outcome = Run::new("mkfifo").arg(&fifo).run();
    outcome.ok();
    let outcome = program(&["1"]).env("FORKGUARD_LOG_FILE", &fifo).run();
    protected(&outcome, 1);
    outcome.check(
        outcome.stderr.lines().count() == 1 && outcome.stderr.contains("FORKGUARD_LOG_FILE"),
        "one line",
    );
}

fn is_root() -> bool {
    // SAFETY: takes nothing, returns a number.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        println!("not tested: this needs root, to be somebody else");
    }
    root
}

/// As user nobody, who may read all of it and write nothing.
fn as_nobody(program: &Path) -> Run {
    Run::new("setpriv")
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
        .arg(program)
        .env("CONNINFO", cluster().conninfo(Transport::Tcp))
}

/// The library in a folder that everybody can read, and `configured` linked with it.
fn linked(folder: &Path, name: &str) -> std::path::PathBuf {
    let shared = folder.join("libforkguard.so.0"); // its soname, build.rs
    fs::copy(library(), &shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(&shared, folder.join("libforkguard.so")).unwrap();
    let built = compile_with(
        "configured",
        name,
        &[
            "-Wl,--no-as-needed",
            &format!("-L{}", folder.display()),
            "-lforkguard",
            &format!("-Wl,-rpath,{}", folder.display()),
        ],
    );
    let program = folder.join(name);
    fs::copy(built, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[test]
fn in_a_setuid_program_the_environment_is_not_honoured() {
    if !is_root() {
        return;
    }
    let folder = folder();
    let program = linked(folder.path(), "configured_setuid");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let log = folder.path().join("log");
    let run = |policy: &str| {
        as_nobody(&program)
            .arg("1")
            .env("FORKGUARD_POLICY", policy)
            .env("FORKGUARD_LOG", "trace")
            .env("FORKGUARD_LOG_FILE", &log)
            .run()
    };
    // Without the bit both are.
    stepped_aside(&run("off"));
    assert!(log.exists());
    fs::remove_file(&log).unwrap();

    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    for policy in ["off", "bad"] {
        let outcome = run(policy);
        protected(&outcome, 1);
        let others = but_for_the_lost(&outcome);
        outcome.check(others.is_empty() && !log.exists(), "not a word");
    }
}

#[test]
fn a_file_that_may_not_be_written_is_a_complaint() {
    if !is_root() {
        return;
    }
    let folder = folder();
    let program = linked(folder.path(), "configured_linked");
    let log = folder.path().join("log");
    fs::write(&log, "root's\n").unwrap();
    let outcome = as_nobody(&program)
        .arg("1")
        .env("FORKGUARD_LOG", "info")
        .env("FORKGUARD_LOG_FILE", &log)
        .run();
    protected(&outcome, 1);
    let mut lines = outcome.stderr.lines();
    outcome
        .check(
            lines
                .next()
                .is_some_and(|line| line.contains("FORKGUARD_LOG_FILE")),
            "a complaint",
        )
        .check(
            lines
                .next()
                .is_some_and(|line| line.contains("abandoned 2"))
                && lines.next().is_none(),
            "and standard error instead",
        );
    assert_eq!(fs::read_to_string(log).unwrap(), "root's\n");
}
