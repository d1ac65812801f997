//! The tarball: checked, used from where it was unpacked, and installed and removed as it says.

use super::{ask, build, build_plain, files, holds_the_licences, made, package, VERSION};
use crate::recipes::c::{is_guarded, shows_the_fault};
use crate::recipes::Page;
use crate::support::Run;
use std::path::Path;

#[test]
fn its_checksums_find_a_changed_byte() {
    let check = |folder: &Path| {
        Run::new("sha256sum")
            .args(["--check", "SHA256SUMS"])
            .folder(folder)
            .run()
    };
    check(made()).ok().must_say(".tar.gz: OK");

    let changed = tempfile::tempdir().unwrap();
    for name in super::names(made()) {
        std::fs::copy(made().join(&name), changed.path().join(&name)).unwrap();
    }
    let tarball = package(".tar.gz");
    let mut bytes = std::fs::read(&tarball).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(changed.path().join(tarball.file_name().unwrap()), bytes).unwrap();
    let found = check(changed.path());
    found
        .check(!found.success(), "it is not as it was")
        .must_say(".tar.gz: FAILED");
}

#[test]
fn used_where_it_lies_installed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let tarball = package(".tar.gz");
    Run::new("tar")
        .arg("-xzf")
        .arg(&tarball)
        .arg("-C")
        .arg(folder.path())
        .run()
        .ok();
    let name = tarball.file_name().unwrap().to_str().unwrap();
    let here = folder.path().join(name.strip_suffix(".tar.gz").unwrap());
    holds_the_licences(&here);
    let readme = std::fs::read_to_string(here.join("README.md")).unwrap();
    for link in readme.split("](").skip(1) {
        let file = link.split([')', '#']).next().unwrap();
        assert!(here.join(file).exists(), "README.md leads to {file}");
    }
    build_plain(folder.path());
    let plain = folder.path().join("plain");
    shows_the_fault(&ask(Run::new(&plain)));
    is_guarded(&ask(Run::new(here.join("bin/forkguard"))
        .args(["run", "--"])
        .arg(&plain)));

    let page = Page::open("c.md");
    let pages = here.join("lib/pkgconfig");
    let line = page.block("pkg-config");
    build(folder.path(), line, "app", &[("PKG_CONFIG_PATH", &pages)]);
    is_guarded(&ask(
        Run::new(folder.path().join("app")).env("LD_LIBRARY_PATH", here.join("lib"))
    ));

    // As INSTALL says, but for the place.
    let place = folder.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let text = std::fs::read_to_string(here.join("INSTALL")).unwrap();
    let says = |start: &str| {
        let line = text.lines().find(|line| line.trim().starts_with(start));
        let line = line.unwrap().replace("/usr/local", place.to_str().unwrap());
        let line = line.strip_suffix(" && ldconfig").unwrap();
        Run::new("sh").args(["-ec", line]).folder(&here).run()
    };
    says("cp ").ok();
    let command = place.join("bin/forkguard");
    Run::new(&command)
        .arg("--version")
        .run()
        .ok()
        .must_say(VERSION);
    is_guarded(&ask(Run::new(&command).args(["run", "--"]).arg(&plain)));
    says("find ").ok();
    let left = files(&place);
    assert!(left.is_empty(), "{left:?}");
}
