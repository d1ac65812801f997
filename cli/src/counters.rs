//! The counters page of a tree of processes, as its processes left it open.
//!
//! It is read and not mapped: it is somebody else's memory, who may cut it short, and then a look at
//! a map is SIGBUS. Nothing in it is trusted: it may hold anything.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::sync::atomic::Ordering::Relaxed;

use crate::processes::Process;
use crate::terminal;
use forkguard_proto::page::{self, Count, Page, Slot, COUNTS, TEXT};
use forkguard_sql::Reason;

/// What `/proc` calls it: [`page::NAME`] as a memfd's.
pub const LINK: &str = "/memfd:forkguard-counters (deleted)";

/// Which page: processes that share one are of one tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// The file system's number.
    pub device: u64,
    /// The file's.
    pub inode: u64,
}

/// What is known of a process's counters.
#[derive(Clone)]
pub enum Counters {
    /// It has no page, or no slot in it: no session yet.
    None,
    /// They were read.
    Read(Box<Counted>),
    /// Why not.
    Unreadable(String),
}

/// What one process has counted.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Its pid as itself sees it.
    pub pid: u32,
    /// When it began to.
    pub since: u64,
    /// By [`Count`].
    pub counts: [u64; COUNTS],
    /// The policy's name.
    pub policy: &'static str,
    /// How many libpqs are redirected in it.
    pub libpqs: u32,
    /// What happened first.
    pub first: Option<Event>,
    /// What happened last.
    pub last: Option<Event>,
    /// Why the last session was lost.
    pub reason: Option<Why>,
}

/// When something happened, in nanoseconds since 1970, and what; none if only another version knows it.
pub type Event = (u64, Option<Count>);

/// What a count is called.
pub struct Words {
    /// Which one it is.
    pub count: Count,
    /// In JSON: never another one.
    pub json: &'static str,
    /// The event in JSON: never another one.
    pub event: &'static str,
    /// The event in the table.
    pub shown: &'static str,
    /// The metric, without its `_total`.
    pub metric: &'static str,
    /// The metric's help.
    pub help: &'static str,
}

/// By [`Count`].
pub const WORDS: [Words; COUNTS] = [
    Words {
        count: Count::Opened,
        json: "opened",
        event: "opened",
        shown: "opened",
        metric: "forkguard_sessions_opened",
        help: "PostgreSQL sessions opened",
    },
    Words {
        count: Count::Closed,
        json: "closed",
        event: "closed",
        shown: "closed",
        metric: "forkguard_sessions_closed",
        help: "Sessions closed, as far as it was seen",
    },
    Words {
        count: Count::Abandoned,
        json: "abandoned",
        event: "abandoned",
        shown: "protected",
        metric: "forkguard_descriptors_abandoned",
        help: "Inherited sessions protected: a child's copy was made dead, the parent's session lives on",
    },
    Words {
        count: Count::Refused,
        json: "refused",
        event: "refused",
        shown: "refused",
        metric: "forkguard_descriptors_refused",
        help: "Inherited descriptors that could not be made dead; calls on them are refused",
    },
    Words {
        count: Count::HandedOver,
        json: "handed_over",
        event: "handed over",
        shown: "handed over",
        metric: "forkguard_descriptors_handed_over",
        help: "Inherited descriptors left to a child on purpose",
    },
    Words {
        count: Count::Resumed,
        json: "resumed",
        event: "resumed",
        shown: "resumed",
        metric: "forkguard_sessions_resumed",
        help: "Inherited sessions that came back in a child, equal to what they were",
    },
    Words {
        count: Count::Opaque,
        json: "opaque",
        event: "opaque",
        shown: "lost",
        metric: "forkguard_sessions_opaque",
        help: "Inherited sessions lost in a child, because they could not be resumed",
    },
    Words {
        count: Count::CancelsHeld,
        json: "cancels_held",
        event: "cancel held",
        shown: "cancel held",
        metric: "forkguard_cancels_held",
        help: "Cancels held back that would have reached the parent's statement",
    },
    Words {
        count: Count::Reported,
        json: "reported",
        event: "reported",
        shown: "reported",
        metric: "forkguard_uses_reported",
        help: "Uses of an inherited session that policy report or abort reported",
    },
];

/// What a count is called.
pub fn words(count: Count) -> &'static Words {
    const TABLE: &[Words; COUNTS] = &WORDS;
    &TABLE[count as usize]
}

/// Why a session was lost.
#[derive(Clone, Debug)]
pub struct Why {
    /// The reason's code: one that this command does not know if the library is another version's.
    pub code: String,
    /// What it is about; may be empty.
    pub detail: String,
}

impl Why {
    /// For people.
    pub fn text(&self) -> String {
        let Why { code, detail } = self;
        let between = if detail.is_empty() { "" } else { ": " };
        match Reason::of_code(code) {
            Some(reason) => format!("{}{between}{detail} ({code})", reason.sentence()),
            None => format!("{code}{between}{detail}"),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Reason::of_code(&self.code).map(Reason::hint)
    }
}

impl Counted {
    /// One of the counts.
    pub fn count(&self, which: Count) -> u64 {
        self.counts[which as usize]
    }

    /// Sessions that are open: of those it opened and those it was handed.
    pub fn open(&self) -> u64 {
        let handed_over = self.count(Count::HandedOver);
        let had = self.count(Count::Opened).saturating_add(handed_over);
        had.saturating_sub(self.count(Count::Closed))
    }
}

/// One page as it was read.
pub struct Sheet {
    /// Its used slots.
    pub slots: Vec<Counted>,
    /// What ended processes had counted whose slots were used again.
    pub retired: [u64; COUNTS],
    /// Processes that found no slot.
    pub unlisted: u64,
}

/// All pages.
#[derive(Default)]
pub struct Pages(pub HashMap<Identity, Result<Sheet, String>>);

impl Pages {
    /// Reads each page that the processes have, and gives each process its own slot of it.
    pub fn read(&mut self, processes: &mut [Process]) {
        for process in processes.iter() {
            for identity in &process.pages {
                // One may have closed the descriptor, and another of the tree still have it.
                if !matches!(self.0.get(identity), Some(Ok(_))) {
                    self.0.insert(*identity, read(process.pid, *identity));
                }
            }
        }
        for process in processes {
            let sheets = || process.pages.iter().filter_map(|page| self.0.get(page));
            let slots = sheets().filter_map(|sheet| slot_of(sheet.as_ref().ok()?, process));
            process.counters = match slots.max_by_key(|slot| slot.since) {
                Some(slot) => Counters::Read(Box::new(slot.clone())),
                None => sheets()
                    .find_map(|sheet| sheet.as_ref().err())
                    .map_or(Counters::None, |why| Counters::Unreadable(why.clone())),
            };
        }
    }
}

/// The youngest slot with its pid; one that is older than the process belonged to another.
fn slot_of<'a>(sheet: &'a Sheet, process: &Process) -> Option<&'a Counted> {
    // The kernel tells a process's age in ticks of 10 ms, rounded down.
    let own = |slot: &&Counted| slot.pid == process.inner_pid && slot.since >= process.started;
    sheet.slots.iter().filter(own).max_by_key(|slot| slot.since)
}

fn read(pid: u32, identity: Identity) -> Result<Sheet, String> {
    let file = open(pid, identity)?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    // SAFETY: of atomic integers alone, for which zeros are as good as anything.
    let mut copy: Box<Page> = unsafe { Box::new(std::mem::zeroed()) };
    // Where the layout is another one, so may be its size: these two words stay where they are.
    let mut head = [0; 12];
    file.read_exact_at(&mut head, 0)
        .map_err(|_| "its counters page is too short".to_owned())?;
    let magic = u64::from_ne_bytes(head[..8].try_into().unwrap_or_default());
    let version = u32::from_ne_bytes(head[8..].try_into().unwrap_or_default());
    if magic != page::MAGIC {
        return Err("its counters page is not begun yet, or none of ours".to_owned());
    }
    if version != page::VERSION {
        return Err(format!(
            "its library's counters have layout {version}, this command knows {}: use the command that \
             came with that library",
            page::VERSION
        ));
    }
    if size < std::mem::size_of::<Page>() as u64 {
        return Err("its counters page is too short".to_owned());
    }
    // A process being entered over one that ended moves counts: then look again. It takes
    // microseconds; one stopped in the middle of it would keep us for ever.
    for _ in 0..20 {
        let begin: *mut Page = &mut *copy;
        // SAFETY: the bytes of a value that is ours alone, and for which any bytes will do.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(begin.cast::<u8>(), std::mem::size_of::<Page>())
        };
        file.read_exact_at(bytes, 0)
            .map_err(|error| error.to_string())?;
        let mut folds = [0; 16];
        let at = std::mem::offset_of!(Page, folds_begun) as u64;
        file.read_exact_at(&mut folds, at)
            .map_err(|error| error.to_string())?;
        let word = |at: usize| u64::from_ne_bytes(folds[at..at + 8].try_into().unwrap_or_default());
        let before = copy.folds_done.load(Relaxed);
        if (word(0), word(8)) == (before, before) && copy.folds_begun.load(Relaxed) == before {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(sheet(&copy))
}

/// The page's descriptor in the process, opened for reading alone. What is opened is looked at before:
/// the process may put anything else under the number meanwhile.
fn open(pid: u32, identity: Identity) -> Result<File, String> {
    let path = |flags| {
        move |path: String| {
            std::fs::OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(path)
        }
    };
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .map_err(|error| format!("its descriptors may not be looked at: {error}"))?;
    for entry in folder.flatten() {
        let link = entry.path();
        if std::fs::read_link(&link).is_ok_and(|target| target.as_os_str() == LINK) {
            let Ok(found) = path(libc::O_PATH)(link.display().to_string()) else {
                continue;
            };
            let is_it = found.metadata().is_ok_and(|about| {
                about.is_file() && about.ino() == identity.inode && about.dev() == identity.device
            });
            if is_it {
                let number = std::os::fd::AsRawFd::as_raw_fd(&found);
                return path(0)(format!("/proc/self/fd/{number}"))
                    .map_err(|error| format!("its counters page cannot be opened: {error}"));
            }
        }
    }
    Err("it has closed the descriptor of its counters page".to_owned())
}

fn sheet(page: &Page) -> Sheet {
    let slots = page.slots.iter().filter(|slot| slot.pid.load(Relaxed) != 0);
    Sheet {
        slots: slots.map(counted).collect(),
        retired: page.retired.each_ref().map(|count| count.load(Relaxed)),
        unlisted: page.unlisted.load(Relaxed),
    }
}

fn counted(slot: &Slot) -> Counted {
    let event = |at: u64, what: u32| (at != 0).then(|| (at, event(what)));
    Counted {
        pid: slot.pid.load(Relaxed),
        since: slot.since.load(Relaxed),
        counts: slot.counts.each_ref().map(|count| count.load(Relaxed)),
        policy: match slot.policy.load(Relaxed) {
            0 => "off",
            1 => "abandon",
            2 => "resume",
            3 => "report",
            4 => "abort",
            _ => "?",
        },
        libpqs: slot.libpqs.load(Relaxed),
        first: event(slot.first_at.load(Relaxed), slot.first_event.load(Relaxed)),
        last: event(slot.last_at.load(Relaxed), slot.last_event.load(Relaxed)),
        reason: reason(slot),
    }
}

/// An event's number is its count's, plus one.
fn event(number: page::Event) -> Option<Count> {
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    Some(WORDS.get(index)?.count)
}

fn reason(slot: &Slot) -> Option<Why> {
    if !slot.reason_turn.load(Relaxed).is_multiple_of(2) {
        return None; // half of it
    }
    let length = usize::try_from(slot.reason_length.load(Relaxed))
        .unwrap_or(TEXT)
        .min(TEXT);
    let bytes: Vec<u8> = slot.reason[..length]
        .iter()
        .map(|byte| byte.load(Relaxed))
        .collect();
    let text = terminal::printable(&String::from_utf8_lossy(&bytes));
    let (code, detail) = text.split_once(": ").unwrap_or((&text, ""));
    (!code.is_empty()).then(|| Why {
        code: code.to_owned(),
        detail: detail.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use forkguard_proto::page::SLOTS;

    #[test]
    fn the_name_is_the_layouts() {
        assert_eq!(
            LINK,
            format!("/memfd:{} (deleted)", page::NAME.to_str().unwrap())
        );
    }

    #[test]
    fn the_words_are_in_the_order_of_the_counts() {
        for (index, words) in WORDS.iter().enumerate() {
            assert_eq!(words.count as usize, index);
        }
    }

    #[test]
    fn a_page_full_of_anything_is_read_without_harm() {
        for byte in [0xff_u8, 0x1b, 0x80, 1] {
            // SAFETY: of atomic integers alone.
            let mut page: Box<Page> = unsafe { Box::new(std::mem::zeroed()) };
            let begin: *mut Page = &mut *page;
            // SAFETY: within the value, which is ours alone, and any bytes will do.
            unsafe {
                begin
                    .cast::<u8>()
                    .write_bytes(byte, std::mem::size_of::<Page>())
            };
            page.slots[0].reason_turn.store(0, Relaxed);
            let sheet = sheet(&page);
            assert_eq!(sheet.slots.len(), SLOTS);
            let reason = sheet.slots[0].reason.as_ref().map(Why::text);
            assert!(!reason.unwrap_or_default().chars().any(char::is_control));
            // As many were handed over as were closed, but where the sum is past its end.
            let opened = sheet.slots[0].count(Count::Opened);
            let expected = opened.saturating_add(opened).saturating_sub(opened);
            assert_eq!(sheet.slots[0].open(), expected);
        }
    }
}
