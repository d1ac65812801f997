//! A cancel from a child reaches the child's own statement or nothing, never its parent's.

use crate::facts::Facts;
use crate::support::*;

const CANCELED: &str = "ERROR:  canceling statement due to user request";

fn in_c(transport: Transport, guarded: bool, policy: &str) -> Outcome {
    let outcome = Run::new(compile("cancel"))
        .arg(cluster().conninfo(transport))
        .env("FORKGUARD_POLICY", policy)
        .guarded(guarded)
        .run();
    outcome.ok();
    // What is a process's own is canceled, with the library and without.
    for own in ["its own", "parent's own"] {
        outcome.check(outcome.fact(own) == "sent", own);
        outcome.check(outcome.fact(&format!("{own} statement")) == CANCELED, own);
    }
    outcome
}

#[test]
fn unguarded_a_child_cancels_its_parents_statement() {
    let outcome = in_c(Transport::Tcp, false, "");
    outcome.check(outcome.fact("parent") == CANCELED, "the fault");
}

#[test]
fn no_cancel_of_libpqs_reaches_the_parent() {
    for transport in Transport::ALL {
        let outcome = in_c(transport, true, "");
        for way in ["made before the fork", "made in the child"] {
            outcome.check(outcome.fact(way).contains("the parent process's"), way);
        }
        let way = "asked of the connection";
        outcome.check(outcome.fact(way) == "not sent", way);
        outcome.check(outcome.fact("parent") == "undisturbed", "parent");
    }
}

#[test]
fn with_the_policy_off_nothing_is_held_back() {
    let outcome = in_c(Transport::Tcp, true, "off");
    outcome.check(outcome.fact("parent") == CANCELED, "as without the library");
}

/// psql calls PQcancel from its handler of SIGINT.
#[test]
fn a_signal_handler_cancels_as_ever() {
    for transport in Transport::ALL {
        let outcome = Run::new("timeout")
            .args(["--signal=INT", "1", "psql", "-Xc", "select pg_sleep(30)"])
            .envs(cluster().environment(transport))
            .guarded(true)
            .run();
        outcome.must_say("canceling statement due to user request");
    }
}

fn through(driver: &str, guarded: bool) -> Outcome {
    let outcome = python("driver_cancel")
        .arg(driver)
        .envs(cluster().environment(Transport::Tls))
        .guarded(guarded)
        .run();
    outcome.ok();
    outcome
}

/// The wheels bring libpqs of their own: 17 and 18, loaded where only their module sees them.
#[test]
fn no_drivers_cancel_reaches_the_parent() {
    for driver in ["psycopg2", "psycopg cancel", "psycopg cancel_safe"] {
        let fault = through(driver, false);
        fault.check(
            fault.fact("parent").contains("canceling statement"),
            "the fault",
        );
        let guarded = through(driver, true);
        guarded.check(
            guarded.fact("child").starts_with("OperationalError"),
            "child",
        );
        guarded.check(guarded.fact("parent") == "undisturbed", "parent");
    }
}
