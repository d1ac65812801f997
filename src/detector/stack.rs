//! The C stack of the calling thread.
//!
//! Walked by libgcc's unwinder, which this library is linked with in any case, and
//! named by the objects' own tables of symbols. Since glibc 2.35 both find objects
//! by `_dl_find_object`, without a lock; where that is missing, or an older libgcc
//! is in the process, they take the lock of `dl_iterate_phdr`, and then a child
//! that may have inherited it held ([`threads`]) does without.

use core::ffi::{c_int, c_void, CStr};
use core::mem::transmute;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::*};

use crate::objects::list;
use forkguard_signal_safe::line::Line;
use forkguard_signal_safe::processor;
use forkguard_signal_safe::{sink, sys, threads};

/// Frames that are looked at: deeper is the interpreter's or the framework's start.
const FRAMES: usize = 64;

/// Where this library lies.
static OURS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// `_dl_find_object`, or null.
static FIND_OBJECT: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// Whether the unwinder takes no lock.
static LOCK_FREE: AtomicBool = AtomicBool::new(false);

extern "C" {
    fn _Unwind_Backtrace(
        each: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIPInfo(context: *mut c_void, before: *mut c_int) -> usize;
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
}

/// Looks up what a walk needs, and walks once: what is loaded late is there then.
pub(crate) fn start() {
    let here = start as *const () as usize;
    let (mut unwinders, mut free) = (0, 0);
    list::each_sound_object(&mut |object| {
        if object.holds(here) {
            let range = object.range();
            OURS[0].store(range.start, Relaxed);
            OURS[1].store(range.end, Relaxed);
        }
        if let Some(found) = object.find(b"_dl_find_object") {
            FIND_OBJECT.store(found.address as *mut (), Relaxed);
        }
        if object.find(b"_Unwind_Find_FDE").is_some() {
            let names = object.relocations(processor::is_function_address);
            let mut names = names.filter_map(|relocation| object.name_of(relocation.symbol));
            unwinders += 1;
            free += usize::from(names.any(|name| name == b"_dl_find_object"));
        }
        true
    });
    LOCK_FREE.store(unwinders > 0 && unwinders == free, Relaxed);
    let mut frames = Stack {
        addresses: [0; FRAMES],
        count: 0,
        more: false,
        unsound: false,
    };
    frames.walk(0);
}

fn is_ours(address: usize) -> bool {
    (OURS[0].load(Relaxed)..OURS[1].load(Relaxed)).contains(&address)
}

/// The calls under way, the innermost first. All zeroes is an empty one.
pub(crate) struct Stack {
    addresses: [usize; FRAMES],
    count: usize,
    more: bool,
    unsound: bool,
}

struct Walk<'a> {
    stack: &'a mut Stack,
    below: usize,
}

impl Stack {
    /// Walks this thread's stack. Without what stands below `frame`, if it is not
    /// 0, and without this library's own calls before the first of others.
    #[inline(never)]
    pub(crate) fn walk(&mut self, frame: usize) {
        if !LOCK_FREE.load(Relaxed) && !threads::loader_is_sound() {
            self.unsound = true;
            return;
        }
        unsafe extern "C" fn each(context: *mut c_void, walk: *mut c_void) -> c_int {
            const NO_REASON: c_int = 0;
            const END_OF_STACK: c_int = 5;
            // SAFETY: the walk below, which is ours alone until it ends; the context
            // is the unwinder's, for the length of this call.
            let (walk, address, stack) = unsafe {
                let mut before = 0;
                let address = _Unwind_GetIPInfo(context, &raw mut before);
                let inside = address.wrapping_sub(usize::from(before == 0));
                (&mut *walk.cast::<Walk>(), inside, _Unwind_GetCFA(context))
            };
            if address == usize::MAX {
                return END_OF_STACK;
            }
            let frames = &mut *walk.stack;
            if frames.count == 0 && (stack <= walk.below || is_ours(address)) {
                return NO_REASON;
            }
            match frames.addresses.get_mut(frames.count) {
                Some(place) => {
                    *place = address;
                    frames.count += 1;
                    NO_REASON
                }
                None => {
                    frames.more = true;
                    END_OF_STACK
                }
            }
        }
        let mut walk = Walk {
            stack: self,
            below: frame,
        };
        // SAFETY: `each` is of the unwinder's type, and `walk` lives until it returns.
        unsafe { _Unwind_Backtrace(each, (&raw mut walk).cast()) };
    }

    /// The addresses, each inside its call.
    pub(crate) fn addresses(&self) -> &[usize] {
        self.addresses.get(..self.count).unwrap_or(&[])
    }

    /// Why there is none.
    pub(crate) fn missing(&self) -> Option<&'static [u8]> {
        self.unsound.then_some(
            b"on a glibc before 2.35 a child of a threaded parent must not call the loader"
                .as_slice(),
        )
    }

    /// Calls `each` for every frame, with what adds it to a line.
    pub(crate) fn say(&self, mut each: impl FnMut(&dyn Fn(&mut Line))) {
        for address in self.addresses() {
            let place = CodeAddress::of(*address);
            each(&|line| {
                place.function(|name, offset| {
                    line.push(name).push(b"+");
                    push_hexadecimal(line, offset);
                    line.push(b" ");
                });
                line.push(b"(").push(place.path()).push(b"+");
                push_hexadecimal(line, place.offset);
                line.push(b")");
            });
        }
        if self.more {
            each(&|line| {
                line.push(b"...");
            });
        }
    }

    /// Writes the command that names the source lines of the innermost object.
    pub(crate) fn say_how_to_read(&self) {
        let Some(first) = self
            .addresses()
            .first()
            .map(|address| CodeAddress::of(*address))
        else {
            return;
        };
        sink::say_always(|line| {
            line.push(b"report:   lines: addr2line -pfie ")
                .push(first.path());
            for address in self.addresses() {
                let place = CodeAddress::of(*address);
                if place.link == first.link {
                    line.push(b" ");
                    push_hexadecimal(line, place.offset);
                }
            }
        });
    }

    /// The frames as objects of a list.
    pub(crate) fn write(&self, line: &mut Line) {
        for address in self.addresses() {
            let place = CodeAddress::of(*address);
            line.object("", |line| {
                place.function(|name, _| {
                    line.string("function", name);
                });
                line.string("object", place.path());
                let mut text = [0; 18];
                line.string("offset", hexadecimal(place.offset, &mut text));
            });
        }
    }
}

fn hexadecimal(number: usize, text: &mut [u8; 18]) -> &[u8] {
    let mut rest = number;
    let mut used = 0;
    for place in text.iter_mut().rev() {
        *place = b"0123456789abcdef"[rest & 0xf];
        used += 1;
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    for prefix in *b"x0" {
        used += 1;
        let at = text.len() - used; // 16 digits are the most
        text[at] = prefix;
    }
    text.get(text.len() - used..).unwrap_or(&[])
}

fn push_hexadecimal(line: &mut Line, number: usize) {
    line.push(hexadecimal(number, &mut [0; 18]));
}

/// Bytes of a path that are kept.
const PATH: usize = 256;

/// What an address is: of which object, and where in it, as `addr2line -e` wants it.
struct CodeAddress {
    address: usize,
    link: *const c_void,
    offset: usize,
    path: [u8; PATH],
    length: usize,
}

/// As `struct dl_find_object` (dlfcn.h, glibc 2.35).
#[repr(C)]
struct Found {
    flags: u64,
    start: usize,
    end: usize,
    link: *mut c_void,
    eh_frame: usize,
    reserved: [u64; 7],
}

impl CodeAddress {
    fn of(address: usize) -> CodeAddress {
        let mut place = CodeAddress {
            address,
            link: core::ptr::null(),
            offset: address,
            path: [0; PATH],
            length: 0,
        };
        let find = FIND_OBJECT.load(Relaxed);
        if find.is_null() {
            return place;
        }
        let mut found = core::mem::MaybeUninit::<Found>::zeroed();
        // SAFETY: glibc's function, which fills the structure where it returns 0; the
        // object that is found is on this thread's stack, and stays.
        unsafe {
            type Find = unsafe extern "C" fn(usize, *mut Found) -> c_int;
            if transmute::<*mut (), Find>(find)(address, found.as_mut_ptr()) != 0 {
                return place;
            }
            place.link = found.assume_init().link;
        }
        // SAFETY: as above: the loader's entry of that object.
        let (base, name) = unsafe { list::base_and_name(place.link) };
        place.offset = address.wrapping_sub(base);
        let name = if name.is_null() {
            &[]
        } else {
            // SAFETY: the path that ld.so keeps with the object.
            unsafe { CStr::from_ptr(name) }.to_bytes()
        };
        place.length = if name.is_empty() {
            sys::read_link(c"/proc/self/exe", &mut place.path) // the program itself
        } else {
            for (to, byte) in place.path.iter_mut().zip(name) {
                *to = *byte;
            }
            name.len().min(PATH)
        };
        place
    }

    fn path(&self) -> &[u8] {
        match self.path.get(..self.length) {
            Some(path) if !path.is_empty() => path,
            _ => b"?",
        }
    }

    /// Calls `with` the exported function that holds the address, if one does, and
    /// how far in it that is.
    fn function(&self, with: impl FnOnce(&[u8], usize)) {
        if self.link.is_null() {
            return;
        }
        // SAFETY: the loader's entry of an object that is on this thread's stack.
        let object = unsafe { list::object_of(self.link) };
        if let Some((name, offset)) = object
            .as_ref()
            .and_then(|object| object.function_at(self.address))
        {
            with(name, offset);
        }
    }
}
