//! The detector, `FORKGUARD_POLICY=report` and `abort`: what a child does with a session of its
//! parent's is told, with the line that did it, and nothing else is; and the program goes its way
//! as without the library. `tests/programs/detector.c`, `.py` and `.rb`.

use crate::clients::said;
use crate::facts::Facts;
use crate::support::{
    cluster, compile, other_system, psycopg_compiled, python, root, script, Outcome, Run, Transport,
};
use serde_json::Value;
use std::path::Path;

/// A program of one use, told of in JSON.
fn told(run: Run, transport: Transport) -> Run {
    guarded(run, transport, "report").env("FORKGUARD_LOG_FORMAT", "json")
}

fn guarded(run: Run, transport: Transport, policy: &str) -> Run {
    run.envs(cluster().environment(transport))
        .guarded(true)
        .env("FORKGUARD_POLICY", policy)
}

fn uses(how: &str) -> Run {
    Run::new(compile("detector")).arg(how)
}

/// The reports: all that is said on standard error, one object a line.
#[track_caller]
fn reports(outcome: &Outcome) -> Vec<Value> {
    outcome
        .stderr
        .lines()
        .map(|line| {
            let report: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error}: {line}\n{outcome}"));
            outcome.check(report["event"] == "use", "a report, and nothing else");
            outcome.check(report["program"] == "forkguard", "ours");
            report
        })
        .collect()
}

#[track_caller]
fn one_report(outcome: &Outcome) -> Value {
    let reports = reports(outcome);
    outcome.check(reports.len() == 1, "one report");
    reports.into_iter().next().unwrap()
}

/// A number that the program says.
#[track_caller]
fn number(outcome: &Outcome, name: &str) -> i64 {
    outcome.fact(name).parse().unwrap()
}

fn frames<'a>(report: &'a Value, stack: &str) -> &'a [Value] {
    report[stack].as_array().map_or(&[], Vec::as_slice)
}

/// The innermost functions of the C stack with their lines, as `addr2line` names them in the
/// program's debugging information.
fn lines(report: &Value, program: &Path) -> String {
    let offsets = frames(report, "c_stack")
        .iter()
        .filter(|frame| frame["object"].as_str().map(Path::new) == Some(program))
        .map(|frame| frame["offset"].as_str().unwrap());
    let outcome = Run::new("addr2line")
        .here()
        .args(["-pfie", program.to_str().unwrap()])
        .args(offsets)
        .run();
    outcome.ok().stdout.clone()
}

/// The number of the one line of a program that holds `text`.
fn line_of(name: &str, text: &str) -> usize {
    let source = std::fs::read_to_string(root().join("tests/programs").join(name)).unwrap();
    let mut found = source
        .lines()
        .enumerate()
        .filter(|(_, line)| line.ends_with(text));
    let (number, _) = found.next().expect(text);
    assert!(found.next().is_none(), "{text} stands twice in {name}");
    number + 1
}

/// The ways to use a session: the call that is named, libpq's that it went through, and the
/// function of the program that did it.
const WAYS: [(&str, &str, Option<&str>, &str); 12] = [
    ("exec", "send", Some("PQexec"), "asks_here"),
    ("finish", "send", Some("PQfinish"), "ends_here"),
    ("reset", "send", Some("PQreset"), "child"),
    ("cancel", "PQcancel", Some("PQcancel"), "cancels_here"),
    ("cancel anew", "PQcancel", Some("PQcancel"), "cancels_anew"),
    (
        "cancel of a closed",
        "PQcancel",
        Some("PQcancel"),
        "cancels_here",
    ),
    (
        "request cancel",
        "PQrequestCancel",
        Some("PQrequestCancel"),
        "requests_cancel",
    ),
    ("send", "send", None, "sends_raw"),
    ("write", "write", None, "writes_raw"),
    ("listen", "recv", Some("PQconsumeInput"), "listens_only"),
    ("thread", "send", Some("PQexec"), "in_a_thread"),
    ("handler", "PQcancel", Some("PQcancel"), "in_a_handler"),
];

#[test]
fn each_way_to_use_a_session_is_told_with_its_line() {
    let program = compile("detector");
    for (how, call, function, guilty) in WAYS {
        for transport in [Transport::Unix, Transport::Tls] {
            let outcome = told(uses(how), transport).run();
            outcome.ok();
            let report = one_report(&outcome);
            let message = report["message"].as_str().unwrap();
            let is = |key: &str, name: &str| {
                outcome.check(report[key] == number(&outcome, name), key);
            };
            is("pid", "child");
            is("opened_by", "parent");
            outcome
                .check(report["call"] == call, "the call")
                .check(report["libpq"].as_str() == function, "libpq's function")
                .check(message.contains(function.unwrap_or(call)), "in words, too");
            if how == "cancel of a closed" {
                outcome.check(report.get("descriptor").is_none(), "no descriptor any more");
            } else {
                is("descriptor", "descriptor");
                let server = cluster().environment(transport);
                let port = &server.iter().find(|(name, _)| *name == "PGPORT").unwrap().1;
                let peer = report["peer"].as_str().unwrap();
                outcome.check(peer.ends_with(port.as_str()), "the peer");
            }
            let lines = lines(&report, &program);
            outcome
                .check(lines.contains(&format!("{guilty} at ")), &lines)
                .check(
                    lines.contains("main at ") != (how == "thread"),
                    "to the stack's end",
                );
            outcome.check(frames(&report, "python_stack").is_empty(), "no Python here");
        }
    }
}

#[test]
fn the_innermost_line_is_the_one_that_called() {
    let outcome = told(uses("finish"), Transport::Tcp).run();
    let (report, program) = (one_report(&outcome), compile("detector"));
    let innermost = frames(&report, "c_stack")[0]["object"].as_str();
    outcome.check(innermost == program.to_str(), "neither libpq's nor ours");
    let lines = lines(&report, &program);
    let guilty = line_of("detector.c", "/* the guilty line */");
    let first = lines.lines().next().unwrap();
    outcome
        .check(first.starts_with("ends_here at "), first)
        .check(first.ends_with(&format!("detector.c:{guilty}")), first);
}

/// What a run says, without what differs from run to run.
fn said_alike(outcome: &Outcome) -> Vec<&str> {
    let differs = |line: &&str| {
        !["parent: ", "child: ", "grandchild: "]
            .iter()
            .any(|own| line.starts_with(own))
    };
    outcome.stdout.lines().filter(differs).collect()
}

#[test]
fn the_program_goes_its_way_as_without_the_library() {
    let ways = WAYS.iter().map(|(how, ..)| *how);
    for how in ways.chain(["loop", "places", "grandchild", "small stack", "correct"]) {
        for transport in [Transport::Unix, Transport::Tls] {
            if transport == Transport::Tls && ["send", "write"].contains(&how) {
                continue; // in the clear on a TLS session: the server hangs up
            }
            let without = uses(how).envs(cluster().environment(transport)).run();
            let with = guarded(uses(how), transport, "report").run();
            without.ok();
            with.ok();
            let (without, with) = (said_alike(&without), (said_alike(&with), &with));
            with.1
                .check(without == with.0, &format!("as without: {without:?}"));
        }
    }
}

#[test]
fn who_uses_no_inherited_session_reads_nothing() {
    for how in ["close", "correct", "nothing", "daemon", "released"] {
        for policy in ["report", "abort"] {
            let outcome = guarded(uses(how), Transport::Tls, policy).run();
            outcome.ok();
            outcome.check(outcome.stderr.is_empty(), "nothing is said");
            if how == "released" {
                outcome.check(outcome.fact("cancel") == "1 ", "its own to cancel");
            }
        }
    }
}

#[test]
fn a_childs_own_session_is_inherited_by_its_child() {
    let outcome = told(uses("own"), Transport::Unix).run();
    let report = one_report(outcome.ok());
    outcome
        .check(
            report["opened_by"] == number(&outcome, "child"),
            "by the child",
        )
        .check(report["pid"] != report["opened_by"], "used by another");
}

#[test]
fn once_for_each_place_in_the_code() {
    let count = |how| reports(told(uses(how), Transport::Unix).run().ok()).len();
    assert_eq!(count("loop"), 1, "1000 uses in one place");
    assert_eq!(count("places"), 2, "two places, in turn");
    // Each process tells for itself.
    let outcome = told(uses("grandchild"), Transport::Unix).run();
    let pids: Vec<String> = reports(&outcome)
        .iter()
        .map(|report| report["pid"].to_string())
        .collect();
    outcome.check(
        pids == [outcome.fact("child"), outcome.fact("grandchild")],
        "each once",
    );
}

#[test]
fn a_program_with_no_end_of_places_is_told_so() {
    // Lines enough for every place in the table, each of which asks.
    let outcome = told(by("psycopg2", "places"), Transport::Unix).run();
    outcome.ok().must_say("answer=the answer");
    let full = "report: too many places in the code: this process reports no more";
    let (told, said): (Vec<Value>, Vec<Value>) = outcome
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .partition(|line: &Value| line["event"] == "use");
    outcome
        .check((600..=1024).contains(&told.len()), "places until then")
        .check(said.len() == 1 && said[0]["message"] == full, "said once");
}

#[test]
fn in_children_of_threaded_parents_and_of_no_fork_handler() {
    for of in ["threaded", "_Fork"] {
        let outcome = told(uses("exec").arg(of), Transport::Tls).run();
        let report = one_report(outcome.ok());
        let lines = lines(&report, &compile("detector"));
        outcome.check(lines.contains("asks_here at "), &lines);
    }
}

#[test]
fn a_connection_that_its_parent_only_made() {
    let outcome = told(uses("first bytes"), Transport::Tcp).run();
    let report = one_report(outcome.ok());
    outcome
        .check(
            report["descriptor"] == number(&outcome, "half made"),
            "the descriptor",
        )
        .check(
            outcome.fact("first") == "8 sent, 1 received",
            "and it went on",
        );
}

#[test]
fn on_an_alternate_stack_too_small_for_a_report() {
    let outcome = told(uses("small stack"), Transport::Unix).run();
    let report = one_report(outcome.ok());
    let lines = lines(&report, &compile("detector"));
    outcome.check(lines.contains("in_a_handler at "), &lines);
}

/// As people read it.
#[test]
fn a_report_says_what_to_do_next() {
    for level in ["off", "warn"] {
        let run = guarded(uses("exec"), Transport::Tcp, "report");
        let outcome = run.env("FORKGUARD_LOG", level).run();
        outcome.ok();
        let own = format!("forkguard[{}]: report: ", outcome.fact("child"));
        let ours = |line: &str| line.starts_with(&own);
        outcome
            .check(
                outcome.stderr.lines().all(ours),
                "each line can be told apart",
            )
            .must_say(&format!(
                "PQexec (send) on descriptor {} (127.0.0.1:",
                outcome.fact("descriptor")
            ))
            .must_say(&format!(
                "opened by process {} and inherited by fork",
                outcome.fact("parent")
            ))
            .must_say(
                "next: open this connection after the fork, or run with FORKGUARD_POLICY=resume",
            );
        // The command that it gives names the place.
        let command = outcome
            .stderr
            .lines()
            .find_map(|line| line.split_once("lines: "));
        let words: Vec<&str> = command.expect("a command").1.split(' ').collect();
        let named = Run::new(words[0]).here().args(&words[1..]).run();
        named.ok().must_say("asks_here at ");
    }
}

#[test]
fn abort_ends_the_child_before_its_first_byte() {
    for how in ["exec", "cancel", "finish", "ignored", "handled", "thread"] {
        let outcome = guarded(uses(how), Transport::Unix, "abort").run();
        outcome.ok();
        outcome
            .check(outcome.fact("child's end") == "signal 6", "SIGABRT")
            .check(outcome.facts("answer").is_empty(), "no answer")
            .must_say("this process ends with SIGABRT (FORKGUARD_POLICY=abort)");
        if how != "finish" {
            outcome.check(
                outcome.fact("parent's answer") == "here",
                "the parent goes on",
            );
        }
    }
}

/// `tests/programs/detector.py`: each line that asks is marked.
fn by(client: &str, how: &str) -> Run {
    python("detector").args([client, how])
}

#[track_caller]
fn names_the_line(outcome: &Outcome, report: &Value, client: &str) {
    let file = root().join("tests/programs/detector.py");
    let line = line_of("detector.py", &format!("# guilty: {client}"));
    let is_guilty = |frame: &Value| {
        frame["file"].as_str().map(Path::new) == Some(&file)
            && frame["line"] == line
            && frame["function"] == "use"
    };
    outcome
        .check(
            frames(report, "python_stack").iter().any(is_guilty),
            "the line",
        )
        .check(!frames(report, "c_stack").is_empty(), "and a C stack");
}

#[test]
fn python_clients_are_told_by_file_line_and_function() {
    for (client, implementation, function) in [
        ("psycopg2", "", Some("PQexec")),
        ("psycopg", psycopg_compiled(), Some("PQsendQuery")),
        ("psycopg", "python", Some("PQsendQuery")),
        ("asyncpg", "", None),
    ] {
        let run = || by(client, "loop").env("PSYCOPG_IMPL", implementation);
        let outcome = told(run(), Transport::Tcp).run();
        outcome.ok();
        let all = reports(&outcome);
        // asyncpg prepares first, by a line of asyncio's that is none of a driver.
        let places = if client == "asyncpg" { 1..=3 } else { 1..=1 };
        outcome.check(places.contains(&all.len()), "once for a hundred uses");
        for report in &all {
            names_the_line(&outcome, report, client);
            outcome.check(report["libpq"].as_str() == function, "what was called");
        }
        outcome
            .must_say("answer=the answer")
            .must_say("exitcode=0")
            .must_say("after=the answer");

        let aborted = guarded(run(), Transport::Tcp, "abort").run();
        aborted.ok();
        let line = line_of("detector.py", &format!("# guilty: {client}"));
        aborted
            .must_say("exitcode=-6")
            .must_say("after=the answer")
            .must_say(&format!("detector.py\", line {line} in use"))
            .check(!aborted.says("answer=the answer\tpid"), "nothing was asked");
    }
}

/// A later CPython than is known: in the root of `tools/test-glibc` for sid.
#[test]
fn of_a_python_that_is_not_known_it_says_so() {
    let later = |root: &Path| {
        let names = std::fs::read_dir(root.join("usr/bin")).unwrap();
        let names = names.filter_map(|file| file.unwrap().file_name().into_string().ok());
        let is_later = |name: &String| {
            let minor = name.strip_prefix("python3.");
            minor.is_some_and(|minor| minor.parse().is_ok_and(|minor: u32| minor > 14))
        };
        names.filter(is_later).max()
    };
    let Some(interpreter) = other_system().and_then(later) else {
        eprintln!("not tested: it needs a later CPython, as `tools/test-glibc sid` has");
        return;
    };
    let run = script(interpreter, "detector.py")
        .args(["psycopg", "loop"])
        .env("PSYCOPG_IMPL", "python");
    let outcome = told(run, Transport::Tcp).run();
    outcome
        .ok()
        .must_say("answer=the answer")
        .must_say("exitcode=0")
        .must_say("after=the answer");
    let reports = reports(&outcome);
    outcome.check(!reports.is_empty(), "it is told of");
    for report in reports {
        let missing = "this version of CPython is not known here (3.11 to 3.14 are)";
        outcome
            .check(report["python_missing"] == missing, "why")
            .check(!frames(&report, "c_stack").is_empty(), "and a C stack");
    }
}

/// Of generators, coroutines, threads, C's callbacks, bodies, handlers; deep ones, traced ones, with
/// names of every kind of character.
#[test]
fn python_frames_are_those_that_the_interpreter_tells() {
    let outcome = guarded(python("frames"), Transport::Tcp, "report").run();
    outcome.ok();
    let expected = outcome
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("expected: "));
    let told = outcome
        .stderr
        .lines()
        .filter_map(|line| line.split_once(": report:   python: "));
    let (expected, told): (Vec<&str>, Vec<&str>) =
        (expected.collect(), told.map(|(_, frame)| frame).collect());
    outcome
        .check(expected.len() > 200, "all of them")
        .check(expected == told, &format!("the same: {told:#?}"));
}

#[test]
fn a_celery_task_is_told_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    // One task, and nobody else speaks: the worker's parent is idle.
    let run = python("celery_client")
        .arg(folder.path())
        .args(["1", "25"])
        .env("DEMO_DATABASE", "postgresql+psycopg2://")
        .env("PYTHONPATH", root().join("demo"))
        .env("TMPDIR", folder.path());
    let outcome = told(run, Transport::Tls).run();
    outcome.ok();
    let done = said(&outcome, "done");
    outcome.check(
        done.len() == 1 && done[0].is("right", "True"),
        "the task goes its way",
    );
    let file = root().join("demo/tasks.py");
    let in_task = |report: &Value| {
        frames(report, "python_stack").iter().any(|frame| {
            frame["file"].as_str().map(Path::new) == Some(&file)
                && frame["function"] == "times_seven"
        })
    };
    // The worker's own lines are on standard error, too.
    let reports = outcome
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    outcome.check(
        reports.into_iter().any(|report: Value| in_task(&report)),
        "the task's line",
    );
}

#[test]
fn ruby_is_told_by_its_c_stack() {
    let outcome = told(script("ruby", "detector.rb"), Transport::Unix).run();
    outcome
        .ok()
        .must_say("answer=the answer")
        .must_say("after=the answer");
    let report = one_report(&outcome);
    let names = |part: &str| {
        frames(&report, "c_stack").iter().any(|frame| {
            let object = frame["object"].as_str().unwrap();
            frame["function"]
                .as_str()
                .is_some_and(|name| name.starts_with(part))
                || object.contains(part)
        })
    };
    outcome
        .check(frames(&report, "python_stack").is_empty(), "no Python")
        .check(
            report.get("python_missing").is_none(),
            "and none is missing",
        )
        .check(names("pg_ext.so"), "the extension")
        .check(names("rb_") && names("libruby"), "and Ruby's own calls");
}
