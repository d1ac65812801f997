//! `make bench`: what the library costs, with and without it side by side in
//! one run. Prints the tables of docs/PERFORMANCE.md.
//!
//! Each measurement is taken in a process without the library and in one with
//! it, in turn, and the median of the turns is shown: a noisy machine moves
//! both. Nothing here passes or fails.

use forkguard_test_support as support;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;
use support::{cluster, Transport};

/// Turns with and without. Odd, for the median.
const TURNS: usize = 7;

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// How a program is run.
#[derive(Clone, Copy, PartialEq)]
enum With {
    Nothing,
    /// The library in memory, its policy off: no handlers are registered.
    PolicyOff,
    Library,
}

impl With {
    fn set(self, command: &mut Command) {
        command
            .env_remove("LD_PRELOAD")
            .env_remove("FORKGUARD_POLICY");
        if self != With::Nothing {
            command.env("LD_PRELOAD", support::library());
        }
        if self == With::PolicyOff {
            command.env("FORKGUARD_POLICY", "off");
        }
    }
}

/// A program of this folder, and how it reaches the server.
struct Program {
    path: PathBuf,
    transport: Transport,
}

impl Program {
    fn build(name: &str, libraries: &[&str]) -> Program {
        let folder = support::root().join("target/tests");
        std::fs::create_dir_all(&folder).expect("target/tests");
        let path = folder.join(name);
        let built = Command::new("cc")
            .args(["-O2", "-Wall", "-Werror", "-o"])
            .arg(&path)
            .arg(support::root().join(format!("benches/{name}.c")))
            .args(libraries)
            .status()
            .expect("cc");
        assert!(built.success(), "benches/{name}.c does not compile");
        Program {
            path,
            transport: Transport::Unix,
        }
    }

    /// What a run of it prints.
    fn numbers(&self, arguments: &[&str], with: With) -> Vec<f64> {
        let mut command = Command::new(&self.path);
        command.envs(cluster().environment(self.transport));
        printed(command.args(arguments), with)
            .split_whitespace()
            .map(|number| number.parse().expect("a number"))
            .collect()
    }

    fn one(&self, arguments: &[&str], with: With) -> f64 {
        self.numbers(arguments, with)[0]
    }
}

fn printed(command: &mut Command, with: With) -> String {
    with.set(command);
    let output = command.output().expect("the program runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Medians of several measurements, taken in turn.
fn in_turn<const N: usize>(
    program: &Program,
    turns: usize,
    what: [(&[&str], With); N],
) -> [f64; N] {
    let mut results = [(); N].map(|()| Vec::new());
    for _ in 0..turns {
        for (results, (arguments, with)) in results.iter_mut().zip(what) {
            results.push(program.one(arguments, with));
        }
    }
    results.map(median)
}

fn us(ns: f64) -> String {
    format!("{:.1} µs", ns / 1000.0)
}

/// More turns: what the handlers add is less than what the layout of a
/// process's memory moves a fork by.
fn fork_with_none(program: &Program) {
    let fork: &[&str] = &["fork", "0", "exit"];
    let what = [
        (fork, With::Nothing),
        (fork, With::PolicyOff),
        (fork, With::Library),
    ];
    let [bare, off, guarded] = in_turn(program, 5 * TURNS, what);
    println!("| fork with no session | | added |\n|---|---|---|");
    println!("| without the library | {} | |", us(bare));
    println!(
        "| library in memory, policy `off` | {} | {} |",
        us(off),
        us(off - bare)
    );
    println!(
        "| guarded | {} | {} by the handlers |\n",
        us(guarded),
        us(guarded - off)
    );
}

fn forks(program: &Program) {
    println!("| sessions | fork | fork, child closes them | fork, guarded | a session: close | a session: guarded | ratio beyond 25 µs |");
    println!("|---|---|---|---|---|---|---|");
    for sessions in [1, 10, 100, 1000] {
        let count = sessions.to_string();
        let [bare, closing, guarded] = in_turn(
            program,
            TURNS,
            [
                (&["fork", &count, "exit"], With::Nothing),
                (&["fork", &count, "close"], With::Nothing),
                (&["fork", &count, "exit"], With::Library),
            ],
        );
        let each = |ns: f64| format!("{:.0} ns", (ns - bare) / f64::from(sessions));
        let ratio = ((guarded - bare - 25_000.0) / (closing - bare)).max(0.0);
        println!(
            "| {sessions} | {} | {} | {} | {} | {} | {ratio:.2} |",
            us(bare),
            us(closing),
            us(guarded),
            each(closing),
            each(guarded)
        );
    }
}

fn calls(program: &Program) {
    println!("\n| call that concerns no session | without | with | added |");
    println!("|---|---|---|---|");
    for call in ["send", "write", "close", "connect", "dlsym"] {
        let [without, with] = in_turn(
            program,
            TURNS,
            [(&[call], With::Nothing), (&[call], With::Library)],
        );
        println!(
            "| `{call}` | {without:.1} ns | {with:.1} ns | {:+.1} ns |",
            with - without
        );
    }
}

/// Threads that wait in no call count for nothing at a fork.
fn fork_with_threads(program: &Program) {
    let threads: &[&str] = &["threads"];
    let what = [(threads, With::Nothing), (threads, With::Library)];
    let [without, with] = in_turn(program, TURNS, what);
    println!("\n| fork | without | with | added |\n|---|---|---|---|");
    println!(
        "| 4 threads have connected and wait, 4 sessions | {} | {} | {} |",
        us(without),
        us(with),
        us(with - without)
    );
}

/// What passing the shims costs: a call that needs no server, and whole queries.
fn shims(program: &Program) {
    println!("\n| call on a session of this process's own | without | with | added | ratio |");
    println!("|---|---|---|---|---|");
    let row = |name: &str, arguments: &[&str], turns| {
        let what = [(arguments, With::Nothing), (arguments, With::Library)];
        let [without, with] = in_turn(program, turns, what);
        let (added, ratio) = (with - without, with / without);
        println!("| `{name}` | {without:.1} ns | {with:.1} ns | {added:+.1} ns | {ratio:.3} |");
    };
    for call in ["PQtransactionStatus", "PQflush"] {
        row(call, &["call", call], TURNS);
    }
    for sql in [
        "SELECT 1",
        "SELECT relname FROM pg_class WHERE oid = 1259",
        "SET work_mem = '5MB'",
    ] {
        row(&format!("PQexec: {sql}"), &["exec", sql], 3 * TURNS);
    }
}

/// `pgbench -S` through the Unix socket: how many transactions a second are left.
fn pgbench() {
    let run = |arguments: &[&str], with| {
        let mut command = Command::new("pgbench");
        command.envs(cluster().environment(Transport::Unix));
        printed(command.args(arguments), with)
    };
    run(&["-i", "-q"], With::Nothing);
    println!("\n| `pgbench -S` | without | with | ratio |\n|---|---|---|---|");
    for protocol in ["simple", "prepared"] {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        let tps = |with| {
            let text = run(&["-n", "-S", "-T", "1", "-M", protocol], with);
            let rest = text.split("tps = ").nth(1).expect("tps");
            rest.split(' ')
                .next()
                .and_then(|tps| tps.parse().ok())
                .expect("a number")
        };
        // Many short turns, each in the other order than the last: what else the machine
        // does comes and goes more slowly.
        for turn in 0..3 * TURNS {
            if turn % 2 == 0 {
                without.push(tps(With::Nothing));
                with.push(tps(With::Library));
            } else {
                with.push(tps(With::Library));
                without.push(tps(With::Nothing));
            }
        }
        let ratios = with
            .iter()
            .zip(&without)
            .map(|(with, without): (&f64, &f64)| with / without);
        let ratio = median(ratios.collect());
        let (without, with) = (median(without), median(with));
        println!("| {protocol} | {without:.0} a second | {with:.0} a second | {ratio:.4} |");
    }
}

/// A child's first query: on a connection of its own, and on one that it inherited.
fn resumes(sessions: &mut Program) {
    println!("\n| child's first query | statements | `PQconnectdb` | and prepared | inherited | ratio | beside prepared |");
    println!("|---|---|---|---|---|---|---|");
    for transport in [Transport::Unix, Transport::Tls] {
        sessions.transport = transport;
        for statements in ["0", "1", "100"] {
            let mut results = [Vec::new(), Vec::new(), Vec::new()];
            for _ in 0..TURNS {
                let numbers = sessions.numbers(&["resume", statements], With::Library);
                for (results, number) in results.iter_mut().zip(numbers) {
                    results.push(number);
                }
            }
            let [fresh, prepared, inherited] = results.map(median);
            println!(
                "| {transport:?} | {statements} | {} | {} | {} | {:.3} | {:.3} |",
                us(fresh),
                us(prepared),
                us(inherited),
                inherited / fresh,
                inherited / prepared
            );
        }
    }
}

/// What a million commands leave behind.
fn growth(program: &Program) {
    let of = |with| program.one(&["memory"], with);
    let (without, with) = (of(With::Nothing), of(With::Library));
    println!(
        "\n| heap after 1,000,000 `PQexec` | {without:+} bytes | {with:+} bytes | {:+} bytes |",
        with - without
    );
}

/// `/bin/true`, from its start to its end.
fn load() {
    const STARTS: usize = 100;
    let round = |with: With| {
        let start = Instant::now();
        for _ in 0..STARTS {
            let mut command = Command::new("/bin/true");
            with.set(command.stdin(Stdio::null()));
            assert!(command.status().expect("/bin/true").success());
        }
        start.elapsed().as_secs_f64() * 1e6 / STARTS as f64
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        without.push(round(With::Nothing));
        with.push(round(With::Library));
    }
    let (without, with) = (median(without), median(with));
    println!("\n| | without | with | added |\n|---|---|---|---|");
    println!(
        "| `/bin/true` | {without:.0} µs | {with:.0} µs | {:+.0} µs |",
        with - without
    );
}

/// Memory of a process that only waits, in KB: what is its own (Private_*), and
/// all that is resident.
fn memory() {
    let of = |with: With| {
        let mut command = Command::new("/bin/cat");
        with.set(command.stdin(Stdio::piped()).stdout(Stdio::null()));
        let mut child = command.spawn().expect("/bin/cat");
        std::thread::sleep(std::time::Duration::from_millis(200));
        let text =
            std::fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id())).expect("/proc");
        drop(child.stdin.take());
        child.wait().expect("cat ends");
        let sum = |names: &[&str]| -> f64 {
            text.lines()
                .filter(|line| names.iter().any(|name| line.starts_with(name)))
                .filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
                .sum()
        };
        (sum(&["Rss:"]), sum(&["Private_Clean:", "Private_Dirty:"]))
    };
    let (without, with) = (of(With::Nothing), of(With::Library));
    println!(
        "| memory resident, `cat` | {} KB | {} KB | {:+} KB |",
        without.0,
        with.0,
        with.0 - without.0
    );
    println!(
        "| of it private | {} KB | {} KB | {:+} KB |",
        without.1,
        with.1,
        with.1 - without.1
    );
}

fn size() {
    let stripped = support::root().join("target/tests/stripped.so");
    std::fs::create_dir_all(stripped.parent().expect("a folder")).expect("target/tests");
    let done = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(support::library())
        .status()
        .expect("strip");
    assert!(done.success());
    let bytes = std::fs::metadata(&stripped).expect("stripped").len();
    println!("\nlibforkguard.so, stripped: {} KB", bytes / 1000);
}

fn main() {
    // `cargo test --benches` and the like want no measurement.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    // The first without libpq: what a process has loaded is most of what its fork costs.
    let program = Program::build("cost", &[]);
    let libpq = ["-I", "/usr/include/postgresql", "-lpq", "-pthread"];
    let mut sessions = Program::build("sessions", &libpq);
    fork_with_none(&program);
    forks(&program);
    fork_with_threads(&sessions);
    calls(&program);
    shims(&sessions);
    pgbench();
    resumes(&mut sessions);
    load();
    memory();
    growth(&sessions);
    size();
}
