//! What is sent and received: `connect` begins to track a descriptor, and the first bytes
//! sent decide whether it is a session.

use core::ffi::{c_int, c_void};
use core::mem::size_of;

use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};

use super::hook::{hooks, look, moves_freely, sends_freely, Found};
use crate::boundary::{guarded, notice_fork};
use crate::{observer, policy, tracker};
use forkguard_proto::wire;
use forkguard_signal_safe::descriptors::{self, Entry, State};
use forkguard_signal_safe::fork_barrier::Entered;
use forkguard_signal_safe::sys::{self, Errno};
use forkguard_signal_safe::{connect_section, fence, generation};

/// The bytes of a call that sends.
enum Outgoing {
    One(*const c_void, size_t),
    Many(*const iovec, usize),
    Message(*const msghdr),
}

impl Outgoing {
    /// The beginning of them, as the kernel would read them.
    fn copy(&self, into: &mut [u8]) -> usize {
        match *self {
            Outgoing::One(start, length) => sys::read_memory(start, length, into),
            Outgoing::Many(vectors, count) => {
                // A startup packet is in the first vectors or it is none.
                const LOOKED_AT: usize = 8;
                let mut filled = 0;
                for index in 0..count.min(LOOKED_AT) {
                    let Some(vector) = copied::<iovec>(vectors.wrapping_add(index)) else {
                        break;
                    };
                    filled +=
                        sys::read_memory(vector.iov_base, vector.iov_len, &mut into[filled..]);
                }
                filled
            }
            Outgoing::Message(message) => match copied::<msghdr>(message) {
                Some(message) => Outgoing::Many(message.msg_iov, message.msg_iovlen).copy(into),
                None => 0,
            },
        }
    }
}

impl Outgoing {
    /// As [`copy`](Self::copy), without asking whether they can be read.
    ///
    /// # Safety
    /// The kernel must just have sent `into.len()` bytes or more of these.
    unsafe fn copy_sent(&self, into: &mut [u8]) -> usize {
        // SAFETY: the caller's promise: the kernel has read what is read here, in a call
        // that has not returned to its caller.
        unsafe {
            match *self {
                Outgoing::One(start, length) => {
                    let length = length.min(into.len());
                    start
                        .cast::<u8>()
                        .copy_to_nonoverlapping(into.as_mut_ptr(), length);
                    length
                }
                Outgoing::Many(vectors, count) => {
                    let mut filled = 0;
                    for index in 0..count {
                        let rest = &mut into[filled..];
                        if rest.is_empty() {
                            break;
                        }
                        let vector = vectors.wrapping_add(index).read_unaligned();
                        filled += Outgoing::One(vector.iov_base, vector.iov_len).copy_sent(rest);
                    }
                    filled
                }
                Outgoing::Message(message) => {
                    let message = message.read_unaligned();
                    Outgoing::Many(message.msg_iov, message.msg_iovlen).copy_sent(into)
                }
            }
        }
    }
}

/// A copy of a structure of the kernel's interface at a caller's address.
pub(super) fn copied<T: Copy>(address: *const T) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: `value` is writable for T's size, zeroed.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    let whole = sys::read_memory(address.cast(), size_of::<T>(), bytes) == size_of::<T>();
    // SAFETY: filled whole; iovec, msghdr and pollfd are numbers and pointers, for
    // which every pattern of bits is valid.
    whole.then(|| unsafe { value.assume_init() })
}

/// What a call that sends comes to.
enum Sending {
    /// The bytes must not go out; `errno` is set.
    Refused,
    /// Nothing more to do.
    Plain,
    /// They are looked at when they have gone out: [`after_sending`].
    Watched(Entered<'static>),
}

/// Before the first session of this process no system call asks whether the caller's
/// bytes can be read: the real call goes first, and the kernel has read what it tells
/// that it has sent. A fork by another thread waits in between ([`fence`]), so that
/// its child finds the session registered that has spoken; one made by a raw system
/// call may come before that, and its child has the first session of its parent for
/// unrelated. And a child that speaks first on a connection that its parent has made
/// has that for its own. Neither where PostgreSQL is known to be at the other end:
/// then the bytes are looked at before.
fn is_watched(entry: Entry) -> bool {
    !generation::has_had_session() && !entry.is_server_known() && !connect_section::is_inside()
}

/// A startup packet or a TLS handshake is not longer (10,000 bytes, and a record's
/// 16,384), and a first write that short never waits: every socket's buffer is larger.
const LONGEST: usize = 16 * 1024 + 5;

/// The bytes of a watched call have gone out, so many of them. `errno` is kept.
#[cold]
#[inline(never)]
fn after_sending(fd: c_int, place: Entered<'static>, bytes: Outgoing, result: ssize_t) {
    guarded((), || {
        let Some(entry) = descriptors::find(fd) else {
            return;
        };
        let length = usize::try_from(result).unwrap_or(0);
        if length == 0 || entry.word().state() != State::Pending {
            return;
        }
        #[inline(never)]
        fn read<const MOST: usize>(fd: c_int, entry: Entry, bytes: &Outgoing, length: usize) {
            let mut beginning = [0; MOST];
            // SAFETY: the kernel has sent `length` bytes from there.
            let length = unsafe { bytes.copy_sent(&mut beginning[..length.min(MOST)]) };
            tracker::first_bytes(fd, entry, &beginning[..length], true);
        }
        let mut first = [0];
        // SAFETY: as above.
        unsafe { bytes.copy_sent(&mut first) };
        // In two sizes, as in `refuses_first`.
        if wire::needs_more(first[0]) {
            read::<{ wire::ENOUGH_FOR_TLS }>(fd, entry, &bytes, length);
        } else {
            read::<{ wire::ENOUGH }>(fd, entry, &bytes, length);
        }
    });
    fence::leave(place);
}

/// Bytes are about to move on an inherited session.
#[cold]
#[inline(never)]
fn bytes_move(fd: c_int, entry: Entry, call: &str, sends: bool) {
    if let Some(observer) = observer::registered() {
        (observer.bytes_move)(fd, entry, call, sends);
    }
}

/// Before bytes go out on `fd`.
fn before_sending(call: &str, fd: c_int, bytes: &Outgoing) -> Sending {
    // Most of what comes here: libpq's own, in a call that the shims saw.
    if generation::is_fork_handled() && descriptors::is_called(fd) {
        return Sending::Plain;
    }
    let mut is_late = false;
    let refused = guarded(false, || match look(fd) {
        Found::Nothing => {
            tracker::sending(fd);
            false
        }
        Found::Refused => true,
        Found::Inherited(entry) => {
            bytes_move(fd, entry, call, true);
            false
        }
        Found::Pending(entry) if is_watched(entry) => {
            is_late = true;
            false
        }
        Found::Pending(entry) if generation::is_own_memory() => {
            let refused = refuses_first(fd, entry, bytes);
            if entry.word().state() == State::Inherited {
                bytes_move(fd, entry, call, true);
            }
            refused
        }
        Found::Pending(_) => false,
    });
    if refused {
        sys::set_errno(Errno::EPIPE);
        return Sending::Refused;
    }
    match bytes {
        _ if !is_late => Sending::Plain,
        Outgoing::One(_, length) if *length > LONGEST => Sending::Watched(Entered::NONE),
        _ => Sending::Watched(fence::enter()),
    }
}

/// Before the first bytes go out. In two sizes and out of line: a signal
/// handler may send from an alternate stack of 8 KB, and most of what is sent
/// has no need of the larger one.
fn refuses_first(fd: c_int, entry: Entry, bytes: &Outgoing) -> bool {
    #[inline(never)]
    fn read<const MOST: usize>(fd: c_int, entry: Entry, bytes: &Outgoing) -> bool {
        let mut beginning = [0; MOST];
        let length = bytes.copy(&mut beginning);
        tracker::first_bytes(fd, entry, &beginning[..length], false)
    }
    let mut first = [0];
    if bytes.copy(&mut first) == 1 && wire::needs_more(first[0]) {
        read::<{ wire::ENOUGH_FOR_TLS }>(fd, entry, bytes)
    } else {
        read::<{ wire::ENOUGH }>(fd, entry, bytes)
    }
}

/// Before bytes are received on `fd`: true if the caller shall read end of file.
fn refuses_incoming(call: &str, fd: c_int) -> bool {
    guarded(false, || match look(fd) {
        Found::Refused => true,
        Found::Inherited(entry) => {
            // It ends the session for everybody, as bytes would.
            let ends = call == "shutdown";
            bytes_move(fd, entry, call, ends);
            false
        }
        Found::Nothing | Found::Pending(_) => false,
    })
}

/// Before `connect(2)`. Entered before the call: a fork in another thread may
/// find the socket connected before the call has returned.
/// Whether that was done without a look at the address: [`after_connect`] takes it.
fn before_connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> bool {
    guarded(false, || {
        if !generation::has_had_session() {
            tracker::connecting_unseen(fd);
            return true;
        }
        let mut bytes = [0; size_of::<libc::sockaddr_storage>()];
        let length = sys::read_memory(address.cast(), length as usize, &mut bytes);
        tracker::connecting(fd, &bytes[..length]);
        false
    })
}

/// After `connect(2)` returned `result`. `errno` is kept.
fn after_connect(
    fd: c_int,
    unseen: bool,
    address: *const sockaddr,
    length: socklen_t,
    result: c_int,
) {
    guarded((), || {
        // EISCONN: connected before, and watched or looked at before.
        let lasting = [
            Errno::EINPROGRESS,
            Errno::EALREADY,
            Errno::EINTR,
            Errno::EISCONN,
        ];
        if result != 0 && !lasting.contains(&sys::errno()) {
            tracker::not_connected(fd);
        } else if unseen && !address.is_null() {
            let mut bytes = [0; size_of::<libc::sockaddr_storage>()];
            let length = bytes.len().min(length as usize);
            // SAFETY: the kernel has read so much there before it did anything else
            // (net/socket.c, `move_addr_to_kernel`), in a call that has not returned.
            unsafe {
                let from = address.cast::<u8>();
                from.copy_to_nonoverlapping(bytes.as_mut_ptr(), length);
            }
            tracker::connected_unseen(fd, &bytes[..length]);
        }
    });
}

hooks! {
    unsafe fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int => on_connect if !policy::is_active(), else slow_connect {
        notice_fork();
        let unseen = before_connect(fd, address, length);
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { real::connect()(fd, address, length) };
        after_connect(fd, unseen, address, length, result);
        result
    }

    unsafe fn send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t => on_send if sends_freely(fd), else slow_send {
        let bytes = Outgoing::One(buffer, length);
        let sending = before_sending("send", fd, &bytes);
        if let Sending::Refused = sending {
            return -1;
        }
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { real::send()(fd, buffer, length, flags) };
        if let Sending::Watched(place) = sending {
            after_sending(fd, place, bytes, result);
        }
        result
    }

    unsafe fn sendto(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int, to: *const sockaddr, to_length: socklen_t) -> ssize_t => on_sendto if sends_freely(fd), else slow_sendto {
        let bytes = Outgoing::One(buffer, length);
        let sending = before_sending("sendto", fd, &bytes);
        if let Sending::Refused = sending {
            return -1;
        }
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { real::sendto()(fd, buffer, length, flags, to, to_length) };
        if let Sending::Watched(place) = sending {
            after_sending(fd, place, bytes, result);
        }
        result
    }

    unsafe fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t => on_sendmsg if sends_freely(fd), else slow_sendmsg {
        let bytes = Outgoing::Message(message);
        let sending = before_sending("sendmsg", fd, &bytes);
        if let Sending::Refused = sending {
            return -1;
        }
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { real::sendmsg()(fd, message, flags) };
        if let Sending::Watched(place) = sending {
            after_sending(fd, place, bytes, result);
        }
        result
    }

    unsafe fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t => on_write if sends_freely(fd), else slow_write {
        let bytes = Outgoing::One(buffer, length);
        let sending = before_sending("write", fd, &bytes);
        if let Sending::Refused = sending {
            return -1;
        }
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { real::write()(fd, buffer, length) };
        if let Sending::Watched(place) = sending {
            after_sending(fd, place, bytes, result);
        }
        result
    }

    unsafe fn writev(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t => on_writev if sends_freely(fd), else slow_writev {
        let bytes = Outgoing::Many(vectors, usize::try_from(count).unwrap_or(0));
        let sending = before_sending("writev", fd, &bytes);
        if let Sending::Refused = sending {
            return -1;
        }
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { real::writev()(fd, vectors, count) };
        if let Sending::Watched(place) = sending {
            after_sending(fd, place, bytes, result);
        }
        result
    }

    unsafe fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t => on_recv if moves_freely(fd), else slow_recv {
        if refuses_incoming("recv", fd) {
            return 0;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::recv()(fd, buffer, length, flags) }
    }

    unsafe fn recvfrom(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int, from: *mut sockaddr, from_length: *mut socklen_t) -> ssize_t => on_recvfrom if moves_freely(fd), else slow_recvfrom {
        if refuses_incoming("recvfrom", fd) {
            return 0;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::recvfrom()(fd, buffer, length, flags, from, from_length) }
    }

    unsafe fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t => on_recvmsg if moves_freely(fd), else slow_recvmsg {
        if refuses_incoming("recvmsg", fd) {
            return 0;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::recvmsg()(fd, message, flags) }
    }

    unsafe fn read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t => on_read if moves_freely(fd), else slow_read {
        if refuses_incoming("read", fd) {
            return 0;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::read()(fd, buffer, length) }
    }

    unsafe fn readv(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t => on_readv if moves_freely(fd), else slow_readv {
        if refuses_incoming("readv", fd) {
            return 0;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::readv()(fd, vectors, count) }
    }

    // What programs built with _FORTIFY_SOURCE call; the last argument is the
    // size of the buffer, which the real function checks.
    unsafe fn __recv_chk(fd: c_int, buffer: *mut c_void, length: size_t, size: size_t, flags: c_int) -> ssize_t => on_recv_chk if moves_freely(fd), else slow_recv_chk {
        if refuses_incoming("recv", fd) {
            return 0;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::__recv_chk()(fd, buffer, length, size, flags) }
    }

    unsafe fn __recvfrom_chk(fd: c_int, buffer: *mut c_void, length: size_t, size: size_t, flags: c_int, from: *mut sockaddr, from_length: *mut socklen_t) -> ssize_t => on_recvfrom_chk if moves_freely(fd), else slow_recvfrom_chk {
        if refuses_incoming("recvfrom", fd) {
            return 0;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::__recvfrom_chk()(fd, buffer, length, size, flags, from, from_length) }
    }

    unsafe fn __read_chk(fd: c_int, buffer: *mut c_void, length: size_t, size: size_t) -> ssize_t => on_read_chk if moves_freely(fd), else slow_read_chk {
        if refuses_incoming("read", fd) {
            return 0;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::__read_chk()(fd, buffer, length, size) }
    }

    unsafe fn shutdown(fd: c_int, how: c_int) -> c_int => on_shutdown if moves_freely(fd), else slow_shutdown {
        if refuses_incoming("shutdown", fd) {
            return 0;
        }
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::shutdown()(fd, how) }
    }
}
