//! What the shims know of each `PGconn`.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicU8, AtomicUsize, Ordering::*,
};

use super::loss::Loss;
use super::progress::Progress;
use super::state::SessionState;
use super::table::{Record, Table};
use super::thread::frame;
use crate::libpq::methods::{Notification, PQTRANS_IDLE, PQTRANS_INERROR, PQTRANS_INTRANS};
use crate::libpq::types::{NoticeReceiver, PGcancel, PGconn};
use crate::libpq::Library;
use crate::{policy, tracker};
use forkguard_signal_safe::sink::{self, Level};
use forkguard_signal_safe::{descriptors, generation, ownership, stats, sys};
use forkguard_sql::{Cause, Reason};

/// What becomes of an inherited connection in this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Eligibility {
    /// Nobody has asked yet.
    Unchecked = 0,
    /// The next call that needs the server resumes it.
    Resumable = 1,
    /// It is lost.
    Lost = 2,
}

/// One `PGconn`. What every call looks at stands together.
#[repr(C)]
pub(crate) struct Connection {
    key: AtomicUsize,
    /// The thread inside an outermost call on it, by `pthread_self`, and where
    /// on its stack. A child that finds one here inherits half a call.
    inside: AtomicUsize,
    frame: AtomicUsize,
    /// The generation it belongs to.
    owner: AtomicU32,
    /// Changes when the record is used for another `PGconn`.
    serial: AtomicU32,
    /// Its descriptor once it is established, else -1.
    pub fd: AtomicI32,
    /// What was open there: a number may be closed and used again.
    pub identity: AtomicU64,
    eligibility: AtomicU8,
    /// In which generation that was checked.
    checked_in: AtomicU32,
    /// A `PGcancel` of our own, for a session that was resumed: what the program
    /// made before the fork names the parent's backend.
    cancel: AtomicUsize,
    left_to_us: AtomicBool,
    /// A call on it was left without its end, or two threads were in one.
    left: AtomicBool,
    /// How many commands libpq may send inside the outermost call.
    allowed: AtomicU8,
    /// A reconnect has made libpq forget the encoding: what it escapes now may not be
    /// what the program means.
    pub reconnect_failed: AtomicBool,
    /// A reconnect is under way, or was left.
    half_reconnected: AtomicBool,
    /// The transaction that libpq knows of has been ended here, without a server.
    ended: AtomicBool,
    /// Tells children whether this process has gone on with the session.
    pub progress: Progress,
    /// The program's notice receiver, while a reconnect keeps its own.
    receiver: AtomicUsize,
    /// Notifications that libpq had queued before a reconnect: the first `PGnotify`.
    notifications: AtomicPtr<Notification>,
    /// What the program gave `PQsetNoticeReceiver` beside the function.
    pub notice_argument: AtomicPtr<c_void>,
    state: UnsafeCell<SessionState>,
}

/// What a call does, as far as calls inside it are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends a command and waits, as `PQexec`: by one of libpq's sending calls,
    /// or by none.
    Waits,
    /// Sends a command.
    Sends,
    /// Sends commands of libpq's own making, as `lo_open` does.
    Many,
    /// Sends none.
    Other,
}

const MANY: u8 = u8::MAX;

impl Role {
    fn allows(self) -> u8 {
        match self {
            Role::Waits => 1,
            Role::Many => MANY,
            Role::Sends | Role::Other => 0,
        }
    }
}

// SAFETY: `state` is touched by the thread inside an outermost call alone
// (`inside`; two threads on one PGconn are forbidden by libpq), or by a child
// that found nobody inside.
unsafe impl Sync for Connection {}

impl Record for Connection {
    fn new() -> Self {
        Connection {
            key: AtomicUsize::new(0),
            owner: AtomicU32::new(0),
            serial: AtomicU32::new(0),
            inside: AtomicUsize::new(0),
            frame: AtomicUsize::new(0),
            fd: AtomicI32::new(-1),
            identity: AtomicU64::new(0),
            eligibility: AtomicU8::new(Eligibility::Unchecked as u8),
            checked_in: AtomicU32::new(0),
            cancel: AtomicUsize::new(0),
            left_to_us: AtomicBool::new(false),
            left: AtomicBool::new(false),
            allowed: AtomicU8::new(0),
            reconnect_failed: AtomicBool::new(false),
            half_reconnected: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            progress: Progress::none(),
            receiver: AtomicUsize::new(0),
            notifications: AtomicPtr::new(null_mut()),
            notice_argument: AtomicPtr::new(null_mut()),
            state: UnsafeCell::new(SessionState::new()),
        }
    }

    fn key(&self) -> &AtomicUsize {
        &self.key
    }
}

/// The connections of this process: 16,384 places, half a megabyte of address
/// space of which a program touches a page or two.
static CONNECTIONS: Table<Connection, 16384> = Table::empty();

/// The record of a `PGconn`.
#[inline]
pub(crate) fn find(pgconn: PGconn) -> Option<&'static Connection> {
    CONNECTIONS.find(pgconn.address())
}

/// A `PGconn` was made.
pub(crate) fn made(pgconn: PGconn) -> Option<&'static Connection> {
    CONNECTIONS.insert(pgconn.address(), |connection| {
        connection.serial.fetch_add(1, Relaxed);
        connection.inside.store(0, Relaxed);
        connection.notice_argument.store(null_mut(), Relaxed);
        connection.begin_session();
    })
}

impl Connection {
    /// Its `PGconn`; null once that is freed.
    pub(crate) fn pgconn(&self) -> PGconn {
        // SAFETY: `made` was given it, and `forget` takes it out before libpq frees it.
        unsafe { PGconn::at(self.key.load(Relaxed)) }
    }

    /// The `PGcancel` of our own, if there is one.
    pub(crate) fn own_cancel(&self) -> PGcancel {
        // SAFETY: `set_own_cancel` was given it, and it is never freed.
        unsafe { PGcancel::at(self.cancel.load(Relaxed)) }
    }

    /// It has one now.
    pub(crate) fn set_own_cancel(&self, cancel: PGcancel) {
        self.cancel.store(cancel.address(), Relaxed);
    }

    /// Takes it out.
    pub(crate) fn take_own_cancel(&self) -> PGcancel {
        // SAFETY: as in `own_cancel`.
        unsafe { PGcancel::at(self.cancel.swap(0, Relaxed)) }
    }

    /// The program's notice receiver, while a reconnect keeps its own.
    pub(crate) fn kept_receiver(&self) -> NoticeReceiver {
        // SAFETY: `keep_receiver` was given it.
        unsafe { NoticeReceiver::at(self.receiver.load(Relaxed)) }
    }

    /// Keeps it.
    pub(crate) fn keep_receiver(&self, receiver: NoticeReceiver) {
        self.receiver.store(receiver.address(), Relaxed);
    }

    /// Tells a record's uses apart.
    pub(crate) fn serial(&self) -> u32 {
        self.serial.load(Relaxed)
    }

    /// Whether it was made, or established, by a process before this one.
    #[inline]
    pub(crate) fn is_inherited(&self) -> bool {
        ownership::is_inherited(self.owner.load(Relaxed))
    }

    /// The generation it was made, or established, in.
    pub(crate) fn owner(&self) -> u32 {
        self.owner.load(Relaxed)
    }

    /// It is this process's now.
    pub(crate) fn own(&self) {
        self.left_to_us.store(false, Relaxed);
        self.ended.store(false, Relaxed);
        self.eligibility
            .store(Eligibility::Unchecked as u8, Relaxed);
        self.owner.store(generation::current(), Relaxed);
        self.progress.begin();
    }

    /// A new session, or the attempt at one: nothing is known of it.
    pub(crate) fn begin_session(&self) {
        self.fd.store(-1, Relaxed);
        self.identity.store(0, Relaxed);
        self.left.store(false, Relaxed);
        self.reconnect_failed.store(false, Relaxed);
        self.half_reconnected.store(false, Relaxed);
        self.notifications.store(null_mut(), Relaxed);
        self.inside.store(0, Relaxed);
        self.empty_state();
        self.own();
    }

    /// What was kept is dropped, unless a fork may have cut it in two: then it
    /// is left where it lies.
    fn empty_state(&self) {
        let state = self.state.get();
        // SAFETY: the program begins or ends the session in this thread, so
        // nobody else is inside.
        unsafe {
            if self.is_inherited() {
                state.write(SessionState::new());
            } else {
                *state = SessionState::new();
            }
        }
    }

    /// It was handed over by its parent, who does not touch it any more: this
    /// process's, under the old key, and not to be made again.
    pub(crate) fn leave_to_us(&self) {
        self.empty_state();
        self.own();
        self.left_to_us.store(true, Relaxed);
        self.nobody_inside();
        // SAFETY: emptied above, and nobody is inside.
        unsafe { &mut *self.state.get() }
            .journal
            .set_opaque(Reason::HandedOver);
    }

    /// Whether it was.
    pub(crate) fn was_left_to_us(&self) -> bool {
        self.left_to_us.load(Relaxed)
    }

    /// The state of an inherited connection, as checked. That it can be resumed is checked again
    /// in each child: it may inherit half a reconnect.
    pub(crate) fn eligibility(&self) -> Eligibility {
        match self.eligibility.load(Relaxed) {
            1 if self.checked_in.load(Relaxed) == generation::current() => Eligibility::Resumable,
            2 => Eligibility::Lost,
            _ => Eligibility::Unchecked,
        }
    }

    /// Records what the check said, for this process.
    pub(crate) fn set_eligibility(&self, state: Eligibility) {
        self.checked_in.store(generation::current(), Relaxed);
        self.eligibility.store(state as u8, Relaxed);
    }

    /// Where it says which thread is inside: good for as long as the process.
    pub(crate) fn inside(&'static self) -> &'static AtomicUsize {
        &self.inside
    }

    /// Whether a thread was inside a call at the fork, or is.
    pub(crate) fn is_entered(&self) -> bool {
        self.inside.load(Relaxed) != 0
    }

    /// This thread begins an outermost call. `None` inside another one: libpq
    /// calls itself through the same doors.
    #[inline]
    pub(crate) fn enter(&self, role: Role) -> Option<Inside<'_>> {
        let (me, frame) = (sys::this_thread(), frame());
        match self.inside.load(Relaxed) {
            0 => {}
            thread if thread == me => {
                // A call that stands higher on this stack, not far: libpq's frames
                // are small. Anything else was left by longjmp(3).
                let outer = self.frame.load(Relaxed);
                if frame < outer && outer - frame < NEAR {
                    self.nested(role);
                    return None;
                }
                self.left.store(true, Relaxed);
            }
            // Ended by pthread_cancel(3) inside a call, or still in one, against
            // libpq's rule: the session state is left alone from here on.
            _ => {
                self.left.store(true, Relaxed);
                return None;
            }
        }
        self.frame.store(frame, Relaxed);
        self.allowed.store(role.allows(), Relaxed);
        self.inside.store(me, Release);
        Some(Inside { connection: self })
    }

    /// A call inside the outermost one. A command that libpq did not send on the
    /// outer one's behalf is an event procedure's or a notice receiver's, and was
    /// not read.
    fn nested(&self, role: Role) {
        match (role, self.allowed.load(Relaxed)) {
            (Role::Other | Role::Many, _) | (_, MANY) => {}
            (Role::Sends, 1) => self.allowed.store(0, Relaxed),
            _ => self.left.store(true, Relaxed),
        }
    }

    /// Whether a reconnect is under way, or was left: asked where none is on this thread.
    /// In a child that was forked meanwhile it is the parent's.
    pub(crate) fn is_half_reconnected(&self) -> bool {
        self.half_reconnected.load(Relaxed)
    }

    /// A reconnect begins, or has ended.
    pub(crate) fn set_half_reconnected(&self, half: bool) {
        self.half_reconnected.store(half, Relaxed);
    }

    /// Its transaction has been ended without a server: libpq will not know of it before there is
    /// another session. In this process, and in those that inherit it from here.
    pub(crate) fn end_transaction(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Where its session stands, libpq having said `status` (`PGTransactionStatusType`).
    pub(crate) fn stands(&self, status: i32) -> i32 {
        match status {
            PQTRANS_INTRANS | PQTRANS_INERROR if self.ended.load(Relaxed) => PQTRANS_IDLE,
            status => status,
        }
    }

    /// Where its session stands.
    pub(crate) fn transaction_status(&self, library: &Library) -> i32 {
        self.stands(library.transaction_status(self.pgconn()))
    }

    /// Keeps a chain of `PGnotify` that libpq would forget.
    pub(crate) fn keep_notifications(&self, first: *mut Notification) {
        self.notifications.store(first, Relaxed);
    }

    /// The next of those kept, the program's to free.
    pub(crate) fn next_notification(&self) -> Option<*mut Notification> {
        let first = self.notifications.load(Relaxed);
        // SAFETY: null, or kept by `reconnect`, from libpq, and handed out once; one thread is in a
        // call on the connection.
        let notification = unsafe { first.as_mut() }?;
        self.notifications.store(notification.next, Relaxed);
        notification.next = null_mut();
        Some(first)
    }

    /// Whether a call on it was left without its end.
    pub(crate) fn was_left(&self) -> bool {
        self.left.load(Relaxed)
    }

    /// Nobody is inside any more: in a child, whose threads are gone.
    pub(crate) fn nobody_inside(&self) {
        self.inside.store(0, Relaxed);
    }

    /// A session of this process's stands at `fd`: what is open there is noted, and
    /// from now on bytes there must come from calls at the shims.
    pub(crate) fn record_socket(&'static self, fd: i32, state: &mut SessionState) {
        let identity = descriptors::identity_of(fd).unwrap_or(0);
        self.identity.store(identity, Relaxed);
        if policy::resumes() && !tracker::journalled(fd, self.inside()) {
            state.journal.set_opaque(Reason::DescriptorUnknown);
        }
    }

    /// An inherited session is lost in this process, and the log says why.
    pub(crate) fn lose(&self, loss: &Loss) {
        self.set_eligibility(Eligibility::Lost);
        let Cause { reason, detail } = loss.cause();
        stats::count_opaque(reason.code().as_bytes(), detail);
        let fd = self.fd.load(Relaxed);
        sink::say(Level::Warn, |line| {
            line.push(b"the session on descriptor ")
                .push_number(i64::from(fd))
                .push(b", inherited, is lost in this child: ")
                .push(reason.sentence().as_bytes());
            if !detail.is_empty() {
                line.push(b": ").push(detail);
            }
            line.push(b" (")
                .push(reason.code().as_bytes())
                .push(b"); ")
                .push(reason.hint().as_bytes());
            line.string("event", b"lost")
                .number("descriptor", i64::from(fd))
                .string("reason", reason.code().as_bytes())
                .string("text", reason.sentence().as_bytes())
                .string("detail", detail)
                .string("hint", reason.hint().as_bytes());
        });
    }

    /// The `PGconn` is being freed.
    pub(crate) fn forget(&self) {
        self.empty_state();
        CONNECTIONS.forget(self);
    }

    /// The session state of an inherited connection that nobody was inside.
    ///
    /// # Safety
    /// The caller has seen `is_entered` false in a child, is the one thread in a call on the
    /// connection, and lets the borrow end before it enters the connection.
    pub(crate) unsafe fn inherited_state(&self) -> &SessionState {
        // SAFETY: by the caller's promise nobody else is at it.
        unsafe { &*self.state.get() }
    }

    /// As after [`Connection::enter`], for a connection that nobody else knows yet.
    ///
    /// # Safety
    /// This thread is in the call that makes the connection, and no other `Inside` of it is used.
    pub(crate) unsafe fn assume_inside(&self) -> Inside<'_> {
        Inside { connection: self }
    }
}

/// Bytes of stack between an outermost call and one that libpq makes inside it
/// (measured: under 1 KB for the calls libpq makes of itself).
const NEAR: usize = 16 * 1024;

/// An outermost call under way. Without `Drop`: `pthread_cancel` and `longjmp`
/// go through the real call, and must find nothing of ours to run.
pub(crate) struct Inside<'a> {
    connection: &'a Connection,
}

impl Inside<'_> {
    /// Ends the call.
    #[inline]
    pub(crate) fn leave(&mut self) {
        self.connection.inside.store(0, Release);
    }

    /// What libpq may send inside the call, in a role; returns what it was allowed before.
    pub(crate) fn allow(&self, role: Role) -> u8 {
        self.connection.allowed.swap(role.allows(), Relaxed)
    }

    /// That again.
    pub(crate) fn allow_again(&self, allowed: u8) {
        self.connection.allowed.store(allowed, Relaxed);
    }

    /// A command is about to be sent.
    pub(crate) fn count_command(&self) {
        self.connection.progress.count();
    }

    /// The session state, for the moment: the borrow ends before the next call of libpq's.
    pub(crate) fn state(&mut self) -> &mut SessionState {
        // SAFETY: this thread is inside, and this is the one `Inside` of the connection that is
        // used: `enter` makes none for a call inside another one, and one that was left by a jump
        // is never used again.
        unsafe { &mut *self.connection.state.get() }
    }
}
