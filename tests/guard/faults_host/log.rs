//! The log cannot be written. A FIFO whose reader is gone, or never reads, and `/dev/full`:
//! `configuration::a_log_that_nobody_reads_harms_nobody`.

use super::kernel::{program_with, protected};
use crate::support::{cluster, compile, Run, Transport};

#[test]
fn the_disk_under_the_log_is_full() {
    // SAFETY: takes nothing, returns a number.
    if unsafe { libc::geteuid() } != 0 {
        println!("not tested: this needs root, to mount a small file system");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |log: &str| {
        let outcome = Run::new(compile("under"))
            .arg("full disk")
            .arg(program_with("refused", &[]))
            .arg(cluster().conninfo(Transport::Unix))
            .args(["getpid", "1", "never"])
            .env("FULL", folder.path())
            .env("FORKGUARD_POLICY", "resume")
            .env("FORKGUARD_LOG", "trace")
            .env("FORKGUARD_LOG_FILE", folder.path().join(log))
            .guarded(true)
            .run();
        assert!(protected(&outcome), "the idle session is resumed");
        outcome
    };
    // A file that can be made, and holds nothing: its first write says that there is no room.
    let outcome = run("log");
    outcome.check(outcome.stderr.is_empty(), "nothing is said elsewhere");
}
