//! Each package, from its make target to its use where nothing of the sources is at hand, and out
//! again. What they start is the program of `docs/recipes/c.md`, or Celery.

mod deb;
mod tarball;
mod wheel;

use crate::recipes::Page;
use crate::support::{cluster, root, Outcome, Run, Transport};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `make packages` into a folder, on what `make build` has built for all tests.
fn make(folder: &Path, umask: &str) {
    Run::new("sh")
        .args(["-ec", &format!("umask {umask}; exec make \"$@\""), "sh"])
        .args(["-s", "-o", "setup", "-o", "build", "packages"])
        .env("PACKAGES", folder)
        .folder(root())
        // Five seconds on a quiet machine, most of them xz's.
        .timeout(Duration::from_secs(240))
        .run()
        .ok();
}

/// The folder with the packages, made once.
fn made() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = root().join("target/tests/packages");
        let _ = std::fs::remove_dir_all(&folder);
        make(&folder, "022");
        folder
    })
}

/// The one with this end to its name.
fn package(end: &str) -> PathBuf {
    let names: Vec<_> = names(made())
        .into_iter()
        .filter(|n| n.ends_with(end))
        .collect();
    assert_eq!(names.len(), 1, "one {end}: {names:?}");
    made().join(&names[0])
}

/// Of a folder's files.
fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

#[test]
fn two_builds_give_the_same_bytes() {
    let again = tempfile::tempdir().unwrap();
    make(again.path(), "077");
    let names = names(made());
    assert_eq!(names, self::names(again.path()));
    assert_eq!(names.len(), 4, "three packages and their sums: {names:?}");
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for name in names {
        assert!(
            std::fs::read(made().join(&name)).unwrap()
                == std::fs::read(again.path().join(&name)).unwrap(),
            "{name} is another one"
        );
        assert!(readme.contains(&name), "README.md installs no {name}");
    }
}

const LICENCE: &str = "MIT OR Apache-2.0";

#[test]
fn every_manifest_names_the_licence() {
    let said = Run::new("cargo")
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .folder(root())
        .run();
    let metadata: serde_json::Value = serde_json::from_str(&said.ok().stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert_eq!(packages.len(), 9, "the workspace");
    for package in packages {
        assert_eq!(package["license"], LICENCE, "{}", package["name"]);
    }
}

/// The texts lie in the folder, as in the sources.
fn holds_the_licences(folder: &Path) {
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let text = |folder: &Path| std::fs::read_to_string(folder.join(name)).expect(name);
        assert!(text(folder) == text(root()), "{name} in {folder:?}");
    }
}

/// The page's program, in a folder, built by the page's line or by one without the library.
fn build(folder: &Path, line: &str, out: &str, variables: &[(&str, &Path)]) {
    std::fs::write(folder.join("app.c"), Page::open("c.md").block("app.c")).unwrap();
    Run::new("sh")
        .args(["-ec", line])
        .folder(folder)
        .envs(variables.iter().copied())
        .run()
        .ok();
    if out != "app" {
        std::fs::rename(folder.join("app"), folder.join(out)).unwrap();
    }
}

/// Without the library: `plain` in the folder.
fn build_plain(folder: &Path) {
    let line = "cc app.c $(pkg-config --cflags --libs libpq) -o app";
    build(folder, line, "plain", &[]);
}

/// A run with the server's address, at the policy that is the default, with a line for each child.
fn ask(run: Run) -> Outcome {
    run.envs(cluster().environment(Transport::Tcp))
        .env("FORKGUARD_POLICY", "")
        .env("FORKGUARD_LOG", "info")
        .run()
}

/// Every path below a folder but for those below `except`: what a removal must bring back.
fn listing(folder: &Path, except: &[&str]) -> BTreeSet<PathBuf> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap();
            if except.iter().any(|except| name.starts_with(except)) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path.clone());
            }
            found.insert(name.to_owned());
        }
    }
    found
}

/// The files of it alone: pip takes away no folder that it made on its way to another.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = listing(folder, &[]);
    found.retain(|path| !folder.join(path).is_dir());
    found
}

/// Nothing more than before, and nothing less.
#[track_caller]
fn same(before: &BTreeSet<PathBuf>, after: &BTreeSet<PathBuf>) {
    let difference: Vec<_> = before.symmetric_difference(after).collect();
    assert!(difference.is_empty(), "left behind or lost: {difference:?}");
}
