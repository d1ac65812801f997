//! Every libpq of a process is found, whoever loads it and when, and each call to it passes the
//! shim, once: at level `trace` the library says so. And the loader's answers stay ld.so's own.

use crate::facts::Facts;
use crate::libpq_names::libpqs;
use crate::support::{cluster, compile_with, library, python, venv, Outcome, Run, Transport};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn conninfo() -> String {
    cluster().conninfo(Transport::Tcp)
}

/// How many calls of a function passed the shims.
fn passed(outcome: &Outcome, function: &str) -> usize {
    let call = format!("]: {function} of libpq ");
    outcome
        .stderr
        .lines()
        .filter(|line| line.contains(&call))
        .count()
}

/// What is said of a libpq when it is found: entry points, slots.
fn found(outcome: &Outcome) -> Vec<&str> {
    outcome
        .stderr
        .lines()
        .filter_map(|line| line.split_once("]: libpq ").map(|(_, rest)| rest))
        .filter(|rest| rest.contains(" entry points redirected"))
        .collect()
}

/// Not linked to libpq.
fn loaded() -> Run {
    Run::new(compile_with("loaded", "loaded", &["-Wl,--as-needed"]))
}

fn shared(name: &str, out: &str, more: &[&str]) -> PathBuf {
    compile_with(name, out, &[&["-shared", "-fPIC"], more].concat())
}

fn plugin() -> PathBuf {
    let inner = shared("wrap", "libinner_plugin.so", &["-Wl,--as-needed"]);
    assert_eq!(inner.file_name().unwrap(), "libinner_plugin.so");
    shared("plugin", "libplugin.so", &["-Wl,-rpath,$ORIGIN"])
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_linked_program_passes_the_gate_however_it_is_bound() {
    let ways: [(&str, &[&str]); 5] = [
        ("lazy", &["-Wl,-z,lazy"]),
        ("now", &["-Wl,-z,now,-z,relro"]),
        ("without PIE", &["-no-pie", "-Wl,-z,lazy"]),
        ("without PIE, now", &["-no-pie", "-Wl,-z,now"]),
        ("without PLT", &["-fno-plt"]),
    ];
    for (way, arguments) in ways {
        let name = format!("binding_{}", way.replace([' ', ','], "_"));
        let program = compile_with("binding", &name, arguments);
        for guarded in [false, true] {
            let outcome = Run::new(&program)
                .arg(conninfo())
                .env("FORKGUARD_LOG", "trace")
                .guarded(guarded)
                .run();
            outcome.ok();
            for (fact, answer) in [
                ("call", "1"),
                ("pointer", "2"),
                ("dlsym", "3"),
                ("same", "1"),
            ] {
                outcome.check(outcome.fact(fact) == answer, way);
            }
            let calls = ["PQexec", "PQtransactionStatus", "PQfinish", "PQconnectdb"];
            let expected = if guarded { [3, 1, 1, 1] } else { [0; 4] };
            outcome.check(
                calls.map(|call| passed(&outcome, call)) == expected,
                "each call passes its shim once",
            );
        }
    }
}

#[test]
fn a_weak_reference_to_what_a_libpq_lacks_stays_null() {
    let program = compile_with("binding", "binding_weak", &["-DWEAK"]);
    for guarded in [false, true] {
        let outcome = Run::new(&program).arg(conninfo()).guarded(guarded).run();
        outcome.ok().check(outcome.fact("weak") == "null", "null");
    }
}

#[test]
fn each_of_several_libpqs_gets_its_own_calls() {
    let libpqs = libpqs();
    let [debian, wheel, newer] = [0, 1, 2].map(|index| text(&libpqs[index]));
    let proxy = proxy();
    // Debian's for all to see, and a wheel beside it; a wheel loaded global hands Debian's calls
    // to itself, as ld.so has it; two wheels; all, with one that passes its calls on to Debian's.
    let sets: [(&str, &[&str]); 5] = [
        ("local", &[debian, wheel]),
        ("global", &[debian, wheel]),
        ("local", &[wheel, newer]),
        ("global", &[newer, debian]),
        ("local", &[wheel, newer, debian, text(&proxy)]),
    ];
    for (how, set) in sets {
        let run = |guarded| {
            loaded()
                .args(["each", &conninfo(), how])
                .args(set)
                .env("FORKGUARD_LOG", "trace")
                .guarded(guarded)
                .run()
        };
        let (unguarded, guarded) = (run(false), run(true));
        guarded
            .check(
                guarded.status == unguarded.status,
                "ends as without the library",
            )
            .check(
                guarded.facts("libpq") == unguarded.facts("libpq"),
                "the same answers by the same versions",
            )
            .check(found(&guarded).len() == set.len(), "all are found");
        if how == "local" {
            guarded.ok();
            for index in 0..set.len() {
                guarded.must_say(&format!("PQexec of libpq {index}"));
            }
        }
    }
}

/// A libpq whose tables share a segment with its code, and that has the older table of hashes.
fn proxy() -> PathBuf {
    shared(
        "proxy",
        "libproxy.so",
        &[
            "-Wl,--as-needed",
            "-Wl,-z,noseparate-code",
            "-Wl,--hash-style=sysv",
        ],
    )
}

#[test]
fn pages_are_given_back_as_they_were() {
    for libpq in [proxy()].into_iter().chain(libpqs()) {
        let run = |guarded| {
            loaded()
                .arg("protection")
                .arg(libpq.canonicalize().unwrap()) // as /proc/self/maps has it
                .env("FORKGUARD_LOG", "debug")
                .guarded(guarded)
                .run()
        };
        let (unguarded, guarded) = (run(false), run(true));
        guarded.ok().check(found(&guarded).len() == 1, "found");
        guarded.check(
            !guarded.facts("pages").is_empty()
                && guarded.facts("pages") == unguarded.facts("pages"),
            "the same protection",
        );
    }
}

#[test]
fn a_plug_in_passes_the_gate_however_it_is_loaded() {
    for how in ["lazy", "deep"] {
        for guarded in [false, true] {
            let outcome = loaded()
                .args(["plugin", &conninfo(), how])
                .arg(plugin())
                .env("FORKGUARD_LOG", "trace")
                .guarded(guarded)
                .run();
            outcome
                .ok()
                .check(outcome.fact("plugin") == "from the plug-in", "answered")
                .check(
                    outcome.fact("look") == "inner, next yes, default yes",
                    "the caller is who it was",
                )
                .check(passed(&outcome, "PQexec") == usize::from(guarded), "once");
        }
    }
}

#[test]
fn a_constructor_may_wait_for_a_thread_that_uses_libpq() {
    for how in ["lazy", "deep"] {
        let outcome = loaded()
            .args(["plugin", &conninfo(), how])
            .arg(plugin())
            .env("CONSTRUCT", conninfo())
            .guarded(true)
            .run();
        outcome
            .ok()
            .check(outcome.fact("thread") == "from the plug-in", "answered")
            .check(outcome.fact("constructed") == "yes", "not stuck");
    }
}

#[test]
fn errors_are_the_loaders_own() {
    let run = |guarded| loaded().arg("errors").guarded(guarded).run();
    let (unguarded, guarded) = (run(false), run(true));
    guarded
        .ok()
        .check(guarded.stdout == unguarded.stdout, "word for word");
    guarded
        .check(guarded.facts("dlvsym in libc").len() == 2, "every call")
        .check(guarded.fact("errno") == "1234", "errno is kept");
}

#[test]
fn a_program_without_libpq_sees_none() {
    let outcome = loaded()
        .arg("nothing")
        .env("FORKGUARD_LOG", "debug")
        .guarded(true)
        .run();
    outcome
        .ok()
        .check(outcome.fact("default") == "null", "no PQexec")
        .check(outcome.stderr.is_empty(), "nothing found");
}

#[test]
fn with_the_policy_off_or_exempt_nothing_is_redirected() {
    let program = compile_with("binding", "binding_off", &[]);
    for (variable, value) in [
        ("FORKGUARD_POLICY", "off"),
        ("FORKGUARD_EXEMPT", "binding_off"),
    ] {
        let outcome = Run::new(&program)
            .arg(conninfo())
            .env("FORKGUARD_LOG", "trace")
            .env(variable, value)
            .guarded(true)
            .run();
        outcome
            .ok()
            .check(found(&outcome).is_empty(), "none found")
            .check(passed(&outcome, "PQexec") == 0, "no call passes");
    }
}

/// Runs a program bound now with other libraries before or behind ours.
fn preloaded(preload: &str) -> Outcome {
    let program = compile_with("binding", "binding_preloaded", &["-Wl,-z,now"]);
    Run::new(program)
        .arg(conninfo())
        // To compare addresses makes no sense here: PQfinish has two.
        .arg("wrapped")
        .env("FORKGUARD_LOG", "trace")
        .env("LD_PRELOAD", preload)
        .run()
}

#[test]
fn other_interposers_are_called_once_before_us_or_behind() {
    let wrap = shared("wrap", "libwrap.so", &["-Wl,--as-needed"]);
    let outer = shared("outer", "libouter.so", &["-O2", "-Wl,--as-needed"]);
    let ours = library();
    for preload in [
        format!("{} {}", wrap.display(), ours.display()),
        format!("{} {}", ours.display(), wrap.display()),
    ] {
        let outcome = preloaded(&preload);
        outcome
            .ok()
            .check(outcome.fact("wrapped") == "1", "theirs, once")
            .check(passed(&outcome, "PQfinish") == 1, "ours, once");
    }
    let unguarded = preloaded(text(&outer));
    unguarded
        .ok()
        .check(unguarded.fact("asked") == "yes", "theirs");
    for preload in [
        format!("{} {}", outer.display(), ours.display()),
        format!("{} {}", ours.display(), outer.display()),
    ] {
        let outcome = preloaded(&preload);
        outcome
            .ok()
            .check(outcome.fact("asked") == "yes", "theirs")
            .check(passed(&outcome, "PQexec") == 3, "ours");
    }
}

#[test]
fn an_allocator_that_looks_symbols_up_while_it_begins_still_begins() {
    let unpacked = crate::support::root().join("target/unpacked/usr/lib/x86_64-linux-gnu");
    let allocator = unpacked.join("libjemalloc.so.2").display().to_string();
    assert!(Path::new(&allocator).exists(), "run tools/setup");
    let ours = library();
    for preload in [
        format!("{allocator} {}", ours.display()),
        format!("{} {allocator}", ours.display()),
    ] {
        let outcome = preloaded(&preload);
        outcome
            .ok()
            .check(passed(&outcome, "PQexec") == 3, "passes the shim");
    }
}

#[test]
fn a_resolver_that_calls_dlsym_while_the_program_is_relocated_does_no_harm() {
    let resolver = shared(
        "resolver",
        "libresolver.so",
        &["-fno-plt", "-Wl,--as-needed", "-Wl,-z,now"],
    );
    let folder = resolver.parent().unwrap().display();
    let program = compile_with(
        "resolved",
        "resolved",
        &[
            &format!("-L{folder}"),
            &format!("-Wl,-rpath,{folder}"),
            "-lresolver",
        ],
    );
    for guarded in [false, true] {
        let outcome = Run::new(&program).guarded(guarded).run();
        outcome.ok().check(outcome.fact("resolved") == "42", "42");
    }
}

#[test]
fn a_libpq_may_come_and_go_while_another_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("libpq-copy.so");
    std::fs::copy(&libpqs()[0], &copy).unwrap();
    let outcome = loaded()
        // By their paths: the copy answers to the same name.
        .args(["again", &conninfo(), text(&libpqs()[0]), text(&copy)])
        .env("FORKGUARD_LOG", "debug")
        .guarded(true)
        .timeout(Duration::from_secs(100))
        .run();
    outcome
        .ok()
        .check(outcome.fact("gone") == "1000", "unloaded each time")
        .check(outcome.fact("connections") == "some", "the other works");
    let copies = found(&outcome)
        .iter()
        .filter(|said| said.contains("libpq-copy.so"))
        .count();
    outcome.check(copies == 1000, "found each time");
}

#[test]
fn a_ninth_libpq_is_left_alone_and_works() {
    let folder = tempfile::tempdir().unwrap();
    let copies: Vec<PathBuf> = (0..10)
        .map(|number| {
            let copy = folder.path().join(format!("libpq-{number}.so"));
            std::fs::copy(&libpqs()[0], &copy).unwrap();
            copy
        })
        .collect();
    let outcome = loaded()
        .args(["each", &conninfo(), "local"])
        .args(&copies)
        .guarded(true)
        .run();
    outcome
        .ok()
        .check(
            outcome.facts("libpq") == ["150018 answer"; 10].map(|_| outcome.facts("libpq")[0]),
            "all answer",
        )
        .check(outcome.facts("libpq").len() == 10, "ten")
        .check(
            outcome.stderr.lines().count() == 1,
            "one line about those that are left alone",
        )
        .must_say("more than 8 libpqs at once");
}

#[test]
fn a_newer_libpq_is_told_of() {
    let proxy = shared(
        "proxy",
        "libproxy_newer.so",
        &["-DNEWER", "-Wl,--as-needed"],
    );
    let outcome = loaded()
        .args(["each", &conninfo(), "local"])
        .arg(proxy)
        .guarded(true)
        .run();
    outcome
        .ok()
        .check(outcome.facts("libpq").len() == 1, "it works")
        .check(outcome.stderr.lines().count() == 1, "one line")
        .must_say("libproxy_newer.so is newer than this library: calls to lo_brandnew, PQbrandNew are not seen");
}

#[test]
fn children_of_threaded_programs_are_not_stuck_in_the_loader() {
    // Another thread loads and unloads, and the child calls dlsym; another thread calls dlsym,
    // and the child walks the list of objects.
    for what in [text(&libpqs()[0]), "walk"] {
        for guarded in [false, true] {
            let outcome = loaded()
                .args(["forks", what])
                .guarded(guarded)
                .timeout(Duration::from_secs(100))
                .run();
            outcome.ok().check(
                outcome.fact("forks") == "300 well, 0 hung, 0 other",
                "all children end well",
            );
        }
    }
}

#[test]
fn every_driver_passes_the_gate() {
    for (driver, implementation) in [
        ("psycopg2", ""),
        ("psycopg", "binary"),
        ("psycopg", "python"),
    ] {
        let outcome = python("passes")
            .arg(driver)
            .env("PSYCOPG_IMPL", implementation)
            .env("FORKGUARD_LOG", "trace")
            .envs(cluster().environment(Transport::Tcp))
            .guarded(true)
            .run();
        outcome
            .ok()
            .check(outcome.fact("answer") == "42", "answered")
            .check(found(&outcome).len() == 1, "one libpq");
        for function in [
            "PQconnectPoll",
            "PQstatus",
            "PQfinish",
            "PQgetCancel",
            "PQcancel",
        ] {
            outcome.check(passed(&outcome, function) > 0, function);
        }
        let asks = ["PQexec", "PQexecParams", "PQsendQuery", "PQsendQueryParams"];
        outcome.check(
            asks.iter().any(|function| passed(&outcome, function) > 0),
            "its questions",
        );
    }
    assert!(venv("python").exists());
}
