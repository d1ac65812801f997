//! What the programs of `tests/programs` say, a line a fact ("name: text"), and what it should
//! be: they all `#include "session.h"`.

use crate::support::Outcome;

/// First lines of a lost connection's message, as applications know them (SQLAlchemy's
/// `is_disconnect`, lib/sqlalchemy/dialects/postgresql/psycopg2.py, has all but the last, which libpq 18.6 on OpenSSL of
/// Debian sid says of a server that is really gone; there drivers go by `CONNECTION_BAD`).
const LOST: [&str; 4] = [
    "server closed the connection unexpectedly",
    "SSL SYSCALL error: EOF detected",
    "SSL connection has been closed unexpectedly",
    "SSL error: unexpected eof while reading",
];

pub trait Facts {
    /// Every text said under a name.
    fn facts(&self, name: &str) -> Vec<&str>;

    /// The one text said under a name.
    fn fact(&self, name: &str) -> &str;

    /// The child tried `count` sessions: each reads as lost, in words that clients know.
    fn lost_to_child(&self, count: usize) -> &Self;

    /// The child tried `count` sessions, and spoke on its parent's: the fault.
    fn open_to_child(&self, count: usize) -> &Self;

    /// The parent's session is what it was: "before" and "after" are the same, word for word.
    fn undisturbed(&self) -> &Self;

    /// The parent's session is lost, or answers somebody else's question.
    fn disturbed(&self) -> &Self;
}

impl Facts for Outcome {
    fn facts(&self, name: &str) -> Vec<&str> {
        self.stdout
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .collect()
    }

    #[track_caller]
    fn fact(&self, name: &str) -> &str {
        let facts = self.facts(name);
        self.check(facts.len() == 1, &format!("one {name:?}"));
        facts[0]
    }

    #[track_caller]
    fn lost_to_child(&self, count: usize) -> &Self {
        let tries = self.facts("child");
        let lost = |said: &&str| {
            said.strip_prefix("bad, ")
                .is_some_and(|said| LOST.iter().any(|lost| said.starts_with(lost)))
        };
        self.check(
            tries.len() == count && tries.iter().all(lost),
            &format!("{count} lost in the child"),
        )
    }

    #[track_caller]
    fn open_to_child(&self, count: usize) -> &Self {
        let tries = self.facts("child");
        self.check(
            tries.len() == count && tries.iter().all(|said| said.starts_with("answered by")),
            &format!("the fault: {count} open to the child"),
        )
    }

    #[track_caller]
    fn undisturbed(&self) -> &Self {
        let before = self.fact("before");
        self.check(before.contains("backend "), "a session before")
            .check(before == self.fact("after"), "undisturbed")
    }

    #[track_caller]
    fn disturbed(&self) -> &Self {
        self.check(
            self.fact("before") != self.fact("after"),
            "the fault: a session disturbed",
        )
    }
}
