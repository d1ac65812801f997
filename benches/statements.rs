//! `cargo bench --bench statements`: what it costs to read a statement. Nothing here passes or
//! fails.

use forkguard_sql::{read, Mode, Trusted};
use std::hint::black_box;
use std::time::Instant;

const STATEMENTS: &[(&str, &str)] = &[
    ("SELECT 1", "SELECT 1"),
    ("BEGIN", "BEGIN"),
    (
        "pgbench select",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345678;",
    ),
    (
        "pgbench update",
        "UPDATE pgbench_tellers SET tbalance = tbalance + -3456 WHERE tid = 7;",
    ),
    (
        "pgbench insert",
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (7, 1, 12345, -3456, CURRENT_TIMESTAMP);",
    ),
    (
        "with functions",
        "SELECT count(*), coalesce(sum(n), 0), date_trunc('day', at) FROM t WHERE lower(name) = lower($1) GROUP BY 3",
    ),
    ("SET", "SET SESSION statement_timeout TO '1min'"),
    ("set_config", "SELECT set_config('TimeZone', 'UTC', false)"),
    ("unknown function", "SELECT my_function(a, b) FROM t WHERE id = 5"),
];

fn measure(text: &[u8]) -> f64 {
    let trusted = Trusted::nothing();
    let mode = Mode {
        standard_conforming_strings: true,
        ascii_safe: true,
        server: 18,
        trusted: &trusted,
    };
    // Many short rounds, and the least of them: what disturbs only adds.
    let times = (100_000 / (text.len() + 50)).max(1);
    let mut best = f64::MAX;
    for _ in 0..3000 {
        let start = Instant::now();
        for _ in 0..times {
            for statement in read(black_box(text), &mode) {
                black_box(&statement);
            }
        }
        best = best.min(start.elapsed().as_nanos() as f64 / times as f64);
    }
    best
}

fn main() {
    println!("| statement | bytes | ns | ns a byte |\n|---|---|---|---|");
    let show = |name: &str, text: &[u8]| {
        let ns = measure(text);
        println!(
            "| {name} | {} | {ns:.0} | {:.2} |",
            text.len(),
            ns / text.len() as f64
        );
    };
    for (name, text) in STATEMENTS {
        show(name, text.as_bytes());
    }
    let mut insert = String::from("INSERT INTO t (a, b) VALUES ");
    for row in 0..1000 {
        insert.push_str(&format!("({row}, 'some text of row {row}'),"));
    }
    insert.push_str("(0, '')");
    show("INSERT of 1,000 rows", insert.as_bytes());
    let blob = format!("INSERT INTO t VALUES ('\\x{}')", "00ff".repeat(250_000));
    show("INSERT of a megabyte", blob.as_bytes());
}
