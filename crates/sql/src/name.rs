//! Names as written in SQL.

use alloc::vec::Vec;
use core::fmt;

/// The longest name (NAMEDATALEN - 1): the server cuts longer ones off.
const LONGEST: usize = 63;

/// A name in a statement. Equal to another if the server takes them for one.
#[derive(Clone, Copy)]
pub struct Name<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    /// As in the text: a word or `"…"`, or several with points between.
    Written(&'a [u8]),
    /// Taken as it is: the inside of a string constant, or our own word for something.
    Plain(&'a [u8]),
}

impl<'a> Name<'a> {
    /// A name as it stands in the text, unless the server's idea of it is in doubt: cut off at
    /// 63 bytes, or folded by a locale's rules (single-byte encodings fold letters beyond ASCII
    /// where they are not quoted).
    pub(super) fn written(text: &'a [u8]) -> Option<Name<'a>> {
        let name = Name(Form::Written(text));
        let mut length = 0;
        for unit in name.units() {
            length = if unit.is_end() { 0 } else { length + 1 };
            if length > LONGEST || (!unit.quoted && !unit.byte.is_ascii()) {
                return None;
            }
        }
        Some(name)
    }

    /// A name that is taken as it stands.
    pub(super) fn plain(text: &'a [u8]) -> Name<'a> {
        Name(Form::Plain(text))
    }

    /// As it stands in the text.
    pub fn as_written(&self) -> &'a [u8] {
        match self.0 {
            Form::Written(text) | Form::Plain(text) => text,
        }
    }

    fn units(&self) -> Units<'a> {
        let (rest, plain) = match self.0 {
            Form::Written(text) => (text, false),
            Form::Plain(text) => (text, true),
        };
        Units {
            rest,
            plain,
            quoted: false,
        }
    }

    /// The bytes of the name as the server knows it.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + 'a {
        self.units().map(|unit| unit.byte)
    }

    /// The name as the server knows it.
    pub fn to_vec(self) -> Vec<u8> {
        self.bytes().collect()
    }

    /// Whether it is this setting: those are compared without regard to case, even quoted.
    pub fn is_setting(&self, setting: &str) -> bool {
        self.bytes()
            .map(|byte| byte.to_ascii_lowercase())
            .eq(setting.bytes().map(|byte| byte.to_ascii_lowercase()))
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Name<'_>) -> bool {
        self.bytes().eq(other.bytes())
    }
}

impl Eq for Name<'_> {}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.bytes() {
            write!(f, "{}", byte.escape_ascii())?;
        }
        Ok(())
    }
}

/// One byte of a name.
struct Unit {
    byte: u8,
    quoted: bool,
}

impl Unit {
    /// Whether it is the point between two parts.
    fn is_end(&self) -> bool {
        self.byte == b'.' && !self.quoted
    }
}

/// Undoes case and quotes, byte by byte.
struct Units<'a> {
    rest: &'a [u8],
    plain: bool,
    quoted: bool,
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            if self.plain {
                return Some(Unit { byte, quoted: true });
            }
            if byte == b'"' {
                if self.quoted {
                    if let Some((b'"', rest)) = rest.split_first() {
                        self.rest = rest;
                        return Some(Unit { byte, quoted: true });
                    }
                }
                self.quoted = !self.quoted;
                continue;
            }
            return Some(Unit {
                byte: if self.quoted {
                    byte
                } else {
                    byte.to_ascii_lowercase()
                },
                quoted: self.quoted,
            });
        }
    }
}

/// Whether `pg_temp` stands in it, in any case: also as the beginning of `pg_temp_3`.
pub fn mentions_pg_temp(text: &[u8]) -> bool {
    text.windows(7)
        .any(|part| part.eq_ignore_ascii_case(b"pg_temp"))
}
