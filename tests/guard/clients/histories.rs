//! Common histories of programs that fork: which come back, and why the others do not.

use crate::clients::said;
use crate::support::{own, python, Policy, Transport};
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn common_histories_come_back_or_say_why() {
    let server = own();
    for sql in [
        "create table things (id serial primary key, name text)",
        "create role reader",
        "create function own() returns int language sql as 'select 1'",
        "create schema hidden; create function hidden.metaphone(text) returns text language sql as 'select $1'",
    ] {
        server.ask(sql);
    }
    for extension in [
        "pgcrypto",
        "uuid-ossp",
        "unaccent",
        "pg_trgm",
        "hstore",
        "ltree",
        "fuzzystrmatch",
        "citext",
    ] {
        server.ask(&format!("create extension \"{extension}\""));
    }
    let log = tempfile::NamedTempFile::new().unwrap();
    let run = || python("histories").envs(server.environment(Transport::Tcp));
    let outcome = run()
        .env("FORKGUARD_LOG_FORMAT", "json")
        .env("FORKGUARD_LOG_FILE", log.path())
        .policy(Policy::Resume)
        .timeout(Duration::from_secs(180))
        .run();
    let mut was = BTreeMap::<&str, Vec<&str>>::new();
    let mut wrong = Vec::new();
    for said in said(outcome.ok(), "history") {
        let of = |fact| said.get(fact).unwrap_or_default();
        was.entry(of("was")).or_default().push(of("name"));
        if of("was") != of("expected") {
            wrong.push(format!(
                "{}: {}, not {}",
                of("name"),
                of("was"),
                of("expected")
            ));
        }
    }
    let all: usize = was.values().map(Vec::len).sum();
    println!("{} of {all} histories come back", was["back"].len());
    for (reason, names) in was.iter().filter(|(reason, _)| **reason != "back") {
        println!("  {reason}: {}", names.join("; "));
    }
    assert!(wrong.is_empty(), "{}\n{outcome}", wrong.join("\n"));
    assert!(all >= 60, "{all}");
}
