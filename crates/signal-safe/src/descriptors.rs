//! The table of descriptors: which number may be a PostgreSQL session.
//!
//! Lock-free, readable in a forked child at any moment, never wrong about the
//! kernel because it never claims to know: an entry makes a number a
//! *candidate*. Descriptors are closed and reused by means that no hook sees
//! (`close_range`, stdio, raw calls), so at the fork the identity of what is
//! open there decides ([`identity_of`]).
//!
//! Order of writing matters. A thread may register a session while another
//! forks, and the child gets the memory as it was at some point between two of
//! the thread's stores: identity and peer are stored first, the word that makes
//! them valid last, and all of it before the session's first byte is sent.

use core::ffi::c_int;
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};

use super::sys::{self, Errno};
use super::{generation, ownership};

/// What a number may be. Where something must be looked at before bytes go out
/// or come in, the value is odd ([`is_plain`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// Nothing of ours: unrelated.
    None = 0,
    /// Connected; its first bytes will tell.
    Pending = 1,
    /// A PostgreSQL session.
    Session = 2,
    /// Is a parent's session, and could not be replaced: the hooks refuse it.
    Refused = 3,
    /// Was a parent's session: a dead socket stands there now.
    Abandoned = 4,
    /// Is a parent's session, left alone: the hooks report its use.
    Inherited = 5,
    /// An epoll: noted to tell this process's own from an inherited one.
    Epoll = 6,
}

/// An entry's state and flags, one atomic word.
///
/// bits 0-3 state, 4-7 and 12-15 flags, 8-11 first bytes seen while pending, 16-39
/// generation, 40-63 serial (so that a reused number is never mistaken for what
/// it was).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Word(u64);

/// The open file description does not block (`O_NONBLOCK`).
pub const NON_BLOCKING: u64 = 1 << 4;
/// The descriptor is closed by `execve` (`FD_CLOEXEC`).
pub const CLOSE_ON_EXEC: u64 = 1 << 5;
/// Forked children keep it: handed over on purpose.
pub const HANDED_OVER: u64 = 1 << 6;
/// The same description is open under other numbers, too.
pub const DUPLICATED: u64 = 1 << 7;
/// Pending, and towards a server of sessions of ours: a session to be.
pub const EXPECTED: u64 = 1 << 12;

/// Its bytes are libpq's, and libpq's calls pass the shims: others are noted.
pub const JOURNALLED: u64 = 1 << 13;
/// Bytes went out that no call of a shim explains.
pub const UNSEEN: u64 = 1 << 14;
/// Inherited, and this process has sent on it: what it receives is the answer.
pub const ASKED: u64 = 1 << 15;

const STATE_BITS: u64 = 0xf;
const FLAGS: u64 = NON_BLOCKING
    | CLOSE_ON_EXEC
    | HANDED_OVER
    | DUPLICATED
    | EXPECTED
    | JOURNALLED
    | UNSEEN
    | ASKED;
const SEEN_SHIFT: u32 = 8;
const GENERATION_SHIFT: u32 = 16;
const SERIAL_SHIFT: u32 = 40;
const BITS_24: u64 = 0xff_ffff;

impl Word {
    /// The state.
    #[inline]
    pub fn state(self) -> State {
        match self.0 & STATE_BITS {
            1 => State::Pending,
            2 => State::Session,
            3 => State::Refused,
            4 => State::Abandoned,
            5 => State::Inherited,
            6 => State::Epoll,
            _ => State::None,
        }
    }

    /// Whether a child must be looked after for it.
    pub fn is_candidate(self) -> bool {
        !matches!(self.state(), State::None | State::Epoll)
    }

    /// Whether `flag` is set.
    pub fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// Those of `flags` that are set.
    pub fn flags(self, flags: u64) -> u64 {
        self.0 & flags
    }

    /// How many first bytes were seen while pending.
    pub fn seen(self) -> usize {
        (self.0 >> SEEN_SHIFT & 0xf) as usize
    }

    /// Whether it was recorded before the last fork.
    pub fn is_inherited(self) -> bool {
        self.generation() != u64::from(generation::current()) & BITS_24
    }

    /// Whether it was recorded in `generation` or before the one that follows.
    pub fn is_of_generation_or_older(self, generation: u32) -> bool {
        // Wraps after 16 million generations of descendants.
        u64::from(generation) & BITS_24 >= self.generation()
    }

    /// The generation it was recorded in.
    pub fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT & BITS_24
    }

    fn with_state(self, state: State) -> Self {
        Word(self.0 & !STATE_BITS | state as u64)
    }

    fn with_flags(self, flags: u64) -> Self {
        Word(self.0 & !FLAGS | flags)
    }

    fn with_seen(self, seen: usize) -> Self {
        Word(self.0 & !(0xf << SEEN_SHIFT) | (seen as u64 & 0xf) << SEEN_SHIFT)
    }

    fn with_generation(self, generation: u32) -> Self {
        Word(
            self.0 & !(BITS_24 << GENERATION_SHIFT)
                | (u64::from(generation) & BITS_24) << GENERATION_SHIFT,
        )
    }

    /// A word for a number that means something new.
    fn with_next_serial(self) -> Self {
        let serial = (self.0 >> SERIAL_SHIFT).wrapping_add(1) & BITS_24;
        Word(serial << SERIAL_SHIFT).with_generation(generation::current())
    }
}

/// The peer's address as text, for the log: 48 bytes hold every IPv6 address
/// with its port; of a longer socket path the end is kept.
pub type PeerText = [u8; 48];

/// The text without its padding.
pub fn trimmed(text: &PeerText) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or(text)
}

/// One number's places in the table. The words stand together, apart from what
/// is seldom looked at: a child that abandons a thousand sessions writes few
/// pages, each of which costs it a copy.
#[derive(Clone, Copy)]
pub struct Entry {
    word: &'static AtomicU64,
    identity: &'static AtomicU64,
    inode: &'static AtomicU64,
    caller: &'static AtomicPtr<AtomicUsize>,
    /// The peer; while pending, the first bytes seen and the server's hash.
    text: &'static [AtomicU64; 6],
}

impl Entry {
    /// State and flags now.
    #[inline]
    pub fn word(&self) -> Word {
        Word(self.word.load(Acquire))
    }

    /// What was open there when it was recorded.
    pub fn identity(&self) -> u64 {
        self.identity.load(Relaxed)
    }

    /// Whether what is open at `fd` now is what was recorded.
    pub fn is_still(&self, fd: c_int) -> bool {
        self.is_there(fd) == Ok(true)
    }

    /// The same; an error where the kernel will not say.
    pub fn is_there(&self, fd: c_int) -> Result<bool, Errno> {
        let recorded = self.identity();
        match identity_of(fd) {
            Ok(now) if now == recorded => Ok(true),
            // Recorded by its cookie, before the program went into a sandbox that does
            // not let it be asked for: by the inode, if that was recorded as well.
            Ok(now) if now & BY_INODE > recorded & BY_INODE => match self.inode.load(Relaxed) {
                0 => Err(Errno::EPERM),
                inode => Ok(now == inode),
            },
            Ok(_) | Err(Errno::EBADF | Errno::ENOTSOCK) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Whether the parent's session that could not be replaced is still at `fd`.
    pub fn is_refused(&self, fd: c_int) -> bool {
        self.word().state() == State::Refused && self.is_still(fd)
    }

    fn publish(&self, new: Word) {
        let old = Word(self.word.swap(new.0, AcqRel));
        if new.state() == State::Refused {
            ANY_REFUSED.store(true, Relaxed);
        }
        match (old.is_candidate(), new.is_candidate()) {
            (false, true) => LIVE.fetch_add(1, Relaxed),
            (true, false) => LIVE.fetch_sub(1, Relaxed),
            _ => 0,
        };
    }

    /// A connection is being made here: its first bytes will tell. `server` is
    /// the hash of the address; where sessions of this server are known,
    /// `expected` holds the socket's identity and flags.
    pub fn set_pending(&self, server: u64, expected: Option<(u64, u64)>) {
        let (identity, flags) =
            expected.map_or((0, 0), |(identity, flags)| (identity, flags | EXPECTED));
        let word = self.word().with_next_serial().with_flags(flags);
        self.publish(word);
        self.no_caller();
        self.identity.store(identity, Relaxed);
        self.inode.store(0, Relaxed);
        for (place, value) in self.text.iter().zip([0, server, 0]) {
            place.store(value, Relaxed);
        }
        self.publish(word.with_state(State::Pending));
    }

    /// The hash of the server's address, while pending.
    pub fn server(&self) -> u64 {
        self.text.get(1).map_or(0, |server| server.load(Relaxed))
    }

    /// The hash of the server's address, while pending, and whether PostgreSQL is known
    /// to be there.
    pub fn set_server(&self, server: u64, is_known: bool) {
        for (place, value) in self
            .text
            .iter()
            .zip([None, Some(server), Some(u64::from(is_known))])
        {
            if let Some(value) = value {
                place.store(value, Relaxed);
            }
        }
    }

    /// Whether PostgreSQL is known to be at the other end, while pending.
    pub fn is_server_known(&self) -> bool {
        self.text
            .get(2)
            .is_some_and(|known| known.load(Relaxed) != 0)
    }

    /// An epoll was made here.
    pub fn set_epoll(&self) {
        self.publish(self.word().with_next_serial().with_state(State::Epoll));
    }

    /// The first bytes seen so far while pending.
    pub fn head(&self) -> [u8; 8] {
        self.text
            .first()
            .map_or([0; 8], |first| first.load(Relaxed).to_ne_bytes())
    }

    /// Keeps the first bytes of a connection that has not said enough.
    pub fn set_head(&self, head: [u8; 8], seen: usize) {
        if let Some(first) = self.text.first() {
            first.store(u64::from_ne_bytes(head), Relaxed);
        }
        self.publish(self.word().with_seen(seen));
    }

    /// A PostgreSQL session is here, and this process's. A pending entry stays
    /// so until it is a session: a fork that comes between finds one of them.
    pub fn set_session(&self, (identity, inode): (u64, u64), peer: &PeerText, flags: u64) {
        let word = self.word().with_next_serial().with_flags(flags);
        if self.word().state() != State::Pending {
            self.publish(word);
        }
        self.no_caller();
        self.identity.store(identity, Relaxed);
        self.inode.store(inode, Relaxed);
        for (place, text) in self.text.iter().zip(peer.chunks_exact(8)) {
            place.store(text.try_into().map_or(0, u64::from_ne_bytes), Relaxed);
        }
        self.publish(word.with_state(State::Session));
    }

    /// The same description as `other` stands here.
    pub fn copy_from(&self, other: Entry, flags: u64) {
        let others = other.word();
        let mut word = self
            .word()
            .with_next_serial()
            .with_flags(flags)
            .with_seen(others.seen());
        self.publish(word);
        self.no_caller(); // libpq writes to the number that it made
        self.identity.store(other.identity(), Relaxed);
        self.inode.store(other.inode.load(Relaxed), Relaxed);
        for (to, from) in self.text.iter().zip(other.text) {
            to.store(from.load(Relaxed), Relaxed);
        }
        word = word.with_generation(others.generation() as u32);
        self.publish(word.with_state(others.state()));
    }

    /// The inherited descriptor was replaced by a dead socket; it is of
    /// `generation` now, as with the next two.
    pub fn set_abandoned(&self, dead: u64, generation: u32) {
        self.identity.store(dead, Relaxed);
        self.inode.store(0, Relaxed);
        self.publish(
            self.word()
                .with_state(State::Abandoned)
                .with_generation(generation),
        );
    }

    /// The inherited descriptor could not be replaced: the hooks refuse it.
    pub fn set_refused(&self, generation: u32) {
        self.publish(
            self.word()
                .with_state(State::Refused)
                .with_generation(generation),
        );
    }

    /// The inherited descriptor, of `generation`, is left alone, and its use reported.
    pub fn set_inherited(&self, generation: u64) {
        let word = self.word().with_state(State::Inherited);
        self.publish(word.with_generation(generation as u32));
    }

    /// The inherited descriptor belongs to this process from now on.
    pub fn set_owned(&self, generation: u32) {
        self.publish(self.word().with_generation(generation));
    }

    /// Who is inside a call of libpq's on the session here, by `pthread_self`, is
    /// told there from now on. Before [`JOURNALLED`] is set.
    pub fn set_caller(&self, caller: &'static AtomicUsize) {
        self.caller.store((&raw const *caller).cast_mut(), Release);
    }

    fn no_caller(&self) {
        self.caller.store(core::ptr::null_mut(), Relaxed);
    }

    /// Sets or takes away one flag.
    pub fn set_flag(&self, flag: u64, on: bool) {
        if on {
            self.word.fetch_or(flag, AcqRel);
        } else {
            self.word.fetch_and(!flag, AcqRel);
        }
    }

    /// Nothing of ours is here any more.
    pub fn forget(&self) {
        self.publish(Word(self.word().0 & !(STATE_BITS)).with_flags(0));
    }

    /// As [`forget`](Self::forget), if nothing has changed since `word` was read.
    pub fn forget_if(&self, word: Word) -> bool {
        let new = word.with_state(State::None).with_flags(0);
        let done = self
            .word
            .compare_exchange(word.0, new.0, AcqRel, Relaxed)
            .is_ok();
        if done && word.is_candidate() {
            LIVE.fetch_sub(1, Relaxed);
        }
        done
    }

    /// The peer, as recorded.
    pub fn peer(&self) -> PeerText {
        let mut text = [0; size_of::<PeerText>()];
        for (place, from) in text.chunks_exact_mut(8).zip(self.text) {
            for (to, byte) in place.iter_mut().zip(from.load(Relaxed).to_ne_bytes()) {
                *to = byte;
            }
        }
        text
    }
}

/// Numbers in one chunk.
const CHUNK: usize = 1024;
/// Chunks: numbers up to 1,048,575, the kernel's default for `fs.nr_open`. A
/// program needs as many open descriptors, or `dup2` to a chosen number, to
/// leave it.
const CHUNKS: usize = 1024;

/// A run of numbers.
struct Chunk {
    /// One bit an entry: it has been used. Never cleared, so that no thread's
    /// clearing can cover another's setting.
    used: [AtomicU64; CHUNK / 64],
    words: [AtomicU64; CHUNK],
    identities: [AtomicU64; CHUNK],
    inodes: [AtomicU64; CHUNK],
    callers: [AtomicPtr<AtomicUsize>; CHUNK],
    texts: [[AtomicU64; 6]; CHUNK],
    /// In which generation a libpq made a socket of this number last; 0: none did.
    made_in: [AtomicU32; CHUNK],
}

impl Chunk {
    const fn new() -> Self {
        Chunk {
            used: [const { AtomicU64::new(0) }; CHUNK / 64],
            words: [const { AtomicU64::new(0) }; CHUNK],
            identities: [const { AtomicU64::new(0) }; CHUNK],
            inodes: [const { AtomicU64::new(0) }; CHUNK],
            callers: [const { AtomicPtr::new(core::ptr::null_mut()) }; CHUNK],
            texts: [const { [const { AtomicU64::new(0) }; 6] }; CHUNK],
            made_in: [const { AtomicU32::new(0) }; CHUNK],
        }
    }

    #[inline]
    fn entry(&'static self, place: usize) -> Option<Entry> {
        Some(Entry {
            word: self.words.get(place)?,
            identity: self.identities.get(place)?,
            inode: self.inodes.get(place)?,
            caller: self.callers.get(place)?,
            text: self.texts.get(place)?,
        })
    }
}

/// The numbers below 1,024 need no memory at run time, and are there before
/// the constructor has run.
static FIRST: Chunk = Chunk::new();

static TABLE: [AtomicPtr<Chunk>; CHUNKS] = {
    let mut table = [const { AtomicPtr::new(core::ptr::null_mut()) }; CHUNKS];
    table[0] = AtomicPtr::new(&raw const FIRST as *mut Chunk);
    table
};

/// Entries that are candidates.
#[link_section = ".data.forkguard"]
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Whether there has been a [`State::Refused`] in this process.
#[link_section = ".data.forkguard"]
static ANY_REFUSED: AtomicBool = AtomicBool::new(false);
/// One more than the highest chunk in use.
#[link_section = ".data.forkguard"]
static CHUNKS_USED: AtomicUsize = AtomicUsize::new(1);

/// Whether any number is a candidate. One load: the price of a fork with none.
#[inline]
pub fn any() -> bool {
    LIVE.load(Relaxed) != 0
}

/// How many numbers are candidates.
pub fn live() -> usize {
    LIVE.load(Relaxed)
}

/// Whether any number is, or was, refused.
#[inline]
pub fn any_refused() -> bool {
    ANY_REFUSED.load(Relaxed)
}

#[inline]
fn chunk(index: usize) -> Option<&'static Chunk> {
    let address = TABLE.get(index)?.load(Acquire);
    // SAFETY: null, FIRST, or a mapping of a Chunk's size and alignment, zeroed
    // (which is `Chunk::new()`), published with Release and never given back.
    unsafe { address.as_ref() }
}

/// The entry of a number, where there is one.
#[inline]
pub fn find(fd: c_int) -> Option<Entry> {
    let number = fd as u32 as usize;
    chunk(number / CHUNK)?.entry(number % CHUNK)
}

/// The word of a number; none means unrelated.
#[inline]
fn word_bits(fd: c_int) -> u64 {
    let number = fd as u32 as usize;
    let word = chunk(number / CHUNK).and_then(|chunk| chunk.words.get(number % CHUNK));
    word.map_or(State::None as u64, |word| word.load(Relaxed))
}

/// Whether `fd` means nothing to us: the hot path of the other hooks.
#[inline]
pub fn is_unrelated(fd: c_int) -> bool {
    word_bits(fd) & STATE_BITS == State::None as u64
}

/// Whether bytes may go out and come in at `fd` without a look: the hot path
/// of every hook that moves any. A session passes, too: one that was inherited
/// is none any more by the time that a hook runs.
#[inline]
pub fn is_plain(fd: c_int) -> bool {
    word_bits(fd) & 1 == 0
}

/// The same for bytes that go out: where a session's are journalled, a shim must have
/// seen the call.
#[inline]
pub fn sends_plainly(fd: c_int) -> bool {
    word_bits(fd) & (1 | JOURNALLED) == 0
}

/// Whether this thread is inside a call of libpq's on the session at `fd`.
#[inline]
pub fn is_called(fd: c_int) -> bool {
    find(fd).is_some_and(|entry| {
        let word = entry.word();
        if word.state() != State::Session || !word.has(JOURNALLED) {
            return false;
        }
        // SAFETY: null, or what `set_caller` was given, which lives for ever.
        let caller = unsafe { entry.caller.load(Acquire).as_ref() };
        caller.is_some_and(|caller| caller.load(Relaxed) == sys::this_thread())
    })
}

/// The entry of a number, made if need be. `None`: a negative number, one past
/// the table, or no memory.
pub fn entry(fd: c_int) -> Option<Entry> {
    let number = usize::try_from(fd).ok()?;
    let index = number / CHUNK;
    let slot = TABLE.get(index)?;
    if slot.load(Acquire).is_null() {
        let new = sys::map(size_of::<Chunk>())?.cast::<Chunk>();
        // The loser's mapping stays unused: address space, no memory.
        let _ = slot.compare_exchange(core::ptr::null_mut(), new, AcqRel, Acquire);
    }
    CHUNKS_USED.fetch_max(index + 1, Relaxed);
    let chunk = chunk(index)?;
    if let Some(bits) = chunk.used.get(number % CHUNK / 64) {
        bits.fetch_or(1 << (number % 64), Relaxed);
    }
    chunk.entry(number % CHUNK)
}

fn made_in(fd: c_int) -> Option<&'static AtomicU32> {
    let number = fd as u32 as usize;
    chunk(number / CHUNK)?.made_in.get(number % CHUNK)
}

/// A libpq of this process has made a socket of this number, or what stands there was
/// left to this process.
pub fn note_libpqs_socket(fd: c_int) {
    if entry(fd).is_some() {
        if let Some(made_in) = made_in(fd) {
            made_in.store(generation::current(), Relaxed);
        }
    }
}

/// Whether the socket of this number that a libpq made last was made before this process.
pub fn is_inherited_libpqs(fd: c_int) -> bool {
    let made_in = made_in(fd).map_or(0, |made_in| made_in.load(Relaxed));
    made_in != 0 && ownership::is_inherited(made_in)
}

/// Calls `each` for every entry that is not [`State::None`].
#[inline]
pub fn for_each(mut each: impl FnMut(c_int, Entry)) {
    for index in 0..CHUNKS_USED.load(Relaxed) {
        let Some(chunk) = chunk(index) else { continue };
        for (word, bits) in chunk.used.iter().enumerate() {
            let mut bits = bits.load(Relaxed);
            while bits != 0 {
                let number = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(entry) = chunk.entry(number) {
                    if entry.word().state() != State::None {
                        each((index * CHUNK + number) as c_int, entry);
                    }
                }
            }
        }
    }
}

/// In an identity: it is no cookie. Cookies are counted from 1.
const BY_INODE: u64 = 1 << 63;

/// Names what is open at `fd` by something never used twice: the socket's
/// cookie (`SO_COOKIE`, socket(7), Linux 4.12); on older kernels, and where it
/// may not be asked for, [`inode_of`]. An error: no socket is open there.
#[inline]
pub fn identity_of(fd: c_int) -> Result<u64, Errno> {
    const SO_COOKIE: c_int = 57; // include/uapi/asm-generic/socket.h
    match sys::socket_option::<u64>(fd, SO_COOKIE) {
        Ok(cookie) => Ok(cookie),
        Err(errno @ (Errno::EBADF | Errno::ENOTSOCK)) => Err(errno),
        Err(_) => inode_of(fd),
    }
}

/// The device and inode of what is open at `fd`, in one word that is no cookie's.
pub fn inode_of(fd: c_int) -> Result<u64, Errno> {
    // A socket's inode has 32 bits, and so has a device's number.
    sys::file_identity(fd).map(|(device, inode)| (device << 32 ^ inode) | BY_INODE)
}
