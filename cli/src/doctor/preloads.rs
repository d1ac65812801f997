//! Other preloaded libraries that define the same functions.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::objects::loader_folders;
use super::report::{Level, Report};
use crate::{elf, library};
use forkguard_proto::interposers;

/// Says of each other preload which of our functions it defines, and whether that keeps calls from us.
pub fn check_preloads(own: Option<&Path>, environment: &Environment, report: &mut Report) {
    let ours = own
        .and_then(|own| elf::exports(own).ok())
        .unwrap_or_default();
    let entries = preloads(environment);
    // Where ours is not among them, `forkguard run` puts it first.
    let position = entries.iter().position(|entry| is_own(entry));
    let mut seen = HashSet::new();
    for (index, entry) in entries.iter().enumerate() {
        if !is_own(entry) && seen.insert(entry) {
            let is_before = position.is_some_and(|own| index < own);
            check_preload(entry, is_before, &ours, environment, report);
        }
    }
}

fn is_own(entry: &[u8]) -> bool {
    library::is_named_so(OsStr::from_bytes(entry))
}

/// What is preloaded, in the loader's order: `LD_PRELOAD`'s entries before the file's.
fn preloads(environment: &Environment) -> Vec<Vec<u8>> {
    let list = environment.variable("LD_PRELOAD").unwrap_or_default();
    let file = environment.reach(Path::new("/etc/ld.so.preload"));
    let file = std::fs::read(file).unwrap_or_default();
    [list, &file]
        .join(&b':')
        .split(|byte| b" :\n\t".contains(byte))
        .filter(|entry| !entry.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

/// The file of a preload, which may be named without a folder.
fn preload_file(entry: &[u8], environment: &Environment) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(entry));
    if entry.contains(&b'/') {
        return Some(environment.reach(path));
    }
    let folders = loader_folders(environment).into_iter();
    folders
        .map(|folder| environment.reach(&folder.join(path)))
        .find(|path| path.exists())
}

fn check_preload(
    entry: &[u8],
    is_before: bool,
    ours: &HashSet<String>,
    environment: &Environment,
    report: &mut Report,
) {
    let shown = String::from_utf8_lossy(entry);
    let exports = preload_file(entry, environment).and_then(|file| elf::exports(&file).ok());
    let Some(exports) = exports else {
        let text = format!("{shown}: cannot tell which functions it defines");
        return report.add(Level::Note, "preload", text);
    };
    let mut shared: Vec<String> = ours.intersection(&exports).cloned().collect();
    shared.sort();
    // Looking a function up is not calling it.
    let hides_calls = shared
        .iter()
        .any(|name| name != "dlsym" && name != "dlvsym");
    let functions = super::list(&shared);
    let (level, text) = if shared.is_empty() {
        (
            Level::Good,
            format!("{shown}: defines none of our functions"),
        )
    } else if is_before && hides_calls && !interposers::passes_on(entry) {
        (
            Level::Partly,
            format!(
                "{shown} stands before the library and defines {functions} too: the library does not see calls \
                 that it does not pass on; then libpq's sessions are refused in children, and others are not \
                 protected; put the library first in LD_PRELOAD, as forkguard run does"
            ),
        )
    } else {
        (
            Level::Note,
            format!(
                "{shown} defines {functions} too: both see each call, if it passes them on (RTLD_NEXT)"
            ),
        )
    };
    report.add(level, "preload", text);
}
