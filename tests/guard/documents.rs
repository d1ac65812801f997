//! The pages hold together: their links lead somewhere, and the files that they name are there.

use crate::support::root;
use std::path::{Path, PathBuf};

/// Every page of the repository, by its path below the root.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["", ".github/ISSUE_TEMPLATE", "docs", "docs/recipes"] {
        for file in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = file.unwrap().file_name();
            if Path::new(&name).extension().is_some_and(|end| end == "md") {
                found.push(Path::new(folder).join(name));
            }
        }
    }
    assert!(found.len() >= 17, "{found:?}");
    found
}

fn text(page: &Path) -> String {
    std::fs::read_to_string(root().join(page)).unwrap()
}

/// A heading's anchor as GitHub makes it, and mdBook.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c => c.is_alphanumeric().then_some(c),
        })
        .collect()
}

fn anchors(page: &Path) -> Vec<String> {
    text(page)
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

/// What stands between `(` and `)` behind each `]`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
}

#[test]
fn every_link_leads_somewhere() {
    let (mut seen, mut dead) = (0, Vec::new());
    for page in pages() {
        for link in links(&text(&page)) {
            // GitHub's own form, which is no file.
            if link.contains("://") || link.ends_with("security/advisories/new") {
                continue;
            }
            seen += 1;
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let is_dead = !root().join(&target).exists()
                || !fragment.is_empty() && !anchors(&target).iter().any(|name| name == fragment);
            if is_dead {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(seen > 50, "{seen} links: the reader of pages is broken");
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// Where the files are that a page may name in `code`.
const FOLDERS: [&str; 11] = [
    "src/",
    "crates/",
    "cli/",
    "tests/",
    "tools/",
    "docs/",
    "demo/",
    "benches/",
    "include/",
    "packaging/",
    "fuzz/",
];

#[test]
fn every_file_that_a_page_names_is_there() {
    let (mut seen, mut missing) = (0, Vec::new());
    for page in pages() {
        // CHANGELOG tells of what was, too.
        if page.ends_with("CHANGELOG.md") {
            continue;
        }
        let text = text(&page);
        for named in text.split('`').skip(1).step_by(2) {
            let is_path = FOLDERS.iter().any(|folder| named.starts_with(folder));
            let is_plain = !named.contains(|c: char| c.is_whitespace() || "*…()".contains(c))
                && !named.contains("NAME");
            if !is_path || !is_plain {
                continue;
            }
            seen += 1;
            if !root().join(named).exists() {
                missing.push(format!("{}: {named}", page.display()));
            }
        }
    }
    assert!(seen > 60, "{seen} names: the reader of pages is broken");
    assert!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
}

#[test]
fn the_readme_is_read_in_a_minute() {
    let lines = text(Path::new("README.md")).lines().count();
    assert!(lines <= 150, "{lines} lines: a screen and a half is 150");
}

/// The words of a text that begin so, and go on with letters and `_`.
fn words<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(start).map(move |(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

#[test]
fn the_reference_has_every_setting_and_every_function() {
    let page = text(Path::new("docs/REFERENCE.md"));
    let command = text(Path::new("cli/src/arguments.rs"));
    let settings: Vec<_> = words(&command, "FORKGUARD_")
        .filter(|name| command.contains(&format!("name: \"{name}\"")))
        .collect();
    assert!(settings.len() >= 9, "{settings:?}");
    for name in settings {
        assert!(page.contains(&format!("| `{name}` |")), "no row: {name}");
    }
    let header = text(Path::new("include/forkguard.h"));
    let functions: Vec<_> = words(&header, "forkguard_")
        .filter(|name| header.contains(&format!("{name}(")))
        .collect();
    assert!(functions.len() >= 5, "{functions:?}");
    for name in functions {
        assert!(page.contains(&format!("{name}(")), "no row: {name}");
    }
}
