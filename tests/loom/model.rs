//! Running a model: to its end, or until it fails.

use super::signal_safe::sys;
use super::sync::atomic::{self, ANEW};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

pub use super::sync::atomic::Weaken;

/// Interleavings with so many switches away from a thread that could go on. Two find nearly all
/// that more find (Musuvathi and Qadeer, "Iterative context bounding", PLDI 2007).
fn preemptions(threads: usize) -> usize {
    // Three threads with two switches take minutes.
    let short = if threads > 2 { 1 } else { 2 };
    std::env::var("FORKGUARD_LOOM_PREEMPTIONS")
        .map_or(short, |bound| bound.parse().expect("a number"))
}

/// One thread of a model.
pub type Thread = fn();

/// Runs `threads` in every way; `last` after all of them. What it says where one fails.
fn run(weakened: Weaken, before: fn(), threads: &'static [Thread], last: fn()) -> Option<String> {
    loop {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions(threads.len()));
        builder.max_branches = 10_000;
        atomic::weaken(weakened);
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&runs);
        let result = catch_unwind(AssertUnwindSafe(|| {
            builder.check(move || {
                counter.fetch_add(1, Ordering::Relaxed);
                atomic::begin();
                sys::begin_thread(1);
                before();
                let others: Vec<_> = threads[1..]
                    .iter()
                    .zip(2..)
                    .map(|(thread, number)| {
                        loom::thread::spawn(move || {
                            sys::begin_thread(number);
                            thread();
                        })
                    })
                    .collect();
                threads[0]();
                for other in others {
                    other.join().unwrap();
                }
                last();
            });
        }));
        atomic::weaken(Weaken::Nothing);
        println!(
            "{weakened:?} weakened: {} runs",
            runs.load(Ordering::Relaxed)
        );
        let failure = result.err()?;
        let said = failure
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| {
                failure
                    .downcast_ref::<&str>()
                    .map(|said| (*said).to_owned())
            })
            .unwrap_or_default();
        if !said.contains(ANEW) {
            return Some(said);
        }
    }
}

/// The model holds in every interleaving.
pub fn holds(before: fn(), threads: &'static [Thread], last: fn()) {
    if let Some(said) = run(Weaken::Nothing, before, threads, last) {
        panic!("{said}");
    }
}

/// The model fails in some interleaving, and says `expected`: it could have told.
pub fn fails(
    weakened: Weaken,
    expected: &str,
    before: fn(),
    threads: &'static [Thread],
    last: fn(),
) {
    let said = run(weakened, before, threads, last).expect("this model cannot fail");
    assert!(said.contains(expected), "{said}");
}
