//! The ground the other tests stand on: the private server, and runs that end.

use crate::support::{cluster, own, Run, Transport};
use std::time::{Duration, Instant};

#[test]
fn the_server_answers_over_every_transport() {
    let server = cluster();
    for (transport, expected) in [
        (Transport::Unix, "|f"),
        (Transport::Tcp, "127.0.0.1|f"),
        (Transport::Tls, "127.0.0.1|t"),
    ] {
        let outcome = Run::new("psql")
            .args(["-XAt", "-c"])
            .arg(
                "select host(client_addr), ssl from pg_stat_ssl join pg_stat_activity using (pid) \
                 where pid = pg_backend_pid()",
            )
            .arg(server.conninfo(transport))
            .run();
        outcome
            .ok()
            .check(outcome.stdout.trim_end() == expected, expected);
    }
}

#[test]
fn a_server_of_ones_own_is_gone_when_its_pipe_closes() {
    let server = own();
    let (address, socket) = (
        (server.host.clone(), server.port),
        server.socket_dir.clone(),
    );
    std::net::TcpStream::connect(&address).expect("answers while it is held");
    drop(server);
    std::net::TcpStream::connect(&address).expect_err("gone");
    assert!(!socket.exists(), "{} is left behind", socket.display());
}

#[test]
fn the_log_can_be_read_from_a_mark() {
    let server = cluster();
    let mark = server.log_mark();
    let backend =
        server.ask("do $$ begin raise log 'a line for the mark'; end $$; select pg_backend_pid()");
    let log = server.wait_for_log(mark, &format!("[{backend}] LOG:  a line for the mark"));
    assert!(log.lines().count() < 1000, "not the whole log");
}

#[test]
fn a_run_out_of_time_is_killed_with_all_it_forked() {
    let began = Instant::now();
    // The grandchild leaves the process group and keeps the pipes.
    let outcome = Run::new("bash")
        .args(["-c", "setsid sleep 300 & echo started $!; sleep 300"])
        .timeout(Duration::from_secs(1))
        .run();
    assert!(began.elapsed() < Duration::from_secs(10), "{outcome}");
    outcome.check(outcome.timed_out && outcome.status.is_none(), "out of time");
    let pid = outcome
        .stdout
        .trim_end()
        .strip_prefix("started ")
        .expect("its pid")
        .to_owned();
    // Gone, or a zombie until init looks: its memory, and with it the command line, is gone.
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(line.is_empty(), "the grandchild lives on");
}

#[test]
fn a_run_hears_what_outlives_its_program() {
    let outcome = Run::new("bash")
        .args([
            "-c",
            "(sleep 0.3; head -c 1000000 /dev/zero | tr '\\0' x; echo >&2 late) & echo early",
        ])
        .run();
    outcome.ok().must_say("early").must_say("late");
    outcome.check(outcome.stdout.len() > 1_000_000, "every byte");
}
