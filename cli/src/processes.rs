//! Which processes run under the library, and whose children they are: from `/proc`, which needs no one's
//! help.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use crate::counters::{self, Counters, Identity, Pages};
use crate::{library, terminal};

/// A guarded process.
pub struct Process {
    /// Its pid as we see it.
    pub pid: u32,
    /// The nearest guarded one above it.
    pub parent: Option<u32>,
    /// Its pid as itself sees it.
    pub inner_pid: u32,
    /// When it was forked, in nanoseconds of `CLOCK_BOOTTIME`, rounded down.
    pub started: u64,
    /// Its arguments, fit to be printed.
    pub command: Vec<String>,
    /// The library's file, as the kernel names it.
    pub library: Option<String>,
    /// What it counts in, if it has had something to count. More than one where its descriptor was
    /// closed: it has moved, and the old memory stays mapped.
    pub pages: Vec<Identity>,
    /// What it has counted.
    pub counters: Counters,
    /// Its environment's `FORKGUARD_POLICY` as the library read it; none where it can't be told.
    pub policy: Option<String>,
}

/// All there is to see.
#[derive(Default)]
pub struct Seen {
    /// In the order of a tree: each one's children behind it. With how deep they stand.
    pub processes: Vec<Process>,
    /// Processes that may not be looked at, by the pid, with their user.
    pub hidden: Vec<(u32, u32)>,
    /// The pages that were read.
    pub pages: Pages,
}

/// What a look at one process gave.
enum Look {
    Guarded(Box<Process>),
    Other,
    Hidden(u32),
}

/// Looks at every process of the machine.
pub fn look() -> Seen {
    let mut seen = Seen::default();
    let mut parents = HashMap::new();
    let mut found = HashMap::new();
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let Some((parent, started)) = stat(pid) else {
            continue; // ended meanwhile
        };
        parents.insert(pid, parent);
        match look_at(pid, started) {
            Some(Look::Guarded(process)) => {
                found.insert(pid, *process);
            }
            Some(Look::Hidden(user)) => seen.hidden.push((pid, user)),
            Some(Look::Other) | None => {}
        }
    }
    let guarded: HashSet<u32> = found.keys().copied().collect();
    for process in found.values_mut() {
        process.parent = guarded_ancestor(process.pid, &parents, &guarded);
    }
    let mut order: Vec<Process> = found.into_values().collect();
    // By age, so that a parent stands where it always stood; by pid where that does not tell.
    order.sort_by_key(|process| (process.started, process.pid));
    seen.pages.read(&mut order);
    seen.processes = order;
    seen
}

/// The nearest guarded one above a process: a program that the library is not in may stand between.
fn guarded_ancestor(pid: u32, parents: &HashMap<u32, u32>, guarded: &HashSet<u32>) -> Option<u32> {
    let mut above = *parents.get(&pid)?;
    // No chain is longer; a pid that was used again could make a ring.
    for _ in 0..64 {
        if guarded.contains(&above) {
            return (above != pid).then_some(above);
        }
        above = *parents.get(&above)?;
    }
    None
}

/// Whether a pid is a process, one that may be looked at, and a guarded one.
pub fn what_is(pid: u32, seen: &Seen) -> Result<(), (i32, String)> {
    if seen.processes.iter().any(|process| process.pid == pid) {
        return Ok(());
    }
    if let Some((_, user)) = seen.hidden.iter().find(|(hidden, _)| *hidden == pid) {
        return Err((
            3,
            format!(
                "process {pid} may not be looked at ({}): {}",
                whose(*user),
                who_may_look("try sudo")
            ),
        ));
    }
    Err((
        1,
        match stat(pid) {
            Some(_) => format!(
                "process {pid} runs without the library; forkguard doctor --pid {pid} tells more"
            ),
            None => format!("there is no process {pid}"),
        },
    ))
}

/// How to be allowed to look: as root, or, for root, what it lacks.
pub fn who_may_look(as_root: &str) -> String {
    if own_user() == 0 {
        // ptrace(2), "Ptrace access mode checking": what /proc asks for.
        "root needs CAP_SYS_PTRACE in that process's user namespace for it (in a container: --cap-add SYS_PTRACE)"
            .to_owned()
    } else {
        as_root.to_owned()
    }
}

fn own_user() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// A user for people.
fn whose(user: u32) -> String {
    let own = own_user();
    if user == own || user == 0 {
        // A process that is not dumpable belongs to root in /proc (proc(5)).
        format!(
            "it is {}, or protected by prctl(PR_SET_DUMPABLE)",
            if user == 0 { "root's" } else { "yours" }
        )
    } else {
        format!("it is user {user}'s")
    }
}

/// The parent, and when it was forked.
fn stat(pid: u32) -> Option<(u32, u64)> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also ")".
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = String::from_utf8_lossy(&stat[end + 1..]).into_owned();
    let mut fields = rest.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?; // field 4 of proc_pid_stat(5)
    let ticks: u64 = fields.nth(17)?.parse().ok()?; // field 22
                                                    // SAFETY: takes a number, returns one.
    let hertz = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100);
    Some((parent, ticks.saturating_mul(1_000_000_000 / hertz.max(1))))
}

fn look_at(pid: u32, started: u64) -> Option<Look> {
    let maps = match std::fs::read(format!("/proc/{pid}/maps")) {
        Ok(maps) => maps,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let user = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
            return Some(Look::Hidden(user));
        }
        Err(_) => return None,
    };
    let maps = String::from_utf8_lossy(&maps);
    let mut library = None;
    let mut pages = Vec::new();
    for line in maps.lines() {
        let Some((path, identity)) = mapping(line) else {
            continue;
        };
        if path == counters::LINK {
            if !pages.contains(&identity) {
                pages.push(identity);
            }
        } else if library.is_none()
            && library::is_named_so(path.trim_end_matches(" (deleted)").as_ref())
        {
            library = Some(path.to_owned());
        }
    }
    if library.is_none() && pages.is_empty() {
        return Some(Look::Other);
    }
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    Some(Look::Guarded(Box::new(Process {
        pid,
        parent: None,
        inner_pid: inner_pid(pid).unwrap_or(pid),
        started,
        command: command(pid),
        library: library.map(|path| terminal::printable(&path)),
        pages,
        counters: Counters::None,
        policy: policy(&environment),
    })))
}

/// The file of a line of `maps`.
pub fn mapping(line: &str) -> Option<(&str, Identity)> {
    // address perms offset dev inode path: the path may hold spaces.
    let mut rest = line;
    let mut fields = [""; 5];
    for field in &mut fields {
        let (word, more) = rest.split_once(' ')?;
        *field = word;
        rest = more.trim_start();
    }
    let (major, minor) = fields[3].split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let device = libc::makedev(number(major)?, number(minor)?);
    (!rest.is_empty()).then_some((
        rest,
        Identity {
            device,
            inode: fields[4].parse().ok()?,
        },
    ))
}

fn inner_pid(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

/// The arguments, or what is left of them where a program wrote its title over them.
fn command(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = bytes
        .split(|byte| *byte == 0)
        .map(|word| terminal::printable(&String::from_utf8_lossy(word)))
        .filter(|word| !word.trim().is_empty())
        .collect();
    if !words.is_empty() {
        return words;
    }
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    vec![terminal::printable(
        String::from_utf8_lossy(&name).trim_end(),
    )]
}

/// The environment that the process was started with, unless its title was written over it.
pub fn variables(environment: &[u8]) -> Vec<&[u8]> {
    environment
        .split(|byte| *byte == 0)
        .filter(|variable| variable.contains(&b'='))
        .collect()
}

fn policy(environment: &[u8]) -> Option<String> {
    let variables = variables(environment);
    // Whatever is started under the library has this, unless it is linked with it.
    if !variables
        .iter()
        .any(|variable| variable.starts_with(b"LD_PRELOAD="))
    {
        return None;
    }
    let (config, _) = forkguard_proto::config::read(variables.into_iter());
    Some(format!("{:?}", config.policy).to_lowercase())
}

/// What people call a program by: a script's name rather than its interpreter's.
pub fn name(command: &[String]) -> String {
    let shown = shown(command);
    shown.split(' ').next().unwrap_or_default().to_owned()
}

/// A command line as people type it: without folders, and without a script's interpreter.
pub fn shown(command: &[String]) -> String {
    let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    let Some((first, rest)) = command.split_first() else {
        return String::new();
    };
    // A title that a program gave itself is all in one, and may hold folders further on.
    let (first, title) = first.split_once(' ').unwrap_or((first, ""));
    let first = base(first);
    const INTERPRETERS: [&str; 7] = ["python", "perl", "ruby", "php", "node", "bash", "sh"];
    let mut begin = 0;
    let mut program = first.clone();
    if INTERPRETERS.iter().any(|known| first.starts_with(known)) {
        for (index, word) in rest.iter().enumerate() {
            match word.as_str() {
                "-c" | "-e" | "-r" => break,
                "-m" => {
                    begin = (index + 2).min(rest.len());
                    program = rest.get(index + 1).cloned().unwrap_or(program);
                    break;
                }
                _ if word.starts_with('-') => {}
                _ => {
                    begin = index + 1;
                    program = base(word);
                    break;
                }
            }
        }
    }
    let words = [program.as_str(), title]
        .into_iter()
        .chain(rest[begin..].iter().map(String::as_str));
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The processes below one, itself first, with how deep each stands.
pub fn tree(processes: &[Process], root: u32) -> Vec<(usize, &Process)> {
    let mut children: HashMap<u32, Vec<&Process>> = HashMap::new();
    for process in processes {
        if let Some(parent) = process.parent {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut tree = Vec::new();
    let mut waiting: Vec<(usize, &Process)> = processes
        .iter()
        .filter(|process| process.pid == root)
        .map(|process| (0, process))
        .collect();
    let mut done = HashSet::new();
    while let Some((depth, process)) = waiting.pop() {
        if !done.insert(process.pid) {
            continue;
        }
        tree.push((depth, process));
        let below = children.get(&process.pid).into_iter().flatten();
        waiting.extend(below.rev().map(|child| (depth + 1, *child)));
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_read_to_its_end() {
        let line = "7f00-7f01 rw-s 00000000 00:01 1026    /memfd:forkguard-counters (deleted)";
        let (path, identity) = mapping(line).unwrap();
        assert_eq!(path, counters::LINK);
        assert_eq!((identity.device, identity.inode), (1, 1026));
        assert!(mapping("7f00-7f01 rw-p 00000000 00:00 0 ").is_none());
        assert!(mapping("7f00-7f01 rw-p 00000000 00:00 0").is_none());
    }

    #[test]
    fn a_program_has_the_name_that_people_give_it() {
        let name =
            |words: &[&str]| name(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(name(&["/usr/bin/python3", "/v/bin/celery", "-A"]), "celery");
        assert_eq!(name(&["python", "-u", "-m", "celery"]), "celery");
        assert_eq!(name(&["/usr/bin/python3", "-c", "pass"]), "python3");
        assert_eq!(name(&["puma 6.3 (tcp://…)"]), "puma");
        assert_eq!(name(&[]), "");
        let shown =
            |words: &[&str]| shown(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            shown(&["/b/python3", "-u", "/v/celery", "-A", "app"]),
            "celery -A app"
        );
        assert_eq!(
            shown(&["python", "-m", "celery", "worker"]),
            "celery worker"
        );
        assert_eq!(shown(&["/bin/python", "-c", "pass"]), "python -c pass");
        assert_eq!(shown(&["puma 6.3 (tcp://a)", "x"]), "puma 6.3 (tcp://a) x");
    }
}
