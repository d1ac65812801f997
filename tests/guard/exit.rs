//! A child that only ends, and what it asks on the way, needs no server: what only takes away from
//! an inherited session is answered by the library, as the server would.

use crate::facts::Facts;
use crate::libpq_names::libpqs;
use crate::support::{
    cluster, compile, extensions, library, own, python, root, script, Cluster, Outcome, Policy,
    Run, Transport,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The library, and a libpq before the program's own.
fn beside(libpq: &Path) -> PathBuf {
    format!("{}:{}", library().display(), libpq.display()).into()
}

/// How many children each client has.
const CHILDREN: usize = 20;

type Client = (&'static str, fn() -> Run);

/// Every client, with what each does when a process of it ends.
const CLIENTS: [Client; 13] = [
    // Closes its connection.
    ("psycopg2", || python("exits").arg("psycopg2")),
    // Rolls back, in `PQexec`.
    ("psycopg2 in a transaction", || {
        python("exits").args(["psycopg2", "transaction"])
    }),
    ("scoped_session in a transaction", || {
        python("exits").arg("scoped_session")
    }),
    ("psycopg", || python("exits").arg("psycopg")),
    ("psycopg in pure Python", || {
        python("exits").arg("psycopg").env("PSYCOPG_IMPL", "python")
    }),
    // Drop their pools' connections.
    ("SQLAlchemy", || python("exits").arg("sqlalchemy")),
    ("Django", || python("exits").arg("django")),
    // Finalises its connection.
    ("pg", || script("ruby", "exits.rb").arg("pg")),
    // Throws its pool away in each child; without its hooks, only at the end.
    ("ActiveRecord", || {
        script("ruby", "exits.rb").arg("activerecord")
    }),
    // Deallocates its statement: `DEALLOCATE`, in `PQexec`.
    ("DBD::Pg", || script("perl", "exits.pl")),
    ("PDO", || php_exits("PDO")),
    // Reads what is left of results, then closes; those that persist it leaves open.
    ("pg_connect", || php_exits("pg_connect")),
    ("pg_pconnect", || php_exits("pg_pconnect")),
];

fn php_exits(kind: &str) -> Run {
    let mut run = Run::new(root().join("target/unpacked/usr/bin/php8.2")).arg("-n");
    for setting in [
        "extension=pgsql",
        "extension=pdo",
        "extension=pdo_pgsql",
        "extension=posix",
    ] {
        run = run.args(["-d", setting]);
    }
    run.arg("-d")
        .arg(format!("extension_dir={}", extensions().display()))
        .arg(root().join("tests/programs/exits.php"))
        .arg(kind)
}

/// Runs the client's program, its children one after the other. `stop`: the server's first process
/// is stopped before the first of them is made, and let go on after the last.
fn end_children(server: &Cluster, client: &Client, transport: Transport, stop: bool) -> Outcome {
    let pid = std::fs::read_to_string(server.data().join("postmaster.pid")).unwrap();
    let postmaster = pid.lines().next().unwrap().to_owned();
    let mut run = client.1()
        .arg(CHILDREN.to_string())
        .envs(server.environment(transport))
        .policy(Policy::Resume)
        .timeout(Duration::from_secs(40));
    if stop {
        run = run.env("STOP", &postmaster);
    }
    let outcome = run.run();
    // Where the program was killed it did not say so itself.
    // SAFETY: takes numbers alone.
    let goes_on = unsafe { libc::kill(postmaster.parse().unwrap(), libc::SIGCONT) };
    assert_eq!(goes_on, 0);
    outcome
}

#[test]
fn children_that_only_end_make_no_session() {
    let server = own();
    for client in &CLIENTS {
        let mark = server.log_mark();
        let outcome = end_children(&server, client, Transport::Tls, false);
        outcome.ok().check(
            outcome.facts("ended").len() == CHILDREN,
            &format!("{}: every child ends", client.0),
        );
        let server_log = server.log_since(mark);
        let begun = server_log.matches("connection authorized").count();
        outcome.check(
            begun == outcome.fact("sessions").parse::<usize>().unwrap(),
            &format!("{}: {begun} sessions begun, its own alone", client.0),
        );
    }
}

#[test]
fn children_end_while_the_server_is_stopped() {
    let server = own();
    for client in &CLIENTS {
        // A child that waited for the server would wait for ever: it goes on only after them.
        let outcome = end_children(&server, client, Transport::Unix, true);
        outcome
            .ok()
            .check(
                outcome.facts("ended").len() == CHILDREN,
                &format!("{}: every child ends", client.0),
            )
            .check(outcome.fact("parent") == "1", "its session is undisturbed");
    }
}

/// Whatever a child uses its session for, it does not wait for ever: the server takes the connection
/// and says nothing, before or in the negotiation of TLS, and no `connect_timeout` is set.
#[test]
fn a_stopped_server_is_waited_for_within_a_bound() {
    let server = own();
    let pid = std::fs::read_to_string(server.data().join("postmaster.pid")).unwrap();
    let postmaster = pid.lines().next().unwrap();
    for libpq in libpqs() {
        for transport in Transport::ALL {
            let mut conninfos = vec![server.conninfo(transport)];
            if transport == Transport::Tcp && libpq == libpqs()[0] {
                // One bound for all hosts.
                let hosts = "127.0.0.1,127.0.0.1,127.0.0.1,127.0.0.1,127.0.0.1,127.0.0.1";
                conninfos.push(format!("{} host={hosts}", conninfos[0]));
            }
            for conninfo in conninfos {
                let outcome = Run::new(compile("resume"))
                    .args([&conninfo, "dial fails", &format!("kill -STOP {postmaster}")])
                    .env("UNDO", format!("kill -CONT {postmaster}"))
                    .env("FORKGUARD_CONNECT_WAIT", "2")
                    .policy(Policy::Resume)
                    .preload(&beside(&libpq))
                    .run();
                let _ = std::process::Command::new("kill")
                    .args(["-CONT", postmaster])
                    .status();
                // One that hangs ends by the signal of its alarm, after ten seconds.
                outcome
                    .ok()
                    .check(outcome.fact("ended") == "exit 0", "the child does not hang")
                    .check(
                        outcome.fact("child").starts_with("bad, ")
                            && outcome.fact("child").contains("timed out"),
                        "lost, and said why",
                    )
                    .check(outcome.fact("again").starts_with("bad, "), "it stays lost")
                    .check(
                        outcome.fact("reset").starts_with("answered by "),
                        "PQreset works",
                    )
                    .check(
                        outcome
                            .stderr
                            .matches("the server does not answer in time: 2 s")
                            .count()
                            == 1,
                        "the reason, once",
                    );
            }
        }
    }
}

/// What is done before, how it is asked, the text, and whether it is answered without a server.
const COMMANDS: &[(&str, &str, &str, bool)] = &[
    ("", "simple", "DEALLOCATE p1", true),
    ("", "simple", "deallocate prepare P1 ;; -- gone", true),
    ("", "simple", "DEALLOCATE \"Q 2\"", true),
    ("", "simple", "DEALLOCATE \"select\"", true),
    ("", "simple", "DEALLOCATE ALL", true),
    ("", "simple", "DEALLOCATE PREPARE ALL", true),
    ("", "simple", "UNLISTEN news", true),
    ("", "simple", "UNLISTEN never_heard_of", true),
    ("", "simple", "UNLISTEN *", true),
    ("", "simple", "CLOSE ALL", true),
    ("", "simple", "RESET work_mem", true),
    ("", "simple", "reset MY.A", true),
    ("", "simple", "RESET ALL", true),
    ("", "simple", "DISCARD ALL", true),
    ("", "simple", "DISCARD PLANS", true),
    ("", "simple", "DISCARD SEQUENCES", true),
    ("", "simple", "DISCARD TEMP", true),
    ("", "simple", "DISCARD TEMPORARY", true),
    ("", "extended", "DEALLOCATE p1", true),
    ("", "extended", "DISCARD ALL", true),
    ("", "extended", "UNLISTEN *", true),
    // What only the server knows, or takes for an error.
    ("", "simple", "DEALLOCATE nobody", false),
    ("", "simple", "DEALLOCATE select", false),
    ("", "simple", "DEALLOCATE p1 p1", false),
    ("", "simple", "DEALLOCATE p1 /* open", false),
    ("", "simple", "DEALLOCATE p1; DEALLOCATE \"Q 2\"", false),
    ("", "simple", "DEALLOCATE p1; SELECT 1", false),
    ("", "simple", "UNLISTEN", false),
    ("", "simple", "CLOSE nobody", false),
    ("", "simple", "RESET nothing_known", false),
    ("", "simple", "RESET \"\"", false),
    ("", "simple", "RESET server_version", false),
    ("", "simple", "RESET TimeZone", false),
    ("", "simple", "RESET ROLE", false),
    ("", "simple", "", false),
    ("", "simple", "-- nothing", false),
    ("", "simple", "COMMIT", false),
    ("", "simple", "ROLLBACK", false),
    ("", "extended", "DEALLOCATE nobody", false),
    ("", "parameter", "DEALLOCATE p1", false),
    // What a server reports of itself comes from it.
    ("set time zone 'Asia/Tokyo'", "simple", "RESET ALL", false),
    (
        "set session characteristics as transaction read only",
        "simple",
        "RESET ALL",
        false,
    ),
    ("set role pg_monitor", "simple", "RESET ALL", true),
    ("set role pg_monitor", "simple", "DISCARD ALL", false),
    // The ends of transactions: undone, whatever they read; kept, where nothing can have written.
    (READ, "simple", "ROLLBACK", true),
    (READ, "simple", "abort", true),
    (READ, "simple", "ROLLBACK WORK ; -- over", true),
    (READ, "simple", "Abort Transaction", true),
    (READ, "simple", "ROLLBACK TRANSACTION AND NO CHAIN", true),
    (READ, "extended", "ROLLBACK", true),
    (READ, "extended", "ABORT AND NO CHAIN", true),
    (SET, "simple", "ROLLBACK", true),
    (SET, "simple", "COMMIT", true),
    (SET, "simple", "end", true),
    (SET, "simple", "COMMIT WORK", true),
    (SET, "simple", "END TRANSACTION AND NO CHAIN", true),
    (SET, "extended", "COMMIT", true),
    (SET, "extended", "END", true),
    (
        "begin isolation level serializable",
        "simple",
        "COMMIT",
        true,
    ),
    (
        "begin isolation level repeatable read;select 1",
        "simple",
        "ROLLBACK",
        true,
    ),
    (FAILED, "simple", "ROLLBACK", true),
    (FAILED, "simple", "COMMIT", true),
    (FAILED, "extended", "END", true),
    (
        "begin;create table undone ();select 1/0",
        "simple",
        "COMMIT",
        true,
    ),
    // A view may call a function that writes.
    (READ, "simple", "COMMIT", false),
    (READ, "extended", "END", false),
    (READ, "simple", "COMMIT AND CHAIN", false),
    (READ, "simple", "ROLLBACK AND CHAIN", false),
    (READ, "simple", "ROLLBACK TO a", false),
    (READ, "simple", "ROLLBACK PREPARED 'a'", false),
    (READ, "simple", "ROLLBACK; SELECT 1", false),
    (READ, "simple", "ROLLBACK WORK TRANSACTION", false),
    (READ, "simple", "ROLLBACK AND NO", false),
    (READ, "simple", "RELEASE a", false),
    (READ, "parameter", "ROLLBACK", false),
    // What they take back is reported.
    (
        "begin;set time zone 'Asia/Tokyo'",
        "simple",
        "ROLLBACK",
        false,
    ),
    (
        "begin;set local time zone 'Asia/Tokyo'",
        "simple",
        "COMMIT",
        false,
    ),
    (
        "set time zone 'Asia/Tokyo';begin;reset all",
        "simple",
        "ROLLBACK",
        false,
    ),
    ("begin;set role pg_monitor", "simple", "ROLLBACK", false),
    // In a transaction that goes on.
    (SET, "simple", "DEALLOCATE p1", true),
    (READ, "simple", "DEALLOCATE ALL", true),
    (READ, "extended", "DEALLOCATE \"Q 2\"", true),
    (READ, "simple", "RESET work_mem", true),
    (SET, "simple", "RESET my.b", true),
    (SET, "simple", "RESET ALL", true),
    (READ, "simple", "RESET TimeZone", false),
    (READ, "simple", "UNLISTEN news", false),
    (READ, "simple", "CLOSE ALL", false),
    (READ, "simple", "DISCARD PLANS", false),
    (READ, "simple", "DISCARD ALL", false),
    (SET, "simple", "DISCARD ALL", false),
    (READ, "simple", "DEALLOCATE nobody", false),
    (FAILED, "simple", "DEALLOCATE p1", false),
    (FAILED, "simple", "RESET ALL", false),
    (FAILED, "simple", "DISCARD ALL", false),
    (FAILED, "simple", "CLOSE ALL", false),
];

/// Transactions: one that has read, one that has set things alone, one that has failed.
const READ: &str = "begin;savepoint a;set my.b to 'b';select count(*) from pg_class";
const SET: &str = "begin;set my.b to 'b';set local my.a to 'y';set local work_mem to '9MB';\
    savepoint a;show work_mem;prepare p3 as select 3";
const FAILED: &str = "begin;set my.b to 'b';set work_mem to '9MB';select 1/0";

fn all(library: &Path) -> Run {
    let conninfo = cluster().conninfo(Transport::Unix);
    let mut run = Run::new(compile("removals"))
        .arg(conninfo)
        .policy(Policy::Resume)
        .env("FORKGUARD_LOG", "debug");
    for (more, kind, text, _) in COMMANDS {
        run = run.args([more, kind, text]);
    }
    run.preload(library)
}

#[test]
fn what_only_takes_away_is_answered_as_by_the_server() {
    for libpq in libpqs() {
        let outcome = all(&beside(&libpq)).run();
        outcome.ok();
        let [live, child, live_after, child_after] =
            ["live", "child", "live after", "child after"].map(|name| outcome.facts(name));
        let [here, events, ended, parent] =
            ["here", "child events", "ended", "parent"].map(|name| outcome.facts(name));
        let grandchild_after = outcome.facts("grandchild after");
        outcome.check(
            [live.len(), child.len(), here.len()] == [COMMANDS.len(); 3],
            "each is said",
        );
        for (place, command) in COMMANDS.iter().enumerate() {
            let what = format!("{libpq:?} {command:?}");
            outcome
                .check(
                    live[place] == child[place],
                    &format!("{what}: the same result"),
                )
                .check(
                    // As it is left, and with its transaction rolled back.
                    [2 * place, 2 * place + 1].iter().all(|of| {
                        let live = live_after[*of];
                        live == child_after[*of] && (!command.3 || live == grandchild_after[*of])
                    }),
                    &format!(
                        "{what}: the same session afterwards: {:?} {:?} {:?}",
                        live_after.get(2 * place..2 * place + 2),
                        child_after.get(2 * place..2 * place + 2),
                        grandchild_after.get(2 * place..2 * place + 2),
                    ),
                )
                .check(
                    (here[place] == "1") == command.3,
                    &format!("{what}: with a server or without"),
                )
                .check(!command.3 || events[place] == "1", "its one event")
                .check(ended[place] == "exit 0", "no child hangs")
                .check(
                    parent[place].starts_with("answered by "),
                    "the parent's session",
                );
        }
        let answered = COMMANDS.iter().filter(|command| command.3).count();
        outcome.check(
            outcome.stderr.matches("without its server: ").count() == answered,
            "the log says what was answered",
        );
    }
}
