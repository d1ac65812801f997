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

fn one(program: &Path, arguments: &[&str], guarded: bool) -> f64 {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("LD_PRELOAD");
    if guarded {
        command.env("LD_PRELOAD", support::library());
    }
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

/// Medians of several measurements, taken in turn: (arguments, guarded) each.
fn in_turn<const N: usize>(program: &Path, what: [(&[&str], bool); N]) -> [f64; N] {
    let mut turns = [(); N].map(|()| Vec::new());
    for _ in 0..TURNS {
        for (results, (arguments, guarded)) in turns.iter_mut().zip(what) {
            results.push(one(program, arguments, guarded));
        }
    }
    turns.map(median)
}

fn forks(program: &Path) {
    println!("| sessions | fork | fork, child closes them | fork, guarded | added a session: close | added a session: guarded | ratio beyond 25 µs |");
    println!("|---|---|---|---|---|---|---|");
    for sessions in [0, 1, 10, 100, 1000] {
        let count = sessions.to_string();
        let [bare, closing, guarded] = in_turn(
            program,
            [
                (&["fork", &count, "exit"], false),
                (&["fork", &count, "close"], false),
                (&["fork", &count, "exit"], true),
            ],
        );
        let us = |ns: f64| format!("{:.1} µs", ns / 1000.0);
        if sessions == 0 {
            println!(
                "| 0 | {} | - | {} | - | {} in all | - |",
                us(bare),
                us(guarded),
                us(guarded - bare)
            );
        } else {
            let each = |ns: f64| format!("{:.0} ns", (ns - bare) / sessions as f64);
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
}

fn calls(program: &Path) {
    println!("\n| call on a descriptor that is no session | without | with | added |");
    println!("|---|---|---|---|");
    for call in ["send", "write", "close", "connect"] {
        let [without, with] = in_turn(program, [(&[call], false), (&[call], true)]);
        println!(
            "| `{call}` | {without:.1} ns | {with:.1} ns | {:+.1} ns |",
            with - without
        );
    }
}

/// `/bin/true`, from its start to its end.
fn load() {
    const STARTS: usize = 100;
    let round = |guarded: bool| {
        let start = Instant::now();
        for _ in 0..STARTS {
            let mut command = Command::new("/bin/true");
            command.stdin(Stdio::null()).env_remove("LD_PRELOAD");
            if guarded {
                command.env("LD_PRELOAD", support::library());
            }
            assert!(command.status().expect("/bin/true").success());
        }
        start.elapsed().as_secs_f64() * 1e6 / STARTS as f64
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        without.push(round(false));
        with.push(round(true));
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
    let of = |guarded: bool| {
        let mut command = Command::new("/bin/cat");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .env_remove("LD_PRELOAD");
        if guarded {
            command.env("LD_PRELOAD", support::library());
        }
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
    let (without, with) = (of(false), of(true));
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
    forks(&program);
    calls(&program);
    load();
    memory();
    size();
}
