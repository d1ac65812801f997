//! The C interface, installed: header, library and pkg-config file, from C and from C++.

use crate::facts::Facts;
use crate::support::{cluster, compile_with, library, root, Outcome, Run, Transport};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The library under the names by which it is linked and loaded.
fn linkable() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // Named for the library: another test process may test another one at the same time.
        let name = library().display().to_string().replace('/', "-");
        let folder = root().join("target/tests").join(name);
        fs::create_dir_all(&folder).unwrap();
        for name in ["libforkguard.so", "libforkguard.so.0"] {
            let _ = symlink(library(), folder.join(name));
        }
        folder
    })
}

/// Builds a program linked with `-lforkguard`.
fn build(name: &str, out: &str, more: &[&str]) -> PathBuf {
    let folder = linkable().display();
    let (search, path) = (format!("-L{folder}"), format!("-Wl,-rpath,{folder}"));
    let linking = [
        search.as_str(),
        path.as_str(),
        "-Wl,--no-as-needed",
        "-lforkguard",
    ];
    compile_with(name, out, &[more, &linking].concat())
}

fn run(what: &str, transport: Transport) -> Outcome {
    let outcome = Run::new(build(
        "c_interface",
        "c_interface",
        &["-std=c99", "-pedantic"],
    ))
    .arg(cluster().conninfo(transport))
    .arg(what)
    .run();
    outcome.ok();
    outcome
}

#[test]
fn every_answer_is_as_the_header_says() {
    let outcome = run("errors", Transport::Tcp);
    outcome.check(outcome.fact("version") == VERSION, VERSION);
    let expected = [
        "forkguard_state(-1) = 0",
        "forkguard_state(closed) = 0",
        "forkguard_state(1 << 30) = 0",
        "forkguard_state(file) = 0",
        "forkguard_state(pair[0]) = 0",
        "forkguard_state(session) = 1",
        "forkguard_track(-1) = -1 EBADF",
        "forkguard_track(closed) = -1 EBADF",
        "forkguard_track(file) = -1 ENOTSOCK",
        "forkguard_track(udp) = -1 EOPNOTSUPP",
        "forkguard_track(session) = 0",
        "forkguard_track(pair[0]) = 0",
        "forkguard_state(pair[0]) = 1",
        "forkguard_state(pair[1]) = 0",
        "forkguard_release(-1) = -1 EBADF",
        "forkguard_release(closed) = -1 EBADF",
        "forkguard_release(file) = -1 ENOTSOCK",
        "forkguard_release(udp) = -1 ENOENT",
        "forkguard_release(pair[1]) = -1 ENOENT",
        "forkguard_release(session) = 0",
        "forkguard_release(session) = 0",
        "forkguard_state(session) = 1",
        "forkguard_track(session) = 0",
        "forkguard_counters(NULL, sizeof *counters) = -1 EINVAL",
        "forkguard_counters(counters, 8) = 0",
        "forkguard_counters(counters, sizeof counters) = 0",
        "forkguard_counters(counters, 0) = 0",
        "forkguard_state(session) = 0",
        "forkguard_state(session) = 0",
    ];
    outcome.check(outcome.facts("answer") == expected, &expected.join("\n"));
    outcome
        .check(outcome.fact("known") == "2 -1", "eight bytes and no more")
        .check(
            outcome.fact("unknown") == "0",
            "zero for what it does not know",
        );
}

#[test]
fn states_and_counters_tell_the_processes_apart() {
    for transport in Transport::ALL {
        let outcome = run("states", transport);
        outcome.lost_to_child(1).undisturbed();
        outcome
            .check(outcome.fact("ended") == "exit 0", "the child ends well")
            .check(
                outcome.fact("parent") == "1 1 0",
                "a session, twice; a connection that is silent",
            )
            .check(
                // Finished and closed; of the duplicate's dead socket nobody has let go.
                outcome.facts("in child") == ["2 2", "0 2"],
                "abandoned",
            )
            .check(outcome.fact("own") == "1", "the child's own")
            .check(
                outcome.fact("answer") == "forkguard_release(fd) = -1 ENOENT",
                "what is dead cannot be handed over",
            );
    }
}

#[test]
fn counters_count() {
    let outcome = run("states", Transport::Tcp);
    let parent = "opened 1, open now 1, abandoned 0, refused 0, handed over 0";
    outcome.check(
        outcome.facts("parent counts") == [parent, parent, parent],
        "the parent's: a session, whatever the number of its descriptors",
    );
    let child = [(0, 0), (1, 1), (1, 0)].map(|(opened, now)| {
        format!("opened {opened}, open now {now}, abandoned 2, refused 0, handed over 0")
    });
    outcome.check(
        outcome.facts("child counts") == child,
        "the child's: two dead numbers; then its own session opened, and closed",
    );
}

#[test]
fn a_released_session_is_the_childs() {
    for what in ["release", "release a duplicate"] {
        // Not over TLS: two heirs that speak in turn confuse its record numbers.
        for transport in [Transport::Unix, Transport::Tcp] {
            let outcome = run(what, transport);
            // "before" is said by the parent, "after" by the child.
            outcome.undisturbed().lost_to_child(1);
            outcome
                .check(outcome.facts("ended") == ["exit 0"; 3], "all end well")
                .check(outcome.fact("in child") == "1", "the child's own")
                .check(outcome.fact("heir").starts_with("answered by"), "handed on")
                .check(
                    outcome.fact("child counts").contains("abandoned 0, "),
                    "none abandoned",
                );
        }
    }
}

#[test]
fn a_session_from_elsewhere_can_be_tracked() {
    let outcome = run("track", Transport::Tcp);
    outcome
        .check(outcome.fact("untracked") == "0", "unknown at first")
        .check(outcome.fact("sent") == "-1 EPIPE", "dead in the child")
        .check(outcome.fact("server") == "waits", "alive in the parent");
}

#[test]
fn a_linked_program_is_protected_without_preload() {
    // It calls none of our functions.
    let linked = build("ways_to_fork", "ways_to_fork_linked", &[]);
    for way in ["fork", "_Fork", "double fork", "system"] {
        for transport in Transport::ALL {
            let outcome = Run::new(&linked)
                .arg(cluster().conninfo(transport))
                .arg(way)
                .run();
            outcome.ok().lost_to_child(1).undisturbed();
        }
    }
}

#[test]
fn a_linked_librarys_fork_handler_comes_after_ours() {
    let meddler = compile_with("meddler", "libmeddler.so", &["-shared", "-fPIC"]);
    let folder = meddler.parent().unwrap().display();
    let (search, path) = (format!("-L{folder}"), format!("-Wl,-rpath,{folder}"));
    let its = [
        "-rdynamic",
        "-Wl,--no-as-needed",
        search.as_str(),
        path.as_str(),
        "-lmeddler",
    ];
    let before = build("parent_undisturbed", "linked_with_meddler_before", &its);
    let after = compile_with(
        "parent_undisturbed",
        "linked_with_meddler_after",
        &[
            &[
                "-Wl,--no-as-needed",
                &format!("-L{}", linkable().display()),
                &format!("-Wl,-rpath,{}", linkable().display()),
                "-lforkguard",
            ],
            its.as_slice(),
        ]
        .concat(),
    );
    for program in [before, after] {
        let outcome = Run::new(program)
            .arg(cluster().conninfo(Transport::Tcp))
            .arg("handler")
            .env("MEDDLE", "raw")
            .run();
        outcome.ok().undisturbed();
        outcome.check(outcome.facts("meddler").len() == 3, "its handler runs");
    }
}

#[test]
fn from_cpp() {
    for standard in ["-std=c++98", "-std=c++20"] {
        let program = build(
            "cpp_interface.cpp",
            &format!("cpp_interface{standard}"),
            &[standard, "-pedantic", "-Wextra"],
        );
        let outcome = Run::new(program)
            .arg(cluster().conninfo(Transport::Tcp))
            .run();
        outcome
            .ok()
            .lost_to_child(1)
            .check(outcome.fact("version") == VERSION, VERSION)
            .check(outcome.fact("ours") == "1", "state")
            .check(outcome.fact("counters") == "0, 1", "counters")
            .check(outcome.fact("abandoned") == "1", "state in the child")
            .check(outcome.fact("parent") == "goes on", "undisturbed");
    }
}

#[test]
fn a_weak_reference_is_null_without_the_library() {
    let program = compile_with("c_weak", "c_weak", &["-std=c99", "-pedantic"]);
    for (guarded, version) in [(false, "none"), (true, VERSION)] {
        let outcome = Run::new(&program).guarded(guarded).run();
        outcome
            .ok()
            .check(outcome.fact("version") == version, version);
    }
}

/// Every file and link below a folder.
fn files(folder: &Path) -> Vec<String> {
    let outcome = Run::new("find")
        .arg(folder)
        .args(["!", "-type", "d", "-printf", "%P\\n"])
        .run();
    outcome.ok();
    let mut files: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
    files.sort_unstable();
    files
}

fn make(target: &str, variables: &[String]) {
    Run::new("make")
        .folder(root())
        .arg(target)
        .arg(format!("LIBRARY={}", library().display()))
        .args(variables)
        .run()
        .ok();
}

#[test]
fn installed_it_is_found_by_pkg_config_and_uninstalled_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("usr");
    let variables = [format!("PREFIX={}", prefix.display())];
    make("install", &variables);
    make("install", &variables); // again is no error

    let program = folder.path().join("program");
    let outcome = Run::new("sh")
        .arg("-c")
        .arg(format!(
            "gcc -std=c99 -pedantic -Wall -Werror {source} $(pkg-config --cflags --libs forkguard libpq) \
             -Wl,-rpath,{prefix}/lib -o {program} && pkg-config --modversion forkguard",
            source = root().join("tests/programs/c_interface.c").display(),
            prefix = prefix.display(),
            program = program.display(),
        ))
        .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
        .run();
    outcome
        .ok()
        .check(outcome.stdout.trim_end() == VERSION, VERSION);
    let outcome = Run::new(&program)
        .arg(cluster().conninfo(Transport::Tcp))
        .arg("states")
        .run();
    outcome.ok().lost_to_child(1).undisturbed();

    fs::remove_file(program).unwrap();
    make("uninstall", &variables);
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn staged_for_a_package() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        "PREFIX=/usr".to_owned(),
        "LIBDIR=/usr/lib/x86_64-linux-gnu".to_owned(),
        format!("DESTDIR={}", folder.path().display()),
    ];
    make("install", &variables);
    let of_version = format!("usr/lib/x86_64-linux-gnu/libforkguard.so.{VERSION}");
    let expected = [
        "usr/bin/forkguard",
        "usr/include/forkguard.h",
        "usr/lib/x86_64-linux-gnu/libforkguard.so",
        "usr/lib/x86_64-linux-gnu/libforkguard.so.0",
        &of_version,
        "usr/lib/x86_64-linux-gnu/pkgconfig/forkguard.pc",
        "usr/share/bash-completion/completions/forkguard",
        "usr/share/fish/vendor_completions.d/forkguard.fish",
        "usr/share/man/man1/forkguard-completions.1",
        "usr/share/man/man1/forkguard-doctor.1",
        "usr/share/man/man1/forkguard-metrics.1",
        "usr/share/man/man1/forkguard-path.1",
        "usr/share/man/man1/forkguard-run.1",
        "usr/share/man/man1/forkguard-status.1",
        "usr/share/man/man1/forkguard.1",
        "usr/share/man/man7/libforkguard.7",
        "usr/share/zsh/site-functions/_forkguard",
    ];
    assert_eq!(files(folder.path()), expected);
    let described = fs::read_to_string(folder.path().join(expected[5])).unwrap();
    assert!(
        !described.contains(folder.path().to_str().unwrap()),
        "{described}"
    );
    make("uninstall", &variables);
    assert_eq!(files(folder.path()), Vec::<String>::new());
}
