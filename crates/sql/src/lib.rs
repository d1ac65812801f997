//! What a statement does to its *session*, told from its text alone. Pure.
//!
//! A forked child's new session must equal its parent's, so what the parent's statements did
//! to it must be known. This crate cuts a query text into statements as the server does
//! ([`lexer`]), and says of each what it means for the session ([`grammar`]): nothing, a
//! setting, a prepared statement, …, or [`What::Opaque`], which is the answer to every doubt.
//! It runs on every query of the host: no allocation, no recursion, no panic.
//!
//! It need not know SQL: a text that the server refuses does nothing. So whatever is not
//! grammatical may be read in any way, and what *is* must never be taken for less than it does.
//! For queries that leaves one question: which functions do they call? A name before `(` is a
//! call, unless the place says that no call can stand there ([`calls`]).
//!
//! What no text shows: triggers, views, rules, operators, casts, column defaults, checks, domains and
//! policies of the user, a function of the user's that has a built-in's name, and one called as
//! `row.function`.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod calls;
mod functions;
mod grammar;
mod lexer;
mod name;
mod reason;
pub mod removal;
mod set_config;
mod temporary;
mod trusted;
mod words;

#[cfg(test)]
mod tests;

pub use name::Name;
pub use reason::{Cause, Reason, LONGEST_NAME};
pub use set_config::{doubt, Argument, Call, SetConfig};
pub use temporary::Temporaries;
pub use trusted::Trusted;

use lexer::Lexer;

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
    /// ([`Statements::in_transaction`]).
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
    fn add(&mut self, name: &'a [u8]) -> bool {
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
    fn written(&self) -> impl Iterator<Item = &'a [u8]> {
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

/// Whether a text is one plain query, told by its bytes alone: `SELECT` without a parenthesis, a
/// quote, a comment or a second statement calls no function, and without `INTO` and `temp` it makes
/// nothing. Most of what a busy program sends; the reader says the same of it, in ten times as long.
pub fn is_plain_select(text: &[u8]) -> bool {
    is_plain::<false>(text)
}

/// The same, and that it only reads ([`Touch::Reads`]): no `FOR UPDATE`, no time of its transaction.
pub fn is_plain_read(text: &[u8]) -> bool {
    is_plain::<true>(text)
}

fn is_plain<const READ: bool>(text: &[u8]) -> bool {
    const PLAIN: u8 = 1;
    const BEGINS: u8 = 2; // a word that a plain query has not may begin here
    const LAST: u8 = 3; // may stand at the end
    const PARAMETER: u8 = 4;
    const BEGINS_MORE: u8 = 5; // a word that a plain read has not may begin here
    const CLASS: [u8; 256] = {
        let mut class = [0; 256];
        let mut byte = b'a';
        while byte <= b'z' {
            class[byte as usize] = PLAIN;
            class[byte.to_ascii_uppercase() as usize] = PLAIN;
            byte += 1;
        }
        let mut digit = b'0';
        while digit <= b'9' {
            class[digit as usize] = PLAIN;
            digit += 1;
        }
        let others = b" \t\n\r_,.=<>*+%";
        let mut place = 0;
        while place < others.len() {
            class[others[place] as usize] = PLAIN;
            place += 1;
        }
        class[b'i' as usize] = BEGINS;
        class[b'I' as usize] = BEGINS;
        class[b't' as usize] = BEGINS;
        class[b'T' as usize] = BEGINS;
        let more = b"cflpCFLP";
        place = 0;
        while place < more.len() {
            class[more[place] as usize] = BEGINS_MORE;
            place += 1;
        }
        class[b';' as usize] = LAST;
        class[b'$' as usize] = PARAMETER;
        class
    };
    let Some((first, rest)) = text.split_at_checked(7) else {
        return false;
    };
    if !first.eq_ignore_ascii_case(b"select ") {
        return false;
    }
    for (place, byte) in rest.iter().enumerate() {
        let plain = match CLASS[usize::from(*byte)] {
            PLAIN => true,
            BEGINS => !rest.get(place..place + 4).is_some_and(|word| {
                word.eq_ignore_ascii_case(b"into") || word.eq_ignore_ascii_case(b"temp")
            }),
            BEGINS_MORE => {
                // `current_…`, `for …`, `local…`, `pg_…`; also within a word: then the reader looks.
                !READ
                    || !rest.get(place..place + 4).is_some_and(|word| {
                        word.eq_ignore_ascii_case(b"curr")
                            || word.eq_ignore_ascii_case(b"loca")
                            || matches!(word, [b'f' | b'F', b'o' | b'O', b'r' | b'R', behind] if behind.is_ascii_whitespace())
                            || matches!(word, [b'p' | b'P', b'g' | b'G', b'_', _])
                    })
            }
            LAST => place + 1 == rest.len(),
            PARAMETER => rest.get(place + 1).is_some_and(u8::is_ascii_digit),
            _ => false,
        };
        if !plain {
            return false;
        }
    }
    true
}

/// The statements of a query text. `text` ends where the server's ends: before the NUL.
pub fn read<'a>(text: &'a [u8], mode: &Mode<'a>) -> Statements<'a> {
    Statements {
        text,
        lexer: Lexer::new(text, mode.standard_conforming_strings),
        mode: *mode,
        // Such a text cannot even be cut.
        cannot_cut: !mode.ascii_safe && !text.is_ascii(),
        in_transaction: false,
    }
}

/// Iterates over the statements of a text; empty ones are left out.
pub struct Statements<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    mode: Mode<'a>,
    cannot_cut: bool,
    in_transaction: bool,
}

impl Statements<'_> {
    /// A transaction may be open: [`Statement::touch`] is asked for. From a `BEGIN` on it always is.
    pub fn in_transaction(mut self, may_be: bool) -> Self {
        self.in_transaction |= may_be;
        self
    }
}

impl<'a> Iterator for Statements<'a> {
    type Item = Statement<'a>;

    fn next(&mut self) -> Option<Statement<'a>> {
        if self.cannot_cut {
            self.cannot_cut = false;
            let text = core::mem::take(&mut self.text);
            self.lexer = Lexer::new(text.get(..0)?, true);
            let what = What::Opaque(Reason::HiddenAscii.into());
            return Some(Statement {
                text,
                what,
                redefines: Redefines::Nothing,
                calls: Calls::default(),
                routines: Routines::Same,
                temporary: Temporaries::Same,
                touch: Touch::More(b""),
                vouched: false,
            });
        }
        let statement =
            grammar::statement(self.text, &mut self.lexer, &self.mode, self.in_transaction)?;
        self.in_transaction |= statement.what == What::Begin;
        Some(statement)
    }
}
