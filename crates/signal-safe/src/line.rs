//! One line of the log, on the stack: text, or one JSON object.
//!
//! The writer says everything once: [`Line::push`] adds to the message, and a fact
//! ([`Line::number`], [`Line::string`], [`Line::list`]) becomes a field of the
//! object, or nothing where the line is text. What comes out is valid, whatever the bytes
//! and wherever the line is full: space for its end is kept from the beginning.

use forkguard_proto::level::Format;

/// As long as a line may be, its newline included: `PIPE_BUF`, so that lines of
/// many processes in one pipe or file never mix (pipe(7)).
pub const CAPACITY: usize = 4096;
/// As long as a line of text is, unless its writer asks for more.
const TEXT: usize = 1024;
/// How far the message of a JSON object reaches: facts have room behind it.
const MESSAGE: usize = 2048;
/// The end of an object from which something is missing.
const CUT: &[u8] = b",\"cut\":true";

/// Where in the line the next bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// In a line of text.
    Text,
    /// In a JSON object, at its beginning or behind its message.
    Fields,
    /// In the string that is its message.
    Message,
}

/// A line that is cut, and never grows, when it is full.
pub struct Line {
    bytes: [u8; CAPACITY],
    length: usize,
    place: Position,
    /// Where the line begins, behind what a syslog daemon reads before it.
    start: usize,
    /// Where text ends.
    limit: usize,
    /// Objects and lists that are open inside the object.
    depth: usize,
    /// Something is missing.
    cut: bool,
    /// A fact did not fit: those behind it are left out, too.
    full: bool,
}

impl Line {
    /// An empty line.
    pub const fn empty(format: Format) -> Self {
        Line {
            bytes: [0; CAPACITY],
            length: 0,
            place: match format {
                Format::Text => Position::Text,
                Format::Json => Position::Fields,
            },
            start: 0,
            limit: TEXT,
            depth: 0,
            cut: false,
            full: false,
        }
    }

    /// Whether it is a JSON object: its facts are fields, and need not be said.
    pub fn is_json(&self) -> bool {
        self.place != Position::Text
    }

    /// Lets a line of text grow as long as an object may be.
    pub fn may_be_long(&mut self) -> &mut Self {
        self.limit = CAPACITY;
        self
    }

    /// What a syslog daemon reads before the line: `<30>forkguard[PID]: `.
    pub fn begin_datagram(&mut self, priority: i64, pid: i64) {
        let mut digits = [0; 20];
        self.raw(b"<");
        self.raw(decimal(priority, &mut digits));
        self.raw(b">forkguard[");
        self.raw(decimal(pid, &mut digits));
        self.raw(b"]: ");
        self.start = self.length;
    }

    /// Begins the message, which [`Self::push`] goes on with.
    pub fn begin_message(&mut self) {
        if self.place == Position::Fields && self.name("message", 2) {
            self.raw(b"\"");
            self.place = Position::Message;
        }
    }

    /// Adds bytes to the message. In text, control characters become `?`: a path or
    /// a name cannot write lines of its own into a log.
    pub fn push(&mut self, message: &[u8]) -> &mut Self {
        match self.place {
            Position::Fields => {} // behind the first fact: the message has ended
            Position::Message => {
                if !self.escaped(message, MESSAGE) {
                    self.cut = true;
                }
            }
            Position::Text => {
                for &byte in message {
                    // One place is kept for the newline.
                    if self.length >= self.limit - 1 {
                        break;
                    }
                    self.raw(match byte {
                        0..0x20 | 0x7f => b"?",
                        _ => core::slice::from_ref(&byte),
                    });
                }
            }
        }
        self
    }

    /// Adds a number in decimal to the message.
    pub fn push_number(&mut self, number: i64) -> &mut Self {
        let mut digits = [0; 20];
        self.push(decimal(number, &mut digits))
    }

    /// A fact that is a number. It is left out where it does not fit. `name` is of
    /// letters and `_`, here and below; inside of a list there are no names, and ""
    /// will do.
    pub fn number(&mut self, name: &str, number: i64) -> &mut Self {
        let mut digits = [0; 20];
        let digits = decimal(number, &mut digits);
        if self.name(name, digits.len()) {
            self.raw(digits);
        }
        self
    }

    /// A fact that is text. It is cut where it does not fit; what is no UTF-8 in it
    /// becomes U+FFFD.
    pub fn string(&mut self, name: &str, value: &[u8]) -> &mut Self {
        if self.name(name, 2) {
            self.raw(b"\"");
            if !self.escaped(value, self.end() - 1) {
                self.full = true;
            }
            self.raw(b"\"");
        }
        self
    }

    /// A fact that is a list: `fill` adds to it. Where the line is full, what is
    /// left out is the list's end, so a list that may be long comes last.
    pub fn list(&mut self, name: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.nested(name, b"[", b"]", fill)
    }

    /// A fact that is an object of its own: in a list, most of all.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.nested(name, b"{", b"}", fill)
    }

    fn nested(
        &mut self,
        name: &str,
        begin: &[u8],
        end: &[u8],
        fill: impl FnOnce(&mut Self),
    ) -> &mut Self {
        if self.name(name, begin.len() + end.len()) {
            self.raw(begin);
            self.depth += 1;
            fill(self);
            self.depth -= 1;
            self.raw(end);
        }
        self
    }

    /// Where a fact must end, so that everything that is open can be closed.
    fn end(&self) -> usize {
        CAPACITY - CUT.len() - b"}\n".len() - self.depth
    }

    /// Adds the comma and the name of a fact of `room` bytes. False if they do not
    /// all fit, or in a line of text.
    fn name(&mut self, name: &str, room: usize) -> bool {
        if self.place == Position::Text {
            return false;
        }
        if self.place == Position::Message {
            self.raw(b"\"");
            self.place = Position::Fields;
        }
        let text = self.text().get(self.start..).unwrap_or(&[]);
        // Never a string's byte: behind one stands its quote.
        let (first, in_list) = (
            matches!(text.last(), None | Some(b'{' | b'[')),
            self.depth > 0 && name.is_empty(),
        );
        let named = if in_list { 0 } else { name.len() + 3 };
        let fits = self.length + usize::from(!first) + named + room <= self.end();
        if self.full || !fits {
            self.full = true;
            return false;
        }
        match text {
            [] => self.raw(b"{"),
            _ if !first => self.raw(b","),
            _ => {}
        }
        if !in_list {
            self.raw(b"\"");
            self.raw(name.as_bytes());
            self.raw(b"\":");
        }
        true
    }

    /// Adds bytes as they stand in a JSON string, whole characters only, up to
    /// `end`. False if there are more.
    fn escaped(&mut self, text: &[u8], end: usize) -> bool {
        let mut rest = text;
        while let Some(&byte) = rest.first() {
            let length = character(rest);
            let mut escape = *b"\\u0000";
            let written = match (byte, length) {
                (_, None) => "\u{fffd}".as_bytes(),
                (b'"', _) => b"\\\"",
                (b'\\', _) => b"\\\\",
                (b'\n', _) => b"\\n",
                (b'\t', _) => b"\\t",
                (0..0x20 | 0x7f, _) => {
                    let [.., high, low] = &mut escape;
                    *high = hexadecimal(byte >> 4);
                    *low = hexadecimal(byte & 0xf);
                    &escape
                }
                (_, Some(length)) => rest.get(..length).unwrap_or(&[]),
            };
            if self.length + written.len() > end {
                return false;
            }
            self.raw(written);
            rest = rest.get(length.unwrap_or(1)..).unwrap_or(&[]);
        }
        true
    }

    fn raw(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
    }

    /// How long it is by now.
    pub fn length(&self) -> usize {
        self.length
    }

    /// What is written so far.
    fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    /// The whole line, with its newline. Once.
    pub fn ended(&mut self) -> &[u8] {
        if self.place == Position::Message {
            self.raw(b"\"");
        }
        if self.place != Position::Text {
            if self.length == self.start {
                self.raw(b"{");
            }
            if self.cut || self.full {
                self.raw(CUT);
            }
            self.raw(b"}");
        }
        self.raw(b"\n");
        self.text()
    }
}

fn decimal(number: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut rest = number.unsigned_abs();
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    // 19 digits are the most: one place is left.
    if number < 0 {
        used += 1;
        let sign = digits.len() - used;
        if let Some(place) = digits.get_mut(sign) {
            *place = b'-';
        }
    }
    digits.get(digits.len() - used..).unwrap_or(&[])
}

fn hexadecimal(digit: u8) -> u8 {
    match digit {
        0..10 => b'0' + digit,
        _ => b'a' + (digit - 10),
    }
}

/// How many bytes the first character takes; none if they are no UTF-8 (The
/// Unicode Standard, table 3-7). Not `core::str`'s: the child handler
/// may call only what this crate holds.
fn character(text: &[u8]) -> Option<usize> {
    match text {
        [0..=0x7f, ..] => Some(1),
        [0xc2..=0xdf, 0x80..=0xbf, ..] => Some(2),
        [0xe0, 0xa0..=0xbf, 0x80..=0xbf, ..]
        | [0xe1..=0xec | 0xee..=0xef, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xed, 0x80..=0x9f, 0x80..=0xbf, ..] => Some(3),
        [0xf0, 0x90..=0xbf, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xf1..=0xf3, 0x80..=0xbf, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xf4, 0x80..=0x8f, 0x80..=0xbf, 0x80..=0xbf, ..] => Some(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn text(fill: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::empty(Format::Text);
        fill(&mut line);
        String::from_utf8_lossy(line.ended()).into_owned()
    }

    /// The object; that it is one is held here.
    #[track_caller]
    fn object(fill: impl FnOnce(&mut Line)) -> Value {
        let mut line = Line::empty(Format::Json);
        line.begin_message();
        fill(&mut line);
        let ended = line.ended();
        assert!(ended.len() <= CAPACITY);
        let (newline, line) = ended.split_last().unwrap();
        assert_eq!(*newline, b'\n');
        assert!(!line.iter().any(|byte| *byte < 0x20 || *byte == 0x7f));
        serde_json::from_slice(line).unwrap_or_else(|error| {
            panic!("{error} in {}", String::from_utf8_lossy(line));
        })
    }

    #[test]
    fn numbers_read_as_they_are() {
        for number in [0, 7, 10, -1, 65_535, i64::MAX, i64::MIN] {
            let pushed = text(|line| {
                line.push_number(number);
            });
            assert_eq!(pushed.trim_end(), number.to_string());
            let object = object(|line| {
                line.push_number(number).number("number", number);
            });
            assert_eq!(
                object,
                json!({"message": number.to_string(), "number": number})
            );
        }
    }

    #[test]
    fn a_full_line_of_text_is_cut_and_still_ends() {
        for (long, length) in [(false, TEXT), (true, CAPACITY)] {
            let full = text(|line| {
                if long {
                    line.may_be_long();
                }
                line.push(&[b'x'; CAPACITY * 2]).push(b"more");
            });
            assert_eq!(full, "x".repeat(length - 1) + "\n");
        }
    }

    #[test]
    fn no_name_writes_a_line_of_its_own() {
        let line = text(|line| {
            line.push(b"a\nb\x1b[31m").number("fact", 1);
        });
        assert_eq!(line, "a?b?[31m\n");
    }

    #[test]
    fn every_byte_is_valid_json_and_read_back() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let bytes = [b'a', first, second, b'z'];
                // Two bytes of a longer character are replaced one by one here, and
                // as one by std: then the number of marks is not compared.
                let lossy = String::from_utf8_lossy(&bytes).replace('\u{fffd}', "");
                let object = object(|line| {
                    line.push(&bytes).string("value", &bytes);
                });
                for key in ["message", "value"] {
                    let got = object[key].as_str().unwrap();
                    assert_eq!(got.replace('\u{fffd}', ""), lossy, "{bytes:x?}");
                    let valid = std::str::from_utf8(&bytes).is_ok();
                    assert_eq!(got.contains('\u{fffd}'), !valid, "{bytes:x?}");
                }
            }
        }
    }

    #[test]
    fn what_is_utf8_is_what_std_says() {
        // Every two bytes, with the borders of the others.
        let borders = [0x7f, 0x80, 0xbf, 0xc0];
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                for third in borders {
                    for fourth in borders {
                        let bytes = [first, second, third, fourth];
                        let std = (1..=4).find(|n| std::str::from_utf8(&bytes[..*n]).is_ok());
                        assert_eq!(character(&bytes), std, "{bytes:x?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_full_object_is_cut_wherever_it_is_and_valid() {
        // Of each kind of character, so that every cut falls into each somewhere.
        let kinds: [&[u8]; 6] = [
            b"x",
            b"\"",
            b"\x01",
            "ü".as_bytes(),
            "𝄞".as_bytes(),
            b"\xff",
        ];
        for kind in kinds {
            for length in (0..CAPACITY + 50).rev().take(600).chain(0..40) {
                let value: Vec<u8> = kind.iter().copied().cycle().take(length).collect();
                let got = object(|line| {
                    line.push(b"short")
                        .number("count", 1)
                        .string("value", &value);
                    line.list("frames", |line| {
                        for number in 0..3 {
                            line.object("", |line| {
                                line.number("line", number).string("file", b"a.py");
                            });
                        }
                    });
                });
                assert_eq!(got["message"], "short");
                assert_eq!(got["count"], 1);
                let whole = got["frames"][2]["file"] == "a.py";
                assert_eq!(got["cut"] == true, !whole, "{length} of {kind:x?}");
            }
        }
    }

    #[test]
    fn a_long_message_leaves_room_for_facts() {
        let got = object(|line| {
            line.push(&[0; CAPACITY]).number("descriptor", 7);
        });
        assert_eq!((&got["descriptor"], &got["cut"]), (&json!(7), &json!(true)));
    }

    #[test]
    fn a_list_without_end_is_a_list() {
        let got = object(|line| {
            line.push(b"used").list("frames", |line| {
                for number in 0..10_000 {
                    line.object("", |line| {
                        line.list("nested", |line| {
                            line.number("", number).number("", -number);
                        });
                        line.string("file", b"/srv/app/tasks.py");
                    });
                }
            });
            line.number("late", 1);
        });
        let frames = got["frames"].as_array().unwrap();
        assert!(frames.len() > 50);
        assert_eq!(frames[50]["nested"], json!([50, -50]));
        assert_eq!((&got["cut"], &got["late"]), (&json!(true), &Value::Null));
    }
}
