//! The modules stand in one order, written down in `src/lib.rs`, and each uses only those above it.
//!
//! Without a server or a process: the sources are read (`sources.rs`).

mod sources;

use sources::{Sources, Use};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The library and the crates it is made of.
fn read_all() -> Sources {
    let mut sources = Sources::default();
    sources.read(&root(), "forkguard", "src/lib.rs");
    for folder in std::fs::read_dir(root().join("crates"))
        .into_iter()
        .flatten()
    {
        let name = folder.unwrap().file_name().into_string().unwrap();
        let in_code = format!("forkguard_{}", name.replace('-', "_"));
        sources.read(&root(), &in_code, &format!("crates/{name}/src/lib.rs"));
    }
    sources
}

/// The sets of files that lead to each other, the largest first.
fn circles(uses: &[Use]) -> Vec<BTreeSet<&str>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in uses {
        next.entry(&one.from).or_default().push(&one.to);
    }
    let reached = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut left = vec![from];
        while let Some(file) = left.pop() {
            for to in next.get(file).into_iter().flatten() {
                if reached.insert(*to) {
                    left.push(to);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|file| (*file, reached(file))).collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for (file, from_it) in &reached {
        if !from_it.contains(file) || circles.iter().any(|circle| circle.contains(file)) {
            continue;
        }
        let leads_back = |other: &&&str| reached.get(**other).is_some_and(|r| r.contains(file));
        circles.push(from_it.iter().filter(leads_back).copied().collect());
    }
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    circles
}

/// The arrows within a circle, one a line.
fn arrows(uses: &[Use], circle: &BTreeSet<&str>) -> String {
    let within = |one: &&Use| circle.contains(&*one.from) && circle.contains(&*one.to);
    uses.iter().filter(within).map(show).collect()
}

fn show(one: &Use) -> String {
    format!(
        "\n  {}:{} uses {} of {}",
        one.from, one.line, one.name, one.to
    )
}

/// The modules and crates in their order: the table in `src/lib.rs`.
fn order() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let (_, table) = text.split_once("//! # Modules").expect("the order");
    let names = table.lines().filter_map(|line| {
        // In brackets where rustdoc has it, too: a module that only some builds have is no link.
        let cell = line.strip_prefix("//! | ")?.trim_start_matches('[');
        let (name, _) = cell.strip_prefix('`')?.split_once('`')?;
        Some(name.to_string())
    });
    names.collect()
}

/// The module of a file, or its crate; nothing for the root, which declares them.
fn module(file: &str) -> Option<String> {
    let mut parts = file.split('/');
    match (parts.next()?, parts.next()?) {
        ("src", "lib.rs") => None,
        ("src", name) => Some(name.trim_end_matches(".rs").to_string()),
        (_, name) => Some(format!("forkguard_{}", name.replace('-', "_"))),
    }
}

#[test]
fn each_module_uses_only_those_before_it() {
    let (order, sources) = (order(), read_all());
    let place = |file: &str| {
        let module = module(file)?;
        let place = order.iter().position(|name| *name == module);
        Some(place.unwrap_or_else(|| panic!("{file}: no {module} in the order of src/lib.rs")))
    };
    let files = sources.files();
    let modules: BTreeSet<_> = files.iter().filter_map(|file| place(file)).collect();
    assert_eq!(
        modules.len(),
        order.len(),
        "the order names what is not there"
    );
    let uses = sources.uses();
    let wrong: Vec<_> = uses
        .iter()
        .filter(|one| matches!((place(&one.from), place(&one.to)), (Some(a), Some(b)) if a < b))
        .map(|one| format!("{}, which comes after it in src/lib.rs", show(one)))
        .collect();
    println!(
        "{} modules, {} arrows between files",
        order.len(),
        uses.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join(""));
}

/// What the reader finds in a crate of these files, as `from: name -> to`.
fn found_in(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut sources = Sources::default();
    sources.read(folder.path(), "it", "lib.rs");
    let uses = sources.uses();
    uses.iter()
        .map(|one| format!("{}: {} -> {}", one.from, one.name, one.to))
        .collect()
}

/// What `low.rs` uses in a crate of some modules, where it is `text`.
fn found_in_low(text: &str) -> Vec<String> {
    let found = found_in(&[
        (
            "lib.rs",
            "mod high; mod low; mod re { pub use crate::high::Thing as Other; }",
        ),
        (
            "high.rs",
            "pub struct Thing; pub mod deep; pub fn make() {}",
        ),
        (
            "high/deep.rs",
            "pub const N: u8 = 1; #[macro_export] macro_rules! m { () => {} }",
        ),
        ("low.rs", text),
    ]);
    let is_its = |one: &String| one.starts_with("low.rs");
    found.into_iter().filter(is_its).collect()
}

#[test]
fn every_way_to_name_another_file_is_seen() {
    for (text, expected) in [
        (
            "use crate::high::Thing;",
            "low.rs: crate::high::Thing -> high.rs",
        ),
        (
            "use super::high::{self, deep::{N}};",
            "low.rs: super::high::deep::N -> high/deep.rs",
        ),
        (
            "use crate::high; fn f() { high::make() }",
            "low.rs: high::make -> high.rs",
        ),
        (
            "use crate::high as h; fn f() { h::deep::N; }",
            "low.rs: h::deep::N -> high/deep.rs",
        ),
        (
            "use crate::high::*; fn f() -> Thing { loop {} }",
            "low.rs: Thing -> high.rs",
        ),
        (
            "use crate::re::Other;",
            "low.rs: crate::re::Other -> high.rs",
        ),
        (
            "fn f() { let c = '\"'; crate::high::make() }",
            "low.rs: crate::high::make -> high.rs",
        ),
        (
            "mod inner { use super::super::high::Thing; }",
            "low.rs: super::super::high::Thing -> high.rs",
        ),
        (
            "macro_rules! n { () => { $crate::high::deep::N } }",
            "low.rs: crate::high::deep::N -> high/deep.rs",
        ),
        (
            "impl<'a> S<'a> { fn f(&'a self) { g::<crate::high::Thing>() } }",
            "low.rs: crate::high::Thing -> high.rs",
        ),
    ] {
        assert_eq!(found_in_low(text), [expected], "{text}");
    }
}

#[test]
fn what_only_looks_like_a_name_is_not() {
    for text in [
        "// crate::high::Thing\n/* crate::high::make() /* */ */",
        "const T: &str = \"crate::high::Thing\"; const R: &str = r#\"use crate::high::Thing;\"#;",
        "#[cfg(test)]\nmod tests { use crate::high::Thing; }",
        "use std::string::String; fn f(t: &T) { t.high.make(); String::new(); }",
        "use crate::high;",
        "struct Thing; fn f() { Thing; }",
    ] {
        assert_eq!(found_in_low(text), [""; 0], "{text}");
    }
}

#[test]
fn a_circle_is_found_and_each_of_its_arrows_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("lib.rs", "mod a; mod b; mod c; mod d;");
    write("a.rs", "pub fn f() { crate::b::f() }");
    write("b.rs", "use super::c; pub fn f() { c::f() }");
    write("c.rs", "pub fn f() { crate::a::f(); crate::d::f() }");
    write("d.rs", "pub fn f() {}");
    let mut sources = Sources::default();
    sources.read(folder.path(), "it", "lib.rs");
    let uses = sources.uses();
    let circles = circles(&uses);
    assert_eq!(circles, [BTreeSet::from(["a.rs", "b.rs", "c.rs"])]);
    let arrows = arrows(&uses, &circles[0]);
    assert_eq!(arrows.lines().count(), 4, "{arrows}");
    assert!(
        arrows.contains("c.rs:1 uses crate::a::f of a.rs"),
        "{arrows}"
    );
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let sources = read_all();
    let uses = sources.uses();
    let circles = circles(&uses);
    let largest = circles.first().map_or(0, BTreeSet::len);
    println!(
        "{} files, {} arrows, {} circles, {largest} files in the largest",
        sources.files().len(),
        uses.len(),
        circles.len()
    );
    let all: Vec<_> = circles
        .iter()
        .map(|circle| format!("{} files:{}", circle.len(), arrows(&uses, circle)))
        .collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}
