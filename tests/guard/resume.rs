//! A child's first use of a session that it inherited idle makes it again, on the same `PGconn` and
//! descriptor: equal, or the session is lost and says why.

use crate::facts::Facts;
use crate::support::{cluster, compile, own, Cluster, Outcome, Policy, Run, Transport};
use std::time::Duration;

fn program(conninfo: &str, what: &[&str]) -> Run {
    Run::new(compile("resume"))
        .arg(conninfo)
        .args(what)
        .env("SECOND", cluster().conninfo(Transport::Unix))
}

fn guarded(conninfo: &str, what: &[&str]) -> Outcome {
    program(conninfo, what).policy(Policy::Resume).run()
}

fn over_unix(what: &[&str]) -> Outcome {
    guarded(&cluster().conninfo(Transport::Unix), what)
}

trait Resumed {
    /// The child was answered `count` times, each time by a backend of its own.
    fn resumed(&self, count: usize) -> &Self;

    /// The child's session is lost, in words that clients know, and the log says once why.
    fn lost(&self, why: &str) -> &Self;
}

impl Resumed for Outcome {
    #[track_caller]
    fn resumed(&self, count: usize) -> &Self {
        let mut answered = self.facts("child");
        let parent = format!("answered by backend {}", self.fact("backend"));
        self.check(answered.len() == count, "every child says")
            .check(
                answered
                    .iter()
                    .all(|said| said.starts_with("answered by backend ")),
                "resumed",
            )
            .check(!answered.contains(&parent.as_str()), "not the parent's");
        answered.sort_unstable();
        answered.dedup();
        self.check(answered.len() == count, "one backend each")
    }

    #[track_caller]
    fn lost(&self, why: &str) -> &Self {
        let reasons: Vec<_> = self
            .stderr
            .lines()
            .filter(|line| line.contains("is lost in this child"))
            .collect();
        self.lost_to_child(1).check(
            reasons.len() == 1 && reasons[0].contains(why),
            &format!("the reason, once: {why:?}"),
        )
    }
}

/// `parent`: it is where it was.
#[track_caller]
fn parent_goes_on(outcome: &Outcome) {
    let expected = format!("answered by backend {}", outcome.fact("backend"));
    outcome.check(outcome.fact("parent") == expected, "the parent's session");
}

#[test]
fn what_libpq_keeps_is_kept() {
    for transport in Transport::ALL {
        let conninfo = cluster().conninfo(transport);
        // Unguarded, it is the parent's session.
        let fault = program(&conninfo, &["kept"]).run();
        let parents = format!("answered by backend {}", fault.fact("backend"));
        fault.check(fault.fact("child") == parents, "the fault");

        let outcome = guarded(&conninfo, &["kept"]);
        outcome.ok().resumed(1);
        let told = |name| {
            let (head, rest) = outcome.fact(name).split_once("backend ").unwrap();
            let (backend, rest) = rest.split_once(',').unwrap();
            (head.to_owned(), backend.to_owned(), rest.to_owned())
        };
        let (before, untouched, resumed, after) = (
            told("before"),
            told("untouched"),
            told("resumed"),
            told("after"),
        );
        outcome
            .check(
                before.2.ends_with("client encoding 8, non-blocking 1"),
                "as set",
            ) // LATIN1
            .check(
                before.0 == untouched.0 && before.2 == untouched.2,
                "as inherited",
            )
            .check(before.0 == resumed.0 && before.2 == resumed.2, "as resumed")
            .check(untouched.1 == "0", "no backend yet")
            .check(
                outcome.fact("child") == format!("answered by backend {}", resumed.1),
                "its own backend",
            )
            .check(before == after, "the parent's is what it was")
            .check(
                outcome.fact("kept") == "notices 1, verbose 1, events 1, data 1, trace 1",
                "kept",
            );
    }
    over_unix(&["received"]).ok().resumed(1).check(
        over_unix(&["received"]).fact("received") == "1",
        "notices go to the receiver",
    );
}

#[test]
fn the_truth_costs_no_connection() {
    let outcome = over_unix(&["truth", "select 1"]);
    outcome.ok().resumed(1);
    let before = outcome.fact("before").replace(outcome.fact("backend"), "0");
    outcome
        .check(
            outcome.fact("child's") == before,
            "open, idle, the same socket",
        )
        .check(outcome.fact("child's again") == before, "and again")
        .check(
            outcome.facts("backends") == ["1", "1", "2"],
            "one is made for the first use",
        );

    let outcome = over_unix(&["truth", "select pg_advisory_lock(1)"]);
    outcome.ok().lost("an advisory lock");
    let bad = "status 1, transaction 4, socket -1, backend 0,";
    for name in ["child's", "child's again", "resumed"] {
        outcome.check(outcome.fact(name).starts_with(bad), "lost");
    }
    outcome
        .check(
            outcome.facts("backends") == ["1", "1", "1"],
            "and none is made",
        )
        .check(
            outcome.fact("before") == outcome.fact("after"),
            "the parent's",
        );
}

/// The child finds the session lost, with the server's reason, and `PQreset` works later.
fn dial_fails(server: &Cluster, conninfo: &str, action: &str, undo: Option<&str>, reason: &str) {
    let mut run = program(conninfo, &["dial fails", action]).policy(Policy::Resume);
    for (variable, value) in server.environment(Transport::Unix) {
        // For psql, which says itself what it wants; libpq's connection string has everything else.
        if variable == "PGHOST" || variable == "PGPORT" {
            run = run.env(format!("FOR_{variable}"), value);
        }
    }
    if let Some(undo) = undo {
        run = run.env("UNDO", undo);
    }
    let outcome = run.run();
    outcome.ok();
    let lost = |said: &str| said.starts_with("bad, ");
    outcome
        .check(lost(outcome.fact("child")), "lost")
        .check(
            outcome.fact("child").contains(reason),
            "the server's reason",
        )
        .check(lost(outcome.fact("again")), "it stays lost")
        .check(
            outcome.stderr.matches("is lost in this child").count() == 1
                && outcome.stderr.contains(reason),
            "the reason, once in the log",
        );
    if undo.is_some() {
        let reset = outcome.fact("reset");
        outcome.check(reset.starts_with("answered by backend "), "PQreset works");
    } else {
        outcome.check(lost(outcome.fact("reset")), "no server");
    }
}

/// psql on this server, in a shell of the program's.
fn psql(server: &Cluster, sql: &str) -> String {
    format!(
        "LD_PRELOAD= psql -XAtq -h {} -p {} -U forkguard -d postgres -c \"{sql}\"",
        server.socket_dir.display(),
        server.port
    )
}

#[test]
fn a_dial_that_fails_is_a_lost_connection() {
    let server = own();
    let local = server.conninfo(Transport::Unix);
    server.ask("create role limited login connection limit 1");
    server.ask("create database doomed");
    dial_fails(
        &server,
        &format!("{local} user=limited"),
        "true",
        Some(&psql(&server, "alter role limited connection limit 9")),
        "too many connections for role",
    );
    let data = server.ask("show data_directory");
    let again = psql(&server, "select pg_reload_conf()");
    dial_fails(
        &server,
        &local,
        &format!(
            "sed -i '1i local forkguard all reject' {data}/pg_hba.conf && {again} && sleep 0.3"
        ),
        None,
        "pg_hba.conf rejects connection",
    );
    // The rule above is for the database of that name only: psql uses another.
    dial_fails(
        &server,
        &format!("{local} dbname=doomed"),
        &psql(&server, "drop database doomed with (force)"),
        Some(&psql(&server, "create database doomed")),
        "database \"doomed\" does not exist",
    );
    dial_fails(
        &server,
        &format!("{local} dbname=postgres"),
        &format!("kill -QUIT $(head -n 1 {data}/postmaster.pid) && sleep 0.5"),
        None,
        "Is the server running",
    );
}

#[test]
fn escaping_is_what_it_was_after_a_dial_that_failed() {
    // libpq's own reset goes back to SQL_ASCII, in which half a character before a quote is fine.
    let server = own();
    server.ask("create role limited login connection limit 1");
    let conninfo = server.conninfo(Transport::Unix) + " user=limited";
    let outcome = guarded(&conninfo, &["dial fails", "true"]);
    outcome.ok().check(
        outcome.facts("escaping") == ["refused"; 2],
        "half a character is refused, as before",
    );
}

#[test]
fn a_dial_is_bounded_by_connect_timeout() {
    let conninfo = cluster().conninfo(Transport::Tcp);
    let outcome = guarded(&conninfo, &["no answer"]);
    outcome.ok();
    let took: u64 = outcome.fact("took").parse().unwrap();
    outcome
        .check((1000..4000).contains(&took), "connect_timeout=2") // libpq counts whole seconds
        .check(outcome.fact("child").starts_with("bad, "), "lost")
        .check(
            outcome.fact("child").contains("timeout expired"),
            "the reason",
        );
}

#[test]
fn another_place_is_refused() {
    let outcome = guarded(&cluster().conninfo(Transport::Tcp), &["first host"]);
    outcome.ok().lost("reached another address");

    let server = own();
    let conninfo = server.conninfo(Transport::Tls) + " sslmode=prefer";
    let outcome = program(&conninfo, &["changed", "shell"])
        .env(
            "ACTION",
            psql(&server, "alter system set ssl to off").to_string()
                + " && "
                + &psql(&server, "select pg_reload_conf()")
                + " && sleep 0.3",
        )
        .policy(Policy::Resume)
        .run();
    outcome.ok().lost("no encryption");
}

#[test]
fn another_client_is_refused() {
    for (what, named) in [
        ("PGTZ", "PGTZ"),
        ("user", "the user"),
        ("user for good", "the user"),
        ("root", "the root directory"),
    ] {
        // SAFETY: takes nothing.
        if ["user", "user for good", "root"].contains(&what) && unsafe { libc::geteuid() } != 0 {
            continue;
        }
        let outcome = over_unix(&["changed", what]);
        outcome
            .ok()
            .lost(&format!("has changed since it was opened: {named}"));
        parent_goes_on(&outcome);
    }
    let tls = guarded(&cluster().conninfo(Transport::Tls), &["changed", "HOME"]);
    tls.ok().lost("has changed since it was opened: HOME");
    // Read when the connection was first made; or by TLS, which no Unix socket has.
    for (transport, what) in [
        (Transport::Unix, "HOME"),
        (Transport::Tcp, "HOME"),
        (Transport::Tcp, "user for good"),
        (Transport::Unix, "PGOPTIONS"),
        (Transport::Tcp, "PGAPPNAME"),
        (Transport::Tls, "PGHOST"),
        (Transport::Tls, "PGPASSFILE"),
    ] {
        // SAFETY: takes nothing.
        if what == "user for good" && unsafe { libc::geteuid() } != 0 {
            continue;
        }
        let outcome = guarded(&cluster().conninfo(transport), &["changed", what]);
        outcome.check(
            outcome.ok().facts("child")[0].starts_with("answered by "),
            "resumed",
        );
        parent_goes_on(&outcome);
    }
    // Groups are nobody to a server; a file that they closed would be a dial that fails.
    for what in ["groups", "not dumpable"] {
        // SAFETY: takes nothing.
        if what == "groups" && unsafe { libc::geteuid() } != 0 {
            continue;
        }
        let outcome = over_unix(&["changed", what]);
        let told = outcome.ok().facts("child");
        outcome.check(
            told.len() == 1 && told[0].starts_with("answered by "),
            "resumed",
        );
        parent_goes_on(&outcome);
    }
}

#[test]
fn families() {
    for transport in [Transport::Unix, Transport::Tls] {
        let conninfo = cluster().conninfo(transport);
        let two = guarded(&conninfo, &["family", "two"]);
        two.ok()
            .resumed(2)
            .check(two.fact("sockets") == "the same", "sockets");
        parent_goes_on(&two);

        let grandchild = guarded(&conninfo, &["family", "grandchild"]);
        grandchild
            .ok()
            .resumed(2)
            .check(grandchild.fact("my.a") == "inherited", "replayed");
        parent_goes_on(&grandchild);

        let again = guarded(&conninfo, &["family", "again"]);
        // The child twice, on one session; the grandchild on its own.
        let said = again.ok().facts("child");
        again
            .check(
                said.len() == 3 && said[0] == said[2] && said[0] != said[1],
                "two sessions",
            )
            .check(
                again.fact("settings") == "inherited, of the child",
                "replayed",
            );
        parent_goes_on(&again);

        let threads = guarded(&conninfo, &["family", "threads"]);
        threads
            .ok()
            .resumed(8)
            .check(threads.facts("my.a") == ["inherited"; 8], "replayed");
        parent_goes_on(&threads);

        let by_hand = guarded(&conninfo, &["family", "double fork"]);
        by_hand
            .ok()
            .resumed(1)
            .check(by_hand.fact("my.a") == "inherited", "replayed");

        let heir = guarded(&conninfo, &["family", "daemon"]);
        let own = format!("answered by backend {}", heir.ok().fact("backend"));
        heir.check(heir.fact("child") == own, "the heir has the real one");
    }
}

#[test]
fn a_replay_that_fails_is_a_lost_connection() {
    let server = own();
    server.ask("create role going");
    let outcome = program(&server.conninfo(Transport::Unix), &["changed", "shell"])
        .env("STATEMENT", "set role going")
        .env("ACTION", psql(&server, "drop role going"))
        .policy(Policy::Resume)
        .run();
    // Its own words first; then those that clients know, and no talk of pipelines.
    let said = outcome.ok().fact("child");
    outcome
        .check(said.starts_with("bad, "), "lost")
        .check(
            said.contains("server closed the connection unexpectedly"),
            "in words that clients know",
        )
        .check(!said.contains("pipeline"), "not in a pipeline's")
        .check(
            outcome.stderr.matches("its replay failed: ").count() == 1,
            "the reason, once",
        )
        .check(
            outcome.fact("lost").starts_with("status 1, transaction 4,"),
            "lost for good",
        );
}

/// A function that takes a lock, and one that does nothing; once for all.
fn functions() -> &'static Cluster {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        cluster().ask(
            "create function take_lock() returns void language sql as 'select pg_advisory_lock(77)';
             create function nothing() returns int language sql as 'select 1'",
        );
    });
    cluster()
}

#[test]
fn functions_vouched_for_are_believed_but_not_in_locks() {
    let conninfo = functions().conninfo(Transport::Unix);
    let call = |sql: &str, trusted: Option<&str>| {
        let mut run = program(&conninfo, &["after", sql]).policy(Policy::Resume);
        if let Some(trusted) = trusted {
            run = run.env("FORKGUARD_TRUST_FUNCTIONS", trusted);
        }
        let outcome = run.run();
        parent_goes_on(outcome.ok());
        outcome
    };
    call("select nothing()", None).lost("nothing (unknown_function)");
    call("select nothing()", Some("other")).lost("nothing (unknown_function)");
    call("select nothing()", Some("other,nothing")).resumed(1);
    call("select nothing()", Some("*")).resumed(1);
    call("select take_lock()", Some("take_lock")).lost("holds an advisory lock");
    call("select take_lock()", Some("*")).lost("holds an advisory lock");
}

#[test]
fn the_journal_is_bounded() {
    let conninfo = cluster().conninfo(Transport::Unix);
    let long = format!("set my.a to '{}'", "x".repeat(5000));
    let small = |sql: &str| {
        program(&conninfo, &["after", sql])
            .env("FORKGUARD_JOURNAL_KB", "4")
            .policy(Policy::Resume)
            .run()
    };
    small(&long).ok().lost("FORKGUARD_JOURNAL_KB");
    small("set my.a to 'x'").ok().resumed(1);

    let outcome = program(&conninfo, &["many settings", "100000"])
        .env("FORKGUARD_JOURNAL_KB", "4")
        .policy(Policy::Resume)
        .run();
    outcome
        .ok()
        .resumed(1)
        .check(outcome.fact("same") == "1", "replayed");
    let grown: i64 = outcome.fact("grown").parse().unwrap();
    // A journal of all 100,000 would take ten megabytes; an allocator may keep some pages.
    outcome.check(grown < 1024, "it does not grow");
}

#[test]
fn a_fork_in_the_middle_of_a_call_is_loud() {
    for transport in Transport::ALL {
        let conninfo = cluster().conninfo(transport);
        for (what, why) in [
            ("thread", "a thread of the parent was in a call"),
            ("unanswered", "not idle"),
            ("unflushed", "not idle"),
        ] {
            let outcome = guarded(&conninfo, &["in the middle", what]);
            outcome.ok().lost(why);
            parent_goes_on(&outcome);
        }
        let outcome = guarded(&conninfo, &["from a notice"]);
        // The rest of PQexec may have met the loss already: then its words are libpq's for later.
        outcome
            .ok()
            .check(
                outcome.fact("child's").starts_with("status 1, "),
                "lost at once",
            )
            .check(outcome.fact("child").starts_with("bad, "), "lost")
            .check(
                outcome
                    .stderr
                    .matches("a thread of the parent was in a call")
                    .count()
                    == 1,
                "the reason, once",
            );
        parent_goes_on(&outcome);
    }
}

#[test]
fn bytes_sent_past_the_gate_are_noticed() {
    for transport in [Transport::Unix, Transport::Tcp] {
        let outcome = guarded(&cluster().conninfo(transport), &["past the shims"]);
        outcome
            .ok()
            .lost("no call of libpq explains")
            .check(outcome.fact("my.a") == "by hand", "the fault");
        parent_goes_on(&outcome);
    }
}

#[test]
fn it_listens_and_knows_its_statements() {
    for transport in Transport::ALL {
        let outcome = guarded(&cluster().conninfo(transport), &["heard"]);
        outcome
            .ok()
            .check(outcome.fact("prepared") == "42", "prepared")
            .check(outcome.fact("news") == "from another session", "news");
        parent_goes_on(&outcome);
    }
}

#[test]
fn a_replay_leaves_no_unnamed_statement() {
    for transport in Transport::ALL {
        let outcome = guarded(&cluster().conninfo(transport), &["unnamed"]);
        outcome.ok().resumed(5);
        let said = outcome.facts("unnamed");
        let none = "26000"; // invalid_sql_statement_name
        outcome.check(
            said == [none, none, none, none, none, "its_own", none],
            "the server's own answer",
        );
    }
}

#[test]
fn replay_and_checks_cost_one_round_trip() {
    let outcome = program(&cluster().conninfo(Transport::Tcp), &["round trips"])
        .policy(Policy::Resume)
        .timeout(Duration::from_secs(90))
        .run();
    let trips = ["dial", "trip", "one", "many"].map(|name| outcome.fact(name));
    // A child's first use dials, replays however long a journal, and asks what it was asked for.
    outcome
        .ok()
        .check(trips == ["1", "1", "3", "3"], "round trips");
}

#[test]
fn abandon_loses_every_session() {
    for transport in Transport::ALL {
        let outcome = program(&cluster().conninfo(transport), &["after", "select 1"])
            .policy(Policy::Abandon)
            .run();
        outcome.ok().lost_to_child(1);
        outcome.check(
            outcome.fact("child's").starts_with("status 0,"),
            "libpq finds out by itself, at the first command",
        );
        parent_goes_on(&outcome);
    }
}
