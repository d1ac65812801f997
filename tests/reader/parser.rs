//! Against PostgreSQL's own parser, of version 17.

use crate::tree::{does, Does};
use crate::{corpus, said, MODE};
use forkguard_sql::{is_plain_select, read};
use std::collections::BTreeMap;

/// Trees of generated SQL are deep, and so is the walk through them.
fn with_room(test: fn()) {
    std::thread::Builder::new()
        .stack_size(256 << 20)
        .spawn(test)
        .unwrap()
        .join()
        .unwrap();
}

/// Where PostgreSQL's scanner splits a text: from a statement's first token to its last.
fn split(sql: &str) -> Option<Vec<&str>> {
    let tokens = pg_query::scan(sql).ok()?.tokens;
    let comment = |token: i32| matches!(token, 275 | 276); // SQL_COMMENT, C_COMMENT
    let tokens: Vec<(usize, usize)> = tokens
        .iter()
        .filter(|token| !comment(token.token))
        .map(|token| (token.start as usize, token.end as usize))
        .collect();
    let pieces = pg_query::split_with_scanner(sql).ok()?;
    let trimmed = pieces.iter().filter_map(|piece| {
        let start = piece.as_ptr() as usize - sql.as_ptr() as usize;
        let end = start + piece.len();
        let first = tokens.partition_point(|token| token.0 < start);
        let last = tokens.partition_point(|token| token.1 <= end);
        (first < last).then(|| &sql[tokens[first].0..tokens[last - 1].1])
    });
    Some(trimmed.collect())
}

#[test]
fn statements_end_where_the_server_ends_them() {
    with_room(|| {
        let (mut files, mut statements, mut bodies, mut unsplit) = (0, 0, 0, Vec::new());
        'files: for file in corpus::everything() {
            let Some(theirs) = split(&file.sql) else {
                unsplit.push(file.path.display().to_string());
                continue;
            };
            let ours: Vec<&str> = read(file.sql.as_bytes(), &MODE)
                .map(|statement| std::str::from_utf8(statement.text).unwrap())
                .collect();
            let mut theirs = theirs.into_iter().peekable();
            for ours in &ours {
                let start = ours.as_ptr();
                let end = ours.as_bytes().as_ptr_range().end;
                // It leaves out what has no key word in it, and no meaning.
                if theirs.peek().is_none_or(|their| their.as_ptr() >= end) {
                    assert!(pg_query::parse(ours).is_err(), "{ours}");
                    continue;
                }
                let their = theirs.next();
                if their == Some(ours) {
                    continue;
                }
                assert_eq!(their.map(str::as_ptr), Some(start), "{ours}");
                // The splitter does not know that procedures may have a body; the parser does.
                let whole = pg_query::parse(ours).is_ok_and(|tree| tree.protobuf.stmts.len() == 1);
                if !whole && pg_query::parse(their.unwrap_or_default()).is_err() {
                    // No SQL any more, such as data behind a COPY.
                    unsplit.push(file.path.display().to_string());
                    continue 'files;
                }
                assert!(
                    whole,
                    "{}: {their:?} is, to us, {ours:?}",
                    file.path.display()
                );
                while theirs
                    .next_if(|their| their.as_bytes().as_ptr_range().end <= end)
                    .is_some()
                {}
                bodies += 1;
            }
            assert_eq!(theirs.next(), None, "{}", file.path.display());
            files += 1;
            statements += ours.len();
        }
        println!(
            "{files} files, {statements} statements, {bodies} of them by the parser alone; \
             not split by PostgreSQL: {unsplit:?}"
        );
        assert!(statements > 40_000, "a corpus");
    });
}

#[test]
fn no_statement_that_changes_the_session_is_taken_for_less() {
    with_room(|| {
        let mut wrong = Vec::new();
        let (mut all, mut refused, mut agreed, mut strict) = (0, 0, 0, 0);
        let (mut harmless, mut plain) = (0, 0);
        let mut reasons = BTreeMap::<String, usize>::new();
        for file in corpus::everything() {
            let pieces: Vec<&str> = match split(&file.sql) {
                Some(pieces) => pieces,
                None => read(file.sql.as_bytes(), &MODE)
                    .filter_map(|statement| std::str::from_utf8(statement.text).ok())
                    .collect(),
            };
            for sql in pieces {
                all += 1;
                let Some((theirs, kind)) = does(sql) else {
                    refused += 1;
                    continue;
                };
                let read: Vec<_> = read(sql.as_bytes(), &MODE).collect();
                assert_eq!(read.len(), 1, "{sql}");
                let ours = said(&read[0]);
                harmless += usize::from(theirs == Does::Nothing);
                if is_plain_select(sql.as_bytes()) {
                    plain += 1;
                    assert_eq!((&theirs, &ours), (&Does::Nothing, &Does::Nothing), "{sql}");
                }
                match (&theirs, &ours) {
                    (Does::Changes(_), Does::Changes(_)) => agreed += 1,
                    (theirs, ours) if theirs == ours => agreed += 1,
                    (_, Does::Changes(reason)) => {
                        strict += 1;
                        if theirs == Does::Nothing {
                            let word = reason.split(' ').next().unwrap_or_default();
                            let key = match reason.contains("does not know") {
                                true => reason.clone(),
                                false => format!("{reason} ({kind} {word})"),
                            };
                            *reasons.entry(key).or_default() += 1;
                        }
                        if std::env::var_os("READER_SHOW").is_some() {
                            println!("STRICT {reason}: {}", sql.replace('\n', " "));
                        }
                    }
                    _ => wrong.push(format!("{ours:?}, not {theirs:?}: {sql}")),
                }
            }
        }
        println!("{plain} of them told by their bytes alone");
        assert!(plain > 1000, "{plain}");
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        println!(
            "{all} statements, {refused} refused by PostgreSQL 17's parser, {agreed} agreed; \
             of {harmless} harmless ones {strict} taken for opaque ({:.2} %)",
            100.0 * strict as f64 / harmless as f64
        );
        for (reason, count) in reasons.iter().take(40) {
            println!("  {count:5} {reason}");
        }
        assert!(
            wrong.is_empty(),
            "{}:\n{}",
            wrong.len(),
            wrong[..wrong.len().min(40)].join("\n")
        );
        assert!(all > 40_000, "a corpus");
    });
}

#[test]
fn ordinary_statements_of_applications_are_harmless() {
    let file = corpus::ours();
    let (harmless, _) = file.sql.split_once("-- The mark.").expect("the mark");
    let mut count = 0;
    for statement in read(harmless.as_bytes(), &MODE) {
        assert_eq!(
            said(&statement),
            Does::Nothing,
            "{}",
            statement.text.escape_ascii()
        );
        count += 1;
    }
    assert!(count > 90, "{count}");
    for statement in read(&file.sql.as_bytes()[harmless.len()..], &MODE) {
        assert_ne!(
            said(&statement),
            Does::Nothing,
            "{}",
            statement.text.escape_ascii()
        );
    }
}
