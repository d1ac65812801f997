//! `make bench`: what the library costs, with and without it side by side in
//! one run. Prints the table that the README keeps.
//!
//! Each measurement is taken in a process without the library and in one with
//! it, in turn, and the median of the turns is shown: a noisy machine moves
//! both. Nothing here passes or fails.

#[path = "../tests/guard/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

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

fn one(program: &Path, arguments: &[&str], with: With) -> f64 {
    let mut command = Command::new(program);
    with.set(command.args(arguments));
    let output = command.output().expect("the program runs");
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("one number")
}

/// Medians of several measurements, taken in turn.
fn in_turn<const N: usize>(program: &Path, turns: usize, what: [(&[&str], With); N]) -> [f64; N] {
    let mut results = [(); N].map(|()| Vec::new());
    for _ in 0..turns {
        for (results, (arguments, with)) in results.iter_mut().zip(what) {
            results.push(one(program, arguments, with));
        }
    }
    results.map(median)
}

fn us(ns: f64) -> String {
    format!("{:.1} µs", ns / 1000.0)
}

/// More turns: what the handlers add is less than what the layout of a
/// process's memory moves a fork by.
fn fork_with_none(program: &Path) {
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

fn forks(program: &Path) {
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

fn calls(program: &Path) {
    println!("\n| call on a descriptor that is no session | without | with | added |");
    println!("|---|---|---|---|");
    for call in ["send", "write", "close", "connect"] {
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
    let folder = support::root().join("target/tests");
    std::fs::create_dir_all(&folder).expect("target/tests");
    let program = folder.join("cost");
    let built = Command::new("cc")
        .args(["-O2", "-Wall", "-Werror", "-o"])
        .arg(&program)
        .arg(support::root().join("benches/cost.c"))
        .status()
        .expect("cc");
    assert!(built.success(), "benches/cost.c does not compile");
    fork_with_none(&program);
    forks(&program);
    calls(&program);
    load();
    memory();
    size();
}
