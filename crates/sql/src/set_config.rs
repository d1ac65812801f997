//! `SELECT set_config(…), …`: each call's arguments, as far as the text says them.
//!
//! What is read here is done again as it is written, with the parameters it was sent with, so an
//! argument is a constant or a parameter, cast to nothing but what the function takes: then it
//! says the same in every session. A column, a function or an operator may not.

use super::calls;
use super::lexer::{Kind, Lexer, Token};
use super::name::mentions_pg_temp;
use super::words::Word;
use crate::reason::Reason;
use alloc::vec::Vec;

/// One argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Argument<'a> {
    /// A plain string: what stands between the quotes.
    Constant(&'a [u8]),
    /// Another constant: what the server takes it for is not read.
    Hidden,
    /// `NULL`
    Null,
    /// `TRUE`, `FALSE`
    Boolean(bool),
    /// `$1` is 1.
    Parameter(u16),
}

/// One call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call<'a> {
    /// From its name to its closing parenthesis.
    pub text: &'a [u8],
    /// The setting.
    pub name: Argument<'a>,
    /// Its value.
    pub value: Argument<'a>,
    /// Whether it is for the transaction only.
    pub local: Argument<'a>,
}

/// The calls of one statement, all of which can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetConfig<'a> {
    /// From the first call on.
    text: &'a [u8],
    standard_strings: bool,
}

impl<'a> SetConfig<'a> {
    /// How its strings are read.
    pub fn standard_strings(self) -> bool {
        self.standard_strings
    }

    /// The calls, in the order in which the server makes them (a list of targets is computed
    /// from left to right: `ExecProject`).
    pub fn calls(self) -> impl Iterator<Item = Call<'a>> {
        let mut reader = Reader::new(self.text, self.standard_strings);
        let mut more = true;
        core::iter::from_fn(move || {
            if !core::mem::take(&mut more) {
                return None;
            }
            let call = reader.call()?;
            more = reader.next.kind == Kind::Comma;
            if more {
                reader.bump();
            }
            Some(call)
        })
    }
}

/// What stands behind `SELECT`, if it is such calls and nothing else to the statement's end.
pub fn read(text: &[u8], standard_strings: bool) -> Option<SetConfig<'_>> {
    let mut reader = Reader::new(text, standard_strings);
    let (mut strings, mut booleans) = (Vec::new(), Vec::new());
    loop {
        let call = reader.call()?;
        let number = |argument| match argument {
            Argument::Parameter(number) => Some(number),
            _ => None,
        };
        strings.extend([call.name, call.value].into_iter().filter_map(number));
        booleans.extend(number(call.local));
        match reader.next.kind {
            Kind::Comma => reader.bump(),
            Kind::End | Kind::Semicolon => break,
            _ => return None,
        }
    }
    // The type that the server infers where it stands first is its type everywhere: a boolean that is
    // sent as `0` is the text `false`. Done again, each call has parameters of its own.
    strings.sort_unstable();
    if booleans
        .iter()
        .any(|number| strings.binary_search(number).is_ok())
    {
        return None;
    }
    Some(SetConfig {
        text,
        standard_strings,
    })
}

/// Why a setting that gets this value (`None`: one that is not read) cannot be set again.
pub fn doubt(name: &[u8], value: Option<&[u8]>) -> Option<Reason> {
    // The random numbers that follow cannot be made to continue.
    if name.eq_ignore_ascii_case(b"seed") {
        return Some(Reason::RandomSeed);
    }
    // Every CREATE behind it may make a temporary object.
    match value {
        _ if !name.eq_ignore_ascii_case(b"search_path") => None,
        None => Some(Reason::SearchPathInDoubt),
        Some(value) => mentions_pg_temp(value).then_some(Reason::TemporarySearchPath),
    }
}

/// Whether a call of it comes next.
pub fn begins(mut lexer: Lexer) -> bool {
    let mut next = lexer.token();
    if next.kind == Kind::Word(Word::PgCatalog) {
        if lexer.token().kind != Kind::Dot {
            return false;
        }
        next = lexer.token();
    }
    next.kind == Kind::Word(Word::SetConfig)
}

/// The inside of a plain string constant: no quote in it and no escape.
pub fn plain(written: &[u8]) -> Option<&[u8]> {
    let inside = written.strip_prefix(b"'")?.strip_suffix(b"'")?;
    let plain = |byte: &u8| !matches!(byte, b'\'' | b'\\');
    inside.iter().all(plain).then_some(inside)
}

struct Reader<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    next: Token,
    /// Where the last token before it ends.
    end: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a [u8], standard_strings: bool) -> Self {
        let mut lexer = Lexer::new(text, standard_strings);
        let next = lexer.token();
        Reader {
            text,
            lexer,
            next,
            end: 0,
        }
    }

    fn bump(&mut self) {
        self.end = self.next.end;
        self.next = self.lexer.token();
    }

    fn take(&mut self, kind: Kind) -> Option<()> {
        (self.next.kind == kind).then(|| self.bump())
    }

    fn written(&self) -> &'a [u8] {
        let Token { start, end, .. } = self.next;
        self.text.get(start..end).unwrap_or_default()
    }

    /// `[pg_catalog.]set_config(name, value, is_local) [[AS] label]`
    fn call(&mut self) -> Option<Call<'a>> {
        let start = self.next.start;
        if self.take(Kind::Word(Word::PgCatalog)).is_some() {
            self.take(Kind::Dot)?;
        }
        self.take(Kind::Word(Word::SetConfig))?;
        self.take(Kind::Open)?;
        let name = self.argument(&[b"text", b"varchar"])?;
        self.take(Kind::Comma)?;
        let value = self.argument(&[b"text", b"varchar"])?;
        self.take(Kind::Comma)?;
        let local = self.argument(&[b"bool", b"boolean"])?;
        self.take(Kind::Close)?;
        let text = self.text.get(start..self.end)?;
        if self.take(Kind::Word(Word::As)).is_some() {
            if !matches!(self.next.kind, Kind::Word(_) | Kind::Quoted) {
                return None;
            }
            self.bump();
        } else {
            let label = match self.next.kind {
                Kind::Quoted => true,
                Kind::Word(_) => !calls::keyword(self.written()),
                _ => false,
            };
            if label {
                self.bump();
            }
        }
        Some(Call {
            text,
            name,
            value,
            local,
        })
    }

    /// A constant or a parameter, and casts to the types that the argument has anyway: without
    /// a length, which would cut it.
    fn argument(&mut self, types: &[&[u8]]) -> Option<Argument<'a>> {
        let written = self.written();
        let argument = match self.next.kind {
            Kind::String => plain(written).map_or(Argument::Hidden, Argument::Constant),
            Kind::Number => Argument::Hidden,
            Kind::Word(Word::Null) => Argument::Null,
            Kind::Word(Word::True) => Argument::Boolean(true),
            Kind::Word(Word::False) => Argument::Boolean(false),
            Kind::Parameter => {
                let digits = core::str::from_utf8(written.get(1..)?).ok()?;
                Argument::Parameter(digits.parse().ok().filter(|number| *number > 0)?)
            }
            _ => return None,
        };
        self.bump();
        while self.next.kind == Kind::Other && self.written() == b":" {
            self.bump();
            if self.written() != b":" {
                return None;
            }
            self.bump();
            if self.take(Kind::Word(Word::PgCatalog)).is_some() {
                self.take(Kind::Dot)?;
            }
            let written = self.written();
            if !types
                .iter()
                .any(|known| written.eq_ignore_ascii_case(known))
            {
                return None;
            }
            self.bump();
        }
        Some(argument)
    }
}

impl Call<'_> {
    /// The call as a statement of its own, and which of the whole's parameters are its `$1`, `$2`, …
    pub fn alone(&self, standard_strings: bool) -> (Vec<u8>, Vec<u16>) {
        let (mut text, mut numbers) = (b"SELECT ".to_vec(), Vec::new());
        let mut lexer = Lexer::new(self.text, standard_strings);
        let mut copied = 0;
        let parameters = [self.name, self.value, self.local].map(|argument| match argument {
            Argument::Parameter(number) => Some(number),
            _ => None,
        });
        for number in parameters.into_iter().flatten() {
            // In their order: one stands in each argument, at most.
            let mut token = lexer.token();
            while !matches!(token.kind, Kind::Parameter | Kind::End | Kind::Lost) {
                token = lexer.token();
            }
            text.extend(self.text.get(copied..token.start).unwrap_or_default());
            copied = token.end;
            numbers.push(number);
            text.push(b'$');
            text.push(b'0' + numbers.len() as u8);
        }
        text.extend(self.text.get(copied..).unwrap_or_default());
        (text, numbers)
    }
}
