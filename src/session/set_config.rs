//! `set_config` with parameters: the setting that one execution makes.
//!
//! It is replayed as it was sent: the same text, with the same bytes, types and formats for its
//! parameters. So only what has one meaning in every session is taken: see [`VALUES`].

use std::boxed::Box;
use std::vec::Vec;

use crate::memory;
use forkguard_sql::Reason;
use forkguard_sql::{doubt, Argument, Call};

type Bytes = Box<[u8]>;

/// A parameter as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    /// The type's id that the client gave; 0: the server's to infer.
    pub kind: u32,
    /// In binary format.
    pub binary: bool,
    /// `None`: NULL.
    pub value: Option<&'a [u8]>,
}

/// The parameters of one execution, by their numbers from 1 on.
pub(crate) type Parameters<'a> = &'a dyn Fn(u16) -> Option<Parameter<'a>>;

/// A parameter, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedParameter {
    /// See [`Parameter::kind`].
    pub kind: u32,
    /// In binary format.
    pub binary: bool,
    /// `None`: NULL.
    pub value: Option<Bytes>,
}

/// An argument, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Constant(Bytes),
    Hidden,
    Null,
    Boolean(bool),
    Parameter(u16),
}

/// One call, as a statement of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unbound {
    text: Bytes,
    /// Which of the whole statement's parameters are its own, in order.
    numbers: Box<[u16]>,
    /// The types that they were prepared with, if they were.
    types: Box<[u32]>,
    name: Part,
    value: Part,
    local: Part,
}

/// One whose parameters are known.
pub(crate) struct Bound {
    /// The setting, in lower case.
    pub name: Bytes,
    /// For the transaction only.
    pub local: bool,
    /// A NULL: the default.
    pub to_default: bool,
    /// The statement.
    pub text: Bytes,
    /// Its parameters.
    pub parameters: Box<[OwnedParameter]>,
}

/// pg_type.dat: text, varchar; 0 is inferred, and that is text.
const STRINGS: [u32; 3] = [0, 25, 1043];
/// Types whose values mean the same text under every setting, so that `set_config` and a cast to
/// text give the same again: strings, integers, bool, name, oid, numeric, uuid, json.
const VALUES: [u32; 14] = [
    0, 16, 18, 19, 20, 21, 23, 25, 26, 114, 1042, 1043, 1700, 2950,
];
const BOOL: u32 = 16;

impl Unbound {
    /// Of a call in a text.
    pub(crate) fn of(call: &Call, standard_strings: bool) -> Unbound {
        let (text, numbers) = call.alone(standard_strings);
        let part = |argument| match argument {
            Argument::Constant(inside) => Part::Constant(inside.into()),
            Argument::Hidden => Part::Hidden,
            Argument::Null => Part::Null,
            Argument::Boolean(yes) => Part::Boolean(yes),
            Argument::Parameter(number) => Part::Parameter(number),
        };
        Unbound {
            text: text.into(),
            numbers: numbers.into(),
            types: Box::default(),
            name: part(call.name),
            value: part(call.value),
            local: part(call.local),
        }
    }

    /// Whether it needs none.
    pub(crate) fn is_constant(&self) -> bool {
        self.numbers.is_empty()
    }

    /// It was prepared with these types.
    pub(crate) fn prepared_with(&mut self, types: &[u32]) {
        self.types = types.into();
    }

    /// It was sent with these, and executed again it keeps their types.
    pub(crate) fn sent_with(&mut self, parameters: Parameters) {
        let last = self.numbers.iter().copied().max().unwrap_or(0);
        let kind = |number| parameters(number).map_or(0, |given| given.kind);
        self.types = (1..=last).map(kind).collect();
    }

    /// What it sets, executed with these.
    pub(crate) fn bind(&self, parameters: Parameters) -> Result<Bound, Reason> {
        let unread = Reason::SetConfigUnread;
        let given = |number: u16| {
            let mut given = parameters(number)?;
            if let Some(kind) = self.types.get(usize::from(number) - 1) {
                given.kind = *kind;
            }
            Some(given)
        };
        let of = |part: &Part, types: &[u32]| match part {
            Part::Parameter(number) => {
                let known = given(*number).filter(|given| types.contains(&given.kind));
                known.ok_or(unread).map(Some)
            }
            _ => Ok(None),
        };
        let name: Bytes = match (&self.name, of(&self.name, &STRINGS)?) {
            (Part::Constant(name), _) => name.clone(),
            (
                _,
                Some(Parameter {
                    value: Some(name), ..
                }),
            ) => name.into(),
            _ => return Err(unread), // NULL is an error of the server's
        };
        let parameter = of(&self.value, &VALUES)?;
        let to_default = match &parameter {
            Some(given) => given.value.is_none(),
            None => self.value == Part::Null,
        };
        // The bytes that the server sees are the text's own where the type is a string.
        let value = match (&self.value, &parameter) {
            (Part::Constant(value), _) => Some(&**value),
            (_, Some(given)) if STRINGS.contains(&given.kind) => Some(given.value.unwrap_or(b"")),
            _ if to_default => Some(&b""[..]),
            _ => None,
        };
        if let Some(doubt) = doubt(&name, value) {
            return Err(doubt);
        }
        let local = match (&self.local, of(&self.local, &[0, BOOL])?) {
            (Part::Boolean(local), _) => Some(*local),
            (Part::Null, _) => Some(false), // set_config_by_name (guc.c)
            (Part::Constant(written), _) => boolean(written),
            (_, Some(given)) => match given.value {
                None => Some(false),
                Some(sent) if given.binary => Some(sent != [0]),
                Some(sent) => boolean(sent),
            },
            _ => None,
        };
        let sizes = self
            .numbers
            .iter()
            .filter_map(|number| given(*number)?.value);
        if !memory::is_plenty(4096 + 2 * sizes.map(<[u8]>::len).sum::<usize>()) {
            return Err(Reason::NoMemory);
        }
        let kept = self.numbers.iter().map(|number| {
            given(*number).map(|given| OwnedParameter {
                kind: given.kind,
                binary: given.binary,
                value: given.value.map(Box::from),
            })
        });
        Ok(Bound {
            name: name.to_ascii_lowercase().into(),
            local: local.ok_or(unread)?,
            to_default,
            text: self.text.clone(),
            parameters: kept
                .collect::<Option<Vec<OwnedParameter>>>()
                .ok_or(unread)?
                .into(),
        })
    }
}

/// As the server reads one (`parse_bool_with_len`): unique beginnings, in any case.
fn boolean(written: &[u8]) -> Option<bool> {
    let written = written.trim_ascii().to_ascii_lowercase();
    let begins = |word: &[u8], least: usize| written.len() >= least && word.starts_with(&written);
    match written.first()? {
        b't' | b'y' => (begins(b"true", 1) || begins(b"yes", 1)).then_some(true),
        b'f' | b'n' => (begins(b"false", 1) || begins(b"no", 1)).then_some(false),
        b'o' => match &*written {
            b"on" => Some(true),
            b"of" | b"off" => Some(false),
            _ => None,
        },
        b'1' => (written.len() == 1).then_some(true),
        b'0' => (written.len() == 1).then_some(false),
        _ => None,
    }
}
