//! The Debian package, in a Debian with nothing in it but apt and libpq (`tools/setup` makes its
//! archive).

use super::{ask, build, build_plain, listing, package, same, VERSION};
use crate::recipes::c::{is_guarded, shows_the_fault};
use crate::recipes::Page;
use crate::support::{compile, root, Run};
use std::path::Path;
use std::time::Duration;

/// A run in the root. It has the machine's loopback, and none of its files.
fn inside(clean: &Path, command: &[&str]) -> Run {
    // The mounts are this run's own, and end with it.
    let script =
        "mount -t proc proc \"$1/proc\"; mount --rbind /dev \"$1/dev\"; exec chroot \"$@\"";
    Run::new(compile("under"))
        .args(["own mounts", "/bin/sh", "-ec", script, "sh"])
        .arg(clean)
        .args(command)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .timeout(Duration::from_secs(180)) // dpkg writes through to the disk, which may be busy
}

#[test]
fn installed_in_a_clean_root_used_and_removed() {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("THE DEBIAN PACKAGE IS NOT TESTED: chroot and mount want root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clean = folder.path();
    Run::new("tar")
        .args(["-x", "--exclude=./dev/*", "-C"])
        .arg(clean)
        .arg("-f")
        .arg(root().join("target/clean-root.tar")) // missing: run tools/setup
        .timeout(Duration::from_secs(180))
        .run()
        .ok();
    let srv = clean.join("srv");
    std::fs::copy(package(".deb"), srv.join("package.deb")).unwrap();
    // Built outside, by this machine's compiler: a compiler would be most of the root.
    build_plain(&srv);
    // What is dpkg's and apt's own; ldconfig makes its caches anew.
    let except = [
        "srv",
        "proc",
        "dev",
        "var/lib/dpkg",
        "var/lib/apt",
        "var/log",
        "var/cache",
    ];
    let before = listing(clean, &except);

    shows_the_fault(&ask(inside(clean, &["/srv/plain"])));
    inside(clean, &["apt-get", "install", "-y", "/srv/package.deb"])
        .run()
        .ok();
    let depends = inside(
        clean,
        &["dpkg-query", "-W", "-f=${Depends}", "libforkguard"],
    )
    .run();
    depends.ok().must_say("libc6 (>= 2.").must_say("libgcc-s1");
    let altered = inside(clean, &["dpkg", "--verify", "libforkguard"]).run();
    altered
        .ok()
        .check(altered.stdout.is_empty(), "all as packed");

    inside(clean, &["forkguard", "--version"])
        .run()
        .ok()
        .must_say(VERSION);
    inside(clean, &["forkguard", "run", "--", "/bin/true"])
        .run()
        .ok();
    is_guarded(&ask(inside(
        clean,
        &["forkguard", "run", "--", "/srv/plain"],
    )));
    inside(clean, &["ldconfig", "-p"])
        .run()
        .ok()
        .must_say("libforkguard.so.0");
    for file in [
        "man/man1/forkguard.1.gz",
        "man/man1/forkguard-run.1.gz",
        "man/man7/libforkguard.7.gz",
        "bash-completion/completions/forkguard",
        "zsh/vendor-completions/_forkguard",
        "fish/vendor_completions.d/forkguard.fish",
        "doc/libforkguard/README.md",
        "doc/libforkguard/docs/TROUBLESHOOTING.md",
        "doc/libforkguard/THIRD-PARTY.gz",
    ] {
        let file = clean.join("usr/share").join(file);
        assert!(std::fs::metadata(&file).unwrap().len() > 100, "{file:?}");
    }
    let copyright = clean.join("usr/share/doc/libforkguard/copyright");
    let copyright = std::fs::read_to_string(copyright).unwrap();
    assert!(copyright.contains("\nLicense: MIT or Apache-2.0\n"));
    let mit = std::fs::read_to_string(root().join("LICENSE-MIT")).unwrap();
    for line in mit.lines().skip(4) {
        assert!(copyright.contains(line), "{line}");
    }
    let documents = clean.join("usr/share/doc/libforkguard");
    let apache = std::fs::read_to_string(documents.join("LICENSE-APACHE")).unwrap();
    assert!(apache.contains("Version 2.0, January 2004"));

    let pages = clean.join(format!(
        "usr/lib/{}-linux-gnu/pkgconfig",
        std::env::consts::ARCH
    ));
    let everything = Path::new("yes"); // also what pkg-config takes for the compiler's own folders
    build(
        &srv,
        // libpq's from this machine, forkguard's from the root.
        &Page::open("c.md").block("pkg-config").replace(
            "$(pkg-config --cflags --libs forkguard libpq)",
            "$(pkg-config --cflags --libs forkguard) $(env -i /usr/bin/pkg-config --cflags --libs libpq)",
        ),
        "app",
        &[
            ("PKG_CONFIG_LIBDIR", &pages),
            ("PKG_CONFIG_SYSROOT_DIR", clean),
            ("PKG_CONFIG_ALLOW_SYSTEM_CFLAGS", everything),
            ("PKG_CONFIG_ALLOW_SYSTEM_LIBS", everything),
        ],
    );
    is_guarded(&ask(inside(clean, &["/srv/app"])));

    inside(clean, &["dpkg", "-r", "libforkguard"]).run().ok();
    same(&before, &listing(clean, &except));
    let gone = inside(clean, &["dpkg", "-s", "libforkguard"]).run();
    gone.check(!gone.success(), "dpkg has forgotten it");
}

/// Debian's own judge. What is overridden, and why, says packaging/lintian-overrides.
#[test]
fn lintian_has_nothing_to_say() {
    let said = Run::new("lintian")
        .args(["--no-cfg", "--allow-root", "--fail-on", "error,warning"])
        .arg(package(".deb"))
        .timeout(Duration::from_secs(240)) // four seconds of work
        .run();
    said.ok().check(said.stdout.is_empty(), "not a word");
}
