//! `pg_basebackup -X stream` hands a replication session to the child it forks, and goes on
//! working under the library without a setting.
//!
//! A server of their own each: two backups at once can take the log from under each other (the
//! end of one recycles what the other has not yet reserved), with or without the library.

use super::postgresql;
use crate::support::{own, Cluster, Outcome, Run, Transport};
use std::path::Path;

/// Backs up by this program, guarded, without a setting, and verifies what came.
fn works(server: &Cluster, program: &Path, transport: Transport) {
    let folder = tempfile::tempdir().unwrap();
    let outcome = backup(server, program, transport, folder.path())
        .guarded(true)
        .run();
    outcome.ok();
    verify(folder.path(), &outcome);
}

#[test]
fn without_a_setting_over_every_transport() {
    let server = own();
    for transport in Transport::ALL {
        works(&server, &postgresql("pg_basebackup"), transport);
    }
}

#[test]
fn through_debians_wrapper() {
    works(&own(), "pg_basebackup".as_ref(), Transport::Tls);
}

/// What it needs: in the clear its startup packet tells, over TLS only the program's name does.
#[test]
fn under_another_name_it_is_told_by_its_startup_packet_or_by_a_setting() {
    let server = own();
    let programs = tempfile::tempdir().unwrap();
    let renamed = programs.path().join("my_backup");
    std::fs::copy(postgresql("pg_basebackup"), &renamed).unwrap();
    for (transport, exempt, works) in [
        (Transport::Unix, "", true),
        (Transport::Tcp, "", true),
        (Transport::Tls, "", false),
        (Transport::Tls, "my_backup", true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let outcome = backup(&server, &renamed, transport, folder.path())
            .env("FORKGUARD_EXEMPT", exempt)
            .guarded(true)
            .run();
        if works {
            outcome.ok();
            verify(folder.path(), &outcome);
        } else {
            // A clean end: it says so, and does not hang.
            outcome
                .check(!outcome.timed_out && !outcome.success(), "it should fail")
                .must_say("SSL SYSCALL error: EOF detected");
        }
    }
}

fn backup(server: &Cluster, program: &Path, transport: Transport, folder: &Path) -> Run {
    Run::new(program)
        .args(["-X", "stream", "-c", "fast", "--no-sync", "-D"])
        .arg(folder)
        .arg("-d")
        .arg(server.conninfo(transport))
}

/// Every file by its checksum, and the streamed log by pg_waldump.
fn verify(folder: &Path, backup: &Outcome) {
    backup.check(backup.stderr.is_empty(), "no word of trouble");
    let outcome = Run::new(postgresql("pg_verifybackup")).arg(folder).run();
    outcome.ok().must_say("backup successfully verified");
}
