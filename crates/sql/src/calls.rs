//! Which functions a statement calls: those of PostgreSQL, by table, and the places where a
//! name before `(` is no call.

use super::functions::{GRAMMAR, HARMLESS, KEYWORDS, METHODS, MORE_THAN_READ, NOT_HARMLESS};
use super::lexer::{Kind, Lexer, Token};
use super::words::{self, Word};

/// A set of names, hashed when compiled. Behind a name that some versions do not have stand those that
/// do: `name:14-16`, `name:16-`, `name:-14`.
struct Names<const SLOTS: usize> {
    text: &'static str,
    /// A name's place in the text and its length; 0 is free.
    slots: [(u16, u8); SLOTS],
}

impl<const SLOTS: usize> Names<SLOTS> {
    #[allow(long_running_const_eval)] // 36 KB of names
    const fn new(text: &'static str) -> Self {
        let bytes = text.as_bytes();
        let mut slots = [(0, 0); SLOTS];
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            let mut ends = (0u64, 0u64);
            while at < bytes.len() && !matches!(bytes[at], b' ' | b'\n' | b':') {
                let byte = (bytes[at] | 0x20) as u64;
                if at - start < 8 {
                    ends.0 |= byte << (8 * (at - start));
                }
                ends.1 = ends.1 << 8 | byte;
                at += 1;
            }
            if at > start {
                let mut slot = Self::slot(ends.0, ends.1.swap_bytes(), at - start);
                while slots[slot].1 != 0 {
                    slot = (slot + 1) % SLOTS;
                }
                assert!(start <= u16::MAX as usize && at - start <= u8::MAX as usize);
                slots[slot] = (start as u16, (at - start) as u8);
            }
            while at < bytes.len() && !matches!(bytes[at], b' ' | b'\n') {
                at += 1;
            }
            at += 1;
        }
        Names { text, slots }
    }

    /// From the first eight bytes and the last: names of PostgreSQL begin alike, or end so.
    const fn slot(first: u64, last: u64, length: usize) -> usize {
        let mixed = (first ^ length as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ last.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize % SLOTS
    }

    /// Whether any version's set holds the name, written without quotes.
    fn holds(&self, name: &[u8]) -> bool {
        self.versions(name).is_some()
    }

    /// Whether the set of a server of this version holds it.
    fn holds_in(&self, server: u16, name: &[u8]) -> bool {
        self.versions(name)
            .is_some_and(|written| is_among(server, written))
    }

    /// What stands behind the name: the versions that have it, or nothing for all.
    fn versions(&self, name: &[u8]) -> Option<&'static [u8]> {
        let length = name.len();
        let first = words::head(name, 0, length);
        let last = if length < 8 {
            // As the loop above leaves it: the bytes at the end, zeroes before.
            first << (8 * (8 - length))
        } else {
            words::head(name, length - 8, 8)
        };
        let mut slot = Self::slot(first, last, length);
        loop {
            let Some(&(start, known)) = self.slots.get(slot) else {
                slot = 0;
                continue;
            };
            if known == 0 {
                return None;
            }
            if usize::from(known) == length {
                let (start, end) = (usize::from(start), usize::from(start) + length);
                let known = self.text.as_bytes().get(start..end);
                if known.is_some_and(|known| known.eq_ignore_ascii_case(name)) {
                    return self.text.as_bytes().get(end..);
                }
            }
            slot += 1;
        }
    }
}

/// Whether a version is one of those that begin a text (see [`Names`]): all are where it begins with none.
fn is_among(server: u16, text: &[u8]) -> bool {
    let Some(b':') = text.first() else {
        return true;
    };
    let (mut first, mut last, mut behind) = (0u16, 0u16, false);
    for byte in text.iter().skip(1) {
        let part = if behind { &mut last } else { &mut first };
        match byte {
            b'-' => behind = true,
            b'0'..=b'9' => {
                *part = part
                    .saturating_mul(10)
                    .saturating_add(u16::from(byte - b'0'))
            }
            _ => break,
        }
    }
    // Whose version is not known has none of them.
    server > 0 && first <= server && (last == 0 || server <= last)
}

// Names are under two thirds of the slots: chains stay short.
static HARMLESS_NAMES: Names<4096> = Names::new(HARMLESS);
static NOT_HARMLESS_NAMES: Names<512> = Names::new(NOT_HARMLESS);
static MORE_NAMES: Names<128> = Names::new(MORE_THAN_READ);
static GRAMMAR_NAMES: Names<32> = Names::new(GRAMMAR);
static METHOD_NAMES: Names<8> = Names::new(METHODS);
static KEYWORD_NAMES: Names<1024> = Names::new(KEYWORDS);

/// A name as the tables have it: a quoted one without its quotes, if that is the same name.
fn plain(name: &[u8]) -> Option<&[u8]> {
    match name.strip_prefix(b"\"") {
        None => Some(name),
        Some(rest) => rest.strip_suffix(b"\"").filter(|name| {
            !name
                .iter()
                .any(|byte| *byte == b'"' || byte.is_ascii_uppercase())
        }),
    }
}

/// Whether this server has a function of that name of its own, and it leaves the session alone. One that only
/// others have can be nothing but the user's here.
pub fn harmless(server: u16, name: &[u8]) -> bool {
    plain(name).is_some_and(|name| !name.is_empty() && HARMLESS_NAMES.holds_in(server, name))
}

/// Whether the name and its parenthesis are grammar to this server, as `json_array (…)` is: a name with
/// quotes or a schema is always a function's.
pub fn is_grammar(server: u16, name: &[u8]) -> bool {
    GRAMMAR_NAMES.holds_in(server, name)
}

/// Whether it is a method of `TABLESAMPLE`: behind that word no function of the user's can stand.
pub fn is_method(name: &[u8]) -> bool {
    plain(name).is_some_and(|name| METHOD_NAMES.holds(name))
}

/// Whether PostgreSQL's function of that name, which leaves the session alone, may leave more behind in
/// its transaction than a read does, or tell of the transaction itself.
pub fn more_than_reads(name: &[u8]) -> bool {
    plain(name).is_none_or(|name| name.is_empty() || MORE_NAMES.holds(name))
        || mentions_statistics(name)
}

/// Statistics are kept for the transaction once they are read (monitoring-stats.html), and tell when it
/// began.
pub fn mentions_statistics(name: &[u8]) -> bool {
    name.windows(7)
        .any(|part| part.eq_ignore_ascii_case(b"pg_stat"))
}

/// Whether it is this server's own function, and not harmless.
pub fn known_not_harmless(server: u16, name: &[u8]) -> bool {
    plain(name).is_some_and(|name| !name.is_empty() && NOT_HARMLESS_NAMES.holds_in(server, name))
}

/// Whether it is `set_config`.
pub fn is_set_config(name: &[u8]) -> bool {
    plain(name).is_some_and(|name| name.eq_ignore_ascii_case(b"set_config"))
}

/// Whether a word without quotes is a key word of some version.
pub fn keyword(word: &[u8]) -> bool {
    KEYWORD_NAMES.holds(word)
}

/// What kind of text is read: it decides where calls can stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// A query, a change of data, or a definition with expressions in it.
    Query,
    /// `CREATE TABLE`
    Table,
    /// `CREATE INDEX`
    Index,
    /// `CREATE TRIGGER`
    Trigger,
    /// `COPY`
    Copy,
    /// No expression stands in it.
    NoCalls,
}

/// A name and the `(` behind it.
pub struct Place<'a> {
    /// Behind the `(`.
    pub lexer: Lexer<'a>,
    pub text: &'a [u8],
    pub body: Body,
    /// How many parentheses are open around the name.
    pub depth: u32,
    /// No parenthesis has been opened in the statement.
    pub first_open: bool,
    /// The name's last part, and whether it is the only one.
    pub name: Token,
    pub alone: bool,
    /// What stands before the name, and before that.
    pub before: Token,
    pub before2: Kind,
    /// If `before` is `)`: an expression may begin behind it.
    pub before_is_operator: bool,
}

impl Place<'_> {
    /// Whether a call can stand here. Where PostgreSQL's grammar leaves it open, it can.
    #[cold]
    pub fn is_call(&self) -> bool {
        use Kind::{Close, CloseBracket, Number, Parameter, Quoted, String};
        use Word::*;
        let before = match self.before.kind {
            // No expression begins behind one that has ended: an alias with its columns, a type
            // with its modifiers, OVER, FILTER, INCLUDE, SET, JOIN, …
            Quoted | String | Number | Parameter | CloseBracket => return false,
            Close => return self.before_is_operator,
            Kind::Word(Other) => {
                let word = self.text.get(self.before.start..self.before.end);
                // WITH ORDINALITY is followed by an alias with its columns.
                return word
                    .is_none_or(|word| keyword(word) && !word.eq_ignore_ascii_case(b"ordinality"));
            }
            Kind::Word(word) => word,
            _ => Other,
        };
        match (self.before2, before) {
            // A name with its columns, or a type.
            (
                _,
                As | Copy | Exists | Into | Of | Recursive | References | Table | Type | View
                | With,
            ) => {
                return false;
            }
            (_, Binary) if self.body == Body::Copy => return false,
            (_, On | Only | Using) if self.body == Body::Index && self.first_open => return false,
            (Kind::Word(Exclude), Using) => return false,
            (Kind::Word(Partition), By) if self.body == Body::Table && self.depth == 0 => {
                return false;
            }
            (_, Function | Procedure) if self.body == Body::Trigger => return false,
            _ => {}
        }
        let Kind::Word(name) = self.name.kind else {
            return !self.is_cte();
        };
        if !self.alone {
            return true;
        }
        let syntax = match (name, before) {
            (By, Group | Order | Partition)
            | (Join, Cross | Full | Inner | Left | Natural | Outer | Right)
            | (Key, Primary | Foreign)
            | (Set, Update)
            | (Sets, Grouping)
            | (Varying, Bit | Char | Character | Nchar)
            | (Zone, Time) => true,
            (Materialized, Not) => self.before2 == Kind::Word(As),
            (Cube | Rollup, By) => self.before2 == Kind::Word(Group),
            (Conflict, On) => self.behind().is(Do),
            (Insert, Then) => {
                let behind = self.behind();
                behind.is(Values) || behind.is(Overriding)
            }
            _ => false,
        };
        !(syntax || self.is_cte())
    }

    /// Whether it is a `WITH` query's name with its columns: behind a function's column
    /// definitions, `AS (` is followed by a name, which these words are not, or not alone.
    fn is_cte(&self) -> bool {
        use Word::*;
        let mut next = self.behind();
        if !self.alone || !next.is(As) {
            return false;
        }
        next.bump();
        if next.is(Not) {
            next.bump();
        }
        if next.is(Materialized) {
            next.bump();
        }
        if next.token.kind != Kind::Open {
            return false;
        }
        next.bump();
        match next.token.kind {
            Kind::Word(Select | With | Table) => true,
            Kind::Word(Values) => next.bump().kind == Kind::Open,
            Kind::Word(Insert | Merge) => next.bump().kind == Kind::Word(Into),
            Kind::Word(Delete) => next.bump().kind == Kind::Word(From),
            Kind::Word(Update) => {
                next.bump();
                next.bump().kind == Kind::Word(Set)
            }
            _ => false,
        }
    }

    /// What stands behind the closing parenthesis.
    fn behind(&self) -> Ahead<'_> {
        let mut lexer = self.lexer;
        let mut depth = 1u32;
        loop {
            let token = lexer.token();
            match token.kind {
                Kind::Open => depth = depth.saturating_add(1),
                Kind::Close => depth -= 1,
                Kind::End | Kind::Lost => return Ahead { lexer, token },
                _ => {}
            }
            if depth == 0 {
                let token = lexer.token();
                return Ahead { lexer, token };
            }
        }
    }
}

/// A look ahead.
struct Ahead<'a> {
    lexer: Lexer<'a>,
    token: Token,
}

impl Ahead<'_> {
    fn is(&self, word: Word) -> bool {
        self.token.kind == Kind::Word(word)
    }

    fn bump(&mut self) -> Token {
        self.token = self.lexer.token();
        self.token
    }
}
