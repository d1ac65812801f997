//! Against a real server: what is said to be harmless leaves the session as it was.

use crate::{corpus, support, MODE};
use forkguard_sql::{read, Temporaries, What};
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs statements in order, each with whether the reader calls it harmless.
fn run(server: &support::Cluster, statements: &[(bool, &[u8])]) -> String {
    let conninfo = server.conninfo(support::Transport::Unix)
        // Its first use in a session adds its settings, at their defaults: here they are from the
        // start. (An effect of a user's function, trigger or default that no text shows.)
        + " options='-c session_preload_libraries=plpgsql -c statement_timeout=1s -c lock_timeout=200ms -c client_min_messages=error'";
    // All of it takes minutes: READER_SECONDS=600 to see it.
    let seconds = std::env::var("READER_SECONDS").unwrap_or_else(|_| "40".to_owned());
    let mut child = Command::new(support::compile("session_kept"))
        .args([&conninfo, &seconds])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut records = Vec::new();
    for (harmless, sql) in statements {
        records.push(if *harmless { b'h' } else { b'o' });
        records.extend(*sql);
        records.push(0);
    }
    let mut pipe = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let _ = pipe.write_all(&records);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Not run: what changes the catalogs by hand (and breaks the server), or ends sessions.
fn left_out(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    let catalog = [
        "update pg_",
        "delete from pg_",
        "insert into pg_",
        "pg_catalog.pg_class",
    ];
    let ends = ["pg_terminate_backend", "drop database", "alter system"];
    catalog.iter().chain(&ends).any(|part| sql.contains(part))
}

/// Runs what the reader says of PostgreSQL's own test scripts on that server.
fn leaves_it_as_it_was(server: &support::Cluster) {
    let files = corpus::regression();
    let statements: Vec<(bool, &[u8])> = files
        .iter()
        .flat_map(|file| read(file.sql.as_bytes(), &MODE))
        .filter(|statement| !left_out(&String::from_utf8_lossy(statement.text)))
        .filter_map(|statement| match statement.what {
            _ if matches!(statement.temporary, Temporaries::Made { .. }) => {
                Some((false, statement.text))
            }
            What::Harmless | What::Copy => Some((true, statement.text)),
            What::Opaque(_) => Some((false, statement.text)),
            // Transactions and settings are not for the session that is looked at.
            _ => None,
        })
        .collect();
    let said = run(server, &statements);
    println!("{said}");
    assert!(!said.contains("MARK"), "{said}");
    let succeeded = said
        .split(" harmless, ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let succeeded: usize = succeeded
        .and_then(|count| count.parse().ok())
        .expect("a count");
    assert!(succeeded > 1000, "{said}");
}

#[test]
fn harmless_statements_leave_the_session_as_it_was() {
    leaves_it_as_it_was(&support::own());
}

/// The scripts are Debian's version's; what each server takes of them leaves its session alone. FORKGUARD_TEST_SERVERS
/// names versions, `make servers` all.
#[test]
fn harmless_statements_leave_the_session_as_it_was_on_every_server() {
    let asked = std::env::var("FORKGUARD_TEST_SERVERS").unwrap_or_default();
    if asked.is_empty() {
        println!("not tested: this needs FORKGUARD_TEST_SERVERS, for it takes a minute a server");
        return;
    }
    let all = "13 14 15 16 17 18";
    for major in if asked == "all" { all } else { &asked }.split(' ') {
        println!("PostgreSQL {major}:");
        leaves_it_as_it_was(&support::own_of(major));
    }
}

#[test]
fn a_mark_on_the_session_is_seen() {
    let server = support::own();
    for sql in [
        "SET work_mem = '5MB'",
        "LISTEN a",
        "PREPARE p AS SELECT 1",
        "SELECT pg_advisory_lock(1)",
        "CREATE TEMP TABLE t ()",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "SET ROLE pg_monitor",
    ] {
        let said = run(&server, &[(true, sql.as_bytes())]);
        assert!(said.contains(&format!("MARK {sql}\n")), "{sql}: {said}");
    }
}
