//! The command line: help, man pages and completions come from here.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Keep forked children off their parent's PostgreSQL sessions
#[derive(Parser, Debug)]
#[command(name = "forkguard", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Start a program under the library
    Run(Run),
    /// Show running guarded processes, as trees
    Status(Status),
    /// Print the counters of running guarded processes in OpenMetrics text
    Metrics(Metrics),
    /// Tell what would be protected, what would not, and why
    Doctor(Doctor),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    #[command(name = "manual", hide = true)]
    Manual {
        /// Where to
        folder: PathBuf,
    },
}

/// `forkguard run`
#[derive(Args, Debug)]
pub struct Run {
    /// The library's settings
    #[command(flatten)]
    pub settings: Settings,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// The library's settings: each is the environment's `FORKGUARD_…` of the same name
#[derive(Args, Debug, Default)]
pub struct Settings {
    /// What happens to a session that a child inherits
    #[arg(long, value_enum)]
    pub policy: Option<Policy>,
    /// Programs in which the policy is off, by name, separated by commas
    #[arg(long, value_name = "NAMES")]
    pub exempt: Option<OsString>,
    /// Functions that leave a session as it is, separated by commas; * for all but PostgreSQL's own
    #[arg(long, value_name = "NAMES")]
    pub trust_functions: Option<OsString>,
    /// The most that one session's journal may hold, in kilobytes
    #[arg(long, value_name = "KB", value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub journal_kb: Option<u32>,
    /// The longest that a fork waits for other threads' connection attempts, in milliseconds
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub fork_wait: Option<u16>,
    /// How much is logged
    #[arg(long, value_enum)]
    pub log: Option<Level>,
    /// A file to append the log to, instead of standard error
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<OsString>,
    /// Lines for people, or one JSON object a line
    #[arg(long, value_enum)]
    pub log_format: Option<Format>,
    /// The library to load, where it is not beside this command
    #[arg(long, value_name = "FILE", env = "FORKGUARD_LIBRARY")]
    pub library: Option<PathBuf>,
}

/// `FORKGUARD_POLICY`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// A child's idle sessions come back by themselves, equal to what they were
    Resume,
    /// They are lost in the child, which opens new ones
    Abandon,
    /// Nothing is changed; each use of an inherited session is told, with its stack
    Report,
    /// As report, and the child is stopped with SIGABRT: for test suites
    Abort,
    /// The library steps aside
    Off,
}

/// `FORKGUARD_LOG`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// `FORKGUARD_LOG_FORMAT`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Format {
    Text,
    Json,
}

/// `forkguard status`
#[derive(Args, Debug)]
pub struct Status {
    /// Processes to show, with all they forked; all of this user's if none is given
    pub pids: Vec<u32>,
    /// One JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Draw again every SECONDS (2 if not given), until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", require_equals = true,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub watch: Option<u32>,
}

/// `forkguard metrics`
#[derive(Args, Debug)]
pub struct Metrics {
    /// Serve them over HTTP at this address, at /metrics, instead of printing them once
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<std::net::SocketAddr>,
}

/// `forkguard doctor`
#[derive(Args, Debug)]
pub struct Doctor {
    /// A running process to look at
    #[arg(long, conflicts_with = "command")]
    pub pid: Option<u32>,
    /// One JSON document instead of text
    #[arg(long)]
    pub json: bool,
    /// The program to look at, and its arguments; it is not started
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "pid")]
    pub command: Vec<OsString>,
}
