//! Where an interpreter keeps its extensions, and which of them bring a libpq.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::environment::Environment;

/// An interpreter whose extensions bring libpq along.
pub struct Interpreter {
    /// What its program's name begins with.
    pub name: &'static str,
    /// How far below its folders an extension may lie.
    depth: usize,
    /// Clients that are not libpq, by their folder.
    pub others: &'static [&'static str],
}

const INTERPRETERS: [Interpreter; 4] = [
    Interpreter {
        name: "python",
        depth: 2,
        others: &["asyncpg", "pg8000"],
    },
    Interpreter {
        name: "ruby",
        depth: 7,
        others: &[],
    },
    Interpreter {
        name: "php",
        depth: 2,
        others: &[],
    },
    Interpreter {
        name: "perl",
        depth: 6,
        others: &[],
    },
];

/// The interpreter that a program is, by its file's name.
pub fn interpreter_of(binary: &Path) -> Option<&'static Interpreter> {
    let name = binary.file_name()?.to_str()?;
    INTERPRETERS.iter().find(|kind| name.starts_with(kind.name))
}

/// The folders in which an interpreter looks for extensions.
pub fn extension_folders(
    kind: &Interpreter,
    binary: &Path,
    command: &[OsString],
    environment: &Environment,
) -> Vec<PathBuf> {
    let mut folders = match kind.name {
        "python" => python_folders(binary, environment),
        "ruby" => ruby_folders(binary, environment),
        "php" => php_folders(binary, command),
        _ => perl_folders(binary, environment),
    };
    folders.dedup();
    folders
}

/// The folder that `bin` is in, of a program as it was called. Python finds its virtual environment by it.
fn called_prefix(binary: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(binary).ok()?;
    Some(path.parent()?.parent()?.to_owned())
}

/// The same, with links followed.
fn real_prefix(binary: &Path) -> Option<PathBuf> {
    called_prefix(&std::fs::canonicalize(binary).ok()?)
}

/// Folders below a prefix that match a pattern.
fn below(prefix: &Option<PathBuf>, pattern: &str) -> Vec<PathBuf> {
    let prefix = prefix.as_ref().map(|prefix| prefix.display().to_string());
    prefix.map_or(Vec::new(), |prefix| {
        matching(&format!("{prefix}/{pattern}"))
    })
}

fn python_folders(binary: &Path, environment: &Environment) -> Vec<PathBuf> {
    let (called, real) = (called_prefix(binary), real_prefix(binary));
    let mut folders = environment.folders("PYTHONPATH");
    let venv = called
        .as_ref()
        .and_then(|prefix| std::fs::read_to_string(prefix.join("pyvenv.cfg")).ok());
    if venv.is_some() {
        folders.extend(below(&called, "lib/python3*/site-packages"));
    }
    let sees_system = |venv: String| {
        venv.to_ascii_lowercase()
            .contains("include-system-site-packages = true")
    };
    if venv.is_none_or(sees_system) {
        folders.extend(below(&real, "lib/python3*/site-packages"));
        folders.extend(below(&real, "lib/python3/dist-packages"));
        folders.extend(matching("/usr/local/lib/python3*/dist-packages"));
        if let Some(home) = environment.variable("HOME") {
            folders.extend(matching(&format!(
                "{}/.local/lib/python3*/site-packages",
                String::from_utf8_lossy(home)
            )));
        }
    }
    folders
}

fn ruby_folders(binary: &Path, environment: &Environment) -> Vec<PathBuf> {
    let real = real_prefix(binary);
    [
        environment.folders("GEM_HOME"),
        environment.folders("GEM_PATH"),
        below(&real, "lib/*/ruby/vendor_ruby"),
        below(&real, "lib/ruby/gems"),
        matching("/var/lib/gems"),
    ]
    .concat()
}

/// The one that `-d extension_dir=…` names, or PHP's own.
fn php_folders(binary: &Path, command: &[OsString]) -> Vec<PathBuf> {
    let named: Vec<PathBuf> = command
        .iter()
        .filter_map(|word| {
            let value = word.to_str()?.strip_prefix("extension_dir=")?;
            Some(PathBuf::from(value.trim_matches('"')))
        })
        .collect();
    if !named.is_empty() {
        return named;
    }
    let real = real_prefix(binary);
    [
        below(&real, "lib/php/*"),
        below(&real, "lib/php/extensions/*"),
    ]
    .concat()
}

fn perl_folders(binary: &Path, environment: &Environment) -> Vec<PathBuf> {
    [
        environment.folders("PERL5LIB"),
        below(&real_prefix(binary), "lib/*/perl5"),
        matching("/usr/local/lib/*/perl"),
    ]
    .concat()
}

/// Folders that match a pattern, in which a `*` stands for any name or any rest of one.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for folder in found {
            match part.split_once('*') {
                None => next.push(folder.join(part)),
                Some((before, after)) => {
                    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
                    let names =
                        entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
                    let mut names: Vec<String> = names
                        .filter(|name| name.starts_with(before) && name.ends_with(after))
                        .collect();
                    names.sort();
                    next.extend(names.into_iter().map(|name| folder.join(name)));
                }
            }
        }
        found = next;
    }
    found.retain(|folder| folder.is_dir());
    found
}

/// What the file of a libpq, or of an extension that is linked with one, begins with.
const LIBPQ_USERS: [&str; 9] = [
    "libpq-",
    "libpq.",
    "_psycopg.",
    "pq.",
    "_pg.",
    "pg_ext.",
    "pgsql.",
    "pdo_pgsql.",
    "Pg.",
];

/// Files in these folders that are a libpq or are linked with one, and whether all files were seen:
/// of a tree with too many of them the rest is left out.
pub fn find_extensions(kind: &Interpreter, folders: &[PathBuf]) -> (Vec<PathBuf>, bool) {
    // A large virtual environment has so many.
    const MOST: usize = 100_000;
    let mut found = Vec::new();
    let mut waiting: VecDeque<(PathBuf, usize)> =
        folders.iter().map(|folder| (folder.clone(), 1)).collect();
    let mut entries = 0;
    while let Some((folder, level)) = waiting.pop_front() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            entries += 1;
            if entries > MOST {
                return (found, false);
            }
            // A link is not followed: it may lead up again.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if level < kind.depth {
                    waiting.push_back((entry.path(), level + 1));
                }
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let uses_libpq = LIBPQ_USERS.iter().any(|known| name.starts_with(known));
            if uses_libpq && name.contains(".so") {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    (found, true)
}
