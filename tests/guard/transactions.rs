//! A transaction that has only read is begun again in the child, with what was set in it; any other is
//! lost, and says why. And what the parent does after the fork loses no child's session.

use crate::facts::Facts;
use crate::support::{compile, own, Cluster, Outcome, Policy, Run, Transport};
use std::collections::HashMap;
use std::time::Duration;

fn prepared() -> Cluster {
    let server = own();
    for sql in [
        "create table things (a int primary key); insert into things values (1), (2); create table sink (a int)",
        "create table of_things (a int references things deferrable initially immediate)",
        "create sequence counter; create role one; create role app login; grant one to app",
        "create function reads() returns int language sql stable as 'select 1'",
        "create function writes() returns int language sql as 'insert into sink values (2); select 1'",
        "create view hidden as select writes()",
        "grant all on things, sink, of_things, counter, hidden to app, one",
    ] {
        server.ask(sql);
    }
    server
}

/// The sessions of `histories`, each with its name, forked.
fn run(server: &Cluster, histories: &str, goes_on: bool, policy: Option<Policy>) -> Outcome {
    let conninfo = server.conninfo(Transport::Unix) + " user=app options='-c lock_timeout=5s'";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), histories).unwrap();
    let mut run = Run::new(compile("transactions"))
        .arg(conninfo)
        .arg(file.path())
        .args(goes_on.then_some("goes on"))
        .env("FORKGUARD_TRUST_FUNCTIONS", "reads,writes")
        .timeout(Duration::from_secs(90));
    if let Some(policy) = policy {
        run = run.policy(policy);
    }
    run.run()
}

/// The codes of the reasons why sessions were lost, by their descriptors.
fn reasons(outcome: &Outcome) -> HashMap<String, String> {
    let lost = outcome.stderr.lines().filter_map(|line| {
        let (_, line) = line.split_once("the session on descriptor ")?;
        let (descriptor, reason) = line.split_once(", inherited, is lost in this child: ")?;
        let code = reason.split(['(', ')']).find(|part| {
            part.contains('_') && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        })?;
        Some((descriptor.to_owned(), code.to_owned()))
    });
    lost.collect()
}

/// Equal to the parent's, or lost for this reason.
const EQUAL: &str = "";

/// What a transaction did before the fork, and what becomes of it. The names that "may set" are those
/// whose transaction has no snapshot.
const TABLE: &[(&str, &[&str], &str)] = &[
    ("a read", &["begin", "select * from things"], EQUAL),
    ("only begun, may set", &["begin"], EQUAL),
    ("a read, may set", &["begin", "select 1"], EQUAL),
    ("shown, may set", &["begin", "show timezone"], EQUAL),
    (
        "by parameters",
        &[
            "params: begin",
            "params: select count(*) from things where a > 1",
        ],
        EQUAL,
    ),
    ("sent", &["send: begin", "send: select 1"], EQUAL),
    ("one text", &["begin; select 1; select 2"], EQUAL),
    (
        "behind another",
        &["select 1; begin; select 1"],
        "transaction_unseen",
    ),
    (
        "behind a change",
        &["insert into sink values (3); begin; select 1"],
        "transaction_unseen",
    ),
    (
        "behind a commit",
        &["begin; insert into sink values (3); commit; begin read only; select 1"],
        EQUAL,
    ),
    (
        "start",
        &["start transaction", "values (1)", "table things"],
        EQUAL,
    ),
    (
        "with",
        &["begin", "with a as (select 1) select * from a"],
        EQUAL,
    ),
    (
        "explained",
        &[
            "begin",
            "explain select 1",
            "explain analyze select * from things",
        ],
        EQUAL,
    ),
    ("read only", &["begin read only", "select 1"], EQUAL),
    (
        "read only at last",
        &["begin", "set transaction read only", "select 1"],
        EQUAL,
    ),
    (
        "read write, may set",
        &["begin read only", "set transaction read write"],
        EQUAL,
    ),
    (
        "deferrable",
        &[
            "begin isolation level read committed, read only, deferrable",
            "select 1",
        ],
        EQUAL,
    ),
    (
        "uncommitted",
        &["begin isolation level read uncommitted", "select 1"],
        EQUAL,
    ),
    (
        "begun twice",
        &["begin", "begin read only", "select 1"],
        EQUAL,
    ),
    (
        "repeatable",
        &["begin isolation level repeatable read", "select 1"],
        "transaction_snapshot",
    ),
    (
        "serializable",
        &[
            "begin",
            "set transaction isolation level serializable",
            "select 1",
        ],
        "transaction_snapshot",
    ),
    (
        "by a setting",
        &[
            "begin",
            "set local transaction_isolation to 'repeatable read'",
            "select 1",
        ],
        "transaction_snapshot",
    ),
    (
        "by a default",
        &[
            "set default_transaction_isolation to serializable",
            "begin",
            "select 1",
        ],
        "transaction_snapshot",
    ),
    (
        "a default of before",
        &[
            "set default_transaction_read_only to on",
            "begin",
            "select 1",
        ],
        EQUAL,
    ),
    (
        "set local",
        &[
            "begin",
            "select 1",
            "set local app.x to 'l'",
            "set local timezone to 'Asia/Tokyo'",
        ],
        EQUAL,
    ),
    (
        "set",
        &[
            "set app.x to 'before'",
            "begin",
            "set app.x to 'inside'",
            "set work_mem to '7MB'",
            "select 1",
        ],
        EQUAL,
    ),
    (
        "set and local",
        &[
            "begin",
            "set app.x to 's'",
            "set local app.x to 'l'",
            "select 1",
        ],
        EQUAL,
    ),
    (
        "set by a function",
        &["begin", "select set_config('app.x', 'f', true)", "select 1"],
        EQUAL,
    ),
    (
        "role",
        &["begin", "set local role one", "select current_user"],
        EQUAL,
    ),
    (
        "reset",
        &["set app.x to 'a'", "begin", "reset all", "select 1"],
        EQUAL,
    ),
    (
        "savepoints",
        &[
            "begin",
            "set local app.x to '0'",
            "savepoint a",
            "set local app.x to '1'",
            "select 1",
            "savepoint b",
            "set local app.x to '2'",
        ],
        EQUAL,
    ),
    (
        "released",
        &[
            "begin",
            "savepoint a",
            "set local app.x to '1'",
            "savepoint b",
            "set local app.x to '2'",
            "release b",
        ],
        EQUAL,
    ),
    (
        "rolled back to",
        &[
            "begin",
            "savepoint a",
            "set local app.x to '1'",
            "savepoint b",
            "set local app.x to '2'",
            "rollback to b",
        ],
        EQUAL,
    ),
    (
        "savepoints of one name",
        &[
            "begin",
            "savepoint a",
            "set app.x to '1'",
            "savepoint a",
            "set app.x to '2'",
            "savepoint \"c\"",
        ],
        EQUAL,
    ),
    (
        "a read rolled back, may set",
        &["begin", "savepoint a", "select 1", "rollback to a"],
        EQUAL,
    ),
    (
        "constraints",
        &["begin", "set constraints all deferred", "select 1"],
        EQUAL,
    ),
    (
        "prepared in it",
        &[
            "begin",
            "prepare p as select count(*) from things",
            "execute p",
        ],
        EQUAL,
    ),
    (
        "prepared before it",
        &[
            "prepare: p select count(*) from things",
            "begin",
            "execute: p",
            "execute: p",
        ],
        EQUAL,
    ),
    (
        "prepared under a setting",
        &[
            "begin",
            "set local timezone to 'Asia/Tokyo'",
            "prepare: p select 1",
            "execute: p",
        ],
        EQUAL,
    ),
    (
        "the unnamed one",
        &["begin", "prepare:  select 5", "select 1"],
        EQUAL,
    ),
    (
        "a pipeline",
        &["pipeline: begin;; select 1;; set local app.x to 'p'"],
        EQUAL,
    ),
    (
        "a pipeline that begins late",
        &["pipeline: insert into sink values (4);; begin;; select 1"],
        "transaction_more",
    ),
    (
        "a pipeline that writes",
        &["pipeline: begin;; select 1;; insert into sink values (4)"],
        "transaction_more",
    ),
    (
        "catalogues",
        &[
            "begin",
            "select relname from pg_class where relkind = 'r'",
            "select current_setting('timezone'), current_schemas(true), version()",
        ],
        EQUAL,
    ),
    (
        "the clock",
        &[
            "begin",
            "select clock_timestamp(), statement_timestamp(), random(), pg_sleep(0)",
        ],
        EQUAL,
    ),
    (
        "after another",
        &[
            "begin",
            "insert into sink values (5)",
            "commit",
            "begin",
            "select 1",
        ],
        EQUAL,
    ),
    (
        "after a failure",
        &["begin", "select nosuch", "rollback", "begin", "select 1"],
        EQUAL,
    ),
    (
        "a change",
        &["begin", "insert into sink values (6)"],
        "transaction_more",
    ),
    (
        "a change of nothing",
        &["begin", "update things set a = a where false"],
        "transaction_more",
    ),
    (
        "a change rolled back",
        &[
            "begin",
            "savepoint a",
            "insert into sink values (7)",
            "rollback to a",
        ],
        "transaction_more",
    ),
    (
        "a change in a query",
        &[
            "begin",
            "with a as (delete from sink where false returning 1) select * from a",
        ],
        "transaction_more",
    ),
    (
        "a change prepared before it",
        &[
            "prepare: p insert into sink values (8)",
            "begin",
            "execute: p",
        ],
        "transaction_more",
    ),
    (
        "a change by EXECUTE",
        &[
            "prepare p as insert into sink values (8)",
            "begin",
            "execute p",
        ],
        "transaction_more",
    ),
    (
        "for update",
        &["begin", "select * from things where a = 1 for update"],
        "transaction_more",
    ),
    (
        "for key share",
        &["begin", "select * from things where a = 2 for key share"],
        "transaction_more",
    ),
    (
        "lock",
        &["begin", "lock table things in access share mode"],
        "transaction_more",
    ),
    (
        "sequence",
        &["begin", "select nextval('counter')"],
        "transaction_more",
    ),
    ("its time", &["begin", "select now()"], "transaction_more"),
    (
        "its day",
        &["begin", "select 1 where current_date > '2020-01-01'"],
        "transaction_more",
    ),
    (
        "its time as a constant",
        &["begin", "select 'now'::timestamptz"],
        "transaction_more",
    ),
    (
        "its identity",
        &["begin", "select txid_current_if_assigned()"],
        "transaction_more",
    ),
    (
        "what it holds",
        &["begin", "select count(*) from pg_locks"],
        "transaction_more",
    ),
    (
        "statistics",
        &["begin", "select count(*) from pg_stat_activity"],
        "transaction_more",
    ),
    (
        "advisory lock",
        &["begin", "select pg_advisory_xact_lock(3)"],
        "transaction_more",
    ),
    (
        "cursor",
        &["begin", "declare k cursor for select 1", "fetch k"],
        "transaction_more",
    ),
    (
        "copy",
        &["begin", "copy things to stdout"],
        "transaction_more",
    ),
    ("notify", &["begin", "notify news"], "transaction_more"),
    ("listen", &["begin", "listen news"], "transaction_more"),
    ("large object", &["begin", "lo_creat:"], "transaction_more"),
    (
        "a function of the user's",
        &["begin", "select reads()"],
        "transaction_more",
    ),
    (
        "chained",
        &["begin", "commit and chain", "select 1"],
        "transaction_unseen",
    ),
    (
        "written where no text shows",
        &["begin", "select * from hidden"],
        "parent_wrote",
    ),
    (
        "failed",
        &["begin", "set local app.x to 'l'", "select nosuch"],
        EQUAL,
    ),
    (
        "failed after a change",
        &["begin", "insert into sink values (9)", "select 1/0"],
        EQUAL,
    ),
    (
        "failed at once",
        &[
            "begin isolation level serializable",
            "select nosuch",
            "select 1",
        ],
        EQUAL,
    ),
    (
        "failed with a savepoint",
        &[
            "begin",
            "set local app.x to '1'",
            "savepoint a",
            "set local app.x to '2'",
            "select 1/0",
        ],
        EQUAL,
    ),
    (
        "failed with a savepoint after a change",
        &[
            "begin",
            "insert into sink values (9)",
            "savepoint a",
            "select 1/0",
        ],
        "transaction_more",
    ),
    (
        "failed with a savepoint of a snapshot",
        &[
            "begin isolation level repeatable read",
            "select 1",
            "savepoint a",
            "select 1/0",
        ],
        "transaction_snapshot",
    ),
    (
        "failed in a text",
        &["begin; select 1/0"],
        "transaction_unseen",
    ),
];

fn histories<'a>(of: impl IntoIterator<Item = (&'a str, &'a [&'a str])>) -> String {
    let mut text = String::new();
    for (name, steps) in of {
        text += &format!("{name}\t{}\n", steps.join("\t"));
    }
    text
}

/// Each of the sessions is equal in the child, or lost for its reason.
#[track_caller]
fn holds(outcome: &Outcome, table: &[(&str, &[&str], &str)]) {
    let reasons = reasons(outcome.ok());
    outcome.check(outcome.fact("ended") == "exit 0", "the child");
    let mut wrong = Vec::new();
    for (name, _, expected) in table {
        let account = outcome.fact(&format!("account {name}"));
        let descriptor = account.split([' ', ',']).nth(1).unwrap();
        let (child, parent) = (
            outcome.fact(&format!("child {name}")),
            outcome.fact(&format!("parent {name}")),
        );
        let came = match reasons.get(descriptor) {
            Some(reason) => reason,
            None if child.starts_with("lost") => "lost without a reason",
            None => EQUAL,
        };
        if came != *expected || (came == EQUAL && child != parent) {
            wrong.push(format!(
                "{name}: expected {expected:?}, came {came:?}\n  child  {child}\n  parent {parent}"
            ));
        }
    }
    println!("{} transactions, {} lost", table.len(), reasons.len());
    outcome.check(wrong.is_empty(), &wrong.join("\n"));
}

#[test]
fn what_has_only_read_comes_back_and_nothing_else() {
    let server = prepared();
    let text = histories(TABLE.iter().map(|(name, steps, _)| (*name, *steps)));
    // Unguarded, the child is on its parent's session, in its parent's transaction.
    let one = histories([TABLE[0]].map(|(name, steps, _)| (name, steps)));
    let fault = run(&server, &one, false, None);
    fault.check(
        fault.fact("child a read").contains("25P01")
            || fault.fact("parent a read") != fault.fact("child a read"),
        "the fault: the child has ended its parent's transaction",
    );
    holds(&run(&server, &text, false, Some(Policy::Resume)), TABLE);
}

/// The parent has gone on when the child comes, and locked, and written: what it holds now is not the
/// child's matter, and the texts alone decide.
#[test]
fn what_the_parent_does_after_the_fork_is_its_own() {
    let server = prepared();
    let table: Vec<_> = TABLE
        .iter()
        .filter(|(_, _, expected)| *expected != "parent_wrote")
        .copied()
        .collect();
    let text = histories(table.iter().map(|(name, steps, _)| (*name, *steps)));
    holds(&run(&server, &text, true, Some(Policy::Resume)), &table);
}

/// What a random transaction is made of. None waits for another session's.
const PIECES: &[&str] = &[
    "select * from things",
    "params: select count(*) from things where a > 1",
    "explain analyze select * from of_things",
    "show timezone",
    "values (1)",
    "prepare p as select count(*) from things",
    "execute p",
    "set local app.x to 'l'",
    "set app.x to 's'",
    "set local timezone to 'Asia/Tokyo'",
    "savepoint a",
    "savepoint b",
    "release a",
    "rollback to a",
    "set constraints all deferred",
    "select nosuch",
    "commit",
    "rollback",
    "begin",
    "begin read only",
    "insert into sink values (1)",
    "params: insert into sink values (1)",
    "with a as (delete from sink where false returning 1) select * from a",
    "update of_things set a = a",
    "select * from things for key share",
    "lock table things in row share mode",
    "select pg_advisory_xact_lock_shared(7)",
    "select pg_current_xact_id()",
    "select writes()",
    "create temporary table of_mine (a int)",
];

/// What came back had written nothing and locked nothing, by the server's own account of before the fork.
/// The parent has gone on, so the texts alone decide.
#[test]
fn what_comes_back_had_written_nothing_by_the_servers_account() {
    let server = prepared();
    let seed = super::equal::number("FORKGUARD_TEST_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_secs()
    });
    println!("FORKGUARD_TEST_SEED={seed}");
    // xorshift64; its state is never 0.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as usize % below
    };
    let table: Vec<(String, Vec<&str>)> = (0..60)
        .map(|number| {
            let mut steps = vec!["begin"];
            steps.extend((0..1 + random(5)).map(|_| PIECES[random(PIECES.len())]));
            (format!("number {number}"), steps)
        })
        .collect();
    let text = histories(
        table
            .iter()
            .map(|(name, steps)| (name.as_str(), &steps[..])),
    );
    let outcome = run(&server, &text, true, Some(Policy::Resume));
    let reasons = reasons(outcome.ok());
    outcome.check(outcome.fact("ended") == "exit 0", "the child");
    let (mut came, mut wrong) = (0, Vec::new());
    for (name, steps) in &table {
        let account = outcome.fact(&format!("account {name}"));
        let descriptor = account.split([' ', ',']).nth(1).unwrap();
        let child = outcome.fact(&format!("child {name}"));
        if reasons.contains_key(descriptor) {
            continue;
        }
        came += 1;
        if !account.ends_with("wrote f") || child != outcome.fact(&format!("parent {name}")) {
            wrong.push(format!("{steps:?}: {account}\n  child  {child}"));
        }
    }
    println!("{} random transactions, {came} came back", table.len());
    outcome.check(wrong.is_empty(), &wrong.join("\n"));
    outcome.check(
        came > 0 && came < table.len(),
        "some come back, some do not",
    );
}
