//! Functions that the user vouches for.

use super::name::Name;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The functions of `FORKGUARD_TRUST_FUNCTIONS`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trusted {
    everything: bool,
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Function {
    schema: Option<Vec<u8>>,
    name: Vec<u8>,
}

impl Trusted {
    /// Nothing is trusted.
    pub const fn nothing() -> Trusted {
        Trusted {
            everything: false,
            functions: Vec::new(),
        }
    }

    /// Reads a list of names with commas between, and what is wrong with it: `name` vouches for
    /// the function in any schema, `schema.name` for that call only, `*` for every function that
    /// is not PostgreSQL's own. Names are in lower case unless quoted.
    pub fn parse(list: &str) -> (Trusted, Vec<String>) {
        let mut trusted = Trusted::nothing();
        let mut complaints = Vec::new();
        for item in split(list, b',').map(<[u8]>::trim_ascii) {
            if item.is_empty() {
                continue;
            }
            if item == b"*" {
                trusted.everything = true;
                continue;
            }
            let mut parts = split_bytes(item, b'.').map(<[u8]>::trim_ascii);
            match (parts.next(), parts.next(), parts.next()) {
                (Some(name), None, _) => match part(name) {
                    Some(name) => trusted.functions.push(Function { schema: None, name }),
                    None => complaints.push(complaint(item)),
                },
                (Some(schema), Some(name), None) => match (part(schema), part(name)) {
                    (Some(schema), Some(name)) => trusted.functions.push(Function {
                        schema: Some(schema),
                        name,
                    }),
                    _ => complaints.push(complaint(item)),
                },
                _ => complaints.push(complaint(item)),
            }
        }
        (trusted, complaints)
    }

    /// Whether every function is trusted that is not PostgreSQL's own.
    pub(super) fn everything(&self) -> bool {
        self.everything
    }

    /// Whether a call is trusted by its name.
    pub(super) fn holds(&self, schema: Option<&[u8]>, name: &[u8]) -> bool {
        if self.functions.is_empty() {
            return false;
        }
        let Some(name) = Name::written(name) else {
            return false;
        };
        let schema = schema.map(Name::written);
        self.functions.iter().any(|function| {
            name.bytes().eq(function.name.iter().copied())
                && match (&function.schema, &schema) {
                    (None, _) => true,
                    (Some(known), Some(Some(schema))) => schema.bytes().eq(known.iter().copied()),
                    (Some(_), _) => false,
                }
        })
    }
}

fn complaint(item: &[u8]) -> String {
    format!(
        "not the name of a function: {}",
        String::from_utf8_lossy(item)
    )
}

/// One part of a name, as the server knows it.
fn part(written: &[u8]) -> Option<Vec<u8>> {
    let (first, last) = (written.first()?, written.last()?);
    let quoted = *first == b'"';
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    if quoted && (written.len() < 3 || *last != b'"') {
        return None;
    }
    if !quoted && (first.is_ascii_digit() || *first == b'$' || !written.iter().all(plain)) {
        return None;
    }
    Some(Name::written(written)?.to_vec())
}

fn split(list: &str, at: u8) -> impl Iterator<Item = &[u8]> {
    split_bytes(list.as_bytes(), at)
}

/// Splits where a byte stands outside double quotes.
fn split_bytes(list: &[u8], at: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    list.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == at && !quoted
    })
}
