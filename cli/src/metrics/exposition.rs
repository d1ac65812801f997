//! The series as text: Prometheus's classic format, or OpenMetrics 1.0.

use std::fmt::{Display, Write};

use super::families::{Family, Labels};
use crate::counters::{Counters, WORDS};
use crate::processes::Seen;

/// How the text is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Version 0.0.4 of Prometheus's own: what promtool and node_exporter's textfile collector read.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All series.
pub fn write(families: &[Family], seen: &Seen, format: Format) -> String {
    let mut text = Text {
        text: String::new(),
        format,
        name: String::new(),
    };
    write_families(&mut text, families);
    write_reasons(&mut text, families);
    write_unseen(&mut text, seen);
    if format == Format::OpenMetrics {
        text.text.push_str("# EOF\n");
    }
    text.text
}

fn write_families(text: &mut Text, families: &[Family]) {
    text.begin("forkguard_processes", Kind::Gauge, "Processes that run");
    for family in families {
        text.sample(&family.labels, &[], family.alive);
    }
    text.begin(
        "forkguard_sessions_open",
        Kind::Gauge,
        "PostgreSQL sessions that are open",
    );
    for family in families {
        text.sample(&family.labels, &[], family.open);
    }
    for words in &WORDS {
        text.begin(words.metric, Kind::Counter, words.help);
        for family in families {
            text.sample(&family.labels, &[], family.counts[words.count as usize]);
        }
    }
    text.begin(
        "forkguard_processes_unlisted",
        Kind::Counter,
        "Processes that found no room in their tree's page, and are not counted",
    );
    for family in families {
        text.sample(&family.labels, &[], family.unlisted);
    }
    text.begin(
        "forkguard_last_event_timestamp_seconds",
        Kind::Gauge,
        "When a session was last protected, resumed or lost, or the like",
    );
    for family in families.iter().filter(|family| family.last_event > 0) {
        let (seconds, rest) = (
            family.last_event / 1_000_000_000,
            family.last_event % 1_000_000_000,
        );
        let value = format!("{seconds}.{:03}", rest / 1_000_000);
        text.sample(&family.labels, &[], value);
    }
}

fn write_reasons(text: &mut Text, families: &[Family]) {
    text.begin(
        "forkguard_processes_opaque",
        Kind::Gauge,
        "Processes by the reason for which they last lost an inherited session",
    );
    for family in families {
        for (reason, count) in &family.reasons {
            text.sample(&family.labels, &[("reason", reason)], count);
        }
    }
}

/// What is not in any family.
fn write_unseen(text: &mut Text, seen: &Seen) {
    let processes = || seen.processes.iter();
    for (name, help, count) in [
        (
            "forkguard_processes_without_sessions",
            "Guarded processes that have had no session yet",
            processes()
                .filter(|process| process.pages.is_empty())
                .count(),
        ),
        (
            "forkguard_processes_unreadable",
            "Guarded processes whose counters cannot be read",
            processes()
                .filter(|process| matches!(process.counters, Counters::Unreadable(_)))
                .count(),
        ),
        (
            "forkguard_processes_hidden",
            "Processes that may not be looked at",
            seen.hidden.len(),
        ),
    ] {
        text.begin(name, Kind::Gauge, help);
        let _ = writeln!(text.text, "{name} {count}");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// Writing to it never fails.
struct Text {
    text: String,
    format: Format,
    /// Of the samples that are written.
    name: String,
}

impl Text {
    /// The lines before the samples of a metric.
    fn begin(&mut self, name: &str, kind: Kind, help: &str) {
        let total = if kind == Kind::Counter { "_total" } else { "" };
        // OpenMetrics names the family, and the classic format each series.
        let described = match self.format {
            Format::Classic => format!("{name}{total}"),
            Format::OpenMetrics => name.to_owned(),
        };
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(
            self.text,
            "# HELP {described} {help}.\n# TYPE {described} {kind}"
        );
        self.name = format!("{name}{total}");
    }

    fn sample(&mut self, labels: &Labels, more: &[(&str, &str)], value: impl Display) {
        let pid = labels.pid.map(|pid| pid.to_string());
        let pid = pid.as_deref().map(|pid| ("pid", pid));
        let known = [("command", &*labels.command), ("policy", labels.policy)];
        let pairs = pid.into_iter().chain(known).chain(more.iter().copied());
        let pairs: Vec<String> = pairs
            .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
            .collect();
        let _ = writeln!(self.text, "{}{{{}}} {value}", self.name, pairs.join(","));
    }
}

/// A label's value.
fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_escaped() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
