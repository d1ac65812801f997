//! What is remembered from one scrape to the next: so that no counter falls when a tree ends.

use std::collections::{BTreeMap, HashSet};

use super::families::{families, Family, Labels};
use crate::processes::Seen;

/// The trees seen so far.
#[derive(Default)]
pub struct Ledger {
    by_pid: bool,
    /// Those that run, as they were seen last.
    running: Vec<Family>,
    /// Those that ended, summed up by their labels.
    ended: BTreeMap<Labels, Family>,
}

impl Ledger {
    pub fn new(by_pid: bool) -> Ledger {
        Ledger {
            by_pid,
            ..Ledger::default()
        }
    }

    /// Enters what is seen now. Returns the series, one for each set of labels.
    pub fn enter(&mut self, seen: &Seen) -> Vec<Family> {
        let mut now = families(seen, self.by_pid);
        let alive: HashSet<_> = seen
            .processes
            .iter()
            .flat_map(|process| &process.pages)
            .collect();
        for mut before in std::mem::take(&mut self.running) {
            let same = |family: &&mut Family| !family.pages.is_disjoint(&before.pages);
            if let Some(family) = now.iter_mut().find(same) {
                // A program that changes its title stays in the series that it began in.
                family.labels = before.labels;
            } else if before.pages.iter().any(|page| alive.contains(page)) {
                // It runs, and cannot be read at the moment.
                now.push(before);
            } else if !self.by_pid {
                before.end();
                add(&mut self.ended, &before);
            }
        }
        self.running = now;
        let mut series = self.ended.clone();
        for family in &self.running {
            add(&mut series, family);
        }
        series.into_values().collect()
    }
}

fn add(series: &mut BTreeMap<Labels, Family>, family: &Family) {
    match series.get_mut(&family.labels) {
        Some(sum) => sum.add(family),
        None => {
            series.insert(family.labels.clone(), family.clone());
        }
    }
}
