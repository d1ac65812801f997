//! What no text of the client showed, asked of the server in the replay's round trip.
//!
//! One query, made of parts. Each part is asked only where the session's journal leaves it open, and
//! has an answer of its own: a reason's code, or nothing. The first part that holds answers.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::session::loss::Loss;
use crate::session::{extensions, owners};
use forkguard_sql::Reason;

/// The parent's session, as its child knows it.
pub(crate) struct Parent {
    /// The number of its backend.
    pub backend: i32,
    /// How long it has been there, in microseconds.
    pub age_us: u64,
    /// What a transaction that was open at the fork may have done counts.
    pub in_transaction: bool,
    /// Functions were called of which only the user says that they leave their session alone.
    pub vouched: bool,
    /// Advisory locks of its session were taken, and given back by what their texts say.
    pub has_locked: bool,
    /// It had temporary objects, which are gone by what its texts say.
    pub has_had_temporaries: bool,
    /// It made something that a search path may have made temporary.
    pub has_made: bool,
}

/// A query of one row and one column, without parameters: it may go as a simple query.
pub(crate) struct Question(String);

/// What the server says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// No part holds.
    Nothing,
    /// A pooler stands before the server: its numbers of backends are its own, and nothing is found.
    Pooler,
    /// The session is lost.
    Lost(Loss),
    /// It is lost for what the parent's backend holds now, unless the parent has gone on since the fork.
    LostIfItHeld(Loss),
}

/// The answer [`Answer::Nothing`].
const NOTHING: &str = "";
/// Before a reason's code: the answer [`Answer::LostIfItHeld`].
const NOW: &str = "now ";
/// The answer [`Answer::Pooler`].
const POOLER: &str = "pooler";

/// `$version`: the major version that libpq was told of, perhaps by a proxy. What the session's texts do
/// was read by it: which functions are built in depends on it.
const IS_OF_ANOTHER_VERSION: &str =
    "(pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog./) 10000) \
     OPERATOR(pg_catalog.<>) $version::pg_catalog.int4";

/// `$own`: the number that libpq has for the new session's own backend.
const IS_POOLED: &str = "pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) $own::pg_catalog.int4";

/// `$age`: for how many seconds the parent's session has been there. The server has not been up for as
/// long: it was restarted, or is another one. Lengths of time are compared, for the clocks of client
/// and server differ.
const IS_YOUNGER: &str =
    "(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.pg_postmaster_start_time()) \
     OPERATOR(pg_catalog.<) pg_catalog.make_interval(secs => $age::pg_catalog.float8)";

/// `$parent`: the number of the parent's backend. It holds advisory locks.
const HAS_ADVISORY_LOCK: &str = "EXISTS (SELECT FROM pg_catalog.pg_lock_status() \
     WHERE locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text \
     AND pid OPERATOR(pg_catalog.=) $parent::pg_catalog.int4)";

/// Its transaction has an identity, which it gets when it first writes, or holds a lock that
/// reading does not take. (Every transaction holds its own virtual one.)
const HAS_WRITTEN: &str =
    "EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity($parent::pg_catalog.int4) \
     WHERE backend_xid IS NOT NULL) \
     OR EXISTS (SELECT FROM pg_catalog.pg_lock_status() \
     WHERE pid OPERATOR(pg_catalog.=) $parent::pg_catalog.int4 \
     AND locktype OPERATOR(pg_catalog.<>) 'virtualxid'::pg_catalog.text \
     AND mode OPERATOR(pg_catalog.<>) 'AccessShareLock'::pg_catalog.text)";

/// The parent's backend has tables in its temporary schema. From 16 on a backend's number in
/// `pg_stat_get_backend_idset` is that of its `pg_temp_N` (16's release notes).
const HAS_TEMPORARY_TABLES: &str = "EXISTS (SELECT FROM pg_catalog.pg_stat_get_backend_idset() AS b(id), \
     pg_catalog.pg_namespace AS n, pg_catalog.pg_class AS c \
     WHERE pg_catalog.pg_stat_get_backend_pid(b.id) OPERATOR(pg_catalog.=) $parent::pg_catalog.int4 \
     AND n.nspname OPERATOR(pg_catalog.=) ('pg_temp_' OPERATOR(pg_catalog.||) b.id::pg_catalog.text)::pg_catalog.name \
     AND c.relnamespace OPERATOR(pg_catalog.=) n.oid)";

/// Before 16: only whether a search path that was there from the start makes tables temporary.
const MAY_HAVE_TEMPORARY_TABLES: &str =
    "pg_catalog.strpos(pg_catalog.lower(pg_catalog.current_setting('search_path')), \
     'pg_temp') OPERATOR(pg_catalog.>) 0";

/// A library may own one of these settings, and the parent's backend may have loaded it: by one of its
/// functions, for `LOAD` makes a session lost, and what a new backend has loaded already (then the
/// setting is known to it) is the same in both. The database's functions tell which libraries those
/// can be; 16384 is FirstNormalObjectId: those below are PostgreSQL's own, and of them only PL/pgSQL
/// has settings. 13 is the language `c` (pg_language.dat).
fn may_be_owned(settings: &[&[u8]]) -> String {
    // What a name must be in an array's constant; others are none since 14 (guc.c).
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$');
    let names: Vec<_> = settings
        .iter()
        .copied()
        .filter(|setting| setting.iter().all(plain))
        .map(String::from_utf8_lossy)
        .collect();
    let unknown = if names.len() < settings.len() {
        String::from("true")
    } else {
        format!(
            "EXISTS (SELECT FROM pg_catalog.unnest('{{{}}}'::pg_catalog.text[]) AS s(name) \
             WHERE pg_catalog.current_setting(s.name, true) IS NULL)",
            names.join(",")
        )
    };
    if settings.iter().any(|setting| owners::is_plpgsql(setting)) {
        return unknown;
    }
    let innocent: Vec<_> = owners::innocent(settings).collect();
    format!(
        "{unknown} AND EXISTS (SELECT FROM pg_catalog.pg_proc AS f \
         WHERE f.prolang OPERATOR(pg_catalog.=) 13::pg_catalog.oid \
         AND f.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid \
         AND pg_catalog.regexp_replace(f.probin, '^.*/|[.]so$'::pg_catalog.text, ''::pg_catalog.text, 'g'::pg_catalog.text) \
           OPERATOR(pg_catalog.<>) ALL ('{{{}}}'::pg_catalog.text[]))",
        innocent.join(",")
    )
}

impl Question {
    /// For a session on which anything has been run, of the server of that version (`PQserverVersion`)
    /// whose backend `own` is the new session's.
    ///
    /// `left`: the custom settings that were taken back, see [`Journal::left_settings`].
    ///
    /// [`Journal::left_settings`]: crate::session::journal::Journal::left_settings
    pub(crate) fn of(version: i32, own: i32, parent: &Parent, left: &[&[u8]]) -> Question {
        let mut question = Question(String::from("SELECT CASE"));
        question.ask(IS_OF_ANOTHER_VERSION, Reason::OtherVersion.code());
        question.ask(IS_POOLED, POOLER);
        question.ask(IS_YOUNGER, Reason::ServerRestarted.code());
        // What a name without a schema is depends on it: the names of temporary tables that were dropped.
        // So is where something was made, and what the parent's backend has now does not count where it goes on.
        if version < 160_000 || parent.has_had_temporaries || parent.has_made {
            question.ask(
                MAY_HAVE_TEMPORARY_TABLES,
                Reason::ParentTemporaryTables.code(),
            );
        }
        if !left.is_empty() {
            question.ask(&may_be_owned(left), Reason::ExtensionSetting.code());
        }
        // From here on, what the parent's backend is now. Where the parent has sent something since the fork
        // (`shims::progress`), that is not what it was at the fork, and the texts alone decide, which were
        // all read: none before the fork took a lock for the session, wrote or made a table. What they do not
        // show, triggers and the like, is in the list of docs/LIMITS.md. Where functions were vouched for, their word
        // alone does not decide, nor do texts that give a lock back: then the answer counts whatever the
        // parent did since.
        let mut ask_now = |when: &str, reason: Reason| {
            let when_held = if parent.vouched || parent.has_locked {
                ""
            } else {
                NOW
            };
            question.ask(when, &format!("{when_held}{}", reason.code()));
        };
        ask_now(HAS_ADVISORY_LOCK, Reason::ParentLock);
        if parent.in_transaction {
            ask_now(HAS_WRITTEN, Reason::ParentWrote);
        }
        if version >= 160_000 {
            ask_now(HAS_TEMPORARY_TABLES, Reason::ParentTemporaryTables);
        }
        question.0.push_str(" ELSE ''::pg_catalog.text END");
        // A thousandth less, for clocks that run apart: twice what ntpd corrects by.
        let less = |us: u64| ((us - us / 1000) as f64 / 1e6).to_string();
        for (name, value) in [
            ("$version", (version / 10_000).to_string()),
            ("$own", own.to_string()),
            ("$parent", parent.backend.to_string()),
            ("$age", less(parent.age_us)),
        ] {
            question.0 = question.0.replace(name, &value);
        }
        question
    }

    /// Before all of it, where the session called such functions: whether each of them is one that
    /// leaves it alone. The answer names the first that may not.
    pub(crate) fn about_functions<'a>(mut self, names: impl Iterator<Item = &'a [u8]>) -> Question {
        if let Some(unknown) = extensions::first_unknown(names) {
            let rest = self.0.strip_prefix("SELECT ").unwrap_or_default();
            let code = Reason::UnknownFunction.code();
            self.0 = format!(
                "SELECT COALESCE('{code}: '::pg_catalog.text OPERATOR(pg_catalog.||) {unknown}, {rest})"
            );
        }
        self
    }

    /// One more part: where no part before it holds, and this one does, the answer is `then`.
    fn ask(&mut self, when: &str, then: &str) {
        self.0
            .push_str(&format!(" WHEN {when} THEN '{then}'::pg_catalog.text"));
    }

    /// Its text.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl Answer {
    /// By the value that came. `None`: it is no answer of ours.
    pub(crate) fn of(value: &[u8]) -> Option<Answer> {
        let value = core::str::from_utf8(value).ok()?;
        match value {
            NOTHING => Some(Answer::Nothing),
            POOLER => Some(Answer::Pooler),
            code => {
                let (is_now, code) = match code.strip_prefix(NOW) {
                    Some(code) => (true, code),
                    None => (false, code),
                };
                let (code, detail) = code.split_once(": ").unwrap_or((code, ""));
                let reason = Reason::of_code(code)?;
                let loss = Loss::with(reason, detail.as_bytes());
                Some(if is_now {
                    Answer::LostIfItHeld(loss)
                } else {
                    Answer::Lost(loss)
                })
            }
        }
    }
}
