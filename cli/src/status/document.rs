//! `status --json`. Its names are an interface: they do not change within a version.

use serde::Serialize;

use super::{counted, now, policy, rfc3339, Shown};
use crate::counters::{self, Counted, Counters, Why};
use crate::processes::{Process, Seen};
use forkguard_proto::page::COUNTS;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    at: String,
    processes: Vec<Entry<'a>>,
    hidden: usize,
}

#[derive(Serialize)]
struct Entry<'a> {
    pid: u32,
    parent: Option<u32>,
    command: &'a [String],
    library: Option<&'a str>,
    policy: Option<String>,
    counters: String,
    open: u64,
    counts: serde_json::Map<String, serde_json::Value>,
    libpqs: u32,
    opaque_reason: Option<&'a str>,
    opaque_detail: Option<&'a str>,
    opaque_text: Option<String>,
    opaque_hint: Option<&'static str>,
    first_event: Option<Event>,
    last_event: Option<Event>,
}

#[derive(Serialize)]
struct Event {
    at: String,
    what: &'static str,
}

impl Event {
    fn new((at, what): counters::Event) -> Event {
        Event {
            at: rfc3339(at),
            what: what.map_or("?", |which| counters::words(which).event),
        }
    }
}

/// The processes as one line of JSON.
pub fn json(seen: &Seen, shown: &[Shown]) -> String {
    let document = Document {
        version: 1,
        at: rfc3339(now()),
        processes: shown.iter().map(|(_, process)| entry(process)).collect(),
        hidden: seen.hidden.len(),
    };
    serde_json::to_string(&document).unwrap_or_default() + "\n"
}

fn entry(process: &Process) -> Entry<'_> {
    let counted = counted(process);
    let counts = counted.map_or([0; COUNTS], |counted| counted.counts);
    let why = counted.and_then(|counted| counted.reason.as_ref());
    Entry {
        pid: process.pid,
        parent: process.parent,
        command: &process.command,
        library: process.library.as_deref(),
        policy: policy(process),
        counters: match &process.counters {
            Counters::None => "none".to_owned(),
            Counters::Read(_) => "read".to_owned(),
            Counters::Unreadable(why) => why.clone(),
        },
        open: counted.map_or(0, Counted::open),
        counts: counters::WORDS
            .iter()
            .zip(counts)
            .map(|(words, count)| (words.json.to_owned(), count.into()))
            .collect(),
        libpqs: counted.map_or(0, |counted| counted.libpqs),
        opaque_reason: why.map(|why| &*why.code),
        opaque_detail: why.map(|why| &*why.detail),
        opaque_text: why.map(Why::text),
        opaque_hint: why.and_then(Why::hint),
        first_event: counted.and_then(|counted| counted.first).map(Event::new),
        last_event: counted.and_then(|counted| counted.last).map(Event::new),
    }
}
