//! `forkguard status`.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};

use crate::arguments::Status;
use crate::counters::{Counted, Counters, Why};
use crate::processes::{self, Process, Seen};
use crate::terminal::{self, colours, Screen};
use crate::Failure;
use forkguard_proto::page::{Count, COUNTS};

/// The names of the counts in JSON, by [`Count`].
pub const COUNT_NAMES: [&str; COUNTS] = [
    "opened",
    "closed",
    "abandoned",
    "refused",
    "handed_over",
    "resumed",
    "opaque",
    "cancels_held",
    "reported",
];

pub fn status(options: &Status) -> Result<i32, Failure> {
    match options.watch {
        Some(seconds) => watch(options, Duration::from_secs(seconds.into())),
        None => {
            let screen = Screen::now();
            let (text, notes, status) = picture(options, &screen);
            terminal::print(text.as_bytes())?;
            for note in notes {
                eprintln!("forkguard: {note}");
            }
            Ok(status)
        }
    }
}

/// What is seen now: the text, what else is to be said, a line each, and the exit status.
fn picture(options: &Status, screen: &Screen) -> (String, Vec<String>, i32) {
    let seen = processes::look();
    let mut notes = Vec::new();
    let mut status = 0;
    for pid in &options.pids {
        if let Err((code, why)) = processes::what_is(*pid, &seen) {
            notes.push(why);
            status = status.max(code);
        }
    }
    let shown = chosen(&seen, &options.pids);
    if options.pids.is_empty() {
        if shown.is_empty() {
            status = 1;
            notes.push(
                "no guarded process is running; start one with: forkguard run -- YOUR-PROGRAM"
                    .to_owned(),
            );
        }
        notes.extend(hidden(&seen));
    }
    let text = if options.json {
        json(&seen, &shown)
    } else if shown.is_empty() {
        String::new()
    } else {
        table(&shown, screen)
    };
    (text, notes, status)
}

/// How many may not be looked at.
fn hidden(seen: &Seen) -> Option<String> {
    let count = seen.hidden.len();
    let whose = if count == 1 {
        "1 process may not be looked at (another user's, or protected)".to_owned()
    } else {
        format!("{count} processes may not be looked at (other users', or protected)")
    };
    (count > 0).then(|| format!("{whose}: sudo forkguard status shows them"))
}

/// The trees to show, with how deep each process stands.
fn chosen<'a>(seen: &'a Seen, pids: &[u32]) -> Vec<(usize, &'a Process)> {
    let roots: Vec<u32> = if pids.is_empty() {
        let roots = seen
            .processes
            .iter()
            .filter(|process| process.parent.is_none());
        roots.map(|process| process.pid).collect()
    } else {
        pids.to_vec()
    };
    let mut shown: Vec<(usize, &Process)> = Vec::new();
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

/// One column of the table.
struct Column {
    title: &'static str,
    left: bool,
    cell: fn(&Process) -> String,
    colour: Option<&'static str>,
    /// Shown only where somebody has something in it.
    optional: bool,
}

fn read(process: &Process) -> Option<&Counted> {
    match &process.counters {
        Counters::Read(counted) => Some(counted),
        _ => None,
    }
}

fn count(process: &Process, which: Count) -> String {
    match read(process).map(|counted| counted.count(which)) {
        Some(0) | None => "-".to_owned(),
        Some(count) => count.to_string(),
    }
}

fn policy(process: &Process) -> String {
    let counted = read(process).map(|counted| counted.policy.to_owned());
    counted
        .or_else(|| process.policy.clone())
        .unwrap_or("?".to_owned())
}

fn ago(event: Option<(u64, &'static str)>) -> String {
    let Some((at, what)) = event else {
        return "-".to_owned();
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = now.as_secs().saturating_sub(at / 1_000_000_000);
    let age = match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    };
    format!("{what} {age}")
}

const FIRST: &str = "FIRST EVENT AGO";
const LAST: &str = "LAST EVENT AGO";
const POLICY: &str = "POLICY";

fn columns() -> Vec<Column> {
    let number = |title, cell, colour| Column {
        title,
        left: false,
        cell,
        colour,
        optional: false,
    };
    let text = |title, cell| Column {
        title,
        left: true,
        cell,
        colour: None,
        optional: false,
    };
    let rare = |title, cell| Column {
        title,
        left: false,
        cell,
        colour: Some(colours::RED),
        optional: true,
    };
    vec![
        text(POLICY, policy),
        number(
            "OPEN",
            |process| match (&process.counters, read(process).map(Counted::open)) {
                (Counters::Unreadable(_), _) => "?".to_owned(),
                (_, Some(0) | None) => "-".to_owned(),
                (_, Some(open)) => open.to_string(),
            },
            None,
        ),
        number("ABANDONED", |p| count(p, Count::Abandoned), None),
        number(
            "RESUMED",
            |p| count(p, Count::Resumed),
            Some(colours::GREEN),
        ),
        number("OPAQUE", |p| count(p, Count::Opaque), Some(colours::YELLOW)),
        number(
            "HELD",
            |p| count(p, Count::CancelsHeld),
            Some(colours::YELLOW),
        ),
        rare("REFUSED", |p| count(p, Count::Refused)),
        rare("HANDED OVER", |p| count(p, Count::HandedOver)),
        rare("REPORTED", |p| count(p, Count::Reported)),
        text(FIRST, |p| ago(read(p).and_then(|counted| counted.first))),
        text(LAST, |p| ago(read(p).and_then(|counted| counted.last))),
    ]
}

/// The branches before a pid. `more` tells for each depth whether a brother follows.
fn branches(depth: usize, more: &[bool], screen: &Screen) -> String {
    let (on, last, down, none) = if screen.unicode {
        ("├─", "└─", "│ ", "  ")
    } else {
        ("|-", "`-", "| ", "  ")
    };
    let mut drawn = String::new();
    for level in 1..=depth {
        let follows = more.get(level).copied().unwrap_or(false);
        drawn.push_str(match (level == depth, follows) {
            (true, true) => on,
            (true, false) => last,
            (false, true) => down,
            (false, false) => none,
        });
    }
    drawn
}

fn table(shown: &[(usize, &Process)], screen: &Screen) -> String {
    let mut columns = columns();
    columns.retain(|column| {
        !column.optional
            || shown
                .iter()
                .any(|(_, process)| (column.cell)(process) != "-")
    });
    // Whether a brother follows, from the last line up.
    let mut more_of = vec![Vec::new(); shown.len()];
    let mut more = Vec::new();
    for (index, (depth, _)) in shown.iter().enumerate().rev() {
        more.resize((*depth + 1).max(more.len()), false);
        more_of[index] = more[..=*depth].to_vec();
        more.truncate(depth + 1);
        more[*depth] = true;
    }
    let pids: Vec<String> = shown
        .iter()
        .zip(&more_of)
        .map(|((depth, process), more)| {
            format!("{}{}", branches(*depth, more, screen), process.pid)
        })
        .collect();
    let pid_width = pids
        .iter()
        .map(|pid| terminal::width(pid))
        .max()
        .unwrap_or(0)
        .max(3);
    let cells = |column: &Column| -> Vec<String> {
        shown
            .iter()
            .map(|(_, process)| (column.cell)(process))
            .collect()
    };
    let mut filled: Vec<(Column, Vec<String>, usize)> = columns
        .into_iter()
        .map(|column| {
            let cells = cells(&column);
            let widest = cells.iter().map(String::len).max().unwrap_or(0);
            let width = widest.max(column.title.len());
            (column, cells, width)
        })
        .collect();
    // What a narrow screen does without, one after another: a command of a few letters tells more.
    const COMMAND: usize = 12;
    let mut gap = 2;
    for less in [Some(FIRST), Some(LAST), None, Some(POLICY)] {
        let taken = pid_width
            + filled
                .iter()
                .map(|(_, _, width)| width + gap)
                .sum::<usize>();
        if screen
            .width
            .is_none_or(|width| taken + gap + COMMAND <= width)
        {
            break;
        }
        match less {
            Some(title) => filled.retain(|(column, ..)| column.title != title),
            None => gap = 1,
        }
    }
    let space = " ".repeat(gap);
    let mut text = String::new();
    let mut line = |pid: &str,
                    cells: &mut dyn Iterator<Item = (String, Option<&str>)>,
                    rest: &str,
                    all: Option<&str>| {
        // Cut before it is coloured: an escape sequence takes no column.
        let mut left = screen.width.unwrap_or(usize::MAX);
        let mut drawn = String::new();
        let mut put = |part: &str, colour: Option<&str>| {
            let part = terminal::cut(part, left);
            left -= terminal::width(&part);
            drawn.push_str(
                &colour
                    .or(all)
                    .map_or(part.clone(), |colour| screen.paint(&part, colour)),
            );
        };
        let padding = " ".repeat(pid_width.saturating_sub(terminal::width(pid)));
        put(&format!("{pid}{padding}"), None);
        for (cell, colour) in cells {
            put(&space, None);
            put(&cell, colour);
        }
        put(&space, None);
        put(rest, None);
        text.push_str(drawn.trim_end());
        text.push('\n');
    };
    let pad = |cell: &str, width: usize, left: bool| {
        if left {
            format!("{cell:<width$}")
        } else {
            format!("{cell:>width$}")
        }
    };
    let mut titles = filled
        .iter()
        .map(|(column, _, width)| (pad(column.title, *width, column.left), None));
    line("PID", &mut titles, "COMMAND", Some(colours::BOLD));
    for (index, (depth, process)) in shown.iter().enumerate() {
        let mut row = filled.iter().map(|(column, cells, width)| {
            let cell = &cells[index];
            let colour = column.colour.filter(|_| cell != "-");
            (pad(cell, *width, column.left), colour)
        });
        line(
            &pids[index],
            &mut row,
            &processes::shown(&process.command),
            None,
        );
        let below = " ".repeat(2 * depth + 2);
        if let Some(reason) = read(process).and_then(|counted| counted.reason.as_ref()) {
            let reason = format!("{below}opaque: {}", reason.text());
            line(&reason, &mut std::iter::empty(), "", Some(colours::YELLOW));
        }
        if let Counters::Unreadable(why) = &process.counters {
            let why = format!("{below}not readable: {why}");
            line(&why, &mut std::iter::empty(), "", Some(colours::RED));
        }
    }
    text
}

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

fn json(seen: &Seen, shown: &[(usize, &Process)]) -> String {
    let event = |event: Option<(u64, &'static str)>| {
        event.map(|(at, what)| Event {
            at: rfc3339(at),
            what,
        })
    };
    let processes = shown.iter().map(|(_, process)| {
        let counted = read(process);
        let counts = counted.map_or([0; COUNTS], |counted| counted.counts);
        let why = counted.and_then(|counted| counted.reason.as_ref());
        Entry {
            pid: process.pid,
            parent: process.parent,
            command: &process.command,
            library: process.library.as_deref(),
            policy: Some(policy(process)).filter(|policy| policy != "?"),
            counters: match &process.counters {
                Counters::None => "none".to_owned(),
                Counters::Read(_) => "read".to_owned(),
                Counters::Unreadable(why) => why.clone(),
            },
            open: counted.map_or(0, Counted::open),
            counts: COUNT_NAMES
                .iter()
                .zip(counts)
                .map(|(name, count)| ((*name).to_owned(), count.into()))
                .collect(),
            libpqs: counted.map_or(0, |counted| counted.libpqs),
            opaque_reason: why.map(|why| &*why.code),
            opaque_detail: why.map(|why| &*why.detail),
            opaque_text: why.map(Why::text),
            opaque_hint: why.and_then(Why::hint),
            first_event: event(counted.and_then(|counted| counted.first)),
            last_event: event(counted.and_then(|counted| counted.last)),
        }
    });
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let document = Document {
        version: 1,
        at: rfc3339(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)),
        processes: processes.collect(),
        hidden: seen.hidden.len(),
    };
    let mut text = serde_json::to_string(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// Nanoseconds since 1970 as RFC 3339 has them, in UTC.
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

/// Signals as bytes to wait for.
fn signals(which: &[i32]) -> Result<UnixStream, Failure> {
    let failed = |error: std::io::Error| Failure::new(1, error.to_string());
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    for signal in which {
        let writer = theirs.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(*signal, writer).map_err(failed)?;
    }
    Ok(ours)
}

/// Waits until one of these comes.
pub fn wait_for(which: &[i32]) -> Result<(), Failure> {
    let mut bytes = signals(which)?;
    let _ = bytes.read(&mut [0]);
    Ok(())
}

/// The other screen of a terminal, so that what stood on the first is there again afterwards.
struct Alternate(bool);

impl Alternate {
    fn enter(terminal: bool) -> Result<Alternate, Failure> {
        if terminal {
            terminal::print(b"\x1b[?1049h\x1b[?25l")?;
        }
        Ok(Alternate(terminal))
    }
}

impl Drop for Alternate {
    fn drop(&mut self) {
        if self.0 {
            let _ = terminal::print(b"\x1b[?25h\x1b[?1049l");
        }
    }
}

fn watch(options: &Status, every: Duration) -> Result<i32, Failure> {
    let failed = |error: std::io::Error| Failure::new(1, error.to_string());
    let over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&over)).map_err(failed)?;
    }
    let mut bytes = signals(&[SIGINT, SIGTERM, SIGHUP, SIGWINCH])?;
    let alternate = Alternate::enter(Screen::now().terminal && !options.json)?;
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let screen = Screen::now();
        let (text, notes, _) = picture(options, &screen);
        if alternate.0 {
            let head = format!(
                "forkguard status, every {} s, at {}; Ctrl-C ends",
                every.as_secs(),
                &rfc3339(now())[11..19]
            );
            let mut lines = vec![
                screen.paint(&fit(&head, &screen), colours::FAINT),
                String::new(),
            ];
            lines.extend(text.lines().map(str::to_owned));
            lines.extend(notes.iter().map(|note| fit(note, &screen)));
            let height = screen.height.unwrap_or(usize::MAX).max(2);
            if lines.len() > height {
                let more = lines.len() - height + 1;
                lines.truncate(height - 1);
                lines.push(format!("… {more} more lines"));
            }
            // Over what is there, line by line: nothing flickers.
            terminal::print(format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")).as_bytes())?;
        } else {
            terminal::print(text.as_bytes())?;
            for note in notes {
                eprintln!("forkguard: {note}");
            }
            if !options.json {
                terminal::print(b"\n")?;
            }
        }
        // A changed size draws at once.
        let left = every
            .saturating_sub(began.elapsed())
            .max(Duration::from_millis(50));
        bytes.set_read_timeout(Some(left)).map_err(failed)?;
        let _ = bytes.read(&mut [0; 16]);
    }
    Ok(0)
}

fn now() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

fn fit(text: &str, screen: &Screen) -> String {
    terminal::cut(text, screen.width.unwrap_or(usize::MAX))
}
