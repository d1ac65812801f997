//! `FORKGUARD_*` into one [`Config`]. Pure: the environment is an argument.

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{borrow::ToOwned, format};

use crate::level::{Format, Level};
use forkguard_sql::Trusted;

/// What happens to a session that a child inherits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// The child's first use of it makes it again, equal to what it was.
    Resume,
    /// It is dead in the child; the parent keeps it.
    Abandon,
    /// Left alone; each use of it in a child is reported, once for each place in the code.
    Report,
    /// The same, and the child is stopped.
    Abort,
    /// Nothing: the library steps aside.
    Off,
}

/// The settings of one process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `FORKGUARD_POLICY`.
    pub policy: Policy,
    /// `FORKGUARD_EXEMPT`: names of programs in which the policy is off.
    pub exempt: Vec<String>,
    /// `FORKGUARD_LOG`.
    pub level: Level,
    /// `FORKGUARD_LOG_FORMAT`.
    pub format: Format,
    /// `FORKGUARD_LOG_FILE`.
    pub file: Option<Vec<u8>>,
    /// `FORKGUARD_FORK_WAIT`, in milliseconds: the longest a fork waits for other
    /// threads' connection attempts.
    pub fork_wait: u16,
    /// `FORKGUARD_TRUST_FUNCTIONS`: functions that leave a session as it is.
    pub trusted: Trusted,
    /// `FORKGUARD_JOURNAL_KB`: the most one session's journal may hold.
    pub journal_kb: u32,
    /// `FORKGUARD_CONNECT_WAIT`, in seconds: the longest a child waits for a session that
    /// is made again, where the connection has no `connect_timeout`.
    pub connect_wait: u16,
}

/// Programs that hand a session to their child on purpose and are known for
/// it. `pg_basebackup -X stream` forks a child for a replication session that
/// it never touches again (src/bin/pg_basebackup/pg_basebackup.c,
/// `StartLogStreamer`); in the clear the startup packet tells, under TLS only
/// the name does.
pub const HANDS_OVER: &[&str] = &["pg_basebackup"];

impl Default for Config {
    fn default() -> Self {
        Config {
            policy: Policy::Resume,
            exempt: Vec::new(),
            level: Level::Warn,
            format: Format::Text,
            file: None,
            // Steps of a connection attempt take some milliseconds, under TLS and
            // on a busy machine; what takes longer is a look-up that is stuck.
            fork_wait: 100,
            trusted: Trusted::default(),
            // A thousand prepared statements (ActiveRecord keeps so many) of a
            // kilobyte each.
            journal_kb: 1024,
            // A server that restarts is back in less, and a worker's supervisor waits for
            // longer (uWSGI's harakiri, Celery's hard time limit are minutes).
            connect_wait: 60,
        }
    }
}

impl Config {
    /// Whether the policy is off for a program of one of these names.
    pub fn exempts<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut names = names;
        names.any(|name| {
            self.exempt.iter().any(|exempt| exempt.as_bytes() == name)
                || HANDS_OVER.iter().any(|known| known.as_bytes() == name)
        })
    }
}

/// Reads the settings among `variables` (`NAME=value` each). Returns them with
/// a complaint, one clear line, for each that could not be understood; there
/// the default holds. An empty value is a setting not made.
pub fn read<'a>(variables: impl Iterator<Item = &'a [u8]>) -> (Config, Vec<String>) {
    let mut config = Config::default();
    let mut complaints = Vec::new();
    for variable in variables {
        let Some(setting) = variable.strip_prefix(b"FORKGUARD_") else {
            continue;
        };
        let Some(equals) = setting.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let (name, value) = (&setting[..equals], &setting[equals + 1..]);
        if value.is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(value);
        match name {
            b"POLICY" => match text.to_ascii_lowercase().as_str() {
                "resume" => config.policy = Policy::Resume,
                "abandon" => config.policy = Policy::Abandon,
                "report" => config.policy = Policy::Report,
                "abort" => config.policy = Policy::Abort,
                "off" => config.policy = Policy::Off,
                _ => complaints.push(format!(
                    "FORKGUARD_POLICY={}: no such policy (resume, abandon, report, abort, off); using resume",
                    shown(&text)
                )),
            },
            b"LOG" => match text.to_ascii_lowercase().as_str() {
                "off" => config.level = Level::Off,
                "error" => config.level = Level::Error,
                "warn" => config.level = Level::Warn,
                "info" => config.level = Level::Info,
                "debug" => config.level = Level::Debug,
                "trace" => config.level = Level::Trace,
                _ => complaints.push(format!(
                    "FORKGUARD_LOG={}: no such level (off, error, warn, info, debug, trace); using warn",
                    shown(&text)
                )),
            },
            b"LOG_FORMAT" => match text.to_ascii_lowercase().as_str() {
                "text" => config.format = Format::Text,
                "json" => config.format = Format::Json,
                _ => complaints.push(format!(
                    "FORKGUARD_LOG_FORMAT={}: no such format (text, json); using text",
                    shown(&text)
                )),
            },
            b"EXEMPT" => {
                let names = text.split([',', ':', ' ', '\t']).filter(|name| !name.is_empty());
                for name in names {
                    if name.contains('/') {
                        complaints.push(format!(
                            "FORKGUARD_EXEMPT: {} is a path; give the program's name alone",
                            shown(name)
                        ));
                    } else {
                        config.exempt.push(name.to_owned());
                    }
                }
            }
            b"FORK_WAIT" => match text.parse() {
                Ok(milliseconds @ 0..=10_000) => config.fork_wait = milliseconds,
                _ => complaints.push(format!(
                    "FORKGUARD_FORK_WAIT={}: not a number of milliseconds from 0 to 10000; using 100",
                    shown(&text)
                )),
            },
            b"TRUST_FUNCTIONS" => {
                let (trusted, misread) = Trusted::parse(&text);
                config.trusted = trusted;
                complaints.extend(
                    misread
                        .iter()
                        .map(|name| format!("FORKGUARD_TRUST_FUNCTIONS: {}", shown(name))),
                );
            }
            b"JOURNAL_KB" => match text.parse() {
                Ok(kilobytes @ 0..=1_048_576) => config.journal_kb = kilobytes,
                _ => complaints.push(format!(
                    "FORKGUARD_JOURNAL_KB={}: not a number of kilobytes from 0 to 1048576; using 1024",
                    shown(&text)
                )),
            },
            b"CONNECT_WAIT" => match text.parse() {
                Ok(seconds @ 1..=3600) => config.connect_wait = seconds,
                _ => complaints.push(format!(
                    "FORKGUARD_CONNECT_WAIT={}: not a number of seconds from 1 to 3600; using 60",
                    shown(&text)
                )),
            },
            b"LOG_FILE" => config.file = Some(value.to_owned()),
            b"LIBRARY" => {} // the command's: which library it loads
            _ => complaints.push(format!(
                "{}: no such setting (FORKGUARD_POLICY, _CONNECT_WAIT, _EXEMPT, _FORK_WAIT, _JOURNAL_KB, _LOG, _LOG_FILE, _LOG_FORMAT, _TRUST_FUNCTIONS)",
                shown(&format!("FORKGUARD_{}", String::from_utf8_lossy(name)))
            )),
        }
    }
    (config, complaints)
}

/// A value as it may stand in a line: not endless.
fn shown(value: &str) -> String {
    const LONGEST: usize = 60;
    let cut: String = value.chars().take(LONGEST).collect();
    let more = if cut.len() < value.len() { "…" } else { "" };
    format!("\"{cut}{more}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn read_all(variables: &[&str]) -> (Config, Vec<String>) {
        read(variables.iter().map(|variable| variable.as_bytes()))
    }

    #[test]
    fn nothing_set_is_the_default() {
        assert_eq!(
            read_all(&["PATH=/bin", "FORKGUARD_POLICY=", "FORKGUARDX=1"]),
            (Config::default(), vec![])
        );
    }

    #[test]
    fn every_setting_is_read() {
        let (config, complaints) = read_all(&[
            "FORKGUARD_POLICY=OFF",
            "FORKGUARD_EXEMPT=mydump, other:third",
            "FORKGUARD_LOG=debug",
            "FORKGUARD_FORK_WAIT=7",
            "FORKGUARD_CONNECT_WAIT=8",
            "FORKGUARD_LOG_FORMAT=Json",
            "FORKGUARD_LOG_FILE=/tmp/x=y",
        ]);
        assert!(complaints.is_empty(), "{complaints:?}");
        assert_eq!(config.policy, Policy::Off);
        assert_eq!(config.exempt, ["mydump", "other", "third"]);
        assert_eq!(config.level, Level::Debug);
        assert_eq!(config.format, Format::Json);
        assert_eq!(config.fork_wait, 7);
        assert_eq!(config.connect_wait, 8);
        assert_eq!(config.file.as_deref(), Some(b"/tmp/x=y".as_slice()));
    }

    #[test]
    fn a_bad_value_is_one_line_and_the_default() {
        for bad in [
            "FORKGUARD_POLICY=abndon",
            "FORKGUARD_LOG=loud",
            "FORKGUARD_LOG_FORMAT=xml",
            "FORKGUARD_POLCY=off",
            "FORKGUARD_FORK_WAIT=-1",
            "FORKGUARD_FORK_WAIT=10001",
            "FORKGUARD_FORK_WAIT=100ms",
            "FORKGUARD_CONNECT_WAIT=0",
            "FORKGUARD_CONNECT_WAIT=3601",
            "FORKGUARD_EXEMPT=/usr/bin/x",
        ] {
            let (config, complaints) = read_all(&[bad]);
            assert_eq!(config, Config::default(), "{bad}");
            assert_eq!(complaints.len(), 1, "{bad}: {complaints:?}");
            assert!(!complaints[0].contains('\n'));
        }
        let long = format!("FORKGUARD_POLICY={}", "x".repeat(100_000));
        assert!(read_all(&[&long]).1[0].len() < 200);
    }

    #[test]
    fn a_name_exempts_its_program_alone() {
        let (config, _) = read_all(&["FORKGUARD_EXEMPT=mydump"]);
        let names = |name: &'static str| [name.as_bytes()].into_iter();
        assert!(config.exempts(names("mydump")));
        assert!(config.exempts(names("pg_basebackup")));
        assert!(!config.exempts(names("mydump2")));
    }
}
