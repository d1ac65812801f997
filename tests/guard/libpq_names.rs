//! The table of libpq's functions against the libpqs that are here, and against libpq-fe.h.

use crate::support::root;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

/// Every libpq of this machine that the tests use: Debian's and the wheels'.
pub fn libpqs() -> Vec<PathBuf> {
    let output = Command::new("find")
        .arg(root().join("target/venv/lib"))
        .args(["-path", "*_binary.libs/libpq-*"])
        .output()
        .expect("find");
    let mut found: Vec<PathBuf> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(PathBuf::from)
        .collect();
    found.sort_unstable();
    found.insert(0, "/usr/lib/x86_64-linux-gnu/libpq.so.5".into());
    assert_eq!(found.len(), 3, "tools/setup brings two: {found:?}");
    found
}

/// The table: each name with its class and number of arguments.
fn table() -> BTreeMap<String, (String, Option<usize>)> {
    let text = std::fs::read_to_string(root().join("src/libpq/entry_points.rs")).unwrap();
    let start = text.find(" redirected {\n").unwrap();
    let end = start + text[start..].find("pub(crate) use").unwrap();
    let mut class = "";
    let mut found = BTreeMap::new();
    for line in text[start..end].lines() {
        let line = line.split("//").next().unwrap().trim();
        if let Some(name) = line.strip_suffix(" {") {
            class = name;
            continue;
        }
        for entry in line.split(',').map(str::trim) {
            let mut words = entry.split_whitespace();
            let Some(name) = words.next().filter(|name| !name.contains(['}', ';'])) else {
                continue;
            };
            let arity = words.next().map(|number| number.parse().unwrap());
            let twice = found.insert(name.to_owned(), (class.to_owned(), arity));
            assert!(twice.is_none(), "{name} stands twice");
        }
    }
    found
}

#[test]
fn every_exported_name_is_in_the_table() {
    let table = table();
    let mut exported = BTreeSet::new();
    for libpq in libpqs() {
        let output = Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(&libpq)
            .output()
            .expect("nm (Debian: binutils)");
        let text = String::from_utf8(output.stdout).unwrap();
        let names: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2)?.split('@').next())
            .collect();
        assert!(names.len() > 180, "{}: {names:?}", libpq.display());
        for name in names {
            assert!(
                table.contains_key(name),
                "{name} of {} is in no class",
                libpq.display()
            );
            exported.insert(name.to_owned());
        }
    }
    let unknown: Vec<_> = table
        .keys()
        .filter(|name| !exported.contains(*name))
        .collect();
    assert!(unknown.is_empty(), "no libpq here has {unknown:?}");
}

#[test]
fn arities_are_the_headers() {
    let table = table();
    let mut checked = 0;
    for header in ["libpq-fe.h", "libpq-events.h"] {
        // Debian's libpq-dev. `gcc -E` leaves declarations alone.
        let output = Command::new("gcc")
            .args(["-E", "-P"])
            .arg(format!("/usr/include/postgresql/{header}"))
            .output()
            .expect("gcc");
        let text = String::from_utf8(output.stdout).unwrap();
        for declaration in text.split(';').filter(|text| !text.contains('{')) {
            let flat = declaration.split_whitespace().collect::<Vec<_>>().join(" ");
            let Some((before, arguments)) = flat.split_once('(') else {
                continue;
            };
            let name = before.rsplit([' ', '*']).next().unwrap();
            let Some((_, Some(arity))) = table.get(name) else {
                continue;
            };
            let arguments = arguments.trim_end_matches(')');
            let count = match arguments {
                "void" => 0,
                _ => arguments.split(',').count(),
            };
            assert_eq!(*arity, count, "{flat}");
            assert!(
                !arguments.contains("float") && !arguments.contains("double"),
                "not of the integer class: {flat}"
            );
            checked += 1;
        }
    }
    assert!(checked > 150, "{checked} checked");
}
