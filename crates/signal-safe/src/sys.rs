//! System calls, made directly: an instruction, no symbol.
//!
//! Not through libc's wrappers: `close`, `dup3`, `fcntl` and their like are
//! symbols that this library itself exports, so a call by name would come back
//! to us; and `syscall(2)` is one that other libraries interpose (uid_wrapper,
//! torsocks), whose first call looks something up by `dlsym`, which is ours too.
//! Every function here may be called in any context. An error comes back as the
//! `errno` value, and `errno` itself is never touched.

use core::ffi::{c_int, c_long, c_short, c_void, CStr};
use core::mem::{size_of, MaybeUninit};

use super::processor::{self, system_call};

pub use super::errno::Errno;

/// Puts `errno` back as it was when this value was made.
pub struct KeepErrno(Errno);

impl KeepErrno {
    /// Remembers `errno`.
    #[inline]
    pub fn now() -> Self {
        KeepErrno(errno())
    }
}

impl Drop for KeepErrno {
    #[inline]
    fn drop(&mut self) {
        set_errno(self.0);
    }
}

/// This thread's `errno`.
#[inline]
pub fn errno() -> Errno {
    // SAFETY: `__errno_location` returns a valid pointer to this thread's errno.
    Errno::of(unsafe { *libc::__errno_location() })
}

/// Sets this thread's `errno`.
#[inline]
pub fn set_errno(value: Errno) {
    // SAFETY: as in `errno`.
    unsafe { *libc::__errno_location() = value.value() }
}

/// A system call with up to six arguments, numbers or pointers.
macro_rules! call {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        system_call($number, padded([$($argument as usize),*])).map_err(Errno::of)
    };
}

#[inline(always)]
fn padded<const N: usize>(arguments: [usize; N]) -> [usize; 6] {
    let mut six = [0; 6];
    for (place, argument) in six.iter_mut().zip(arguments) {
        *place = argument;
    }
    six
}

/// `close(2)`. Linux frees the number whatever it returns, EINTR included; not
/// where a sandbox refuses the call. True: it returned 0.
pub fn close(fd: c_int) -> bool {
    // SAFETY: no memory is passed.
    unsafe { call!(libc::SYS_close, fd) }.is_ok()
}

/// `dup3(2)`, again when a signal came between.
pub fn dup3(from: c_int, to: c_int, flags: c_int) -> Result<(), Errno> {
    loop {
        // SAFETY: no memory is passed.
        match unsafe { call!(libc::SYS_dup3, from, to, flags) } {
            Err(Errno::EINTR) => continue,
            other => return other.map(drop),
        }
    }
}

/// `fcntl(2)` with an integer argument.
pub fn fcntl(fd: c_int, command: c_int, argument: c_long) -> Result<c_int, Errno> {
    // SAFETY: only commands with an integer argument are passed by our callers.
    unsafe { call!(libc::SYS_fcntl, fd, command, argument) }.map(|r| r as c_int)
}

/// `socket(2)`.
pub fn socket(family: c_int, kind: c_int) -> Result<c_int, Errno> {
    // SAFETY: no memory is passed.
    unsafe { call!(libc::SYS_socket, family, kind, 0) }.map(|r| r as c_int)
}

/// Connects a datagram socket of the Unix domain to `path`; again, where its peer has gone.
pub fn connect_to_path(fd: c_int, path: &CStr) -> Result<(), Errno> {
    // SAFETY: plain integers and bytes, for which zeros are valid.
    let mut address: libc::sockaddr_un = unsafe { core::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // Byte by byte: to ask for the length would call libc's `strlen`.
    let mut next = path.as_ptr();
    for place in &mut address.sun_path {
        // SAFETY: within the C string, whose last byte ends the loop.
        *place = unsafe { *next };
        if *place == 0 {
            break;
        }
        // SAFETY: the byte before was not the last.
        next = unsafe { next.add(1) };
    }
    // The zero that ends it must have room.
    if address.sun_path.last() != Some(&0) {
        return Err(Errno::ENAMETOOLONG);
    }
    // SAFETY: a whole `sockaddr_un`, of the size that is told.
    unsafe {
        call!(
            libc::SYS_connect,
            fd,
            &raw const address,
            core::mem::size_of::<libc::sockaddr_un>(),
        )
    }
    .map(drop)
}

/// `socketpair(2)` of the Unix domain.
pub fn socketpair(kind: c_int) -> Result<[c_int; 2], Errno> {
    let mut pair = [-1; 2];
    // SAFETY: the kernel writes two ints into `pair`.
    unsafe {
        call!(
            libc::SYS_socketpair,
            libc::AF_UNIX,
            kind,
            0,
            pair.as_mut_ptr(),
        )
    }?;
    Ok(pair)
}

/// `shutdown(2)` in both directions. Only for sockets made here.
pub fn shutdown(fd: c_int) {
    // SAFETY: no memory is passed.
    let _ = unsafe { call!(libc::SYS_shutdown, fd, libc::SHUT_RDWR) };
}

/// `getsockopt(2)` at level `SOL_SOCKET`, for options of `T`'s size.
pub fn socket_option<T: Copy + Default>(fd: c_int, option: c_int) -> Result<T, Errno> {
    let mut value = T::default();
    let mut size = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` and `size` are valid for writing, and `size` says how large `value` is.
    unsafe {
        call!(
            libc::SYS_getsockopt,
            fd,
            libc::SOL_SOCKET,
            option,
            &raw mut value,
            &raw mut size,
        )
    }?;
    Ok(value)
}

/// `fstat(2)`: device and inode. None where the descriptor is not open.
pub fn file_identity(fd: c_int) -> Result<(u64, u64), Errno> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel fills `status`, whose layout is the kernel's on 64-bit
    // Linux; an empty path with AT_EMPTY_PATH means the descriptor itself
    // (not `fstat`: it has another number on some processors).
    unsafe {
        call!(
            libc::SYS_newfstatat,
            fd,
            c"".as_ptr(),
            status.as_mut_ptr(),
            libc::AT_EMPTY_PATH,
        )
    }?;
    // SAFETY: zeroed above, and filled by the kernel.
    let status = unsafe { status.assume_init() };
    Ok((status.st_dev, status.st_ino))
}

/// `getpeername(2)` into `address`: the length the kernel reports.
pub fn peer(fd: c_int, address: &mut libc::sockaddr_storage) -> Result<usize, Errno> {
    let mut size = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes into `address`.
    unsafe { call!(libc::SYS_getpeername, fd, &raw mut *address, &raw mut size) }?;
    Ok(size as usize)
}

/// `epoll_ctl(2)` with an event of these bits and data.
pub fn epoll_ctl(
    epoll: c_int,
    command: c_int,
    fd: c_int,
    events: u32,
    data: u64,
) -> Result<(), Errno> {
    let event = libc::epoll_event { events, u64: data };
    // SAFETY: the kernel reads `event`.
    unsafe { call!(libc::SYS_epoll_ctl, epoll, command, fd, &raw const event) }.map(|_| ())
}

/// `getpid(2)`, asked of the kernel each time.
pub fn pid() -> c_int {
    // SAFETY: no memory is passed.
    unsafe { call!(libc::SYS_getpid) }.map_or(-1, |pid| pid as c_int)
}

/// `getppid(2)`.
pub fn parent_pid() -> c_int {
    // SAFETY: no memory is passed.
    unsafe { call!(libc::SYS_getppid) }.map_or(-1, |pid| pid as c_int)
}

/// `kcmp(2)` of two processes or threads, and for [`KCMP_FILE`] a descriptor of each.
fn compare(one: c_int, other: c_int, what: c_int, fd: c_int) -> Result<bool, Errno> {
    // SAFETY: no memory is passed.
    unsafe { call!(libc::SYS_kcmp, one, other, what, fd, fd) }.map(|order| order == 0)
}

/// Whether this process shares its memory with `other` (`vfork`, `CLONE_VM`). An error
/// where the kernel will not say.
pub fn shares_memory_with(other: c_int) -> Result<bool, Errno> {
    const KCMP_VM: c_int = 1; // include/uapi/linux/kcmp.h
    compare(pid(), other, KCMP_VM, 0)
}

/// Whether this process shares its table of descriptors with the process or thread
/// `other` (`clone(2)` with `CLONE_FILES`).
pub fn shares_descriptors_with(other: c_int) -> Result<bool, Errno> {
    const KCMP_FILES: c_int = 2;
    compare(pid(), other, KCMP_FILES, 0)
}

const KCMP_FILE: c_int = 0;

/// Whether `process` is seen to have a table of descriptors: something is open at its
/// lowest numbers. One whose first thread has ended has none as far as `kcmp(2)` can
/// see, though its other threads may well (kernel/exit.c, `exit_files`).
pub fn has_descriptors(process: c_int) -> bool {
    (0..32).any(|fd| compare(process, process, KCMP_FILE, fd).is_ok())
}

/// Names the pid namespace of this process, by the inode of namespaces(7). An error
/// where `/proc` is not there.
pub fn pid_namespace() -> Result<u64, Errno> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a C string; the kernel fills `status`, as in `file_identity`.
    unsafe {
        call!(
            libc::SYS_newfstatat,
            libc::AT_FDCWD,
            c"/proc/self/ns/pid".as_ptr(),
            status.as_mut_ptr(),
            0,
        )
    }?;
    // SAFETY: zeroed above, and filled by the kernel.
    Ok(unsafe { status.assume_init() }.st_ino)
}

/// A number for this thread, a multiple of 16 that no other thread of the process has:
/// the same in a forked child.
#[inline(always)]
pub fn this_thread() -> usize {
    processor::this_thread()
}

/// Whether libc has set this thread up for the kernel. It has in a thread that it
/// started, and in a child of `fork` and `_Fork`, which tell the kernel of the
/// list of robust mutexes (glibc, sysdeps/nptl/_Fork.c and nptl/pthread_create.c);
/// in one of `vfork` or of a raw system call the kernel has forgotten it
/// (kernel/fork.c, `copy_process`). False where the kernel will not say.
pub fn knows_its_thread() -> bool {
    let (mut list, mut size) = (0usize, 0usize);
    // SAFETY: the kernel writes a pointer and a size; 0 is this thread.
    unsafe { call!(libc::SYS_get_robust_list, 0, &raw mut list, &raw mut size) }.is_ok()
        && list != 0
}

/// Whether this is the first thread of its process.
pub fn is_first_thread() -> bool {
    // SAFETY: takes nothing.
    let thread = unsafe { call!(libc::SYS_gettid) };
    thread.is_ok_and(|thread| thread as c_int == pid())
}

/// This thread's id by libc's record. In a child of a raw system call it is that of
/// the thread that made it, if libc knew that one.
pub fn recorded_thread() -> Option<c_int> {
    let mut clock = 0;
    // A word of libc's, of which libc alone knows where it is. Asked for in a child of a
    // raw system call alone. A library that interposes this function and looks libc's up by
    // `dlsym` gets it: the hook does not enter itself.
    // SAFETY: takes this thread, and writes one clock id.
    let failed = unsafe { libc::pthread_getcpuclockid(processor::this_pthread(), &raw mut clock) };
    // The id of a thread's clock is made of the recorded id's complement
    // (include/linux/posix-timers.h, `make_thread_cpuclock`).
    (failed == 0).then_some(!(clock >> 3))
}

/// `sched_yield(2)`.
pub fn yield_now() {
    // SAFETY: no memory is passed.
    let _ = unsafe { call!(libc::SYS_sched_yield) };
}

/// `nanosleep(2)`, less than a second; a signal ends it.
pub fn pause(nanoseconds: c_long) {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    };
    // SAFETY: the kernel reads `time`.
    let _ = unsafe { call!(libc::SYS_nanosleep, &raw const time) };
}

/// Seconds and nanoseconds of one of the kernel's clocks.
fn clock(which: libc::clockid_t) -> (u64, u64) {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel fills `time`.
    let _ = unsafe { call!(libc::SYS_clock_gettime, which, &raw mut time) };
    (time.tv_sec as u64, time.tv_nsec as u64)
}

/// `CLOCK_MONOTONIC`, in microseconds.
pub fn now_us() -> u64 {
    let (seconds, nanoseconds) = clock(libc::CLOCK_MONOTONIC);
    seconds
        .wrapping_mul(1_000_000)
        .wrapping_add(nanoseconds / 1000)
}

/// Seconds since 1970, and nanoseconds.
pub fn wall_clock() -> (u64, u64) {
    clock(libc::CLOCK_REALTIME)
}

/// Nanoseconds since the machine began, its sleep counted (`CLOCK_BOOTTIME`): what
/// the kernel tells a process's beginning in.
pub fn since_boot_ns() -> u64 {
    let (seconds, nanoseconds) = clock(libc::CLOCK_BOOTTIME);
    seconds
        .wrapping_mul(1_000_000_000)
        .wrapping_add(nanoseconds)
}

/// Whether no process has this pid, `kill(2)` with no signal. False where the kernel
/// will not say.
pub fn is_gone(pid: c_int) -> bool {
    // SAFETY: no memory is passed.
    let result = unsafe { call!(libc::SYS_kill, pid, 0) };
    result == Err(Errno::ESRCH)
}

/// The limit on descriptor numbers, `RLIMIT_NOFILE`: replaced by `new` where
/// there is one. Returns what it was.
pub fn descriptor_limit(new: Option<&libc::rlimit64>) -> Result<libc::rlimit64, Errno> {
    limit(libc::RLIMIT_NOFILE as c_int, new)
}

fn limit(which: c_int, new: Option<&libc::rlimit64>) -> Result<libc::rlimit64, Errno> {
    let mut old = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let new = new.map_or(core::ptr::null(), |limit| limit as *const _);
    // SAFETY: `new` is null or a valid limit, `old` is writable; pid 0 is ourselves.
    unsafe { call!(libc::SYS_prlimit64, 0, which, new, &raw mut old) }?;
    Ok(old)
}

/// The lowest number that is out of the way of those that programs use and expect:
/// above the shells' 10 and 255, below FD_SETSIZE; not as high as the limit, for
/// the kernel copies the table up to the highest number at each fork.
const OUT_OF_THE_WAY: c_long = 300;

/// Moves a descriptor of ours, close-on-exec, to where it is in nobody's way: the
/// lowest free number would be the program's next. Where so few are allowed, behind the
/// shells' 10, or at least behind standard error. On failure it stays.
pub fn move_out_of_the_way(fd: c_int) -> Result<c_int, Errno> {
    let high = fcntl(fd, libc::F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
        .or_else(|_| fcntl(fd, libc::F_DUPFD_CLOEXEC, 11))
        .or_else(|_| fcntl(fd, libc::F_DUPFD_CLOEXEC, 3))?;
    close(fd);
    Ok(high)
}

/// A `memfd_create(2)` of `size` bytes, that nobody can make shorter, longer or a
/// program of; its memory is there, so that no later write to it can fail (which
/// would be a `SIGBUS`). Close-on-exec.
pub fn shared_memory(name: &CStr, size: usize) -> Result<c_int, Errno> {
    const MFD_NOEXEC_SEAL: libc::c_uint = 8; // Linux 6.3
    let create = |flags: libc::c_uint| {
        // SAFETY: `name` is a C string.
        unsafe {
            call!(
                libc::SYS_memfd_create,
                name.as_ptr(),
                flags | libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING,
            )
        }
    };
    // A file beyond the process's limit would be its end, by SIGXFSZ.
    if limit(libc::RLIMIT_FSIZE as c_int, None)?.rlim_cur < size as u64 {
        return Err(Errno::EFBIG);
    }
    let fd = match create(MFD_NOEXEC_SEAL) {
        Err(Errno::EINVAL) => create(0),
        other => other,
    }? as c_int;
    const SEALS: c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: no memory is passed.
    unsafe { call!(libc::SYS_fallocate, fd, 0, 0usize, size) }
        .and_then(|_| fcntl(fd, libc::F_ADD_SEALS, c_long::from(SEALS)))
        .map(|_| fd)
        .inspect_err(|_| {
            close(fd);
        })
}

/// A new mapping of memory for reading and writing.
fn mapped(size: usize, flags: c_int, fd: c_int) -> Result<*mut c_void, Errno> {
    // SAFETY: a new mapping at an address of the kernel's choice.
    let address = unsafe {
        call!(
            libc::SYS_mmap,
            0usize,
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            fd,
            0usize,
        )
    };
    address.map(|address| address as *mut c_void)
}

/// The memory behind such a descriptor, shared with every process that has it. Never given back.
pub fn map_shared(fd: c_int, size: usize) -> Result<*mut c_void, Errno> {
    mapped(size, libc::MAP_SHARED, fd)
}

/// Zeroed memory that this process shares with its children; never given back.
pub fn map_shared_with_children(size: usize) -> Option<*mut c_void> {
    mapped(size, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1).ok()
}

/// Private zeroed memory from `mmap(2)`, never given back.
pub fn map(size: usize) -> Option<*mut c_void> {
    mapped(size, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1).ok()
}

/// Gives back what [`map`] gave.
///
/// # Safety
/// It must be that mapping, whole, and nobody may use it any more.
pub unsafe fn unmap(start: *mut c_void, size: usize) {
    // SAFETY: the caller's promise.
    let _ = unsafe { call!(libc::SYS_munmap, start, size) };
}

/// A file in memory (`memfd_create(2)`), close-on-exec, on a number that is none of
/// the standard ones: another thread may be writing to those.
pub fn memory_file() -> Result<c_int, Errno> {
    // SAFETY: a C string.
    let fd = unsafe {
        call!(
            libc::SYS_memfd_create,
            c"forkguard".as_ptr(),
            libc::MFD_CLOEXEC,
        )
    }? as c_int;
    if fd > libc::STDERR_FILENO {
        return Ok(fd);
    }
    let moved = fcntl(fd, libc::F_DUPFD_CLOEXEC, 3);
    close(fd);
    moved
}

/// Reads from the beginning of a file, `pread(2)`: how many bytes there were.
pub fn read_from(fd: c_int, into: &mut [u8]) -> usize {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: `rest` is writable for its length.
        let read = unsafe { call!(libc::SYS_pread64, fd, rest.as_mut_ptr(), rest.len(), filled) };
        match read {
            Ok(count @ 1..) => filled += count,
            Err(Errno::EINTR) => {}
            _ => break,
        }
    }
    filled
}

/// Where a symbolic link leads, `readlinkat(2)`: how many bytes.
pub fn read_link(path: &CStr, into: &mut [u8]) -> usize {
    // SAFETY: a C string, and a buffer of the length that is told.
    let read = unsafe {
        call!(
            libc::SYS_readlinkat,
            libc::AT_FDCWD,
            path.as_ptr(),
            into.as_mut_ptr(),
            into.len(),
        )
    };
    read.unwrap_or(0)
}

/// Blocks every signal in this thread: what was blocked before.
pub fn block_signals() -> u64 {
    set_blocked(u64::MAX)
}

/// Blocks these signals, bit n-1 for signal n, and no others: what was blocked before.
pub fn set_blocked(set: u64) -> u64 {
    let mut before = 0u64;
    // SAFETY: both pointers are to locals of the size the kernel is told.
    let _ = unsafe {
        call!(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const set,
            &raw mut before,
            size_of::<u64>(),
        )
    };
    before
}

/// Ends this process by `signal`, as abort(3) does: a handler of the program's runs
/// first, if there is one, and if it returns, the default action follows.
pub fn raise_and_die(signal: c_int) {
    raise(signal);
    die(signal);
}

fn raise(signal: c_int) {
    let set = 1u64 << (signal - 1); // as in `write_once`
                                    // SAFETY: the kernel reads the set; the others take numbers.
    unsafe {
        let _ = call!(
            libc::SYS_rt_sigprocmask,
            libc::SIG_UNBLOCK,
            &raw const set,
            0usize,
            size_of::<u64>(),
        );
        if let Ok(thread) = call!(libc::SYS_gettid) {
            let _ = call!(libc::SYS_tgkill, pid(), thread, signal);
        }
    }
}

/// Ends this process by the default action of `signal`, whatever handler there is.
pub fn die(signal: c_int) {
    let default = [0usize; 4]; // the kernel's struct sigaction: SIG_DFL, no flags
                               // SAFETY: the kernel reads the action.
    let _ = unsafe {
        call!(
            libc::SYS_rt_sigaction,
            signal,
            &raw const default,
            0usize,
            size_of::<u64>(),
        )
    };
    raise(signal);
    // The first process of a pid namespace does not die of its own signals.
    // SAFETY: takes a number.
    let _ = unsafe { call!(libc::SYS_exit_group, 128 + signal) };
}

/// A kernel that says yes to what none does.
pub struct Emulated;

/// As [`map`], of a page of which every forked child gets zeroes in place of what is
/// written there (`MADV_WIPEONFORK`, Linux 4.14). `None`: it does not. Emulators are
/// known to accept any advice. So it is given for shared memory first, for which there
/// is none (madvise(2): `EINVAL`): success is a lie.
pub fn map_wiped_on_fork(size: usize) -> Result<Option<*mut c_void>, Emulated> {
    let map = |at: usize, flags: c_int| {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice; the
        // second time in the place of the first, which is nobody's.
        unsafe {
            call!(
                libc::SYS_mmap,
                at,
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                flags | libc::MAP_ANONYMOUS,
                -1isize,
                0usize,
            )
        }
        .ok()
    };
    let Some(page) = map(0, libc::MAP_SHARED) else {
        return Ok(None);
    };
    let advise = || {
        // SAFETY: `page` is a whole mapping of `size` bytes, just made.
        unsafe { call!(libc::SYS_madvise, page, size, libc::MADV_WIPEONFORK) }.is_ok()
    };
    let lies = advise();
    let is_wiped = !lies && map(page, libc::MAP_PRIVATE | libc::MAP_FIXED).is_some() && advise();
    if is_wiped {
        return Ok(Some(page as *mut c_void));
    }
    // SAFETY: the mapping made above, which nobody uses.
    unsafe { unmap(page as *mut c_void, size) };
    if lies {
        Err(Emulated)
    } else {
        Ok(None)
    }
}

/// Whether the aligned eight bytes around `address` can be read. The kernel is
/// asked in the cheapest way it has: `rt_sigprocmask(2)` reads the set first,
/// `EFAULT`, and refuses the command that does not exist then, `EINVAL`
/// (kernel/signal.c; Abseil's `AddressIsReadable` asks the same).
fn is_readable(address: usize) -> bool {
    const NO_SUCH_COMMAND: c_int = -1;
    let word = address & !7;
    if word == 0 {
        return false; // for the kernel: no set at all
    }
    // SAFETY: the kernel reads eight bytes if it can, and changes nothing.
    let answer = unsafe {
        call!(
            libc::SYS_rt_sigprocmask,
            NO_SUCH_COMMAND,
            word,
            0usize,
            8usize,
        )
    };
    answer != Err(Errno::EFAULT)
}

/// Whether four bytes at an aligned address can be written. The kernel is asked
/// by an operation that changes nothing: `FUTEX_WAKE_OP` with "or 0" writes what
/// it has read, atomically, and is `EFAULT` where it may not (futex(2)).
pub fn is_writable(address: usize) -> bool {
    const WAKE_OP: c_int = 5;
    const PRIVATE: c_int = 128;
    const OR_NOTHING: u32 = 2 << 28;
    let nobody_waits_here = 0u32;
    // SAFETY: the first address is a local's; at the second the kernel writes
    // what is there, or fails. It wakes nobody.
    unsafe {
        call!(
            libc::SYS_futex,
            &raw const nobody_waits_here,
            WAKE_OP | PRIVATE,
            0usize,
            0usize,
            address,
            OR_NOTHING,
        )
    }
    .is_ok()
}

/// `mprotect(2)` of whole pages.
pub fn protect(pages: core::ops::Range<usize>, protection: c_int) -> Result<(), Errno> {
    // SAFETY: the callers' pages are those of objects, and lose no right that
    // anybody uses.
    unsafe {
        call!(
            libc::SYS_mprotect,
            pages.start,
            pages.end.saturating_sub(pages.start),
            protection,
        )
    }
    .map(drop)
}

/// Copies up to `into.len()` bytes of this process at `address`, as far as they
/// can be read: a wild pointer is an end here, as it is an error in `send(2)`,
/// and not a fault.
pub fn read_memory(address: *const c_void, length: usize, into: &mut [u8]) -> usize {
    // The smallest page there is: larger ones are only asked for more often.
    const PAGE: usize = 4096;
    let wanted = length.min(into.len());
    let mut copied = 0;
    while copied < wanted {
        let from = (address as usize).wrapping_add(copied);
        let count = (PAGE - from % PAGE).min(wanted - copied);
        if !is_readable(from) {
            break;
        }
        // SAFETY: `count` bytes of a readable page, and no more than are left in `into`.
        unsafe {
            core::ptr::copy_nonoverlapping(
                from as *const u8,
                into.as_mut_ptr().wrapping_add(copied),
                count,
            )
        };
        copied += count;
    }
    copied
}

/// Opens `path` for appending, without ever waiting (a FIFO without a reader
/// is an error), close-on-exec; made with mode 0600 where it is missing.
pub fn open_for_append(path: &CStr) -> Result<c_int, Errno> {
    let flags = libc::O_WRONLY
        | libc::O_APPEND
        | libc::O_CREAT
        | libc::O_CLOEXEC
        | libc::O_NONBLOCK
        | libc::O_NOCTTY;
    // SAFETY: `path` is a C string.
    unsafe {
        call!(
            libc::SYS_openat,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            0o600,
        )
    }
    .map(|fd| fd as c_int)
}

/// Waits until a descriptor takes bytes; false after so long.
pub fn wait_to_write(fd: c_int, milliseconds: u32) -> bool {
    poll_to_write(fd, milliseconds).is_some()
}

/// What a descriptor is ready for, once it takes bytes or has an error; `None` after so long.
fn poll_to_write(fd: c_int, milliseconds: u32) -> Option<c_short> {
    let mut ready = libc::pollfd {
        fd,
        events: libc::POLLOUT,
        revents: 0,
    };
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: c_long::from(milliseconds.min(999)) * 1_000_000,
    };
    // SAFETY: both pointers are to locals; no signal set is given.
    let count = unsafe {
        call!(
            libc::SYS_ppoll,
            &raw mut ready,
            1usize,
            &raw const time,
            0usize,
            8usize,
        )
    };
    (count == Ok(1)).then_some(ready.revents)
}

/// One `write(2)` that neither waits nor kills: nothing is written where the
/// reader is not ready, and the signal of a reader that left (`SIGPIPE`) or of
/// a file at its limit (`SIGXFSZ`, `RLIMIT_FSIZE`) is taken back.
pub fn write_once(fd: c_int, bytes: &[u8]) -> Result<(), Errno> {
    if poll_to_write(fd, 0).is_none_or(|ready| ready & libc::POLLOUT == 0) {
        return Err(Errno::EAGAIN);
    }
    let no_time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // The kernel's signal set: 64 signals, bit n-1 for signal n (sigset_t of
    // libc is larger; the size argument tells the kernel which is meant).
    const SET: usize = 8;
    let set_of = |signal: c_int| 1u64 << (signal - 1);
    let deadly = set_of(libc::SIGPIPE) | set_of(libc::SIGXFSZ);
    let (mut mask_before, mut pending_before) = (0u64, 0u64);
    // SAFETY: every pointer is to a live local of the size the kernel is told.
    unsafe {
        let _ = call!(libc::SYS_rt_sigpending, &raw mut pending_before, SET);
        let _ = call!(
            libc::SYS_rt_sigprocmask,
            libc::SIG_BLOCK,
            &raw const deadly,
            &raw mut mask_before,
            SET,
        );
        let written = call!(libc::SYS_write, fd, bytes.as_ptr(), bytes.len());
        let raised = match written {
            Err(Errno::EPIPE) => set_of(libc::SIGPIPE),
            Err(Errno::EFBIG) => set_of(libc::SIGXFSZ),
            _ => 0,
        } & !pending_before;
        if raised != 0 {
            let _ = call!(
                libc::SYS_rt_sigtimedwait,
                &raw const raised,
                0usize,
                &raw const no_time,
                SET,
            );
        }
        let _ = call!(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask_before,
            0usize,
            SET,
        );
        written.map(drop)
    }
}
