//! The page of counters, read from outside while its processes run: what it tells is what
//! happened, and nobody needs to be asked.

use crate::support::*;
use forkguard_proto::page::{self, Count, Page, Slot, COUNTS, MAGIC, SLOTS, VERSION};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::atomic::Ordering::*;

/// `tests/programs/counters.c`, which does what it is told.
pub struct Tree {
    folder: tempfile::TempDir,
    running: Running,
}

impl Tree {
    pub fn start(how: &[&str], set: impl FnOnce(Run) -> Run) -> Tree {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::new(compile("counters"))
            .arg(folder.path())
            .args(how)
            .env("CONNINFO", cluster().conninfo(Transport::Unix))
            .guarded(true);
        let running = set(run).start();
        let tree = Tree { folder, running };
        tree.hear(tree.pid(), "ready");
        tree
    }

    pub fn resuming() -> Tree {
        Tree::start(&[], |run| run.policy(Policy::Resume))
    }

    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Has a process do something; its answer's number.
    #[track_caller]
    pub fn tell(&self, pid: u32, command: &str) -> i64 {
        let fifo = self.folder.path().join(pid.to_string());
        let mut end = std::fs::OpenOptions::new().write(true).open(fifo).unwrap();
        std::io::Write::write_all(&mut end, format!("{command}\n").as_bytes()).unwrap();
        self.hear(pid, command.split(' ').next().unwrap())
    }

    #[track_caller]
    fn hear(&self, pid: u32, what: &str) -> i64 {
        let line = self.running.line();
        let said = line.strip_prefix(&format!("{pid}: {what} "));
        let said = said.unwrap_or_else(|| panic!("not an answer to {what:?}: {line:?}"));
        said.parse().unwrap()
    }

    /// A child that waits to be told, once it is there.
    pub fn fork(&self, pid: u32, how: &str) -> u32 {
        let child = u32::try_from(self.tell(pid, how)).unwrap();
        let fifo = self.folder.path().join(child.to_string());
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !fifo.exists() {
            assert!(std::time::Instant::now() < end, "no child");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child
    }

    /// `forkguard_counters` of a process.
    fn counters(&self, pid: u32) -> Vec<u64> {
        let fifo = self.folder.path().join(pid.to_string());
        let mut end = std::fs::OpenOptions::new().write(true).open(fifo).unwrap();
        std::io::Write::write_all(&mut end, b"counters\n").unwrap();
        let line = self.running.line();
        let numbers = line.strip_prefix(&format!("{pid}: ")).unwrap();
        let numbers: Vec<u64> = numbers.split(' ').map(|n| n.parse().unwrap()).collect();
        numbers[..7].to_vec()
    }
}

/// A process's page, mapped.
struct Shared {
    page: &'static Page,
    file: std::fs::File,
}

/// Where a process has it open.
fn descriptors(pid: u32) -> Vec<PathBuf> {
    let link = format!("/memfd:{} (deleted)", page::NAME.to_str().unwrap());
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| std::fs::read_link(path).is_ok_and(|to| to.as_os_str() == &*link))
        .collect()
}

impl Shared {
    #[track_caller]
    fn of(pid: u32) -> Shared {
        let descriptors = descriptors(pid);
        let [path] = &descriptors[..] else {
            panic!("one page: {descriptors:?}");
        };
        let number: u32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        assert!(number >= 300, "out of the way: {number}");
        let file = std::fs::File::open(path).unwrap();
        // SAFETY: a new mapping; the file is sealed against becoming shorter, as is asserted.
        let page = unsafe {
            assert_eq!(
                libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS)
                    & (libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL),
                libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL
            );
            let page = libc::mmap(
                std::ptr::null_mut(),
                size_of::<Page>(),
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            );
            assert_ne!(page, libc::MAP_FAILED);
            &*page.cast::<Page>()
        };
        assert_eq!(page.magic.load(Relaxed), MAGIC);
        assert_eq!(page.version.load(Relaxed), VERSION);
        assert_eq!(page.slots_count.load(Relaxed), SLOTS as u32);
        Shared { page, file }
    }

    fn inode(&self) -> u64 {
        self.file.metadata().unwrap().ino()
    }

    fn slots(&self, pid: u32) -> Vec<&Slot> {
        let slots = self.page.slots.iter();
        slots.filter(|slot| slot.pid.load(Relaxed) == pid).collect()
    }

    #[track_caller]
    fn slot(&self, pid: u32) -> &Slot {
        let slots = self.slots(pid);
        assert_eq!(slots.len(), 1, "one slot");
        slots[0]
    }

    /// What a process counted, what is 0 left out.
    #[track_caller]
    fn counts(&self, pid: u32) -> Vec<(Count, u64)> {
        named(|what| self.slot(pid).counts[what as usize].load(Relaxed))
    }

    /// What everybody did.
    fn total(&self, what: Count) -> u64 {
        let slots = self.page.slots.iter();
        let live: u64 = slots
            .map(|slot| slot.counts[what as usize].load(Relaxed))
            .sum();
        live + self.page.retired[what as usize].load(Relaxed)
    }

    fn processes(&self) -> usize {
        let slots = self.page.slots.iter();
        slots.filter(|slot| slot.pid.load(Relaxed) != 0).count()
    }

    fn folds(&self) -> (u64, u64) {
        (
            self.page.folds_begun.load(Relaxed),
            self.page.folds_done.load(Relaxed),
        )
    }
}

const ALL: [Count; COUNTS] = [
    Count::Opened,
    Count::Closed,
    Count::Abandoned,
    Count::Refused,
    Count::HandedOver,
    Count::Resumed,
    Count::Opaque,
    Count::CancelsHeld,
    Count::Reported,
];

fn named(number: impl Fn(Count) -> u64) -> Vec<(Count, u64)> {
    let all = ALL.iter().map(|what| (*what, number(*what)));
    all.filter(|(_, number)| *number != 0).collect()
}

fn reason(slot: &Slot) -> String {
    assert_eq!(slot.reason_turn.load(Relaxed) % 2, 0);
    let length = slot.reason_length.load(Relaxed) as usize;
    let bytes = slot.reason[..length].iter().map(|byte| byte.load(Relaxed));
    String::from_utf8(bytes.collect()).unwrap()
}

fn nanoseconds() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

#[test]
fn a_tree_is_read_while_it_runs() {
    use Count::*;
    let tree = Tree::resuming();
    let parent = tree.pid();
    assert_eq!(descriptors(parent), [] as [PathBuf; 0], "nothing to count");
    let begun = nanoseconds();
    for _ in 0..3 {
        tree.tell(parent, "open");
    }
    let shared = Shared::of(parent);
    assert_eq!(shared.counts(parent), [(Opened, 3)]);
    tree.tell(parent, "close");
    // A duplicate is no session of its own, and the number closed first is not the end.
    let copy = tree.tell(parent, "duplicate 0");
    tree.tell(parent, &format!("close-number {copy}"));
    assert_eq!(shared.counts(parent), [(Opened, 3), (Closed, 1)]);
    let slot = shared.slot(parent);
    assert_eq!(slot.policy.load(Relaxed), 2);
    assert_eq!(slot.libpqs.load(Relaxed), 1);
    assert_eq!(slot.parent.load(Relaxed), std::process::id());
    assert_eq!(slot.first_event.load(Relaxed), 0, "no event");
    tree.tell(parent, "hold 1");

    // Two idle or not, one cancel; a grandchild with a session of its own.
    let child = tree.fork(parent, "fork");
    let other = tree.fork(parent, "fork");
    assert_eq!(tree.tell(child, "use 0"), 1);
    assert_eq!(
        shared.counts(child),
        [(Opened, 1), (Abandoned, 2), (Resumed, 1)]
    );
    assert_eq!(tree.tell(child, "use 1"), 0, "a transaction was open");
    assert_eq!(tree.tell(child, "cancel 1"), 0);
    assert_eq!(
        shared.counts(child),
        [
            (Opened, 1),
            (Abandoned, 2),
            (Resumed, 1),
            (Opaque, 1),
            (CancelsHeld, 1)
        ]
    );
    assert_eq!(tree.counters(child), [1, 2, 0, 0, 1, 1, 1]);
    let slot = shared.slot(child);
    assert_eq!(slot.parent.load(Relaxed), parent);
    assert_eq!(slot.first_event.load(Relaxed), Abandoned as u32 + 1);
    assert_eq!(slot.last_event.load(Relaxed), CancelsHeld as u32 + 1);
    let (first, last) = (slot.first_at.load(Relaxed), slot.last_at.load(Relaxed));
    assert!(begun < first && first < last && last < nanoseconds());
    assert_eq!(reason(slot), "transaction_more: create");
    tree.running
        .log_with("more than read: create (transaction_more); ");

    assert_eq!(shared.counts(other), [(Abandoned, 2)]);
    let grandchild = tree.fork(child, "fork");
    tree.tell(grandchild, "open");
    assert_eq!(shared.counts(grandchild), [(Opened, 1), (Abandoned, 1)]);
    assert_eq!(shared.slot(grandchild).parent.load(Relaxed), child);
    // The same page for all, and the parent's counts are its own still.
    for pid in [child, other, grandchild] {
        assert_eq!(Shared::of(pid).inode(), shared.inode());
    }
    assert_eq!(shared.counts(parent), [(Opened, 3), (Closed, 1)]);
    assert_eq!(shared.processes(), 4);
    assert_eq!(tree.tell(parent, "use 1"), 1, "undisturbed");
}

#[test]
fn who_has_nothing_to_count_has_no_page() {
    let tree = Tree::resuming();
    let child = tree.fork(tree.pid(), "fork");
    for pid in [tree.pid(), child] {
        assert_eq!(descriptors(pid), [] as [PathBuf; 0]);
    }
    // What is the child's own is not the parent's.
    tree.tell(child, "open");
    assert_eq!(Shared::of(child).counts(child), [(Count::Opened, 1)]);
    assert_eq!(descriptors(tree.pid()), [] as [PathBuf; 0]);
    // In a parent that has one, a child that inherits nothing takes no slot.
    tree.tell(child, "close");
    let grandchild = tree.fork(child, "fork");
    let shared = Shared::of(grandchild);
    assert_eq!(shared.slots(grandchild).len(), 0);
    tree.tell(grandchild, "open");
    assert_eq!(shared.counts(grandchild), [(Count::Opened, 1)]);
    assert_eq!(
        shared.counts(child),
        [(Count::Opened, 1), (Count::Closed, 1)]
    );
}

#[test]
fn slots_of_the_dead_are_used_again_and_their_counts_are_kept() {
    let tree = Tree::start(&[], |run| run);
    tree.tell(tree.pid(), "open");
    tree.tell(tree.pid(), "open");
    let shared = Shared::of(tree.pid());
    // Killed outright: its counts stay where they are until its slot is wanted.
    let killed = tree.fork(tree.pid(), "fork");
    // SAFETY: kill takes two numbers.
    unsafe { libc::kill(killed as libc::pid_t, libc::SIGKILL) };
    tree.tell(tree.pid(), &format!("wait {killed}"));
    assert_eq!(shared.counts(killed), [(Count::Abandoned, 2)]);
    const TURNS: u64 = 600;
    tree.tell(tree.pid(), &format!("in-turn {TURNS}"));
    assert_eq!(shared.total(Count::Abandoned), 2 * (TURNS + 1));
    assert_eq!(shared.counts(tree.pid()), [(Count::Opened, 2)]);
    assert_eq!(shared.page.unlisted.load(Relaxed), 0);
    let retired = shared.page.retired_processes.load(Relaxed);
    assert_eq!(retired + shared.processes() as u64, TURNS + 2);
    assert!(shared.page.retired[Count::Abandoned as usize].load(Relaxed) >= 2 * retired);
    assert_eq!(shared.folds().0, shared.folds().1);
    assert!(retired >= TURNS + 2 - SLOTS as u64);
}

#[test]
fn more_at_once_than_there_is_room_for() {
    let tree = Tree::start(&[], |run| run);
    tree.tell(tree.pid(), "open");
    let shared = Shared::of(tree.pid());
    const MANY: usize = 300;
    let fifo = tree.folder.path().join(tree.pid().to_string());
    let mut end = std::fs::OpenOptions::new().write(true).open(fifo).unwrap();
    std::io::Write::write_all(&mut end, format!("at-once {MANY}\n").as_bytes()).unwrap();
    let children: Vec<i64> = (0..MANY).map(|_| tree.hear(tree.pid(), "child")).collect();
    tree.hear(tree.pid(), "at-once");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let without = (MANY + 1 - SLOTS) as u64;
    while shared.page.unlisted.load(Relaxed) < without && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(shared.page.unlisted.load(Relaxed), without);
    assert_eq!(shared.processes(), SLOTS);
    while shared.total(Count::Abandoned) < SLOTS as u64 - 1 && std::time::Instant::now() < deadline
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(shared.total(Count::Abandoned), SLOTS as u64 - 1);
    assert_eq!(shared.page.retired_processes.load(Relaxed), 0, "all live");
    // One more has none either, and works; the C interface knows what it did.
    let child = tree.fork(tree.pid(), "fork");
    tree.tell(child, "open");
    assert_eq!(tree.counters(child)[..2], [1, 1]);
    assert_eq!(shared.slots(child).len(), 0);
    // Once some are gone there is room.
    for pid in &children {
        // SAFETY: kill takes two numbers.
        unsafe { libc::kill(*pid as libc::pid_t, libc::SIGKILL) };
        tree.tell(tree.pid(), &format!("wait {pid}"));
    }
    let child = tree.fork(tree.pid(), "fork");
    tree.tell(child, "open");
    assert_eq!(
        shared.counts(child),
        [(Count::Opened, 1), (Count::Abandoned, 1)]
    );
    assert_eq!(shared.total(Count::Abandoned), SLOTS as u64);
}

#[test]
fn a_closed_descriptor_comes_back_with_the_next_count() {
    let tree = Tree::start(&[], |run| run);
    let parent = tree.pid();
    tree.tell(parent, "open");
    let before = Shared::of(parent);
    tree.tell(parent, "close-all");
    assert_eq!(descriptors(parent), [] as [PathBuf; 0]);
    tree.tell(parent, "open");
    let after = Shared::of(parent);
    assert_ne!(before.inode(), after.inode());
    assert_eq!(before.slots(parent).len(), 0, "it has moved");
    let counted = after.counts(parent);
    assert!(counted.contains(&(Count::Opened, 2)), "{counted:?}");
    let child = tree.fork(parent, "fork");
    assert_eq!(after.counts(child), [(Count::Abandoned, 1)]);
    // In a child alone: it moves, and the others stay where they are.
    tree.tell(child, "close-all");
    tree.tell(child, "open");
    let own = Shared::of(child);
    assert_ne!(own.inode(), after.inode());
    assert_eq!(
        own.counts(child),
        [(Count::Opened, 1), (Count::Abandoned, 1)]
    );
    assert_eq!(after.slots(child).len(), 0);
    assert_eq!(own.slot(child).parent.load(Relaxed), parent);
    // Again and again: what a process maps has a bound, and it goes on.
    for _ in 0..12 {
        tree.tell(child, "close-all");
        tree.tell(child, "open");
    }
    assert_eq!(tree.counters(child)[..2], [13, 1]);
    let maps = std::fs::read_to_string(format!("/proc/{child}/maps")).unwrap();
    assert_eq!(maps.matches("forkguard-counters").count(), 8);
}

#[test]
fn a_daemon_and_its_heir() {
    let tree = Tree::start(&[], |run| run);
    let parent = tree.pid();
    tree.tell(parent, "open");
    let heir = u32::try_from(tree.tell(parent, "daemon")).unwrap();
    let shared = Shared::of(heir);
    assert_eq!(shared.counts(parent), [(Count::Opened, 1)]);
    assert_eq!(shared.counts(heir), [(Count::HandedOver, 1)]);
    tree.tell(heir, "close");
    assert_eq!(
        shared.counts(heir),
        [(Count::Closed, 1), (Count::HandedOver, 1)]
    );
}

#[test]
fn another_program_has_a_page_of_its_own() {
    let tree = Tree::start(&[], |run| run);
    let parent = tree.pid();
    tree.tell(parent, "open");
    let before = Shared::of(parent);
    let child = tree.fork(parent, "fork");
    let fifo = tree.folder.path().join(child.to_string());
    let mut end = std::fs::OpenOptions::new().write(true).open(fifo).unwrap();
    std::io::Write::write_all(&mut end, b"exec\n").unwrap();
    assert_eq!(tree.running.line(), format!("exec: {child}"));
    tree.hear(child, "ready");
    assert_eq!(descriptors(child), [] as [PathBuf; 0], "close-on-exec");
    tree.tell(child, "open");
    let after = Shared::of(child);
    assert_ne!(before.inode(), after.inode());
    assert_eq!(after.counts(child), [(Count::Opened, 1)]);
}

#[test]
fn children_that_no_handler_sees() {
    let tree = Tree::start(&[], |run| run);
    let parent = tree.pid();
    tree.tell(parent, "open");
    let shared = Shared::of(parent);
    // In its parent's memory: nothing is counted, there or elsewhere.
    tree.tell(parent, "vfork");
    assert_eq!(shared.counts(parent), [(Count::Opened, 1)]);
    assert_eq!(shared.processes(), 1);
    // A slot with its first call that is seen, and the parent's is left alone.
    let child = tree.fork(parent, "raw-fork");
    assert_eq!(tree.tell(child, "use 0"), 0);
    assert_eq!(shared.counts(child), [(Count::Abandoned, 1)]);
    assert_eq!(shared.slot(child).parent.load(Relaxed), parent);
    assert_eq!(shared.counts(parent), [(Count::Opened, 1)]);
    assert_eq!(tree.tell(parent, "use 0"), 1);
}

#[test]
fn without_shared_memory_it_goes_on() {
    for how in ["no-memfd", "small-files"] {
        let tree = Tree::start(&[how], |run| {
            run.policy(Policy::Resume).env("FORKGUARD_LOG", "debug")
        });
        let parent = tree.pid();
        tree.tell(parent, "open");
        assert_eq!(descriptors(parent), [] as [PathBuf; 0], "{how}");
        let child = tree.fork(parent, "fork");
        assert_eq!(tree.tell(child, "use 0"), 1, "{how}");
        assert_eq!(tree.counters(child)[..5], [1, 1, 0, 0, 1], "{how}");
        assert_eq!(tree.counters(parent)[..5], [1, 0, 0, 0, 0], "{how}");
        tree.running.log_with("no counters page, or no room in it");
    }
}

#[test]
fn rubbish_in_the_page_harms_nobody() {
    let tree = Tree::resuming();
    let parent = tree.pid();
    tree.tell(parent, "open");
    let path = descriptors(parent).remove(0);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    for byte in [0xff, 0x01, 0x00, 0x80] {
        file.write_all_at(&vec![byte; size_of::<Page>()], 0)
            .unwrap();
        tree.tell(parent, "open");
        let child = tree.fork(parent, "fork");
        assert_eq!(tree.tell(child, "use 0"), 1);
        tree.tell(child, "hold 0");
        let grandchild = tree.fork(child, "fork");
        assert_eq!(tree.tell(grandchild, "use 0"), 0);
        assert_eq!(tree.tell(parent, "use 0"), 1);
    }
    // Nobody makes it shorter, and its readers and writers die of it.
    assert!(file.set_len(0).is_err());
    assert!(file.set_len(1 << 20).is_err());
}

#[test]
fn the_detector_counts_what_it_tells() {
    let tree = Tree::start(&[], |run| run.env("FORKGUARD_POLICY", "report"));
    let parent = tree.pid();
    tree.tell(parent, "open");
    let shared = Shared::of(parent);
    let child = tree.fork(parent, "fork");
    for _ in 0..3 {
        assert_eq!(tree.tell(child, "use 0"), 1, "it is answered");
    }
    assert_eq!(shared.counts(child), [(Count::Reported, 1)], "one place");
    assert_eq!(shared.slot(child).policy.load(Relaxed), 3);
    assert_eq!(shared.counts(parent), [(Count::Opened, 1)]);
}
