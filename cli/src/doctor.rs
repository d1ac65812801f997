//! `forkguard doctor`: what would be protected, and what not.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::arguments::{Doctor, VARIABLES};
use crate::counters::{Counted, Counters};
use crate::elf::{self, Elf};
use crate::library::{self, Libc};
use crate::terminal::{self, colours, Screen};
use crate::{kernel, processes, program, Failure};
use forkguard_proto::config::{self, Policy};
use forkguard_proto::interposers;

/// What a finding means for the sessions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Good,
    Note,
    Partly,
    Not,
}

#[derive(Serialize)]
struct Finding {
    level: Level,
    subject: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    value: String,
    source: &'static str,
    complaint: Option<String>,
}

#[derive(Serialize)]
struct Report {
    version: u32,
    verdict: &'static str,
    findings: Vec<Finding>,
    settings: Vec<Setting>,
}

impl Report {
    fn say(&mut self, level: Level, subject: &'static str, text: impl AsRef<str>) {
        let text = terminal::printable(text.as_ref());
        self.findings.push(Finding {
            level,
            subject,
            text,
        });
    }
}

/// What only some places know: the process's root folder, and the environment it has.
struct Place {
    /// `/proc/PID/root`, or nothing.
    root: PathBuf,
    environment: Vec<Vec<u8>>,
}

impl Place {
    fn variable(&self, name: &str) -> Option<&[u8]> {
        let mut values = self
            .environment
            .iter()
            .filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        values.next().filter(|value| !value.is_empty())
    }

    fn folders(&self, name: &str) -> Vec<PathBuf> {
        let value = self.variable(name).unwrap_or_default();
        let folders = value
            .split(|byte| *byte == b':')
            .filter(|folder| !folder.is_empty());
        folders
            .map(|folder| PathBuf::from(OsStr::from_bytes(folder)))
            .collect()
    }

    /// A path of the process's as we reach it.
    fn reach(&self, path: &Path) -> PathBuf {
        match path.strip_prefix("/") {
            Ok(below) if !self.root.as_os_str().is_empty() => self.root.join(below),
            _ => path.to_owned(),
        }
    }
}

pub fn doctor(options: &Doctor) -> Result<i32, Failure> {
    let mut report = Report {
        version: 1,
        verdict: "",
        findings: Vec::new(),
        settings: Vec::new(),
    };
    if options.pid.is_none() && options.command.is_empty() {
        return Err(Failure::new(
            crate::USAGE,
            "name a program behind --, or a process with --pid; see forkguard doctor --help",
        ));
    }
    match options.pid {
        Some(pid) => of_process(pid, &mut report)?,
        None => of_command(&options.command, &mut report)?,
    }
    if !kernel::wipes_on_fork() {
        report.say(
            Level::Note,
            "kernel",
            "does not wipe memory in forked children (Linux before 4.14, or an emulator): process ids are compared instead, which is slower",
        );
    }
    let worst = report.findings.iter().map(|finding| finding.level).max();
    report.verdict = match worst {
        Some(Level::Not) => "not",
        Some(Level::Partly) => "partly",
        _ => "protected",
    };
    let text = if options.json {
        let mut text = serde_json::to_string(&report).unwrap_or_default();
        text.push('\n');
        text
    } else {
        shown(&report, &Screen::now())
    };
    terminal::print(text.as_bytes())?;
    Ok(i32::from(report.verdict != "protected"))
}

fn shown(report: &Report, screen: &Screen) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let (mark, colour) = match finding.level {
            Level::Good => ("ok", colours::GREEN),
            Level::Note => ("  ", colours::FAINT),
            Level::Partly => ("!!", colours::YELLOW),
            Level::Not => ("no", colours::RED),
        };
        let mark = screen.paint(mark, colour);
        text.push_str(&format!(
            "{mark}  {:<9} {}\n",
            finding.subject, finding.text
        ));
    }
    let widest = report
        .settings
        .iter()
        .map(|setting| setting.name.len())
        .max()
        .unwrap_or(0);
    for setting in &report.settings {
        let (mark, colour) = match setting.source {
            "invalid" => ("!!", colours::YELLOW),
            "environment" => ("ok", colours::GREEN),
            _ => ("  ", colours::FAINT),
        };
        let mark = screen.paint(mark, colour);
        let source = match &setting.complaint {
            Some(complaint) => format!("invalid; the library prints: {complaint}"),
            None => setting.source.to_owned(),
        };
        text.push_str(&format!(
            "{mark}  setting   {:<widest$} = {} ({source})\n",
            setting.name, setting.value
        ));
    }
    let first = |level| {
        let mut findings = report.findings.iter();
        let finding = findings.find(|finding| finding.level == level);
        finding.map_or(String::new(), |finding| {
            format!(": {}: {}", finding.subject, finding.text)
        })
    };
    let (verdict, colour) = match report.verdict {
        "not" => (format!("not protected{}", first(Level::Not)), colours::RED),
        "partly" => (
            format!("partly protected{}", first(Level::Partly)),
            colours::YELLOW,
        ),
        _ => (
            "protected: forked children stay off their parent's sessions".to_owned(),
            colours::GREEN,
        ),
    };
    text.push_str(&screen.paint(&verdict, &format!("{};{colour}", colours::BOLD)));
    text.push('\n');
    text
}

/// A program that is not started.
fn of_command(command: &[OsString], report: &mut Report) -> Result<(), Failure> {
    let found = program::find(&command[0]).map_err(|failure| Failure::new(3, failure.line))?;
    let place = Place {
        root: PathBuf::new(),
        environment: std::env::vars_os()
            .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
            .collect(),
    };
    let mut way: Vec<String> = found
        .scripts
        .iter()
        .map(|path| format!("{}, a script", path.display()))
        .collect();
    way.push(described(&found.binary, &found.elf));
    report.say(Level::Good, "program", way.join(", run by "));
    if found.env_clears {
        report.say(
            Level::Not,
            "program",
            "the script's first line has env take LD_PRELOAD away",
        );
    }
    if let Some(how) = program::gains_rights(&found.binary) {
        report.say(
            Level::Not,
            "program",
            format!(
                "{} is {how}: the loader ignores LD_PRELOAD there",
                found.binary.display()
            ),
        );
    }
    judge_language(&found.elf, report);

    let own =
        library::find(None).and_then(|path| library::is_loadable(&path).map(|elf| (path, elf)));
    let own = match own {
        Err(why) => {
            report.say(Level::Not, "library", why);
            None
        }
        Ok((path, elf)) => {
            match library::suits(&elf, &found.elf) {
                Ok(()) => report.say(
                    Level::Good,
                    "library",
                    format!("{} loads{}", path.display(), wants(&elf)),
                ),
                Err(why) => report.say(
                    Level::Not,
                    "library",
                    format!("{} does not load: the program {why}", path.display()),
                ),
            }
            Some(path)
        }
    };

    let mut objects = closure(&found.binary, &place);
    let kind = interpreter_of(&found.binary);
    if let Some(kind) = kind {
        let folders = extension_folders(kind, &found.binary, command, &place);
        let (extensions, whole) = extensions(&folders, kind.depth);
        for extension in extensions {
            for (path, by) in closure(&extension, &place) {
                objects.entry(path).or_insert(by);
            }
        }
        for client in kind
            .others
            .iter()
            .filter(|client| folders.iter().any(|folder| folder.join(client).is_dir()))
        {
            report.say(Level::Note, "client", foreign(client));
        }
        let searched: Vec<_> = folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        let cut = if whole { "" } else { ", not to their end" };
        report.say(
            Level::Note,
            "extensions",
            format!(
                "looked for in {}{cut}; what is loaded from elsewhere only --pid can tell",
                listed(&searched)
            ),
        );
    }
    let any = judge_libpqs(
        objects
            .into_iter()
            .map(|(path, by)| (path.clone(), path, by))
            .collect(),
        report,
    );
    if !any {
        report.say(
            Level::Note,
            "libpq",
            "none found; one that the program loads while it runs is redirected all the same",
        );
    } else if kind.is_some_and(|kind| kind.name == "php") {
        report.say(Level::Note, "libpq", DEEPBIND);
    }
    judge_preloads(own.as_deref(), &place, report);
    let names = found
        .scripts
        .first()
        .into_iter()
        .map(|path| path.as_os_str());
    let names = [command[0].as_os_str()].into_iter().chain(names);
    judge_settings(&place, names, report);
    Ok(())
}

const DEEPBIND: &str =
    "PHP loads its extensions with RTLD_DEEPBIND: no preload reaches them by name, but \
                        their libpq is redirected where it is mapped";

fn foreign(client: &str) -> String {
    format!("{client} is no libpq: its sessions are lost in children, who open new ones")
}

/// A running process.
fn of_process(pid: u32, report: &mut Report) -> Result<(), Failure> {
    let unable = |error: std::io::Error| {
        Failure::new(
            3,
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ESRCH) => format!("there is no process {pid}"),
                Some(libc::EACCES | libc::EPERM) => {
                    format!("process {pid} may not be looked at: sudo forkguard doctor --pid {pid}")
                }
                _ => format!("process {pid}: {error}"),
            },
        )
    };
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let maps = std::fs::read(folder.join("maps")).map_err(unable)?;
    let file = std::fs::read_link(folder.join("exe")).map_err(unable)?;
    let environment = std::fs::read(folder.join("environ")).map_err(unable)?;
    let place = Place {
        root: folder.join("root"),
        environment: processes::variables(&environment)
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect(),
    };
    let binary = elf::read(&folder.join("exe"))
        .map_err(|error| Failure::new(3, format!("{} {error}", file.display())))?;
    report.say(Level::Good, "program", described(&file, &binary));
    judge_language(&binary, report);

    let maps = String::from_utf8_lossy(&maps).into_owned();
    let mut loaded: BTreeSet<String> = BTreeSet::new();
    let mut own = None;
    for line in maps.lines() {
        let Some((path, _)) = processes::mapping(line) else {
            continue;
        };
        let bare = path.trim_end_matches(" (deleted)");
        if library::is_named_so(bare.as_ref()) {
            own = Some(path.to_owned());
        } else if path.starts_with('/')
            && line
                .split(' ')
                .nth(1)
                .is_some_and(|rights| rights.contains('x'))
        {
            loaded.insert(path.to_owned());
        }
    }
    let preloaded = place.variable("LD_PRELOAD").is_some_and(|list| {
        let mut entries = list.split(|byte| b" :".contains(byte));
        entries.any(|entry| library::is_named_so(OsStr::from_bytes(entry)))
    });
    match &own {
        Some(path) if path.ends_with(" (deleted)") => report.say(
            Level::Note,
            "library",
            format!("{path}: it is loaded; its file was replaced since, and a restart takes the new one"),
        ),
        Some(path) => report.say(Level::Good, "library", format!("{path} is loaded")),
        None if binary.interpreter.is_none() => {
            report.say(Level::Not, "library", "not loaded: a static program loads none");
        }
        None if preloaded => report.say(
            Level::Not,
            "library",
            "not loaded although LD_PRELOAD names it: the program is setuid or has file capabilities, or the \
             loader said why on the program's standard error; forkguard doctor -- PROGRAM tells more",
        ),
        None => report.say(
            Level::Not,
            "library",
            "not loaded, and LD_PRELOAD does not name it: start the program with forkguard run",
        ),
    }

    let objects = loaded
        .iter()
        .map(|path| {
            let bare = PathBuf::from(path.trim_end_matches(" (deleted)"));
            (place.reach(&bare), PathBuf::from(path), String::new())
        })
        .collect();
    let any = judge_libpqs(objects, report);
    if !any {
        report.say(
            Level::Note,
            "libpq",
            "none is loaded yet; one that comes is redirected all the same",
        );
    } else if interpreter_of(&file).is_some_and(|kind| kind.name == "php") {
        report.say(Level::Note, "libpq", DEEPBIND);
    }
    for client in ["asyncpg"] {
        if loaded
            .iter()
            .any(|path| path.contains(&format!("/{client}/")))
        {
            report.say(Level::Note, "client", foreign(client));
        }
    }
    if own.is_some() {
        judge_counters(pid, any, report);
    }
    let own = own.map(|path| place.reach(Path::new(path.trim_end_matches(" (deleted)"))));
    judge_preloads(own.as_deref(), &place, report);
    let words = std::fs::read(folder.join("cmdline")).unwrap_or_default();
    let words: Vec<OsString> = words
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    // As the library does (load.rs): argv[0], and the script where an interpreter runs.
    let script = words
        .iter()
        .skip(1)
        .find(|word| !word.as_bytes().starts_with(b"-"));
    let script = script.filter(|_| interpreter_of(&file).is_some());
    let names = words
        .first()
        .into_iter()
        .chain(script)
        .map(OsString::as_os_str);
    judge_settings(&place, names, report);
    Ok(())
}

fn judge_counters(pid: u32, any: bool, report: &mut Report) {
    let seen = processes::look();
    let Some(process) = seen.processes.iter().find(|process| process.pid == pid) else {
        return;
    };
    match &process.counters {
        Counters::None => report.say(Level::Note, "counters", "none yet: it has had no session"),
        Counters::Unreadable(why) => {
            report.say(Level::Note, "counters", format!("not readable: {why}"))
        }
        Counters::Read(counted) => {
            report.say(
                Level::Good,
                "counters",
                format!(
                    "readable; policy {}, {} sessions open, {} libpqs redirected",
                    counted.policy,
                    Counted::open(counted),
                    counted.libpqs
                ),
            );
            if any && counted.libpqs == 0 && counted.policy != "off" {
                report.say(
                    Level::Partly,
                    "libpq",
                    "none of them is redirected: sessions are lost in children and not resumed",
                );
            }
        }
    }
}

fn described(path: &Path, binary: &Elf) -> String {
    let libc = match binary
        .interpreter
        .as_deref()
        .map(|name| (name, library::libc_of(name)))
    {
        None => "static".to_owned(),
        Some((_, Libc::Glibc(Some((major, minor))))) => format!("glibc {major}.{minor}"),
        Some((_, Libc::Glibc(None))) => "glibc".to_owned(),
        Some((name, Libc::Other(libc))) => format!("{libc} ({name})"),
        Some((name, Libc::Unknown)) => format!("loader {name}"),
    };
    format!("{}: {}, {libc}", path.display(), binary.target)
}

fn wants(library: &Elf) -> String {
    let newest = library
        .wants
        .iter()
        .filter_map(|want| elf::glibc(want))
        .max();
    newest.map_or(String::new(), |(major, minor)| {
        format!(" (needs glibc {major}.{minor} or later)")
    })
}

fn judge_language(binary: &Elf, report: &mut Report) {
    if binary.go && binary.interpreter.is_some() {
        report.say(
            Level::Partly,
            "program",
            "a Go program: its own network code makes system calls that no library sees; only a libpq \
             under cgo is guarded",
        );
    }
}

/// An interpreter whose extensions bring libpq along.
struct Interpreter {
    name: &'static str,
    depth: usize,
    /// Clients that are not libpq, by their folder.
    others: &'static [&'static str],
}

const INTERPRETERS: [Interpreter; 4] = [
    Interpreter {
        name: "python",
        depth: 2,
        others: &["asyncpg", "pg8000"],
    },
    Interpreter {
        name: "ruby",
        depth: 7,
        others: &[],
    },
    Interpreter {
        name: "php",
        depth: 2,
        others: &[],
    },
    Interpreter {
        name: "perl",
        depth: 6,
        others: &[],
    },
];

fn interpreter_of(binary: &Path) -> Option<&'static Interpreter> {
    let name = binary.file_name()?.to_str()?;
    INTERPRETERS.iter().find(|kind| name.starts_with(kind.name))
}

/// Folders that match a pattern, in which a `*` stands for any name or any rest of one.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for folder in found {
            match part.split_once('*') {
                None => next.push(folder.join(part)),
                Some((before, after)) => {
                    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
                    let names =
                        entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
                    let mut names: Vec<String> = names
                        .filter(|name| name.starts_with(before) && name.ends_with(after))
                        .collect();
                    names.sort();
                    next.extend(names.into_iter().map(|name| folder.join(name)));
                }
            }
        }
        found = next;
    }
    found.retain(|folder| folder.is_dir());
    found
}

fn extension_folders(
    kind: &Interpreter,
    binary: &Path,
    command: &[OsString],
    place: &Place,
) -> Vec<PathBuf> {
    let binary_folder = |path: &Path| path.parent().and_then(Path::parent).map(Path::to_owned);
    // As it was called, which is how Python finds its virtual environment, and where it really is.
    let called = std::path::absolute(binary)
        .ok()
        .and_then(|path| binary_folder(&path));
    let real = std::fs::canonicalize(binary)
        .ok()
        .and_then(|path| binary_folder(&path));
    let below = |prefix: &Option<PathBuf>, rest: &str| {
        let prefix = prefix.as_ref().map(|prefix| prefix.display().to_string());
        prefix.map_or(Vec::new(), |prefix| matching(&format!("{prefix}/{rest}")))
    };
    let mut folders = match kind.name {
        "python" => {
            let mut folders = place.folders("PYTHONPATH");
            let marker = called
                .as_ref()
                .and_then(|prefix| std::fs::read_to_string(prefix.join("pyvenv.cfg")).ok());
            if marker.is_some() {
                folders.extend(below(&called, "lib/python3*/site-packages"));
            }
            let system = "include-system-site-packages = true";
            if marker.is_none_or(|text| text.to_ascii_lowercase().contains(system)) {
                folders.extend(below(&real, "lib/python3*/site-packages"));
                folders.extend(below(&real, "lib/python3/dist-packages"));
                folders.extend(matching("/usr/local/lib/python3*/dist-packages"));
                if let Some(home) = place.variable("HOME") {
                    folders.extend(matching(&format!(
                        "{}/.local/lib/python3*/site-packages",
                        String::from_utf8_lossy(home)
                    )));
                }
            }
            folders
        }
        "ruby" => [
            place.folders("GEM_HOME"),
            place.folders("GEM_PATH"),
            below(&real, "lib/*/ruby/vendor_ruby"),
            below(&real, "lib/ruby/gems"),
            matching("/var/lib/gems"),
        ]
        .concat(),
        "php" => {
            let set = command.iter().filter_map(|word| {
                let value = word.to_str()?.strip_prefix("extension_dir=")?;
                Some(PathBuf::from(value.trim_matches('"')))
            });
            let set: Vec<PathBuf> = set.collect();
            if set.is_empty() {
                [
                    below(&real, "lib/php/*"),
                    below(&real, "lib/php/extensions/*"),
                ]
                .concat()
            } else {
                set
            }
        }
        _ => [
            place.folders("PERL5LIB"),
            below(&real, "lib/*/perl5"),
            matching("/usr/local/lib/*/perl"),
        ]
        .concat(),
    };
    folders.dedup();
    folders
}

/// Files in these folders that are libpq, or are known to be linked with it. False: there were too
/// many to see them all.
fn extensions(folders: &[PathBuf], depth: usize) -> (Vec<PathBuf>, bool) {
    // A large virtual environment's.
    const MOST: usize = 100_000;
    let mut found = Vec::new();
    let mut waiting: VecDeque<(PathBuf, usize)> =
        folders.iter().map(|folder| (folder.clone(), 1)).collect();
    let mut entries = 0;
    while let Some((folder, level)) = waiting.pop_front() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            entries += 1;
            if entries > MOST {
                return (found, false);
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            // Not followed: a link may lead up again.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if level < depth {
                    waiting.push_back((entry.path(), level + 1));
                }
                continue;
            }
            let shared = name.contains(".so");
            let known = [
                "libpq-",
                "libpq.",
                "_psycopg.",
                "pq.",
                "_pg.",
                "pg_ext.",
                "pgsql.",
                "pdo_pgsql.",
                "Pg.",
            ]
            .iter()
            .any(|known| name.starts_with(known));
            if shared && known {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    (found, true)
}

/// An object and all that the loader brings along, each with who wanted it.
fn closure(object: &Path, place: &Place) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::from([(object.to_owned(), String::new())]);
    let mut waiting = VecDeque::from([object.to_owned()]);
    let folders = loader_folders(place);
    // The largest programs have some three hundred.
    while let Some(path) = waiting.pop_front().filter(|_| found.len() < 2000) {
        let Ok(about) = elf::read(&path) else {
            continue;
        };
        let real = std::fs::canonicalize(&path).unwrap_or(path.clone());
        let origin = real
            .parent()
            .unwrap_or(Path::new("/"))
            .display()
            .to_string();
        let own = about.paths.iter().map(|folder| {
            PathBuf::from(
                folder
                    .replace("$ORIGIN", &origin)
                    .replace("${ORIGIN}", &origin),
            )
        });
        let own: Vec<PathBuf> = own.collect();
        for needed in &about.needed {
            let candidates = own.iter().chain(&folders).map(|folder| folder.join(needed));
            let fits =
                |path: &PathBuf| elf::read(path).is_ok_and(|other| other.target == about.target);
            let Some(path) = candidates.filter(|path| path.exists()).find(fits) else {
                continue;
            };
            let real = std::fs::canonicalize(&path).unwrap_or(path);
            if !found.contains_key(&real) {
                let by = object
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                found.insert(real.clone(), by);
                waiting.push_back(real);
            }
        }
    }
    found
}

/// Where the loader looks: `LD_LIBRARY_PATH`, what `ldconfig` was told, its own.
fn loader_folders(place: &Place) -> Vec<PathBuf> {
    let mut folders = place.folders("LD_LIBRARY_PATH");
    let mut files = vec![PathBuf::from("/etc/ld.so.conf")];
    let more = std::fs::read_dir("/etc/ld.so.conf.d")
        .into_iter()
        .flatten()
        .flatten();
    let mut more: Vec<PathBuf> = more.map(|entry| entry.path()).collect();
    more.sort();
    files.extend(more);
    for file in files {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim());
        folders.extend(
            lines
                .filter(|line| line.starts_with('/'))
                .map(PathBuf::from),
        );
    }
    folders.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from));
    folders
}

/// What makes an object a libpq (src/bind/mod.rs).
const LIBPQ: [&str; 5] = [
    "PQexec",
    "PQconnectPoll",
    "PQfinish",
    "PQstatus",
    "PQsocket",
];

/// Each object as (where it is read, what it is called, who wanted it). Whether there is any libpq.
fn judge_libpqs(objects: Vec<(PathBuf, PathBuf, String)>, report: &mut Report) -> bool {
    let mut any = false;
    for (path, called, by) in objects {
        let called = called.display();
        let by = if by.is_empty() {
            String::new()
        } else {
            format!(" (for {by})")
        };
        // What is no ELF object (a font, a cache of locales) is none.
        let Ok(names) = elf::exports(&path) else {
            continue;
        };
        if LIBPQ.iter().all(|name| names.contains(*name)) {
            any = true;
            report.say(
                Level::Good,
                "libpq",
                format!("{called}{by}: its functions are redirected, idle sessions come back in children"),
            );
        } else if elf::has_hidden_libpq(&path) {
            any = true;
            report.say(
                Level::Partly,
                "libpq",
                format!(
                    "{called}{by}: a libpq is linked in statically: its sessions are lost in children, who open \
                     new ones, and its cancels are not looked at"
                ),
            );
        }
    }
    any
}

/// Others that are loaded first and have functions of our names.
fn judge_preloads(own: Option<&Path>, place: &Place, report: &mut Report) {
    let ours = own
        .and_then(|own| elf::exports(own).ok())
        .unwrap_or_default();
    let list = place.variable("LD_PRELOAD").unwrap_or_default().to_vec();
    let file = std::fs::read(place.reach(Path::new("/etc/ld.so.preload"))).unwrap_or_default();
    let entries = [list, file].join(&b':');
    let words = || entries.split(|byte| b" :\n\t".contains(byte));
    // In the loader's order, LD_PRELOAD's before the file's. Where ours is in neither,
    // `forkguard run` puts it first.
    let mut is_before = words().any(|entry| library::is_named_so(OsStr::from_bytes(entry)));
    let mut seen = HashSet::new();
    for entry in words() {
        let path = Path::new(OsStr::from_bytes(entry));
        is_before &= !library::is_named_so(path.as_os_str());
        if entry.is_empty() || library::is_named_so(path.as_os_str()) || !seen.insert(path) {
            continue;
        }
        let shown = path.display();
        let file = if entry.contains(&b'/') {
            Some(place.reach(path))
        } else {
            let folders = loader_folders(place).into_iter();
            folders
                .map(|folder| place.reach(&folder.join(path)))
                .find(|path| path.exists())
        };
        let Some(names) = file.and_then(|file| elf::exports(&file).ok()) else {
            report.say(
                Level::Note,
                "preload",
                format!("{shown}: what it defines cannot be told"),
            );
            continue;
        };
        let mut shared: Vec<String> = ours.intersection(&names).cloned().collect();
        shared.sort();
        if shared.is_empty() {
            report.say(
                Level::Good,
                "preload",
                format!("{shown}: defines none of our functions"),
            );
        } else if is_before
            && !interposers::passes_on(entry)
            && shared
                .iter()
                .any(|name| name != "dlsym" && name != "dlvsym")
        {
            report.say(
                Level::Partly,
                "preload",
                format!(
                    "{shown} stands before the library and defines {} too: of calls that it does not pass on \
                     nothing is seen; libpq's sessions are refused in children then, and others are not \
                     protected; put the library first in LD_PRELOAD, as forkguard run does",
                    listed(&shared)
                ),
            );
        } else {
            report.say(
                Level::Note,
                "preload",
                format!(
                    "{shown} defines {} too: both see each call, if it passes them on (RTLD_NEXT)",
                    listed(&shared)
                ),
            );
        }
    }
}

fn listed(names: &[String]) -> String {
    const MOST: usize = 6;
    if names.is_empty() {
        return "no folder".to_owned();
    }
    let mut text = names[..names.len().min(MOST)].join(", ");
    if names.len() > MOST {
        text.push_str(&format!(" and {} more", names.len() - MOST));
    }
    text
}

fn judge_settings<'a>(place: &Place, names: impl Iterator<Item = &'a OsStr>, report: &mut Report) {
    let ours: Vec<&[u8]> = place
        .environment
        .iter()
        .map(Vec::as_slice)
        .filter(|line| line.starts_with(b"FORKGUARD_"))
        .collect();
    let (config, _) = config::read(ours.iter().copied());
    let complaint = |line: &[u8]| config::read([line].into_iter()).1.into_iter().next();
    for variable in VARIABLES {
        let value = place.variable(variable.name);
        let line = value.map(|value| [variable.name.as_bytes(), b"=", value].concat());
        let complaint = line.as_deref().and_then(complaint);
        let (value, source) = match (value, &complaint) {
            (Some(value), None) => (String::from_utf8_lossy(value).into_owned(), "environment"),
            (Some(_), Some(_)) => (variable.default.to_owned(), "invalid"),
            (None, _) => (variable.default.to_owned(), "default"),
        };
        report.settings.push(Setting {
            name: variable.name.to_owned(),
            value: terminal::printable(&value),
            source,
            complaint: complaint.map(|complaint| terminal::printable(&complaint)),
        });
    }
    for line in ours {
        let mut parts = line.splitn(2, |byte| *byte == b'=');
        let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let value = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let known = VARIABLES.iter().any(|variable| variable.name == name);
        if let Some(complaint) = complaint(line).filter(|_| !known) {
            report.settings.push(Setting {
                name: terminal::printable(&name),
                value: terminal::printable(&value),
                source: "invalid",
                complaint: Some(terminal::printable(&complaint)),
            });
        }
    }
    let base = |name: &'a OsStr| Path::new(name).file_name().unwrap_or_default().as_bytes();
    let names: Vec<&[u8]> = names.map(base).collect();
    let shown = names.first().map_or(String::new(), |name| {
        String::from_utf8_lossy(name).into_owned()
    });
    if config.exempts(names.into_iter()) {
        report.say(
            Level::Not,
            "exempt",
            format!("{shown} is exempt (FORKGUARD_EXEMPT, or known to hand its session over): the policy is off"),
        );
    }
    // The policies that only tell are the library's younger ones: by name, so that they need not exist.
    let policy = format!("{:?}", config.policy).to_lowercase();
    match config.policy {
        Policy::Resume => {}
        Policy::Abandon => report.say(
            Level::Note,
            "policy",
            "abandon: inherited sessions are lost in children, who open new ones",
        ),
        Policy::Off => report.say(Level::Not, "policy", "off: the library steps aside"),
        #[allow(unreachable_patterns)]
        _ => report.say(
            Level::Not,
            "policy",
            format!("{policy}: uses of inherited sessions are told, and nothing is changed"),
        ),
    }
}
