//! What is done in a forked child before the program goes on.

use core::ffi::c_int;
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};

use super::abandon::{DeadSockets, Outcome};
use super::descriptors::{self, Entry, PeerText, State, EXPECTED, HANDED_OVER};
use super::line::Line;
use super::sink::{self, Level};
use super::stats::Count;
use super::sys::{self, Errno};
use super::{connect_section, fence, generation, ownership, stats, threads};

/// The thread that is inside `daemon(3)`, by `pthread_self`, or 0. Its child is the new
/// owner: the parent leaves with `_exit`, and touches nothing again.
#[link_section = ".data.forkguard"]
static IN_DAEMON: AtomicUsize = AtomicUsize::new(0);

/// Whether this process may share its table of descriptors with the one it was made
/// by: what it closed, that one would lose.
#[link_section = ".data.forkguard"]
static SHARED_TABLE: AtomicBool = AtomicBool::new(false);

/// Whether inherited sessions are left alone, and their use reported: the policies
/// `report` and `abort`.
static LEAVES_ALONE: AtomicBool = AtomicBool::new(false);

/// Leaves what is inherited alone from now on. Once, by the constructor.
pub fn leave_alone() {
    LEAVES_ALONE.store(true, Relaxed);
}

/// Whether inherited sessions are left alone.
pub fn leaves_alone() -> bool {
    LEAVES_ALONE.load(Relaxed)
}

/// Whether to close a descriptor here may be to close it in the parent.
pub fn shares_table() -> bool {
    SHARED_TABLE.load(Relaxed)
}

/// Marks this thread as being inside `daemon(3)`, or no longer.
pub fn set_in_daemon(inside: bool) {
    IN_DAEMON.store(if inside { sys::this_thread() } else { 0 }, Relaxed);
}

#[cfg(any(break_child_handler = "allocate", break_child_handler = "lock"))]
extern "C" {
    /// `src/fault_injection.rs`: this crate could not say it.
    fn forkguard_break_child_handler();
}

/// The `pthread_atfork` child handler.
pub extern "C" fn handler() {
    #[cfg(any(break_child_handler = "allocate", break_child_handler = "lock"))]
    // SAFETY: the library defines it, for the test that must find what it does.
    unsafe {
        forkguard_break_child_handler()
    };
    if !generation::is_just_forked() {
        return; // a hook has been here before us, in a signal handler
    }
    if generation::raw_forks_are_seen() && generation::is_fork_handled() {
        generation::distrust();
    }
    // Where nothing is inherited the page is left to the first hook: each page
    // that a child touches first costs it a fault.
    if descriptors::any() || !generation::raw_forks_are_seen() {
        handle_fork(b"", generation::current()); // libc's fork always copies the table
    }
}

/// Called by a hook that finds the page wiped: in a child that had nothing to
/// inherit, or that no handler has seen (`_Fork`, `clone`, raw system calls),
/// or in a child of `vfork` of such a one.
#[cold]
pub extern "C" fn handle_unseen_fork() {
    // Read before the page is looked at again. Two threads of such a child may
    // come here at once: both do the work, which has no effect the second time,
    // and what either opens afterwards is of a newer generation than this.
    let (mine, parent) = (generation::current(), generation::last_pid());
    if generation::is_fork_handled() || generation::compares_pids() && generation::is_own_memory() {
        return;
    }
    // Before the first session nothing is replaced, and nobody is asked anything: the
    // same may be written in a child of `vfork` whose parent's fork is not handled.
    if generation::has_had_session() && !sys::knows_its_thread() {
        // A child of `vfork` runs in its parent's memory and must write nothing
        // there. Where the kernel will not say (`kcmp(2)` under some seccomp
        // policies): with a candidate in the table, or an object of libpq's, this
        // mark was set in this memory before, so it is a copy; without one there is nothing
        // to do. Where pids are compared the mark is not seen, and to take a child of
        // `vfork` for a copy would be to lose its parent's sessions.
        match sys::shares_memory_with(sys::parent_pid()) {
            Ok(true) => return,
            Err(_) if !descriptors::any() && !ownership::any_known() => return,
            Err(_) if generation::compares_pids() && !generation::vfork_copies() => return,
            _ => {}
        }
    }
    // Without a candidate there is nothing to be replaced, and nothing to be asked.
    let shared = if generation::has_had_session() && descriptors::any() {
        why_shared(parent)
    } else {
        b""
    };
    handle_fork(shared, mine);
}

/// What a pass over the table found, for the log.
struct Report {
    abandoned: u64,
    /// Those that were dead in the parent already.
    already_dead: u64,
    handed_over: u64,
    /// Those of a process that left with `daemon(3)`: they are not logged.
    left_to_new_owner: u64,
    refused: u64,
    unknown: u64,
    errno: Errno,
    /// Why the table of descriptors may be the parent's; empty where it is not.
    shared: &'static [u8],
    /// The first numbers of those abandoned; the complement, of one that was still
    /// connecting.
    listed: [c_int; LISTED],
}

/// More than a line of text has room for.
const LISTED: usize = 128;

/// `shared`: why the table of descriptors may be the parent's; empty where it is not.
fn handle_fork(shared: &'static [u8], mine: u32) {
    let parent = generation::last_pid();
    stats::reset(parent);
    threads::in_child();
    let is_new_owner = IN_DAEMON.load(Relaxed) == sys::this_thread();
    if leaves_alone() {
        generation::note_parent(mine, parent);
    }
    if !is_new_owner {
        match leaves_alone() {
            false => ownership::inherit(mine, descriptors::any()),
            true => ownership::leave_alone(mine),
        }
    }
    if generation::has_had_session() && descriptors::any() {
        let mut report = Report {
            abandoned: 0,
            already_dead: 0,
            handed_over: 0,
            left_to_new_owner: 0,
            refused: 0,
            unknown: 0,
            errno: Errno::NONE,
            shared,
            listed: [-1; LISTED],
        };
        let shared = !report.shared.is_empty();
        SHARED_TABLE.store(shared, Relaxed);
        let mut dead = DeadSockets::none(mine.wrapping_add(1));
        descriptors::for_each(|fd, entry| {
            if entry.word().is_of_generation_or_older(mine) {
                handle_descriptor(fd, entry, is_new_owner, shared, &mut dead, &mut report);
            }
        });
        dead.finish();
        finish(mine);
        // Counted once this memory is known to be ours.
        stats::count(Count::Abandoned, report.abandoned);
        stats::count(Count::Refused, report.refused);
        stats::count(
            Count::HandedOver,
            report.handed_over + report.left_to_new_owner,
        );
        log_report(parent, &report);
    } else {
        finish(mine);
    }
}

/// Why this child, which no fork handler has seen, may share its table of descriptors
/// with `last`, the process whose memory it copied: to replace a descriptor would then
/// take it from that process. Empty where it certainly has its own.
///
/// `last` is the process that last handled a fork, and not the parent: the parent may be
/// another one (`CLONE_PARENT`, or one in the middle that has gone). One in the middle
/// that has not handled its fork may share with us: it must not touch these sessions either.
fn why_shared(last: c_int) -> &'static [u8] {
    // A child of `_Fork(3)`, which copies the table; its first thread, for another one may
    // have been started by libc in a child of whatever kind.
    if sys::is_first_thread() && sys::knows_its_thread() {
        return b"";
    }
    // Below, numbers of processes must mean what they meant there (`CLONE_NEWPID`).
    if !generation::is_in_known_namespace() {
        return b"it may be in another pid namespace, or /proc is missing";
    }
    // That process may share with others that handled their fork, which a comparison with
    // it does not show where it has left them (`unshare(2)`, `execve(2)`).
    if SHARED_TABLE.load(Relaxed) {
        return b"the process that made it may share its table with another";
    }
    match sys::shares_descriptors_with(last) {
        Ok(true) => return b"it was made with CLONE_FILES",
        // Nothing can be taken from a process that is no more. The same holds where another
        // one has its number by now, and does not share with us.
        Err(Errno::ESRCH) => {}
        Ok(false) if sys::has_descriptors(last) => {}
        Ok(false) | Err(_) => return b"kcmp(2) does not tell",
    }
    // The thread that made us may have a table of its own (`unshare(2)`).
    match sys::recorded_thread().map(sys::shares_descriptors_with) {
        Some(Ok(false) | Err(Errno::ESRCH)) => b"",
        _ => b"it was made by a thread with another table",
    }
}

/// Nothing is left to do for this fork.
fn finish(mine: u32) {
    fence::reset();
    connect_section::reset();
    // In this order: a thread that sees the next generation sees the mark.
    generation::set_fork_handled();
    generation::end(mine);
}

fn handle_descriptor(
    fd: c_int,
    entry: Entry,
    is_new_owner: bool,
    shared: bool,
    dead: &mut DeadSockets,
    report: &mut Report,
) {
    let word = entry.word();
    let state = word.state();
    match state {
        _ if is_new_owner => {
            report.left_to_new_owner += u64::from(state == State::Session);
            return entry.set_owned(dead.generation);
        }
        // A connection that another thread of the parent is opening, or this
        // one: if it leads to a server of ours it is a session to be.
        State::Pending if word.has(EXPECTED) => {}
        // It stays inherited, and is abandoned if its first bytes turn out to
        // be a session's.
        State::None | State::Pending | State::Epoll => return,
        State::Session if word.has(HANDED_OVER) => {
            entry.set_owned(dead.generation);
            report.handed_over += 1;
            return;
        }
        // A dead socket of our parent's is replaced like a session: see `abandon`.
        _ => {}
    }
    if leaves_alone() {
        return entry.set_inherited(word.generation());
    }
    let outcome = match (shared, state) {
        (false, _) => dead.replace(fd, entry),
        // A dead socket as well: it holds the number for the process that put it there.
        (true, _) => {
            entry.set_refused(dead.generation);
            Outcome::Refused(Errno::NONE)
        }
    };
    if state == State::Abandoned && !shared {
        report.already_dead += u64::from(matches!(outcome, Outcome::Dead));
        return;
    }
    match outcome {
        Outcome::Dead => {
            if let Some(place) = report.listed.get_mut(report.abandoned as usize) {
                *place = if state == State::Pending { !fd } else { fd };
            }
            report.abandoned += 1;
        }
        Outcome::Refused(errno) => {
            report.refused += 1;
            report.errno = errno;
        }
        Outcome::Unknown(errno) => {
            report.unknown += 1;
            report.errno = errno;
        }
        Outcome::Gone => {}
    }
}

fn log_report(parent: c_int, report: &Report) {
    if report.abandoned > 0 {
        sink::say(Level::Info, |line| push_abandoned(line, parent, report));
    }
    if report.already_dead > 0 {
        sink::say(Level::Info, |line| {
            push_connections(line, b"inherited ", report.already_dead);
            line.push(b" that process ")
                .push_number(i64::from(parent))
                .push(b" had inherited itself: dead there, and dead here");
            push_event(line, b"already_dead", parent, report.already_dead);
        });
    }
    if report.handed_over > 0 {
        sink::say(Level::Info, |line| {
            line.push(b"keeps ").push_number(report.handed_over as i64);
            line.push(b" PostgreSQL connection(s) handed over by process ")
                .push_number(i64::from(parent));
            push_event(line, b"handed_over", parent, report.handed_over);
        });
    }
    if report.refused > 0 {
        sink::say(Level::Warn, |line| {
            push_count(line, parent, report.refused);
            line.push(b" could not be replaced");
            if report.shared.is_empty() {
                line.push(b" (errno ")
                    .push_number(i64::from(report.errno))
                    .push(b"); calls on them are refused");
            } else {
                line.push(b": this child's table of descriptors may be the parent's (")
                    .push(report.shared)
                    .push(b"); calls on them are refused; make the child with fork(), or let it open connections of its own");
            }
            push_event(line, b"refused", parent, report.refused);
            line.number("errno", i64::from(report.errno));
        });
    }
    if report.unknown > 0 {
        sink::say(Level::Warn, |line| {
            push_count(line, parent, report.unknown);
            line.push(b" could not be identified (errno ")
                .push_number(i64::from(report.errno));
            line.push(b") and are left as they are; this child must not use them");
            push_event(line, b"unknown", parent, report.unknown);
            line.number("errno", i64::from(report.errno));
        });
    }
}

const CONNECTING: PeerText = {
    let (mut text, word, mut at) = ([0; size_of::<PeerText>()], b"connecting", 0);
    while at < word.len() {
        text[at] = word[at];
        at += 1;
    }
    text
};

fn push_abandoned(line: &mut Line, parent: c_int, report: &Report) {
    push_connections(line, b"abandoned ", report.abandoned);
    line.push(b" inherited from process ")
        .push_number(i64::from(parent))
        .push(b": descriptor");
    // Of a line of text the beginning, the list, one that is listed last and the
    // end must fit.
    const LIST: usize = 773;
    let begin = line.length();
    let listed = || {
        report
            .listed
            .iter()
            .take(report.abandoned as usize)
            .filter_map(|fd| match *fd {
                fd @ 0.. => Some((fd, descriptors::find(fd)?.peer())),
                connecting => Some((!connecting, CONNECTING)),
            })
    };
    let mut count = 0;
    for (fd, peer) in listed() {
        if line.length() - begin > LIST {
            break;
        }
        line.push(if count == 0 { b" " } else { b", " });
        line.push_number(i64::from(fd)).push(b" (");
        line.push(descriptors::trimmed(&peer)).push(b")");
        count += 1;
    }
    if count < report.abandoned {
        line.push(b" and ")
            .push_number((report.abandoned - count) as i64)
            .push(b" more");
    }
    push_event(line, b"abandoned", parent, report.abandoned);
    line.list("connections", |line| {
        listed().for_each(|(fd, peer)| push_connection(line, fd, &peer));
    });
}

/// One of a list of connections, as an object.
pub fn push_connection(line: &mut Line, fd: c_int, peer: &PeerText) {
    line.object("", |line| {
        line.number("descriptor", i64::from(fd))
            .string("peer", descriptors::trimmed(peer));
    });
}

fn push_event(line: &mut Line, event: &[u8], parent: c_int, count: u64) {
    line.string("event", event)
        .number("count", count as i64)
        .number("parent", i64::from(parent));
}

/// Begins a line about what became of so many connections.
fn push_connections(line: &mut Line, became: &[u8], count: u64) {
    line.push(became).push_number(count as i64);
    line.push(if count == 1 {
        b" PostgreSQL connection"
    } else {
        b" PostgreSQL connections"
    });
}

/// Begins a warning about `count` connections.
fn push_count(line: &mut Line, parent: c_int, count: u64) {
    line.push(b"of the PostgreSQL connections inherited from process ")
        .push_number(i64::from(parent));
    line.push(b", ").push_number(count as i64);
}
