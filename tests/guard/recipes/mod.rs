//! The pages in `docs/recipes`, run as they stand: each block of code under a `<!-- test: NAME -->`
//! is taken out of its page, and only paths and addresses are exchanged. The application is
//! `tests/programs/myapp`, which has its session before the fork; `tests/programs/service.py` starts
//! the service, asks, and says who answered.

pub mod c;
mod celery;
mod containers;
mod gunicorn;
mod php_fpm;
mod puma;
mod unicorn;
mod uwsgi;

use crate::clients::said;
use crate::support::{cluster, library, python, root, venv, Outcome, Transport};
use std::collections::HashMap;
use std::path::Path;

/// Questions to a guarded service: some for each of two workers.
const REQUESTS: u64 = 40;

/// A page of `docs/recipes`.
pub struct Page {
    name: &'static str,
    text: String,
}

impl Page {
    pub fn open(name: &'static str) -> Page {
        let path = root().join("docs/recipes").join(name);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Page { name, text }
    }

    /// What stands between the fences after `<!-- test: NAME -->`.
    #[track_caller]
    pub fn block(&self, name: &str) -> &str {
        let mark = format!("<!-- test: {name} -->\n```");
        let mut found = self.text.split(&mark).skip(1);
        let block = found
            .next()
            .and_then(|rest| rest.split_once('\n')?.1.split_once("\n```"))
            .unwrap_or_else(|| panic!("{} has no block {name}", self.name));
        assert!(found.next().is_none(), "two blocks {name} in {}", self.name);
        block.0
    }
}

/// A service that a page sets up, in a folder of its own with the application in it.
struct Service {
    folder: tempfile::TempDir,
    /// `http`, `fastcgi` or `celery`, in which `service.py` asks.
    kind: &'static str,
    /// What a page's address becomes.
    address: (&'static str, &'static str),
    /// More for its environment.
    environment: Vec<(&'static str, String)>,
    /// How many sessions the master has before it forks.
    sessions: usize,
}

impl Service {
    /// `address` is what the page says and what a path of a Unix socket is written after instead.
    fn new(kind: &'static str, address: (&'static str, &'static str)) -> Service {
        let folder = tempfile::tempdir().unwrap();
        let service = Service {
            folder,
            kind,
            address,
            environment: Vec::new(),
            sessions: 1,
        };
        copy(
            &root().join("tests/programs/myapp"),
            &service.path().join("myapp"),
        );
        for (file, name) in [
            ("target/venv", "venv"),
            ("tests/programs/myapp/config.ru", "config.ru"),
        ] {
            std::os::unix::fs::symlink(root().join(file), service.path().join(name)).unwrap();
        }
        service
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A page's text with this machine's paths.
    fn here(&self, text: &str) -> String {
        let socket = self.path().join("socket").display().to_string();
        let command = root().join("target/release/forkguard");
        text.replace(
            "/usr/local/lib/libforkguard.so",
            library().to_str().unwrap(),
        )
        .replace("/usr/local/bin/forkguard", command.to_str().unwrap())
        .replace("/srv/myapp", self.path().to_str().unwrap())
        .replace(self.address.0, &format!("{}{socket}", self.address.1))
    }

    /// Puts a page's text into a file of the application's.
    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), self.here(text)).unwrap();
    }

    /// Adds a page's text to a file of the application's.
    fn append(&self, name: &str, text: &str) {
        let file = self.path().join(name);
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{before}\n{}\n", self.here(text))).unwrap();
    }

    /// Runs a page's command line, with more for the environment, and asks so many times.
    fn run(&self, command: &str, extra: &[(&str, &str)], requests: u64) -> Outcome {
        let unpacked = root().join("target/unpacked/usr");
        let path = std::env::var("PATH").unwrap();
        let search = [
            root().join("target/release").display().to_string(),
            venv("python").parent().unwrap().display().to_string(),
            unpacked.join("bin").display().to_string(),
            path,
        ];
        // Unicorn's modules: Debian's folders of such, elsewhere.
        let ruby = unpacked.join("lib/ruby/vendor_ruby").display().to_string();
        let ruby_machine =
            std::fs::read_dir(unpacked.join("lib/x86_64-linux-gnu/ruby/vendor_ruby"))
                .ok()
                .and_then(|mut folders| Some(folders.next()?.ok()?.path().display().to_string()));
        let ruby = [Some(ruby), ruby_machine].into_iter().flatten();
        let _ = std::fs::remove_file(self.path().join("socket"));
        let _ = std::fs::remove_dir_all(self.path().join("queue"));
        python("service")
            .arg(self.kind)
            .arg(requests.to_string())
            .folder(self.path())
            .envs(cluster().environment(Transport::Tcp))
            .env("PATH", search.join(":"))
            .env("PYTHONPATH", self.path())
            .env("RUBYLIB", ruby.collect::<Vec<_>>().join(":"))
            .env("SERVICE", self.here(command))
            .env("SOCKET", self.path().join("socket"))
            .env("MYAPP_QUEUE", self.path().join("queue"))
            .env("SESSIONS", self.sessions.to_string())
            .env("TMPDIR", self.path())
            // As nobody has set it: the page's own setting counts, or the default.
            .env("FORKGUARD_POLICY", "")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(extra.iter().copied())
            .run()
    }

    /// Without the library: one question, and it is answered by the parent's session.
    #[track_caller]
    fn shows_the_fault(&self, command: &str) {
        let outcome = self.run(command, &[], 1);
        let (parents, users) = (parents(&outcome), users(&outcome));
        outcome.check(
            users.iter().any(|(backend, _)| parents.contains(backend)),
            "the fault: a worker is answered by its master's session",
        );
    }

    /// With the library: every question is answered right, by sessions of the workers' own; and
    /// the log says so.
    #[track_caller]
    fn is_guarded(&self, command: &str) {
        self.is_guarded_and_says(command, "resumed the session on descriptor ");
    }

    #[track_caller]
    fn is_guarded_and_says(&self, command: &str, fate: &str) {
        let outcome = self.run(command, &[("FORKGUARD_LOG", "info")], REQUESTS);
        self.sound(&outcome);
        outcome
            .must_say("abandoned ")
            .must_say(" inherited from process ")
            .must_say(fate);
    }

    /// With the framework's own fix, and without the library.
    #[track_caller]
    fn is_fixed(&self, command: &str) {
        let outcome = self.run(command, &[], REQUESTS);
        self.sound(&outcome);
    }

    #[track_caller]
    fn sound(&self, outcome: &Outcome) {
        outcome.ok();
        let requests = &said(outcome, "requests")[0];
        outcome.check(requests.number("right") == REQUESTS, "an answer each");
        let (parents, users) = (parents(outcome), users(outcome));
        let processes: std::collections::HashSet<_> = users.values().collect();
        outcome
            .check(processes.len() > 1, "more than one worker")
            .check(
                users.iter().all(|(backend, _)| !parents.contains(backend)),
                "none the parent's",
            );
        let after = said(outcome, "after");
        outcome.check(
            after[0].number("alive") == parents.len() as u64,
            "the parent's sessions are alive",
        );
    }
}

/// The backends of the sessions that the master had.
#[track_caller]
fn parents(outcome: &Outcome) -> Vec<u64> {
    let parent = said(outcome, "parent");
    outcome.check(parent.len() == 1, "the service starts");
    parent[0].numbers("backends")
}

/// Which process each backend has answered: one only.
#[track_caller]
fn users(outcome: &Outcome) -> HashMap<u64, u64> {
    let requests = said(outcome, "requests");
    outcome.check(requests.len() == 1, "it was asked");
    let mut users = HashMap::new();
    for pair in requests[0].get("users").unwrap_or_default().split(',') {
        let Some((backend, process)) = pair.split_once(':') else {
            continue;
        };
        let before = users.insert(backend.parse().unwrap(), process.parse().unwrap());
        outcome.check(before.is_none(), "a session of two processes");
    }
    users
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.path().is_dir() {
            if file.file_name() != "__pycache__" {
                copy(&file.path(), &target);
            }
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}
