//! What a client's first bytes say. Pure: no input or output of its own.
//!
//! The message formats are those of the PostgreSQL documentation, "Message
//! Formats" (StartupMessage, SSLRequest, GSSENCRequest, CancelRequest), and of
//! RFC 8446, section 4.1.2 (ClientHello) and RFC 7301 (ALPN).
//!
//! In doubt, a socket is unrelated. An unrelated socket that is taken for a session
//! would be lost in a forked child. So the eight bytes of a startup packet's head are
//! not enough (a Kafka metadata request begins with the same ones): what follows them
//! must be parameters.

/// How a session was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// A startup packet in the clear.
    Startup {
        /// `replication` asks for physical replication: a session that
        /// `pg_basebackup` and its like hand to a child on purpose.
        physical_replication: bool,
    },
    /// TLS was asked for with an SSLRequest.
    TlsRequested,
    /// GSSAPI encryption was asked for with a GSSENCRequest.
    GssRequested,
    /// A TLS handshake without a request, with ALPN `postgresql`
    /// (`sslnegotiation=direct`, libpq 17).
    TlsDirect,
    /// Not by bytes: the program said so (`forkguard_track`).
    ByHand,
}

/// What is known after some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A PostgreSQL session.
    Session(Opening),
    /// Anything else, a CancelRequest among it: that connection carries no session.
    Unrelated,
    /// Too few bytes so far; the state to come back with.
    Undecided(First),
}

/// The first bytes seen in earlier writes: at most eight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct First {
    /// The bytes, the first `seen` of them valid.
    pub head: [u8; 8],
    /// How many.
    pub seen: usize,
}

/// How much of a first write is worth looking at, in bytes: parameters beyond
/// this are not read.
pub const ENOUGH: usize = 1024;
/// The same where it begins a TLS handshake: a ClientHello with a post-quantum
/// key share has about 1,800.
pub const ENOUGH_FOR_TLS: usize = 4096;

/// Whether a write that begins with this byte needs [`ENOUGH_FOR_TLS`].
pub fn needs_more(first: u8) -> bool {
    first == TLS_HANDSHAKE
}

/// libpq refuses longer ones from its server side (`MAX_STARTUP_PACKET_LENGTH`,
/// src/include/libpq/pqcomm.h).
const LONGEST_STARTUP: u32 = 10_000;
const PROTOCOL_3: u32 = 3; // the upper half of 196608 (3.0), 196610 (3.2) and what follows
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const TLS_HANDSHAKE: u8 = 22;

/// Reads the bytes a client is about to send, after those of `before`.
pub fn recognise(before: First, bytes: &[u8]) -> Verdict {
    let mut first = before;
    first.seen = first.seen.min(8);
    let taken = bytes.len().min(8 - first.seen);
    first.head[first.seen..first.seen + taken].copy_from_slice(&bytes[..taken]);
    first.seen += taken;
    let rest = &bytes[taken..];

    if first.seen > 0 && first.head[0] == TLS_HANDSHAKE {
        // Written at once by every TLS library; one that comes in pieces is not ours.
        let offers = before.seen == 0 && offers_postgresql(bytes).unwrap_or(false);
        return if offers {
            Verdict::Session(Opening::TlsDirect)
        } else {
            Verdict::Unrelated
        };
    }
    // A length's first byte: no packet here has 16 MB.
    if first.seen > 0 && first.head[0] != 0 {
        return Verdict::Unrelated;
    }
    if first.seen < 8 {
        return Verdict::Undecided(first);
    }
    let length = u32::from_be_bytes([first.head[0], first.head[1], first.head[2], first.head[3]]);
    let code = u32::from_be_bytes([first.head[4], first.head[5], first.head[6], first.head[7]]);
    match (length, code) {
        (8, SSL_REQUEST) => Verdict::Session(Opening::TlsRequested),
        (8, GSSENC_REQUEST) => Verdict::Session(Opening::GssRequested),
        (9..=LONGEST_STARTUP, _) if code >> 16 == PROTOCOL_3 => {
            if rest.is_empty() {
                return Verdict::Undecided(first);
            }
            startup(length as usize - 8, rest)
        }
        _ => Verdict::Unrelated,
    }
}

/// Reads a startup packet's parameters: pairs of C strings and a final NUL,
/// `length` bytes in all, of which `bytes` holds the beginning.
fn startup(length: usize, bytes: &[u8]) -> Verdict {
    let whole = bytes.len() >= length;
    let bytes = &bytes[..bytes.len().min(length)];
    let body = match (whole, bytes.split_last()) {
        (true, Some((0, body))) => body,
        (true, _) => return Verdict::Unrelated,
        (false, _) => bytes,
    };
    let mut strings = body.split(|byte| *byte == 0);
    let (mut names_a_user, mut physical_replication, mut names) = (false, false, 0);
    while let Some(name) = strings.next() {
        if name.is_empty() {
            // Behind the last NUL so far; a name is never empty.
            if strings.next().is_some() || names == 0 {
                return Verdict::Unrelated;
            }
            break;
        }
        let plausible = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
        if !name[0].is_ascii_alphabetic() && name[0] != b'_' || !name.iter().all(plausible) {
            return Verdict::Unrelated;
        }
        names += 1;
        let value = strings.next();
        names_a_user |= name == b"user";
        physical_replication |= name == b"replication" && value.is_some_and(asks_for_physical);
    }
    // The server refuses a packet without a user (ProcessStartupPacket,
    // src/backend/tcop/backend_startup.c).
    if whole && !names_a_user {
        return Verdict::Unrelated;
    }
    Verdict::Session(Opening::Startup {
        physical_replication,
    })
}

/// What the server's `parse_bool` takes for true; `database` asks for logical
/// replication, whose sessions are a program's own like any other.
fn asks_for_physical(value: &[u8]) -> bool {
    [b"true".as_slice(), b"t", b"on", b"yes", b"y", b"1"]
        .iter()
        .any(|yes| value.eq_ignore_ascii_case(yes))
}

/// Whether a ClientHello offers the protocol `postgresql`. `None`: not one, or cut.
fn offers_postgresql(record: &[u8]) -> Option<bool> {
    const CLIENT_HELLO: u8 = 1;
    const ALPN: u16 = 16;
    let mut hello = Reader(record);
    let [TLS_HANDSHAKE, 3, _minor] = hello.array()? else {
        return None;
    };
    let _record_length = hello.number(2)?;
    let [CLIENT_HELLO] = hello.array()? else {
        return None;
    };
    let _hello_length = hello.number(3)?;
    hello.take(2 + 32)?; // version, random
    for length_bytes in [1, 2, 1] {
        // session id, cipher suites, compression methods
        let length = hello.number(length_bytes)?;
        hello.take(length)?;
    }
    let _all = hello.number(2)?;
    while let Some(kind) = hello.number(2) {
        let length = hello.number(2)?;
        let mut body = Reader(hello.take(length)?);
        if kind == usize::from(ALPN) {
            let _list = body.number(2)?;
            while let Some(length) = body.number(1) {
                if body.take(length)? == b"postgresql" {
                    return Some(true);
                }
            }
        }
    }
    Some(false)
}

/// Bytes read from the front; `None` past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(
            self.take(bytes)?
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn packet(code: u32, body: &[u8]) -> Vec<u8> {
        let mut packet = (8 + body.len() as u32).to_be_bytes().to_vec();
        packet.extend(code.to_be_bytes());
        packet.extend(body);
        packet
    }

    fn at_once(bytes: &[u8]) -> Verdict {
        recognise(First::default(), bytes)
    }

    /// What the verdict is when the bytes come in pieces of `size`.
    fn in_pieces(bytes: &[u8], size: usize) -> Verdict {
        let mut first = First::default();
        for piece in bytes.chunks(size) {
            match recognise(first, piece) {
                Verdict::Undecided(next) => first = next,
                verdict => return verdict,
            }
        }
        Verdict::Undecided(first)
    }

    const USER: &[u8] = b"user\0alice\0database\0shop\0\0";

    fn hello(alpn: &[u8]) -> Vec<u8> {
        let mut list = Vec::new();
        list.push(alpn.len() as u8);
        list.extend(alpn);
        let mut extension = 16u16.to_be_bytes().to_vec();
        extension.extend((list.len() as u16 + 2).to_be_bytes());
        extension.extend((list.len() as u16).to_be_bytes());
        extension.extend(list);
        let mut body = std::vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        // An extension before it: supported_versions.
        let other = [0, 43, 0, 3, 2, 3, 4];
        body.extend(((other.len() + extension.len()) as u16).to_be_bytes());
        body.extend(other);
        body.extend(extension);
        let mut record = std::vec![22, 3, 1];
        record.extend((body.len() as u16 + 4).to_be_bytes());
        record.push(1);
        record.extend(&(body.len() as u32).to_be_bytes()[1..]);
        record.extend(body);
        record
    }

    #[test]
    fn startup_packets_of_every_minor_version_are_sessions() {
        for code in [196_608, 196_610, 196_608 + 9999] {
            let bytes = packet(code, USER);
            let session = Verdict::Session(Opening::Startup {
                physical_replication: false,
            });
            assert_eq!(at_once(&bytes), session);
            for size in 1..bytes.len() {
                assert_eq!(in_pieces(&bytes, size), session, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn requests_for_encryption_are_sessions() {
        assert_eq!(
            at_once(&packet(SSL_REQUEST, b"")),
            Verdict::Session(Opening::TlsRequested)
        );
        assert_eq!(
            at_once(&packet(GSSENC_REQUEST, b"")),
            Verdict::Session(Opening::GssRequested)
        );
        assert_eq!(
            in_pieces(&packet(SSL_REQUEST, b""), 3),
            Verdict::Session(Opening::TlsRequested)
        );
    }

    #[test]
    fn direct_tls_is_a_session_by_its_protocol_alone() {
        assert_eq!(
            at_once(&hello(b"postgresql")),
            Verdict::Session(Opening::TlsDirect)
        );
        for other in [b"h2".as_slice(), b"http/1.1", b"postgresqlx", b""] {
            assert_eq!(at_once(&hello(other)), Verdict::Unrelated);
        }
        let whole = hello(b"postgresql");
        for cut in 1..whole.len() - 1 {
            assert_eq!(at_once(&whole[..cut]), Verdict::Unrelated, "cut at {cut}");
        }
    }

    #[test]
    fn a_cancel_request_is_no_session() {
        assert_eq!(
            at_once(&packet(80_877_102, &[0, 0, 1, 2, 3, 4, 5, 6])),
            Verdict::Unrelated
        );
    }

    #[test]
    fn replication_is_told_apart() {
        for (value, physical) in [
            ("true", true),
            ("on", true),
            ("1", true),
            ("database", false),
            ("false", false),
        ] {
            let body = std::format!("user\0backup\0replication\0{value}\0\0");
            assert_eq!(
                at_once(&packet(196_608, body.as_bytes())),
                Verdict::Session(Opening::Startup {
                    physical_replication: physical
                })
            );
        }
    }

    #[test]
    fn protocols_that_begin_alike_are_unrelated() {
        let kafka_metadata = [
            0, 0, 0, 20, 0, 3, 0, 0, 0, 0, 0, 1, 0, 6, b'c', b'l', b'i', b'e', b'n', b't', 0, 0, 0,
            0,
        ];
        assert_eq!(at_once(&kafka_metadata), Verdict::Unrelated);
        assert_eq!(in_pieces(&kafka_metadata, 8), Verdict::Unrelated);
        for other in [
            b"GET / HTTP/1.1\r\n".as_slice(),
            b"\0\0\0\x08\x04\xd2\x16\x2e", // a cancel request's code
            b"\0\0\0\x10\0\x02\0\0user\0x\0\0", // protocol 2
            b"\0\0\0\x0e\0\x03\0\0\0\0\0\0\0\0", // no parameters
            b"\0\0\0\x13\0\x03\0\0data\0xxxxx\0", // no user
            b"\0\0\0\x13\0\x03\0\0user\0alice\x01", // does not end
        ] {
            assert_eq!(at_once(other), Verdict::Unrelated, "{other:?}");
        }
    }

    #[test]
    fn no_bytes_say_nothing() {
        assert_eq!(at_once(b""), Verdict::Undecided(First::default()));
    }

    #[test]
    fn no_bytes_at_all_make_it_panic() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let whole = [
            packet(196_608, USER),
            hello(b"postgresql"),
            packet(SSL_REQUEST, b""),
        ];
        for round in 0..200_000 {
            let mut bytes = whole[round % whole.len()].clone();
            for _ in 0..1 + round % 5 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let place = seed as usize % bytes.len();
                bytes[place] = (seed >> 32) as u8;
            }
            bytes.truncate(seed as usize % (bytes.len() + 1));
            let _ = at_once(&bytes);
            let _ = in_pieces(&bytes, 1 + seed as usize % 9);
        }
    }
}
