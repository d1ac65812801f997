//! What `doctor` knows of a program's surroundings: its root folder and its environment.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the program runs, or would run.
pub struct Environment {
    /// `/proc/PID/root` of a running process; empty for a program that is not started.
    pub root: PathBuf,
    /// `NAME=value` each.
    pub variables: Vec<Vec<u8>>,
}

impl Environment {
    /// This command's own, which a program would inherit.
    pub fn own() -> Environment {
        Environment {
            root: PathBuf::new(),
            variables: std::env::vars_os()
                .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
                .collect(),
        }
    }

    /// A variable's value; an empty value counts as unset.
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        let mut values = self
            .variables
            .iter()
            .filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        values.next().filter(|value| !value.is_empty())
    }

    /// The folders that a variable lists, separated by colons.
    pub fn folders(&self, name: &str) -> Vec<PathBuf> {
        let value = self.variable(name).unwrap_or_default();
        let folders = value
            .split(|byte| *byte == b':')
            .filter(|folder| !folder.is_empty());
        folders
            .map(|folder| PathBuf::from(OsStr::from_bytes(folder)))
            .collect()
    }

    /// A path of the program's, as this command can open it.
    pub fn reach(&self, path: &Path) -> PathBuf {
        match path.strip_prefix("/") {
            Ok(below) if !self.root.as_os_str().is_empty() => self.root.join(below),
            _ => path.to_owned(),
        }
    }
}
