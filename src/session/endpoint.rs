//! Where a session leads, and what its client was when it was made.
//!
//! `PQreset` starts at the first host again, resolves again, and reads some of
//! the environment and of the home directory again (tried: another server of a
//! host list, no TLS under `sslmode=prefer`, an unverified certificate after
//! `HOME` had changed). So both are noted when a session is established.

use core::ffi::{c_char, CStr};

use forkguard_signal_safe::sys;

/// Noted when the session was established, and compared after the reconnect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Endpoint {
    /// The peer's address, all of it, as a hash.
    pub peer: u64,
    /// It is a Unix socket's.
    pub unix: bool,
    /// What the client was.
    pub environment: ReconnectEnvironment,
    /// When it was noted, by the monotonic clock.
    pub since_us: u64,
}

/// What a client is, as far as libpq looks when it reconnects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReconnectEnvironment {
    /// A hash for each of [`READ_AT_RECONNECT`].
    environment: [u64; READ_AT_RECONNECT.len()],
    user: u32,
    root: Option<(u64, u64)>,
    /// Compared where a file of the connection's is named from it.
    folder: Option<(u64, u64)>,
}

/// What reconnecting one connection goes through, besides the startup packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReconnectPath {
    /// A Unix socket: the server may ask the kernel who connects.
    pub unix: bool,
    /// TLS is tried, so certificates are looked for.
    pub tls: bool,
    /// The session was made with credentials of Kerberos's.
    pub kerberos: bool,
    /// A file is named from the working directory.
    pub relative: bool,
}

/// FNV-1a, 64 bits: enough to tell a change that nobody makes on purpose.
struct Hash(u64);

impl Hash {
    const fn new() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Endpoint {
    /// Of the socket at `fd`, as of now. `None` where the kernel will not say.
    pub(crate) fn of(fd: i32) -> Option<Endpoint> {
        Some(Endpoint {
            peer: peer(fd)?,
            unix: is_unix(fd),
            environment: ReconnectEnvironment::now(),
            since_us: sys::now_us(),
        })
    }
}

fn is_unix(fd: i32) -> bool {
    // SAFETY: all zeroes is a valid address of no family.
    let mut address: libc::sockaddr_storage = unsafe { core::mem::zeroed() };
    sys::peer(fd, &mut address).is_ok() && i32::from(address.ss_family) == libc::AF_UNIX
}

/// The peer's address as a hash.
pub(crate) fn peer(fd: i32) -> Option<u64> {
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

/// Who reads a variable at a reconnect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// libpq, for the startup packet.
    Startup,
    /// libpq and OpenSSL, for certificates and keys.
    Tls,
    /// libkrb5.
    Kerberos,
}

/// Variables that libpq, or a library it connects with, reads at `PQreset`; each that a name here is the
/// beginning of belongs to the first such one. Hosts, users, passwords (PGPASSFILE) and all that an
/// option of the connection stands for are read once, when it is made: seen of the libpqs 13 to 18
/// with a `getenv` that tells, over TCP with TLS and without, and over Unix sockets. Of OpenSSL and
/// Kerberos: openssl-env(7), SSL_CTX_load_verify_locations(3), krb5.conf(5). OAuth's is libpq 18's.
const READ_AT_RECONNECT: [(&str, Reader); 14] = [
    ("PGTZ=", Reader::Startup),
    ("PGDATESTYLE=", Reader::Startup),
    ("PGGEQO=", Reader::Startup),
    ("PGOAUTH", Reader::Startup),
    ("HOME=", Reader::Tls),
    ("SSL_CERT_FILE=", Reader::Tls),
    ("SSL_CERT_DIR=", Reader::Tls),
    ("SSL_CERT_", Reader::Tls),
    ("OPENSSL_CONF=", Reader::Tls),
    ("OPENSSL_", Reader::Tls),
    ("KRB5CCNAME=", Reader::Kerberos),
    ("KRB5_CONFIG=", Reader::Kerberos),
    ("KRB5_KTNAME=", Reader::Kerberos),
    ("KRB5", Reader::Kerberos),
];

impl ReconnectEnvironment {
    /// What has changed since, in `now`, that a reconnect would read; `None`: nothing has.
    pub(crate) fn changed(
        &self,
        now: &ReconnectEnvironment,
        path: ReconnectPath,
    ) -> Option<&'static str> {
        let pairs = self.environment.iter().zip(&now.environment);
        for ((before, now), (name, reader)) in pairs.zip(READ_AT_RECONNECT) {
            let is_read = match reader {
                Reader::Startup => true,
                Reader::Tls => path.tls,
                Reader::Kerberos => path.kerberos,
            };
            // Kerberos, too, looks into the home directory (k5identity(5)).
            let is_read = is_read || name == "HOME=" && path.kerberos;
            if before != now && is_read {
                return Some(name.trim_end_matches('='));
            }
        }
        // Who the client's user is tells the kernel over a Unix socket, and which files are his at a
        // handshake of TLS's or Kerberos's. Otherwise nothing that libpq sends depends on it.
        let names_user = path.unix || path.tls || path.kerberos;
        if names_user && self.user != now.user {
            return Some("the user");
        }
        if self.root != now.root {
            return Some("the root directory");
        }
        if path.relative && self.folder != now.folder {
            return Some("the working directory");
        }
        None
    }

    /// As of now.
    pub(crate) fn now() -> ReconnectEnvironment {
        // SAFETY: takes nothing and always succeeds.
        let user = unsafe { libc::geteuid() };
        ReconnectEnvironment {
            environment: environment(),
            user,
            root: file(c"/"),
            folder: file(c"."),
        }
    }
}

fn environment() -> [u64; READ_AT_RECONNECT.len()] {
    extern "C" {
        static environ: *const *const c_char;
    }
    let mut hashes = [const { Hash::new() }; READ_AT_RECONNECT.len()];
    // SAFETY: libc's variable: null, or a list that ends with null, of C
    // strings. Another thread may be in setenv(3), as when libpq itself calls
    // getenv(3) in the same breath: the program's own risk, not made larger.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            let variable = CStr::from_ptr(*next).to_bytes();
            let known = |(name, _): &(&str, Reader)| variable.starts_with(name.as_bytes());
            let its = READ_AT_RECONNECT.iter().position(known);
            if let Some(hash) = its.and_then(|its| hashes.get_mut(its)) {
                hash.add(variable);
                hash.add(b"\0");
            }
            next = next.add(1);
        }
    }
    hashes.map(|hash| hash.0)
}

fn file(path: &CStr) -> Option<(u64, u64)> {
    // SAFETY: a C string and room for the answer, which is read where stat succeeds.
    unsafe {
        let mut stat: libc::stat = core::mem::zeroed();
        (libc::stat(path.as_ptr(), &mut stat) == 0).then_some((stat.st_dev, stat.st_ino))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ReconnectEnvironment = ReconnectEnvironment {
        environment: [0; READ_AT_RECONNECT.len()],
        user: 0,
        root: None,
        folder: None,
    };
    const PLAIN: ReconnectPath = ReconnectPath {
        unix: false,
        tls: false,
        kerberos: false,
        relative: false,
    };

    fn with(name: &str) -> ReconnectEnvironment {
        let mut client = ONE;
        let at = READ_AT_RECONNECT.iter().position(|(its, _)| *its == name);
        client.environment[at.unwrap()] = 1;
        client
    }

    /// Which of the paths read it.
    fn read_by(client: ReconnectEnvironment) -> std::vec::Vec<&'static str> {
        let paths = [
            ("plain", PLAIN),
            (
                "unix",
                ReconnectPath {
                    unix: true,
                    ..PLAIN
                },
            ),
            ("tls", ReconnectPath { tls: true, ..PLAIN }),
            (
                "kerberos",
                ReconnectPath {
                    kerberos: true,
                    ..PLAIN
                },
            ),
            (
                "relative",
                ReconnectPath {
                    relative: true,
                    ..PLAIN
                },
            ),
        ];
        let reads = |path: &(_, ReconnectPath)| ONE.changed(&client, path.1).is_some();
        paths
            .into_iter()
            .filter(reads)
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn only_what_a_reconnect_reads_counts() {
        let all = ["plain", "unix", "tls", "kerberos", "relative"];
        assert_eq!(read_by(ONE), [""; 0]);
        assert_eq!(read_by(with("PGTZ=")), all);
        assert_eq!(read_by(with("HOME=")), ["tls", "kerberos"]);
        assert_eq!(read_by(with("SSL_CERT_FILE=")), ["tls"]);
        assert_eq!(read_by(with("KRB5CCNAME=")), ["kerberos"]);
        assert_eq!(
            read_by(ReconnectEnvironment { user: 1, ..ONE }),
            ["unix", "tls", "kerberos"]
        );
        assert_eq!(
            read_by(ReconnectEnvironment {
                root: Some((1, 1)),
                ..ONE
            }),
            all
        );
        assert_eq!(
            read_by(ReconnectEnvironment {
                folder: Some((1, 1)),
                ..ONE
            }),
            ["relative"]
        );
        assert_eq!(ONE.changed(&with("PGTZ="), PLAIN), Some("PGTZ"));
    }
}
