//! Temporary tables, views and sequences: which of them a statement makes, and which it drops.
//!
//! Only these three are followed, by their names: they share one space of names, `pg_temp`, which is
//! searched first unless the search path names it (then its session is lost). What belongs to one goes
//! with it: indexes, constraints, a `serial` column's sequence, partitions, row types. What else is made
//! in `pg_temp` (a function, a type) makes the session lost.

use super::lexer::{Kind, Lexer};
use super::name::Name;
use super::words::Word;

/// What a statement does to temporary tables, views and sequences.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Temporaries<'a> {
    /// Nothing.
    Same,
    /// It makes one of this name, unless there is one (`IF NOT EXISTS`).
    Made {
        /// Its name.
        name: Name<'a>,
        /// It goes with the transaction that makes it (`ON COMMIT DROP`).
        on_commit_drop: bool,
    },
    /// It makes or changes something else that may depend on one. (So may a view that is not said to be
    /// temporary: it is, but cannot outlive what it looks at.)
    Beside,
    /// It may give one another name, or take something out of it.
    Altered,
    /// `DROP` of those that have these names.
    Dropped(Dropped<'a>),
    /// `DISCARD TEMP`: all are dropped.
    Discarded,
}

/// The names behind `DROP TABLE`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Dropped<'a> {
    text: &'a [u8],
    standard_strings: bool,
}

impl<'a> Dropped<'a> {
    /// Those that are certainly temporary, if there is such a thing.
    pub fn names(self) -> impl Iterator<Item = Name<'a>> {
        let mut reader = Reader::new(self.text, self.standard_strings);
        let mut more = true;
        core::iter::from_fn(move || loop {
            if !core::mem::take(&mut more) {
                return None;
            }
            let name = reader.name()?;
            more = reader.take(Kind::Comma);
            if let In::Temporary(name) | In::Path(name) = name {
                return Some(name);
            }
        })
    }
}

/// Whether a name is `pg_temp`, as it is written.
pub fn is_pg_temp(written: &[u8]) -> bool {
    written.eq_ignore_ascii_case(b"pg_temp") || written == b"\"pg_temp\""
}

/// Behind `DROP`.
pub fn dropped(text: &[u8], standard_strings: bool) -> Temporaries<'_> {
    let mut reader = Reader::new(text, standard_strings);
    if !matches!(
        reader.kind(),
        Kind::Word(Word::Table | Word::View | Word::Sequence)
    ) {
        return Temporaries::Same;
    }
    reader.bump();
    reader.if_exists();
    Temporaries::Dropped(Dropped {
        text: reader.rest(),
        standard_strings,
    })
}

/// Behind `CREATE … TABLE`, `VIEW` or `SEQUENCE`; `is_temporary`: with `TEMP` before it. An error: it
/// cannot be followed.
pub fn made(
    text: &[u8],
    standard_strings: bool,
    is_temporary: bool,
) -> Result<Temporaries<'_>, ()> {
    let mut reader = Reader::new(text, standard_strings);
    reader.if_exists();
    reader.made(is_temporary)
}

/// Behind the `INTO` of a `SELECT`.
pub fn into(text: &[u8], standard_strings: bool) -> Result<Temporaries<'_>, ()> {
    use Word::*;
    let mut reader = Reader::new(text, standard_strings);
    let is_scope = matches!(reader.kind(), Kind::Word(Local | Global));
    let next = reader.next();
    if is_scope && matches!(next, Kind::Word(Temp | Temporary)) {
        reader.bump();
    }
    // `INTO temp.t` makes one in a schema of that name.
    let is_temporary =
        matches!(reader.kind(), Kind::Word(Temp | Temporary)) && reader.next() != Kind::Dot;
    if is_temporary || reader.kind() == Kind::Word(Unlogged) {
        reader.bump();
    }
    reader.take(Kind::Word(Table));
    reader.made(is_temporary)
}

/// Behind `ALTER TABLE`. What these actions do to a temporary table goes with it; only `RENAME` takes
/// its name, and a partition or a sequence may leave it by others.
pub fn altered(text: &[u8], standard_strings: bool) -> Temporaries<'_> {
    const STAYS: [&[u8]; 5] = [b"add", b"alter", b"drop", b"owner", b"set"];
    let mut reader = Reader::new(text, standard_strings);
    reader.if_exists();
    reader.take(Kind::Word(Word::Only));
    let stays = reader.name().is_some()
        && STAYS
            .iter()
            .any(|action| reader.written().eq_ignore_ascii_case(action));
    match stays {
        true => Temporaries::Beside,
        false => Temporaries::Altered,
    }
}

/// Where a name looks.
enum In<'a> {
    /// In `pg_temp`.
    Temporary(Name<'a>),
    /// Along the search path.
    Path(Name<'a>),
    /// Elsewhere, or the name is in doubt.
    Other,
}

struct Reader<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    token: super::lexer::Token,
}

impl<'a> Reader<'a> {
    fn new(text: &'a [u8], standard_strings: bool) -> Reader<'a> {
        let mut lexer = Lexer::new(text, standard_strings);
        let token = lexer.token();
        Reader { text, lexer, token }
    }

    fn kind(&self) -> Kind {
        self.token.kind
    }

    fn next(&self) -> Kind {
        let mut lexer = self.lexer;
        lexer.token().kind
    }

    fn bump(&mut self) {
        self.token = self.lexer.token();
    }

    fn take(&mut self, kind: Kind) -> bool {
        let is = self.token.kind == kind;
        if is {
            self.bump();
        }
        is
    }

    fn written(&self) -> &'a [u8] {
        self.text
            .get(self.token.start..self.token.end)
            .unwrap_or_default()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.token.start..).unwrap_or_default()
    }

    /// `IF [NOT] EXISTS`
    fn if_exists(&mut self) {
        let mut further = self.lexer;
        let mut next = further.token();
        if next.kind == Kind::Word(Word::Not) {
            next = further.token();
        }
        if self.written().eq_ignore_ascii_case(b"if") && next.kind == Kind::Word(Word::Exists) {
            self.lexer = further;
            self.bump();
        }
    }

    /// `[[database.]schema.]name`. None: there is no name.
    fn name(&mut self) -> Option<In<'a>> {
        let (mut parts, mut last) = (0, &b""[..]);
        let mut schema;
        loop {
            if !matches!(self.kind(), Kind::Word(_) | Kind::Quoted) {
                return None;
            }
            (schema, last) = (last, self.written());
            parts += 1;
            self.bump();
            if !self.take(Kind::Dot) {
                break;
            }
        }
        // Other encodings fold and cut what is not ASCII.
        let name = Name::written(last).filter(|name| name.bytes().all(|byte| byte.is_ascii()));
        Some(match (parts, name) {
            (1, Some(name)) => In::Path(name),
            (2, Some(name)) if is_pg_temp(schema) => In::Temporary(name),
            _ => In::Other,
        })
    }

    /// The name of what is made, and how long it stays.
    fn made(&mut self, is_temporary: bool) -> Result<Temporaries<'a>, ()> {
        let start = self.rest();
        let name = match self.name() {
            Some(In::Temporary(name)) => name,
            Some(In::Path(name)) if is_temporary => name,
            None | Some(In::Other) if is_temporary => return Err(()),
            // `pg_temp_3.t`, or a name in doubt.
            None | Some(In::Other) if super::name::mentions_pg_temp(self.since(start)) => {
                return Err(())
            }
            _ => return Ok(Temporaries::Beside),
        };
        Ok(Temporaries::Made {
            name,
            on_commit_drop: self.on_commit_drop(),
        })
    }

    /// What was read since the rest of the text was this.
    fn since(&self, rest: &'a [u8]) -> &'a [u8] {
        let length = rest.len().saturating_sub(self.rest().len());
        rest.get(..length).unwrap_or(rest)
    }

    /// Whether `ON COMMIT DROP` stands in what is left of `CREATE TABLE`: outside of parentheses, and
    /// before the `AS` behind which a query begins. There these words mean nothing else.
    fn on_commit_drop(&mut self) -> bool {
        use Word::*;
        let (mut depth, mut before) = (0u32, [Kind::End; 2]);
        loop {
            let kind = self.kind();
            match kind {
                Kind::Open => depth = depth.saturating_add(1),
                Kind::Close => depth = depth.saturating_sub(1),
                Kind::End | Kind::Lost => return false,
                Kind::Semicolon | Kind::Word(As) if depth == 0 => return false,
                Kind::Word(Drop)
                    if depth == 0 && before == [Kind::Word(On), Kind::Word(Commit)] =>
                {
                    return true;
                }
                _ => {}
            }
            before = [before[1], kind];
            self.bump();
        }
    }
}
