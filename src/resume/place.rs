//! Where a session leads, and what its client was when it was made.
//!
//! `PQreset` starts at the first host again, resolves again, and reads some of
//! the environment and of the home directory again (tried: another server of a
//! host list, no TLS under `sslmode=prefer`, an unverified certificate after
//! `HOME` had changed). So both are noted when a session is established.

use core::ffi::{c_char, CStr};

use crate::signal_safe::sys;

/// Noted when the session was established, and compared after the dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The peer's address, all of it, as a hash.
    pub peer: u64,
    /// What the client was.
    pub client: Client,
    /// When it was noted, by the monotonic clock.
    pub since_us: u64,
}

/// What a client is, as far as libpq looks when it dials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    environment: u64,
    user: u32,
    root: Option<(u64, u64)>,
    /// Compared where a file of the connection's is named from it.
    folder: Option<(u64, u64)>,
}

/// FNV-1a, 64 bits: enough to tell a change that nobody makes on purpose.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Place {
    /// Of the socket at `fd`, as of now. `None` where the kernel will not say.
    pub fn of(fd: i32) -> Option<Place> {
        Some(Place {
            peer: peer(fd)?,
            client: Client::now(),
            since_us: sys::now_us(),
        })
    }
}

/// The peer's address as a hash.
pub fn peer(fd: i32) -> Option<u64> {
    // SAFETY: all zeroes is a valid address of no family.
    let mut address: libc::sockaddr_storage = unsafe { core::mem::zeroed() };
    let length = sys::peer(fd, &mut address).ok()?;
    let bytes = (&raw const address).cast::<u8>();
    let length = length.min(core::mem::size_of_val(&address));
    // SAFETY: within the structure, which was zeroed before it was written.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, length) };
    let mut hash = Hash::new();
    hash.add(bytes);
    Some(hash.0)
}

/// Variables that libpq, or a library it dials with, reads at each dial:
/// fe-connect.c and fe-protocol3.c (`PG…`, among them PGTZ and PGDATESTYLE),
/// fe-secure-openssl.c (the home directory), openssl(1ssl), krb5.conf(5).
const READ_AT_DIAL: [&[u8]; 5] = [b"PG", b"HOME=", b"SSL_CERT_", b"OPENSSL_", b"KRB5"];

impl Client {
    /// Whether a dial by `now` reads what one by this one did. `relative`: the
    /// connection names a file from the working directory.
    pub fn is_still(&self, now: &Client, relative: bool) -> bool {
        let elsewhere = Client {
            folder: self.folder,
            ..*now
        };
        *self == if relative { *now } else { elsewhere }
    }

    /// As of now.
    pub fn now() -> Client {
        // SAFETY: takes nothing and always succeeds.
        let user = unsafe { libc::geteuid() };
        Client {
            environment: environment(),
            user,
            root: file(c"/"),
            folder: file(c"."),
        }
    }
}

fn environment() -> u64 {
    extern "C" {
        static environ: *const *const c_char;
    }
    let mut hash = Hash::new();
    // SAFETY: libc's variable: null, or a list that ends with null, of C
    // strings. Another thread may be in setenv(3), as when libpq itself calls
    // getenv(3) in the same breath: the program's own risk, not made larger.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            let variable = CStr::from_ptr(*next).to_bytes();
            if READ_AT_DIAL.iter().any(|name| variable.starts_with(name)) {
                hash.add(variable);
                hash.add(b"\0");
            }
            next = next.add(1);
        }
    }
    hash.0
}

fn file(path: &CStr) -> Option<(u64, u64)> {
    // SAFETY: a C string and room for the answer, which is read where stat succeeds.
    unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        (libc::stat(path.as_ptr(), &mut stat) == 0).then_some((stat.st_dev, stat.st_ino))
    }
}
