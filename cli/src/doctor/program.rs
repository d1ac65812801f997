//! Examines a program that is not started.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::extensions::{extension_folders, find_extensions, interpreter_of, Interpreter};
use super::objects::{check_libpqs, dependencies, redirects_libpq, Object};
use super::preloads::check_preloads;
use super::report::{Level, Report};
use super::settings::check_settings;
use crate::elf::{self, Elf};
use crate::library;
use crate::program::{self, Program};
use crate::Failure;

pub fn examine(command: &[OsString], report: &mut Report) -> Result<(), Failure> {
    let found = program::find(&command[0]).map_err(|failure| Failure::new(3, failure.line))?;
    let environment = Environment::own();
    check_program(&found, report);
    super::check_language(&found.elf, report);
    let own = check_library(&found.elf, report);
    let kind = interpreter_of(&found.binary);
    let mut objects = dependencies(&found.binary, &environment);
    if let Some(kind) = kind {
        let folders = extension_folders(kind, &found.binary, command, &environment);
        add_extensions(kind, &folders, &environment, &mut objects, report);
    }
    let objects = objects.into_iter().map(|(file, needed_by)| Object {
        name: file.clone(),
        file,
        needed_by,
    });
    let redirected = redirects_libpq(own.as_deref());
    super::check_libpq_use(
        check_libpqs(&objects.collect::<Vec<_>>(), redirected, report),
        if redirected {
            "none found; one that the program loads while it runs is redirected all the same"
        } else {
            "none found"
        },
        kind.is_some_and(|kind| kind.name == "php"),
        report,
    );
    check_preloads(own.as_deref(), &environment, report);
    let script = found.scripts.first().map(|path| path.as_os_str());
    let names = [command[0].as_os_str()].into_iter().chain(script);
    check_settings(&environment, names, report);
    Ok(())
}

/// What runs, and whether the loader would take a preload for it.
fn check_program(found: &Program, report: &mut Report) {
    let mut way: Vec<String> = found
        .scripts
        .iter()
        .map(|path| format!("{}, a script", path.display()))
        .collect();
    way.push(super::describe(&found.binary, &found.elf));
    report.add(Level::Good, "program", way.join(", run by "));
    if found.env_clears {
        report.add(
            Level::Not,
            "program",
            "the script's first line makes env drop LD_PRELOAD",
        );
    }
    if let Some(how) = program::gains_rights(&found.binary) {
        report.add(
            Level::Not,
            "program",
            format!(
                "{} is {how}: the loader ignores LD_PRELOAD there",
                found.binary.display()
            ),
        );
    }
}

/// Whether the library is there and loads into the program. Returns its file.
fn check_library(program: &Elf, report: &mut Report) -> Option<PathBuf> {
    let found =
        library::find(None).and_then(|path| library::is_loadable(&path).map(|elf| (path, elf)));
    let (path, elf) = match found {
        Ok(found) => found,
        Err(why) => {
            report.add(Level::Not, "library", why);
            return None;
        }
    };
    let shown = path.display();
    match library::suits(&elf, program) {
        Ok(()) => report.add(
            Level::Good,
            "library",
            format!("{shown} loads{}", needed_glibc(&elf)),
        ),
        Err(why) => report.add(
            Level::Not,
            "library",
            format!("{shown} does not load: the program {why}"),
        ),
    }
    Some(path)
}

fn needed_glibc(library: &Elf) -> String {
    let newest = library
        .wants
        .iter()
        .filter_map(|want| elf::glibc(want))
        .max();
    newest.map_or(String::new(), |(major, minor)| {
        format!(" (needs glibc {major}.{minor} or later)")
    })
}

/// Adds the extensions that bring a libpq, and names clients that do not use one.
fn add_extensions(
    kind: &Interpreter,
    folders: &[PathBuf],
    environment: &Environment,
    objects: &mut BTreeMap<PathBuf, String>,
    report: &mut Report,
) {
    let (extensions, all_seen) = find_extensions(kind, folders);
    for extension in extensions {
        for (path, needed_by) in dependencies(&extension, environment) {
            objects.entry(path).or_insert(needed_by);
        }
    }
    let is_installed = |client: &str| folders.iter().any(|folder| folder.join(client).is_dir());
    for client in kind.others.iter().filter(|client| is_installed(client)) {
        super::add_foreign_client(client, report);
    }
    let searched: Vec<_> = folders.iter().map(|folder| show(folder)).collect();
    let cut = if all_seen { "" } else { ", not to their end" };
    report.add(
        Level::Note,
        "extensions",
        format!(
            "looked for in {}{cut}; only --pid can tell what is loaded from elsewhere",
            super::list(&searched)
        ),
    );
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
