//! What a session's client did to its state, so that a child can do it again.
//!
//! Commands come in as they are sent ([`Journal::read`] and its like make
//! [`Effects`] of them) and count when they are done ([`Journal::done`]): what
//! a transaction changed counts when it commits, a failed statement not at all.
//! The journal keeps the *texts*, in their order, because a prepared statement
//! means what the settings of its moment made it. What cannot be followed makes
//! the session *opaque*, for good: a child then loses it, loudly.
//!
//! It allocates, and one thread uses it at a time: the one that is in a call on
//! the connection (libpq's own rule for a `PGconn`).

use std::boxed::Box;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::vec::Vec;

use super::extensions;
use super::loss::Loss;
use super::owners;
use super::set_config::{OwnedParameter, Parameters, Unbound};
use super::REPORTED;
use crate::libpq::methods::{PQTRANS_IDLE, PQTRANS_INERROR, PQTRANS_INTRANS};
use crate::memory;
use forkguard_sql::{
    self as statements, Calls, Cause, Mode, Name, Reason, Redefines, Routines, Temporaries, Touch,
    Trusted, Value, What,
};

type Bytes = Box<[u8]>;

/// What one statement does, when it succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    Begin(Bytes),
    /// `BEGIN` behind other statements of its text, which are part of its transaction.
    BeginInside,
    Commit,
    Rollback,
    /// For its transaction only.
    SetTransaction(Bytes),
    /// What only reads takes a snapshot.
    Reads,
    /// It does more than to read, by this word.
    More(Bytes),
    Savepoint {
        name: Bytes,
        text: Bytes,
    },
    Release(Bytes),
    RollbackTo(Bytes),
    Set(Set),
    /// One that its parameters will make a [`Effect::Set`].
    SetConfig(Unbound),
    ResetAll(Bytes),
    Prepare(Prepared),
    /// The unnamed statement that was sent last is there.
    Unnamed,
    Deallocate(Bytes),
    DeallocateAll,
    Listen {
        channel: Bytes,
        text: Bytes,
    },
    Unlisten(Bytes),
    UnlistenAll,
    DiscardAll,
    /// A cursor that outlives its transaction is there, when that commits.
    HoldCursor(Bytes),
    CloseCursor(Option<Bytes>),
    /// A session's advisory lock: its key and whether it is shared.
    Lock(Bytes, bool),
    Unlock(Bytes, bool),
    UnlockAll,
    /// What has this name may be another now; without one, anything may.
    Redefine(Option<Bytes>),
    /// A temporary table, view or sequence is there, from its transaction's end on only if it does not go
    /// with it.
    MakeTemporary {
        name: Bytes,
        on_commit_drop: bool,
    },
    DropTemporary(Bytes),
    DropTemporaries,
    /// Something was made that may depend on a temporary one.
    MakeBesideTemporary,
    /// A temporary one may have another name.
    AlterTemporary,
    /// A new session of this login begins with other settings, by a statement of this word.
    AlterDefaults(Bytes),
    Opaque(Loss),
}

impl Effect {
    /// Its statement takes a snapshot, which [`Effect::Reads`] does not say of it: it is done again as
    /// it is, and takes one again.
    fn takes_snapshot(&self) -> bool {
        match self {
            Effect::Set(set) => set.is_of_a_query(),
            Effect::SetConfig(_) | Effect::Prepare(_) => true,
            _ => false,
        }
    }
}

/// A change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    name: Bytes,
    local: bool,
    to_default: bool,
    text: Bytes,
    parameters: Box<[OwnedParameter]>,
}

impl Set {
    /// A dotted name: one that the server does not know and takes all the same.
    fn is_custom(&self) -> bool {
        self.name.contains(&b'.')
    }

    /// Whether a later value leaves nothing of an earlier one. `DateStyle` is
    /// merged of two parts; the order of roles is one of rights.
    fn replaces(&self) -> bool {
        const MERGED: [&[u8]; 3] = [b"datestyle", b"role", b"session_authorization"];
        !(MERGED.contains(&&*self.name) || self.is_custom() && self.to_default)
    }

    fn outlives_reset_all(&self) -> bool {
        [b"role".as_slice(), b"session_authorization"].contains(&&*self.name)
    }

    /// The server reports its value to libpq.
    fn is_reported(&self) -> bool {
        let mut names = REPORTED.iter();
        names.any(|name| self.name.eq_ignore_ascii_case(name.to_bytes()))
    }

    /// `SET SESSION CHARACTERISTICS`: letters stand for its settings. No setting has so short a name.
    fn is_of_several(&self) -> bool {
        self.name.len() <= 3
    }

    /// Whether its value begins with this, in any case, and is written so that this can be told.
    fn value_begins(&self, with: &[u8]) -> bool {
        let begins = |bytes: &[u8]| {
            bytes
                .get(..with.len())
                .is_some_and(|its| its.eq_ignore_ascii_case(with))
        };
        let mut sent = self
            .parameters
            .iter()
            .filter_map(|kept| kept.value.as_ref());
        if sent.any(|value| begins(value)) {
            return true;
        }
        // A comment may hold the name, and what looks like its value.
        if [b"--", b"/*"]
            .iter()
            .any(|mark| self.text.windows(2).any(|pair| pair == *mark))
        {
            return false;
        }
        let name = &*self.name;
        let mut names = self.text.windows(name.len());
        let at = names.position(|its| its.eq_ignore_ascii_case(name));
        // Between them stand a quote, and `=`, `TO` or a comma, and the value's own quote.
        let behind = at.and_then(|at| self.text.get(at + name.len()..));
        let between = |byte: &u8| b"\"'=,".contains(byte) || byte.is_ascii_whitespace();
        let skip = |bytes: &'_ [u8]| bytes.iter().take_while(|byte| between(byte)).count();
        behind.is_some_and(|behind| {
            let behind = behind.get(skip(behind)..).unwrap_or_default();
            let value = match behind {
                [b't' | b'T', b'o' | b'O', rest @ ..] if skip(rest) > 0 => {
                    rest.get(skip(rest)..).unwrap_or_default()
                }
                _ => behind,
            };
            begins(value)
        })
    }

    /// Whether any setting of that value shows it as it is written here: `on`, `off`, or a number
    /// without anything to spare. (Of the settings that a function's call brings along, none
    /// has a unit.)
    fn is_spelled_as_shown(&self) -> bool {
        let text = self.text.trim_ascii_end();
        let text = text.strip_suffix(b"'").unwrap_or(text);
        let from = text
            .iter()
            .rposition(|byte| matches!(byte, b' ' | b'=' | b'\''));
        let value = text.get(from.map_or(0, |at| at + 1)..).unwrap_or_default();
        let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        let mut parts = value.splitn(2, |byte| *byte == b'.');
        let (whole, rest) = (parts.next().unwrap_or_default(), parts.next());
        let is_number = digits(whole)
            && (whole == b"0" || !whole.starts_with(b"0"))
            && value.len() < 6 // as %g shows it
            && rest.is_none_or(|rest| digits(rest) && !rest.ends_with(b"0"));
        value == b"on" || value == b"off" || is_number
    }

    /// Why later statements do not mean what their text says: a value that the
    /// server looks up, along the path and for the role of that moment, unless it
    /// is one of PostgreSQL's own with its schema.
    fn misleads(&self) -> Option<Reason> {
        let looked_up = *self.name == *b"default_text_search_config"
            && !self.to_default
            && !self.value_begins(b"pg_catalog.");
        looked_up.then_some(Reason::TextSearchLookup)
    }

    /// Whether what a `PREPARE` means may depend on it: then it cannot be prepared again without.
    ///
    /// A statement that is prepared is parsed, analysed and rewritten under the settings of its
    /// moment; it is planned, and what it calls is called, when it is executed (`PrepareQuery` and
    /// `exec_parse_message` to `CompleteCachedPlan`, then `GetCachedPlan`). Analysis looks up names
    /// (`search_path`), reads constants by their types' input functions (`DateStyle` and its like),
    /// and the rewriter puts in rules and policies (the role, `row_security`). None of them reads a
    /// setting that no library owns: nothing but `current_setting()` does, which is called at the
    /// execution, in a policy as well; it is stable, so not even the planner keeps its value. Of
    /// those that a library owns, `isn.weak` is read by input functions; whether another library
    /// may own the name is asked of each trace, and this setting leaves one. The rest of the list
    /// bounds, plans, or logs an execution.
    fn gives_meaning(&self) -> bool {
        const NONE: [&[u8]; 16] = [
            b"application_name",
            b"client_min_messages",
            b"effective_cache_size",
            b"hash_mem_multiplier",
            b"idle_in_transaction_session_timeout",
            b"idle_session_timeout",
            b"jit",
            b"lock_timeout",
            b"log_min_duration_statement",
            b"log_statement",
            b"maintenance_work_mem",
            b"random_page_cost",
            b"statement_timeout",
            b"synchronous_commit",
            b"transaction_timeout",
            b"work_mem",
        ];
        let is_nobodys = self.is_custom() && !self.name.starts_with(b"isn.");
        !(is_nobodys || NONE.contains(&&*self.name) || self.name.starts_with(b"enable_"))
    }

    /// It was set by a query, `SELECT set_config(…)`.
    fn is_of_a_query(&self) -> bool {
        self.text
            .get(..6)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"select"))
    }

    /// The server reads later texts by it.
    fn is_about_texts(&self) -> bool {
        [
            b"client_encoding".as_slice(),
            b"standard_conforming_strings",
        ]
        .contains(&&*self.name)
    }

    /// What a constant means depends on it when a statement is analysed, which
    /// the server does again when a table, the search path or a role changes.
    fn is_about_constants(&self) -> bool {
        const NAMES: [&[u8]; 8] = [
            b"datestyle",
            b"timezone",
            b"timezone_abbreviations",
            b"intervalstyle",
            b"xmloption",
            b"array_nulls",
            b"transform_null_equals",
            b"lc_monetary",
        ];
        NAMES.contains(&&*self.name)
    }
}

/// Whether a text is read in more than one way, by [`Set::is_about_texts`].
fn is_ambiguous(text: &[u8]) -> bool {
    !text.is_ascii() || text.contains(&b'\\')
}

fn has_string(text: &[u8]) -> bool {
    let dollar = |pair: &[u8]| pair[0] == b'$' && !pair[1].is_ascii_digit();
    text.contains(&b'\'') || text.windows(2).any(dollar)
}

/// Where a word stands in a text, in any case, not within a longer one.
fn has_word(text: &[u8], word: &[u8], but_not_before: u8) -> bool {
    let part = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    (0..text.len().saturating_sub(word.len() - 1)).any(|at| {
        let end = at + word.len();
        text.get(at..end)
            .is_some_and(|its| its.eq_ignore_ascii_case(word))
            && !(at > 0 && part(text.get(at - 1)))
            && !part(text.get(end))
            && text.get(end) != Some(&but_not_before)
    })
}

/// Whether a prepared statement has a constant that
/// [`Set::is_about_constants`] may change: a string, or a comparison with NULL.
fn has_constants(text: &[u8]) -> bool {
    // PHP's PDO prepares every statement, and these are not analysed.
    let is_set = text
        .get(..4)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"set "));
    // The strings of set_config are texts, and nothing else.
    !is_set && !is_set_config(text) && (has_string(text) || has_word(text, b"null", 0))
}

/// Whether a text is a call of `set_config`, or some, and nothing else.
fn is_set_config(text: &[u8]) -> bool {
    // Read as by the defaults, so without what they would read in another way.
    let mode = Mode {
        standard_conforming_strings: true,
        ascii_safe: true,
        server: 0,
        trusted: &Trusted::nothing(),
    };
    let calls = text
        .windows(10)
        .any(|part| part.eq_ignore_ascii_case(b"set_config"));
    let mut statements = statements::read(text, &mode);
    calls
        && !is_ambiguous(text)
        && matches!(
            (statements.next(), statements.next()),
            (
                Some(statements::Statement {
                    what: What::Set { .. } | What::SetConfig(_),
                    ..
                }),
                None
            )
        )
}

/// Whether a prepared statement holds the moment at which it was analysed
/// (datatype-datetime.html, "Special Values").
fn holds_its_moment(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];
    // A word may be spelled by E'' or U&''; a date's parts need no blanks.
    let spells = |pair: &[u8]| pair.eq_ignore_ascii_case(b"e'") || pair.eq_ignore_ascii_case(b"u&");
    let spelled = text.contains(&b'\\') && text.windows(2).any(spells);
    has_string(text) && (spelled || WORDS.iter().any(|word| has_word(text, word, b'(')))
}

/// A statement prepared under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Prepared {
    name: Bytes,
    /// The whole `PREPARE …`, or, with `types`, the query of a Parse message.
    text: Bytes,
    /// The parameters' type ids, where it was prepared by libpq's own call.
    types: Option<Box<[u32]>>,
    /// The types that the server inferred for its parameters and columns may be others today.
    is_redefined: bool,
}

/// Whether the name, or a longer one around it, may stand in a text: anything may, where a name in
/// it can be spelled by escapes.
fn may_name(text: &[u8], name: &[u8]) -> bool {
    text.contains(&b'\\')
        || text.windows(2).any(|pair| pair.eq_ignore_ascii_case(b"u&"))
        || text
            .windows(name.len().max(1))
            .any(|its| its.eq_ignore_ascii_case(name))
}

/// What the statements of one command do. Empty for the many that do nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    effects: Vec<Effect>,
    /// Statements in the text, harmless ones counted.
    statements: usize,
}

impl Effects {
    fn opaque(reason: Reason) -> Self {
        Effects {
            effects: std::vec![Effect::Opaque(reason.into())],
            statements: 1,
        }
    }

    /// Whether the session is the same afterwards, whatever becomes of it.
    pub(crate) fn is_none(&self) -> bool {
        self.effects.is_empty()
    }
}

/// Where a session stands, by libpq's account (`PGTransactionStatusType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// In no transaction.
    Idle,
    /// In one.
    InTransaction,
    /// In one that has failed.
    Failed,
    /// In the middle of a command, or unknown.
    Other,
}

impl Standing {
    /// By libpq's number.
    pub(crate) fn of(status: i32) -> Standing {
        match status {
            PQTRANS_IDLE => Standing::Idle,
            PQTRANS_INTRANS => Standing::InTransaction,
            PQTRANS_INERROR => Standing::Failed,
            _ => Standing::Other,
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// One of its results was an error.
    pub failed: bool,
    /// The command tag of its last result was `ROLLBACK`.
    pub rolled_back: bool,
    /// The session before it.
    pub before: Standing,
    /// The session after it.
    pub after: Standing,
}

/// So many names of one `DROP` are followed.
const NAMES_OF_A_DROP: usize = 64;

/// Each comes after what the same statement redefines.
fn note_temporaries(temporaries: Temporaries, into: &mut Vec<Effect>) {
    match temporaries {
        Temporaries::Same => {}
        Temporaries::Made {
            name,
            on_commit_drop,
        } => into.push(Effect::MakeTemporary {
            name: owned(&name),
            on_commit_drop,
        }),
        Temporaries::Beside => into.push(Effect::MakeBesideTemporary),
        Temporaries::Altered => into.push(Effect::AlterTemporary),
        Temporaries::Dropped(dropped) => {
            // An effect takes fifty times the memory of its name in the text. Those beyond are not known to
            // be gone, so a session that had such an object is lost.
            let names = dropped.names().take(NAMES_OF_A_DROP);
            into.extend(names.map(|name| Effect::DropTemporary(owned(&name))));
        }
        Temporaries::Discarded => into.push(Effect::DropTemporaries),
    }
}

/// What was done in a transaction that is open, in its order.
#[derive(Clone, Debug)]
enum Pending {
    /// Its beginning; another one inside changes its modes.
    Begin(Bytes),
    SetTransaction(Bytes),
    /// It has taken its first snapshot: what must come before that is refused from here on.
    Snapshot,
    Savepoint {
        name: Bytes,
        text: Bytes,
    },
    /// It waits for the transaction's end.
    Change(Effect),
}

/// What executing a prepared statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Does {
    effects: Vec<Effect>,
    /// In its transaction.
    touch: Touched,
}

/// [`Touch`], kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Touched {
    Nothing,
    Reads,
    More(Bytes),
}

impl Touched {
    fn as_touch(&self) -> Touch<'_> {
        match self {
            Touched::Nothing => Touch::Nothing,
            Touched::Reads => Touch::Reads,
            Touched::More(by) => Touch::More(by),
        }
    }
}

impl Does {
    /// Of effects that were read with all of their touches.
    fn of(effects: Effects) -> Does {
        let mut touch = Touched::Nothing;
        let mut rest = effects.effects;
        rest.retain(|effect| {
            match effect {
                Effect::More(by) => touch = Touched::More(by.clone()),
                Effect::Reads if touch == Touched::Nothing => touch = Touched::Reads,
                Effect::Reads => {}
                _ => return true,
            }
            false
        });
        Does {
            effects: rest,
            touch,
        }
    }
}

/// One thing to do again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A custom setting that nobody sees and that answers `''`, not NULL.
    Trace(&'a [u8]),
    /// A statement's text.
    Text(&'a [u8]),
    /// One with parameters.
    With(&'a [u8], &'a [OwnedParameter]),
    /// A prepared statement: its name, query and types.
    Prepare(&'a [u8], &'a [u8], &'a [u32]),
}

impl<'a> Step<'a> {
    fn of(entry: &'a Effect) -> Option<Step<'a>> {
        match entry {
            Effect::Set(set) if set.parameters.is_empty() => Some(Step::Text(&set.text)),
            Effect::Set(set) => Some(Step::With(&set.text, &set.parameters)),
            Effect::ResetAll(text) | Effect::Listen { text, .. } => Some(Step::Text(text)),
            Effect::Prepare(prepared) => Some(match &prepared.types {
                Some(types) => Step::Prepare(&prepared.name, &prepared.text, types),
                None => Step::Text(&prepared.text),
            }),
            _ => None,
        }
    }
}

/// A command in a pipeline.
#[derive(Clone, Debug)]
enum Sent {
    Command(Effects),
    Sync,
}

#[derive(Clone, Debug, Default)]
struct Pipeline {
    sent: VecDeque<Sent>,
    /// Of the segment that the next sync ends.
    succeeded: Vec<Effect>,
    segment_failed: bool,
    /// The command whose results are being read.
    any_result: bool,
    failed: bool,
    rolled_back: bool,
}

/// As whom and where a session logs in, and so will the one in its place.
#[derive(Clone, Debug)]
struct Login {
    user: Bytes,
    database: Bytes,
}

/// Whether two names are certainly two to the server. Only ASCII: others are converted. It cuts what
/// is too long, and may put `@` and the database behind a user's name (`db_user_namespace`, before 17).
fn are_two(name: &Name, own: &[u8]) -> bool {
    let plain = |byte: u8| byte.is_ascii() && byte != b'@';
    name.bytes().all(plain)
        && own.iter().copied().all(plain)
        && !own.is_empty()
        && own.len() <= forkguard_sql::LONGEST_NAME
        && !name.bytes().eq(own.iter().copied())
}

impl Login {
    /// Whether what the sessions of that role, in that database, begin with is not for one of this login.
    ///
    /// Proof. A new session takes its defaults from the rows of `pg_db_role_setting` for its database and
    /// role, each of them its own or any (`process_settings` in postinit.c, by the names that it logs
    /// in with), and at no other time: not with `SET ROLE` or `SET SESSION AUTHORIZATION`, and not from
    /// roles that its own is a member of (sql-alterrole.html). So it is enough that one name is another,
    /// as long as the names stay whose they are: see [`Login::keeps_its_name`]. (The database that a
    /// session is of cannot be renamed while the session is there: `RenameDatabase` in dbcommands.c.)
    ///
    /// Otherwise the session is lost, because its values can't be read: it has its defaults of before, which
    /// the catalogue no longer holds; no session is shown another's settings, and the server reports but a
    /// few. Even one that the program has set since would come back with another value behind it, for
    /// `RESET`.
    fn is_spared(&self, role: Option<&Name>, database: Option<&Name>) -> bool {
        role.is_some_and(|name| are_two(name, &self.user))
            || database.is_some_and(|name| are_two(name, &self.database))
    }

    /// Whether a statement that renames or drops roles leaves the name by which the session logs in to
    /// the role that it is. The server refuses to rename or drop the role that a session is of, and that
    /// is another than it logged in as after `SET SESSION AUTHORIZATION` (`RenameRole` and `DropRole` in
    /// user.c ask `GetSessionUserId`). To become another's, the name must first be taken from its own, by
    /// a statement in which it stands.
    fn keeps_its_name(&self, text: &[u8]) -> bool {
        let own = &*self.user;
        let plain = |byte: &u8| byte.is_ascii() && !matches!(byte, b'"' | b'@');
        !own.is_empty()
            && own.len() <= forkguard_sql::LONGEST_NAME
            && own.iter().all(plain)
            && !may_name(text, own)
    }
}

/// What a statement does by its text alone; nothing for one that the journal has to be asked about.
fn effect_of(statement: &statements::Statement) -> Option<Effect> {
    let text = || Bytes::from(statement.text);
    Some(match &statement.what {
        What::Harmless | What::Copy | What::DiscardOther => return None,
        What::Set { name, .. } if OF_ONE_TRANSACTION.iter().any(|its| name.is_setting(its)) => {
            Effect::SetTransaction(text())
        }
        What::SetTransaction => Effect::SetTransaction(text()),
        What::Begin => Effect::Begin(text()),
        What::Commit => Effect::Commit,
        What::Rollback => Effect::Rollback,
        What::Savepoint(name) | What::Prepare { name, .. } if may_be_cut(&owned(name)) => {
            Effect::Opaque(Loss::with(Reason::NameInDoubt, name.as_written()))
        }
        What::Savepoint(name) => Effect::Savepoint {
            name: owned(name),
            text: text(),
        },
        What::Release(name) => Effect::Release(owned(name)),
        What::RollbackTo(name) => Effect::RollbackTo(owned(name)),
        What::Set { name, local, value } => Effect::Set(Set {
            // Compared without regard to case, even when quoted (guc.c).
            name: name.to_vec().to_ascii_lowercase().into_boxed_slice(),
            local: *local,
            to_default: matches!(value, Value::Default),
            text: text(),
            parameters: Box::default(),
        }),
        What::SetCharacteristics {
            isolation,
            read_only,
            deferrable,
            local,
        } => Effect::Set(Set {
            // One statement, up to three settings: what replaces it is the same again.
            name: [
                if *isolation { b"i".as_slice() } else { b"" },
                if *read_only { b"r" } else { b"" },
                if *deferrable { b"d" } else { b"" },
            ]
            .concat()
            .into_boxed_slice(),
            local: *local,
            to_default: false,
            text: text(),
            parameters: Box::default(),
        }),
        What::ResetAll => Effect::ResetAll(text()),
        What::Deallocate(name) => Effect::Deallocate(owned(name)),
        What::DeallocateAll => Effect::DeallocateAll,
        What::Listen(channel) => Effect::Listen {
            channel: owned(channel),
            text: text(),
        },
        What::Unlisten(channel) => Effect::Unlisten(owned(channel)),
        What::UnlistenAll => Effect::UnlistenAll,
        What::HoldCursor(name) => Effect::HoldCursor(owned(name)),
        What::CloseCursor(name) => Effect::CloseCursor(name.as_ref().map(owned)),
        What::Lock(lock) => Effect::Lock(lock.key.into(), lock.shared),
        What::Unlock(lock) => Effect::Unlock(lock.key.into(), lock.shared),
        What::UnlockAll => Effect::UnlockAll,
        What::DiscardAll => Effect::DiscardAll,
        What::PrepareTransaction => Effect::Opaque(Reason::TwoPhase.into()),
        What::Opaque(cause) => Effect::Opaque((*cause).into()),
        // See `Journal::note`.
        What::SetConfig(_)
        | What::Prepare { .. }
        | What::Execute { .. }
        | What::Defaults { .. }
        | What::Roles { .. } => return None,
    })
}

/// A name as the server has it, owned.
fn owned(name: &Name) -> Bytes {
    name.to_vec().into_boxed_slice()
}

/// The journal of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    entries: Vec<Effect>,
    pending: Vec<Pending>,
    traces: Vec<Bytes>,
    /// Cursors that outlived their transactions, until [`Effect::CloseCursor`].
    cursors: Vec<Bytes>,
    /// Session locks that may be held: each as often as it was taken at most. (A try that failed counts
    /// as well, and giving back what is not held counts for nothing: never fewer than there are.)
    locks: Vec<(Bytes, bool)>,
    /// Temporary tables, views and sequences that are there, by their names in `pg_temp`; an empty one
    /// for what has a name that is not known.
    ///
    /// Proof that a session whose temporary objects are gone is as one that never had any.
    /// - All are known: the text of each statement that makes one says so (what functions of the user's
    ///   do is asked for or vouched for, what triggers do is in README's list). None in a text is missed
    ///   when the search path makes `CREATE` temporary: a path of the program's loses its session,
    ///   one that it began with is asked about, as is whether any table is there (`Question`).
    /// - What is dropped is what was made: a name without a schema is looked up in `pg_temp` first
    ///   (namespace.c), unless the path names it elsewhere, see above. A statement that drops several
    ///   drops all or none. What may give one another name, or keep what belongs to it, makes it one
    ///   that only `DISCARD` is known to drop.
    /// - Its end takes with it all that depends on it (`performDeletion`: indexes, sequences, views that
    ///   look at it, functions that take its rows), and the session's memory of it: what to do at the
    ///   commit, `lastval()` (it fails as in a session that never called `nextval`), plans. Names that it
    ///   hid mean what they meant before; what was prepared meanwhile, or before, and may name it is
    ///   treated as after any other change of tables ([`Journal::redefine`]). A view keeps to the
    ///   objects it was made with. Only PL/pgSQL keeps types that it has looked up for as long as the
    ///   session lasts: so functions that only the user vouches for do not go together with temporary
    ///   objects.
    /// - Rolled back, it never was: its entry in the catalogue, `pg_temp` itself and what to do at the
    ///   commit go as well (`AtEOXact_Namespace`, `AtEOXact_on_commit_actions`).
    /// - What stays is the backend's empty schema `pg_temp_N`, whose number and OID are as much its own as
    ///   its process number (`pg_my_temp_schema()`, `current_schemas(true)`; README tells), and that
    ///   `temp_buffers` cannot be set any more: a bound on memory.
    temporaries: Vec<Bytes>,
    /// There ever was one.
    has_had_temporaries: bool,
    /// Something was made, by a text that does not say that it is temporary.
    has_made: bool,
    /// Something was made beside one, and may go with it.
    is_beside_temporaries: bool,
    /// A session lock was ever taken. That all are given back again is then what texts say, and a function
    /// of the user's may have the name.
    has_locked: bool,
    /// The unnamed statement: its query and types. Gone with the next query.
    unnamed: Option<(Bytes, Box<[u32]>)>,
    /// One that has been sent.
    unnamed_sent: Option<(Bytes, Box<[u32]>)>,
    /// The server's is one that a replay left behind, and of which the program must not know.
    unnamed_is_ours: bool,
    /// What executing the unnamed statement does, if one was prepared.
    unnamed_does: Option<Does>,
    /// What executing a prepared statement does, by its name.
    prepared: HashMap<Bytes, Does, BuildHasherDefault<DefaultHasher>>,
    /// The name of those that was executed last, if it does nothing to the session, and what it does
    /// in its transaction: a program in a loop is not looked up again.
    last_harmless: Option<(Bytes, Touched)>,
    pipeline: Pipeline,
    /// A transaction is open: as of the last command with effects, and only such
    /// a one begins or ends one.
    open: bool,
    /// In it something was redefined that comes back where it is rolled back.
    redefines: bool,
    /// The word by which the open transaction has done more than to read.
    more: Option<Bytes>,
    /// How the open transaction stands is not known: several statements failed together.
    unsure: bool,
    /// A text has called a function that is harmless because the user says so.
    vouched: bool,
    /// A text was read that may be read in more than one way. For good: a setting
    /// of [`Set::is_about_texts`] that changes afterwards makes the session
    /// opaque, whichever way and for however long it changes.
    ambiguous: bool,
    /// Functions that were called and that only the server may know.
    functions: Vec<Bytes>,
    /// Functions that were made.
    routines: Vec<Bytes>,
    /// Functions may have been dropped.
    drops_routines: bool,
    /// Where it is known.
    login: Option<Login>,
    /// It changed what sessions of another login begin with.
    alters_others: bool,
    opaque: Option<Loss>,
    /// Of entries, traces and names.
    bytes: usize,
    pending_bytes: usize,
}

/// How texts are read, and how much may be kept.
pub(crate) struct Rules<'a> {
    /// As the server reads strings now.
    pub mode: Mode<'a>,
    /// The most that one journal may hold, in bytes.
    pub limit: usize,
    /// Commands are sent before those before them are answered: whether a transaction is open then is
    /// not known at the sending.
    pub pipeline: bool,
}

/// `SET TRANSACTION` by another name.
const OF_ONE_TRANSACTION: [&str; 3] = [
    "transaction_isolation",
    "transaction_read_only",
    "transaction_deferrable",
];

/// The server cuts longer names of prepared statements (NAMEDATALEN - 1).
const LONGEST_NAME: usize = 63;

/// Whether the server may cut the name, in its own encoding: one byte of the client's becomes four there
/// at most (`MAX_CONVERSION_GROWTH`), and it cuts between characters.
fn may_be_cut(name: &[u8]) -> bool {
    name.len() > LONGEST_NAME || !name.is_ascii() && 4 * name.len() > LONGEST_NAME - 4
}

/// The most functions that the server is asked about.
const MOST_FUNCTIONS: usize = 128;

/// What one entry takes beside its texts.
const OVERHEAD: usize = 96;

impl Journal {
    /// Why the session cannot be made again, if so.
    pub(crate) fn opaque(&self) -> Option<&Loss> {
        self.opaque.as_ref()
    }

    /// The session cannot be made again. The first reason stays.
    pub(crate) fn set_opaque(&mut self, loss: impl Into<Loss>) {
        if self.opaque.is_none() {
            *self = Journal {
                opaque: Some(loss.into()),
                unnamed_is_ours: self.unnamed_is_ours,
                ..Journal::default()
            };
        }
    }

    /// Whether nothing waits for a transaction's end or a command's.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.is_answered()
    }

    /// Whether nothing waits for a command's answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.pipeline.sent.is_empty()
    }

    /// Whether the transaction that is open, or has failed, can be begun again in its place, and if not
    /// why.
    ///
    /// One that has only read holds nothing that a new one would not have, under read committed: each of
    /// its statements sees a snapshot of its own. What it has set is set again.
    ///
    /// A failed one has been undone by the server, its locks and all (`AbortTransaction` in xact.c): one
    /// that fails again is the same, whatever it did. Not so where it can go back to a savepoint.
    pub(crate) fn can_begin_again(&self, failed: bool) -> Result<(), Loss> {
        if self.unsure || !matches!(self.pending.first(), Some(Pending::Begin(_))) {
            return Err(Reason::TransactionUnseen.into());
        }
        match &self.more {
            Some(by) if !self.is_undone(failed) => Err(Loss::with(Reason::TransactionMore, by)),
            _ => Ok(()),
        }
    }

    /// Whether nothing of the transaction is left but its failure.
    pub(crate) fn is_undone(&self, failed: bool) -> bool {
        let savepoint = |step: &Pending| matches!(step, Pending::Savepoint { .. });
        failed && !self.pending.iter().any(savepoint)
    }

    /// The session was made, by this user and in this database (`PQuser`, `PQdb`).
    // A frame of its own: tests/valgrind.supp knows the session's memory by the names on the stack.
    #[inline(never)]
    pub(crate) fn set_login(&mut self, user: &[u8], database: &[u8]) {
        self.login = memory::is_plenty(4096 + user.len() + database.len()).then(|| Login {
            user: user.into(),
            database: database.into(),
        });
    }

    /// Whether it rests on the names by which the session logs in: behind a pooler the server may know
    /// it by others.
    pub(crate) fn alters_others(&self) -> bool {
        self.alters_others
    }

    /// Whether anything rests on the user's word that a function leaves its session alone.
    pub(crate) fn is_vouched(&self) -> bool {
        self.vouched
    }

    /// Whether an advisory lock of its session was ever taken, given back or not.
    pub(crate) fn has_locked(&self) -> bool {
        self.has_locked
    }

    /// Whether it ever had a temporary object.
    pub(crate) fn has_had_temporaries(&self) -> bool {
        self.has_had_temporaries
    }

    /// Whether it made anything that a search path may have made temporary.
    pub(crate) fn has_made(&self) -> bool {
        self.has_made
    }

    /// Whether it may have one now.
    fn may_have_temporaries(&self) -> bool {
        let makes = |change: &Effect| matches!(change, Effect::MakeTemporary { .. });
        !self.temporaries.is_empty() || self.waiting().any(makes)
    }

    /// Whether it changes the setting.
    pub(crate) fn sets(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let its = |entry: &Effect| matches!(entry, Effect::Set(set) if set.name.eq_ignore_ascii_case(name));
        self.entries.iter().chain(self.waiting()).any(its)
    }

    /// Changes that wait for the transaction's end.
    fn waiting(&self) -> impl Iterator<Item = &Effect> {
        self.pending.iter().filter_map(|step| match step {
            Pending::Change(change) => Some(change),
            _ => None,
        })
    }

    /// Whether a transaction's end, or a savepoint's, changes anything.
    fn has_changes(&self) -> bool {
        let change =
            |step: &Pending| matches!(step, Pending::Change(_) | Pending::Savepoint { .. });
        self.pending.iter().any(change)
    }

    /// Bytes that it takes.
    pub(crate) fn size(&self) -> usize {
        self.bytes
    }

    /// Whether the session has an unnamed prepared statement.
    pub(crate) fn has_unnamed(&self) -> bool {
        self.unnamed.is_some()
    }

    /// A replay left its last unnamed statement behind, or did not.
    pub(crate) fn set_unnamed_is_ours(&mut self, its: bool) {
        self.unnamed_is_ours = its;
    }

    /// Whether the unnamed statement is a replay's.
    pub(crate) fn unnamed_is_ours(&self) -> bool {
        self.unnamed_is_ours
    }

    /// The custom settings whose value no text says, if a library of the server owns them: that were
    /// set and taken back, or set to what such a library may spell in another way.
    pub(crate) fn left_settings(&self) -> Vec<&[u8]> {
        let mut left: Vec<&[u8]> = self.traces.iter().map(|name| &**name).collect();
        for entry in self.entries.iter().chain(self.waiting()) {
            if let Effect::Set(set) = entry {
                left.retain(|name| **name != *set.name);
                let as_it_is = !owners::is_owned(&set.name) || set.is_spelled_as_shown();
                if set.is_custom() && (set.to_default || !as_it_is) {
                    left.push(&set.name);
                }
            }
        }
        left
    }

    /// What to do again, in order, before the transaction that is open.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let traces = self.traces.iter().map(|name| Step::Trace(name));
        traces.chain(self.entries.iter().filter_map(Step::of))
    }

    /// What to do again of the transaction that is open.
    pub(crate) fn steps_of_transaction(&self) -> impl Iterator<Item = Step<'_>> {
        self.pending.iter().filter_map(|step| match step {
            Pending::Begin(text)
            | Pending::SetTransaction(text)
            | Pending::Savepoint { text, .. } => Some(Step::Text(text)),
            Pending::Snapshot => Some(Step::Text(b"SELECT")),
            Pending::Change(change) => Step::of(change),
        })
    }

    /// The unnamed statement, to be prepared again after everything else.
    pub(crate) fn step_of_unnamed(&self) -> Option<Step<'_>> {
        let (query, types) = self.unnamed.as_ref()?;
        Some(Step::Prepare(b"", query, types))
    }

    // What is sent.

    /// The text of a simple query: the unnamed statement is gone.
    pub(crate) fn read_simple(&mut self, text: &[u8], rules: &Rules) -> Effects {
        (self.unnamed, self.unnamed_sent, self.unnamed_does) = (None, None, None);
        self.unnamed_is_ours = false;
        self.read(text, rules)
    }

    /// The one statement of an extended query: it is the unnamed one now, of
    /// which a child that counts on it gets the error that it does not exist.
    pub(crate) fn read_extended(
        &mut self,
        text: &[u8],
        parameters: Parameters,
        rules: &Rules,
    ) -> Effects {
        let mut effects = self.read(text, rules);
        (self.unnamed, self.unnamed_sent) = (None, None);
        self.unnamed_is_ours = false;
        if self.unnamed_does.is_some() || !effects.is_none() {
            let mut again = effects.clone();
            for effect in &mut again.effects {
                if let Effect::SetConfig(call) = effect {
                    call.sent_with(parameters);
                }
            }
            // What it does in another transaction was not asked.
            self.unnamed_does = Some(Does {
                effects: Does::of(again).effects,
                touch: Touched::More(b"EXECUTE"[..].into()),
            });
        }
        self.bind(&mut effects.effects, parameters);
        effects
    }

    /// Each call of `set_config` becomes the setting that these parameters make of it.
    fn bind(&mut self, effects: &mut [Effect], parameters: Parameters) {
        for effect in effects {
            let Effect::SetConfig(call) = effect else {
                continue;
            };
            *effect = match call.bind(parameters) {
                Err(reason) => Effect::Opaque(reason.into()),
                // For its transaction only, which is not begun again with it.
                Ok(bound)
                    if OF_ONE_TRANSACTION
                        .iter()
                        .any(|its| its.as_bytes() == &*bound.name) =>
                {
                    Effect::More(bound.name)
                }
                Ok(bound) => {
                    // The server converts them by the setting of its moment.
                    let mut sent = bound
                        .parameters
                        .iter()
                        .filter_map(|kept| kept.value.as_ref());
                    self.ambiguous |= sent.any(|value| !value.is_ascii());
                    Effect::Set(Set {
                        name: bound.name,
                        local: bound.local,
                        to_default: bound.to_default,
                        text: bound.text,
                        parameters: bound.parameters,
                    })
                }
            };
        }
    }

    /// What statements do.
    fn read(&mut self, text: &[u8], rules: &Rules) -> Effects {
        if self.opaque.is_some() {
            return Effects::default();
        }
        let mut effects = Effects::default();
        let in_transaction = self.open || rules.pipeline;
        if !in_transaction && statements::is_plain_select(text)
            || in_transaction && statements::is_plain_read(text)
        {
            effects.statements = 1;
            self.touch(Touch::Reads, rules.pipeline, &mut effects.effects);
            return effects;
        }
        if self.mode_may_change() && is_ambiguous(text) {
            return Effects::opaque(Reason::TextInFlight);
        }
        // Whether a BEGIN here begins its transaction: what stands before it in a text is part of it.
        let mut begins = true;
        // Whether the transaction is another one by then than the journal's.
        let mut later = rules.pipeline;
        for statement in statements::read(text, &rules.mode).in_transaction(in_transaction) {
            effects.statements += 1;
            self.vouched |= statement.vouched;
            self.touch(statement.touch, later, &mut effects.effects);
            let controls = matches!(statement.what, What::Begin | What::Commit | What::Rollback);
            let does_nothing = matches!(statement.what, What::Harmless)
                && matches!(statement.redefines, Redefines::Nothing)
                && matches!(statement.routines, Routines::Same)
                && matches!(statement.temporary, Temporaries::Same)
                && self.knows(&statement.calls);
            if !does_nothing {
                // Texts are kept once or twice, and a map may grow.
                if !memory::is_plenty(4096 + 4 * text.len()) {
                    return Effects::opaque(Reason::NoMemory);
                }
                if let Err(cause) = self.note_functions(&statement) {
                    effects.effects.push(Effect::Opaque(cause.into()));
                    break;
                }
                match statement.redefines {
                    Redefines::Nothing => {}
                    Redefines::Named(name) => {
                        let name = owned(&name);
                        let name = (!may_be_cut(&name)).then_some(name);
                        effects.effects.push(Effect::Redefine(name));
                    }
                    Redefines::Anything => effects.effects.push(Effect::Redefine(None)),
                }
                note_temporaries(statement.temporary, &mut effects.effects);
                self.note(&statement, rules, later, &mut effects.effects);
                match effects.effects.last_mut() {
                    Some(Effect::Opaque(_)) => break, // nothing after it counts
                    Some(effect @ Effect::Begin(_)) if !begins => *effect = Effect::BeginInside,
                    _ => {}
                }
            }
            later |= controls;
            begins = controls && !matches!(statement.what, What::Begin);
        }
        effects
    }

    /// Whether all of these functions are noted.
    fn knows(&self, calls: &Calls) -> bool {
        let known = |name: Name| {
            self.functions
                .iter()
                .any(|its| name.bytes().eq(its.iter().copied()))
        };
        calls.names().all(|name| name.is_some_and(known))
    }

    /// From the sending on, and whatever becomes of it: a function that fails may have done
    /// something before.
    fn note_functions<'a>(
        &mut self,
        statement: &statements::Statement<'a>,
    ) -> Result<(), Cause<'a>> {
        for name in statement.calls.names() {
            let Some(name) = name else {
                return Err(Reason::NameInDoubt.into());
            };
            let known = owned(&name);
            if self.functions.contains(&known) {
                continue;
            }
            if !extensions::may_be_asked(&known) || self.functions.len() >= MOST_FUNCTIONS {
                return Err(Cause {
                    reason: Reason::UnknownFunction,
                    detail: name.as_written(),
                });
            }
            self.bytes += known.len() + OVERHEAD;
            self.functions.push(known);
        }
        match statement.routines {
            Routines::Same => {}
            Routines::Dropped => self.drops_routines = true,
            Routines::Made(name) => {
                let made = owned(&name);
                if !self.routines.contains(&made) {
                    self.bytes += made.len() + OVERHEAD;
                    self.routines.push(made);
                }
            }
        }
        Ok(())
    }

    /// Functions of which the server is to say that they leave the session alone.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &[u8]> {
        self.functions.iter().map(|name| &**name)
    }

    /// A function that may have been another one when it was called: the session made one of its name,
    /// or dropped some.
    fn function_in_doubt(&self) -> Option<&Bytes> {
        let mut functions = self.functions.iter();
        functions.find(|name| self.drops_routines || self.routines.contains(name))
    }

    /// What a statement that is sent does in its transaction. At once, if that is open: to count what
    /// then fails is to be strict. `later`: its turn comes when the transaction may be another.
    fn touch(&mut self, touch: Touch, later: bool, into: &mut Vec<Effect>) {
        if self.is_touched(touch, later) {
            return;
        }
        if !memory::is_plenty(256) {
            return self.set_opaque(Reason::NoMemory);
        }
        let effect = match touch {
            Touch::More(by) => Effect::More(by.get(..LONGEST_NAME).unwrap_or(by).into()),
            _ => Effect::Reads,
        };
        if later {
            into.push(effect);
        } else {
            self.apply(effect);
        }
    }

    /// Whether there is nothing to note of it.
    fn is_touched(&self, touch: Touch, later: bool) -> bool {
        match touch {
            Touch::Nothing => true,
            _ if later => false,
            _ if !self.open => true,
            Touch::Reads => self.has_snapshot(),
            Touch::More(_) => self.more.is_some(),
        }
    }

    /// A call of libpq's own making does more in its transaction than to read.
    pub(crate) fn does_more(&mut self, by: &[u8]) {
        if self.opaque.is_none() {
            self.touch(Touch::More(by), false, &mut Vec::new());
        }
    }

    fn has_snapshot(&self) -> bool {
        let its = |step: &Pending| matches!(step, Pending::Snapshot);
        self.pending.iter().any(its)
    }

    /// Whether something is under way that may change how the server reads the next text
    /// ([`Set::is_about_texts`]): what libpq was told last is of before it. In a pipeline
    /// only; otherwise a command is answered before the next is sent, and a text of several
    /// statements is cut and converted whole, before any of them runs (`exec_simple_query`).
    ///
    /// What takes changes back counts where there is one to take back: of this transaction,
    /// or of the segment, whose failure undoes it (that one stands in the pipeline, too).
    fn mode_may_change(&self) -> bool {
        let changes = |effect: &Effect| match effect {
            Effect::Set(set) => set.is_about_texts(),
            Effect::ResetAll(_) | Effect::DiscardAll | Effect::Opaque(_) => true,
            _ => false,
        };
        let ends = |effect: &Effect| {
            matches!(
                effect,
                Effect::Commit | Effect::Rollback | Effect::RollbackTo(_)
            )
        };
        let sent = self.pipeline.sent.iter().flat_map(|sent| match sent {
            Sent::Command(effects) => effects.effects.as_slice(),
            Sent::Sync => &[],
        });
        let mut under_way = sent.chain(&self.pipeline.succeeded).peekable();
        if under_way.peek().is_none() {
            return false;
        }
        let waits = |step: &Pending| matches!(step, Pending::Change(change) if changes(change));
        let pending = self.pending.iter().any(waits);
        under_way.any(|effect| changes(effect) || pending && ends(effect))
    }

    /// A text that may be replayed was read.
    fn mark(&mut self, text: &[u8]) {
        self.ambiguous |= is_ambiguous(text);
    }

    /// The texts of what is prepared: of what is there, waits, or was sent.
    fn prepared_texts(&self) -> impl Iterator<Item = &[u8]> {
        let sent = self.pipeline.sent.iter().flat_map(|sent| match sent {
            Sent::Command(effects) => effects.effects.as_slice(),
            Sent::Sync => &[],
        });
        let effects = self.entries.iter().chain(self.waiting()).chain(sent);
        let effects = effects.chain(&self.pipeline.succeeded);
        let named = effects.filter_map(|effect| match effect {
            Effect::Prepare(prepared) => Some(&*prepared.text),
            _ => None,
        });
        let unnamed = self.unnamed.iter().chain(&self.unnamed_sent);
        named.chain(unnamed.map(|(query, _)| &**query))
    }

    /// Why the session as it is now cannot be made again, though it may be later.
    pub(crate) fn obstacle(&self) -> Option<Loss> {
        if let Some(name) = self.function_in_doubt() {
            return Some(Loss::with(Reason::UnknownFunction, name));
        }
        if let Some(name) = self.temporaries.first() {
            return Some(Loss::with(Reason::TemporaryObject, name));
        }
        if self.has_had_temporaries && self.vouched {
            return Some(Reason::TemporaryObject.into());
        }
        if self.prepared_texts().any(holds_its_moment) {
            return Some(Reason::PreparedMoment.into());
        }
        let redefined =
            |entry: &Effect| matches!(entry, Effect::Prepare(prepared) if prepared.is_redefined);
        if self.entries.iter().any(redefined) {
            return Some(Reason::PreparedRedefined.into());
        }
        if !self.cursors.is_empty() {
            return Some(Reason::CursorWithHold.into());
        }
        (!self.locks.is_empty()).then(|| Reason::AdvisoryLock.into())
    }

    /// What has this name may be another from now on, and what was prepared before keeps the types
    /// that it was given. An unnamed statement is gone: a child that executes it gets an error that says so.
    fn redefine(&mut self, name: Option<&[u8]>) {
        self.redefines = true;
        let may_use = |text: &[u8]| name.is_none_or(|name| may_name(text, name));
        let waiting = self.pending.iter_mut().filter_map(|step| match step {
            Pending::Change(change) => Some(change),
            _ => None,
        });
        for effect in self.entries.iter_mut().chain(waiting) {
            if let Effect::Prepare(prepared) = effect {
                prepared.is_redefined = prepared.is_redefined || may_use(&prepared.text);
            }
        }
        self.unnamed.take_if(|(query, _)| may_use(query));
    }

    /// What a statement does, added to `into`.
    fn note(
        &mut self,
        statement: &statements::Statement,
        rules: &Rules,
        later: bool,
        into: &mut Vec<Effect>,
    ) {
        if !matches!(
            statement.what,
            What::Harmless
                | What::Begin
                | What::Commit
                | What::Rollback
                | What::Defaults { .. }
                | What::Roles { .. }
                | What::Opaque(_)
        ) {
            self.mark(statement.text);
        }
        let login = self.login.as_ref();
        match &statement.what {
            What::SetConfig(calls) => self.note_set_config(calls, into),
            What::Prepare { name, body } if !may_be_cut(&owned(name)) => {
                let name = owned(name);
                let does = self.read_to_prepare(body, rules);
                self.remember(&name, does);
                into.push(Effect::Prepare(Prepared {
                    name,
                    text: statement.text.into(),
                    types: None,
                    is_redefined: false,
                }));
            }
            What::Execute { name } => self.note_execute(name, statement.text, later, into),
            What::Defaults { role, database, by } => {
                if login.is_some_and(|login| login.is_spared(role.as_ref(), database.as_ref())) {
                    self.alters_others = true;
                } else {
                    into.push(Effect::AlterDefaults((*by).into()));
                }
            }
            What::Roles { by } => {
                if !login.is_some_and(|login| login.keeps_its_name(statement.text)) {
                    into.push(Effect::AlterDefaults((*by).into()));
                }
            }
            _ => into.extend(effect_of(statement)),
        }
    }

    /// Adds each call of `set_config`. One whose arguments are all constants is bound at once.
    fn note_set_config(&mut self, calls: &statements::SetConfig, into: &mut Vec<Effect>) {
        for call in calls.calls() {
            let call = Unbound::of(&call, calls.standard_strings());
            let mut effects = [Effect::SetConfig(call)];
            if matches!(&effects, [Effect::SetConfig(call)] if call.is_constant()) {
                self.bind(&mut effects, &|_| None);
            }
            into.extend(effects);
        }
    }

    /// Adds what the prepared statement does that `text` executes.
    fn note_execute(&mut self, name: &Name, text: &[u8], later: bool, into: &mut Vec<Effect>) {
        let Some(does) = self.prepared.get(&*name.to_vec()) else {
            return into.push(Effect::Opaque(Reason::PreparedUnseen.into()));
        };
        let touch = does.touch.clone();
        // EXPLAIN EXECUTE, or CREATE TABLE AS EXECUTE … WITH NO DATA.
        let other = !has_word(text.get(..7).unwrap_or_default(), b"execute", 0);
        let call = |effect: &Effect| matches!(effect, Effect::SetConfig(_));
        if other && !does.effects.is_empty() {
            into.push(Effect::Opaque(Reason::PreparedChange.into()));
        } else if does.effects.iter().any(call) {
            // The parameters are expressions there.
            into.push(Effect::Opaque(Reason::SetConfigUnread.into()));
        } else {
            into.extend(does.effects.iter().cloned());
            self.touch(touch.as_touch(), later, into);
        }
    }

    /// libpq's own prepare call, or a Parse message by another of its calls.
    pub(crate) fn prepare(
        &mut self,
        name: &[u8],
        query: &[u8],
        types: &[u32],
        rules: &Rules,
    ) -> Effects {
        self.unnamed_is_ours &= !name.is_empty();
        if self.opaque.is_some() {
            return Effects::default();
        }
        if !memory::is_plenty(4096 + 4 * (name.len() + query.len())) {
            return Effects::opaque(Reason::NoMemory);
        }
        if may_be_cut(name) {
            return Effects::opaque(Reason::PreparedNameTooLong);
        }
        let mut does = self.read_to_prepare(query, rules);
        let reads = does.touch != Touched::Nothing;
        for effect in &mut does.effects {
            if let Effect::SetConfig(call) = effect {
                call.prepared_with(types);
            }
        }
        self.remember(name, does);
        self.mark(name);
        self.mark(query);
        let mut effects = Effects {
            effects: Vec::new(),
            statements: 1,
        };
        if reads {
            // To analyse it the server takes a snapshot (`analyze_requires_snapshot`).
            self.touch(Touch::Reads, rules.pipeline, &mut effects.effects);
        }
        if name.is_empty() {
            (self.unnamed, self.unnamed_sent) = (None, Some((query.into(), types.into())));
            effects.effects.push(Effect::Unnamed);
        } else {
            effects.effects.push(Effect::Prepare(Prepared {
                name: name.into(),
                text: query.into(),
                types: Some(types.into()),
                is_redefined: false,
            }));
        }
        effects
    }

    /// What executing a text will do once it is prepared, in any transaction.
    fn read_to_prepare(&mut self, text: &[u8], rules: &Rules) -> Does {
        Does::of(self.read(
            text,
            &Rules {
                pipeline: true,
                ..*rules
            },
        ))
    }

    /// What executing `name` will do. Known from the sending on: the execution
    /// may be sent before the preparation has been answered.
    fn remember(&mut self, name: &[u8], does: Does) {
        if name.is_empty() {
            self.unnamed_does = Some(does);
            return;
        }
        self.last_harmless = None;
        let weight = name.len() + OVERHEAD;
        if let Some(known) = self.prepared.get_mut(name) {
            // If the second fails, the first is still there; only a name that
            // does the same either way is sure.
            if *known != does {
                if known.effects != does.effects {
                    known.effects = std::vec![Effect::Opaque(Reason::PreparedTwice.into())];
                }
                known.touch = Touched::More(b"EXECUTE"[..].into());
            }
        } else if self.prepared.try_reserve(1).is_ok() {
            self.prepared.insert(name.into(), does);
            self.bytes += weight;
        }
    }

    /// What was to be prepared was not, so its name means nothing, unless it did before.
    fn not_prepared(&mut self, effects: &[Effect]) {
        if effects.contains(&Effect::Unnamed) {
            self.unnamed_sent = None;
        }
        for effect in effects {
            let Effect::Prepare(prepared) = effect else {
                continue;
            };
            let its = |effect: &Effect| matches!(effect, Effect::Prepare(its) if its.name == prepared.name);
            let waits = |step: &Pending| matches!(step, Pending::Change(change) if its(change));
            if !self.entries.iter().any(its) && !self.pending.iter().any(waits) {
                self.forget_prepared(&prepared.name);
            }
        }
    }

    fn forget_prepared(&mut self, name: &[u8]) {
        self.last_harmless = None;
        if self.prepared.remove(name).is_some() {
            self.bytes = self.bytes.saturating_sub(name.len() + OVERHEAD);
        }
    }

    /// The command was not sent after all.
    pub(crate) fn not_sent(&mut self, effects: &Effects) {
        self.not_prepared(&effects.effects);
    }

    /// A prepared statement is executed by libpq's own call.
    pub(crate) fn execute(
        &mut self,
        name: &[u8],
        rules: &Rules,
        parameters: Parameters,
    ) -> Effects {
        match &self.last_harmless {
            _ if self.opaque.is_some() => return Effects::default(),
            Some((last, touch))
                if **last == *name && self.is_touched(touch.as_touch(), rules.pipeline) =>
            {
                return Effects::default();
            }
            _ => {}
        }
        let known = if name.is_empty() {
            self.unnamed_does.as_ref()
        } else {
            self.prepared.get(name)
        };
        let Some(does) = known else {
            return Effects::opaque(if name.len() > LONGEST_NAME {
                Reason::PreparedNameTooLong
            } else {
                Reason::PreparedUnseen
            });
        };
        let (touch, mut effects) = (
            does.touch.clone(),
            Effects {
                effects: does.effects.clone(),
                statements: 1,
            },
        );
        // The unnamed one changes with the next query.
        if effects.is_none() && !name.is_empty() && memory::is_plenty(name.len()) {
            self.last_harmless = Some((name.into(), touch.clone()));
        }
        self.bind(&mut effects.effects, parameters);
        self.touch(touch.as_touch(), rules.pipeline, &mut effects.effects);
        effects
    }

    /// libpq's own call to close a prepared statement.
    pub(crate) fn close(&self, name: &[u8]) -> Effects {
        if self.opaque.is_some() {
            return Effects::default();
        }
        if name.len() > LONGEST_NAME {
            return Effects::opaque(Reason::PreparedNameTooLong);
        }
        Effects {
            effects: std::vec![Effect::Deallocate(name.into())],
            statements: 1,
        }
    }

    /// A call whose effect cannot be known.
    pub(crate) fn unknown(&self, reason: Reason) -> Effects {
        Effects::opaque(reason)
    }

    // What needs no server.

    /// The journal after a statement that only takes something away, or ends a transaction, and the
    /// server's command tag for it; nothing where only the server knows how it would end. The session
    /// is not made again yet, and stands there.
    pub(crate) fn removed(
        &self,
        text: &[u8],
        extended: bool,
        standing: Standing,
        rules: &Rules,
    ) -> Option<(Journal, &'static [u8])> {
        let mut tag = statements::removal::removal(text, &rules.mode)?;
        if tag == b"COMMIT" && standing == Standing::Failed {
            tag = b"ROLLBACK";
        }
        let mut after = self.copy()?;
        let effects = if extended {
            after.read_extended(text, &|_| None, rules)
        } else {
            after.read_simple(text, rules)
        };
        let after = after.after_removal(effects, standing, rules)?;
        Some((after, tag))
    }

    /// The same for libpq's own call to close a prepared statement, which says nothing of one that
    /// is not there (protocol-flow.html, "Extended Query"; its answer has no tag).
    pub(crate) fn closed(&self, name: &[u8], standing: Standing, rules: &Rules) -> Option<Journal> {
        // The unnamed one is not journalled as others are.
        if name.is_empty() || name.len() > LONGEST_NAME || !name.is_ascii() {
            return None;
        }
        let mut after = self.copy()?;
        after.deallocate(Some(name));
        after.after_removal(Effects::default(), standing, rules)
    }

    /// Whether a transaction is open.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.open
    }

    fn copy(&self) -> Option<Journal> {
        memory::is_plenty(2 * self.bytes + 65_536).then(|| self.clone())
    }

    fn after_removal(
        mut self,
        effects: Effects,
        before: Standing,
        rules: &Rules,
    ) -> Option<Journal> {
        let ends = matches!(*effects.effects, [Effect::Commit | Effect::Rollback]);
        let after = match before {
            Standing::InTransaction | Standing::Failed if ends => Standing::Idle,
            Standing::Idle | Standing::InTransaction if !ends => before,
            // The server warns of an end without a transaction, and refuses all but an end in a failed one.
            _ => return None,
        };
        let sure = |effect: &Effect| self.is_sure(effect, before);
        if !effects.effects.iter().all(sure) {
            return None;
        }
        let outcome = Outcome {
            failed: false,
            rolled_back: false,
            before,
            after,
        };
        self.done(effects, outcome, rules);
        // In doubt the session is made again first, with all that it had.
        let can_be_made = self.opaque.is_none()
            && (ends && self.obstacle().is_none()
                || !ends && (before == Standing::Idle || self.can_begin_again(false).is_ok()));
        can_be_made.then_some(self)
    }

    /// Whether the server would take it for certain, and libpq knows no more of the session
    /// afterwards: what a server reports has a default that only the server knows.
    fn is_sure(&self, effect: &Effect, before: Standing) -> bool {
        let mut entries = self.entries.iter().chain(self.waiting());
        let mut has = |is_its: &dyn Fn(&Effect) -> bool| entries.any(is_its);
        let reported = |its: &Set| its.is_reported() || its.is_of_several();
        // What the end of the transaction may take back.
        let reports = || {
            self.waiting().any(|change| match change {
                // Until 15 a role changes `is_superuser`, which is reported.
                Effect::Set(its) => reported(its) || its.outlives_reset_all(),
                Effect::ResetAll(_) => true,
                _ => false,
            })
        };
        match effect {
            // Nothing can refuse it (`AbortTransaction` in xact.c), whatever the transaction did: what
            // it wrote in the parent's session is undone there, or done, and was never in this one. So
            // it is as if the transaction were begun here and rolled back. What it set is taken back
            // by the journal.
            Effect::Rollback => !reports(),
            // In a failed transaction it is a rollback.
            Effect::Commit if before == Standing::Failed => !reports(),
            // It promises that what the transaction wrote stays, and that is the parent's to say. So
            // none may have written, and the text of a read does not tell: a view or an operator may
            // call a function that writes (its server tells, `HAS_WRITTEN` in question.rs). But a
            // read of anything takes a snapshot first (`analyze_requires_snapshot`), and where none
            // was taken there were only `BEGIN`, `SET`, `SHOW`, `SAVEPOINT`, `PREPARE` and their
            // like, and calls of `set_config` alone. Nothing was written, so no
            // deferred constraint or trigger waits; `NOTIFY`, `LISTEN` and cursors are more than
            // reads (`can_begin_again`); without a snapshot nothing conflicts under serializable
            // (`GetSerializableTransactionSnapshot`). Nothing is left that `CommitTransaction` asks
            // and that may refuse.
            Effect::Commit => !self.has_snapshot() && !reports(),
            Effect::Deallocate(name) => {
                has(&|entry| matches!(entry, Effect::Prepare(its) if its.name == *name))
            }
            // `CLOSE ALL` is content with none.
            Effect::DeallocateAll
            | Effect::DropTemporaries
            | Effect::CloseCursor(None)
            | Effect::Unlisten(_)
            | Effect::UnlistenAll => true,
            // The server took the name before, so it is one that the client may set. `seed` can be set
            // and, since 16, not be reset (guc_tables.c, GUC_NO_RESET).
            Effect::Set(set) => {
                *set.name != *b"seed"
                    && !reported(set)
                    && !set.outlives_reset_all()
                    && has(&|entry| matches!(entry, Effect::Set(its) if its.name == set.name))
            }
            Effect::ResetAll(_) => {
                !has(&|entry| matches!(entry, Effect::Set(its) if reported(its)))
            }
            // It cannot be in a transaction.
            Effect::DiscardAll => {
                before == Standing::Idle
                    && !has(
                        &|entry| matches!(entry, Effect::Set(its) if reported(its) || its.outlives_reset_all()),
                    )
            }
            _ => false,
        }
    }

    // What is done.

    /// A command outside of a pipeline has ended.
    pub(crate) fn done(&mut self, effects: Effects, outcome: Outcome, rules: &Rules) {
        if effects.is_none() || self.opaque.is_some() {
            return;
        }
        let Effects {
            mut effects,
            statements,
        } = effects;
        let unknown = effects.iter().find_map(|effect| match effect {
            Effect::Opaque(reason) => Some(reason.clone()),
            _ => None,
        });
        if let Some(reason) = unknown {
            // Failed or not: a lock taken before the error is still held.
            return self.set_opaque(reason);
        }
        if outcome.failed {
            // Not all of it may have failed, and some of it may have been committed.
            for effect in &effects {
                match effect {
                    Effect::Redefine(name) => self.redefine(name.as_deref()),
                    // A lock taken before the error is still held.
                    Effect::Lock(key, shared) => self.lock(key.clone(), *shared),
                    Effect::AlterTemporary | Effect::MakeBesideTemporary => {
                        self.apply(effect.clone());
                    }
                    _ => {}
                }
            }
            if outcome.after == Standing::Idle {
                self.commit_cursors(&effects);
            }
            self.not_prepared(&effects);
            // Before it stands there: what its transaction redefined counts where that is rolled back.
            self.failed(&effects, statements, outcome);
            self.stands(outcome.after);
            return self.keep_within(rules.limit);
        }
        let ends = |effect: &Effect| matches!(effect, Effect::Commit | Effect::Rollback);
        if statements > 1 && outcome.before == Standing::Other && effects.iter().any(ends) {
            return self.set_opaque(Reason::TransactionUnseen);
        }
        // The server answers COMMIT in a failed transaction with ROLLBACK.
        let mut in_failed = outcome.before == Standing::Failed;
        for effect in &mut effects {
            match effect {
                Effect::Commit => {
                    let one_rolled_back = statements == 1 && outcome.rolled_back;
                    if core::mem::take(&mut in_failed) || one_rolled_back {
                        *effect = Effect::Rollback;
                    }
                }
                Effect::Rollback | Effect::RollbackTo(_) => in_failed = false,
                _ => {}
            }
        }
        let ended = effects.iter().any(ends);
        for effect in effects {
            self.apply(effect);
        }
        self.stands(outcome.after);
        match outcome.after {
            Standing::Idle => {
                if outcome.before != Standing::Idle && !ended && self.has_changes() {
                    return self.set_opaque(Reason::TransactionUnseen);
                }
                self.commit();
            }
            Standing::InTransaction | Standing::Failed => {}
            Standing::Other => self.set_opaque(Reason::StateUnknown),
        }
        self.keep_within(rules.limit);
    }

    fn stands(&mut self, after: Standing) {
        self.open = after != Standing::Idle;
        self.redefines &= self.open;
    }

    fn failed(&mut self, effects: &[Effect], statements: usize, outcome: Outcome) {
        let control = |effect: &Effect| {
            use Effect::*;
            matches!(
                effect,
                Begin(_)
                    | BeginInside
                    | Commit
                    | Rollback
                    | Savepoint { .. }
                    | Release(_)
                    | RollbackTo(_)
                    | SetTransaction(_)
                    | Reads
                    | More(_)
                    | Redefine(_)
                    | DropTemporary(_)
                    | DropTemporaries
                    | MakeBesideTemporary
                    | AlterTemporary
                    | CloseCursor(_)
            )
        };
        // Which of them were done is not known; nor, of one, whether it did something before it failed.
        self.unsure |= statements > 1;
        for effect in effects {
            match effect {
                Effect::Reads | Effect::More(_) => self.apply(effect.clone()),
                effect if effect.takes_snapshot() => self.apply(Effect::Reads),
                _ => {}
            }
        }
        if outcome.after == Standing::Idle {
            self.ended();
        }
        if statements > 1 {
            if !effects.iter().all(control) || self.has_changes() {
                self.set_opaque(Reason::BatchFailed);
            }
        } else if outcome.before != Standing::Failed
            && effects.iter().any(|effect| self.leaves_a_doubt(effect))
        {
            self.set_opaque(Reason::CustomSettingFailed);
        } else if effects.contains(&Effect::DiscardAll) && outcome.before == Standing::Idle {
            self.set_opaque(Reason::DiscardFailed);
        } else if outcome.after == Standing::Idle && outcome.before != Standing::Idle {
            // A deferred constraint, found at COMMIT.
            self.rollback(0);
        }
    }

    /// No transaction is open, or a new one: nothing of it has been done.
    fn ended(&mut self) {
        (self.more, self.unsure) = (None, false);
        let over = |step: &Pending| {
            matches!(
                step,
                Pending::Begin(_) | Pending::SetTransaction(_) | Pending::Snapshot
            )
        };
        self.pending.retain(|step| !over(step));
        self.recount_pending();
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            // Without its parameters the server refuses it.
            Effect::SetConfig(_) => self.set_opaque(Reason::SetConfigUnread),
            Effect::Begin(text) => self.wait(Pending::Begin(text)),
            Effect::BeginInside => self.unsure = true,
            Effect::SetTransaction(text) => self.wait(Pending::SetTransaction(text)),
            Effect::Reads if self.has_snapshot() => {}
            Effect::Reads => self.wait(Pending::Snapshot),
            Effect::More(by) => {
                self.more.get_or_insert(by);
            }
            Effect::Commit => self.commit(),
            Effect::Rollback => self.rollback(0),
            Effect::Savepoint { name, text } => self.wait(Pending::Savepoint { name, text }),
            Effect::Release(name) => match self.savepoint(&name) {
                Some(from) => {
                    let released = self.pending.split_off(from);
                    self.unsure |= released.iter().any(is_taken_back_by_release);
                    let stays = |step: &Pending| !matches!(step, Pending::Savepoint { .. });
                    self.pending.extend(released.into_iter().filter(stays));
                    self.recount_pending();
                }
                None => self.set_opaque(Reason::SavepointUnseen),
            },
            Effect::RollbackTo(name) => match self.savepoint(&name) {
                Some(from) => self.rollback(from + 1),
                None => {
                    self.set_opaque(Reason::SavepointUnseen);
                }
            },
            // Not transactional, and what it names may wait or count already.
            Effect::Unnamed => self.unnamed = self.unnamed_sent.take(),
            Effect::Deallocate(name) => self.deallocate(Some(&name)),
            Effect::DeallocateAll => self.deallocate(None),
            Effect::DiscardAll => self.discard_all(),
            Effect::Redefine(name) => self.redefine(name.as_deref()),
            Effect::CloseCursor(name) => {
                let its = |cursor: &Bytes| name.as_ref().is_none_or(|name| name == cursor);
                let bytes = &mut self.bytes;
                self.cursors.retain(|cursor| {
                    if its(cursor) {
                        *bytes = bytes.saturating_sub(cursor.len() + OVERHEAD);
                    }
                    !its(cursor)
                });
                self.pending.retain(|step| {
                    !matches!(step, Pending::Change(Effect::HoldCursor(cursor)) if its(cursor))
                });
                self.recount_pending();
            }
            Effect::MakeTemporary {
                name,
                on_commit_drop,
            } => {
                self.is_beside_temporaries &= self.may_have_temporaries();
                self.has_had_temporaries = true;
                self.redefine(Some(&name));
                self.wait(Pending::Change(Effect::MakeTemporary {
                    name,
                    on_commit_drop,
                }));
            }
            Effect::MakeBesideTemporary => {
                self.has_made = true;
                self.is_beside_temporaries |= self.may_have_temporaries();
            }
            // Whatever becomes of the transaction: nobody needs to know better.
            Effect::AlterTemporary => {
                if self.may_have_temporaries() {
                    self.make_temporary(Box::default());
                }
            }
            Effect::DropTemporary(_) if !self.may_have_temporaries() => {}
            Effect::DropTemporaries if !self.may_have_temporaries() => {}
            Effect::DropTemporaries => {
                self.redefine(None);
                self.wait(Pending::Change(Effect::DropTemporaries));
            }
            // No transaction's end gives them back (explicit-locking.html, "Advisory Locks").
            Effect::Lock(key, shared) => self.lock(key, shared),
            Effect::Unlock(key, shared) => {
                let its = (key, shared);
                if let Some(at) = self.locks.iter().position(|lock| *lock == its) {
                    self.locks.swap_remove(at);
                    self.bytes = self.bytes.saturating_sub(its.0.len() + OVERHEAD);
                }
            }
            Effect::UnlockAll => {
                let bytes: usize = self.locks.iter().map(|(key, _)| key.len() + OVERHEAD).sum();
                self.bytes = self.bytes.saturating_sub(bytes);
                self.locks.clear();
            }
            change => self.wait(Pending::Change(change)),
        }
    }

    /// A command has failed at its transaction's end: cursors that were kept for later by then are there
    /// (`PreCommit_Portals` in portalmem.c; another of them may fail, or what comes after it in
    /// `CommitTransaction`).
    fn commit_cursors(&mut self, effects: &[Effect]) {
        let cursors = self
            .waiting()
            .chain(effects)
            .filter_map(|effect| match effect {
                Effect::HoldCursor(name) => Some(name.clone()),
                _ => None,
            });
        for name in cursors.collect::<Vec<Bytes>>() {
            self.hold_cursor(name);
        }
    }

    fn hold_cursor(&mut self, name: Bytes) {
        self.bytes += name.len() + OVERHEAD;
        self.cursors.push(name);
    }

    fn make_temporary(&mut self, name: Bytes) {
        if !self.temporaries.contains(&name) {
            self.bytes += name.len() + OVERHEAD;
            self.temporaries.push(name);
        }
    }

    fn drop_temporaries(&mut self, name: Option<&[u8]>) {
        let bytes = &mut self.bytes;
        self.temporaries.retain(|its| {
            let goes = name.is_none_or(|name| name == &**its);
            if goes {
                *bytes = bytes.saturating_sub(its.len() + OVERHEAD);
            }
            !goes
        });
    }

    /// Temporary tables go with the transaction that ends here, and with them what depends on them.
    fn redefine_on_commit(&mut self) {
        let goes = |change: &Effect| match change {
            Effect::MakeTemporary {
                name,
                on_commit_drop: true,
            } => Some(name.clone()),
            _ => None,
        };
        for name in self.waiting().filter_map(goes).collect::<Vec<Bytes>>() {
            let name = (!self.is_beside_temporaries).then_some(name);
            self.redefine(name.as_deref());
        }
    }

    fn lock(&mut self, key: Bytes, shared: bool) {
        self.has_locked = true;
        self.bytes += key.len() + OVERHEAD;
        self.locks.push((key, shared));
    }

    fn savepoint(&self, name: &[u8]) -> Option<usize> {
        self.pending.iter().rposition(
            |step| matches!(step, Pending::Savepoint { name: its, .. } if **its == *name),
        )
    }

    fn commit(&mut self) {
        let mut local_before = false;
        self.redefine_on_commit();
        self.redefines = false;
        self.pending_bytes = 0;
        (self.more, self.unsure) = (None, false);
        for step in core::mem::take(&mut self.pending) {
            let Pending::Change(change) = step else {
                continue;
            };
            match change {
                Effect::Set(set) if set.local => {
                    local_before |= set.gives_meaning();
                    self.changes(&set);
                    if set.is_custom() {
                        self.leave_trace(set.name);
                    }
                }
                Effect::Prepare(_) if local_before => {
                    return self.set_opaque(Reason::PreparedUnderLocal);
                }
                change => self.enter(change),
            }
        }
    }

    /// Undoes what is pending from `from` on. `PREPARE` is not transactional.
    fn rollback(&mut self, from: usize) {
        let undone = self.pending.split_off(from.min(self.pending.len()));
        self.recount_pending();
        if from == 0 {
            (self.more, self.unsure) = (None, false);
        }
        let mut setting_before = false;
        let takes = |step: &Pending| match step {
            Pending::Snapshot => true,
            Pending::Change(change) => change.takes_snapshot(),
            _ => false,
        };
        // The transaction keeps it (`FirstSnapshotSet` in snapmgr.c).
        if from > 0 && undone.iter().any(takes) && !self.has_snapshot() {
            self.wait(Pending::Snapshot);
        }
        for mut step in undone {
            if let (true, Pending::Change(Effect::Prepare(prepared))) = (self.redefines, &mut step)
            {
                // Perhaps by what is as it was again.
                prepared.is_redefined = true;
            }
            match step {
                Pending::Change(Effect::Set(set)) => {
                    setting_before |= set.gives_meaning();
                    self.changes(&set);
                    if set.is_custom() {
                        self.leave_trace(set.name);
                    }
                }
                Pending::Change(Effect::ResetAll(_)) => {
                    setting_before = true;
                    self.changes_all();
                }
                Pending::Change(Effect::Prepare(_)) if setting_before => {
                    return self.set_opaque(Reason::PreparedUnderRolledBack);
                }
                Pending::Change(prepare @ Effect::Prepare(_)) if from > 0 => {
                    self.wait(Pending::Change(prepare));
                }
                Pending::Change(prepare @ Effect::Prepare(_)) => self.enter(prepare),
                _ => {}
            }
        }
    }

    /// A setting has changed, by itself or by the end of a transaction: what was
    /// read before must not depend on it.
    fn changes(&mut self, set: &Set) {
        if set.is_about_texts() && self.ambiguous {
            self.set_opaque(Reason::TextSetting);
        } else if set.is_about_constants() && self.prepared_texts().any(has_constants) {
            self.set_opaque(Reason::ConstantSetting);
        } else if let Some(reason) = set.misleads() {
            self.set_opaque(reason);
        }
    }

    /// All of those that are set have changed.
    fn changes_all(&mut self) {
        let sets = self.entries.iter().filter_map(|entry| match entry {
            Effect::Set(set) => Some(set.clone()),
            _ => None,
        });
        for set in sets.collect::<Vec<Set>>() {
            self.changes(&set);
        }
    }

    /// A custom setting that may now answer '' and not NULL.
    fn leaves_a_doubt(&self, effect: &Effect) -> bool {
        let Effect::Set(set) = effect else {
            return false;
        };
        let same = |entry: &Effect| matches!(entry, Effect::Set(its) if its.name == set.name);
        set.is_custom() && !self.traces.contains(&set.name) && !self.entries.iter().any(same)
    }

    fn leave_trace(&mut self, name: Bytes) {
        if !name.is_ascii() {
            return self.set_opaque(Reason::NotAscii);
        }
        if !self.traces.contains(&name) {
            self.bytes += name.len() + OVERHEAD;
            self.traces.push(name);
        }
    }

    /// One more than the last prepared statement's place: what is set after it
    /// may be set over, what is set before it gave it its meaning.
    fn after_prepared(&self) -> usize {
        self.entries
            .iter()
            .rposition(|entry| matches!(entry, Effect::Prepare(_)))
            .map_or(0, |place| place + 1)
    }

    /// What has been committed.
    fn enter(&mut self, change: Effect) {
        match &change {
            Effect::Set(set) => self.changes(set),
            Effect::ResetAll(_) => self.changes_all(),
            Effect::AlterDefaults(by) => self.set_opaque(Cause {
                reason: Reason::AlteredDefaults,
                detail: by,
            }),
            _ => {}
        }
        if self.opaque.is_some() {
            return;
        }
        let from = self.after_prepared();
        match &change {
            Effect::Set(set) if set.replaces() => {
                let name = set.name.clone();
                self.drop_entries(
                    from,
                    |entry| matches!(entry, Effect::Set(its) if its.name == name),
                );
            }
            Effect::ResetAll(_) => {
                let customs: Vec<Bytes> = self
                    .entries
                    .iter()
                    .skip(from)
                    .filter_map(|entry| match entry {
                        Effect::Set(set) if set.is_custom() => Some(set.name.clone()),
                        _ => None,
                    })
                    .collect();
                for name in customs {
                    self.leave_trace(name);
                }
                self.drop_entries(from, |entry| match entry {
                    Effect::Set(set) => !set.outlives_reset_all(),
                    Effect::ResetAll(_) => true,
                    _ => false,
                });
                if from == 0 {
                    return; // what a new session has
                }
            }
            Effect::Listen { channel, .. } => {
                let known = |entry: &Effect| matches!(entry, Effect::Listen { channel: its, .. } if its == channel);
                if channel.is_ascii() && self.entries.iter().any(known) {
                    return;
                }
            }
            Effect::Unlisten(channel) => {
                let channel = channel.clone();
                if !channel.is_ascii() {
                    return self.set_opaque(Reason::NotAscii);
                }
                return self.drop_entries(
                    0,
                    |entry| matches!(entry, Effect::Listen { channel: its, .. } if *its == channel),
                );
            }
            Effect::HoldCursor(name) => return self.hold_cursor(name.clone()),
            // In the order of its transaction: `IF NOT EXISTS` makes none where one stays.
            Effect::MakeTemporary { on_commit_drop, .. } if *on_commit_drop => return,
            Effect::MakeTemporary { name, .. } => return self.make_temporary(name.clone()),
            Effect::DropTemporary(name) => return self.drop_temporaries(Some(name)),
            Effect::DropTemporaries => return self.drop_temporaries(None),
            Effect::UnlistenAll => {
                return self.drop_entries(0, |entry| matches!(entry, Effect::Listen { .. }));
            }
            _ => {}
        }
        self.bytes += size_of_entry(&change);
        self.entries.push(change);
    }

    fn drop_entries(&mut self, from: usize, which: impl Fn(&Effect) -> bool) {
        let mut place = 0;
        let bytes = &mut self.bytes;
        self.entries.retain(|entry| {
            place += 1;
            let goes = place > from && which(entry);
            if goes {
                *bytes = bytes.saturating_sub(size_of_entry(entry));
            }
            !goes
        });
    }

    fn deallocate(&mut self, name: Option<&[u8]>) {
        let named = |entry: &Effect| matches!(entry, Effect::Prepare(its) if name.is_none_or(|name| *its.name == *name));
        self.drop_entries(0, named);
        self.pending
            .retain(|step| !matches!(step, Pending::Change(change) if named(change)));
        self.recount_pending();
        match name {
            Some(name) => self.forget_prepared(name),
            None => self.forget_all_prepared(),
        }
    }

    /// By the server's own definition (sql-discard.html), what is left of a
    /// session are its custom settings' traces.
    fn discard_all(&mut self) {
        // In a pipeline, what was prepared just before it is still pending.
        let pending = core::mem::take(&mut self.pending).into_iter();
        let pending = pending.filter_map(|step| match step {
            Pending::Change(change) => Some(change),
            _ => None,
        });
        for entry in core::mem::take(&mut self.entries)
            .into_iter()
            .chain(pending)
        {
            if let Effect::Set(set) = entry {
                if set.is_custom() {
                    self.leave_trace(set.name);
                }
            }
        }
        self.forget_all_prepared();
        self.unnamed = None;
        self.cursors.clear();
        self.locks.clear();
        self.temporaries.clear();
        self.pending_bytes = 0;
        let kept = self
            .traces
            .iter()
            .chain(&self.functions)
            .chain(&self.routines);
        self.bytes = kept.map(|name| name.len() + OVERHEAD).sum();
    }

    fn forget_all_prepared(&mut self) {
        let names = self.prepared.keys();
        let bytes: usize = names.map(|name| name.len() + OVERHEAD).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        self.last_harmless = None;
        self.unnamed_does = None;
        self.prepared.clear();
    }

    fn recount_pending(&mut self) {
        self.pending_bytes = self.pending.iter().map(size_of_pending).sum();
    }

    fn wait(&mut self, step: Pending) {
        self.pending_bytes += size_of_pending(&step);
        self.pending.push(step);
    }

    fn keep_within(&mut self, limit: usize) {
        if self.bytes + self.pending_bytes > limit {
            self.set_opaque(Reason::JournalFull);
        }
    }

    // Pipelines.

    /// A command was sent in a pipeline.
    pub(crate) fn sent_in_pipeline(&mut self, effects: Effects) {
        self.send(Sent::Command(effects));
    }

    /// A sync was sent.
    pub(crate) fn sent_sync(&mut self) {
        self.send(Sent::Sync);
    }

    fn send(&mut self, sent: Sent) {
        if self.opaque.is_some() {
        } else if self.pipeline.sent.try_reserve(1).is_ok() {
            self.pipeline.sent.push_back(sent);
        } else {
            self.set_opaque(Reason::NoMemory);
        }
    }

    /// A result in a pipeline that is no sync.
    pub(crate) fn result_in_pipeline(&mut self, failed: bool, rolled_back: bool) {
        let pipeline = &mut self.pipeline;
        pipeline.any_result = true;
        pipeline.failed |= failed;
        pipeline.rolled_back |= rolled_back;
    }

    /// The results of the pipeline's first command are all read.
    pub(crate) fn end_in_pipeline(&mut self) {
        let pipeline = &mut self.pipeline;
        if !core::mem::take(&mut pipeline.any_result) {
            return;
        }
        let failed = core::mem::take(&mut pipeline.failed);
        let rolled_back = core::mem::take(&mut pipeline.rolled_back);
        match pipeline.sent.pop_front() {
            Some(Sent::Command(Effects { mut effects, .. })) => {
                for effect in &mut effects {
                    if rolled_back && *effect == Effect::Commit {
                        *effect = Effect::Rollback;
                    }
                }
                pipeline.segment_failed |= failed;
                pipeline.succeeded.append(&mut effects);
            }
            _ if self.opaque.is_some() => {}
            _ => self.set_opaque(Reason::PipelineUnmatched),
        }
    }

    /// A sync was answered.
    pub(crate) fn sync_in_pipeline(&mut self, after: Standing, rules: &Rules) {
        if self.opaque.is_some() {
            return;
        }
        match self.pipeline.sent.pop_front() {
            Some(Sent::Sync) => {}
            _ => return self.set_opaque(Reason::PipelineUnmatched),
        }
        let effects = core::mem::take(&mut self.pipeline.succeeded);
        let failed = core::mem::take(&mut self.pipeline.segment_failed);
        let before = if self.open {
            Standing::InTransaction
        } else {
            Standing::Idle
        };
        // libpq says nothing while more of the pipeline is to be read.
        let ends = |effect: &Effect| {
            matches!(
                effect,
                Effect::Begin(_) | Effect::BeginInside | Effect::Commit | Effect::Rollback
            )
        };
        let after = match after {
            Standing::Other if !effects.iter().any(ends) => before,
            after => after,
        };
        let outcome = Outcome {
            failed,
            rolled_back: false,
            before,
            after,
        };
        // A segment fails as a text of several statements does.
        let effects = Effects {
            effects,
            statements: 2,
        };
        self.done(effects, outcome, rules);
    }

    /// The pipeline mode was left.
    pub(crate) fn left_pipeline(&mut self) {
        if self.opaque.is_none() && !self.pipeline.sent.is_empty() {
            self.set_opaque(Reason::PipelineLeft);
        }
    }
}

/// Whether the release of a savepoint may undo it: `CommitSubTransaction` (xact.c) puts back whether
/// the transaction may write, as no other setting. `SET CONSTRAINTS` stays.
fn is_taken_back_by_release(step: &Pending) -> bool {
    match step {
        Pending::Begin(_) => true,
        Pending::SetTransaction(text) => text
            .windows(11)
            .any(|word| word.eq_ignore_ascii_case(b"transaction")),
        _ => false,
    }
}

fn size_of_pending(step: &Pending) -> usize {
    match step {
        Pending::Begin(text) | Pending::SetTransaction(text) => OVERHEAD + text.len(),
        Pending::Snapshot => OVERHEAD,
        Pending::Savepoint { name, text } => OVERHEAD + name.len() + text.len(),
        Pending::Change(change) => size_of_entry(change),
    }
}

fn size_of_entry(entry: &Effect) -> usize {
    OVERHEAD
        + match entry {
            Effect::Set(set) => {
                let sizes = set
                    .parameters
                    .iter()
                    .map(|kept| OVERHEAD + kept.value.as_ref().map_or(0, |value| value.len()));
                set.name.len() + set.text.len() + sizes.sum::<usize>()
            }
            Effect::ResetAll(text) => text.len(),
            Effect::HoldCursor(name)
            | Effect::MakeTemporary { name, .. }
            | Effect::DropTemporary(name) => name.len(),
            Effect::Listen { channel, text } => channel.len() + text.len(),
            Effect::Prepare(prepared) => {
                prepared.name.len()
                    + prepared.text.len()
                    + prepared.types.as_ref().map_or(0, |types| 4 * types.len())
            }
            _ => 0,
        }
}
