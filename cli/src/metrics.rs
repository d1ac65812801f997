//! `forkguard metrics`: OpenMetrics 1.0 text, once or over HTTP.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::arguments::Metrics;
use crate::counters::{Counted, Counters, Identity, Sheet};
use crate::processes::{self, Process, Seen};
use crate::{terminal, Failure};
use forkguard_proto::page::{Count, COUNTS};
use forkguard_sql::Reason;

/// Name, help, and which count, of the counters.
const COUNTERS: [(&str, &str, Count); COUNTS] = [
    (
        "forkguard_sessions_opened",
        "PostgreSQL sessions opened",
        Count::Opened,
    ),
    (
        "forkguard_sessions_closed",
        "Sessions closed, as far as it was seen",
        Count::Closed,
    ),
    (
        "forkguard_descriptors_abandoned",
        "Inherited descriptors made dead in a child",
        Count::Abandoned,
    ),
    (
        "forkguard_descriptors_refused",
        "Inherited descriptors that could not be made dead, and are refused",
        Count::Refused,
    ),
    (
        "forkguard_descriptors_handed_over",
        "Inherited descriptors kept, because they were handed over",
        Count::HandedOver,
    ),
    (
        "forkguard_sessions_resumed",
        "Inherited sessions made anew, equal to what they were",
        Count::Resumed,
    ),
    (
        "forkguard_sessions_opaque",
        "Inherited sessions that could not be made anew, and were lost",
        Count::Opaque,
    ),
    (
        "forkguard_cancels_held",
        "Cancels held back that would have reached the parent's statement",
        Count::CancelsHeld,
    ),
    (
        "forkguard_uses_reported",
        "Uses of an inherited session that policy report or abort told of",
        Count::Reported,
    ),
];

/// One tree of processes, which share a page.
struct Family {
    labels: String,
    alive: usize,
    open: u64,
    /// Those that ended are in it: no counter goes backwards while the page lives.
    counts: [u64; COUNTS],
    unlisted: u64,
    last_event: u64,
    /// Processes by the code of the reason for which they last lost a session.
    reasons: BTreeMap<&'static str, usize>,
}

pub fn metrics(options: &Metrics) -> Result<i32, Failure> {
    match options.listen {
        None => terminal::print(text(&processes::look()).as_bytes()),
        Some(address) => {
            let listener = TcpListener::bind(address)
                .map_err(|error| Failure::new(1, format!("cannot listen on {address}: {error}")))?;
            let address = listener.local_addr().unwrap_or(address);
            if !address.ip().is_loopback() {
                eprintln!(
                    "forkguard: {address} can be reached by others, and there is no password"
                );
            }
            eprintln!("forkguard: serving http://{address}/metrics");
            std::thread::spawn(move || serve(&listener));
            crate::status::wait_for(&[SIGINT, SIGTERM])?;
            Ok(0)
        }
    }
}

/// Processes that share a page are one, and pages that share a process: whose descriptor was closed
/// has moved from one to another, and took its counts along.
fn families(seen: &Seen) -> Vec<Family> {
    let mut groups: Vec<(Vec<&Process>, Vec<Identity>)> = Vec::new();
    for process in seen
        .processes
        .iter()
        .filter(|process| !process.pages.is_empty())
    {
        let mut group = (vec![process], process.pages.clone());
        // In their order, which is by age.
        for (members, pages) in std::mem::take(&mut groups) {
            if pages.iter().any(|page| group.1.contains(page)) {
                group.0 = [members, group.0].concat();
                group
                    .1
                    .extend(pages.iter().filter(|page| !process.pages.contains(page)));
            } else {
                groups.push((members, pages));
            }
        }
        groups.push(group);
    }
    groups.sort_by_key(|(members, _)| (members[0].started, members[0].pid));
    groups
        .into_iter()
        .filter_map(|(members, pages)| family(seen, &members, &pages))
        .collect()
}

fn family(seen: &Seen, members: &[&Process], pages: &[Identity]) -> Option<Family> {
    let pages = pages
        .iter()
        .filter_map(|page| seen.pages.0.get(page)?.as_ref().ok());
    let pages: Vec<&Sheet> = pages.collect();
    if pages.is_empty() {
        return None;
    }
    let mut counts = [0; COUNTS];
    let slots = || pages.iter().flat_map(|page| &page.slots);
    let all = pages
        .iter()
        .map(|page| page.retired)
        .chain(slots().map(|slot| slot.counts));
    for (sum, count) in all.flat_map(|counts| counts.into_iter().enumerate()) {
        counts[sum] = u64::saturating_add(counts[sum], count);
    }
    let mut reasons = BTreeMap::new();
    for why in slots().filter_map(|slot| slot.reason.as_ref()) {
        // A page may say anything, and a label's values must be few.
        let code = Reason::of_code(&why.code).map_or("other", Reason::code);
        *reasons.entry(code).or_default() += 1;
    }
    let read: Vec<&Counted> = members
        .iter()
        .filter_map(|process| match &process.counters {
            Counters::Read(counted) => Some(&**counted),
            _ => None,
        })
        .collect();
    // The oldest: where the first of the tree has ended (a daemon's), its heir.
    let root = *members
        .iter()
        .min_by_key(|process| (process.started, process.pid))?;
    let name: String = processes::name(&root.command).chars().take(40).collect();
    let policy = read.first().map_or("?", |counted| counted.policy);
    Some(Family {
        labels: format!(
            "{{pid=\"{}\",command=\"{}\",policy=\"{policy}\"}}",
            root.pid,
            escaped(&name)
        ),
        alive: members.len(),
        open: read
            .iter()
            .map(|counted| counted.open())
            .fold(0, u64::saturating_add),
        counts,
        unlisted: pages
            .iter()
            .map(|page| page.unlisted)
            .fold(0, u64::saturating_add),
        last_event: slots()
            .filter_map(|slot| Some(slot.last?.0))
            .max()
            .unwrap_or(0),
        reasons,
    })
}

/// A label's value.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn text(seen: &Seen) -> String {
    let families = families(seen);
    let mut text = String::new();
    // Nobody fails to write to a String.
    let mut write = |name: &str,
                     kind: &str,
                     help: &str,
                     samples: &mut dyn Iterator<Item = (String, String)>| {
        let _ = writeln!(text, "# TYPE {name} {kind}\n# HELP {name} {help}.");
        let ending = if kind == "counter" { "_total" } else { "" };
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{ending}{labels} {value}");
        }
    };
    let each = |value: fn(&Family) -> String| {
        families
            .iter()
            .map(move |family| (family.labels.clone(), value(family)))
    };
    write(
        "forkguard_processes",
        "gauge",
        "Processes of a tree that run",
        &mut each(|family| family.alive.to_string()),
    );
    write(
        "forkguard_sessions_open",
        "gauge",
        "PostgreSQL sessions open in the processes of a tree",
        &mut each(|family| family.open.to_string()),
    );
    for (name, help, which) in COUNTERS {
        let mut samples = families.iter().map(|family| {
            (
                family.labels.clone(),
                family.counts[which as usize].to_string(),
            )
        });
        write(name, "counter", help, &mut samples);
    }
    write(
        "forkguard_processes_unlisted",
        "counter",
        "Processes that found no room in their tree's page, and are not counted",
        &mut each(|family| family.unlisted.to_string()),
    );
    let mut last = families
        .iter()
        .filter(|family| family.last_event > 0)
        .map(|family| {
            let (seconds, rest) = (
                family.last_event / 1_000_000_000,
                family.last_event % 1_000_000_000,
            );
            (
                family.labels.clone(),
                format!("{seconds}.{:03}", rest / 1_000_000),
            )
        });
    write(
        "forkguard_last_event_timestamp_seconds",
        "gauge",
        "When a tree last abandoned, resumed or lost a session, or the like",
        &mut last,
    );
    let mut reasons = families.iter().flat_map(|family| {
        let labels = family.labels.trim_end_matches('}');
        let sample = move |(code, number): (&&str, &usize)| {
            (format!("{labels},reason=\"{code}\"}}"), number.to_string())
        };
        family.reasons.iter().map(sample)
    });
    write(
        "forkguard_processes_opaque",
        "gauge",
        "Processes by the reason for which they last lost an inherited session",
        &mut reasons,
    );
    let without = seen
        .processes
        .iter()
        .filter(|process| process.pages.is_empty())
        .count();
    let unreadable = seen
        .processes
        .iter()
        .filter(|process| matches!(process.counters, Counters::Unreadable(_)))
        .count();
    for (name, help, number) in [
        (
            "forkguard_processes_without_sessions",
            "Guarded processes that have had no session yet",
            without,
        ),
        (
            "forkguard_processes_unreadable",
            "Guarded processes whose counters cannot be read",
            unreadable,
        ),
        (
            "forkguard_processes_hidden",
            "Processes that may not be looked at",
            seen.hidden.len(),
        ),
    ] {
        write(
            name,
            "gauge",
            help,
            &mut [(String::new(), number.to_string())].into_iter(),
        );
    }
    text.push_str("# EOF\n");
    text
}

/// At once. A scraper is one.
const CONNECTIONS: usize = 16;
/// For a request, and for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

fn serve(listener: &TcpListener) {
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // No descriptors, say: not in a circle.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if busy.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            busy.fetch_sub(1, Ordering::Relaxed);
            continue; // closed
        }
        let done = Arc::clone(&busy);
        let started = std::thread::Builder::new().spawn(move || {
            answer(stream);
            done.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One request a connection. Whoever is slow or sends too much is cut off.
fn answer(mut stream: TcpStream) {
    let end = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        let left = end.saturating_duration_since(Instant::now());
        // A limit of nothing is an error, and the end.
        if request.len() > 8192 || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut piece) {
            Ok(count @ 1..) => request.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    let line = request
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = target.split('?').next().unwrap_or_default();
    let plain = "text/plain; charset=utf-8";
    let (status, kind, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => (
            "200 OK",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            text(&processes::look()),
        ),
        ("GET" | "HEAD", _) => (
            "404 Not Found",
            plain,
            "the counters are at /metrics\n".to_owned(),
        ),
        _ => ("405 Method Not Allowed", plain, "GET /metrics\n".to_owned()),
    };
    let allow = if status.starts_with("405") {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    if method != "HEAD" {
        answer.push_str(&body);
    }
    // Each write has its limit; an answer is a few, and fits the socket's buffer as a rule.
    if stream.set_write_timeout(Some(PATIENCE)).is_ok()
        && stream.write_all(answer.as_bytes()).is_ok()
    {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
