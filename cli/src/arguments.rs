//! The command line: help, man pages and completions come from here.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Keep forked children off their parent's PostgreSQL sessions
///
/// A program that opens PostgreSQL connections and then forks (Celery, gunicorn, uWSGI, Puma,
/// PHP-FPM and others) shares them with its children, who spoil them for each other. libforkguard, loaded
/// into the program, gives each child sessions of its own. This command starts programs under the
/// library and looks at those that run.
#[derive(Parser, Debug)]
#[command(
    name = "forkguard",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  forkguard run -- celery -A app worker     start a worker under the library
  forkguard status                          what became of the sessions, a line a process
  forkguard doctor -- celery -A app worker  what would be protected, and what not

`forkguard COMMAND --help` tells more about each; the library's variables: man 7 libforkguard."
)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Start a program under the library
    ///
    /// Puts the library first in LD_PRELOAD, beside what is there (behind a sanitizer's runtime, which
    /// must be the first), and becomes the program: same process, same signals, same exit status. What
    /// the program starts is guarded, too.
    #[command(after_help = "\
Examples:
  forkguard run -- celery -A app worker
  forkguard run --log info -- gunicorn --preload app:app
  forkguard run --policy report -- pytest    name the code that crosses a fork, change nothing

The library is the one named by --library or FORKGUARD_LIBRARY, or lies in this command's own
folder, in ../lib or in ../lib/MULTIARCH of it. An option wins over the variable of its name; a
variable that no option sets is passed on.

Exit status:
  the program's own, once it runs
  125  not started: an option is wrong, or the program can't be guarded (it is static, setuid, of
       another processor or C library; the library is missing or cannot be loaded here)
  126  not started: it cannot be executed
  127  not started: it was not found")]
    Run(Run),
    /// Show running guarded processes, as trees
    ///
    /// One line for each process that has the library loaded: its policy, the sessions it has open, and
    /// what became of those it inherited. Nobody is stopped or asked: each tree of processes counts in a
    /// page of memory that this command reads.
    #[command(after_help = "\
Columns:
  OPEN       sessions of its own that are open
  ABANDONED  inherited descriptors made dead, so that the parent's sessions are safe
  RESUMED    inherited sessions made anew at their first use, equal to what they were
  OPAQUE     inherited sessions that could not be, and are lost; the reason stands below
  HELD       cancels that would have reached the parent's statement, and were held back
  REFUSED, HANDED OVER, REPORTED are shown where one is not 0: descriptors that could not be made dead
             and are refused by the hooks; those a child was given on purpose; uses of inherited
             sessions that the policies report and abort told of
  -          nothing yet
A narrow terminal leaves out the first event, the last event and the policy, in this order; --json has all.

Examples:
  forkguard status
  forkguard status --watch=5 $(pgrep -f 'celery.*worker')
  forkguard status --json | jq '.processes[] | select(.counts.opaque > 0)'

--json is one object: version (1; it changes when a field changes its meaning or goes), at, processes
(in the table's order; parent is the pid of the one it stands below, or null; counters is read, none:
it has had no session yet, or what kept them from being read), hidden (how many processes might not be
looked at). Times are RFC 3339, in UTC.

NO_COLOR and TERM=dumb are honoured; piped, it is plain text of any width.

Exit status:
  0  all that was asked for is shown
  1  no guarded process was found, or a PID is none
  2  an option is wrong
  3  a PID may not be looked at")]
    Status(Status),
    /// Print the counters of running guarded processes in OpenMetrics text
    ///
    /// The series are one for each tree of processes that fork without exec, by the pid and the name of
    /// its root and by policy. Children that ended stay counted, so that no counter goes backwards while
    /// the tree lives.
    #[command(after_help = "\
Examples:
  forkguard metrics
  forkguard metrics --listen 127.0.0.1:9187
  forkguard metrics >f.$$ && mv f.$$ /var/lib/node_exporter/forkguard.prom   (textfile collector)

--listen answers GET /metrics until SIGTERM or SIGINT. It has no password and no TLS: an address
that others reach is served if you name it, with a warning.

Exit status:
  0  printed, or stopped by a signal
  1  the address cannot be listened on
  2  an option is wrong")]
    Metrics(Metrics),
    /// Tell what would be protected, what would not, and why
    ///
    /// Looks at a program without starting it, or at a running process without stopping it: whether the
    /// library gets in, which libpqs there are and how they are bound, who else interposes the same
    /// functions, and the settings in effect with where each comes from.
    #[command(after_help = "\
Examples:
  forkguard doctor -- celery -A app worker
  forkguard doctor --pid $(pgrep -of 'celery.*worker')

The last line is the verdict. What a program loads while it runs (plug-ins, extensions) is looked for
where Python, Ruby, PHP and Perl keep them; only --pid knows what was loaded.

--json is one object: version (1), verdict (protected, partly, not), findings (in the order of the
text: level good, note, partly or not; subject; text), settings (name, value, source default,
environment or invalid, complaint).

Exit status:
  0  protected
  1  partly protected, or not at all
  2  an option is wrong
  3  the process does not exist or may not be looked at; the program was not found")]
    Doctor(Doctor),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  source <(forkguard completions bash)
  forkguard completions fish >~/.config/fish/completions/forkguard.fish

`make install` and the packages bring them along.")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    ///
    /// Into its man1 and man7, which are made: as share/man is laid out.
    #[command(name = "manual", hide = true)]
    Manual {
        /// Where to
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

/// `forkguard run`
#[derive(Args, Debug)]
pub struct Run {
    /// The library's settings
    #[command(flatten)]
    pub settings: Settings,
    /// The program and its arguments, behind --
    #[arg(required = true, last = true, value_name = "COMMAND", num_args = 1..)]
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
    ///
    /// What `NAME (unknown_function)` in the log asks for.
    #[arg(long, value_name = "NAMES")]
    pub trust_functions: Option<OsString>,
    /// The most that one session's journal may hold, in kilobytes
    #[arg(long, value_name = "KB", value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub journal_kb: Option<u32>,
    /// The longest that a fork waits for other threads' connection attempts, in milliseconds
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub fork_wait: Option<u16>,
    /// The longest that a child waits for a session that is made anew, in seconds, without connect_timeout
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub connect_wait: Option<u16>,
    /// How much is logged
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub log: Option<Level>,
    /// A file to append the log to, instead of standard error
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<OsString>,
    /// Lines for people, or one JSON object a line
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
    ///
    /// An address and a port, as 127.0.0.1:9187; one of IPv6 in brackets. Port 0 takes a free one,
    /// which is printed.
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
    #[arg(last = true, value_name = "COMMAND")]
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
               child's first use of it, equal to what it was; what is not idle, or cannot be made equal, is \
               lost. abandon: all are lost, and the child opens new ones. report: nothing is changed, each \
               use of an inherited session is told. abort: as report, and the child is stopped with \
               SIGABRT. off: the library steps aside.",
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
        help: "Kilobytes, 0 to 1048576: the most that one session's journal may hold; past it the \
               session is lost in children.",
    },
    Variable {
        name: "FORKGUARD_EXEMPT",
        default: "none",
        help: "Names of programs in which the policy is off, separated by commas: as in argv[0], or of a \
               script, without the path. pg_basebackup always is.",
    },
    Variable {
        name: "FORKGUARD_FORK_WAIT",
        default: "100",
        help: "Milliseconds, 0 to 10000: the longest that a fork waits for other threads to be out of a \
               connection attempt; 0: never.",
    },
    Variable {
        name: "FORKGUARD_CONNECT_WAIT",
        default: "60",
        help: "Seconds, 1 to 3600: the longest that a child waits for a session that is made anew, where \
               the connection has no connect_timeout.",
    },
    Variable {
        name: "FORKGUARD_LOG",
        default: "warn",
        help: "off, error, warn, info (a line a child), debug (a line a session) or trace.",
    },
    Variable {
        name: "FORKGUARD_LOG_FILE",
        default: "standard error",
        help: "A file to append to, made with mode 0600.",
    },
    Variable {
        name: "FORKGUARD_LOG_FORMAT",
        default: "text",
        help: "text: lines for people. json: one JSON object a line.",
    },
];
