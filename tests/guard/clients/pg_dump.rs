//! `pg_dump -j4` and `pg_restore -j4`: their workers are forked from a connected process, and
//! connect for themselves. What they write must be what they write without the library.

use super::postgresql;
use crate::support::{cluster, Cluster, Outcome, Run, Transport};
use std::collections::BTreeMap;
use std::path::Path;

/// A bit of everything a dump knows, in tables enough for four workers.
const CONTENT: &str = "
    create schema shop;
    create type shop.state as enum ('new', 'paid', 'sent');
    create sequence shop.numbers start 1000;
    create function shop.double(integer) returns integer immutable language sql as 'select $1 * 2';
    do $$ begin
        for i in 1..8 loop
            execute format('create table shop.t%s (id integer primary key, state shop.state, \
                word text, at timestamptz default now())', i);
            execute format('insert into shop.t%s select n, ''paid'', repeat(md5(n::text), n %% 9), \
                timestamptz ''2001-02-03 04:05:06+00'' + n * interval ''1 hour'' \
                from generate_series(1, 1500 + %s * 100) n', i, i);
            execute format('create index on shop.t%s (shop.double(id))', i);
        end loop;
    end $$;
    alter table shop.t2 add foreign key (id) references shop.t8;
    create view shop.both as select id, shop.t1.word as one, shop.t2.word as two
        from shop.t1 join shop.t2 using (id);
    select nextval('shop.numbers'), lo_from_bytea(4711, decode(repeat('fe00', 5000), 'hex'));";

#[test]
fn four_workers_dump_and_restore_as_they_do_without_the_library() {
    let server = cluster();
    let folder = tempfile::tempdir().unwrap();
    server.ask("create database dumped");
    sql(server, "dumped", CONTENT);
    let original = plain(server, "dumped");
    assert!(
        original.len() > 500_000,
        "{} bytes of content",
        original.len()
    );

    let unguarded = folder.path().join("unguarded");
    dump(server, Transport::Unix, &unguarded, false).ok();
    for transport in Transport::ALL {
        let guarded = folder.path().join(format!("{transport:?}"));
        let outcome = dump(server, transport, &guarded, true);
        outcome.ok().check(
            outcome
                .stderr
                .matches("abandoned 1 PostgreSQL connection")
                .count()
                == 4,
            "each of four workers was forked with a connection, and lost it",
        );
        assert_eq!(data_of(&guarded), data_of(&unguarded), "{transport:?}");
        assert_eq!(script_of(&guarded), script_of(&unguarded), "{transport:?}");

        let restored = format!("restored_{transport:?}").to_lowercase();
        server.ask(&format!("create database {restored}"));
        Run::new(postgresql("pg_restore"))
            .args(["-j4", "--exit-on-error", "-d"])
            .arg(server.conninfo(transport) + " dbname=" + &restored)
            .arg(&guarded)
            .guarded(true)
            .run()
            .ok();
        assert!(
            plain(server, &restored) == original,
            "{transport:?}: what was restored is not what was dumped"
        );
        server.ask(&format!("drop database {restored}"));
    }
    server.ask("drop database dumped");
}

fn sql(server: &Cluster, database: &str, sql: &str) {
    Run::new("psql")
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .envs(server.environment(Transport::Unix))
        .env("PGDATABASE", database)
        .run()
        .ok();
}

fn dump(server: &Cluster, transport: Transport, folder: &Path, guarded: bool) -> Outcome {
    Run::new(postgresql("pg_dump"))
        .args(["-j4", "-Fd", "-f"])
        .arg(folder)
        .arg(server.conninfo(transport) + " dbname=dumped")
        .env("FORKGUARD_LOG", "info")
        .guarded(guarded)
        .run()
}

/// Everything in a database, as one script.
fn plain(server: &Cluster, database: &str) -> String {
    let outcome = Run::new(postgresql("pg_dump"))
        .arg(server.conninfo(Transport::Unix) + " dbname=" + database)
        .run();
    outcome.ok();
    without_keys(&outcome.stdout)
}

/// A dump's table of contents and data as the script it stands for.
fn script_of(dump: &Path) -> String {
    let outcome = Run::new(postgresql("pg_restore"))
        .args(["-f", "-"])
        .arg(dump)
        .run();
    outcome.ok();
    without_keys(&outcome.stdout)
}

/// A script begins and ends with a random key of its own (since 15.14).
fn without_keys(script: &str) -> String {
    let lines = script.lines();
    lines
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// Every file of a dump but the table of contents, which has the time of day in it.
fn data_of(dump: &Path) -> BTreeMap<String, Vec<u8>> {
    let files: BTreeMap<_, _> = std::fs::read_dir(dump)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), file.path()))
        .filter(|(name, _)| name != "toc.dat")
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect();
    // A table each, the large object, and the list of those.
    assert_eq!(files.len(), 10, "{:?}", files.keys());
    files
}
