//! The command line: help, man pages and completions come from here.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Keep forked children off their parent's PostgreSQL sessions
///
/// A program that opens PostgreSQL connections and then forks (Celery, gunicorn, uWSGI, Puma,
/// PHP-FPM and others) shares them with its children, and each spoils them for the others. Loaded
/// into the program, libforkguard gives each child sessions of its own. This command starts programs
/// with the library and looks at those that run.
#[derive(Parser, Debug)]
#[command(
    name = "forkguard",
    version = crate::version::text(),
    max_term_width = 100,
    after_help = "\
Examples:
  forkguard run celery -A app worker     start a worker with the library
  forkguard status                       what became of the sessions
  forkguard doctor celery -A app worker  what would be protected, and what not

`forkguard COMMAND --help` tells more about each command; `man 7 libforkguard` has the library's variables."
)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Start a program with the library
    ///
    /// Puts the library first in LD_PRELOAD (behind a sanitizer's runtime, which must be the first)
    /// and becomes the program: same process, same signals, same exit status. The programs that it
    /// starts are guarded, too.
    #[command(
        override_usage = "forkguard run [OPTIONS] [--] COMMAND [ARGUMENT]...",
        after_help = "\
Examples:
  forkguard run celery -A app worker
  forkguard run --log info gunicorn --preload app:app
  forkguard run --policy report pytest   names the code that uses inherited
                                         sessions, changes nothing

Options of this command stand before COMMAND; every word from COMMAND on is the program's.

The library is the one that --library or FORKGUARD_LIBRARY names; otherwise it is looked for in this command's own folder, in ../lib and in ../lib/MULTIARCH. An option wins over the variable of its name; variables that no option sets are passed on.

Exit status:
  the program's own, once it runs
  125  not started: an option is wrong, or the program cannot be guarded (it is
       static, setuid, or built for another processor or C library; or the
       library is missing or cannot be loaded here)
  126  not started: it cannot be executed
  127  not started: it was not found"
    )]
    Run(Run),
    /// Show running guarded processes, as trees
    ///
    /// Prints a line for each process that has the library loaded: its policy, its open sessions, and
    /// what became of the sessions it inherited. No process is stopped or asked: each tree of processes
    /// keeps its counters in a page of memory, and this command reads it.
    #[command(
        override_usage = "forkguard status [OPTIONS] [PID]...",
        after_help = "\
Columns:
  OPEN       the process's own sessions that are open
  PROTECTED  inherited sessions that this process can no longer disturb: they
             stay the parent's
  RESUMED    of those, the sessions that came back at their first use, as
             sessions of its own, equal to what they were
  LOST       of those, the sessions that could not come back; the driver or pool
             opened a new one, or saw a lost connection. The line below says why
  LAST EVENT what happened last, and how long ago
  -          nothing yet

Rare columns, shown where one is not 0:
  CANCELS HELD  cancels that would have hit the parent's statement, held back
  REFUSED       inherited descriptors that could not be replaced: calls on them
                fail
  HANDED OVER   sessions that a child was given on purpose
  REPORTED      uses of inherited sessions, reported by policy report or abort

A terminal that is too narrow for all has no LAST EVENT, then no POLICY; --json has all.

Examples:
  forkguard status
  forkguard status --watch 5
  forkguard status $(pgrep -f 'celery.*worker')
  forkguard status --json | jq '.processes[] | select(.counts.opaque > 0)'

--json prints one object: version (1; it changes when a field changes its meaning or goes), at, processes (in the table's order; parent is the pid of the process above it, or null; counters is read, none if it has had no session yet, or what keeps them from being read), hidden (how many processes may not be looked at). PROTECTED, LOST and CANCELS HELD are counts.abandoned, counts.opaque and counts.cancels_held there. Times are in RFC 3339's form, in UTC.

NO_COLOR and TERM=dumb turn colours off. In a pipe the table is plain text of any width.

Exit status:
  0  everything asked for is shown
  1  no guarded process was found, or a PID is not one
  2  an option is wrong
  3  a PID may not be looked at"
    )]
    Status(Status),
    /// Print the counters of running guarded processes for Prometheus
    ///
    /// There is a series for each program's name and policy. A tree of processes that fork without exec
    /// counts together, with its children that have ended.
    #[command(
        override_usage = "forkguard metrics [OPTIONS]",
        after_help = "\
Examples:
  forkguard metrics
  forkguard metrics --listen localhost:10432
  forkguard metrics >f.$$ && mv f.$$ /var/lib/node_exporter/forkguard.prom

The last one is for node_exporter's textfile collector.

--listen answers GET /metrics and GET /healthz until SIGTERM or SIGINT, in Prometheus's classic text format or in OpenMetrics, as the client asks. It remembers trees that have ended, so that no counter falls while it runs; printed once, a sum falls when one of several trees of the same name ends. There is no password and no TLS: an address that other machines reach is served if you name it, with a warning.

Exit status:
  0  printed, or stopped by a signal
  1  the address cannot be listened on
  2  an option is wrong"
    )]
    Metrics(Metrics),
    /// Tell what would be protected, what would not, and why
    ///
    /// Examines a program without starting it, or a running process without stopping it: whether the
    /// library gets in, which libpqs there are and how they are bound, which other libraries define the
    /// same functions, and where each setting comes from.
    #[command(
        override_usage = "forkguard doctor [OPTIONS] [--] COMMAND [ARGUMENT]...\n       forkguard doctor [OPTIONS] --pid PID",
        after_help = "\
Examples:
  forkguard doctor celery -A app worker
  forkguard doctor --pid $(pgrep -of 'celery.*worker')

The last line is the verdict. What a program loads while it runs (plug-ins, extensions) is looked for where Python, Ruby, PHP and Perl keep it; only --pid knows what was loaded.

--json prints one object: version (1), verdict (protected, partly, not), findings (in the order of the text: level good, note, partly or not; subject; text), settings (name, value, source default, environment or invalid, complaint).

Exit status:
  0  protected
  1  partly protected, or not at all
  2  an option is wrong
  3  the process does not exist or may not be looked at; the program was not
     found"
    )]
    Doctor(Doctor),
    /// Print the library's path
    ///
    /// The one that `forkguard run` loads: for LD_PRELOAD in a unit file, a container or a supervisor.
    #[command(
        override_usage = "forkguard path [OPTIONS]",
        after_help = "\
Example:
  LD_PRELOAD=$(forkguard path) celery -A app worker

Exit status:
  0  printed
  1  there is no library, or it cannot be loaded
  2  an option is wrong"
    )]
    Path(LibraryPath),
    /// Print a completion script for a shell
    #[command(
        override_usage = "forkguard completions SHELL",
        after_help = "\
Examples:
  source <(forkguard completions bash)
  forkguard completions fish >~/.config/fish/completions/forkguard.fish

`make install` and the packages install them."
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// `forkguard run`
#[derive(Args, Debug)]
pub struct Run {
    /// The library's settings
    #[command(flatten)]
    pub settings: Settings,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND",
          value_hint = clap::ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// The library's settings: each is the environment's `FORKGUARD_…` of the same name
#[derive(Args, Debug, Default)]
pub struct Settings {
    /// What happens to a session that a child inherits
    #[arg(long, value_enum)]
    pub policy: Option<Policy>,
    /// Names of programs in which the policy is off, separated by commas
    #[arg(long, value_name = "NAMES")]
    pub exempt: Option<OsString>,
    /// Functions that leave a session as it is, separated by commas; * for all but PostgreSQL's own
    ///
    /// For a session that was lost with the reason unknown_function.
    #[arg(long, value_name = "NAMES")]
    pub trust_functions: Option<OsString>,
    /// The largest journal of one session, in kilobytes
    #[arg(long, value_name = "KB", value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub journal_kb: Option<u32>,
    /// The longest that a fork waits for other threads that are connecting, in milliseconds
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub fork_wait: Option<u16>,
    /// The longest that a child waits to reconnect, in seconds, without connect_timeout
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub connect_wait: Option<u16>,
    /// How much to log
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub log: Option<Level>,
    /// A file to append the log to, instead of standard error; /dev/log for syslog and journald
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<OsString>,
    /// Lines for people, or a JSON object on each line
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<Format>,
    /// The library to load, where it is not beside this command; also as FORKGUARD_LIBRARY
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
}

/// `FORKGUARD_POLICY`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// A child's idle sessions come back by themselves, equal to what they were
    Resume,
    /// All are lost in the child, which opens new ones
    Abandon,
    /// Nothing changes; each use of an inherited session is reported, with its stack
    Report,
    /// As report, and SIGABRT stops the child: for test suites
    Abort,
    /// The library does nothing
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
    #[arg(value_name = "PID")]
    pub pids: Vec<u32>,
    /// One JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Draw again every SECONDS, 2 if not given, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    pub watch: Option<u32>,
}

/// A pid behind `--watch` is an easy mistake.
fn seconds(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(seconds @ 1..=3600) => Ok(seconds),
        Ok(number) if number > 3600 => Err(format!(
            "not 1 to 3600 seconds; for process {number}: forkguard status {number} --watch"
        )),
        _ => Err("not 1 to 3600 seconds".to_owned()),
    }
}

/// `forkguard metrics`
#[derive(Args, Debug)]
pub struct Metrics {
    /// Serve over HTTP at this address, at /metrics, instead of printing once
    ///
    /// localhost:10432 is for this machine, :10432 for every address it has; an IPv6 address stands in
    /// brackets. Port 0 takes a free port, which is printed.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<crate::metrics::Address>,
    /// Series of their own for each tree of processes, by the pid of its first process
    ///
    /// Each restart of a program begins new series: for a look, not for a Prometheus that keeps them.
    #[arg(long)]
    pub by_pid: bool,
    /// Print in OpenMetrics 1.0 instead of Prometheus's classic text format
    #[arg(long, conflicts_with = "listen")]
    pub openmetrics: bool,
}

/// `forkguard path`
#[derive(Args, Debug)]
pub struct LibraryPath {
    /// The library to check, where it is not beside this command; also as FORKGUARD_LIBRARY
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
}

/// `forkguard doctor`
#[derive(Args, Debug)]
pub struct Doctor {
    /// A running process to examine
    #[arg(long, value_name = "PID", conflicts_with = "command")]
    pub pid: Option<u32>,
    /// One JSON document instead of text
    #[arg(long)]
    pub json: bool,
    /// The program to examine and its arguments; it is not started
    #[arg(trailing_var_arg = true, value_name = "COMMAND",
          value_hint = clap::ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// The library's settings, as `man 7 libforkguard` and `doctor` list them.
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// What holds where it is not set.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
}

/// Every variable that the library reads.
pub const VARIABLES: [Variable; 9] = [
    Variable {
        name: "FORKGUARD_POLICY",
        default: "resume",
        help: "What happens to a session that a child inherits. resume: an idle one comes back at the \
               child's first use of it, equal to what it was; one that is not idle, or cannot be made equal, \
               is lost. abandon: all are lost, and the child opens new ones. report: nothing changes, and \
               each use of an inherited session is reported. abort: as report, and SIGABRT stops the child. \
               off: the library does nothing.",
    },
    Variable {
        name: "FORKGUARD_TRUST_FUNCTIONS",
        default: "none",
        help: "Functions that leave a session as it is, separated by commas: name, schema.name, or * for \
               all but PostgreSQL's own.",
    },
    Variable {
        name: "FORKGUARD_JOURNAL_KB",
        default: "1024",
        help: "Kilobytes, 0 to 1048576: the largest journal of one session. A session with a larger one \
               is lost in children.",
    },
    Variable {
        name: "FORKGUARD_EXEMPT",
        default: "none",
        help: "Names of programs in which the policy is off, separated by commas: the name in argv[0], or \
               the script's, without the path. It always is in pg_basebackup.",
    },
    Variable {
        name: "FORKGUARD_FORK_WAIT",
        default: "100",
        help: "Milliseconds, 0 to 10000: the longest that a fork waits for other threads that are \
               connecting; 0: it does not wait.",
    },
    Variable {
        name: "FORKGUARD_CONNECT_WAIT",
        default: "60",
        help: "Seconds, 1 to 3600: the longest that a child waits to reconnect, where the connection has \
               no connect_timeout.",
    },
    Variable {
        name: "FORKGUARD_LOG",
        default: "warn",
        help: "off, error, warn, info (a line for each child and each session that comes back), debug or trace.",
    },
    Variable {
        name: "FORKGUARD_LOG_FILE",
        default: "standard error",
        help: "A file to append to, created with mode 0600; or /dev/log, for syslog and journald.",
    },
    Variable {
        name: "FORKGUARD_LOG_FORMAT",
        default: "text",
        help: "text: lines for people. json: a JSON object on each line.",
    },
];
