//! One run of a real program, bounded in time, with all that it forked.

use super::{library, root};
use std::ffi::{CString, OsStr};
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// In the environment of a run's every process: finds them again, wherever `setsid` or
/// `daemon` took them.
const MARK: &str = "GUARD_TEST_RUN";

/// What becomes of an inherited session in a child, `FORKGUARD_POLICY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is lost.
    Abandon,
    /// If idle, it is a new one, equal to its parent's.
    Resume,
}

impl Policy {
    /// Those the library under test knows. Until it knows `resume`, tests for both run for one.
    pub fn all() -> &'static [Policy] {
        static ALL: OnceLock<&[Policy]> = OnceLock::new();
        ALL.get_or_init(|| {
            let outcome = Run::new("true").policy(Policy::Resume).run();
            if outcome.ok().stderr.is_empty() {
                &[Policy::Abandon, Policy::Resume]
            } else {
                eprintln!("RESUME IS NOT TESTED: {}", outcome.stderr);
                &[Policy::Abandon]
            }
        })
    }
}

/// The root of another system, where the tests' programs run instead of here: of
/// `tools/test-glibc`, which lays this system's repository, `/tmp` and `/proc` in it.
pub fn other_system() -> Option<&'static Path> {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    ROOT.get_or_init(|| std::env::var_os("FORKGUARD_TEST_ROOT").map(PathBuf::from))
        .as_deref()
}

/// How many times as long as here a program takes there: under an emulator (`tools/test-arm64`).
pub fn slowness() -> u32 {
    let given = std::env::var("FORKGUARD_TEST_SLOWNESS").ok();
    given.map_or(1, |number| number.parse().expect("FORKGUARD_TEST_SLOWNESS"))
}

/// A program to run.
pub struct Run {
    command: Command,
    root: Option<&'static Path>,
    folder: PathBuf,
    guarded: bool,
    library: Option<PathBuf>,
    timeout: Duration,
}

impl Run {
    /// Not guarded, with 60 seconds to end, and an environment free of `FORKGUARD_*`, `PG*` and
    /// `LD_PRELOAD`.
    pub fn new(program: impl AsRef<OsStr>) -> Run {
        let mut command = Command::new(program);
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("FORKGUARD_") || name.starts_with("PG") || name == "LD_PRELOAD" {
                command.env_remove(&variable);
            }
        }
        Run {
            command,
            root: other_system(),
            folder: "/".into(),
            guarded: false,
            library: None,
            timeout: Duration::from_secs(60),
        }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Run {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        self.command.args(args);
        self
    }

    /// A variable of the environment.
    pub fn env(mut self, variable: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Run {
        self.command.env(variable, value);
        self
    }

    /// Variables, as `Cluster::environment` gives them.
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Run {
        self.command.envs(variables);
        self
    }

    /// Where it runs.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Run {
        self.command.current_dir(&folder);
        self.folder = folder.as_ref().into();
        self
    }

    /// On this system, even where the tests' programs run in another: a tool of the tests.
    pub fn here(mut self) -> Run {
        self.root = None;
        self
    }

    /// With the library in `LD_PRELOAD`, or without. What the descriptors alone do is to be
    /// seen: the policy is `abandon`, unless the run's environment says otherwise.
    pub fn guarded(mut self, guarded: bool) -> Run {
        self.guarded = guarded;
        self
    }

    /// With the library, and this policy.
    pub fn policy(self, policy: Policy) -> Run {
        let name = match policy {
            Policy::Abandon => "abandon",
            Policy::Resume => "resume",
        };
        self.guarded(true).env("FORKGUARD_POLICY", name)
    }

    /// This library, where it is guarded, and not the one under test.
    pub fn preload(mut self, library: &Path) -> Run {
        self.library = Some(library.to_owned());
        self
    }

    /// Past this it is killed, and says so in `Outcome::timed_out`.
    pub fn timeout(mut self, timeout: Duration) -> Run {
        self.timeout = timeout;
        self
    }

    fn spawn(&mut self) -> (Child, String) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mark = format!(
            "{}.{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        // For programs linked with the library as well.
        let mut set = self.command.get_envs().map(|(name, _)| name);
        if !set.any(|name| name == "FORKGUARD_POLICY") {
            self.command.env("FORKGUARD_POLICY", "abandon");
        }
        if self.guarded {
            let library = self.library.clone().unwrap_or_else(library);
            self.command.env("LD_PRELOAD", library);
        }
        if let Some(root) = self.root {
            let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
            let (root, folder) = (path(root), path(&self.folder));
            // SAFETY: between fork and exec, two system calls with strings that are there.
            unsafe {
                self.command.pre_exec(move || {
                    if libc::chroot(root.as_ptr()) != 0 || libc::chdir(folder.as_ptr()) != 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                    Ok(())
                })
            };
        }
        // The tests' own programs by another libpq; what Debian builds may want a newer one.
        if let Ok(major) = std::env::var("FORKGUARD_TEST_LIBPQ") {
            let own = root().join("target/tests");
            let set = self
                .command
                .get_envs()
                .any(|(name, _)| name == "LD_LIBRARY_PATH");
            if !set && Path::new(self.command.get_program()).starts_with(own) {
                let libraries = root().join("target/servers").join(major).join("lib");
                self.command.env("LD_LIBRARY_PATH", libraries);
            }
        }
        let child = self
            .command
            .env(MARK, &mark)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.command.get_program()));
        (child, mark)
    }

    /// Starts it, to be looked at while it runs: its lines come as they are written.
    pub fn start(mut self) -> Running {
        let (mut child, mark) = self.spawn();
        let (lines, said) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        Running {
            said,
            stderr: Stream::read(child.stderr.take().unwrap()),
            child,
            mark,
        }
    }

    /// Runs it until it has ended *and* nobody holds its standard output and error any more, so
    /// that what its forked children still write is heard, or until the time is up. Then ends
    /// what is left of it.
    pub fn run(mut self) -> Outcome {
        let (mut child, mark) = self.spawn();
        let (stdout, stderr) = (
            Stream::read(child.stdout.take().unwrap()),
            Stream::read(child.stderr.take().unwrap()),
        );

        let end = Instant::now() + self.timeout * slowness();
        let mut status;
        let mut timed_out = false;
        loop {
            status = child.try_wait().unwrap(); // std remembers it once it is there
            if status.is_some() && stdout.ended() && stderr.ended() {
                break;
            }
            if Instant::now() >= end {
                timed_out = true;
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if status.is_none() {
            // Not waited for yet, so the number is still its own, the group's as well.
            // SAFETY: kill takes two numbers.
            unsafe { libc::kill(-libc::pid_t::try_from(child.id()).unwrap(), libc::SIGKILL) };
            let _ = child.wait();
        }
        kill_marked(&mark);
        Outcome {
            command: format!("{:?}", self.command),
            status,
            stdout: stdout.finish(),
            stderr: stderr.finish(),
            timed_out,
        }
    }
}

/// A program that runs; all that it forked ends with it, when this is dropped.
pub struct Running {
    child: Child,
    mark: String,
    said: Receiver<String>,
    stderr: Stream,
}

impl Running {
    /// The first process's pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of standard output. Twenty seconds are a loaded machine.
    #[track_caller]
    pub fn line(&self) -> String {
        self.said
            .recv_timeout(Duration::from_secs(20))
            .unwrap_or_else(|_| panic!("it says nothing more; on standard error {:?}", self.log()))
    }

    /// What it wrote to standard error by now.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes.lock().unwrap()).into_owned()
    }

    /// The same, once it holds the text.
    #[track_caller]
    pub fn log_with(&self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let log = self.log();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < end, "no {text:?} in {log:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not waited for yet, so the number is its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
        kill_marked(&self.mark);
    }
}

/// Kills every process that carries the mark: again until none is found, for they may be
/// forking; a hundred rounds are far more than a test's program can outrun.
fn kill_marked(mark: &str) {
    let entry = format!("{MARK}={mark}");
    for _ in 0..100 {
        let mut found = false;
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = process
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // A zombie's is empty, and another user's can't be read: both are not ours.
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            if environment
                .split(|byte| *byte == 0)
                .any(|line| line == entry.as_bytes())
            {
                found = true;
                // SAFETY: kill takes two numbers.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
        if !found {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("processes of run {mark} do not die");
}

/// One output stream, read by a thread of its own: neither can fill up while the other is read.
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn read(mut pipe: impl Read + Send + 'static) -> Stream {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 65536]; // a pipe's whole capacity, pipe(7)
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Stream { bytes, reader }
    }

    fn ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// What has been read. The reader is not joined: should somebody we cannot kill hold the
    /// pipe, the test goes on all the same.
    fn finish(self) -> String {
        let end = Instant::now() + Duration::from_secs(1);
        while !self.ended() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    command: String,
    /// None if it had to be killed.
    pub status: Option<ExitStatus>,
    /// Its own and its children's.
    pub stdout: String,
    /// Its own and its children's.
    pub stderr: String,
    /// Killed, or what it forked was: for an unguarded run, one way to show the damage.
    pub timed_out: bool,
}

impl Outcome {
    /// Ended in time with 0.
    pub fn success(&self) -> bool {
        !self.timed_out && self.status.is_some_and(|status| status.success())
    }

    /// Whether either stream holds the text.
    pub fn says(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }

    /// Fails the test, with all there is to know, unless the run succeeded.
    #[track_caller]
    pub fn ok(&self) -> &Outcome {
        self.check(self.success(), "it should succeed")
    }

    /// Fails the test, with all there is to know, unless the text is there.
    #[track_caller]
    pub fn must_say(&self, text: &str) -> &Outcome {
        self.check(self.says(text), &format!("it should say {text:?}"))
    }

    /// Fails the test, with all there is to know, unless the condition holds.
    #[track_caller]
    pub fn check(&self, condition: bool, what: &str) -> &Outcome {
        assert!(condition, "{what}\n{self}");
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = match self.status {
            Some(status) => status.to_string(),
            None => "killed".to_owned(),
        };
        let late = if self.timed_out { ", out of time" } else { "" };
        write!(
            f,
            "{}\n-- {ended}{late}\n-- stdout\n{}\n-- stderr\n{}\n--",
            self.command, self.stdout, self.stderr
        )
    }
}
