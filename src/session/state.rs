//! The state of a session, for the thread that is in a call on it.

use super::endpoint::Endpoint;
use super::journal::{Effects, Journal, Rules, Standing};
use crate::libpq::types::PGconn;
use crate::libpq::Library;
use crate::policy;
use forkguard_sql::Mode;

/// Encodings of clients in which a byte of a longer character may be an ASCII
/// one, a quote or a backslash among them (src/include/mb/pg_wchar.h, those that
/// servers do not store).
const NOT_ASCII_SAFE: [&[u8]; 7] = [
    b"SJIS",
    b"BIG5",
    b"GBK",
    b"UHC",
    b"GB18030",
    b"JOHAB",
    b"SHIFT_JIS_2004",
];

/// What only the thread inside the call may touch.
pub(crate) struct SessionState {
    /// What the client did to the session.
    pub journal: Journal,
    /// The command of the call under way.
    pub sending: Effects,
    /// Where the session stood before it.
    pub standing: Standing,
    /// The command that has been sent and not been answered to the end.
    pub sent: Effects,
    /// Where the session stood before that.
    pub before: Standing,
    /// Any command has been sent.
    pub ran: bool,
    /// One of its results was an error.
    pub failed: bool,
    /// It was answered ROLLBACK.
    pub rolled_back: bool,
    /// In pipeline mode.
    pub pipeline: bool,
    /// `standard_conforming_strings`, as the server last said.
    pub standard_strings: bool,
    /// Whether no byte of a longer character may be ASCII.
    pub ascii_safe: bool,
    /// The server's major version.
    pub server: u16,
    /// Where it leads; `None` until it is established.
    pub endpoint: Option<Endpoint>,
}

impl SessionState {
    /// Of a session of which nothing is known yet.
    pub(crate) fn new() -> Self {
        SessionState {
            journal: Journal::default(),
            sending: Effects::default(),
            standing: Standing::Other,
            sent: Effects::default(),
            before: Standing::Other,
            ran: false,
            failed: false,
            rolled_back: false,
            pipeline: false,
            standard_strings: true,
            ascii_safe: true,
            server: 0,
            endpoint: None,
        }
    }

    /// The command of the call under way is the one to be answered.
    pub(crate) fn expect_an_answer(&mut self) {
        self.before = self.standing;
        self.failed = false;
        self.rolled_back = false;
    }

    /// Reads from libpq which server it is.
    pub(crate) fn read_server(&mut self, library: &Library, pgconn: PGconn) {
        // The major version in what PQserverVersion says (libpq-status.html), since 10.
        self.server = u16::try_from(library.server_version(pgconn) / 10_000).unwrap_or(0);
    }

    /// Reads from libpq how the server takes strings now.
    pub(crate) fn read_mode(&mut self, library: &Library, pgconn: PGconn) {
        // Null where the server does not report it.
        let value = library.parameter_status(pgconn, c"standard_conforming_strings".into());
        self.standard_strings = value.bytes() != Some(b"off");
        let name = library.encoding_name(library.client_encoding(pgconn));
        self.ascii_safe = name
            .bytes()
            .is_some_and(|name| !NOT_ASCII_SAFE.contains(&name));
    }

    /// The rules by which a statement of it is read now.
    pub(crate) fn rules(&self) -> Rules<'static> {
        let settings = policy::resume_settings();
        Rules {
            mode: Mode {
                standard_conforming_strings: self.standard_strings,
                ascii_safe: self.ascii_safe,
                server: self.server,
                trusted: &settings.trusted,
            },
            limit: settings.journal_limit,
            pipeline: self.pipeline,
        }
    }
}
