//! Finds every libpq of the process, and redirects its entry points.
//!
//! Not by exporting their names: ld.so resolves as it always would, and where
//! it looks is changed instead. In each libpq's own table of symbols in memory
//! the address of a redirected function becomes that of its trampoline, so that
//! every *later* resolution (lazy binding, `dlopen` of another extension,
//! `dlsym` on a handle, `RTLD_DEEPBIND`) yields the trampoline by itself; and
//! every slot that was bound *before* and holds the real address is rewritten.
//!
//! # When, and what else may run
//!
//! [`scan`] runs in the constructor, when all objects of the start are mapped and
//! relocated, and then inside `dlsym` when something new is there
//! ([`crate::hooks::loader`]), with ld.so's own lock held: no other thread is
//! inside `dlopen` or `dlclose` meanwhile, so every object in the list is wholly
//! relocated and stays. (But those which this very thread is relocating, below
//! us on its stack: an indirect function's resolver that calls `dlsym`. Hence
//! the question to the kernel, for each slot, whether it may be written.)
//!
//! Every store is one aligned word, and each slot is independent of the others:
//! what cannot be written is left as it is, and its calls go past the shims.
//!
//! # What is a libpq, and what is not seen
//!
//! An object that defines `PQexec`, `PQconnectPoll`, `PQfinish`, `PQstatus` and `PQsocket` is
//! a libpq. It gets one of eight records, with the real addresses, and trampolines of its own.
//! Its table of symbols says whether it has them already: nothing is remembered that `dlclose`
//! could make wrong. Pages get their protection back.
//!
//! Not seen: a pointer that was fetched before the scan and is kept where no relocation leads; a
//! slot that another thread binds lazily in the very moment of the scan; a libpq in another
//! namespace (`dlmopen`), or linked statically into an object that calls it directly. From
//! outside one thing differs: `dladdr` knows no name for a redirected function's address.

use core::ffi::{c_char, c_int, CStr};
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::*};

use crate::auxv;
use crate::libpq::entry_points::{entry, kind, Kind, COUNT, NAMES, REDIRECTED};
use crate::libpq::{Library, LIBRARIES, LIBRARY};
use crate::objects::elf::{Object, SlotLocation};
use crate::objects::list::{each_object, object, page_size};
use forkguard_signal_safe::line::Line;
use forkguard_signal_safe::processor;
use forkguard_signal_safe::sink::{self, Level};
use forkguard_signal_safe::sys;
use forkguard_signal_safe::tree;

/// An object that defines all of these as functions is a libpq.
const MARKS: [&str; 5] = [
    "PQexec",
    "PQconnectPoll",
    "PQfinish",
    "PQstatus",
    "PQsocket",
];

/// Whether anything is looked for in this process.
static ON: AtomicBool = AtomicBool::new(false);

/// `dlpi_adds` at the last scan: how many objects had been loaded by then.
static ADDS: AtomicU64 = AtomicU64::new(0);

/// Taken by a scan. The loader's lock keeps other threads out; this one is
/// against a signal handler of this thread that calls `dlsym`.
static SCANNING: AtomicBool = AtomicBool::new(false);

/// The address of a function, for the tables.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Trampoline(*const ());

// SAFETY: the address of a function is anybody's.
unsafe impl Sync for Trampoline {}

impl Trampoline {
    /// To this function.
    pub(crate) const fn to(function: *const ()) -> Self {
        Trampoline(function)
    }

    /// The address.
    #[inline]
    fn address(self) -> usize {
        self.0 as usize
    }
}

/// What each libpq calls in the place of its own functions, and of libc's.
pub(crate) struct Targets {
    /// By libpq and function.
    pub functions: &'static [[Trampoline; REDIRECTED]; LIBRARIES],
    /// For `close`, by libpq.
    pub close: [Trampoline; LIBRARIES],
    /// For `socket`, by libpq.
    pub socket: [Trampoline; LIBRARIES],
    /// For `send`, by libpq.
    pub send: [Trampoline; LIBRARIES],
    /// For `recv`, by libpq.
    pub recv: [Trampoline; LIBRARIES],
    /// For `poll`, by libpq.
    pub poll: [Trampoline; LIBRARIES],
    /// Our hook of this name, where the address is libc's function: for what is bound past us.
    pub instead_of: fn(&[u8], usize) -> Option<usize>,
}

static TARGETS: AtomicPtr<Targets> = AtomicPtr::new(core::ptr::null_mut());

fn targets() -> &'static Targets {
    // SAFETY: nothing is scanned before `start`, which was given it for ever.
    unsafe { &*TARGETS.load(Acquire) }
}

/// The first scan, in the constructor. From then on libpqs are led to `targets`.
pub(crate) fn start(targets: &'static Targets) {
    TARGETS.store((&raw const *targets).cast_mut(), Release);
    scan();
    ON.store(true, Release);
}

/// Whether anything is looked for in this process.
#[inline]
pub(crate) fn is_on() -> bool {
    ON.load(Acquire)
}

/// Whether objects have been loaded since the last scan. Takes the lock of
/// `dl_iterate_phdr(3)` for a moment.
pub(crate) fn is_something_new() -> bool {
    let mut adds = 0u64;
    each_object(&mut |info| {
        adds = info.dlpi_adds;
        false
    });
    adds != ADDS.load(Relaxed)
}

/// What one scan finds.
struct Round {
    /// How many entry points were redirected, by libpq.
    bound: [usize; LIBRARIES],
    paths: [*const c_char; LIBRARIES],
}

/// Looks at every object. The whole of it happens inside `dl_iterate_phdr`.
pub(crate) fn scan() {
    if SCANNING.swap(true, Acquire) {
        return;
    }
    let mut round = Round {
        bound: [0; LIBRARIES],
        paths: [core::ptr::null(); LIBRARIES],
    };
    let mut adds = 0;
    let mut seen = [false; LIBRARIES];
    let mut is_one_new = false;
    each_object(&mut |info| {
        adds = info.dlpi_adds;
        if let Some(exec) = object(info).and_then(|object| is_libpq(&object)) {
            // Also where another was mapped in the place of one that is gone.
            is_one_new |= !is_trampoline(exec);
            if let Some(seen) = library_of(exec).and_then(|index| seen.get_mut(index)) {
                *seen = true;
            }
        }
        true
    });
    // Their objects are gone. What they hold stays until another libpq comes.
    for (library, seen) in LIBRARY.iter().zip(seen) {
        if !seen {
            library.in_use.store(false, Relaxed);
        }
    }
    if is_one_new {
        each_object(&mut |info| {
            if let Some(object) = object(info) {
                if let Some(exec) = is_libpq(&object) {
                    if !is_trampoline(exec) {
                        bind_libpq(info, &object, exec, &mut round);
                    }
                }
            }
            true
        });
        rewrite(&round);
    }
    let in_use = |library: &&Library| library.in_use.load(Relaxed);
    tree::set_libpqs(LIBRARY.iter().filter(in_use).count() as u32);
    ADDS.store(adds, Relaxed);
    SCANNING.store(false, Release);
}

/// The address of its PQexec, as its table of symbols has it.
fn is_libpq(object: &Object) -> Option<usize> {
    let mut exec = None;
    for mark in MARKS {
        // Most objects end here, at the first mark and by a look at one word.
        let function = object.find(mark.as_bytes())?;
        exec = exec.or(Some(function.address));
    }
    exec
}

/// Whether an address is one of the trampolines for PQexec: then the object that
/// has it in its table is ours already, and nothing has to be remembered of it.
fn is_trampoline(exec: usize) -> bool {
    trampoline_of(exec).is_some()
}

fn trampoline_of(exec: usize) -> Option<usize> {
    targets().functions.iter().position(|trampolines| {
        let own = trampolines.get(entry::PQexec);
        own.is_some_and(|own| own.address() == exec)
    })
}

/// The record of the libpq whose PQexec, by its table of symbols, is there: an
/// trampoline, or, where the table could not be written, the real one.
fn library_of(exec: usize) -> Option<usize> {
    trampoline_of(exec).or_else(|| {
        LIBRARY.iter().position(|library| {
            library.in_use.load(Relaxed) && library.real(entry::PQexec) as usize == exec
        })
    })
}

fn bind_libpq(info: &libc::dl_phdr_info, object: &Object, exec: usize, round: &mut Round) {
    // In the place of one that was there: its record is renewed.
    let known = library_of(exec);
    let index = known.or_else(|| {
        LIBRARY
            .iter()
            .position(|library| !library.in_use.load(Relaxed))
    });
    let Some((index, library)) = index.and_then(|index| Some((index, LIBRARY.get(index)?))) else {
        static TOLD: AtomicBool = AtomicBool::new(false);
        if !TOLD.swap(true, Relaxed) && sink::wants(Level::Warn) {
            sink::say(Level::Warn, |line| {
                line.push(b"more than ")
                    .push_number(LIBRARIES as i64)
                    .push(b" libpqs at once: ");
                push_path(line, info.dlpi_name);
                line.push(b" is left alone");
            });
        }
        return;
    };
    if known.is_none() {
        for kept in [
            &library.close,
            &library.socket,
            &library.send,
            &library.recv,
            &library.poll,
        ] {
            kept.store(core::ptr::null_mut(), Relaxed);
        }
    }
    library.in_use.store(true, Relaxed);
    if let Some(place) = round.paths.get_mut(index) {
        *place = info.dlpi_name;
    }
    if let Some(bound) = round.bound.get_mut(index) {
        *bound = redirect(object, index, library);
    }
    // Once, also where the table cannot be written and every scan comes here.
    if known.is_none() {
        warn_of_unknown_functions(info, object);
    }
}

/// Remembers the real functions, then makes the table of symbols name the
/// trampolines. Returns how many.
fn redirect(object: &Object, index: usize, library: &Library) -> usize {
    let Some(trampolines) = targets().functions.get(index) else {
        return 0;
    };
    // Another libpq's are not this one's.
    let mut real = [0usize; COUNT];
    for (name, function) in object.functions() {
        if let Kind::Numbered(number) = kind(name) {
            if let Some(real) = real.get_mut(number) {
                // Of several versions the default one.
                if *real == 0 || !function.is_hidden {
                    *real = function.address;
                }
            }
        }
    }
    for (place, real) in library.real.iter().zip(real) {
        place.store(real as *mut (), Release);
    }

    let redirected = real.iter().take(REDIRECTED);
    let count = redirected.filter(|real| **real != 0).count();
    let Some((table, protection)) = object.symbol_table() else {
        return count;
    };
    // With the right to execute where it was there: in an object of an old
    // layout the table shares its pages with code that other threads run.
    let guard = match Writable::make(pages(&table), table.start, protection) {
        Ok(guard) => guard,
        Err(errno) => {
            complain(b"a libpq's symbols cannot be written", errno);
            return count;
        }
    };
    for (name, function) in object.functions() {
        let Kind::Numbered(number) = kind(name) else {
            continue;
        };
        if real.get(number) != Some(&function.address) || !function.value_at.is_multiple_of(8) {
            continue;
        }
        if let Some(trampoline) = trampolines.get(number) {
            // SAFETY: eight aligned bytes of the object's table of symbols, which
            // may be written now, and which ld.so reads a word at a time.
            let value = unsafe { AtomicU64::from_ptr(function.value_at as *mut u64) };
            value.store(
                trampoline.address().wrapping_sub(object.base()) as u64,
                Release,
            );
        }
    }
    guard.give_back();
    count
}

/// Rewrites what was bound before, in every object.
fn rewrite(round: &Round) {
    let mut slots = [0usize; LIBRARIES];
    let mut real = 0..0;
    for library in LIBRARY
        .iter()
        .filter(|library| library.in_use.load(Relaxed))
    {
        let mut add = |address: usize| {
            real = match address {
                0 => real.clone(),
                _ if real.is_empty() => address..address.saturating_add(1),
                _ => real.start.min(address)..real.end.max(address.saturating_add(1)),
            }
        };
        library
            .real
            .iter()
            .for_each(|real| add(real.load(Relaxed) as usize));
    }
    each_object(&mut |info| {
        if let Some(object) = object(info) {
            rewrite_in(&object, &real, &mut slots);
        }
        true
    });
    for ((bound, name), slots) in round.bound.iter().zip(round.paths).zip(slots) {
        if *bound > 0 {
            sink::say(Level::Debug, |line| {
                line.push(b"libpq ");
                // Still mapped: the loader's lock is ours, or the constructor's.
                push_path(line, name);
                line.push(b": ")
                    .push_number(*bound as i64)
                    .push(b" entry points redirected, ")
                    .push_number(slots as i64)
                    .push(b" slots rewritten");
            });
        }
    }
}

/// `real`: all real functions lie in there, and few others, which tells nearly
/// every slot apart at once.
fn rewrite_in(object: &Object, real: &Range<usize>, slots: &mut [usize; LIBRARIES]) {
    // Which libpq this is, if it is one.
    let own = own_library(object);
    let mut opened: Option<Writable> = None;
    for relocation in object.relocations(processor::is_function_address) {
        let place = object.place(relocation.slot);
        if place == SlotLocation::Elsewhere {
            continue;
        }
        // SAFETY: eight aligned bytes of a readable segment, by `place`.
        let slot = unsafe { AtomicUsize::from_ptr(relocation.slot as *mut usize) };
        let held = slot.load(Relaxed);
        if own.is_none() && !real.contains(&held) {
            continue;
        }
        let new = object
            .name_of(relocation.symbol)
            .and_then(|name| replacement(object, own, name, held));
        let Some(new) = new else {
            continue;
        };
        if !sys::is_writable(relocation.slot) {
            // Not relocated data that somebody else has protected: not ours to open.
            let SlotLocation::Relro(range) = place else {
                continue;
            };
            if opened.is_some() {
                continue; // and still it cannot be written
            }
            match Writable::make(range, relocation.slot, libc::PROT_READ) {
                Ok(guard) => opened = Some(guard),
                Err(errno) => {
                    complain(b"an object's table of functions cannot be written", errno);
                    break;
                }
            }
        }
        // If it has changed meanwhile, the change stays: it may be a variable.
        if slot
            .compare_exchange(held, new.address, Release, Relaxed)
            .is_ok()
        {
            if let Some(count) = new.library.and_then(|library| slots.get_mut(library)) {
                *count += 1;
            }
        }
    }
    if let Some(guard) = opened {
        guard.give_back();
    }
}

/// What a slot is to hold, and the libpq whose entry point that is.
struct New {
    address: usize,
    library: Option<usize>,
}

fn replacement(object: &Object, own: Option<usize>, name: &[u8], held: usize) -> Option<New> {
    if let Some(own) = own {
        if let Some(address) = import(object, own, name, held) {
            return Some(New {
                address,
                library: None,
            });
        }
    }
    // By the address first: most functions are not libpq's, and an address shows it sooner than a name.
    for (index, library) in LIBRARY.iter().enumerate() {
        if held == 0 || !library.in_use.load(Relaxed) {
            continue;
        }
        for (number, real) in library.real.iter().enumerate() {
            if real.load(Relaxed) as usize == held
                && NAMES.get(number).is_some_and(|own| own.as_bytes() == name)
            {
                let trampoline = targets().functions.get(index)?.get(number)?;
                return Some(New {
                    address: trampoline.address(),
                    library: Some(index),
                });
            }
        }
    }
    None
}

/// Five of libpq's own imports go through the shims, and those that we interpose anyway through us. What they held is
/// kept, unless it is libpq's own stub, which has not looked it up yet.
fn import(object: &Object, own: usize, name: &[u8], held: usize) -> Option<usize> {
    let (library, targets) = (LIBRARY.get(own)?, targets());
    let (wrapper, kept): (usize, &AtomicPtr<()>) = match name {
        b"close" => (targets.close.get(own)?.address(), &library.close),
        b"socket" => (targets.socket.get(own)?.address(), &library.socket),
        b"send" => (targets.send.get(own)?.address(), &library.send),
        b"recv" => (targets.recv.get(own)?.address(), &library.recv),
        b"poll" => (targets.poll.get(own)?.address(), &library.poll),
        // Bound past us where the object's own scope came first: PHP loads its
        // extensions with RTLD_DEEPBIND.
        _ => return (targets.instead_of)(name, held),
    };
    if held == wrapper || held == 0 {
        return None;
    }
    if !object.holds(held) {
        let kept_as = (targets.instead_of)(name, held).unwrap_or(held);
        kept.store(kept_as as *mut (), Release);
    }
    Some(wrapper)
}

/// Which libpq an object is; none for a program that has one linked in: its
/// other calls of `close` are not libpq's.
fn own_library(object: &Object) -> Option<usize> {
    let exec = object.find(b"PQexec")?.address;
    let index = library_of(exec);
    let program = auxv::value(libc::AT_PHDR); // its headers
    index.filter(|_| !object.holds(program))
}

/// Pages that may be written for a moment.
struct Writable {
    range: Range<usize>,
    /// What is given back; `None` where they could be written all the time.
    protection: Option<c_int>,
}

impl Writable {
    /// Makes `range`, in which `address` lies, writable. `protection` is what it has.
    fn make(range: Range<usize>, address: usize, protection: c_int) -> Result<Self, sys::Errno> {
        if sys::is_writable(address) {
            return Ok(Writable {
                range,
                protection: None,
            });
        }
        sys::protect(range.clone(), protection | libc::PROT_WRITE)?;
        Ok(Writable {
            range,
            protection: Some(protection & !libc::PROT_WRITE),
        })
    }

    fn give_back(self) {
        if let Some(protection) = self.protection {
            if let Err(errno) = sys::protect(self.range, protection) {
                complain(b"an object's pages stay writable", errno);
            }
        }
    }
}

/// The pages that hold a range.
fn pages(range: &Range<usize>) -> Range<usize> {
    let mask = page_size() - 1;
    range.start & !mask..(range.end + mask) & !mask
}

/// A function that this table of entry points does not know may be one that
/// should be redirected.
fn warn_of_unknown_functions(info: &libc::dl_phdr_info, object: &Object) {
    const NAMED: usize = 4;
    let unknown = |name: &&[u8]| {
        kind(name) == Kind::Unknown && (name.starts_with(b"PQ") || name.starts_with(b"lo_"))
    };
    let count = object
        .functions()
        .map(|(name, _)| name)
        .filter(unknown)
        .count();
    if count == 0 {
        return;
    }
    sink::say(Level::Warn, |line| {
        line.push(b"libpq ");
        push_path(line, info.dlpi_name);
        line.push(b" is newer than this library: calls to ");
        let names = object.functions().map(|(name, _)| name).filter(unknown);
        for (number, name) in names.take(NAMED).enumerate() {
            line.push(if number == 0 { b"" } else { b", " }).push(name);
        }
        if count > NAMED {
            line.push(b" and ")
                .push_number((count - NAMED) as i64)
                .push(b" more");
        }
        line.push(b" are not seen");
    });
}

fn push_path(line: &mut Line, name: *const c_char) {
    // SAFETY: null, or the path that ld.so keeps with an object that is mapped.
    let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes());
    line.push(match name {
        None | Some(b"") => b"of the program itself",
        Some(name) => name,
    });
}

fn complain(what: &[u8], errno: sys::Errno) {
    sink::say(Level::Debug, |line| {
        line.push(what)
            .push(b" (errno ")
            .push_number(i64::from(errno))
            .push(b"): calls of libpq may not be seen");
    });
}
