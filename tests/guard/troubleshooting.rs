//! `docs/TROUBLESHOOTING.md`: the messages of the fault are met without the library, and not with
//! it; and every message that the sources hold is on the page.

use crate::clients::said;
use crate::support::{cluster, library, python, root, Outcome, Policy, Run, Transport};
use forkguard_sql::Reason;
use std::path::Path;

fn page() -> String {
    let page = std::fs::read_to_string(root().join("docs/TROUBLESHOOTING.md")).unwrap();
    words(&page)
}

/// Line breaks are the page's own business.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs one case of `tests/programs/messages.py` without the library, where the message comes, and
/// with it, where the parent has its answer.
#[track_caller]
fn met(case: &str, transport: Transport, message: &str, guarded: &str) {
    let heading = message.split(':').next_back().unwrap().trim();
    assert!(page().contains(heading), "{heading:?} is not on the page");
    let run = || {
        python("messages")
            .arg(case)
            .envs(cluster().environment(transport))
    };
    run().run().ok().must_say(message);
    let with = run().policy(Policy::Resume).run();
    with.ok().must_say(guarded);
    with.check(!with.says(message), "the message, under the library");
}

#[test]
fn decryption_failed_or_bad_record_mac() {
    let message = "decryption failed or bad record mac";
    met("decryption", Transport::Tls, message, "answer=None");
    met("synchronization", Transport::Tls, message, "answer=2");
}

#[test]
fn pgres_tuples_ok_and_no_message_from_the_libpq() {
    let message = "PGRES_TUPLES_OK and no message from the libpq";
    for transport in Transport::ALL {
        met("tuples_ok", transport, message, "answer=None");
    }
}

#[test]
fn lost_synchronization_with_server() {
    let message = "lost synchronization with server";
    met("synchronization", Transport::Tcp, message, "answer=2");
}

#[test]
fn message_type_arrived_from_server_while_idle() {
    let message = "message type 0x54 arrived from server while idle";
    met("while_idle", Transport::Tcp, message, "");
}

#[test]
fn wrong_rows_and_no_error() {
    let rows = ("answer=the child's answer", "answer=the parent's answer");
    met_rows("wrong_rows", rows);
}

fn met_rows(case: &str, (wrong, right): (&str, &str)) {
    let run = || {
        python("messages")
            .arg(case)
            .envs(cluster().environment(Transport::Unix))
    };
    run().run().ok().must_say(wrong);
    run().policy(Policy::Resume).run().ok().must_say(right);
}

#[test]
fn received_2_results_from_command() {
    let message = "received 2 results from command";
    met("two_results", Transport::Tcp, message, "answer=3");
}

#[test]
fn another_command_is_already_in_progress() {
    // The child's session was busy at the fork: it is lost, and the log says why.
    let message = "another command is already in progress";
    let lost = "is lost in this child: it was not idle at the fork";
    met("in_progress", Transport::Tcp, message, lost);
}

#[test]
fn server_closed_the_connection_unexpectedly() {
    let message = "server closed the connection unexpectedly";
    met("closed", Transport::Tcp, message, "answer=None");
    let message = "SSL connection has been closed unexpectedly";
    met("closed", Transport::Tls, message, "answer=None");
}

#[test]
fn the_loaders_messages() {
    let page = page();
    let said = |outcome: Outcome, message: &str| {
        outcome.must_say(message);
        assert!(page.contains(message), "{message:?} is not on the page");
    };
    let wrong = Run::new("true").env("LD_PRELOAD", "libforkguard.so").run();
    wrong.ok();
    said(
        wrong,
        "object 'libforkguard.so' from LD_PRELOAD cannot be preloaded",
    );

    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("app.c");
    std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let program = folder.path().join("app");
    Run::new("gcc")
        .args(["-fsanitize=address", "-o"])
        .args([&program, &source])
        .run()
        .ok();
    let second = Run::new(&program).env("LD_PRELOAD", library()).run();
    second.check(!second.success(), "it does not start");
    said(
        second,
        "ASan runtime does not come first in initial library list",
    );
    let runtime = Run::new("gcc").arg("-print-file-name=libasan.so").run();
    let both = format!("{}:{}", runtime.stdout.trim(), library().display());
    Run::new(&program).env("LD_PRELOAD", both).run().ok();
}

#[test]
fn the_frameworks_own_fixes_work() {
    let page = page();
    for (framework, fix) in [
        ("sqlalchemy", "`engine.dispose(close=False)`"),
        ("django", "`connections.close_all()`"),
        ("psycopg_pool", "`open=False`"),
    ] {
        assert!(page.contains(fix), "{fix} is not on the page");
        let outcome = python("own_fixes")
            .arg(framework)
            .envs(cluster().environment(Transport::Tls))
            .run();
        outcome.ok();
        let backend = |kind| said(&outcome, kind)[0].number("backend");
        let child = backend("child");
        // The parent's session of before is closed, unused by the child, or was never there.
        outcome.check(child != backend("after"), "a session of the child's own");
        for before in said(&outcome, "before") {
            outcome.check(before.number("backend") != child, "not its parent's");
        }
    }
}

/// What stands in `src` and is no message: statements of our own, command tags, and CPython's words.
const NO_MESSAGES: [&str; 12] = [
    "DEALLOCATE ALL",
    "CLOSE CURSOR ALL",
    "DISCARD ",
    "set client_encoding to ",
    "SELECT ",
    "SHOW ",
    "read uncommitted",
    "pg_catalog.",
    r#"File \""#,
    r#"\", line"#,
    "Stack (most recent call first):",
    "<no Python frame>",
];

#[test]
fn every_reason_is_on_the_page() {
    let page = page();
    let mut codes = std::collections::HashSet::new();
    for reason in Reason::ALL {
        let (code, sentence, hint) = (reason.code(), reason.sentence(), reason.hint());
        let row = format!("| `{code}` | {sentence} | {hint} |");
        assert!(page.contains(&row), "not on the page: {row}");
        assert!(codes.insert(code), "{code} twice");
        let is_stable = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(code.bytes().all(is_stable), "{code}");
        assert_eq!(Reason::of_code(code), Some(*reason));
    }
    // Nothing on the page that is no reason any more.
    let rows = page
        .split("| `")
        .skip(1)
        .filter_map(|row| row.split_once("` |"));
    let told = rows.filter(|(code, _)| !code.contains(' ') && code.contains('_'));
    for (code, _) in
        told.filter(|(code, _)| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    {
        assert!(codes.contains(code), "{code} is no reason");
    }
}

#[test]
fn every_message_of_the_library_is_on_the_page() {
    let page = page();
    let mut seen = 0;
    let mut missing = Vec::new();
    let mut look = |file: &Path, source: &str| {
        for text in literals(source) {
            if NO_MESSAGES.iter().any(|start| text.contains(start)) {
                continue;
            }
            // What is put in between is not on the page as it is written here.
            for part in text.split(['{', '}']).step_by(2) {
                let part = part.trim().trim_start_matches("unread: ");
                if part.contains(' ') {
                    seen += 1;
                    if !page.contains(part) {
                        missing.push(format!("{}: {part:?}", file.display()));
                    }
                }
            }
        }
    };
    for folder in ["src", "crates"] {
        visit(&root().join(folder), &mut look);
    }
    assert!(
        seen > 100,
        "{seen} messages: the reader of sources is broken"
    );
    assert!(
        missing.is_empty(),
        "not on the page:\n{}",
        missing.join("\n")
    );
}

/// Every source of the library, but for machine code, what is built for tests alone, and unit tests.
fn visit(folder: &Path, each: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() {
            if name != "processor" {
                visit(&path, each);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs")
            && !["tests.rs", "functions.rs", "fault_injection.rs"].contains(&name.to_str().unwrap())
        {
            let source = std::fs::read_to_string(&path).unwrap();
            let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
            each(&path, source);
        }
    }
}

/// The texts of a source that read like a message: those of two words and more.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let bytes = source.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes[at + 1..].starts_with(b"/") => {
                at += source[at..].find('\n').unwrap_or(source.len() - at);
            }
            // A character, not a lifetime.
            b'\'' if bytes[at + 1] == b'\\' => {
                at += 3 + source[at + 3..].find('\'').unwrap();
            }
            b'\'' if bytes.get(at + 2) == Some(&b'\'') => at += 2,
            b'"' => {
                let start = at + 1;
                at = start;
                while bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                let text = source[start..at].trim();
                if text.contains(' ') {
                    let text = text.replace("\\\n", " ").replace("\\0", "");
                    found.push(words(&text.replace("\\n", " ").replace("\\t", " ")));
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}
