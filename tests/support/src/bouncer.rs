//! A PgBouncer of a test's own in front of a server, for as long as it is held.

use super::cluster::environment;
use super::{root, Cluster, Transport};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running pooler; whoever asks, it is `forkguard` with the server behind it, and `alias` is its database, too.
pub struct Bouncer {
    port: u16,
    folder: tempfile::TempDir,
    process: Child,
}

impl Bouncer {
    /// `mode` is PgBouncer's `pool_mode`. It holds so many sessions with the server; a client
    /// beyond them waits for its turn.
    pub fn start(server: &Cluster, mode: &str, sessions: u32) -> Bouncer {
        let folder = tempfile::tempdir().unwrap();
        // It refuses to run as root, and then another user may not reach our target/.
        let open = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let program = folder.path().join("pgbouncer");
        std::fs::copy(root().join("target/unpacked/usr/sbin/pgbouncer"), &program)
            .expect("pgbouncer: run tools/setup");
        open(folder.path(), 0o777);
        open(&program, 0o755);

        // Somebody else may take a port between our look and its start: then another.
        for _ in 0..20 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let config = folder.path().join("config");
            let text = format!(
                "[databases]\n\
                 forkguard = host={0} port={1} user=forkguard\n\
                 alias = host={0} port={1} user=forkguard dbname=forkguard\n\
                 [pgbouncer]\n\
                 listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {2}\n\
                 auth_type = any\npool_mode = {mode}\ndefault_pool_size = {sessions}\n",
                server.socket_dir.display(),
                server.port,
                folder.path().display(),
            );
            std::fs::write(&config, text).unwrap();
            let mut command = Command::new("setpriv");
            // SAFETY: geteuid takes nothing and cannot fail.
            if unsafe { libc::geteuid() } == 0 {
                command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
            }
            // pdeathsig: should this process be killed outright, it ends all the same.
            let mut process = command
                .args(["--pdeathsig", "KILL"])
                .arg(&program)
                .arg(&config)
                .env_remove("LD_PRELOAD")
                .stdin(Stdio::null())
                .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
                .spawn()
                .expect("setpriv");
            // Five seconds: it starts in ten milliseconds.
            let end = Instant::now() + Duration::from_secs(5);
            while process.try_wait().unwrap().is_none() && Instant::now() < end {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Bouncer {
                        port,
                        folder,
                        process,
                    };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        let log = std::fs::read_to_string(folder.path().join("log"));
        panic!("pgbouncer does not start: {log:?}");
    }

    /// As [`Cluster::environment`], through the pooler. It has no TLS.
    pub fn environment(&self, transport: Transport) -> [(&'static str, String); 6] {
        environment("127.0.0.1", self.folder.path(), self.port, transport)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
