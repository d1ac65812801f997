//! `core::sync::atomic` on loom's atomics, with constructors that are `const`.
//!
//! Statics live longer than one run of a model, loom's objects do not. So an atomic here is its
//! first value, and loom's object for it is found by its address, made anew for each run.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::mem::ManuallyDrop;
use std::rc::Rc;

pub use ::std::sync::atomic::Ordering;

/// What a model is run without, to see that it fails then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weaken {
    /// Nothing: the orderings are those of the source.
    Nothing,
    /// `SeqCst` orders no more than `AcqRel` does.
    SeqCst,
    /// No store releases.
    Release,
    /// No load acquires.
    Acquire,
    /// `fence` does nothing.
    Fences,
}

type Object = Rc<loom::sync::atomic::AtomicU64>;

/// loom's object of an atomic that is no static, which may move. Never dropped: it would be in
/// constants, too.
struct Own(ManuallyDrop<OnceCell<Object>>);

impl Own {
    const fn none() -> Self {
        Own(ManuallyDrop::new(OnceCell::new()))
    }
}

// SAFETY: all threads of a model are one thread of the system, and each model has statics of its
// own, in which this stays empty.
unsafe impl Sync for Own {}
// SAFETY: as above.
unsafe impl Send for Own {}

// loom runs all threads of a model on one thread of the system.
std::thread_local! {
    static OBJECTS: RefCell<HashMap<usize, Object>> = RefCell::new(HashMap::new());
    /// Statics that some run has written, with their first values: the next run makes loom's
    /// objects for them before its threads begin. The others are what they are.
    static WRITTEN: RefCell<BTreeMap<usize, u64>> = const { RefCell::new(BTreeMap::new()) };
    static STEPS: RefCell<Option<Object>> = const { RefCell::new(None) };
    static WEAKENED: Cell<Weaken> = const { Cell::new(Weaken::Nothing) };
}

/// What a run says that is the first to write a static.
pub(crate) const ANEW: &str = "a static is written for the first time: once more";

/// Before anything of a run.
pub(crate) fn begin() {
    let new = |first| Rc::new(loom::sync::atomic::AtomicU64::new(first));
    OBJECTS.with_borrow_mut(|objects| {
        objects.clear();
        WRITTEN.with_borrow(|statics| {
            objects.extend(
                statics
                    .iter()
                    .map(|(address, first)| (*address, new(*first))),
            );
        });
    });
    STEPS.set(Some(new(0)));
}

pub(crate) fn weaken(what: Weaken) {
    WEAKENED.set(what);
}

fn is_static(address: usize) -> bool {
    extern "C" {
        static __executable_start: u8;
        static _end: u8;
    }
    // The program by the linker's names for its ends: no cell makes a static here one of its data.
    (&raw const __executable_start as usize..&raw const _end as usize).contains(&address)
}

/// loom's object. `None`: a static that nobody writes.
///
/// loom looks for orders to try at the *last* access of each object only, and so misses a thread
/// that loads before it stores. Here each access is a step of its own that no two threads may
/// exchange (the store is read by nobody, and so orders nothing).
fn object(own: &Own, first: u64, writes: bool) -> Option<Object> {
    let address = std::ptr::from_ref(own) as usize;
    let known = OBJECTS.with_borrow(|objects| objects.get(&address).cloned());
    if known.is_none() && is_static(address) {
        if writes {
            WRITTEN.with_borrow_mut(|statics| statics.insert(address, first));
            panic!("{ANEW}");
        }
        return None;
    }
    let steps = STEPS.with_borrow(Clone::clone);
    steps
        .expect("inside of a model")
        .store(0, Ordering::Relaxed);
    Some(known.unwrap_or_else(|| {
        let new = || Rc::new(loom::sync::atomic::AtomicU64::new(first));
        Rc::clone(own.0.get_or_init(new))
    }))
}

/// What loom is told. It takes `SeqCst` for `AcqRel` but in fences, so a fence goes before: what
/// compilers do for processors with no such operations. Operations on one side of it only keep
/// their order with those on the other, as in the language's own model.
fn ordering(order: Ordering) -> Ordering {
    use Ordering::*;
    let weakened = WEAKENED.get();
    if order == SeqCst && weakened != Weaken::SeqCst {
        loom::sync::atomic::fence(SeqCst);
    }
    match (weakened, order) {
        (Weaken::Release, Release) | (Weaken::Acquire, Acquire) => Relaxed,
        (Weaken::Release, AcqRel) => Acquire,
        (Weaken::Acquire, AcqRel) => Release,
        _ => order,
    }
}

fn of_load(order: Ordering) -> Ordering {
    match ordering(order) {
        Ordering::SeqCst | Ordering::AcqRel => Ordering::Acquire,
        Ordering::Release => Ordering::Relaxed,
        order => order,
    }
}

fn of_store(order: Ordering) -> Ordering {
    match ordering(order) {
        Ordering::SeqCst | Ordering::AcqRel => Ordering::Release,
        Ordering::Acquire => Ordering::Relaxed,
        order => order,
    }
}

fn of_change(order: Ordering) -> Ordering {
    match ordering(order) {
        Ordering::SeqCst => Ordering::AcqRel,
        order => order,
    }
}

/// An atomic fence.
pub fn fence(order: Ordering) {
    if WEAKENED.get() != Weaken::Fences {
        loom::sync::atomic::fence(order);
    }
}

macro_rules! atomics {
    ($($name:ident: $of:ty $(, $parameter:ident)?; $to:expr, $from:expr;)*) => { $(
        /// As in `core`.
        pub struct $name $(<$parameter>)? ($of, Own);

        #[allow(missing_docs)]
        impl $(<$parameter>)? $name $(<$parameter>)? {
            #[inline]
            pub const fn new(first: $of) -> Self {
                $name(first, Own::none())
            }

            /// To write to.
            fn object(&self) -> Object {
                object(&self.1, $to(self.0), true).expect("one that is written")
            }

            pub fn load(&self, order: Ordering) -> $of {
                match object(&self.1, $to(self.0), false) {
                    Some(object) => $from(object.load(of_load(order))),
                    None => self.0,
                }
            }

            pub fn store(&self, value: $of, order: Ordering) {
                let object = self.object();
                object.store($to(value), of_store(order));
            }

            pub fn swap(&self, value: $of, order: Ordering) -> $of {
                let object = self.object();
                $from(object.swap($to(value), of_change(order)))
            }

            pub fn compare_exchange(
                &self,
                old: $of,
                new: $of,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$of, $of> {
                let first = self.0 == old;
                let Some(object) = object(&self.1, $to(self.0), first) else {
                    return Err(self.0);
                };
                object
                    .compare_exchange($to(old), $to(new), of_change(success), of_load(failure))
                    .map($from)
                    .map_err($from)
            }
        }
    )* };
}

atomics! {
    AtomicU64: u64; std::convert::identity, std::convert::identity;
    AtomicUsize: usize; |value| value as u64, |value| value as usize;
    AtomicU32: u32; u64::from, |value| value as u32;
    AtomicI32: i32; |value: i32| u64::from(value as u32), |value| value as i32;
    AtomicBool: bool; u64::from, |value| value != 0;
    AtomicPtr: *mut T, T; |value: *mut T| value as u64, |value| value as *mut T;
}

// SAFETY: the pointer is only the first value; threads of a model share one thread of the system.
unsafe impl<T> Sync for AtomicPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Send for AtomicPtr<T> {}

macro_rules! arithmetic {
    ($($name:ident: $of:ty, $($change:ident)*;)*) => { $(
        #[allow(missing_docs)]
        impl $name { $(
            pub fn $change(&self, value: $of, order: Ordering) -> $of {
                let object = self.object();
                object.$change(value as u64, of_change(order)) as $of
            }
        )* }
    )* };
}

arithmetic! {
    AtomicU64: u64, fetch_add fetch_or fetch_and;
    AtomicUsize: usize, fetch_add fetch_sub fetch_max;
    AtomicU32: u32, fetch_add fetch_max;
}
