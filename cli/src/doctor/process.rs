//! Examines a running process.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::extensions::interpreter_of;
use super::objects::{check_libpqs, redirects_libpq, Object};
use super::preloads::check_preloads;
use super::report::{Level, Report};
use super::settings::check_settings;
use crate::counters::{Counted, Counters};
use crate::elf::{self, Elf};
use crate::{library, processes, Failure};

/// What the kernel appends to the name of a file that was replaced or removed.
const DELETED: &str = " (deleted)";

pub fn examine(pid: u32, report: &mut Report) -> Result<(), Failure> {
    let unable = |error| cannot_look(pid, &error);
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let maps = std::fs::read(folder.join("maps")).map_err(unable)?;
    let file = std::fs::read_link(folder.join("exe")).map_err(unable)?;
    let variables = std::fs::read(folder.join("environ")).map_err(unable)?;
    let environment = Environment {
        root: folder.join("root"),
        variables: processes::variables(&variables)
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect(),
    };
    let binary = elf::read(&folder.join("exe"))
        .map_err(|error| Failure::new(3, format!("{} {error}", file.display())))?;
    report.add(Level::Good, "program", super::describe(&file, &binary));
    super::check_language(&binary, report);
    let (own, loaded) = loaded_files(&String::from_utf8_lossy(&maps));
    check_library(own.as_deref(), &binary, &environment, report);
    let own = own.map(|path| environment.reach(Path::new(path.trim_end_matches(DELETED))));
    let redirected = redirects_libpq(own.as_deref());
    let any = check_loaded(&loaded, redirected, &file, &environment, report);
    if own.is_some() {
        check_counters(pid, any, report);
    }
    check_preloads(own.as_deref(), &environment, report);
    let words = std::fs::read(folder.join("cmdline")).unwrap_or_default();
    let names = program_names(&words, interpreter_of(&file).is_some());
    check_settings(&environment, names.iter().map(OsString::as_os_str), report);
    Ok(())
}

fn cannot_look(pid: u32, error: &std::io::Error) -> Failure {
    let line = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => format!("there is no process {pid}"),
        Some(libc::EACCES | libc::EPERM) => format!(
            "process {pid} may not be looked at: {}",
            processes::who_may_look(&format!("sudo forkguard doctor --pid {pid}"))
        ),
        _ => format!("process {pid}: {error}"),
    };
    Failure::new(3, line)
}

/// Of a process's maps: our library, and every other file with code in it.
fn loaded_files(maps: &str) -> (Option<String>, BTreeSet<String>) {
    let mut own = None;
    let mut loaded = BTreeSet::new();
    for line in maps.lines() {
        let Some((path, _)) = processes::mapping(line) else {
            continue;
        };
        let rights = line.split(' ').nth(1).unwrap_or_default();
        if library::is_named_so(path.trim_end_matches(DELETED).as_ref()) {
            own = Some(path.to_owned());
        } else if path.starts_with('/') && rights.contains('x') {
            loaded.insert(path.to_owned());
        }
    }
    (own, loaded)
}

/// Whether the library is loaded; if not, why not.
fn check_library(own: Option<&str>, binary: &Elf, environment: &Environment, report: &mut Report) {
    let is_preloaded = environment.variable("LD_PRELOAD").is_some_and(|list| {
        let mut entries = list.split(|byte| b" :".contains(byte));
        entries.any(|entry| library::is_named_so(OsStr::from_bytes(entry)))
    });
    let (level, text) = match own {
        Some(path) if path.ends_with(DELETED) => (
            Level::Note,
            format!("{path}: it is loaded; its file was replaced since, and a restart takes the new one"),
        ),
        Some(path) => (Level::Good, format!("{path} is loaded")),
        None if binary.interpreter.is_none() => (
            Level::Not,
            "not loaded: no library can be loaded into a static program".to_owned(),
        ),
        None if is_preloaded => (
            Level::Not,
            "not loaded although LD_PRELOAD names it: the program is setuid or has file capabilities, or the \
             loader said why on the program's standard error; forkguard doctor PROGRAM tells more"
                .to_owned(),
        ),
        None => (
            Level::Not,
            "not loaded, and LD_PRELOAD does not name it: start the program with forkguard run".to_owned(),
        ),
    };
    report.add(level, "library", text);
}

/// Says which loaded files are clients of PostgreSQL. Returns whether one is a libpq.
fn check_loaded(
    loaded: &BTreeSet<String>,
    redirected: bool,
    program: &Path,
    environment: &Environment,
    report: &mut Report,
) -> bool {
    let objects = loaded.iter().map(|path| Object {
        file: environment.reach(Path::new(path.trim_end_matches(DELETED))),
        name: PathBuf::from(path),
        needed_by: String::new(),
    });
    let any = check_libpqs(&objects.collect::<Vec<_>>(), redirected, report);
    super::check_libpq_use(
        any,
        if redirected {
            "none is loaded yet; one that is loaded later is redirected all the same"
        } else {
            "none is loaded yet"
        },
        interpreter_of(program).is_some_and(|kind| kind.name == "php"),
        report,
    );
    // The only client of its own that has a compiled part, and so is mapped.
    if loaded.iter().any(|path| path.contains("/asyncpg/")) {
        super::add_foreign_client("asyncpg", report);
    }
    any
}

fn check_counters(pid: u32, has_libpq: bool, report: &mut Report) {
    let seen = processes::look();
    let Some(process) = seen.processes.iter().find(|process| process.pid == pid) else {
        return;
    };
    let counted = match &process.counters {
        Counters::Read(counted) => counted,
        Counters::None => {
            return report.add(Level::Note, "counters", "none yet: it has had no session")
        }
        Counters::Unreadable(why) => {
            return report.add(Level::Note, "counters", format!("not readable: {why}"))
        }
    };
    let (open, libpqs) = (Counted::open(counted), counted.libpqs);
    report.add(
        Level::Good,
        "counters",
        format!(
            "readable; policy {}, {open} sessions open, {libpqs} libpqs redirected",
            counted.policy
        ),
    );
    if has_libpq && libpqs == 0 && counted.policy != "off" {
        report.add(
            Level::Partly,
            "libpq",
            "none of them is redirected: sessions are lost in children and not resumed",
        );
    }
}

/// The names that FORKGUARD_EXEMPT is compared with, as in the library (load.rs): of the first
/// argument and, where an interpreter runs, of the script.
fn program_names(cmdline: &[u8], is_interpreter: bool) -> Vec<OsString> {
    let mut words = cmdline
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()));
    let first = words.next();
    let script = words.find(|word| !word.as_bytes().starts_with(b"-"));
    first
        .into_iter()
        .chain(script.filter(|_| is_interpreter))
        .collect()
}
