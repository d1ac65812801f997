//! Which libraries a program has, and which of them are a libpq.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::report::{Level, Report};
use crate::elf;

/// An object and all that the loader brings along, each with the name of the object that needs it.
pub fn dependencies(object: &Path, environment: &Environment) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::from([(object.to_owned(), String::new())]);
    let mut waiting = VecDeque::from([object.to_owned()]);
    let folders = loader_folders(environment);
    // The largest programs have some three hundred.
    while let Some(path) = waiting.pop_front().filter(|_| found.len() < 2000) {
        let Ok(about) = elf::read(&path) else {
            continue;
        };
        let real = std::fs::canonicalize(&path).unwrap_or(path.clone());
        let origin = real
            .parent()
            .unwrap_or(Path::new("/"))
            .display()
            .to_string();
        let own = about.paths.iter().map(|folder| {
            PathBuf::from(
                folder
                    .replace("$ORIGIN", &origin)
                    .replace("${ORIGIN}", &origin),
            )
        });
        let own: Vec<PathBuf> = own.collect();
        for needed in &about.needed {
            let candidates = own.iter().chain(&folders).map(|folder| folder.join(needed));
            let fits =
                |path: &PathBuf| elf::read(path).is_ok_and(|other| other.target == about.target);
            let Some(path) = candidates.filter(|path| path.exists()).find(fits) else {
                continue;
            };
            let real = std::fs::canonicalize(&path).unwrap_or(path);
            if !found.contains_key(&real) {
                let by = object
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                found.insert(real.clone(), by);
                waiting.push_back(real);
            }
        }
    }
    found
}

/// Where the loader looks: `LD_LIBRARY_PATH`, what `ldconfig` was told, its own.
pub fn loader_folders(environment: &Environment) -> Vec<PathBuf> {
    let mut folders = environment.folders("LD_LIBRARY_PATH");
    let mut files = vec![PathBuf::from("/etc/ld.so.conf")];
    let more = std::fs::read_dir("/etc/ld.so.conf.d")
        .into_iter()
        .flatten()
        .flatten();
    let mut more: Vec<PathBuf> = more.map(|entry| entry.path()).collect();
    more.sort();
    files.extend(more);
    for file in files {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim());
        folders.extend(
            lines
                .filter(|line| line.starts_with('/'))
                .map(PathBuf::from),
        );
    }
    folders.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from));
    folders
}

/// What makes an object a libpq (src/bind.rs).
const LIBPQ: [&str; 5] = [
    "PQexec",
    "PQconnectPoll",
    "PQfinish",
    "PQstatus",
    "PQsocket",
];

/// A file that is loaded, or would be.
pub struct Object {
    /// Where this command can read it.
    pub file: PathBuf,
    /// What the program calls it.
    pub name: PathBuf,
    /// The object that needs it; may be empty.
    pub needed_by: String,
}

/// Whether the library redirects libpq's functions. On a processor that nothing is written for
/// (src/processor/other.rs) it does not, and then it exports no `dlsym` either.
pub fn redirects_libpq(library: Option<&Path>) -> bool {
    // Where there is none, or it cannot be read, that is said elsewhere.
    library
        .and_then(|library| elf::exports(library).ok())
        .is_none_or(|names| names.contains("dlsym"))
}

/// Says of each object that is a libpq what becomes of its sessions. Returns whether there is any.
pub fn check_libpqs(objects: &[Object], redirected: bool, report: &mut Report) -> bool {
    let mut any = false;
    for object in objects {
        // What is not ELF (a font, a cache of locales) is no libpq.
        let Ok(names) = elf::exports(&object.file) else {
            continue;
        };
        let (level, what) = if LIBPQ.iter().all(|name| names.contains(*name)) {
            if redirected {
                (
                    Level::Good,
                    "its functions are redirected, idle sessions come back in children",
                )
            } else {
                (
                    Level::Partly,
                    "no libpq is redirected on this processor: its sessions are lost in children, which open \
                     new ones",
                )
            }
        } else if elf::has_hidden_libpq(&object.file) {
            (
                Level::Partly,
                "a libpq is linked in statically: its sessions are lost in children, which open new ones, \
                 and its cancels are not checked",
            )
        } else {
            continue;
        };
        any = true;
        let needed_by = match object.needed_by.as_str() {
            "" => String::new(),
            by => format!(" (for {by})"),
        };
        report.add(
            level,
            "libpq",
            format!("{}{needed_by}: {what}", object.name.display()),
        );
    }
    any
}
