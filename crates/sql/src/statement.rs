//! What a statement does, as the reader says it.

use super::name::Name;
use super::reason::Cause;
use super::set_config::SetConfig;
use super::temporary::Temporaries;
use super::trusted::Trusted;

/// How the server reads the text.
#[derive(Clone, Copy)]
pub struct Mode<'a> {
    /// The session's setting of that name. A text that changes it is still cut with the value
    /// of its beginning: the server cuts the whole text before it runs any of it.
    pub standard_conforming_strings: bool,
    /// False for client encodings whose later bytes may be ASCII (SJIS, BIG5, GBK, UHC,
    /// GB18030, JOHAB, SHIFT_JIS_2004): there a byte from 0x80 makes the text opaque.
    pub ascii_safe: bool,
    /// The server's major version: the names of its own functions change with it. 0 where it is not known.
    pub server: u16,
    /// Functions that the user vouches for.
    pub trusted: &'a Trusted,
}

/// One statement of a text.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// From its first token to its last: no semicolon, no comments around it.
    pub text: &'a [u8],
    /// What it does.
    pub what: What<'a>,
    /// What it may do to the meaning of other statements, besides.
    pub redefines: Redefines<'a>,
    /// What it does to the transaction that it runs in, where that was asked for
    /// ([`crate::Statements::in_transaction`]).
    pub touch: Touch<'a>,
    /// It calls a function that is harmless because the user says so.
    pub vouched: bool,
    /// Functions that it calls and that nothing is known of. In a transaction they may do anything.
    pub calls: Calls<'a>,
    /// What it may do to functions.
    pub routines: Routines<'a>,
    /// What it does to temporary tables, views and sequences.
    pub temporary: Temporaries<'a>,
}

/// What a statement leaves behind in its transaction, beside what [`What`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch<'a> {
    /// Nothing: the server does not even take a snapshot for it.
    Nothing,
    /// A snapshot, and weak locks on what it reads.
    Reads,
    /// Something that another transaction would not have, by this word: a change, a lock, a cursor, or
    /// the program may know of it what only this transaction has, its identity or its time.
    More(&'a [u8]),
}

/// Names of functions, as written: without their schemas.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Calls<'a> {
    names: [&'a [u8]; 6],
    count: usize,
}

impl<'a> Calls<'a> {
    /// False: there is no room for one more.
    pub(crate) fn add(&mut self, name: &'a [u8]) -> bool {
        if self.written().any(|known| known == name) {
            return true;
        }
        let Some(place) = self.names.get_mut(self.count) else {
            return false;
        };
        *place = name;
        self.count += 1;
        true
    }

    /// As they are written.
    pub(crate) fn written(&self) -> impl Iterator<Item = &'a [u8]> {
        self.names.into_iter().take(self.count)
    }

    /// As the server knows them; nothing for one that is in doubt.
    pub fn names(&self) -> impl Iterator<Item = Option<Name<'a>>> {
        self.written().map(Name::written)
    }
}

/// What a statement does to functions that others call.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Routines<'a> {
    /// Nothing.
    Same,
    /// It makes one of this name, or puts another in its place.
    Made(Name<'a>),
    /// It may drop any.
    Dropped,
}

/// What a statement makes, changes or drops that others name: tables, types, functions, …. The types
/// that the server infers for the parameters and columns of a statement are those of its moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Redefines<'a> {
    /// Nothing that has to do with types.
    Nothing,
    /// One thing of this name that was not there, or goes with nothing else: only what names it
    /// can mean something else. (What comes with a table has its name within its own.)
    Named(Name<'a>),
    /// Anything.
    Anything,
}

/// A session's advisory lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lock<'a> {
    /// Its key, as it stands in the text. Another spelling may be the same key.
    pub key: &'a [u8],
    /// Shared.
    pub shared: bool,
}

/// What becomes of a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// It gets a value.
    Given,
    /// `DEFAULT`, or `RESET`.
    Default,
}

/// What a statement does to its session.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum What<'a> {
    /// Nothing that outlives its transaction.
    Harmless,
    /// `BEGIN`, `START TRANSACTION`.
    Begin,
    /// `COMMIT`, `END`; with `AND CHAIN` a new transaction is open after it.
    Commit,
    /// `ROLLBACK`, `ABORT`; with `AND CHAIN` a new transaction is open after it.
    Rollback,
    /// `SET TRANSACTION`, `SET CONSTRAINTS`: for its transaction only.
    SetTransaction,
    /// `SAVEPOINT`
    Savepoint(Name<'a>),
    /// `RELEASE SAVEPOINT`
    Release(Name<'a>),
    /// `ROLLBACK TO SAVEPOINT`
    RollbackTo(Name<'a>),
    /// `PREPARE TRANSACTION`
    PrepareTransaction,
    /// `SET` and `RESET` in all their forms, and `SELECT set_config(…)` with plain constants.
    Set {
        /// The setting: `SET TIME ZONE` is `timezone`. Compare with [`Name::is_setting`].
        name: Name<'a>,
        /// For the transaction only.
        local: bool,
        /// What it becomes.
        value: Value,
    },
    /// `SELECT set_config(…), …` with other constants, with parameters, or more than once.
    SetConfig(SetConfig<'a>),
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION …`: which of `default_transaction_isolation`,
    /// `default_transaction_read_only` and `default_transaction_deferrable` it sets.
    SetCharacteristics {
        /// `ISOLATION LEVEL …`
        isolation: bool,
        /// `READ ONLY`, `READ WRITE`
        read_only: bool,
        /// `[NOT] DEFERRABLE`
        deferrable: bool,
        /// `SET LOCAL SESSION CHARACTERISTICS` is grammatical, and means it.
        local: bool,
    },
    /// `RESET ALL`
    ResetAll,
    /// `PREPARE`, its body harmless.
    Prepare {
        /// The statement's name.
        name: Name<'a>,
        /// What stands behind `AS`.
        body: &'a [u8],
    },
    /// `EXECUTE`, also in `EXPLAIN EXECUTE` and `CREATE TABLE … AS EXECUTE`: as harmless as
    /// what was prepared under the name.
    Execute {
        /// The statement's name.
        name: Name<'a>,
    },
    /// `DEALLOCATE`
    Deallocate(Name<'a>),
    /// `DEALLOCATE ALL`
    DeallocateAll,
    /// `LISTEN`
    Listen(Name<'a>),
    /// `UNLISTEN`
    Unlisten(Name<'a>),
    /// `UNLISTEN *`
    UnlistenAll,
    /// `DISCARD ALL`
    DiscardAll,
    /// `DISCARD PLANS`, `SEQUENCES`, `TEMP`
    DiscardOther,
    /// `DECLARE … WITH HOLD`, otherwise harmless: there until it is closed, unless its transaction
    /// is rolled back.
    HoldCursor(Name<'a>),
    /// `CLOSE`, which no rollback undoes (sql-rollback-to.html, "Notes"); without a name, `CLOSE ALL`.
    CloseCursor(Option<Name<'a>>),
    /// `SELECT pg_advisory_lock(…)` and its kin, of constant integers: the call as it is written,
    /// without what tells taking from giving back. It may fail and be there all the same.
    Lock(Lock<'a>),
    /// `SELECT pg_advisory_unlock(…)`
    Unlock(Lock<'a>),
    /// `SELECT pg_advisory_unlock_all()`
    UnlockAll,
    /// `COPY` from or to the client, otherwise harmless.
    Copy,
    /// `ALTER ROLE … SET`, `ALTER DATABASE … SET`, and the like with `RESET`: what the new sessions of this
    /// role in this database begin with. Nothing else, whoever they are of.
    Defaults {
        /// The role; without one, any.
        role: Option<Name<'a>>,
        /// The database; without one, any.
        database: Option<Name<'a>>,
        /// The word for its kind.
        by: &'a [u8],
    },
    /// `ALTER ROLE … RENAME`, `DROP ROLE`, and the like with `USER` and `GROUP`: a name may be another
    /// role's from then on, or nobody's. Nothing else.
    Roles {
        /// Its first word.
        by: &'a [u8],
    },
    /// It may change the session in ways that cannot be told, or cannot be repeated.
    Opaque(Cause<'a>),
}
