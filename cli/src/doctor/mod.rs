//! `forkguard doctor`: what would be protected, and what not.
//!
//! | file | holds |
//! |---|---|
//! | `report.rs` | findings, settings and the verdict, as text and as JSON |
//! | `environment.rs` | the root folder and the variables that a program has |
//! | `objects.rs` | the libraries that the loader brings along, and which is a libpq |
//! | `extensions.rs` | where Python, Ruby, PHP and Perl keep extensions |
//! | `preloads.rs` | other preloads that define the same functions |
//! | `settings.rs` | `FORKGUARD_…` in effect |
//! | `program.rs` | examines a program that is not started |
//! | `process.rs` | examines a running process |

mod environment;
mod extensions;
mod objects;
mod preloads;
mod process;
mod program;
mod report;
mod settings;

use std::path::Path;

use crate::arguments::Doctor;
use crate::elf::Elf;
use crate::library::{self, Libc};
use crate::terminal::{self, Screen};
use crate::{kernel, Failure};
use report::{Level, Report};

pub fn doctor(options: &Doctor) -> Result<i32, Failure> {
    let mut report = Report::new();
    match options.pid {
        Some(pid) => process::examine(pid, &mut report)?,
        None if options.command.is_empty() => {
            return Err(Failure::new(
                crate::USAGE,
                "name a program, or a process with --pid; see forkguard doctor --help",
            ))
        }
        None => program::examine(&options.command, &mut report)?,
    }
    check_kernel(&mut report);
    let text = if options.json {
        report.json()
    } else {
        report.text(&Screen::now())
    };
    terminal::print(text.as_bytes())?;
    Ok(i32::from(!report.is_protected()))
}

fn check_kernel(report: &mut Report) {
    if !kernel::wipes_on_fork() {
        report.add(
            Level::Note,
            "kernel",
            "does not wipe memory in forked children (Linux before 4.14, or an emulator): process ids are \
             compared instead, which is slower",
        );
    }
}

fn check_language(binary: &Elf, report: &mut Report) {
    if binary.go && binary.interpreter.is_some() {
        report.add(
            Level::Partly,
            "program",
            "a Go program: its own network code makes system calls that no library sees; only a libpq \
             under cgo is guarded",
        );
    }
}

/// Says what having no libpq, or PHP's way of loading it, means.
fn check_libpq_use(any: bool, without: &str, is_php: bool, report: &mut Report) {
    if !any {
        report.add(Level::Note, "libpq", without);
    } else if is_php {
        report.add(
            Level::Note,
            "libpq",
            "PHP loads its extensions with RTLD_DEEPBIND: no preload reaches them by name, but their libpq \
             is redirected where it is mapped",
        );
    }
}

fn add_foreign_client(client: &str, report: &mut Report) {
    report.add(
        Level::Note,
        "client",
        format!(
            "{client} does not use libpq: its sessions are lost in children, which open new ones"
        ),
    );
}

/// A program's file with its processor and its C library.
fn describe(path: &Path, binary: &Elf) -> String {
    let libc = match binary
        .interpreter
        .as_deref()
        .map(|name| (name, library::libc_of(name)))
    {
        None => "static".to_owned(),
        Some((_, Libc::Glibc(Some((major, minor))))) => format!("glibc {major}.{minor}"),
        Some((_, Libc::Glibc(None))) => "glibc".to_owned(),
        Some((name, Libc::Other(libc))) => format!("{libc} ({name})"),
        Some((name, Libc::Unknown)) => format!("loader {name}"),
    };
    format!("{}: {}, {libc}", path.display(), binary.target)
}

/// The first few of a list.
fn list(names: &[String]) -> String {
    const MOST: usize = 6;
    if names.is_empty() {
        return "no folder".to_owned();
    }
    let mut text = names[..names.len().min(MOST)].join(", ");
    if names.len() > MOST {
        text.push_str(&format!(" and {} more", names.len() - MOST));
    }
    text
}
