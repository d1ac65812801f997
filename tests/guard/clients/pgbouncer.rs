//! Clients of PgBouncer: `tests/programs/idle.py` through it.

use super::histories;
use super::idle::{judge, undisturbed, CHILDREN, IDLE, QUESTIONS, SESSIONS};
use super::{said, set_of_lists, UNGUARDED_LIMIT};
use crate::support::{cluster, own, python, Bouncer, Policy, Run, Transport};

/// A client has a session with the server for as long as it is there.
#[test]
fn in_session_mode() {
    // For every client that there can be: the parent's four; of each child three, and under
    // `abandon` three that PgBouncer has not yet noticed the end of.
    everywhere("session", 30, "all");
}

/// A client has one for a transaction at a time: three for all, and one that the parent holds.
/// What PgBouncer then keeps for a client is what it connected with (a `SET` it can lose: a
/// session that happens to have the value does not report it), and who connects anew has it, too.
#[test]
fn in_transaction_mode() {
    everywhere("transaction", 4, "startup");
}

/// A pooler may know a client by another role and another database than the server does: then no name tells
/// that `ALTER ROLE … SET` is another's, and a child would begin with what it said.
#[test]
fn defaults_of_other_roles_may_be_the_clients_own() {
    let server = own();
    server.ask("create role reader");
    let resets = "alter role forkguard reset statement_timeout; alter database forkguard reset statement_timeout";
    for (alters, behind) in [
        (
            "ALTER ROLE forkguard SET statement_timeout = '1min'",
            "altered_defaults",
        ),
        (
            "ALTER DATABASE forkguard SET statement_timeout = '1min'",
            "altered_defaults",
        ),
        (
            "ALTER ROLE forkguard IN DATABASE forkguard SET statement_timeout = '1min'",
            "altered_defaults",
        ),
        // The pooler may know a client by this name as well: who can tell?
        (
            "ALTER ROLE reader SET statement_timeout = '1min'",
            "altered_defaults",
        ),
        ("SELECT set_config('app.tenant', 't1', false)", "back"),
    ] {
        let bouncer = Bouncer::start(&server, "session", 8);
        let names = |environment: [(&'static str, String); 6]| {
            environment.map(|(name, value)| match name {
                "PGUSER" => (name, "somebody".to_owned()),
                "PGDATABASE" => (name, "alias".to_owned()),
                _ => (name, value),
            })
        };
        histories::run(
            names(bouncer.environment(Transport::Tcp)),
            &["--expect", behind, alters],
        );
        server.ask(resets);
    }
    // With no pooler it is another's, and the names tell so.
    let other = "ALTER ROLE reader SET statement_timeout = '1min'";
    histories::run(
        server.environment(Transport::Tcp),
        &["--expect", "back", other],
    );
}

fn everywhere(mode: &str, sessions: u32, keeps: &str) {
    for driver in ["psycopg2", "psycopg"] {
        // No TLS: that of PgBouncer wants a certificate, and is the same to the client.
        for transport in [Transport::Unix, Transport::Tcp] {
            let program = |bouncer: &Bouncer, seconds: &str| {
                python("idle")
                    .args([driver, keeps, &CHILDREN.to_string(), seconds])
                    .envs(bouncer.environment(transport))
                    .env("PGTZ", "Asia/Tokyo")
            };
            // One for each run: what an unguarded one leaves behind is not the next one's.
            let bouncer = Bouncer::start(cluster(), mode, sessions);
            unguarded(program(&bouncer, "3"));
            for policy in Policy::all() {
                let bouncer = Bouncer::start(cluster(), mode, sessions);
                guarded(program(&bouncer, "30"), *policy, keeps, &bouncer);
            }
        }
    }
}

/// Five processes on three connections: what comes of it changes from run to run, but never all
/// right.
fn unguarded(program: Run) {
    let outcome = program.timeout(UNGUARDED_LIMIT).run();
    outcome.check(said(&outcome, "parent").len() == 1, "the parent connects");
    let (children, asking) = (said(&outcome, "child"), said(&outcome, "asking"));
    let well = |said: &super::Said| said.all_right(QUESTIONS) && said.number("failed") == 0;
    outcome.check(
        children
            .iter()
            .chain(&asking)
            .filter(|said| well(said))
            .count()
            < CHILDREN + 1,
        "the fault: processes that hang, err or get another's answer",
    );
}

fn guarded(program: Run, policy: Policy, keeps: &str, bouncer: &Bouncer) {
    let server = cluster();
    let mark = server.log_mark();
    let outcome = program.policy(policy).run();
    outcome.ok();
    let parents = said(&outcome, "parent")[0].numbers("numbers");
    outcome.check(parents.len() == SESSIONS, "the parent's connections");
    // PgBouncer makes up a number for each of its clients, and gives it as the backend's.
    let lost = if policy == Policy::Abandon { IDLE } else { 0 } as u64;
    let kept = if policy == Policy::Resume || keeps == "startup" {
        IDLE
    } else {
        0
    } as u64;
    judge(&outcome, &parents, CHILDREN, "numbers", |child| {
        child.number("failed") == lost
            && child.number("lost") == lost
            && child.number("state") == kept
    });
    undisturbed(&outcome);

    let all = ["parent", "child", "asking"]
        .into_iter()
        .flat_map(|kind| set_of_lists(&said(&outcome, kind), "backends"))
        .collect();
    server.saw_no_fault(mark, &all);
    // What it logs of a client that is two.
    let log = bouncer.log();
    for fault in [
        "bad packet",
        "broken",
        "unknown pkt",
        "incomplete",
        "invalid",
    ] {
        outcome.check(!log.contains(fault), &log);
    }
}
