//! The command `forkguard`: starts programs under the library, and looks at
//! running ones from outside.
//!
//! | file | holds |
//! |---|---|
//! | `arguments.rs` | the command line; help, man pages and completions come from it |
//! | `library.rs` | where the library is, and whether it loads beside a program |
//! | `program.rs` | what a command line would execute: its file, through scripts |
//! | `elf.rs` | what an ELF file says |
//! | `run.rs` | `LD_PRELOAD`, the settings, `exec` |
//! | `processes.rs` | `/proc`: who is guarded, and whose child |
//! | `counters.rs` | the counters page of a tree of processes |
//! | `status/`, `metrics/`, `doctor/` | the sub-commands that look |
//! | `signals.rs` | signals to wait for |
//! | `completions.rs`, `manual.rs`, `version.rs` | what shells and man(1) get; `--version` |
//! | `terminal.rs` | width, colours, what may be printed |
//!
//! The settings and the layout of the page come from `forkguard_proto`, the reasons from `forkguard_sql`.

mod arguments;
mod completions;
mod counters;
mod doctor;
mod elf;
mod kernel;
mod library;
mod manual;
mod metrics;
mod processes;
mod program;
mod run;
mod signals;
mod status;
mod terminal;
mod version;

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use arguments::{Action, Arguments, LibraryPath};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

/// Something is wrong: one line for people, and the exit status that tells it to scripts.
struct Failure {
    status: i32,
    line: String,
}

impl Failure {
    fn new(status: i32, line: impl Into<String>) -> Failure {
        Failure {
            status,
            line: line.into(),
        }
    }
}

/// The exit status of a wrong command line, but for `run`'s.
const USAGE: i32 = 2;

/// The whole command. Returns its exit status, unless `run` has become the program.
pub fn main() -> i32 {
    let outcome = match asks_for_manual() {
        Some(folder) => manual::write(&folder),
        None => match Arguments::try_parse() {
            Ok(arguments) => act(arguments.action),
            Err(error) => explain(&error),
        },
    };
    outcome.unwrap_or_else(|failure| {
        terminal::print_notes(&[failure.line]);
        failure.status
    })
}

fn act(action: Action) -> Result<i32, Failure> {
    match action {
        Action::Run(run) => Err(run::run(run)),
        Action::Status(status) => status::status(&status),
        Action::Metrics(metrics) => metrics::metrics(&metrics),
        Action::Doctor(doctor) => doctor::doctor(&doctor),
        Action::Path(options) => print_path(&options),
        Action::Completions { shell } => terminal::print(&completions::script(shell)),
    }
}

/// Only a library that `run` would load is printed.
fn print_path(options: &LibraryPath) -> Result<i32, Failure> {
    let failed = |why| Failure::new(1, why);
    let library = library::find(options.library.as_deref()).map_err(failed)?;
    library::is_loadable(&library).map_err(failed)?;
    let mut line = library.into_os_string().into_vec();
    line.push(b'\n');
    terminal::print(&line)
}

/// `forkguard manual FOLDER` writes the man pages, for `make install`. It is no command of users': so
/// that neither help nor completion shows it, the parser does not know it.
fn asks_for_manual() -> Option<PathBuf> {
    let mut words = std::env::args_os().skip(1);
    let is_manual = words.next()? == "manual";
    let folder = words.next()?;
    (is_manual && words.next().is_none()).then(|| folder.into())
}

/// Help and version go where they are asked for; what is wrong becomes one line.
fn explain(error: &clap::Error) -> Result<i32, Failure> {
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if asked {
        let _ = error.print();
        return Ok(0);
    }
    // The whole command line is not read yet; its first word says whose options they are.
    let action = std::env::args_os().nth(1).unwrap_or_default();
    let command = Arguments::command();
    let action = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .find(|name| action == *name);
    let status = if action == Some("run") {
        run::REFUSED
    } else {
        USAGE
    };
    let mut line = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        "no command given: run, status, metrics, doctor, path or completions".to_owned()
    } else {
        one_line(&error.render().to_string())
    };
    let help = action.map_or(String::new(), |action| format!("{action} "));
    line.push_str(&format!("; see forkguard {help}--help"));
    Err(Failure::new(status, line))
}

/// clap's message without the usage, and without its advice to put -- before a mistyped option.
fn one_line(message: &str) -> String {
    let lines = message
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty() && !line.starts_with("tip: to pass"));
    let line = lines.collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").replace(" tip: ", "; ")
}
