//! What valgrind's memcheck says of the library while real programs run on it: nothing. `make
//! memcheck` runs all that is here, `make test` a few.

use crate::support::*;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A run under memcheck, of the program and all that it forks.
struct Checked {
    outcome: Outcome,
    /// A report a block, of every process.
    reports: Vec<String>,
    processes: usize,
}

fn checked(program: &str, arguments: &[&str], transport: Transport, library: &Path) -> Checked {
    let logs = tempfile::tempdir().unwrap();
    let outcome = Run::new("valgrind")
        .args(["--leak-check=full", "--show-leak-kinds=definite"])
        .args(["--num-callers=40", "--error-limit=no"])
        .arg(format!("--log-file={}/%p", logs.path().display()))
        .arg(format!(
            "--suppressions={}",
            root().join("tests/valgrind.supp").display()
        ))
        .arg(compile(program))
        .arg(cluster().conninfo(transport))
        .args(arguments)
        .policy(Policy::Resume)
        .preload(library)
        .timeout(Duration::from_secs(300)) // thirty times a quiet machine's
        .run();
    let (mut reports, mut processes) = (Vec::new(), 0);
    for log in std::fs::read_dir(logs.path()).unwrap() {
        let text = std::fs::read_to_string(log.unwrap().path()).unwrap();
        // `==1234== ` before each line, and nothing behind it between two reports.
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("==")?.split_once("== "));
        let text: Vec<&str> = lines.map(|(_, line)| line).collect();
        processes += usize::from(text.iter().any(|line| line.starts_with("ERROR SUMMARY")));
        let blocks = text.split(|line| line.trim().is_empty());
        reports.extend(
            blocks
                .filter(|block| {
                    block
                        .iter()
                        .any(|line| line.trim_start().starts_with("at 0x"))
                })
                .map(|block| block.join("\n")),
        );
    }
    Checked {
        outcome,
        reports,
        processes,
    }
}

impl Checked {
    /// Every report but those of memory that the program, or libpq for it, has let go: our
    /// allocator is named where it was ours.
    fn ours(&self) -> Vec<&String> {
        self.reports
            .iter()
            .filter(|report| {
                !report.contains("definitely lost") || report.contains("forkguard::memory")
            })
            .collect()
    }

    #[track_caller]
    fn is_clean(&self, processes: usize) {
        let ours = self.ours();
        self.outcome
            .ok()
            .check(self.processes >= processes, "memcheck ends in each process")
            .check(ours.is_empty(), &format!("memcheck: {ours:#?}"));
    }
}

#[test]
fn memcheck_finds_nothing() {
    for transport in [Transport::Unix, Transport::Tls] {
        checked("resume", &["family", "two"], transport, &library()).is_clean(2);
    }
    checked(
        "ways_to_fork",
        &["fork", "query"],
        Transport::Tcp,
        &library(),
    )
    .is_clean(2);
}

#[test]
#[ignore = "minutes: make memcheck"]
fn memcheck_finds_nothing_in_more_programs() {
    let library = library();
    for (program, arguments, processes) in [
        ("equal", &["7", "20", "resumable"][..], 2),
        ("resume", &["family", "grandchild"], 3),
        ("resume", &["family", "again"], 2),
        ("resume", &["family", "threads"], 2),
        ("resume", &["family", "double fork"], 3),
        ("ways_to_fork", &["_Fork", "query"], 2),
        ("descriptors", &["flags", "fcntl"], 2),
        ("threads", &["50", "look"], 50),
    ] {
        println!("{program} {arguments:?}");
        checked(program, arguments, Transport::Tcp, &library).is_clean(processes);
    }
}

/// A library that reads past the end of a block, decides on what was never written, and loses a
/// block (`src/fault_injection.rs`).
fn broken() -> PathBuf {
    crate::support::broken("memory", "break_memory", false)
}

#[test]
fn memcheck_finds_what_is_wrong() {
    let checked = checked("resume", &["family", "two"], Transport::Unix, &broken());
    let ours = checked.ours();
    for sign in [
        "Invalid read",
        "depends on uninitialised value",
        "definitely lost",
    ] {
        checked.outcome.check(
            ours.iter().any(|report| {
                report.contains(sign) && report.contains("forkguard::fault_injection")
            }),
            &format!("{sign}: {ours:#?}"),
        );
    }
}
