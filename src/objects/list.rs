//! The list of the objects that are loaded: the program, and its libraries.

use core::ffi::{c_char, c_int, c_void};
use core::mem::size_of;
use core::sync::atomic::{AtomicPtr, Ordering::*};

use super::elf::{Object, ProgramHeader};
use crate::auxv;
use forkguard_signal_safe::{sys, threads};

/// The program's own entry in the loader's list (link.h, `struct link_map`).
static PROGRAM: AtomicPtr<LinkMap> = AtomicPtr::new(core::ptr::null_mut());

/// The loader's list, by the program's own headers: its dynamic section names the
/// structure for debuggers (link.h, `struct r_debug`). Asks no function that
/// somebody may interpose and look up by a `dlsym` that is not known yet.
fn find_program() -> *mut LinkMap {
    let known = PROGRAM.load(Relaxed);
    if !known.is_null() {
        return known;
    }
    #[repr(C)]
    struct Debug {
        _version: c_int,
        map: *mut LinkMap,
    }
    #[repr(C)]
    struct Dynamic {
        tag: u64,
        value: usize,
    }
    const DT_NULL: u64 = 0;
    const DT_DEBUG: u64 = 21; // elf.h
                              // SAFETY: takes a number and returns one: the program's headers, which the
                              // loader has checked; they lead to its dynamic section, which ends with
                              // DT_NULL, and there to the loader's structure, filled before any constructor.
    unsafe {
        let headers = auxv::value(libc::AT_PHDR) as *const libc::Elf64_Phdr;
        let number = auxv::value(libc::AT_PHNUM);
        if headers.is_null() || number > usize::from(u16::MAX) {
            return core::ptr::null_mut();
        }
        let headers = core::slice::from_raw_parts(headers, number);
        let of = |kind| headers.iter().find(|header| header.p_type == kind);
        let base = of(libc::PT_PHDR).map_or(0, |header| {
            (headers.as_ptr() as usize).wrapping_sub(header.p_vaddr as usize)
        });
        let Some(dynamic) = of(libc::PT_DYNAMIC) else {
            return core::ptr::null_mut();
        };
        let mut entry = base.wrapping_add(dynamic.p_vaddr as usize) as *const Dynamic;
        while (*entry).tag != DT_NULL {
            if (*entry).tag == DT_DEBUG && (*entry).value != 0 {
                let map = (*((*entry).value as *const Debug)).map;
                PROGRAM.store(map, Relaxed);
                return map;
            }
            entry = entry.add(1);
        }
    }
    core::ptr::null_mut()
}

/// The public part of an entry of the loader's list (link.h).
#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const c_char,
    dynamic: *const c_void,
    next: *mut LinkMap,
    previous: *mut LinkMap,
}

/// Calls `look` with each loaded object, in a process whose `dl_iterate_phdr`
/// may wait for ever ([`threads`]): along the loader's list itself. The caller
/// holds `dl_load_lock`, which glibc makes again in every child, and under which
/// alone the list is changed. What another thread of the parent was just taking
/// away may be in it, and not be mapped any more.
fn each_linked(look: &mut dyn FnMut(&libc::dl_phdr_info) -> bool) {
    // More than any program loads; a list that a fork has cut in two ends here.
    const MOST: usize = 100_000;
    let mut next = find_program();
    let (mut count, mut last) = (0u64, 0u64);
    for _ in 0..MOST {
        // SAFETY: the loader's entries live as long as they are in its list.
        let Some(link) = (unsafe { next.as_ref() }) else {
            break;
        };
        (count, last, next) = (count + 1, next as u64, link.next);
    }
    // Instead of the counter that dl_iterate_phdr keeps: what it is compared with
    // need only differ when something has come.
    let adds = last.rotate_left(16) ^ count;
    let mut next = PROGRAM.load(Relaxed);
    for _ in 0..count {
        // SAFETY: as above.
        let Some(link) = (unsafe { next.as_ref() }) else {
            break;
        };
        next = link.next;
        let Some((headers, number)) = headers_of(link) else {
            continue;
        };
        // SAFETY: all zeroes is a valid value; what is looked at is set.
        let mut info: libc::dl_phdr_info = unsafe { core::mem::zeroed() };
        info.dlpi_addr = link.base as u64;
        info.dlpi_name = link.name;
        info.dlpi_phdr = headers;
        info.dlpi_phnum = number;
        info.dlpi_adds = adds;
        if !look(&info) {
            break;
        }
    }
}

/// The program headers of an object: where the kernel says, or from the ELF
/// header at its beginning (elf(5)), read with care.
fn headers_of(link: &LinkMap) -> Option<(*const libc::Elf64_Phdr, u16)> {
    if core::ptr::eq(link, PROGRAM.load(Relaxed)) {
        let number = u16::try_from(auxv::value(libc::AT_PHNUM)).ok()?;
        return Some((auxv::value(libc::AT_PHDR) as *const _, number));
    }
    let mut bytes = [0; size_of::<libc::Elf64_Ehdr>()];
    let length = bytes.len();
    let read = sys::read_memory(link.base as *const c_void, length, &mut bytes);
    if read != length || !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    let field = |from: usize, to: usize| bytes.get(from..to);
    let offset = u64::from_ne_bytes(field(32, 40)?.try_into().ok()?) as usize;
    let number = u16::from_ne_bytes(field(56, 58)?.try_into().ok()?);
    let size = usize::from(number) * size_of::<libc::Elf64_Phdr>();
    // They stand in the first page, behind the header; no page is smaller.
    let fits = offset.checked_add(size)? <= 4096 && offset.is_multiple_of(8);
    fits.then_some(((link.base + offset) as *const _, number))
}

/// Where an object lies, and its path: empty for the program itself.
///
/// # Safety
/// `link` must be the loader's entry of an object that is mapped.
pub(crate) unsafe fn base_and_name(link: *const c_void) -> (usize, *const c_char) {
    // SAFETY: the caller's promise.
    let link = unsafe { &*link.cast::<LinkMap>() };
    (link.base, link.name)
}

/// The object, where it is sound.
///
/// # Safety
/// As [`base_and_name`]; and it must stay mapped while the `Object` is used.
pub(crate) unsafe fn object_of(link: *const c_void) -> Option<Object> {
    // SAFETY: the caller's promise.
    let link = unsafe { &*link.cast::<LinkMap>() };
    let (headers, count) = headers_of(link)?;
    // SAFETY: headers of an object that is mapped, by the caller's promise.
    unsafe {
        let headers = core::slice::from_raw_parts(headers.cast(), usize::from(count));
        Object::new(link.base, headers, page_size())
    }
}

/// Calls `look` with each loaded object, until it says no.
pub(crate) fn each_object(look: &mut dyn FnMut(&libc::dl_phdr_info) -> bool) {
    if !threads::loader_is_sound() {
        return each_linked(look);
    }
    struct Look<'a>(&'a mut dyn FnMut(&libc::dl_phdr_info) -> bool);
    unsafe extern "C" fn visit(
        info: *mut libc::dl_phdr_info,
        size: usize,
        look: *mut c_void,
    ) -> c_int {
        // A libc that tells less than we know of is older than any with Rust's std.
        if info.is_null() || size < size_of::<libc::dl_phdr_info>() {
            return 1;
        }
        // SAFETY: dl_iterate_phdr(3): `info` is valid during this call; `look`
        // is what it was given below.
        let (info, look) = unsafe { (&*info, &mut *look.cast::<Look>()) };
        c_int::from(!(look.0)(info))
    }
    let mut look = Look(look);
    let iterate = match ITERATE.load(Relaxed) {
        found if found.is_null() => libc::dl_iterate_phdr,
        // SAFETY: libc's function of this name.
        found => unsafe { core::mem::transmute::<*mut (), Iterate>(found) },
    };
    // SAFETY: `visit` is of the type that dl_iterate_phdr(3) wants, and `look`
    // lives until it returns.
    unsafe { iterate(Some(visit), (&raw mut look).cast()) };
}

type Iterate = unsafe extern "C" fn(
    Option<unsafe extern "C" fn(*mut libc::dl_phdr_info, usize, *mut c_void) -> c_int>,
    *mut c_void,
) -> c_int;

/// libc's own `dl_iterate_phdr`, or null. By its name it may be another library's
/// (Seastar's), which looks libc's up by `dlsym`, from where we call it.
static ITERATE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Looks libc's own `dl_iterate_phdr` up. Once, by the constructor.
pub(crate) fn find_iterate() {
    each_sound_object(&mut |object| {
        if object.find(b"__libc_start_main").is_none() {
            return true;
        }
        if let Some(found) = object.find(b"dl_iterate_phdr") {
            ITERATE.store(found.address as *mut (), Relaxed);
        }
        false
    });
}

/// The object that `info` is about, where it is sound. Not to be used after the
/// callback that `info` was given to.
pub(crate) fn object(info: &libc::dl_phdr_info) -> Option<Object> {
    const _: () = assert!(size_of::<ProgramHeader>() == size_of::<libc::Elf64_Phdr>());
    if info.dlpi_phdr.is_null() {
        return None;
    }
    // SAFETY: dl_iterate_phdr(3) gives an array of so many headers, of the
    // kernel's layout, which is `ProgramHeader`'s; what it lists is mapped.
    unsafe {
        let headers = core::slice::from_raw_parts(
            info.dlpi_phdr.cast::<ProgramHeader>(),
            usize::from(info.dlpi_phnum),
        );
        Object::new(info.dlpi_addr as usize, headers, page_size())
    }
}

/// Calls `look` with each object that is sound, until it says no. For callers that look
/// for other things than libpq, before there is a second thread.
pub(crate) fn each_sound_object(look: &mut dyn FnMut(&Object) -> bool) {
    each_named_object(&mut |_, object| look(object));
}

/// As [`each_sound_object`], with its path: null or empty for the program itself.
pub(crate) fn each_named_object(look: &mut dyn FnMut(*const c_char, &Object) -> bool) {
    let mut each =
        |info: &libc::dl_phdr_info| object(info).is_none_or(|object| look(info.dlpi_name, &object));
    // Along the list itself only while libc's function is not known.
    if !ITERATE.load(Relaxed).is_null() || find_program().is_null() {
        each_object(&mut each);
    } else {
        each_linked(&mut each);
    }
}

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    match auxv::value(libc::AT_PAGESZ) {
        size if size.is_power_of_two() => size,
        _ => 4096, // whatever begins at no page of this kernel, it refuses to change
    }
}
