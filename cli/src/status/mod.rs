//! `forkguard status`: running guarded processes, as trees.
//!
//! | file | holds |
//! |---|---|
//! | `table.rs` | the table for people |
//! | `document.rs` | the JSON document |
//! | `watch.rs` | `--watch`: drawing again and again |

mod document;
mod table;
mod watch;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::arguments::Status;
use crate::counters::{Counted, Counters};
use crate::processes::{self, Process, Seen};
use crate::terminal::{self, Screen};
use crate::Failure;

pub fn status(options: &Status) -> Result<i32, Failure> {
    if let Some(seconds) = options.watch {
        return watch::watch(options, Duration::from_secs(seconds.into()));
    }
    let picture = Picture::take(options, &Screen::now());
    terminal::print(picture.text.as_bytes())?;
    terminal::print_notes(&picture.notes);
    Ok(picture.status)
}

/// What is seen at one moment.
struct Picture {
    /// The table or the document.
    text: String,
    /// What else is to be said, a line each.
    notes: Vec<String>,
    /// The exit status.
    status: i32,
}

impl Picture {
    fn take(options: &Status, screen: &Screen) -> Picture {
        let seen = processes::look();
        let shown = choose(&seen, &options.pids);
        let (notes, status) = if options.pids.is_empty() {
            describe_all(&seen, !shown.is_empty())
        } else {
            describe_asked(&seen, &options.pids)
        };
        let text = if options.json {
            document::json(&seen, &shown)
        } else if shown.is_empty() {
            String::new()
        } else {
            table::draw(&shown, screen)
        };
        Picture {
            text,
            notes,
            status,
        }
    }
}

/// Notes and exit status where every process is asked for.
fn describe_all(seen: &Seen, any: bool) -> (Vec<String>, i32) {
    let mut notes = Vec::new();
    if !any {
        notes.push(
            "no guarded process is running; start one with: forkguard run YOUR-PROGRAM".to_owned(),
        );
    }
    notes.extend(describe_hidden(seen));
    (notes, i32::from(!any))
}

/// Notes and exit status where some are asked for by pid.
fn describe_asked(seen: &Seen, pids: &[u32]) -> (Vec<String>, i32) {
    let failures = pids
        .iter()
        .filter_map(|pid| processes::what_is(*pid, seen).err());
    let (codes, notes): (Vec<i32>, Vec<String>) = failures.unzip();
    (notes, codes.into_iter().max().unwrap_or(0))
}

/// How many may not be looked at.
fn describe_hidden(seen: &Seen) -> Option<String> {
    let what = match seen.hidden.len() {
        0 => return None,
        1 => "1 process may not be looked at (another user's, or protected)".to_owned(),
        count => format!("{count} processes may not be looked at (other users', or protected)"),
    };
    Some(format!(
        "{what}: {}",
        processes::who_may_look("sudo forkguard status")
    ))
}

/// A process to show, with how deep it stands in its tree.
type Shown<'a> = (usize, &'a Process);

/// The trees to show.
fn choose<'a>(seen: &'a Seen, pids: &[u32]) -> Vec<Shown<'a>> {
    let roots: Vec<u32> = if pids.is_empty() {
        let roots = seen
            .processes
            .iter()
            .filter(|process| process.parent.is_none());
        roots.map(|process| process.pid).collect()
    } else {
        pids.to_vec()
    };
    let mut shown: Vec<Shown> = Vec::new();
    for root in roots {
        let tree = processes::tree(&seen.processes, root);
        // One that stands in a tree already is not shown again.
        let new: Vec<_> = tree
            .into_iter()
            .filter(|(_, process)| shown.iter().all(|(_, other)| other.pid != process.pid))
            .collect();
        shown.extend(new);
    }
    shown
}

/// What a process has counted, if it could be read.
fn counted(process: &Process) -> Option<&Counted> {
    match &process.counters {
        Counters::Read(counted) => Some(counted),
        _ => None,
    }
}

/// The policy's name, if it can be told.
fn policy(process: &Process) -> Option<String> {
    let counted = counted(process).map(|counted| counted.policy.to_owned());
    counted
        .filter(|policy| policy != "?")
        .or_else(|| process.policy.clone())
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds since 1970 in RFC 3339's form, in UTC.
fn rfc3339(nanoseconds: u64) -> String {
    let seconds = libc::time_t::try_from(nanoseconds / 1_000_000_000).unwrap_or(0);
    // SAFETY: plain integers, for which zeros are valid.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: reads a number, writes into what is ours.
    unsafe { libc::gmtime_r(&seconds, &mut parts) };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        parts.tm_year + 1900,
        parts.tm_mon + 1,
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec,
        nanoseconds / 1_000_000 % 1000
    )
}
