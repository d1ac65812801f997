//! Texts that nobody wrote: pieces put together at random, real statements damaged.

use crate::tree::Does;
use crate::{corpus, said, MODE};
use forkguard_sql::{is_plain_select, read, Mode, Trusted};

/// xorshift64*: the same numbers at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// What quoting and comments are made of.
const PIECES: &[&str] = &[
    "'",
    "''",
    "\"",
    "\"\"",
    "$$",
    "$a$",
    "$b$",
    "$",
    "$1",
    "\\",
    "\\'",
    "\\\\",
    "--",
    "/*",
    "*/",
    "/",
    "*",
    "-",
    "\n",
    "\r",
    " ",
    "\t",
    ";",
    "(",
    ")",
    "E'",
    "e'",
    "B'",
    "x'",
    "N'",
    "U&'",
    "u&\"",
    "U&",
    " UESCAPE '!'",
    "a",
    "select",
    "1",
    "1e",
    "é",
    "_",
    ".",
    ",",
    "+",
    "::",
    "[",
    "]",
    "<",
    "=",
    "a'",
    "'\n'",
    "E'a'\n'\\'",
    "' \t--\n '",
    "'/**/'",
    "'\n--x",
    "begin",
    "end",
    "case",
    "@",
    "?",
    "|",
    "&",
    "!",
    "%",
    "^",
    "#",
    "~",
    "`",
    ":=",
    "..",
    "=>",
];

/// Where statements end, by the tokens of PostgreSQL's scanner; nothing if it refuses.
fn ends(sql: &str) -> Option<Vec<String>> {
    let tokens = pg_query::scan(sql).ok()?.tokens;
    let (mut depth, mut statements, mut start, mut end) = (0i32, Vec::new(), None, 0);
    for token in tokens {
        if matches!(token.token, 275 | 276) {
            continue; // comments
        }
        let (from, to) = (token.start as usize, token.end as usize);
        match &sql[from..to] {
            ";" if depth == 0 => {
                statements.extend(start.take().map(|start: usize| sql[start..end].to_owned()));
                continue;
            }
            "(" => depth += 1,
            ")" => depth -= 1,
            // Scanned, and refused by the grammar: the reader goes no further there.
            "\\" | "{" | "}" | "$" => return None,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
        start.get_or_insert(from);
        end = to;
    }
    statements.extend(start.map(|start| sql[start..end].to_owned()));
    (depth == 0).then_some(statements)
}

#[test]
fn any_quoting_is_cut_as_the_server_cuts_it() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut compared = 0;
    for _ in 0..300_000 {
        let mut sql = String::new();
        for _ in 0..1 + random.below(14) {
            sql.push_str(random.of::<&str>(PIECES));
        }
        // pg_query returns comments as tokens, and so does not go on with a string behind one,
        // as the server does (`quotes_comments_and_bodies_are_followed` has that).
        let comment = sql
            .match_indices('\'')
            .any(|(at, _)| sql[at + 1..].trim_start().starts_with("--"));
        let Some(theirs) = ends(&sql).filter(|_| !comment) else {
            continue;
        };
        let ours: Vec<String> = read(sql.as_bytes(), &MODE)
            .map(|statement| String::from_utf8_lossy(statement.text).into_owned())
            .collect();
        assert_eq!(ours, theirs, "{sql:?}");
        compared += 1;
    }
    println!("{compared} texts compared");
    assert!(compared > 50_000);
}

fn statements() -> Vec<String> {
    let mut statements = Vec::new();
    for file in corpus::everything() {
        for statement in read(file.sql.as_bytes(), &MODE) {
            // One alone can be put beside others only if its own end is the text's.
            let text = String::from_utf8_lossy(statement.text).into_owned();
            if text.len() < 2000 && pg_query::scan(&text).is_ok() {
                statements.push(text);
            }
        }
    }
    statements
}

/// What is read lies in the text, in order, and ends.
fn sane(text: &[u8], mode: &Mode) {
    let mut from = text.as_ptr() as usize;
    let mut count = 0;
    for statement in read(text, mode) {
        let range = statement.text.as_ptr_range();
        assert!(range.start as usize >= from && !statement.text.is_empty());
        from = range.end as usize;
        count += 1;
        assert!(count <= text.len(), "it does not end");
        let said = said(&statement);
        // What is told by the bytes alone, the reader tells as well.
        assert!(
            !is_plain_select(text) || said == Does::Nothing && count == 1,
            "{}",
            text.escape_ascii()
        );
    }
    assert!(from <= text.as_ptr_range().end as usize);
}

#[test]
fn nothing_makes_it_panic_or_go_on_for_ever() {
    let statements = statements();
    let (trusted, _) = Trusted::parse("a, b.c, *");
    let modes = [
        MODE,
        Mode {
            standard_conforming_strings: false,
            ..MODE
        },
        Mode {
            ascii_safe: false,
            ..MODE
        },
        Mode {
            trusted: &trusted,
            ..MODE
        },
    ];
    let mut random = Random(0xfeed_f00d_dead_beef);
    for round in 0..60_000 {
        let mut text = random.of(&statements).clone().into_bytes();
        for _ in 0..random.below(4) {
            let at = random.below(text.len() + 1);
            match random.below(5) {
                0 => text.truncate(at),
                1 => text.insert(at, random.below(256) as u8),
                2 => drop(text.splice(at..at, random.of(PIECES).bytes())),
                3 => drop(text.splice(at.., random.of(&statements).bytes())),
                _ => drop(text.drain(..at)),
            }
        }
        sane(&text, &modes[round % modes.len()]);
        if round % 7 == 0 {
            let bytes: Vec<u8> = (0..random.below(40))
                .map(|_| random.below(256) as u8)
                .collect();
            sane(&bytes, &modes[round / 7 % modes.len()]);
        }
    }
    // What is deep or long is bounded, too.
    for piece in [
        "(",
        "/*",
        "a.",
        "f(",
        "f((",
        "with a(b) as (select ",
        "$a",
        "'\n",
        "begin atomic ",
    ] {
        let mut text = b"create function select set x = ".to_vec();
        text.extend(piece.repeat(20_000).bytes());
        for mode in &modes {
            sane(&text, mode);
            sane(&text[16..], mode);
        }
    }
}

#[test]
fn two_statements_are_what_each_is() {
    let statements = statements();
    let mut random = Random(0x0dd_ba11_5eed);
    for _ in 0..60_000 {
        let (a, b) = (random.of(&statements), random.of(&statements));
        // A comment at its end would take the semicolon.
        let text = format!("{a}\n;{b}");
        let alone = [a, b].map(|sql| {
            let read: Vec<_> = read(sql.as_bytes(), &MODE).map(|one| said(&one)).collect();
            read
        });
        let together: Vec<_> = read(text.as_bytes(), &MODE).map(|one| said(&one)).collect();
        if read(a.as_bytes(), &MODE).count() == 1 && balanced(a) && balanced(b) {
            assert_eq!(together, alone.concat(), "{text}");
        }
    }
}

/// Not a text whose end the reader lost: alone and together that is two things.
fn balanced(sql: &str) -> bool {
    ends(sql).is_some()
}

/// What no version has, or has with another volatility, is unsafe. A function that the table lacks is
/// unknown to the reader: safe, and told.
#[test]
fn the_table_of_functions_is_the_servers() {
    let table = crate::support::root().join("crates/sql/src/functions.rs");
    crate::support::Run::new(crate::support::root().join("tools/function-table"))
        .arg("--check")
        .arg(&table)
        .timeout(std::time::Duration::from_secs(180)) // three servers, four seconds each on a quiet machine
        .run()
        .ok()
        .must_say("PostgreSQL ");
}
