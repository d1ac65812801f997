//! Clients as people run them: drivers, pools, task queues, web servers, PostgreSQL's own tools.
//! Their programs in `tests/programs/*.py` say what they met (`facts.py`); the tests judge.

pub mod celery;
mod drivers;
mod histories;
mod idle;
mod multiprocessing;
mod pg_basebackup;
mod pg_dump;
mod pgbouncer;
mod psycopg_pool;
mod sqlalchemy;
mod web_servers;

use crate::support::Outcome;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

/// What a run without the library may take: some wait for ever for an answer another has read.
const UNGUARDED_LIMIT: Duration = Duration::from_secs(15);

/// One of PostgreSQL's own programs: Debian's wrappers in /usr/bin are Perl, and these the tools.
fn postgresql(program: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL: run tools/setup");
    let programs = versions.map(|version| version.unwrap().path().join("bin").join(program));
    // As tools/pg-cluster takes the newest.
    let number = |path: &PathBuf| {
        path.iter()
            .find_map(|part| part.to_str()?.parse::<u32>().ok())
    };
    programs
        .filter(|program| program.exists())
        .max_by_key(number)
        .unwrap_or_else(|| panic!("no {program} in /usr/lib/postgresql: run tools/setup"))
}

/// One line of `facts.say`.
pub(super) struct Said<'a>(HashMap<&'a str, &'a str>);

impl<'a> Said<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    /// Whether the name was said with this text.
    pub(super) fn is(&self, name: &str, text: &str) -> bool {
        self.get(name) == Some(text)
    }

    #[track_caller]
    pub(super) fn number(&self, name: &str) -> u64 {
        let text = self.get(name).unwrap_or_default();
        text.parse()
            .unwrap_or_else(|_| panic!("no number {name}: {:?}", self.0))
    }

    /// A comma between each.
    #[track_caller]
    pub(super) fn numbers(&self, name: &str) -> Vec<u64> {
        let texts = self.get(name).unwrap_or_default().split(',');
        texts
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().unwrap())
            .collect()
    }

    /// As many right answers as questions.
    fn all_right(&self, asked: u64) -> bool {
        self.number("asked") == asked && self.number("right") == asked
    }
}

/// Every line of one kind.
pub(super) fn said<'a>(outcome: &'a Outcome, kind: &str) -> Vec<Said<'a>> {
    let lines = outcome.stdout.lines();
    lines
        .filter_map(|line| {
            line.strip_prefix('@')?
                .strip_prefix(kind)?
                .strip_prefix('\t')
        })
        .map(|facts| {
            Said(
                facts
                    .split('\t')
                    .filter_map(|fact| fact.split_once('='))
                    .collect(),
            )
        })
        .collect()
}

/// A number said by several, as a set: who shares it with whom?
fn set(said: &[Said], name: &str) -> HashSet<u64> {
    said.iter().map(|said| said.number(name)).collect()
}

/// The same, where each says several.
fn set_of_lists(said: &[Said], name: &str) -> HashSet<u64> {
    said.iter().flat_map(|said| said.numbers(name)).collect()
}

/// The backends of the parent's sessions, so many of them.
#[track_caller]
fn parents(outcome: &Outcome, count: usize) -> Vec<u64> {
    let parent = said(outcome, "parent");
    outcome.check(parent.len() == 1, "the parent connects");
    let backends = parent[0].numbers("backends");
    outcome.check(backends.len() == count, "its sessions");
    backends
}
