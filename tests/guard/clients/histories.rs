//! Common histories of programs that fork: which come back, and why the others do not.

use crate::clients::said;
use crate::support::{own, own_of, python, Network, Policy, Proxy, Transport};
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
    let was = run(server.environment(Transport::Tcp), &[]);
    let all: usize = was.values().map(Vec::len).sum();
    println!("{} of {all} histories come back", was["back"].len());
    for (reason, names) in was.iter().filter(|(reason, _)| *reason != "back") {
        println!("  {reason}: {}", names.join("; "));
    }
    assert!(all >= 60, "{all}");
}

/// A name that PostgreSQL has in some versions is a function of the user's in the others, who may do
/// anything in it: here it changes a setting, and a child without that would be different.
#[test]
fn a_built_in_of_another_version_is_the_users_here() {
    if !cfg!(target_arch = "x86_64") {
        println!("not tested: this needs servers, which tools/servers has for x86-64 alone");
        return;
    }
    // Built in from the version on, or up to it; with quotes, grammar is a function's name everywhere, and
    // behind TABLESAMPLE alone a method's.
    let own = [
        ("SELECT uuidv7()", 18, 99),
        (
            "SELECT count(*) FROM things GROUP BY id HAVING any_value(name) <> ''",
            16,
            99,
        ),
        ("SELECT random_normal()", 16, 99),
        ("PREPARE q AS SELECT random_normal()", 16, 99),
        ("SELECT json_scalar('1')", 17, 99),
        ("SELECT \"json_scalar\"('1')", 99, 99),
        ("SELECT numeric_fac(5)", 0, 13),
        ("SELECT system('x')", 99, 99),
        ("SELECT name FROM things TABLESAMPLE system (50)", 0, 99),
    ];
    for server in [13, 18] {
        let cluster = own_of(&server.to_string());
        cluster.ask("create table things (id serial primary key, name text); insert into things (name) values ('a')");
        for (name, arguments) in [
            ("uuidv7", ""),
            ("random_normal", ""),
            ("json_scalar", "text"),
            ("numeric_fac", "bigint"),
            ("system", "text"),
        ] {
            cluster.ask(&format!(
                "create function \"{name}\"({arguments}) returns text language sql as \
                 $$ select set_config('app.tenant', 'by {name}', false) $$"
            ));
        }
        cluster.ask(
            "create function any_value(anyelement) returns text language sql as \
             $$ select set_config('app.tenant', 'by any_value', false) $$",
        );
        let built_in = |(_, first, last): &&(&str, i32, i32)| *first <= server && server <= *last;
        for (expected, texts) in [
            ("back", own.iter().filter(built_in).collect::<Vec<_>>()),
            (
                "unknown_function",
                own.iter().filter(|one| !built_in(one)).collect(),
            ),
        ] {
            let mut arguments = vec!["--expect", expected];
            arguments.extend(texts.iter().map(|(text, ..)| *text));
            let was = run(cluster.environment(Transport::Tcp), &arguments);
            assert_eq!(was[expected].len(), texts.len());
            println!("server {server}: {} are {expected}", texts.len());
        }
    }
}

/// A proxy may report another version than the server is of. Then a name that looks built in may be a
/// user's function, so the server itself is asked.
#[test]
fn a_version_that_a_proxy_reports_is_not_believed() {
    if !cfg!(target_arch = "x86_64") {
        println!("not tested: this needs servers, which tools/servers has for x86-64 alone");
        return;
    }
    let cluster = own_of("13");
    cluster.ask("create table things (id serial primary key, name text)");
    cluster.ask(
        "create function uuidv7() returns text language sql as \
         $$ select set_config('app.tenant', 'by uuidv7', false) $$",
    );
    let proxy = Proxy::to(cluster.port);
    for (claimed, expected) in [(13, "unknown_function"), (18, "other_version")] {
        proxy.becomes(Network::Claims(13, claimed));
        let mut environment = cluster.environment(Transport::Tcp);
        for (name, value) in &mut environment {
            if *name == "PGPORT" {
                *value = proxy.port.to_string();
            }
        }
        let was = run(environment, &["--expect", expected, "SELECT uuidv7()"]);
        assert_eq!(was[expected].len(), 1, "{claimed}");
        println!("a server 13 that says {claimed}: {expected}");
    }
}

/// From 16 on the server tells what the parent's backend has, which does not count once the parent goes on: then the
/// search path of the session's beginning decides.
#[test]
fn what_a_search_path_makes_temporary_is_not_missed() {
    if !cfg!(target_arch = "x86_64") {
        println!("not tested: this needs servers, which tools/servers has for x86-64 alone");
        return;
    }
    for server in [13, 18] {
        let cluster = own_of(&server.to_string());
        cluster.ask("create table things (id serial primary key, name text)");
        let was = run(
            cluster.environment(Transport::Tcp),
            &[
                "a search path that makes tables temporary",
                "a search path that makes tables temporary, and another since",
                "another search path from the start",
            ],
        );
        println!("server {server}: {was:?}");
        assert_eq!(was["parent_temporary_tables"].len(), 2);
    }
}

/// The names of histories by what became of them, which is what the program expects.
pub(super) fn run(
    environment: [(&'static str, String); 6],
    arguments: &[&str],
) -> BTreeMap<String, Vec<String>> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let outcome = python("histories")
        .args(arguments)
        .envs(environment)
        .env("FORKGUARD_LOG_FORMAT", "json")
        .env("FORKGUARD_LOG_FILE", log.path())
        .policy(Policy::Resume)
        // Half a second each on a quiet machine.
        .timeout(Duration::from_secs(600))
        .run();
    let mut was = BTreeMap::<String, Vec<String>>::new();
    let mut wrong = Vec::new();
    for said in said(outcome.ok(), "history") {
        let of = |fact| said.get(fact).unwrap_or_default().to_owned();
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
    assert!(wrong.is_empty(), "{}\n{outcome}", wrong.join("\n"));
    was
}
