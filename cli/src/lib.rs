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
//! | `status.rs`, `metrics.rs`, `doctor.rs` | the sub-commands that look |
//! | `terminal.rs` | width, colours, what may be printed |
//!
//! The settings and the layout of the page come from `forkguard_proto`, the reasons from `forkguard_sql`.

pub mod arguments;
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
mod status;
mod terminal;

use arguments::{Action, Arguments};
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
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => act(arguments.action),
        Err(error) => misused(&error),
    };
    outcome.unwrap_or_else(|failure| {
        // Standard error may be closed: there is nobody else to tell.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("forkguard: {}\n", terminal::printable(&failure.line)).as_bytes(),
        );
        failure.status
    })
}

fn act(action: Action) -> Result<i32, Failure> {
    match action {
        Action::Run(run) => Err(run::run(run)),
        Action::Status(status) => status::status(&status),
        Action::Metrics(metrics) => metrics::metrics(&metrics),
        Action::Doctor(doctor) => doctor::doctor(&doctor),
        Action::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "forkguard", &mut script);
            terminal::print(&script)
        }
        Action::Manual { folder } => manual::write(&folder),
    }
}

/// Help and version go where they are asked for; what is wrong becomes one line.
fn misused(error: &clap::Error) -> Result<i32, Failure> {
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
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut line = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        "no command given: run, status, metrics, doctor or completions".to_owned()
    } else {
        lines
            .by_ref()
            .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
            .collect::<Vec<_>>()
            .join(" ")
            .trim_start_matches("error: ")
            .to_owned()
    };
    let help = action.map_or(String::new(), |action| format!("{action} "));
    line.push_str(&format!("; see forkguard {help}--help"));
    Err(Failure::new(status, line))
}
