//! The table: a line a process, as trees, and why sessions were lost.

use super::{counted, now, policy, Shown};
use crate::counters::{self, Counted, Counters};
use crate::processes::{self, Process};
use crate::terminal::{self, colours, Screen};
use forkguard_proto::page::Count;

/// One column between the pid and the command.
struct Column {
    title: &'static str,
    align_left: bool,
    cell: fn(&Process) -> String,
    colour: Option<&'static str>,
    /// Shown only where a process has something in it.
    is_rare: bool,
}

/// Nothing yet.
const NONE: &str = "-";
const LAST: &str = "LAST EVENT";
const POLICY: &str = "POLICY";

/// In the order of what happens to an inherited session: it is protected, then resumed or lost.
const COLUMNS: [Column; 9] = [
    Column::text(POLICY, |process| policy(process).unwrap_or("?".to_owned())),
    Column::number("OPEN", open, None),
    Column::number(
        "PROTECTED",
        |p| count(p, Count::Abandoned),
        Some(colours::GREEN),
    ),
    Column::number(
        "RESUMED",
        |p| count(p, Count::Resumed),
        Some(colours::GREEN),
    ),
    Column::number("LOST", |p| count(p, Count::Opaque), Some(colours::YELLOW)),
    Column::rare(
        "CANCELS HELD",
        |p| count(p, Count::CancelsHeld),
        Some(colours::YELLOW),
    ),
    Column::rare("REFUSED", |p| count(p, Count::Refused), Some(colours::RED)),
    Column::rare("HANDED OVER", |p| count(p, Count::HandedOver), None),
    Column::rare(
        "REPORTED",
        |p| count(p, Count::Reported),
        Some(colours::RED),
    ),
];
const LAST_COLUMN: Column = Column::text(LAST, last_event);

impl Column {
    const fn number(
        title: &'static str,
        cell: fn(&Process) -> String,
        colour: Option<&'static str>,
    ) -> Column {
        Column {
            title,
            align_left: false,
            cell,
            colour,
            is_rare: false,
        }
    }

    const fn text(title: &'static str, cell: fn(&Process) -> String) -> Column {
        Column {
            align_left: true,
            ..Column::number(title, cell, None)
        }
    }

    const fn rare(
        title: &'static str,
        cell: fn(&Process) -> String,
        colour: Option<&'static str>,
    ) -> Column {
        Column {
            is_rare: true,
            ..Column::number(title, cell, colour)
        }
    }
}

fn count(process: &Process, which: Count) -> String {
    match counted(process).map(|counted| counted.count(which)) {
        Some(0) | None => NONE.to_owned(),
        Some(count) => count.to_string(),
    }
}

fn open(process: &Process) -> String {
    match &process.counters {
        Counters::Unreadable(_) => "?".to_owned(),
        Counters::None => NONE.to_owned(),
        Counters::Read(counted) => match Counted::open(counted) {
            0 => NONE.to_owned(),
            open => open.to_string(),
        },
    }
}

fn last_event(process: &Process) -> String {
    let Some((at, what)) = counted(process).and_then(|counted| counted.last) else {
        return NONE.to_owned();
    };
    let seconds = now().saturating_sub(at) / 1_000_000_000;
    let age = match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    };
    let what = what.map_or("?", |which| counters::words(which).shown);
    format!("{what} {age} ago")
}

/// A column with its cells, as wide as the widest.
struct Filled {
    column: Column,
    cells: Vec<String>,
    width: usize,
}

impl Filled {
    fn new(column: Column, shown: &[Shown]) -> Filled {
        let cells: Vec<String> = shown
            .iter()
            .map(|(_, process)| (column.cell)(process))
            .collect();
        let widest = cells.iter().map(String::len).max().unwrap_or(0);
        Filled {
            width: widest.max(column.title.len()),
            column,
            cells,
        }
    }

    fn is_needed(&self) -> bool {
        !self.column.is_rare || self.cells.iter().any(|cell| cell != NONE)
    }

    fn pad(&self, text: &str) -> String {
        let width = self.width;
        if self.column.align_left {
            format!("{text:<width$}")
        } else {
            format!("{text:>width$}")
        }
    }
}

/// The table for a screen, or for a pipe.
pub fn draw(shown: &[Shown], screen: &Screen) -> String {
    let labels = labels(shown, screen);
    let widths = labels.iter().map(|label| terminal::width(label));
    let label_width = widths.max().unwrap_or(0).max("PID".len());
    let mut columns: Vec<Filled> = COLUMNS
        .into_iter()
        .chain([LAST_COLUMN])
        .map(|column| Filled::new(column, shown))
        .filter(Filled::is_needed)
        .collect();
    let gap = make_fit(&mut columns, label_width, screen);
    let layout = Layout {
        label_width,
        gap,
        screen,
    };
    let titles = columns
        .iter()
        .map(|filled| (filled.pad(filled.column.title), Some(colours::BOLD)));
    let mut text = layout.line(&format!("{:<label_width$}", "PID"), titles, "COMMAND");
    for (index, (depth, process)) in shown.iter().enumerate() {
        let cells = columns.iter().map(|filled| {
            let cell = &filled.cells[index];
            let colour = filled.column.colour.filter(|_| cell != NONE);
            (filled.pad(cell), colour)
        });
        text += &layout.line(&labels[index], cells, &processes::shown(&process.command));
        text += &remarks(process, 2 * depth + 2, screen);
    }
    text
}

/// Leaves out, of a screen that is too narrow, one thing after another until there is room for some
/// letters of the command. Returns the gap between two columns.
fn make_fit(columns: &mut Vec<Filled>, label_width: usize, screen: &Screen) -> usize {
    const COMMAND: usize = 12;
    let Some(width) = screen.width else {
        return 2;
    };
    let fits = |columns: &[Filled], gap: usize| {
        let cells: usize = columns.iter().map(|filled| filled.width + gap).sum();
        label_width + cells + gap + COMMAND <= width
    };
    if fits(columns, 2) {
        return 2;
    }
    columns.retain(|filled| filled.column.title != LAST);
    if fits(columns, 2) {
        return 2;
    }
    if !fits(columns, 1) {
        columns.retain(|filled| filled.column.title != POLICY);
    }
    1
}

/// How a line is laid out.
struct Layout<'a> {
    label_width: usize,
    gap: usize,
    screen: &'a Screen,
}

impl Layout<'_> {
    /// A pid, the cells, the command. It is cut before it is coloured: an escape sequence takes no column.
    fn line<'c>(
        &self,
        label: &str,
        cells: impl Iterator<Item = (String, Option<&'c str>)>,
        command: &str,
    ) -> String {
        let padding = self.label_width.saturating_sub(terminal::width(label));
        let label = format!("{label}{}", " ".repeat(padding));
        let parts = [(label, None)]
            .into_iter()
            .chain(cells)
            .chain([(command.to_owned(), None)]);
        let mut left = self.screen.width.unwrap_or(usize::MAX);
        let mut drawn = String::new();
        for (index, (part, colour)) in parts.enumerate() {
            let gap = if index == 0 { 0 } else { self.gap.min(left) };
            left -= gap;
            let part = terminal::cut(&part, left);
            left -= terminal::width(&part);
            drawn += &" ".repeat(gap);
            drawn += &colour.map_or(part.clone(), |colour| self.screen.paint(&part, colour));
        }
        drawn.trim_end().to_owned() + "\n"
    }
}

/// What stands below a process's line: why it last lost a session, and what to do; why it cannot be read.
fn remarks(process: &Process, indent: usize, screen: &Screen) -> String {
    let mut remarks = Vec::new();
    if let Some(why) = counted(process).and_then(|counted| counted.reason.as_ref()) {
        remarks.push((format!("lost: {}", why.text()), colours::YELLOW));
        if let Some(hint) = why.hint() {
            remarks.push((format!("cure: {hint}"), colours::YELLOW));
        }
    }
    if let Counters::Unreadable(why) = &process.counters {
        remarks.push((format!("not readable: {why}"), colours::RED));
    }
    let width = screen.width.unwrap_or(usize::MAX).saturating_sub(indent);
    let mut text = String::new();
    for (remark, colour) in remarks {
        for line in terminal::wrap(&remark, width.max(1)) {
            let line = screen.paint(&line, colour);
            text += &format!("{}{line}\n", " ".repeat(indent));
        }
    }
    text
}

/// The pids, each with the branches of its tree before it.
fn labels(shown: &[Shown], screen: &Screen) -> Vec<String> {
    // Whether a sibling follows, for each depth: from the last line up.
    let mut follows_at: Vec<bool> = Vec::new();
    let mut labels: Vec<String> = Vec::new();
    for (depth, process) in shown.iter().rev() {
        follows_at.resize(depth + 1, false);
        let branches = branches(&follows_at, screen);
        labels.push(format!("{branches}{}", process.pid));
        follows_at[*depth] = true;
    }
    labels.reverse();
    labels
}

/// The branches before a pid, which stands at the last depth.
fn branches(follows_at: &[bool], screen: &Screen) -> String {
    let (on, last, down, none) = if screen.unicode {
        ("├─", "└─", "│ ", "  ")
    } else {
        ("|-", "`-", "| ", "  ")
    };
    let depth = follows_at.len() - 1;
    let drawn = (1..=depth).map(|level| match (level == depth, follows_at[level]) {
        (true, true) => on,
        (true, false) => last,
        (false, true) => down,
        (false, false) => none,
    });
    drawn.collect()
}
