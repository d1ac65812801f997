//! Putting a dead socket over an inherited one.
//!
//! A dead socket is one end of a stream socketpair whose other end is closed:
//! a send gives `EPIPE`, a receive gives end of file, a poll wakes. libpq reads
//! that as a lost connection (fe-misc.c, fe-secure.c); `/dev/null` or a socket
//! that was never connected it would not. It is made in the child, for a
//! description shared with the parent can leave a registration behind in the
//! parent's epoll (tried). `O_NONBLOCK` belongs to the description, so there
//! are two at most: one that blocks and one that does not.

use core::ffi::c_int;

use super::descriptors::{self, Entry, Word, CLOSE_ON_EXEC, NON_BLOCKING};
use super::sys::{self, Errno};

/// How an inherited descriptor was dealt with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A dead socket stands there.
    Dead,
    /// It could not be replaced, for this reason; the hooks refuse it.
    Refused(Errno),
    /// Something else is open there, or nothing.
    Gone,
    /// The kernel would not say what is open there; left alone.
    Unknown(Errno),
}

/// A dead socket of this process.
#[derive(Clone, Copy)]
struct Dead {
    fd: c_int,
    identity: u64,
    /// It stands on an abandoned number itself, and stays.
    in_place: bool,
}

/// The dead sockets of one pass, made when needed and closed at its end; the
/// descriptors they were put over keep them alive.
pub struct DeadSockets {
    /// What they replace is of this generation from then on.
    pub generation: u32,
    blocking: Option<Dead>,
    non_blocking: Option<Dead>,
    limit_before: Option<libc::rlimit64>,
}

impl DeadSockets {
    /// None made yet.
    pub fn none(generation: u32) -> Self {
        DeadSockets {
            generation,
            blocking: None,
            non_blocking: None,
            limit_before: None,
        }
    }

    /// Replaces what is open at `fd`, if that still is what `entry` recorded.
    pub fn replace(&mut self, fd: c_int, entry: Entry) -> Outcome {
        match entry.is_there(fd) {
            Ok(true) => {}
            Ok(false) => {
                entry.forget();
                return Outcome::Gone;
            }
            Err(errno) => return Outcome::Unknown(errno),
        }
        let word = entry.word();
        match self.put_over(fd, word) {
            Ok(identity) => {
                entry.set_abandoned(identity, self.generation);
                Outcome::Dead
            }
            Err(errno) => {
                entry.set_refused(self.generation);
                Outcome::Refused(errno)
            }
        }
    }

    fn put_over(&mut self, fd: c_int, word: Word) -> Result<u64, Errno> {
        let dead = match self.made(word.has(NON_BLOCKING)) {
            Err(Errno::EMFILE) => return self.make_in_place(fd, word),
            other => other?,
        };
        let flags = if word.has(CLOSE_ON_EXEC) {
            libc::O_CLOEXEC
        } else {
            0
        };
        match sys::dup3(dead.fd, fd, flags) {
            // The number is above the limit, which was lowered after it was opened.
            Err(Errno::EBADF) if self.raise_limit() => sys::dup3(dead.fd, fd, flags)?,
            other => other?,
        }
        Ok(dead.identity)
    }

    fn slot(&mut self, non_blocking: bool) -> &mut Option<Dead> {
        if non_blocking {
            &mut self.non_blocking
        } else {
            &mut self.blocking
        }
    }

    fn made(&mut self, non_blocking: bool) -> Result<Dead, Errno> {
        if let Some(dead) = *self.slot(non_blocking) {
            return Ok(dead);
        }
        let kind = libc::SOCK_STREAM
            | libc::SOCK_CLOEXEC
            | if non_blocking { libc::SOCK_NONBLOCK } else { 0 };
        let [fd, peer] = match sys::socketpair(kind) {
            Err(Errno::EMFILE) if self.raise_limit() => sys::socketpair(kind)?,
            other => other?,
        };
        if !sys::close(peer) {
            sys::shutdown(fd); // refused: dead all the same
        }
        let dead = Dead {
            fd,
            identity: descriptors::identity_of(fd)?,
            in_place: false,
        };
        *self.slot(non_blocking) = Some(dead);
        Ok(dead)
    }

    /// Where no number is free, the inherited descriptor's own is used: it is
    /// closed (which costs the parent nothing), and one socket is made in its
    /// place. A TCP socket that was never connected and is shut down answers as
    /// a dead socketpair does (net/ipv4/tcp.c: `tcp_sendmsg_locked` and
    /// `tcp_recvmsg_locked` look at the shutdown flags before the state).
    fn make_in_place(&mut self, fd: c_int, word: Word) -> Result<u64, Errno> {
        let kind = libc::SOCK_STREAM
            | if word.has(CLOSE_ON_EXEC) {
                libc::SOCK_CLOEXEC
            } else {
                0
            }
            | if word.has(NON_BLOCKING) {
                libc::SOCK_NONBLOCK
            } else {
                0
            };
        // Above a limit that was lowered nothing could come in its place.
        if sys::descriptor_limit(None).is_ok_and(|limit| fd as u64 >= limit.rlim_cur) {
            return Err(Errno::EMFILE);
        }
        sys::close(fd);
        let socket = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX]
            .iter()
            .map(|family| sys::socket(*family, kind))
            .find(Result::is_ok)
            .unwrap_or(Err(Errno::EMFILE))?;
        sys::shutdown(socket);
        if socket != fd {
            let moved = sys::dup3(
                socket,
                fd,
                if word.has(CLOSE_ON_EXEC) {
                    libc::O_CLOEXEC
                } else {
                    0
                },
            );
            sys::close(socket);
            moved?;
        }
        let dead = Dead {
            fd,
            identity: descriptors::identity_of(fd)?,
            in_place: true,
        };
        *self.slot(word.has(NON_BLOCKING)) = Some(dead);
        Ok(dead.identity)
    }

    /// Raises the soft limit on descriptors to the hard one until the pass ends.
    fn raise_limit(&mut self) -> bool {
        if self.limit_before.is_some() {
            return false;
        }
        let Ok(before) = sys::descriptor_limit(None) else {
            return false;
        };
        let raised = libc::rlimit64 {
            rlim_cur: before.rlim_max,
            ..before
        };
        let done =
            before.rlim_cur < before.rlim_max && sys::descriptor_limit(Some(&raised)).is_ok();
        if done {
            self.limit_before = Some(before);
        }
        done
    }

    /// Closes the sockets of the pass and puts the limit back.
    pub fn finish(self) {
        for dead in [self.blocking, self.non_blocking].into_iter().flatten() {
            if !dead.in_place {
                sys::close(dead.fd);
            }
        }
        if let Some(limit) = self.limit_before {
            let _ = sys::descriptor_limit(Some(&limit));
        }
    }
}
