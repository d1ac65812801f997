//! Trees of processes that fork without exec: one page of counters, one family.

use std::collections::{BTreeMap, HashSet};

use crate::counters::{Counted, Counters, Identity, Sheet};
use crate::processes::{self, Process, Seen};
use forkguard_proto::page::COUNTS;
use forkguard_sql::Reason;

/// What its series are told apart by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Labels {
    /// Only where series by pid are asked for.
    pub pid: Option<u32>,
    pub command: String,
    pub policy: &'static str,
}

/// One tree, or several that have the same labels.
#[derive(Clone)]
pub struct Family {
    pub labels: Labels,
    /// Its pages: by them it is known again.
    pub pages: HashSet<Identity>,
    /// Processes that run.
    pub alive: usize,
    /// Sessions that are open in them.
    pub open: u64,
    /// Also of processes that ended, so that no count falls while the page lives.
    pub counts: [u64; COUNTS],
    /// Processes that found no slot in the page.
    pub unlisted: u64,
    /// In nanoseconds since 1970; 0: nothing yet.
    pub last_event: u64,
    /// Processes by the code of the reason for which they last lost a session.
    pub reasons: BTreeMap<&'static str, usize>,
}

impl Family {
    /// Adds another one with the same labels.
    pub fn add(&mut self, other: &Family) {
        self.alive += other.alive;
        self.open = self.open.saturating_add(other.open);
        add_counts(&mut self.counts, &other.counts);
        self.unlisted = self.unlisted.saturating_add(other.unlisted);
        self.last_event = self.last_event.max(other.last_event);
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }

    /// Its processes have ended: only what counts up remains.
    pub fn end(&mut self) {
        self.alive = 0;
        self.open = 0;
        self.reasons.clear();
    }
}

fn add_counts(sum: &mut [u64; COUNTS], counts: &[u64; COUNTS]) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum = sum.saturating_add(*count);
    }
}

/// The families that run.
///
/// Processes that share a page are one family, and pages that share a process: a process whose
/// descriptor was closed has moved to another page, and took its counts along.
pub fn families(seen: &Seen, by_pid: bool) -> Vec<Family> {
    let mut groups: Vec<(Vec<&Process>, HashSet<Identity>)> = Vec::new();
    for process in &seen.processes {
        if process.pages.is_empty() {
            continue;
        }
        let mut group = (vec![process], process.pages.iter().copied().collect());
        let (joined, others): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|(_, pages): &(_, HashSet<Identity>)| !pages.is_disjoint(&group.1));
        for (members, pages) in joined {
            group.0.extend(members);
            group.1.extend(pages);
        }
        groups = others;
        groups.push(group);
    }
    for (members, _) in &mut groups {
        members.sort_by_key(|process| (process.started, process.pid));
    }
    groups.sort_by_key(|(members, _)| (members[0].started, members[0].pid));
    groups
        .into_iter()
        .filter_map(|(members, pages)| family(seen, &members, pages, by_pid))
        .collect()
}

/// None where none of its pages can be read. The members stand by age.
fn family(
    seen: &Seen,
    members: &[&Process],
    pages: HashSet<Identity>,
    by_pid: bool,
) -> Option<Family> {
    let sheets: Vec<&Sheet> = pages
        .iter()
        .filter_map(|page| seen.pages.0.get(page)?.as_ref().ok())
        .collect();
    if sheets.is_empty() {
        return None;
    }
    let slots = || sheets.iter().flat_map(|sheet| &sheet.slots);
    let mut counts = [0; COUNTS];
    for sheet in &sheets {
        add_counts(&mut counts, &sheet.retired);
    }
    for slot in slots() {
        add_counts(&mut counts, &slot.counts);
    }
    let read: Vec<&Counted> = members
        .iter()
        .filter_map(|process| match &process.counters {
            Counters::Read(counted) => Some(&**counted),
            _ => None,
        })
        .collect();
    // The oldest: where the first of the tree has ended (a daemon's), the one that took over.
    let root = members.first()?;
    Some(Family {
        labels: Labels {
            pid: by_pid.then_some(root.pid),
            command: processes::name(&root.command).chars().take(40).collect(),
            policy: read.first().map_or("?", |counted| counted.policy),
        },
        alive: members.len(),
        open: read
            .iter()
            .map(|counted| counted.open())
            .fold(0, u64::saturating_add),
        counts,
        unlisted: sheets
            .iter()
            .map(|sheet| sheet.unlisted)
            .fold(0, u64::saturating_add),
        last_event: slots()
            .filter_map(|slot| Some(slot.last?.0))
            .max()
            .unwrap_or(0),
        reasons: reasons(slots()),
        pages,
    })
}

fn reasons<'a>(slots: impl Iterator<Item = &'a Counted>) -> BTreeMap<&'static str, usize> {
    let mut reasons = BTreeMap::new();
    for why in slots.filter_map(|slot| slot.reason.as_ref()) {
        // A page may say anything, and a label's values must be few.
        let code = Reason::of_code(&why.code).map_or("other", Reason::code);
        *reasons.entry(code).or_default() += 1;
    }
    reasons
}
