//! Tokens, as `scan.l` of PostgreSQL 9.6 to 18 cuts them.
//!
//! Where the versions differ, they differ in what they refuse: a token that one of them
//! refuses may be cut in any way, because that server does nothing with the text.

use super::words::{self, Word};

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The end of the text.
    End,
    /// The text cannot be followed from here: something unterminated, or no SQL at all.
    Lost,
    /// An identifier or key word, not quoted.
    Word(Word),
    /// `"…"`
    Quoted,
    /// `U&"…"`
    UnicodeQuoted,
    /// Any string constant; its text says which.
    String,
    /// Digits. The point, the exponent's sign and what follows are tokens of their own.
    Number,
    /// `$1`
    Parameter,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `]`
    CloseBracket,
    /// `,`
    Comma,
    /// `.`
    Dot,
    /// `;`
    Semicolon,
    /// `=`
    Equals,
    /// One character of any operator, `:`, `[`.
    Other,
}

/// A token: its kind, and where in the text.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

const START: u8 = 1; // may begin an identifier
const LATER: u8 = 2; // may go on in one
const DIGIT: u8 = 4;
const SPACE: u8 = 8;

static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => START | LATER,
            b'0'..=b'9' => DIGIT | LATER,
            b'$' => LATER,
            // \v since PostgreSQL 16; before, it is an error.
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => SPACE,
            _ => 0,
        };
        byte += 1;
    }
    class
};

fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// Cuts a text into tokens. A copy looks ahead.
#[derive(Clone, Copy)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    standard_strings: bool,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a [u8], standard_strings: bool) -> Lexer<'a> {
        Lexer {
            text,
            at: 0,
            standard_strings,
        }
    }

    /// The byte at a place; 0 past the end, which no token holds.
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// The next token.
    #[inline]
    pub fn token(&mut self) -> Token {
        let mut start = self.at;
        loop {
            let byte = self.byte(start);
            if is(byte, START) {
                return self.word(start);
            }
            let kind = match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {
                    start += 1;
                    continue;
                }
                b'0'..=b'9' => return self.run(start, DIGIT, Kind::Number),
                b',' => Kind::Comma,
                b'.' => Kind::Dot,
                b'(' => Kind::Open,
                b')' => Kind::Close,
                b'=' => Kind::Equals,
                b';' => Kind::Semicolon,
                b']' => Kind::CloseBracket,
                b'\'' => {
                    let backslash = !self.standard_strings;
                    return self.string(start, start + 1, backslash);
                }
                b'"' => return self.quoted(start, start + 1, Kind::Quoted),
                b'$' => return self.dollar(start),
                b'-' if self.byte(start + 1) == b'-' => {
                    start = self.line_end(start + 2);
                    continue;
                }
                b'/' if self.byte(start + 1) == b'*' => match self.comment(start + 2) {
                    Some(end) => {
                        start = end;
                        continue;
                    }
                    None => return self.lost(start),
                },
                b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-'
                | b'*' | b'/' | b'%' | b'<' | b'>' | b':' | b'[' => Kind::Other,
                _ if start >= self.text.len() => {
                    self.at = self.text.len();
                    return Token {
                        kind: Kind::End,
                        start: self.at,
                        end: self.at,
                    };
                }
                // NUL, backslash, braces, control characters: no server takes them.
                _ => return self.lost(start),
            };
            return self.take(kind, start, start + 1);
        }
    }

    /// Where the bytes of a class end.
    #[inline(always)]
    fn end_of(&self, from: usize, class: u8) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        let length = rest.iter().position(|&byte| !is(byte, class));
        from + length.unwrap_or(rest.len())
    }

    #[inline(always)]
    fn take(&mut self, kind: Kind, start: usize, end: usize) -> Token {
        self.at = end;
        Token { kind, start, end }
    }

    #[cold]
    fn lost(&mut self, start: usize) -> Token {
        self.take(Kind::Lost, start, self.text.len())
    }

    #[inline(always)]
    fn run(&mut self, start: usize, class: u8, kind: Kind) -> Token {
        let end = self.end_of(start + 1, class);
        self.take(kind, start, end)
    }

    #[inline(always)]
    fn word(&mut self, start: usize) -> Token {
        let end = self.end_of(start + 1, LATER);
        let next = self.byte(end);
        // A prefix is the whole word before the quote: `name'…'` is a word and a string.
        if end == start + 1 && matches!(next, b'\'' | b'&') {
            match (self.byte(start) | 0x20, next) {
                (b'e', b'\'') => return self.string(start, end + 1, true),
                (b'b' | b'x', b'\'') => return self.bits(start, end + 1),
                (b'u', b'&') => match self.byte(end + 1) {
                    b'\'' => return self.string(start, end + 2, false),
                    b'"' => return self.quoted(start, end + 2, Kind::UnicodeQuoted),
                    _ => {}
                },
                // N'…' is a word of its own and a plain string, for the server, too.
                _ => {}
            }
        }
        let word = words::word(self.text, start, end);
        self.take(Kind::Word(word), start, end)
    }

    /// A string from behind its first quote, with those that continue it on later lines.
    fn string(&mut self, start: usize, from: usize, backslash: bool) -> Token {
        let mut at = from;
        loop {
            match self.byte(at) {
                b'\'' if self.byte(at + 1) == b'\'' => at += 2,
                b'\'' => match self.continued(at + 1) {
                    Some(next) => at = next,
                    None => return self.take(Kind::String, start, at + 1),
                },
                b'\\' if backslash => at += 2,
                _ if at >= self.text.len() => return self.lost(start),
                _ => at += 1,
            }
        }
    }

    /// B'…' and X'…': a quote is never doubled there; the second begins a plain string.
    fn bits(&mut self, start: usize, from: usize) -> Token {
        let mut at = from;
        loop {
            match self.byte(at) {
                b'\'' => match self.continued(at + 1) {
                    Some(next) => at = next,
                    None => return self.take(Kind::String, start, at + 1),
                },
                _ if at >= self.text.len() => return self.lost(start),
                _ => at += 1,
            }
        }
    }

    /// Behind a closing quote: where the string goes on, if whitespace with a line's end in it
    /// and another quote follow. The server's `quotecontinue`; block comments do not count.
    fn continued(&self, from: usize) -> Option<usize> {
        let mut at = from;
        let mut new_line = false;
        loop {
            match self.byte(at) {
                b'\n' | b'\r' => {
                    new_line = true;
                    at += 1;
                }
                b' ' | b'\t' | 0x0b | 0x0c => at += 1,
                b'-' if self.byte(at + 1) == b'-' => {
                    at = self.line_end(at + 2);
                    if at >= self.text.len() {
                        return None;
                    }
                }
                b'\'' if new_line => return Some(at + 1),
                _ => return None,
            }
        }
    }

    fn quoted(&mut self, start: usize, from: usize, kind: Kind) -> Token {
        let mut at = from;
        loop {
            match self.byte(at) {
                b'"' if self.byte(at + 1) == b'"' => at += 2,
                b'"' => return self.take(kind, start, at + 1),
                _ if at >= self.text.len() => return self.lost(start),
                _ => at += 1,
            }
        }
    }

    /// `$1`, `$$…$$` or `$tag$…$tag$`.
    fn dollar(&mut self, start: usize) -> Token {
        let first = self.byte(start + 1);
        if is(first, DIGIT) {
            return self.run(start, DIGIT, Kind::Parameter);
        }
        let mut end = start + 1;
        if is(first, START) {
            while is(self.byte(end), START | DIGIT) {
                end += 1;
            }
        }
        if self.byte(end) != b'$' {
            return self.lost(start); // no token of any version
        }
        end += 1;
        let (Some(tag), Some(mut rest)) = (self.text.get(start..end), self.text.get(end..)) else {
            return self.lost(start);
        };
        // From dollar to dollar: a text full of them costs what its length does, times the
        // tag's at most.
        let mut at = end;
        while let Some(skip) = rest.iter().position(|&byte| byte == b'$') {
            let Some(here) = rest.get(skip..) else { break };
            at += skip;
            if here.starts_with(tag) {
                return self.take(Kind::String, start, at + tag.len());
            }
            rest = here.get(1..).unwrap_or_default();
            at += 1;
        }
        self.lost(start)
    }

    /// The end of a `--` comment: \r ends one, too.
    fn line_end(&self, from: usize) -> usize {
        let mut at = from;
        while at < self.text.len() && !matches!(self.byte(at), b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// The end of a block comment, which may hold others.
    fn comment(&self, from: usize) -> Option<usize> {
        let mut at = from;
        let mut depth = 1u32;
        while at < self.text.len() {
            match (self.byte(at), self.byte(at + 1)) {
                (b'*', b'/') => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return Some(at);
                    }
                }
                (b'/', b'*') => {
                    depth = depth.saturating_add(1);
                    at += 2;
                }
                _ => at += 1,
            }
        }
        None
    }
}
