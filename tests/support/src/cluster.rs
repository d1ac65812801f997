//! A private PostgreSQL server, which `tools/pg-cluster` starts, and stops when the pipe to its
//! standard input closes: at the end of this process at the latest, however that ends. (std
//! makes the pipe close-on-exec, so no program a test starts can keep it open.)

use super::{root, Run};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How a client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The Unix socket.
    Unix,
    /// TCP on 127.0.0.1, plain.
    Tcp,
    /// TCP on 127.0.0.1, TLS.
    Tls,
}

impl Transport {
    /// For tests that hold for each.
    pub const ALL: [Transport; 3] = [Transport::Unix, Transport::Tcp, Transport::Tls];
}

/// A running server; superuser and database are `forkguard`, no password.
pub struct Cluster {
    /// `127.0.0.1`
    pub host: String,
    /// The same for TCP and the Unix socket.
    pub port: u16,
    /// The folder of the Unix socket.
    pub socket_dir: PathBuf,
    log: PathBuf,
    process: Child,
}

/// The server that all tests of this process share.
pub fn cluster() -> &'static Cluster {
    // A static is never dropped: this one ends with the process, by its pipe.
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(own)
}

/// A server for one test alone, until it is dropped: Debian's, or FORKGUARD_TEST_SERVER's version.
pub fn own() -> Cluster {
    match std::env::var("FORKGUARD_TEST_SERVER") {
        Ok(major) => own_of(&major),
        Err(_) => started(&[], None),
    }
}

/// The same, of this major version (`tools/servers`).
pub fn own_of(major: &str) -> Cluster {
    started(&["--server", major], None)
}

fn started(options: &[&str], primary: Option<&str>) -> Cluster {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    // pg-cluster makes this folder and removes it.
    let folder = std::env::temp_dir().join(format!(
        "forkguard-test.{}.{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ));
    // No limit here: pg-cluster holds one on every step of its start.
    let mut process = Command::new(root().join("tools/pg-cluster"))
        .args(options)
        .arg(&folder)
        .args(primary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tools/pg-cluster");
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let fact = |key: &str| {
        line.split_whitespace()
            .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("tools/pg-cluster did not start a server (said {line:?})"))
    };
    Cluster {
        host: fact("PGHOST_TCP").to_owned(),
        port: fact("PGPORT").parse().unwrap(),
        socket_dir: fact("PGSOCKET").into(),
        log: fact("PGLOG").into(),
        process,
    }
}

impl Cluster {
    /// A hot standby of this one, for one test alone.
    pub fn standby(&self) -> Cluster {
        started(&[], Some(&self.conninfo(Transport::Unix)))
    }

    /// Where its data lies.
    pub fn data(&self) -> PathBuf {
        self.log.with_file_name("data")
    }

    /// Stops it, as `pg_ctl stop -m MODE` does.
    pub fn stop(&self, mode: &str) {
        self.tell(&format!("stop {mode}\n"), |pid| pid.is_none());
    }

    /// Starts it again, at the same port, on the same data.
    pub fn start(&self) {
        let answers = |pid: Option<String>| pid.is_some_and(|pid| pid.contains("ready"));
        self.tell("start\n", answers);
    }

    /// A line for `tools/pg-cluster`, and what `postmaster.pid` says when it is done.
    fn tell(&self, line: &str, done: impl Fn(Option<String>) -> bool) {
        let mut stdin = self.process.stdin.as_ref().unwrap();
        stdin.write_all(line.as_bytes()).unwrap();
        let pid = self.data().join("postmaster.pid");
        wait_until(line, || done(std::fs::read_to_string(&pid).ok()));
    }

    /// Makes it read its configuration again.
    pub fn reload(&self) {
        let mark = self.log_mark();
        self.ask("select pg_reload_conf()");
        self.wait_for_log(mark, "reloading configuration files");
        // The line comes before the files are read; backends read pg_hba.conf of their postmaster.
        std::thread::sleep(Duration::from_millis(100));
    }

    /// These lines before all others in `pg_hba.conf`, from now on.
    pub fn admit(&self, lines: &str) {
        let file = self.data().join("pg_hba.conf");
        let rules = std::fs::read_to_string(&file).unwrap();
        let rules = rules.split_once("# \"host\"").unwrap().1;
        std::fs::write(&file, format!("{lines}\n# \"host\"{rules}")).unwrap();
        self.reload();
    }

    /// libpq's connection string. What is added behind it wins: `conninfo(Tls) + " host=::1"`.
    pub fn conninfo(&self, transport: Transport) -> String {
        self.environment(transport)
            .map(|(variable, value)| {
                format!(
                    "{}={value}",
                    variable[2..].to_lowercase().replace("database", "dbname")
                )
            })
            .join(" ")
    }

    /// The same as libpq's environment variables, which asyncpg reads, too.
    pub fn environment(&self, transport: Transport) -> [(&'static str, String); 6] {
        environment(&self.host, &self.socket_dir, self.port, transport)
    }

    /// What the server answers to a statement in a session of psql's own (`-At`).
    #[track_caller]
    pub fn ask(&self, sql: &str) -> String {
        self.ask_in("forkguard", sql)
    }

    /// The same, in another database.
    #[track_caller]
    pub fn ask_in(&self, database: &str, sql: &str) -> String {
        let outcome = Run::new("psql")
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .envs(self.environment(Transport::Unix))
            .env("PGDATABASE", database)
            .here()
            .run();
        outcome.ok();
        outcome.stdout.trim_end().to_owned()
    }

    /// Where the server's log ends now, for [`Cluster::log_since`].
    pub fn log_mark(&self) -> u64 {
        std::fs::metadata(&self.log).unwrap().len()
    }

    /// What the server has logged since the mark. The log of the shared server holds all tests'
    /// lines: look for a backend's `[pid]`, or take a server of your [`own`].
    pub fn log_since(&self, mark: u64) -> String {
        let mut log = std::fs::File::open(&self.log).unwrap();
        log.seek(SeekFrom::Start(mark)).unwrap();
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the log since the mark holds the text.
    #[track_caller]
    pub fn wait_for_log(&self, mark: u64, text: &str) -> String {
        self.wait_for_log_that(mark, &format!("no {text:?}"), |log| log.contains(text))
    }

    /// Waits until the log since the mark is as wanted, or fails and says `lack`. A server notices a
    /// client's end some milliseconds late; ten seconds is a loaded machine.
    #[track_caller]
    pub(super) fn wait_for_log_that(
        &self,
        mark: u64,
        lack: &str,
        is_so: impl Fn(&str) -> bool,
    ) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let log = self.log_since(mark);
            if is_so(&log) {
                return log;
            }
            assert!(Instant::now() < end, "{lack} in the server's log:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Waits for it; thirty seconds is a loaded machine.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// libpq's environment for a server or a pooler.
pub(super) fn environment(
    tcp: &str,
    unix: &Path,
    port: u16,
    transport: Transport,
) -> [(&'static str, String); 6] {
    let (host, sslmode) = match transport {
        Transport::Unix => (unix.to_str().unwrap(), "disable"),
        Transport::Tcp => (tcp, "disable"),
        Transport::Tls => (tcp, "require"),
    };
    [
        ("PGHOST", host.to_owned()),
        ("PGPORT", port.to_string()),
        ("PGUSER", "forkguard".to_owned()),
        ("PGDATABASE", "forkguard".to_owned()),
        ("PGSSLMODE", sslmode.to_owned()),
        ("PGGSSENCMODE", "disable".to_owned()),
    ]
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // pg-cluster waits 20 seconds for its server before it kills it.
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            if let Ok(Some(_)) = self.process.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
