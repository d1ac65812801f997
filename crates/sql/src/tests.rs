//! One test a rule.

use super::*;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

fn whats_in<'a>(text: &'a str, mode: &Mode<'a>) -> Vec<What<'a>> {
    read(text.as_bytes(), mode)
        .map(
            |statement| match (statement.what, statement.calls.names().next()) {
                // What the server is asked about is opaque to the reader.
                (What::Opaque(_), _) | (_, None) => statement.what,
                (_, Some(_)) => What::Opaque(Cause {
                    reason: Reason::UnknownFunction,
                    detail: statement.calls.written().next().unwrap(),
                }),
            },
        )
        .collect()
}

const NOTHING: &Trusted = &Trusted::nothing();
const MODE: Mode<'static> = Mode {
    standard_conforming_strings: true,
    ascii_safe: true,
    server: 18,
    trusted: NOTHING,
};

fn what(text: &str) -> What<'_> {
    let mut all = whats_in(text, &MODE);
    assert_eq!(all.len(), 1, "{text}: {all:?}");
    all.remove(0)
}

#[track_caller]
fn harmless(texts: &[&str]) {
    for text in texts {
        assert_eq!(what(text), What::Harmless, "{text}");
    }
}

#[track_caller]
fn opaque(texts: &[&str]) {
    for text in texts {
        assert!(
            matches!(what(text), What::Opaque(_)),
            "{text}: {:?}",
            what(text)
        );
    }
}

/// `[session|local] name given|default`
fn set(text: &str) -> String {
    match what(text) {
        What::Set { name, local, value } => {
            format!("{}{name:?} {value:?}", if local { "local " } else { "" })
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn what_orms_send_is_harmless() {
    harmless(&[
        "SELECT 1",
        "select pg_catalog.version()",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345",
        "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 2;",
        "INSERT INTO t (a, b) VALUES ($1, $2) RETURNING t.id",
        "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = excluded.a",
        "WITH x(a) AS (SELECT 1), y (b, c) AS (SELECT 2, 3) SELECT * FROM x JOIN y ON (a = b)",
        "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n+1 FROM t WHERE n < 9) SELECT sum(n) FROM t",
        "SELECT count(*), max(x) FILTER (WHERE y IN (1, 2)) OVER (PARTITION BY z ORDER BY a) FROM t",
        "CREATE TABLE t (id serial PRIMARY KEY, name varchar(10) NOT NULL, n numeric(10, 2) DEFAULT 0, UNIQUE (name), FOREIGN KEY (n) REFERENCES o (m))",
        "CREATE TABLE IF NOT EXISTS t (id bigint)",
        "CREATE UNIQUE INDEX i ON t (lower(name))",
        "CREATE INDEX CONCURRENTLY i ON t USING gin (name gin_trgm_ops)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
        "DROP FUNCTION IF EXISTS f(int)",
        "EXPLAIN (ANALYZE, BUFFERS) SELECT 1",
        "SELECT DISTINCT ON (a) row_number() OVER (ORDER BY b) FROM t",
    ]);
}

#[test]
fn unknown_functions_are_opaque() {
    opaque(&[
        "SELECT f(1)",
        "SELECT public.lower('X')",
        "SELECT \"Lower\"('X')",
        "SELECT DISTINCT ON (a) f(b) FROM t",
        "SELECT 1 OPERATOR(pg_catalog.+) f(2)",
        "SELECT * FROM a JOIN b ON conflict(a) WHERE true",
        "SELECT sum(a) OVER (ORDER BY b ROWS f(c) PRECEDING) FROM t",
        "SELECT pg_advisory_lock($1)",
        "SELECT pg_advisory_lock(1), 1",
        "SELECT pg_advisory_lock(1) FROM t",
        "SELECT pg_advisory_lock(a)",
        "SELECT pg_advisory_unlock((1))",
        "SELECT setseed(0)",
    ]);
}

#[test]
fn settings() {
    for (text, expected) in [
        ("SET a TO b", "a Given"),
        ("SET a = 1, 'b', -2.5, on", "a Given"),
        ("set session TimeZone = 'UTC'", "timezone Given"),
        ("SET LOCAL x.y = 'z'", "local x.y Given"),
        ("SET \"My\".\"a\"\"b\" = 'z'", "My.a\\\"b Given"),
        ("SET session.x = 'z'", "session.x Given"),
        ("SET LOCAL local.x = 'z'", "local local.x Given"),
        ("SET role.x = 'z'", "role.x Given"),
        ("SET a TO DEFAULT", "a Default"),
        ("RESET a", "a Default"),
        ("SET TIME ZONE 'UTC'", "timezone Given"),
        ("SET LOCAL TIME ZONE -3", "local timezone Given"),
        ("SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "timezone Given"),
        ("SET TIME ZONE LOCAL", "timezone Default"),
        ("SET TIME ZONE DEFAULT", "timezone Default"),
        ("RESET TIME ZONE", "timezone Default"),
        ("SET NAMES 'latin1'", "client_encoding Given"),
        ("SET NAMES", "client_encoding Default"),
        ("SET SCHEMA 'x'", "search_path Given"),
        ("SET ROLE admin", "role Given"),
        ("SET SESSION ROLE NONE", "role Given"),
        ("RESET ROLE", "role Default"),
        ("SET SESSION AUTHORIZATION bob", "session_authorization Given"),
        ("SET LOCAL SESSION AUTHORIZATION bob", "local session_authorization Given"),
        ("SET SESSION SESSION AUTHORIZATION DEFAULT", "session_authorization Default"),
        ("RESET SESSION AUTHORIZATION", "session_authorization Default"),
        ("SET XML OPTION CONTENT", "xmloption Given"),
        ("RESET TRANSACTION ISOLATION LEVEL", "transaction_isolation Default"),
        ("SELECT set_config('x.y', '1', true)", "local x.y Given"),
        ("SELECT pg_catalog . set_config('x', '1', false) AS a;", "x Given"),
        ("SELECT set_config('x', '1', false) a", "x Given"),
        ("SELECT set_config('x'::text, '\u{e9}'::pg_catalog.varchar, false::bool)", "x Given"),
        ("SELECT set_config('x', NULL, true)", "local x Default"),
        ("RESET ALL", "ResetAll"),
        ("SET TRANSACTION READ ONLY", "SetTransaction"),
        ("SET LOCAL TRANSACTION READ ONLY", "SetTransaction"),
        ("SET CONSTRAINTS ALL DEFERRED", "SetTransaction"),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL READ COMMITTED",
            "SetCharacteristics { isolation: true, read_only: true, deferrable: false, local: false }",
        ),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED NOT DEFERRABLE",
            "SetCharacteristics { isolation: true, read_only: false, deferrable: true, local: false }",
        ),
    ] {
        assert_eq!(set(text), expected, "{text}");
    }
    opaque(&[
        "SET seed = 0.5",
        "SET LOCAL Seed TO 1",
        "RESET \"SEED\"",
        "SELECT set_config('seed', '1', false)",
        "SET search_path = pg_temp, public",
        "SET search_path TO 'PG_TEMP'",
        "SET Search_Path TO E'pg\\137temp'",
        "SET search_path = $$pg_temp$$",
        "SET SCHEMA 'pg_temp_3'",
        "SELECT set_config('search_path', 'pg_temp', true)",
        "SET a FROM CURRENT",
        "SET a . b = 1",
        "SET \u{e9} = 1",
        "SET U&\"a\" = 1",
        "SET a = f(x), (1)",
        "SELECT set_config('a', $1 || 'x', false)",
        "SELECT set_config('a', upper($1), false)",
        "SELECT set_config('a', $1::varchar(3), false)",
        "SELECT set_config('a', $1::int::text, false)",
        "SELECT set_config('a', $0, false)",
        "SELECT set_config('a', $65536, false)",
        "SELECT set_config('a', '1', false) FROM t",
        "SELECT DISTINCT set_config('a', $1, false)",
        "SELECT (set_config('a', $1, false))",
        "SELECT set_config('a', $1, false) WHERE $2",
        "SELECT set_config('a', $1, false), f()",
        "SELECT set_config('a', $1, false), 'x'",
        "SELECT set_config(value => 'a', name => 'b', is_local => true)",
        "SELECT set_config('a', '1', x)",
        "SELECT set_config('a', '1', false), 1",
        "SELECT set_config('a' '1', false, 1)",
        "SELECT 1, set_config('a', '1', false)",
    ]);
    let long = format!("SET {} = 1", "x".repeat(64));
    opaque(&[&long]);
    assert_eq!(
        set(&format!("SET {} = 1", "x".repeat(63))),
        format!("{} Given", "x".repeat(63))
    );
}

#[test]
fn calls_of_set_config_are_read_one_by_one() {
    use Argument::*;
    let calls = |text: &'static str| {
        let What::SetConfig(calls) = what(text) else {
            panic!("{text}")
        };
        calls.calls().collect::<Vec<_>>()
    };
    for text in [
        "SELECT set_config('a', $1, false)",
        "select Pg_Catalog.SET_CONFIG ( 'a' , $1 , FALSE ) as \"x\" ;",
        "SELECT set_config('a'::text, $1::pg_catalog.text, false) y",
    ] {
        let [call] = calls(text)[..] else { panic!() };
        assert_eq!(
            (call.name, call.value, call.local),
            (Constant(b"a"), Parameter(1), Boolean(false)),
            "{text}"
        );
    }
    let text = "SELECT set_config($3::varchar, $1, $2::bool), set_config(E'b', $x$y$x$, NULL) AS z, set_config('c', 'd', 't')";
    let [one, two, three] = calls(text)[..] else {
        panic!()
    };
    assert_eq!(
        (one.name, one.value, one.local),
        (Parameter(3), Parameter(1), Parameter(2))
    );
    let (alone, numbers) = one.alone(true);
    assert_eq!(alone, b"SELECT set_config($1::varchar, $2, $3::bool)");
    assert_eq!(numbers, [3, 1, 2]);
    assert_eq!((two.name, two.value, two.local), (Hidden, Hidden, Null));
    assert_eq!(two.alone(true).0, b"SELECT set_config(E'b', $x$y$x$, NULL)");
    assert_eq!(three.local, Constant(b"t"));
}

#[test]
fn a_parameter_of_two_types_is_not_read() {
    for (text, is_read) in [
        (
            "SELECT set_config('a', 'b', $1), set_config('c', $1, false)",
            false,
        ),
        (
            "SELECT set_config('a', $2, false), set_config('c', 'd', $2::bool)",
            false,
        ),
        ("SELECT set_config($1, 'b', $1)", false),
        (
            "SELECT set_config('a', $1, $2), set_config('c', $1, $2)",
            true,
        ),
        ("SELECT set_config($1, $1, $2)", true),
    ] {
        assert_eq!(matches!(what(text), What::SetConfig(_)), is_read, "{text}");
    }
}

/// Half a minute, where each `INTO` was looked at to the text's end.
#[test]
fn many_tables_of_one_select_are_read_in_time() {
    let text = format!("SELECT 1{}", " INTO TEMP t".repeat(40_000));
    let begun = std::time::Instant::now();
    assert!(matches!(what(text.leak()), What::Opaque(_)));
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

#[test]
fn transactions_statements_channels() {
    for (text, expected) in [
        ("BEGIN", "Begin"),
        (
            "begin work isolation level serializable, read only",
            "Begin",
        ),
        ("START TRANSACTION", "Begin"),
        ("COMMIT", "Commit"),
        ("END AND CHAIN", "Commit"),
        ("ABORT", "Rollback"),
        ("ROLLBACK TRANSACTION AND NO CHAIN", "Rollback"),
        ("COMMIT PREPARED 'x'", "Harmless"),
        ("ROLLBACK PREPARED 'x'", "Harmless"),
        ("PREPARE TRANSACTION 'x'", "PrepareTransaction"),
        ("SAVEPOINT A", "Savepoint(a)"),
        ("RELEASE a", "Release(a)"),
        ("RELEASE SAVEPOINT \"A\"", "Release(A)"),
        ("RELEASE savepoint", "Release(savepoint)"),
        ("ROLLBACK TO a", "RollbackTo(a)"),
        ("ROLLBACK WORK TO SAVEPOINT a", "RollbackTo(a)"),
        ("EXECUTE p", "Execute { name: p }"),
        ("EXECUTE p (1, lower('A'))", "Execute { name: p }"),
        ("EXPLAIN ANALYZE EXECUTE p(1)", "Execute { name: p }"),
        (
            "EXPLAIN (ANALYZE) CREATE TABLE t AS EXECUTE p",
            "Execute { name: p }",
        ),
        (
            "CREATE UNLOGGED TABLE t (a) AS EXECUTE p (1) WITH NO DATA",
            "Execute { name: p }",
        ),
        ("DEALLOCATE p", "Deallocate(p)"),
        ("DEALLOCATE PREPARE p", "Deallocate(p)"),
        ("DEALLOCATE prepare", "Deallocate(prepare)"),
        ("DEALLOCATE PREPARE ALL", "DeallocateAll"),
        ("LISTEN \"a b\"", "Listen(a b)"),
        ("UNLISTEN x", "Unlisten(x)"),
        ("UNLISTEN *", "UnlistenAll"),
        ("DISCARD ALL", "DiscardAll"),
        ("DISCARD TEMPORARY", "DiscardOther"),
        ("COPY t (a) FROM STDIN WITH (FORMAT csv)", "Copy"),
        ("COPY (SELECT lower(a) FROM t) TO stdout", "Copy"),
        ("COPY BINARY t (a) FROM 'x'", "Harmless"),
    ] {
        assert_eq!(format!("{:?}", what(text)), expected, "{text}");
    }
    let What::Prepare { name, body } = what("PREPARE \"P\" (int, numeric(3)) AS SELECT $1 ; ")
    else {
        panic!();
    };
    assert_eq!((name.to_vec(), body), (b"P".to_vec(), &b"SELECT $1"[..]));
    opaque(&[
        "PREPARE p AS SELECT f()",
        "PREPARE p AS EXECUTE q",
        "EXECUTE p (f())",
        "COPY (SELECT f()) TO STDOUT",
        "COPY t FROM STDIN WHERE f(a)",
        "BEGIN (1)",
    ]);
}

#[test]
fn what_a_session_keeps_and_what_nobody_can_tell_is_opaque() {
    opaque(&[
        "DO $$ BEGIN END $$",
        "CALL p()",
        "LOAD 'x'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plperl AS 'x'",
        "CREATE FUNCTION f() RETURNS int RETURN 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET a.b = '1' AS 'select 1'",
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'select 1'",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'select set_config(1)'",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$begin SET LOCAL a.b = 1; end$$",
        "CREATE AGGREGATE f (int) (sfunc = g, stype = int)",
        "CREATE EXTENSION plpython3u",
        "CREATE EXTENSION earthdistance CASCADE",
        "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE FOREIGN TABLE t (a int) SERVER s",
        "IMPORT FOREIGN SCHEMA s FROM SERVER x INTO y",
        "ALTER SYSTEM SET work_mem = 1",
        "ALTER USER bob IN DATABASE d RESET ALL",
        "ALTER ROLE bob SET a.b = 1",
        "ALTER ROLE bob RESET a . b",
        "ALTER ROLE bob SET \"a.b\" = 1",
        "ALTER ROLE bob RESET U&\"a.b\"",
        "ALTER ROLE U&\"bob\" SET work_mem = 1",
        "ALTER ROLE bøb SET work_mem = 1",
        "ALTER ROLE bob CREATEDB SET work_mem = 1",
        "ALTER GROUP bob SET work_mem = 1",
        "CREATE TEMP TABLE public.t (a int)",
        "CREATE TABLE pg_temp_3.t (a int)",
        "CREATE TABLE d.pg_temp.t (a int)",
        "CREATE TEMP TABLE té (a int)",
        "CREATE TEMP TABLE \"é\" (a int)",
        "CREATE TEMP TABLE U&\"t\" (a int)",
        "CREATE TEMP TABLE a23456789012345678901234567890123456789012345678901234567890abcd (a int)",
        "CREATE TEMP DOMAIN d AS int",
        "CREATE DOMAIN pg_temp.d AS int",
        "CREATE MATERIALIZED VIEW pg_temp.v AS SELECT 1",
        "CREATE FUNCTION \"pg_temp\".f() RETURNS int LANGUAGE sql AS 'select 1'",
        "EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1",
        "EXPLAIN ANALYZE SELECT 1 INTO TEMP t",
        "CREATE RULE r AS ON INSERT TO t DO SELECT 1 INTO TEMP u",
        "SELECT 1 INTO TEMP",
        "SELECT 1 INTO pg_temp_3.t",
        "SELECT pg_temp.f()",
        "SELECT \"pg_temp\".lower('x')",
        "SELECT * FROM pg_temp_3.t",
        "SELECT * FROM \"PG_TEMP\".t",
        "SELECT pg_temp FROM t",
        "DROP SCHEMA pg_temp CASCADE",
        "DROP SCHEMA IF EXISTS pg_temp_3",
        "ALTER TABLE pg_temp.t ADD b int",
        "CREATE SCHEMA s CREATE TEMP TABLE t (a int)",
        "CREATE TYPE pg_temp.t AS (a int)",
        "CREATE TYPE t AS RANGE (subtype = int)",
        "DROP TABLE \"pg_temp_3\".t",
        "DECLARE c CURSOR WITH HOLD FOR SELECT f()",
        "DECLARE \"é\" CURSOR WITH HOLD FOR SELECT 1",
        "DECLARE c CURSOR FOR SELECT f()",
        "UPDATE pg_settings SET setting = 'on' WHERE name = 'x'",
        "WITH x AS (SELECT 1) UPDATE pg_catalog.\"pg_settings\" SET setting = 'on'",
        "CREATE VIEW v AS SELECT * FROM pg_settings",
        "START_REPLICATION 0/0",
        "IDENTIFY_SYSTEM",
        "CREATE VIEW v AS SELECT f()",
        "CREATE TABLE t (a int DEFAULT f())",
        "CREATE TABLE t AS SELECT f()",
        "CREATE INDEX ON t (f(a))",
        "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT f())",
        "EXPLAIN ANALYZE SELECT f()",
        "WITH a AS (SELECT f()) SELECT 1",
        "SELECT U&\"x\"",
        "SELECT pg_catalog.setseed(1)",
        "SELECT \"pg_catalog\".\"pg_advisory_lock\"(1)",
        "SELECT pg_backup_start('x')",
        "SELECT dblink_connect('x')",
        "SELECT query_to_xml('select 1', true, true, '')",
        "SELECT (a).f(1)",
        "SELECT a.b.lower(1)",
    ]);
    harmless(&[
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1'",
        "CREATE OR REPLACE FUNCTION s.f(a int DEFAULT g(1)) RETURNS SETOF t LANGUAGE 'plpgsql' STABLE SET search_path = '' AS $$begin; return 1; end$$",
        "CREATE OR REPLACE PROCEDURE p() LANGUAGE sql AS ''",
        "CREATE EXTENSION hstore",
        "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public",
        "SELECT pg_advisory_xact_lock(1), nextval('s'), clock_timestamp(), pg_sleep(0.1)",
        "SELECT name, setting FROM pg_settings",
        "SELECT temp FROM t",
        "INSERT INTO temp (a) VALUES (1)",
        "ALTER ROLE bob PASSWORD 'x'",
        "ALTER TABLE t SET (fillfactor = 70)",
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(1)",
        "CREATE TABLE t (a int) PARTITION BY LIST (a)",
        "CREATE TYPE s.t AS ENUM ('a')",
        "COMMENT ON FUNCTION f(int) IS 'x'",
        "SELECT \"lower\"('X'), PG_CATALOG.LOWER('X')",
    ]);
}

#[test]
fn a_name_is_built_in_where_the_server_has_it() {
    let harmless_on = |text: &str| {
        let servers = [0, 1, 13, 14, 15, 16, 17, 18, 19];
        let known = servers.into_iter().filter(|server| {
            let mode = Mode {
                server: *server,
                ..MODE
            };
            whats_in(text, &mode) == [What::Harmless]
        });
        known.collect::<Vec<_>>()
    };
    let all = [0, 1, 13, 14, 15, 16, 17, 18, 19];
    for (text, servers) in [
        ("SELECT lower('x')", &all[..]),
        ("SELECT uuidv7()", &[18, 19]),
        ("SELECT \"uuidv7\"()", &[18, 19]),
        ("SELECT pg_catalog.uuidv7()", &[18, 19]),
        ("SELECT public.uuidv7()", &[]),
        ("SELECT any_value(a) FROM t", &[16, 17, 18, 19]),
        ("SELECT numeric_fac(5)", &[1, 13]),
        ("SELECT json_scalar(1)", &[17, 18, 19]),
        ("SELECT \"json_scalar\"(1)", &[]),
        ("SELECT s.json_scalar(1)", &[]),
        ("SELECT system('x')", &[]),
        (
            "SELECT * FROM t TABLESAMPLE system (1) REPEATABLE (2)",
            &all,
        ),
        ("SELECT * FROM t tablesample pg_catalog.bernoulli(1)", &all),
        ("SELECT * FROM t TABLESAMPLE other (1)", &[]),
    ] {
        assert_eq!(harmless_on(text), servers, "{text}");
    }
    // What a server does not have is no function of PostgreSQL's, and one can vouch for it.
    let (all, _) = Trusted::parse("*");
    let mode = |server| Mode {
        server,
        trusted: &all,
        ..MODE
    };
    let text = "SELECT pg_stop_backup()";
    assert!(matches!(whats_in(text, &mode(14))[..], [What::Opaque(_)]));
    assert_eq!(whats_in(text, &mode(15)), [What::Harmless]);
}

#[test]
fn the_user_vouches_for_functions() {
    let (some, complaints) = Trusted::parse(" MyF , s.g, \"S\".\"H\"\"h\", a.b.c, 1x, ,\"\"");
    assert_eq!(complaints.len(), 3, "{complaints:?}");
    let (all, complaints) = Trusted::parse("*");
    assert!(complaints.is_empty());
    let check = |trusted, text: &str, expected| {
        let mode = Mode { trusted, ..MODE };
        let harmless = whats_in(text, &mode) == [What::Harmless];
        assert_eq!(harmless, expected, "{text}");
    };
    for (text, expected) in [
        ("SELECT myf(1), x.MYF(2), s.g(), S.G()", true),
        ("SELECT \"S\".\"H\"\"h\"()", true),
        ("SELECT g()", false),
        ("SELECT t.g()", false),
        ("SELECT \"MyF\"()", false),
        ("SELECT a.b.myf()", false),
    ] {
        check(&some, text, expected);
        check(NOTHING, text, false);
        check(&all, text, true);
    }
    // Nobody says that of all functions, PostgreSQL's own with their known effects among them.
    for text in [
        "SELECT pg_advisory_lock(1)",
        "SELECT public.dblink_connect('x')",
        "SELECT set_config('a', b, true)",
        "DO ''",
        "CREATE TEMP DOMAIN t",
    ] {
        check(&all, text, false);
    }
    check(
        &Trusted::parse("pg_advisory_lock").0,
        "SELECT pg_advisory_lock(1)",
        true,
    );
}

/// The statements' texts, with Opaque ones marked.
fn cut<'a>(text: &'a str, mode: &Mode<'a>) -> Vec<&'a str> {
    read(text.as_bytes(), mode)
        .map(|statement| core::str::from_utf8(statement.text).unwrap())
        .collect()
}

#[test]
fn quotes_comments_and_bodies_are_followed() {
    for (text, expected) in [
        (" ; a ;; b /* c */ -- d", &["a", "b"][..]),
        ("a ';' ; b", &["a ';'", "b"]),
        ("a 'it''s;' ; b", &["a 'it''s;'", "b"]),
        ("a '\\' ; b", &["a '\\'", "b"]),
        ("a E'\\';' ; b", &["a E'\\';'", "b"]),
        ("a 'x'\n';' ; b", &["a 'x'\n';'", "b"]),
        ("a E'x' -- ;\n '\\';' ; b", &["a E'x' -- ;\n '\\';'", "b"]),
        ("a 'x' /* \n */ ';' ; b", &["a 'x' /* \n */ ';'", "b"]),
        ("a x'1''\\' ; b", &["a x'1''\\'", "b"]),
        ("a U&';\\' UESCAPE '!' ; b", &["a U&';\\' UESCAPE '!'", "b"]),
        ("a \"x;\"\";\" ; b", &["a \"x;\"\";\"", "b"]),
        ("a $$;$x$;$$ ; b", &["a $$;$x$;$$", "b"]),
        ("a $x$;$$;$x$ ; b", &["a $x$;$$;$x$", "b"]),
        ("a$x$;b$x$", &["a$x$", "b$x$"]),
        ("a $1;b", &["a $1", "b"]),
        ("a /* ; /* ; */ ; */ ; b", &["a", "b"]),
        ("a -- ;\r; b", &["a", "b"]),
        ("a +-- ;\n; b", &["a +", "b"]),
        ("a */* ; */ ; b", &["a *", "b"]),
        ("a (; (;) ;) ; b", &["a (; (;) ;)", "b"]),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; b",
            &["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END", "b"],
        ),
        // The rest is one.
        ("a; b 'c; d", &["a", "b 'c; d"]),
        ("a; b \"c; d", &["a", "b \"c; d"]),
        ("a; b $$c; d$", &["a", "b $$c; d$"]),
        ("a; b /* c; d", &["a", "b /* c; d"]),
        ("a; b (c; d", &["a", "b (c; d"]),
        ("a; b )c; d", &["a", "b )c; d"]),
        ("a; b \\c; d", &["a", "b \\c; d"]),
    ] {
        assert_eq!(cut(text, &MODE), expected, "{text}");
    }
    let old = Mode {
        standard_conforming_strings: false,
        ..MODE
    };
    assert_eq!(cut("a '\\';' ; b", &old), ["a '\\';'", "b"]);
    assert_eq!(cut("a E'\\';' ; b", &old), ["a E'\\';'", "b"]);
    assert_eq!(cut("a N'\\';' ; b", &old), ["a N'\\';'", "b"]);
    // X'1' and a plain string: nothing is doubled in the first.
    assert_eq!(cut("a x'1''\\';' ; b", &old), ["a x'1''\\';'", "b"]);
    for text in [
        "SELECT 'a",
        "SELECT (1",
        "SELECT 1)",
        "BEGIN \\",
        "SELECT 1 /*",
    ] {
        opaque(&[text]);
    }
    let sjis = Mode {
        ascii_safe: false,
        ..MODE
    };
    assert_eq!(whats_in("SELECT 1; SELECT 2", &sjis).len(), 2);
    assert!(matches!(
        whats_in("SELECT 1; SELECT '\u{e9}'", &sjis)[..],
        [What::Opaque(_)]
    ));
}

#[test]
fn a_reason_is_short_and_printable() {
    let long = format!("SELECT {}\u{e9}(1)", "f".repeat(100));
    let What::Opaque(reason) = what(&long) else {
        panic!()
    };
    assert_eq!(
        format!("{reason}"),
        format!(
            "it called a function that forkguard does not know: {}",
            "f".repeat(63)
        )
    );
}

#[test]
fn every_word_is_found_in_any_case() {
    for &(text, word) in words::ALL {
        let upper = text.to_ascii_uppercase();
        assert_eq!(words::word(text.as_bytes(), 0, text.len()), word);
        assert_eq!(
            words::word(format!("{upper} ......").as_bytes(), 0, text.len()),
            word
        );
        // A key word's category is PostgreSQL's; the rest is not in the way of a call.
        assert!(
            !word.takes_parenthesis() || calls::keyword(text.as_bytes()),
            "{text}"
        );
    }
    assert_eq!(words::word(b"selectx", 0, 7), words::Word::Other);
    assert_eq!(words::word(b"materialised", 0, 12), words::Word::Other);
}

#[test]
fn what_only_takes_away_has_its_tag() {
    for (text, tag) in [
        ("DEALLOCATE a", "DEALLOCATE"),
        ("deallocate prepare A_1;", "DEALLOCATE"),
        (
            ";; /* x /* y */ */ Deallocate -- z\n \"select\" ; ;",
            "DEALLOCATE",
        ),
        ("DEALLOCATE \"a\"\"b\"", "DEALLOCATE"),
        ("DEALLOCATE \"all\"", "DEALLOCATE"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
        ("DEALLOCATE PREPARE ALL;", "DEALLOCATE ALL"),
        ("UNLISTEN *", "UNLISTEN"),
        ("UNLISTEN news", "UNLISTEN"),
        ("CLOSE ALL", "CLOSE CURSOR ALL"),
        ("RESET ALL", "RESET"),
        ("reset work_mem", "RESET"),
        ("RESET my.own.setting", "RESET"),
        ("DISCARD ALL", "DISCARD ALL"),
        ("DISCARD PLANS", "DISCARD PLANS"),
        ("DISCARD SEQUENCES", "DISCARD SEQUENCES"),
        ("DISCARD TEMP", "DISCARD TEMP"),
        ("DISCARD TEMPORARY", "DISCARD TEMP"),
        ("COMMIT", "COMMIT"),
        ("end ;", "COMMIT"),
        ("COMMIT WORK", "COMMIT"),
        ("END TRANSACTION AND NO CHAIN", "COMMIT"),
        ("ROLLBACK", "ROLLBACK"),
        ("/* over */ Abort Work;", "ROLLBACK"),
        ("ROLLBACK AND NO CHAIN", "ROLLBACK"),
        ("ABORT TRANSACTION", "ROLLBACK"),
    ] {
        assert_eq!(
            removal::removal(text.as_bytes(), &MODE),
            Some(tag.as_bytes()),
            "{text}"
        );
    }
}

#[test]
fn every_other_text_is_left_to_the_server() {
    let long = format!("DEALLOCATE {}", "x".repeat(64));
    for text in [
        "",
        ";",
        "-- nothing",
        "DEALLOCATE",
        "DEALLOCATE a b",
        "DEALLOCATE a, b",
        "DEALLOCATE a.b",
        "DEALLOCATE a; DEALLOCATE b",
        "DEALLOCATE a; SELECT 1",
        "SELECT 1; DEALLOCATE a",
        "DEALLOCATE select",
        "DEALLOCATE prepare",
        "DEALLOCATE 'a'",
        "DEALLOCATE $1",
        "DEALLOCATE 1a",
        "DEALLOCATE a1()",
        "DEALLOCATE \"\"",
        "DEALLOCATE U&\"a\"",
        "DEALLOCATE \"a",
        "DEALLOCATE a /* open",
        "DEALLOCATE\x0ba",
        "DEALLOCATE é",
        "DEALLOCATE a -- é",
        "DEALLOCATE \"a\" \"b\"",
        "DEALLOCATE *",
        "DEALLOCATE ALL a",
        "DEALLOCATE PREPARE",
        "DEALLOCATE ALL PREPARE",
        &long,
        "UNLISTEN",
        "UNLISTEN **",
        "UNLISTEN a, b",
        "UNLISTEN all",
        "UNLISTEN +",
        "CLOSE c",
        "CLOSE",
        "RESET",
        "RESET a.",
        "RESET a b",
        "RESET .a",
        "RESET TIME ZONE",
        "RESET SESSION AUTHORIZATION",
        "RESET ROLE",
        "RESET a.b.c.d.e",
        "DISCARD",
        "DISCARD everything",
        "DISCARD ALL PLANS",
        "COMMIT AND CHAIN",
        "COMMIT WORK AND CHAIN",
        "COMMIT AND",
        "COMMIT AND NO",
        "COMMIT NO CHAIN",
        "COMMIT AND NO CHAIN WORK",
        "COMMIT WORK TRANSACTION",
        "COMMIT PREPARED 'a'",
        "COMMIT a",
        "END IF",
        "COMMIT; BEGIN",
        "ROLLBACK AND CHAIN",
        "ROLLBACK TO a",
        "ROLLBACK WORK TO SAVEPOINT a",
        "ROLLBACK PREPARED 'a'",
        "ABORT TO a",
        "\"rollback\"",
        "EXPLAIN DEALLOCATE a",
        "SET work_mem TO DEFAULT",
    ] {
        assert_eq!(removal::removal(text.as_bytes(), &MODE), None, "{text}");
    }
}

/// What the statements of a text do to a transaction that is open, in short.
fn touches(text: &str) -> Vec<String> {
    let (trusted, _) = Trusted::parse("mine");
    let mode = Mode {
        trusted: &trusted,
        ..MODE
    };
    let all = read(text.as_bytes(), &mode).in_transaction(true);
    all.map(|statement| match statement.touch {
        Touch::Nothing => String::from("nothing"),
        Touch::Reads => String::from("reads"),
        Touch::More(by) => String::from_utf8_lossy(by).into_owned(),
    })
    .collect()
}

#[test]
fn what_a_transaction_keeps_of_a_read_is_nothing() {
    for text in [
        "SELECT 1",
        "select count(*) from t where a = 'known by now2' and b like 'a\\_b'",
        "(select 1) union select 2",
        "VALUES (1), (2)",
        "TABLE t",
        "with a as (select 1) select * from a",
        "EXPLAIN SELECT * FROM t",
        "explain (analyze, buffers) select * from t",
        "select substring(a from 1 for 2), overlay(a placing 'x' from 1 for 1) from t",
        "select share, for_sale, local_name from stocks",
        "select clock_timestamp(), statement_timestamp(), random(), pg_current_snapshot()",
        "select current_setting('app.tenant', true), current_user, current_schema()",
        "select pg_backend_pid(), version(), pg_is_in_recovery()",
        "select relname from pg_class where oid = to_regclass('t')",
        "execute s (1, 'x')",
        "deallocate s",
    ] {
        assert_eq!(touches(text), ["reads"], "{text}");
    }
    for text in [
        "SHOW TimeZone",
        "begin isolation level read committed, read only",
        "SET LOCAL app.tenant = 'a'",
        "set transaction read only",
        "set constraints all deferred",
        "savepoint a",
        "rollback to a",
        "release a",
        "prepare s as insert into t values (1)",
        "select set_config('app.tenant', 'a', true)",
        "reset all",
    ] {
        assert_eq!(touches(text), ["nothing"], "{text}");
    }
}

#[test]
fn what_is_more_than_a_read_is_told_by_its_word() {
    for (text, by) in [
        ("insert into t values (1)", "insert"),
        ("UPDATE t SET a = 1", "UPDATE"),
        ("delete from t", "delete"),
        (
            "merge into t using s on true when matched then do nothing",
            "merge",
        ),
        (
            "with a as (delete from t returning 1) select * from a",
            "delete",
        ),
        ("explain insert into t values (1)", "insert"),
        ("explain analyze update t set a = 1", "update"),
        ("explain declare c cursor for select 1", "declare"),
        ("explain create table s as select 1", "create"),
        ("select * into s from t", "into"),
        ("create table s as select 1", "create"),
        ("select * from t for update", "update"),
        ("select * from t for no key update skip locked", "update"),
        ("select * from t FOR SHARE", "SHARE"),
        ("select * from t for key share of t nowait", "share"),
        ("select nextval('s')", "nextval"),
        ("select pg_catalog.\"setval\"('s', 1)", "\"setval\""),
        ("select now()", "now"),
        ("select transaction_timestamp()", "transaction_timestamp"),
        ("select current_timestamp", "current_timestamp"),
        ("select a from t where b < CURRENT_DATE", "CURRENT_DATE"),
        ("select localtime(0)", "localtime"),
        ("select age(born) from t", "age"),
        ("select 'now'::timestamptz", "'now'"),
        ("select date ' Today '", "' Today '"),
        ("select E'\\x6eow'::timestamptz", "E'\\x6eow'"),
        ("select U&'\\006eow'::timestamptz", "U&'\\006eow'"),
        ("select 'n'\n'ow'::timestamptz", "'n'\n'ow'"),
        ("select $$now$$::timestamptz", "$$now$$"),
        ("select txid_current()", "txid_current"),
        (
            "select pg_current_xact_id_if_assigned()",
            "pg_current_xact_id_if_assigned",
        ),
        ("select * from pg_locks", "pg_locks"),
        (
            "select xact_start from pg_catalog.pg_stat_activity",
            "pg_stat_activity",
        ),
        (
            "select * from \"pg_stat_xact_all_tables\"",
            "\"pg_stat_xact_all_tables\"",
        ),
        ("select pg_stat_get_numscans(1)", "pg_stat_get_numscans"),
        ("select pg_advisory_xact_lock(1)", "pg_advisory_xact_lock"),
        ("select lo_open(1, 2)", "lo_open"),
        ("select pg_notify('a', 'b')", "pg_notify"),
        ("select mine(1)", "mine"),
        ("declare c cursor for select 1", "declare"),
        ("fetch 1 from c", "fetch"),
        ("close c", "close"),
        ("copy t to stdout", "copy"),
        ("lock t", "lock"),
        ("notify a", "notify"),
        ("listen a", "listen"),
        ("unlisten *", "unlisten"),
        ("discard plans", "discard"),
        ("truncate t", "truncate"),
        ("execute s (now())", "now"),
        ("commit prepared 'a'", "commit"),
    ] {
        assert_eq!(touches(text), [by], "{text}");
    }
    // From a BEGIN on it is always asked.
    let both = read(b"begin; select now(); select 1", &MODE).map(|statement| statement.touch);
    assert_eq!(
        both.collect::<Vec<_>>(),
        [Touch::Nothing, Touch::More(b"now"), Touch::Reads]
    );
}

#[test]
fn a_plain_read_is_one_for_the_reader_too() {
    for text in [
        "select a, b from t where c = $1 order by d limit 10",
        "SELECT 1",
        "SELECT platform FROM clients",
    ] {
        assert!(is_plain_read(text.as_bytes()), "{text}");
        assert_eq!(touches(text), ["reads"], "{text}");
    }
    for text in [
        "select a from t for update",
        "select a from t FOR\nSHARE",
        "select current_date",
        "select LocalTimestamp",
        "select xact_start from pg_stat_activity",
        "select mode from pg_locks",
    ] {
        assert!(is_plain_select(text.as_bytes()), "{text}");
        assert!(!is_plain_read(text.as_bytes()), "{text}");
    }
}

/// Whose new sessions begin with something else: `role database`, `-` for any.
#[test]
fn defaults_of_new_sessions() {
    for (text, whose) in [
        ("ALTER ROLE bob SET work_mem = 1", "bob -"),
        ("alter user Bob set work_mem to default", "bob -"),
        ("ALTER ROLE \"Bob\" RESET work_mem", "Bob -"),
        ("ALTER ROLE set SET work_mem FROM CURRENT", "set -"),
        ("ALTER ROLE bob IN DATABASE d SET TIME ZONE 'UTC'", "bob d"),
        ("ALTER ROLE ALL IN DATABASE \"D\" RESET work_mem", "- D"),
        ("ALTER ROLE all SET work_mem = 1", "- -"),
        ("ALTER ROLE \"all\" SET work_mem = 1", "all -"),
        ("ALTER ROLE CURRENT_USER SET work_mem = 1", "- -"),
        ("ALTER USER current_role SET work_mem = 1", "- -"),
        (
            "ALTER ROLE session_user IN DATABASE d SET work_mem = 1",
            "- d",
        ),
        ("ALTER DATABASE d SET work_mem = 1", "- d"),
        ("ALTER DATABASE D RESET work_mem", "- d"),
        ("ALTER DATABASE d SET TABLESPACE t", "- d"),
    ] {
        let What::Defaults { role, database, .. } = what(text) else {
            panic!("{text}: {:?}", what(text));
        };
        let shown = |name: Option<Name>| name.map_or("-".into(), |name| format!("{name:?}"));
        assert_eq!(
            format!("{} {}", shown(role), shown(database)),
            whose,
            "{text}"
        );
    }
}

#[test]
fn what_is_given_back_is_told() {
    for (text, said) in [
        (
            "DECLARE C NO SCROLL CURSOR WITH HOLD FOR SELECT 1",
            "HoldCursor(c)",
        ),
        (
            "declare \"C\" cursor with hold for (select 1)",
            "HoldCursor(C)",
        ),
        ("CLOSE c;", "CloseCursor(Some(c))"),
        ("close \"C\"", "CloseCursor(Some(C))"),
        ("close all", "CloseCursor(None)"),
        ("select pg_advisory_unlock_all()", "UnlockAll"),
    ] {
        assert_eq!(format!("{:?}", what(text)), said, "{text}");
    }
    let lock = |key, shared| Lock { key, shared };
    for (text, said) in [
        ("SELECT pg_advisory_lock(1)", What::Lock(lock(b"1", false))),
        (
            "select pg_catalog.pg_try_advisory_lock( 1, -2 );",
            What::Lock(lock(b"1, -2", false)),
        ),
        (
            "select pg_advisory_lock_shared(1)",
            What::Lock(lock(b"1", true)),
        ),
        (
            "select pg_try_advisory_lock_shared(1)",
            What::Lock(lock(b"1", true)),
        ),
        (
            "select pg_advisory_unlock(1)",
            What::Unlock(lock(b"1", false)),
        ),
        (
            "select pg_advisory_unlock_shared(1)",
            What::Unlock(lock(b"1", true)),
        ),
    ] {
        assert_eq!(what(text), said, "{text}");
    }
}

#[test]
fn what_is_redefined_is_told() {
    for (text, said) in [
        ("create table T (a int)", "Named(t)"),
        ("create table if not exists s.\"T\" as select 1", "Named(T)"),
        ("create or replace view v as select 1", "Named(v)"),
        ("create type e as enum ('a')", "Named(e)"),
        ("create schema s", "Anything"),
        ("drop table if exists t;", "Named(t)"),
        ("drop table t, u", "Anything"),
        ("drop table t cascade", "Anything"),
        ("drop function f()", "Anything"),
        ("alter table t add a int", "Anything"),
        ("select 1 into t", "Anything"),
        ("insert into t values (1)", "Nothing"),
        ("drop index i", "Nothing"),
        ("create index on t (a)", "Nothing"),
        ("truncate t", "Nothing"),
    ] {
        let all: Vec<_> = read(text.as_bytes(), &MODE)
            .map(|its| its.redefines)
            .collect();
        assert_eq!(format!("{all:?}"), format!("[{said}]"), "{text}");
    }
}

/// What becomes of temporary tables: `name` and whether it goes with its transaction, `- name`, or a word.
fn temporaries(text: &str) -> String {
    let statement = read(text.as_bytes(), &MODE).next().unwrap();
    if let What::Opaque(cause) = statement.what {
        return format!("{:?}", cause.reason);
    }
    match statement.temporary {
        Temporaries::Made {
            name,
            on_commit_drop,
        } => format!("{name:?} {on_commit_drop}"),
        Temporaries::Dropped(dropped) => {
            let names = dropped.names().map(|name| format!("- {name:?}"));
            names.collect::<Vec<String>>().join(" ")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn temporary_tables_views_and_sequences_are_followed_by_their_names() {
    for (text, expected) in [
        ("CREATE TEMP TABLE t (a int)", "t false"),
        ("CREATE TEMPORARY TABLE IF NOT EXISTS T ()", "t false"),
        ("CREATE LOCAL TEMPORARY TABLE \"T\" AS SELECT 1", "T false"),
        ("CREATE GLOBAL TEMP TABLE pg_temp.t (a int)", "t false"),
        ("CREATE TABLE PG_TEMP.t (a int)", "t false"),
        (
            "CREATE TABLE IF NOT EXISTS \"pg_temp\".\"a.b\" (a int)",
            "a.b false",
        ),
        ("CREATE TEMP TABLE if (a int)", "if false"),
        ("CREATE TEMP TABLE t (a int) ON COMMIT DROP", "t true"),
        ("CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1", "t true"),
        (
            "CREATE TEMP TABLE t (a int) WITH (x = 1) ON /* */ commit\nDrop TABLESPACE s",
            "t true",
        ),
        (
            "CREATE TEMP TABLE t (a int) ON COMMIT DELETE ROWS",
            "t false",
        ),
        (
            "CREATE TEMP TABLE t (a int) ON COMMIT PRESERVE ROWS",
            "t false",
        ),
        (
            "CREATE TEMP TABLE t AS SELECT 1 FROM a JOIN b ON commit",
            "t false",
        ),
        (
            "CREATE TEMP TABLE t (a text DEFAULT ' ON COMMIT DROP ')",
            "t false",
        ),
        ("CREATE TEMP TABLE t AS EXECUTE p", "t false"),
        ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "v false"),
        ("CREATE TEMP RECURSIVE VIEW v (n) AS SELECT 1", "v false"),
        (
            "CREATE VIEW pg_temp.v AS SELECT * FROM pg_temp.t",
            "v false",
        ),
        ("CREATE TEMP SEQUENCE IF NOT EXISTS s", "s false"),
        ("SELECT 1 INTO TEMP t", "t false"),
        ("SELECT 1 INTO LOCAL TEMP pg_temp.t FROM x", "t false"),
        ("SELECT 1 INTO pg_temp.t", "t false"),
        ("(SELECT 1 INTO TABLE pg_temp.t)", "t false"),
        (
            "WITH x AS (SELECT 1) SELECT * INTO TEMPORARY TABLE \"t\" FROM x",
            "t false",
        ),
        ("SELECT 1 INTO t", "Beside"),
        ("SELECT 1 INTO temp.t", "Beside"),
        ("SELECT 1 INTO UNLOGGED t", "Beside"),
        ("CREATE TABLE t (a int)", "Beside"),
        ("CREATE TABLE pg_temporal.t (a int)", "TemporaryObject"),
        ("CREATE TABLE t (LIKE pg_temp.u)", "Beside"),
        ("CREATE VIEW v AS SELECT 1", "Beside"),
        ("CREATE INDEX i ON pg_temp.t (a)", "Same"),
        ("ALTER TABLE t ADD PRIMARY KEY (a)", "Beside"),
        ("ALTER TABLE IF EXISTS ONLY s.t ALTER a TYPE text", "Beside"),
        ("ALTER TABLE t RENAME TO u", "Altered"),
        ("ALTER TABLE t * RENAME TO u", "Altered"),
        ("ALTER TABLE t RENAME COLUMN a TO b", "Altered"),
        ("ALTER TABLE t DETACH PARTITION u", "Altered"),
        ("ALTER INDEX t RENAME TO u", "Altered"),
        ("ALTER SEQUENCE s OWNED BY NONE", "Altered"),
        ("ALTER ROLE one PASSWORD 'x'", "Same"),
        ("DROP TABLE t", "- t"),
        (
            "DROP TABLE IF EXISTS t, \"U\" , pg_temp.v, public.w, x CASCADE",
            "- t - U - v - x",
        ),
        ("DROP TABLE d.pg_temp.t", "TemporaryObject"),
        ("DROP TABLE pg_temp_3.t", "TemporaryObject"),
        ("DROP TABLE \"pg_temp\".t RESTRICT", "- t"),
        ("DROP VIEW v", "- v"),
        ("DROP SEQUENCE s", "- s"),
        ("DROP INDEX t", "Same"),
        ("DROP MATERIALIZED VIEW t", "Same"),
        ("DISCARD TEMPORARY", "Discarded"),
        ("DISCARD ALL", "Same"),
        ("INSERT INTO temp VALUES (1)", "Same"),
        (
            "INSERT INTO pg_temp.t (a) SELECT a FROM \"pg_temp\".u",
            "Same",
        ),
        ("COPY pg_temp.t (a) FROM STDIN", "Same"),
        ("EXPLAIN SELECT * FROM pg_temp.t", "Same"),
    ] {
        assert_eq!(temporaries(text), expected, "{text}");
    }
}

#[test]
fn a_name_that_is_spelled_by_escapes_is_not_read() {
    for name in [
        "E'a.\\x62'",
        "e'a.b'",
        "U&'a.b'",
        "U&'a.!0062' UESCAPE '!'",
        "'a.' \n 'b'",
        "N'a.b'",
        "'a.\\142'",
        "'a''.b'",
        "$$a.b$$",
        "B'1'",
    ] {
        for (value, local) in [("'x'", "false"), ("$1", "$2"), ("E'x'", "'on'")] {
            let text = format!("SELECT set_config({name}, {value}, {local})");
            for standard_conforming_strings in [true, false] {
                let mode = Mode {
                    standard_conforming_strings,
                    ..MODE
                };
                let is_read = match &whats_in(&text, &mode)[..] {
                    [What::Opaque(_)] => false,
                    [What::SetConfig(calls)] => calls
                        .calls()
                        .any(|call| !matches!(call.name, Argument::Hidden)),
                    _ => true,
                };
                assert!(!is_read, "{text}");
            }
        }
    }
}
