//! `forkguard status` and `metrics`, on live trees of processes.

use super::{copy, folder, forkguard, is_root, refused, run};
use crate::counters::Tree;
use crate::support::{root, venv, Outcome, Policy, Run};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A Python expression of the JSON that a run printed.
#[track_caller]
fn ask(outcome: &Outcome, expression: &str) -> String {
    let program = format!("import json, sys; d = json.loads(sys.argv[1]); print({expression})");
    let answer = Run::new(venv("python"))
        .args(["-c", &program, &outcome.stdout])
        .run();
    answer.ok().stdout.trim_end().to_owned()
}

/// The metrics of one tree, as Prometheus's own parser reads them: `name value` each.
fn metrics(text: &str, pid: u32) -> Vec<(String, f64)> {
    let program = "import sys\n\
         from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
         for family in parse(sys.argv[1]):\n\
         \x20   assert family.documentation\n\
         \x20   for s in family.samples:\n\
         \x20       if s.labels.get('pid') in (sys.argv[2], None):\n\
         \x20           print(s.name, s.value, s.labels.get('command'), s.labels.get('policy'))\n";
    let answer = Run::new(venv("python"))
        .args(["-c", program, text, &pid.to_string()])
        .run();
    let lines = answer.ok().stdout.lines();
    lines
        .map(|line| {
            let mut words = line.split(' ');
            (
                words.next().unwrap().to_owned(),
                words.next().unwrap().parse().unwrap(),
            )
        })
        .collect()
}

/// Series of each tree of its own, in the format of the parser above.
const BY_PID: [&str; 3] = ["metrics", "--by-pid", "--openmetrics"];

fn value(metrics: &[(String, f64)], name: &str) -> f64 {
    let found = metrics.iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("{name} in {metrics:?}")).1
}

#[test]
fn a_daemons_heir_has_the_sessions_that_it_kept() {
    let tree = Tree::resuming();
    tree.tell(tree.pid(), "open");
    let heir = u32::try_from(tree.tell(tree.pid(), "daemon")).unwrap();
    let open = || {
        let outcome = run(&["status", "--json", &heir.to_string()]).run();
        outcome.ok();
        ask(&outcome, "d['processes'][0]['open']")
    };
    assert_eq!(open(), "1");
    tree.tell(heir, "close");
    assert_eq!(open(), "0");
}

#[test]
fn a_tree_is_told_as_it_is() {
    let tree = Tree::resuming();
    let parent = tree.pid();
    // No session yet: zeros.
    let pid = parent.to_string();
    let outcome = run(&["status", "--json", &pid]).run();
    outcome.ok();
    let first = "d['processes'][0]";
    let zeros = format!("{first}['counters'], {first}['policy'], {first}['open']");
    assert_eq!(ask(&outcome, &zeros), "none resume 0");

    for _ in 0..3 {
        tree.tell(parent, "open");
    }
    tree.tell(parent, "hold 2");
    let child = tree.fork(parent, "fork");
    assert_eq!(tree.tell(child, "use 0"), 1);
    assert_eq!(tree.tell(child, "use 2"), 0);
    let outcome = run(&["status", "--json", &pid]).run();
    outcome.ok().check(!outcome.says("\x1b"), "no colour");
    let of = |pid: u32, what: &str| {
        ask(
            &outcome,
            &format!("[p for p in d['processes'] if p['pid'] == {pid}][0]{what}"),
        )
    };
    assert_eq!(ask(&outcome, "d['version'], len(d['processes'])"), "1 2");
    assert_eq!(of(parent, "['parent']"), "None");
    assert_eq!(of(child, "['parent']"), pid);
    assert_eq!(of(parent, "['open']"), "3");
    assert_eq!(of(child, "['counts']['abandoned']"), "3");
    assert_eq!(of(child, "['counts']['resumed']"), "1");
    assert_eq!(of(child, "['counts']['opaque']"), "1");
    assert_eq!(of(child, "['open']"), "1");
    assert_eq!(of(child, "['first_event']['what']"), "abandoned");
    assert_eq!(of(child, "['last_event']['what']"), "opaque");
    assert_eq!(of(child, "['opaque_reason']"), "transaction_more");
    assert_eq!(of(child, "['opaque_detail']"), "create");
    assert!(of(child, "['opaque_text']").contains("more than read: create"));
    assert!(of(child, "['opaque_hint']").contains("before the fork"));

    // Piped: a table, plain and whole.
    let table = run(&["status", &pid]).run();
    table
        .ok()
        .check(!table.says("\x1b") && !table.says("…"), "plain, not cut")
        .must_say("lost: it was in a transaction that had done more than read: create (transaction_more)\n")
        .must_say("cure: commit or roll back before the fork\n")
        .must_say(&format!("counters {}", tree_folder(&outcome)));
    let lines: Vec<&str> = table.stdout.lines().collect();
    table.check(
        lines.len() == 5 && lines[0].starts_with("PID "),
        "two processes, a reason and a cure",
    );
    // In the order of what happens, and no word that alarms for the good case.
    let titles: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        titles[1..6],
        ["POLICY", "OPEN", "PROTECTED", "RESUMED", "LOST"]
    );
    let cells: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(cells[1..6], ["resume", "1", "3", "1", "1"], "{}", lines[2]);
    table.check(
        !table.says("ABANDONED") && !table.says("OPAQUE") && !table.says("opaque"),
        "words that do not alarm",
    );

    let before = metrics(&run(&BY_PID).run().ok().stdout, parent);
    assert_eq!(value(&before, "forkguard_processes"), 2.0);
    assert_eq!(value(&before, "forkguard_sessions_open"), 4.0);
    assert_eq!(value(&before, "forkguard_descriptors_abandoned_total"), 3.0);
    assert_eq!(value(&before, "forkguard_sessions_resumed_total"), 1.0);
    assert_eq!(value(&before, "forkguard_sessions_opaque_total"), 1.0);
    assert_eq!(value(&before, "forkguard_processes_opaque"), 1.0);
    // Whoever ends stays counted, and so he does when his slot is used again, and when the parent
    // closes all it has and moves to another page.
    tree.tell(parent, "in-turn 300");
    let after = metrics(&run(&BY_PID).run().ok().stdout, parent);
    assert_eq!(
        value(&after, "forkguard_descriptors_abandoned_total"),
        903.0
    );
    tree.tell(parent, "close-all");
    tree.tell(parent, "open");
    let moved = metrics(&run(&BY_PID).run().ok().stdout, parent);
    for (name, count) in &after {
        if name.ends_with("_total") {
            assert!(
                value(&moved, name) >= *count,
                "{name} goes backwards: {after:?} {moved:?}"
            );
        }
    }
}

/// The folder that `counters` was started with.
fn tree_folder(outcome: &Outcome) -> String {
    ask(outcome, "d['processes'][0]['command'][1]")
}

/// The terminal session of the README, live.
#[test]
fn a_celery_worker_is_told_as_it_is() {
    let folder = folder();
    let picture = folder.path().join("session.svg");
    let outcome = Run::new(venv("python"))
        .arg(root().join("tools/record-session"))
        .arg(&picture)
        .timeout(Duration::from_secs(150))
        .run();
    outcome.ok().must_say("$ forkguard status");
    let rows: Vec<Vec<&str>> = outcome
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("PID"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| !row.is_empty())
        .collect();
    outcome.check(rows.len() == 5, "a title, the worker and three processes");
    let title = &rows[0];
    let cell = |row: &[&str], name: &str| {
        let index = title.iter().position(|title| *title == name).unwrap();
        row[index].to_owned()
    };
    outcome.check(
        cell(&rows[1], "OPEN") == "3",
        "three sessions of the worker's",
    );
    for row in &rows[2..] {
        outcome
            .check(row[0].starts_with(['├', '└']), "a child")
            .check(cell(row, "PROTECTED") == "3", "all inherited are protected")
            .check(cell(row, "LOST") == "-", "none is lost");
    }
    let resumed = rows[2..]
        .iter()
        .filter(|row| cell(row, "RESUMED") != "-")
        .count();
    outcome.check(resumed > 0, "and come back");
    let drawn = std::fs::read_to_string(picture).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains("RESUMED"));
    // Viewers show it whole: no font from elsewhere, and no line past the terminal's width.
    assert!(!drawn.contains("url(\"http"), "a font from elsewhere");
    assert!(!drawn.contains("session-line-"), "a line is clipped");
    let lengths = drawn.split("textLength=\"").skip(1);
    let longest = lengths.map(|rest| rest.split('"').next().unwrap().parse::<f64>().unwrap());
    let longest = longest.fold(0.0, f64::max);
    assert!(
        (500.0..=1342.0).contains(&longest),
        "{longest}: 110 columns of 12.2"
    );
}

#[test]
fn who_may_not_look_is_told_so() {
    let sleeper = Tree::resuming();
    let pid = sleeper.pid().to_string();
    if !is_root() {
        refused(&run(&["status", "1"]).run(), 3, "may not be looked at");
        return;
    }
    let folder = folder();
    let command = folder.path().join("forkguard");
    copy(&forkguard(), &command);
    let nobody = |arguments: &[&str]| {
        Run::new("setpriv")
            .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
            .arg(&command)
            .args(arguments)
            .folder(folder.path())
            .run()
    };
    refused(&nobody(&["status", &pid]), 3, "may not be looked at");
    refused(
        &nobody(&["doctor", "--pid", &pid]),
        3,
        "may not be looked at",
    );
    let all = nobody(&["status"]);
    all.check(all.status.unwrap().code() == Some(1), "nobody has none")
        .must_say("no guarded process is running; start one with: forkguard run ")
        .must_say("processes may not be looked at");
    all.check(
        all.stderr.lines().count() == 2 && all.stdout.is_empty(),
        "two lines",
    );
    all.must_say("sudo forkguard status");
    let text = nobody(&BY_PID).ok().stdout.clone();
    assert!(value(&metrics(&text, 0), "forkguard_processes_hidden") > 0.0);
}

#[test]
fn a_page_of_another_layout_is_told() {
    let program = "import mmap, os, time\n\
         fd = os.memfd_create('forkguard-counters')\n\
         os.write(fd, b'forkgrd\\n' + (999).to_bytes(4, 'little') + b'\\x1b' * 90000)\n\
         kept = mmap.mmap(fd, 90000)\n\
         print('ready', flush=True)\n\
         time.sleep(40)\n";
    let other = Run::new(venv("python")).args(["-c", program]).start();
    assert_eq!(other.line(), "ready");
    let outcome = run(&["status", &other.pid().to_string()]).run();
    outcome
        .ok()
        .must_say("have layout 999, this command knows")
        .check(!outcome.says("\x1b"), "nothing of it is shown");
}

/// Debian's own, unpacked by tools/setup.
fn promtool(text: &str) -> Outcome {
    let promtool = root().join("target/unpacked/usr/bin/promtool");
    assert!(promtool.exists(), "run tools/setup");
    let folder = folder();
    let file = folder.path().join("metrics");
    std::fs::write(&file, text).unwrap();
    Run::new("sh")
        .args(["-c", "exec \"$0\" check metrics <\"$1\""])
        .arg(&promtool)
        .arg(&file)
        .run()
}

#[test]
fn promtool_has_no_complaint() {
    let tree = Tree::resuming();
    tree.tell(tree.pid(), "open");
    tree.tell(tree.pid(), "hold 0");
    let child = tree.fork(tree.pid(), "fork");
    assert_eq!(tree.tell(child, "use 0"), 0);
    for arguments in [&["metrics"][..], &["metrics", "--by-pid"]] {
        let text = run(arguments).run().ok().stdout.clone();
        assert!(text.contains("forkguard_processes_opaque{"), "{text}");
        let outcome = promtool(&text);
        outcome.ok().check(
            outcome.stderr.is_empty() && outcome.stdout.is_empty(),
            "no complaint",
        );
    }
    // It can fail: OpenMetrics is another format.
    let other = promtool(&run(&BY_PID).run().ok().stdout);
    other.check(!other.success() || !other.stderr.is_empty(), "it complains");
}

/// A server of metrics, until it is dropped.
struct Server {
    child: Child,
    /// Each that it says it serves at.
    addresses: Vec<SocketAddr>,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        Server::listening("127.0.0.1:0", 1, arguments)
    }

    /// At as many addresses; what else it says is a warning.
    fn listening(address: &str, count: usize, arguments: &[&str]) -> Server {
        let mut child = Command::new(forkguard())
            .args(["metrics", "--listen", address])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut addresses = Vec::new();
        while addresses.len() < count {
            let line = lines.next().expect("an address").unwrap();
            let Some(line) = line.strip_prefix("forkguard: serving http://") else {
                assert!(
                    line.contains("can be reached from other machines"),
                    "{line}"
                );
                continue;
            };
            addresses.push(line.strip_suffix("/metrics").expect(line).parse().unwrap());
        }
        Server { child, addresses }
    }

    fn ask(&self, request: &str) -> String {
        ask_at(self.addresses[0], request)
    }

    /// The text of a scrape; any format.
    fn scrape(&self, accept: &str) -> (String, String) {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
        let answer = self.ask(&request);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        (head.to_owned(), body.to_owned())
    }
}

#[track_caller]
fn ask_at(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

#[test]
fn they_are_scraped() {
    let tree = Tree::resuming();
    tree.tell(tree.pid(), "open");
    let mut server = Server::start(&["--by-pid"]);
    // Somebody who says nothing keeps nobody out.
    let slow = TcpStream::connect(server.addresses[0]).unwrap();
    let (head, body) = server.scrape(OPEN_METRICS);
    assert!(
        head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert_eq!(
        value(&metrics(&body, tree.pid()), "forkguard_sessions_open"),
        1.0
    );
    // Who does not ask gets what everybody reads.
    let (head, body) = server.scrape("*/*");
    assert!(
        head.contains("Content-Type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(
        promtool(&body).success() && !body.contains("# EOF"),
        "{body}"
    );
    let healthy = server.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        healthy.starts_with("HTTP/1.1 200 OK") && healthy.ends_with("\r\n\r\nok\n"),
        "{healthy}"
    );
    assert!(server
        .ask("GET / HTTP/1.0\r\n\r\n")
        .starts_with("HTTP/1.1 404"));
    assert!(server
        .ask("POST /metrics HTTP/1.0\r\n\r\n")
        .starts_with("HTTP/1.1 405"));
    assert!(!server
        .ask("HEAD /metrics HTTP/1.0\r\n\r\n")
        .contains("forkguard_"));
    // Too long a request, and the slow one, are cut off: five seconds it has.
    let mut stream = TcpStream::connect(server.addresses[0]).unwrap();
    let _ = stream.write_all(&[b'x'; 20_000]);
    let mut nothing = [0];
    assert!(!matches!(stream.read(&mut nothing), Ok(1)));
    slow.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    assert_eq!((&slow).read(&mut nothing).unwrap(), 0, "cut off");
    // SAFETY: takes two numbers; it is not waited for yet.
    unsafe { libc::kill(i32::try_from(server.child.id()).unwrap(), libc::SIGTERM) };
    assert_eq!(server.child.wait().unwrap().code(), Some(0));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(
        &run(&["metrics", "--listen", &address]).run(),
        1,
        "cannot listen on",
    );
}

#[test]
fn an_address_is_what_it_looks_like() {
    let says_ok = |address: SocketAddr| {
        let answer = ask_at(address, "GET /healthz HTTP/1.0\r\n\r\n");
        assert!(answer.ends_with("ok\n"), "{address}: {answer}");
    };
    // Each address that localhost has here, at one port.
    let local: Vec<SocketAddr> = std::net::ToSocketAddrs::to_socket_addrs("localhost:0")
        .unwrap()
        .filter(|address| TcpListener::bind(address).is_ok())
        .collect();
    let server = Server::listening("localhost:0", local.len(), &[]);
    assert!(server
        .addresses
        .iter()
        .all(|address| address.ip().is_loopback()));
    for address in &server.addresses {
        assert_eq!(address.port(), server.addresses[0].port());
        says_ok(*address);
    }
    // Every address: IPv4's, too.
    let server = Server::listening(":0", 1, &[]);
    let port = server.addresses[0].port();
    assert!(server.addresses[0].ip().is_unspecified());
    says_ok(SocketAddr::from(([127, 0, 0, 1], port)));
    if TcpListener::bind("[::1]:0").is_ok() {
        says_ok(format!("[::1]:{port}").parse().unwrap());
    }
}

/// The lines of one metric, without its help.
fn samples(text: &str, metric: &str) -> Vec<String> {
    let begin = format!("{metric}{{");
    let lines = text.lines().filter(|line| line.starts_with(&begin));
    lines.map(str::to_owned).collect()
}

/// A service that restarts again and again has the same series, and its counters only rise.
#[test]
fn a_restart_makes_no_series_and_no_counter_falls() {
    let server = Server::start(&[]);
    let of = |text: &str, metric: &str| {
        let ours = samples(text, metric);
        let ours: Vec<&String> = ours
            .iter()
            .filter(|line| line.contains("{command=\"counters\",policy=\"abandon\"}"))
            .collect();
        assert!(ours.len() <= 1, "one series: {ours:?}");
        ours.first().map_or(0.0, |line| {
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        })
    };
    let opened = || {
        of(
            &server.scrape("text/plain").1,
            "forkguard_sessions_opened_total",
        )
    };
    let before = opened();
    let mut highest = before;
    for turn in 1..=3 {
        let tree = Tree::start(&[], |run| run.policy(Policy::Abandon));
        tree.tell(tree.pid(), "open");
        let now = opened();
        assert!(now >= before + f64::from(turn), "{before} {turn} {now}");
        assert!(now >= highest);
        highest = now;
        drop(tree);
        assert!(opened() >= highest, "an end takes nothing away");
    }
    let text = server.scrape("text/plain").1;
    assert!(!text.contains("pid="), "{text}");
}
