//! The Python frames of a thread, read out of memory: CPython 3.13 and 3.14.
//!
//! Nothing of the interpreter is called, and its lock is not asked for: a frame
//! changes by its own thread alone, and that is the caller. Since 3.13 `_PyRuntime`
//! begins with a table of offsets for programs that read frames from outside
//! (`_Py_DebugOffsets`, pycore_runtime.h of 3.13, pycore_debug_offsets.h of 3.14).
//! The table says where a field lies; what it may be is checked here: each address
//! is asked for before it is read, each object must be of the type that it should
//! be, and each loop has an end of its own. What fails a check ends the stack.

use core::cell::Cell;

/// Memory that may not be there.
pub(crate) trait Memory {
    /// Fills `into` with what is at `address`: whether all of it could be read.
    fn read(&self, address: usize, into: &mut [u8]) -> bool;
}

/// What of CPython's is exported, by address; 0 where it is not.
#[derive(Default)]
pub(crate) struct Exports {
    /// `_PyRuntime`.
    pub runtime: usize,
    /// `PyCode_Type`.
    pub code: usize,
    /// `PyUnicode_Type`.
    pub unicode: usize,
    /// `PyBytes_Type`.
    pub bytes: usize,
}

const NOT_KNOWN: &[u8] = b"this version of CPython is not known here (3.11 to 3.14 are)";
const FREE_THREADED: &[u8] = b"a free-threaded CPython is not known here";
const UNSOUND: &[u8] = b"CPython's frames are not where its table of offsets says";

/// Writes the frames of `thread`, a `PyThreadState` of the calling thread, as
/// CPython's faulthandler writes them: how many bytes. Or says why it cannot.
pub(crate) fn write(
    memory: &impl Memory,
    exports: &Exports,
    thread: usize,
    into: &mut [u8],
) -> Result<usize, &'static [u8]> {
    let layout = Layout::read(memory, exports)?;
    let mut text = Text { into, length: 0 };
    let reader = Reader {
        memory,
        exports,
        layout,
        lines: Cell::new(LINES),
    };
    reader.write(thread, &mut text).ok_or(UNSOUND)?;
    Ok(text.length)
}

/// Frames that are written, as CPython does (traceback.c).
const FRAMES: usize = 100;
/// Frames that are looked at: those of C calls stand between, and are not written.
const STEPS: usize = 4 * FRAMES;
/// Characters of a name that are written, as CPython does (traceback.c).
const CHARACTERS: usize = 500;
/// Bytes of tables of lines that are read in all, for whatever a damaged one says: the
/// table of one function of half a million lines takes as much, a usual one some 200.
const LINES: usize = 4 << 20;

/// Where in the table a group of offsets begins, in words. The first word of each is
/// the structure's size.
struct Groups {
    thread: usize,
    frame: usize,
    code: usize,
    object: usize,
    bytes: usize,
    unicode: usize,
}

const PYTHON_3_13: Groups = Groups {
    thread: 19,
    frame: 28,
    code: 34,
    object: 44,
    bytes: 64,
    unicode: 67,
};
const PYTHON_3_14: Groups = Groups {
    thread: 22,
    frame: 31,
    code: 39,
    object: 50,
    bytes: 74,
    unicode: 77,
};
/// Words that are read of the table: to the end of the last group in both.
const WORDS: usize = 81;

/// Where what lies in CPython's structures.
struct Layout {
    current_frame: usize,
    previous: usize,
    executable: usize,
    instr_ptr: usize,
    owner: usize,
    filename: usize,
    name: usize,
    linetable: usize,
    firstlineno: usize,
    code: usize,
    ob_type: usize,
    bytes_size: usize,
    bytes_start: usize,
    state: usize,
    length: usize,
    ascii: usize,
}

impl Layout {
    fn read(memory: &impl Memory, exports: &Exports) -> Result<Layout, &'static [u8]> {
        const WORD: usize = size_of::<usize>();
        let mut table = [0; WORDS * WORD];
        let exported = [
            exports.runtime,
            exports.code,
            exports.unicode,
            exports.bytes,
        ];
        if exported.contains(&0)
            || !memory.read(exports.runtime, &mut table)
            || !table.starts_with(b"xdebugpy")
        {
            return Err(NOT_KNOWN);
        }
        let word = |index: usize| {
            let bytes = table.chunks_exact(WORD).nth(index);
            bytes
                .and_then(|bytes| bytes.try_into().ok())
                .map_or(usize::MAX, usize::from_ne_bytes)
        };
        // `PY_VERSION_HEX`: an alpha's or beta's table may be another one.
        let version = word(1);
        let groups = match (version >> 16, version >> 4 & 0xf) {
            (0x030d, 0xc | 0xf) => PYTHON_3_13,
            (0x030e, 0xc | 0xf) => PYTHON_3_14,
            _ => return Err(NOT_KNOWN),
        };
        if word(2) != 0 {
            return Err(FREE_THREADED);
        }
        // The `nth` word of a group: a field of `width` bytes within the structure.
        let field = |group: usize, nth: usize, width: usize| {
            const LARGEST: usize = 64 << 10;
            let (size, offset) = (word(group), word(group + nth));
            let fits = size <= LARGEST && offset.checked_add(width).is_some_and(|end| end <= size);
            fits.then_some(offset).ok_or(UNSOUND)
        };
        let aligned = |group, nth| {
            let offset = field(group, nth, WORD)?;
            (offset % WORD == 0).then_some(offset).ok_or(UNSOUND)
        };
        Ok(Layout {
            current_frame: aligned(groups.thread, 4)?,
            previous: aligned(groups.frame, 1)?,
            executable: aligned(groups.frame, 2)?,
            instr_ptr: aligned(groups.frame, 3)?,
            owner: field(groups.frame, 5, 1)?,
            filename: aligned(groups.code, 1)?,
            name: aligned(groups.code, 2)?,
            linetable: aligned(groups.code, 4)?,
            firstlineno: field(groups.code, 5, 4)?,
            code: field(groups.code, 9, 1)?,
            ob_type: aligned(groups.object, 1)?,
            bytes_size: aligned(groups.bytes, 1)?,
            bytes_start: field(groups.bytes, 2, 1)?,
            state: field(groups.unicode, 1, 4)?,
            length: aligned(groups.unicode, 2)?,
            // The size of PyASCIIObject, which the others begin with.
            ascii: aligned(groups.unicode, 3)?,
        })
    }
}

struct Reader<'a, M> {
    memory: &'a M,
    exports: &'a Exports,
    layout: Layout,
    /// What is left of [`LINES`].
    lines: Cell<usize>,
}

impl<M: Memory> Reader<'_, M> {
    fn get<const N: usize>(&self, structure: usize, offset: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let address = structure.checked_add(offset)?;
        self.memory.read(address, &mut bytes).then_some(bytes)
    }

    fn word(&self, structure: usize, offset: usize) -> Option<usize> {
        self.get(structure, offset).map(usize::from_ne_bytes)
    }

    /// Whether there is an object of exactly this type.
    fn is_a(&self, object: usize, kind: usize) -> bool {
        object.is_multiple_of(size_of::<usize>())
            && self.word(object, self.layout.ob_type) == Some(kind)
    }

    /// The frames, the innermost first. None where not even one could be read.
    fn write(&self, thread: usize, text: &mut Text) -> Option<()> {
        text.push(b"Stack (most recent call first):\n");
        let mut frame = self.word(thread, self.layout.current_frame)?;
        let mut written = 0;
        for _ in 0..STEPS {
            if frame == 0 {
                if written == 0 {
                    text.push(b"  <no Python frame>\n");
                }
                return Some(());
            }
            match self.step(frame, text, written < FRAMES) {
                Some(Step { is_python, next }) => {
                    if is_python && written == FRAMES {
                        break;
                    }
                    written += usize::from(is_python);
                    frame = next;
                }
                None if written == 0 => return None,
                None => break,
            }
        }
        text.push(b"  ...\n");
        Some(())
    }

    /// One frame, and its line if `tells`.
    fn step(&self, frame: usize, text: &mut Text, tells: bool) -> Option<Step> {
        // `enum _frameowner`: a thread, a generator, a frame object; from here on
        // the interpreter or the C stack, which have no code.
        const NOT_PYTHON: u8 = 3;
        // `_PyStackRef` of 3.14 (pycore_stackref.h); an object's are 0 in 3.13.
        const TAGS: usize = 3;
        let next = self.word(frame, self.layout.previous)?;
        let [owner] = self.get(frame, self.layout.owner)?;
        let is_python = owner < NOT_PYTHON;
        if is_python {
            let code = self.word(frame, self.layout.executable)? & !TAGS;
            if !self.is_a(code, self.exports.code) {
                return None;
            }
            if tells {
                let instruction = self.word(frame, self.layout.instr_ptr)?;
                self.tell(code, instruction, text);
            }
        }
        Some(Step { is_python, next })
    }

    fn tell(&self, code: usize, instruction: usize, text: &mut Text) {
        text.push(b"  File \"");
        self.string(code, self.layout.filename, text);
        text.push(b"\", line ");
        match self.line(code, instruction) {
            Some(line @ 0..) => text.push_number(line.unsigned_abs()),
            _ => text.push(b"???"),
        }
        text.push(b" in ");
        self.string(code, self.layout.name, text);
        text.push(b"\n");
    }

    /// The line of an instruction, which may be one that has none.
    fn line(&self, code: usize, instruction: usize) -> Option<i64> {
        const UNIT: usize = 2;
        let first = i32::from_ne_bytes(self.get(code, self.layout.firstlineno)?);
        let table = self.word(code, self.layout.linetable)?;
        if !self.is_a(table, self.exports.bytes) {
            return None;
        }
        let length = self.word(table, self.layout.bytes_size)?;
        let start = code.checked_add(self.layout.code)?;
        // Before the first: the frame is only being made.
        let Some(offset) = instruction.checked_sub(start) else {
            return Some(first.into());
        };
        let mut bytes = Bytes {
            memory: self.memory,
            address: table.checked_add(self.layout.bytes_start)?,
            rest: length.min(self.lines.get()),
            chunk: [0; CHUNK],
            filled: 0,
            used: 0,
        };
        let before = bytes.rest;
        let line = line_of(&mut bytes, first.into(), offset / UNIT);
        let read = before - bytes.rest;
        self.lines.set(self.lines.get() - read);
        line
    }

    /// Writes a string of the code's, as CPython does: what is not ASCII escaped.
    fn string(&self, code: usize, offset: usize, text: &mut Text) {
        if self.characters(code, offset, text).is_none() {
            text.push(b"???");
        }
    }

    fn characters(&self, code: usize, offset: usize, text: &mut Text) -> Option<()> {
        // `PyUnicodeObject_state`, from the lowest bit: interned 2, kind 3, compact, ascii.
        const COMPACT: u32 = 1 << 5;
        const ASCII: u32 = 1 << 6;
        // What PyCompactUnicodeObject adds: utf8_length, utf8.
        const UTF8: usize = 16;
        let string = self.word(code, offset)?;
        if !self.is_a(string, self.exports.unicode) {
            return None;
        }
        let state = u32::from_ne_bytes(self.get(string, self.layout.state)?);
        let width = (state >> 2 & 7) as usize;
        let length = self.word(string, self.layout.length)?;
        if state & COMPACT == 0 || ![1, 2, 4].contains(&width) {
            return None;
        }
        let beyond = if state & ASCII == 0 { UTF8 } else { 0 };
        let mut bytes = Bytes {
            memory: self.memory,
            address: string.checked_add(self.layout.ascii)?.checked_add(beyond)?,
            rest: length.min(CHARACTERS) * width,
            chunk: [0; CHUNK],
            filled: 0,
            used: 0,
        };
        for _ in 0..length.min(CHARACTERS) {
            let mut character = [0; 4]; // little-endian, as on every processor here
            for byte in character.iter_mut().take(width) {
                *byte = bytes.next()?;
            }
            text.push_character(u32::from_le_bytes(character));
        }
        if length > CHARACTERS {
            text.push(b"...");
        }
        Some(())
    }
}

struct Step {
    is_python: bool,
    next: usize,
}

/// The line of the instruction with this number, by a table of locations
/// (InternalDocs/code_objects.md in CPython). Each entry is of one to eight
/// instructions, and begins with the only byte of it that has its highest bit set.
fn line_of(bytes: &mut impl Peekable, first: i64, instruction: usize) -> Option<i64> {
    const BEGINS: u8 = 0x80;
    let mut line = first;
    let mut end = 0usize;
    loop {
        let head = bytes.next()?;
        if head & BEGINS == 0 {
            return None;
        }
        let moves = match head >> 3 & 15 {
            15 => None, // no location
            13 | 14 => Some(signed(bytes)?),
            kind @ 10..=12 => Some(i64::from(kind - 10)),
            _ => Some(0),
        };
        line = line.wrapping_add(moves.unwrap_or(0));
        end = end.checked_add(usize::from(head & 7) + 1)?;
        if instruction < end {
            return moves.and(Some(line));
        }
        while bytes.peek()? & BEGINS == 0 {
            bytes.next();
        }
    }
}

/// Six bits a byte, the lowest first; the lowest bit of all is the sign.
fn signed(bytes: &mut impl Peekable) -> Option<i64> {
    const MORE: u8 = 0x40;
    let mut value = 0;
    for place in 0..6 {
        let byte = bytes.next()?;
        value |= i64::from(byte & 0x3f) << (6 * place);
        if byte & MORE == 0 {
            let size = value >> 1;
            return Some(if value & 1 == 0 { size } else { -size });
        }
    }
    None // no number of 32 bits
}

trait Peekable {
    fn peek(&mut self) -> Option<u8>;
    fn next(&mut self) -> Option<u8>;
}

/// Bytes that are read at once.
const CHUNK: usize = 256;

/// So many bytes of memory, one after the other.
struct Bytes<'a, M> {
    memory: &'a M,
    address: usize,
    rest: usize,
    chunk: [u8; CHUNK],
    filled: usize,
    used: usize,
}

impl<M: Memory> Peekable for Bytes<'_, M> {
    fn peek(&mut self) -> Option<u8> {
        if self.used == self.filled {
            self.filled = self.rest.min(CHUNK);
            self.used = 0;
            let chunk = self.chunk.get_mut(..self.filled)?;
            if chunk.is_empty() || !self.memory.read(self.address, chunk) {
                self.filled = 0;
                self.rest = 0;
                return None;
            }
            self.rest -= self.filled;
            self.address = self.address.checked_add(self.filled)?;
        }
        self.chunk.get(self.used).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.used += 1;
        Some(byte)
    }
}

/// What is written, as far as there is room.
struct Text<'a> {
    into: &'a mut [u8],
    length: usize,
}

impl Text<'_> {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.into.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
    }

    fn push_number(&mut self, number: u64) {
        let mut divisor = 1;
        while number / divisor > 9 {
            divisor *= 10;
        }
        while divisor > 0 {
            self.push(&[b'0' + (number / divisor % 10) as u8]);
            divisor /= 10;
        }
    }

    /// As `_Py_DumpASCII` of CPython does (traceback.c).
    fn push_character(&mut self, character: u32) {
        let (prefix, digits) = match character {
            0x20..=0x7e => return self.push(&[character as u8]),
            0..=0xff => (b"\\x", 2),
            0x100..=0xffff => (b"\\u", 4),
            _ => (b"\\U", 8),
        };
        self.push(prefix);
        for place in (0..digits).rev() {
            let digit = (character >> (4 * place) & 0xf) as usize;
            self.push(b"0123456789abcdef".get(digit..=digit).unwrap_or(b"?"));
        }
    }
}

/// One frame, as it is written.
pub(crate) struct Frame<'a> {
    /// Where it was read from.
    pub file: &'a [u8],
    /// -1 where it has none.
    pub line: i64,
    /// Its name.
    pub function: &'a [u8],
}

impl Frame<'_> {
    /// `File "PATH", line N in NAME`, from its end: a path may hold anything.
    pub(crate) fn read(text: &[u8]) -> Option<Frame<'_>> {
        let rest = text.strip_prefix(b"File \"")?;
        let at = |part: &[u8]| rest.windows(part.len()).rposition(|window| window == part);
        let (number, name) = (at(b"\", line ")?, at(b" in ")?);
        let digits = rest.get(number + 8..name)?;
        Some(Frame {
            file: rest.get(..number)?,
            line: core::str::from_utf8(digits).ok()?.parse().unwrap_or(-1),
            function: rest.get(name + 4..)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    const BASE: usize = 0x7f00_0000_0000;
    const SIZE: usize = 16 << 10;
    /// Where in the image what lies.
    const TYPES: usize = 0x400; // PyCode_Type, PyUnicode_Type, PyBytes_Type, None's
    const THREAD: usize = 0x600;
    const HEAP: usize = 0x800;

    /// Memory with a thread of CPython's in it, and nothing around it.
    struct Image {
        bytes: Vec<u8>,
        used: usize,
        reads: Cell<usize>,
    }

    impl Memory for Image {
        fn read(&self, address: usize, into: &mut [u8]) -> bool {
            self.reads.set(self.reads.get() + 1);
            let Some(start) = address.checked_sub(BASE) else {
                return false;
            };
            let there = start
                .checked_add(into.len())
                .and_then(|end| self.bytes.get(start..end));
            there.is_some_and(|bytes| {
                into.copy_from_slice(bytes);
                true
            })
        }
    }

    impl Image {
        /// The offsets of CPython 3.14.8 on x86-64, in the table of this version.
        fn new(version: usize, groups: &Groups) -> Image {
            let mut image = Image {
                bytes: std::vec![0; SIZE],
                used: HEAP,
                reads: Cell::new(0),
            };
            image.bytes[..8].copy_from_slice(b"xdebugpy");
            image.put(8, version);
            let all: [(usize, &[usize]); 6] = [
                (groups.thread, &[400, 0, 8, 16, 72]),
                (groups.frame, &[88, 8, 0, 56, 80, 74]),
                (
                    groups.code,
                    &[216, 112, 120, 128, 136, 68, 52, 96, 104, 208],
                ),
                (groups.object, &[16, 8]),
                (groups.bytes, &[40, 16, 32]),
                (groups.unicode, &[64, 32, 16, 40]),
            ];
            for (group, offsets) in all {
                for (nth, offset) in offsets.iter().enumerate() {
                    image.put((group + nth) * 8, *offset);
                }
            }
            image
        }

        fn put(&mut self, at: usize, word: usize) {
            self.bytes[at..at + 8].copy_from_slice(&word.to_ne_bytes());
        }

        fn room(&mut self, size: usize) -> usize {
            let at = self.used;
            self.used += size.next_multiple_of(16);
            at
        }

        fn string(&mut self, text: &str) -> usize {
            let widest = text.chars().max().map_or(0, u32::from);
            let (width, beyond) = match widest {
                0..=0x7f => (1, 0),
                0x80..=0xff => (1, 16),
                0x100..=0xffff => (2, 16),
                _ => (4, 16),
            };
            let at = self.room(40 + beyond + 4 * text.len());
            self.put(at + 8, BASE + TYPES + 16);
            self.put(at + 16, text.chars().count());
            self.put(at + 32, width << 2 | 1 << 5 | usize::from(beyond == 0) << 6);
            for (place, character) in text.chars().enumerate() {
                let start = at + 40 + beyond + place * width;
                let code = u32::from(character).to_le_bytes();
                self.bytes[start..start + width].copy_from_slice(&code[..width]);
            }
            BASE + at
        }

        fn code(&mut self, file: &str, name: &str, first: u32, lines: &[u8]) -> usize {
            let (file, name) = (self.string(file), self.string(name));
            let table = self.room(33 + lines.len());
            self.put(table + 8, BASE + TYPES + 32);
            self.put(table + 16, lines.len());
            self.bytes[table + 32..][..lines.len()].copy_from_slice(lines);
            let at = self.room(216);
            self.put(at + 8, BASE + TYPES);
            self.bytes[at + 68..at + 72].copy_from_slice(&first.to_ne_bytes());
            self.put(at + 112, file);
            self.put(at + 120, name);
            self.put(at + 136, BASE + table);
            BASE + at
        }

        /// A frame of `owner` at the instruction of that number, above those that are there.
        fn frame(&mut self, executable: usize, instruction: usize, owner: u8) -> usize {
            let at = self.room(88);
            let below = self.get_current();
            self.put(at, executable);
            self.put(at + 8, below);
            self.put(at + 56, (executable & !3) + 208 + 2 * instruction);
            self.bytes[at + 74] = owner;
            self.put(THREAD + 72, BASE + at);
            at
        }

        fn word(&self, at: usize) -> usize {
            usize::from_ne_bytes(self.bytes[at..at + 8].try_into().unwrap())
        }

        fn get_current(&self) -> usize {
            self.word(THREAD + 72)
        }

        fn exports(&self) -> Exports {
            Exports {
                runtime: BASE,
                code: BASE + TYPES,
                unicode: BASE + TYPES + 16,
                bytes: BASE + TYPES + 32,
            }
        }

        fn text(&self) -> Result<String, &'static [u8]> {
            let mut into = [0; 4096];
            let length = write(self, &self.exports(), BASE + THREAD, &mut into)?;
            Ok(std::str::from_utf8(&into[..length]).unwrap().into())
        }
    }

    /// Lines 10, 12 and 11 of two instructions each; then one without a line; then 5.
    const LINES_OF_CODE: &[u8] = &[0x81, 0, 0xe1, 0, 0, 0xe9, 3, 0x00, 0xf8, 0xe8, 13];

    fn some() -> Image {
        let mut image = Image::new(0x030e_08f0, &PYTHON_3_14);
        let module = image.code("/srv/app.py", "<module>", 10, LINES_OF_CODE);
        let lambda = image.code("/srv/\u{e4}.py", "na\u{2b0}me", 10, LINES_OF_CODE);
        let none = BASE + TYPES + 48;
        image.frame(none | 1, 0, 3);
        image.frame(module | 1, 0, 0);
        image.frame(none, 0, 4);
        image.frame(lambda, 3, 1);
        image.frame(lambda, 5, 2);
        image
    }

    const SOME: &str = "Stack (most recent call first):
  File \"/srv/\\xe4.py\", line 11 in na\\u02b0me
  File \"/srv/\\xe4.py\", line 12 in na\\u02b0me
  File \"/srv/app.py\", line 10 in <module>
";

    #[test]
    fn frames_are_written_as_cpython_does() {
        assert_eq!(some().text().unwrap(), SOME);
        let mut image = some();
        // The same by the other table, and a candidate for the release.
        image.bytes[8..WORDS * 8].fill(0);
        let other = Image::new(0x030d_00c1, &PYTHON_3_13);
        image.bytes[..WORDS * 8].copy_from_slice(&other.bytes[..WORDS * 8]);
        assert_eq!(image.text().unwrap(), SOME);
        image.put(THREAD + 72, 0);
        assert!(image.text().unwrap().ends_with("\n  <no Python frame>\n"));
    }

    #[test]
    fn a_long_stack_and_a_long_name_end() {
        let mut image = Image::new(0x030e_08f0, &PYTHON_3_14);
        let code = image.code(&"f".repeat(CHARACTERS + 1), "n\u{1f600}", 1, &[0xf8]);
        let frame = image.frame(code, 0, 0);
        image.put(frame + 8, BASE + frame); // its own caller
        let mut into = std::vec![0; 100_000];
        let length = write(&image, &image.exports(), BASE + THREAD, &mut into).unwrap();
        let text = std::str::from_utf8(&into[..length]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + FRAMES + 1);
        let file = "f".repeat(CHARACTERS);
        let one = std::format!("  File \"{file}...\", line ??? in n\\U0001f600");
        assert!(lines[1..=FRAMES].iter().all(|line| *line == one));
        assert_eq!(lines[FRAMES + 1], "  ...");
        // What does not fit is left out.
        assert_eq!(
            write(&image, &image.exports(), BASE + THREAD, &mut into[..9]),
            Ok(9)
        );
    }

    #[test]
    fn what_is_not_known_is_not_read() {
        let versions = [
            0x030c_01f0,
            0x030f_00f0,
            0x030e_00b4,
            0x040d_00f0,
            0,
            usize::MAX,
        ];
        for version in versions {
            let mut image = some();
            image.put(8, version);
            assert_eq!(image.text(), Err(NOT_KNOWN), "{version:x}");
        }
        let mut image = some();
        image.put(16, 1);
        assert_eq!(image.text(), Err(FREE_THREADED));
        image.bytes[0] = b'y';
        assert_eq!(image.text(), Err(NOT_KNOWN));
        let image = some();
        let nothing = Exports::default();
        assert_eq!(
            write(&image, &nothing, BASE + THREAD, &mut []),
            Err(NOT_KNOWN)
        );
        // No table there at all, as in CPython up to 3.12.
        let elsewhere = Exports {
            runtime: BASE + SIZE - 8,
            ..image.exports()
        };
        assert_eq!(
            write(&image, &elsewhere, BASE + THREAD, &mut []),
            Err(NOT_KNOWN)
        );
        // An offset beyond its structure.
        for nth in [1, 2, 4, 5, 9] {
            let mut image = some();
            image.put((PYTHON_3_14.code + nth) * 8, 216);
            assert_eq!(image.text(), Err(UNSOUND));
        }
    }

    #[test]
    fn what_is_of_another_type_is_not_followed() {
        let text = BASE + HEAP; // the first string
        let in_place = |field: usize| {
            let mut image = some();
            let frame = image.get_current() - BASE;
            let code = image.word(frame);
            match field {
                0 => image.put(frame, text),
                136 => image.put(code - BASE + 136, text),
                _ => image.put(code - BASE + field, code),
            }
            image.text()
        };
        assert_eq!(in_place(0), Err(UNSOUND));
        let begins = |field, line| {
            let text = in_place(field).unwrap();
            assert_eq!(text.lines().nth(1), Some(line));
        };
        begins(112, "  File \"???\", line 11 in na\\u02b0me");
        begins(120, "  File \"/srv/\\xe4.py\", line 11 in ???");
        begins(136, "  File \"/srv/\\xe4.py\", line ??? in na\\u02b0me");
        // What was read before it stays.
        let mut image = some();
        let inner = image.get_current() - BASE;
        let outer = image.word(inner + 8) - BASE;
        image.put(outer, text);
        let cut: String = SOME.split_inclusive('\n').take(2).collect();
        assert_eq!(image.text().unwrap(), cut + "  ...\n");
    }

    /// A function's first line, `co_linetable`, and by `co_lines()` the line of each
    /// instruction: of CPython 3.11, which has the same tables.
    type Real = (i64, &'static [u8], &'static [i64]);
    const REAL: [Real; 2] = [
        (
            1,
            &[
                128, 0, 216, 8, 9, 128, 65, 240, 74, 78, 1, 0, 13, 14, 221, 6, 7, 221, 1, 2, 241,
                3, 1, 7, 4, 244, 0, 1, 7, 4, 241, 3, 2, 13, 4, 240, 0, 2, 5, 5,
            ],
            &[
                1, 2, 2, 2503, 2504, 2504, 2504, 2504, 2504, 2504, 2505, 2505, 2505, 2505, 2505,
                2505, 2504, 2504, 2504, 2504, 2504, 2504, 2504, 2503, 2503, 2503,
            ],
        ),
        (
            1,
            &[
                232, 0, 232, 0, 128, 0, 216, 8, 9, 136, 1, 216, 8, 9, 216, 8, 22, 136, 14, 144, 65,
                136, 14, 137, 14, 140, 14, 241, 5, 3, 9, 6, 244, 0, 3, 9, 6, 128, 65, 240, 8, 0,
                14, 15, 240, 0, 4, 5, 18, 240, 0, 4, 5, 18, 136, 1, 240, 2, 3, 9, 18, 216, 18, 19,
                136, 71, 136, 71, 136, 71, 136, 71, 248, 221, 15, 25,
            ],
            &[
                1, 1, 1, 2, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2, 2, 2, 6, 6, 6,
                6, 7, 8, 8, 8, 8, 8, NO_LINE, 9, 9, 9, 9, 9, 9,
            ],
        ),
    ];
    const NO_LINE: i64 = -1;

    #[test]
    fn lines_of_a_real_table() {
        for (first, table, lines) in REAL {
            for (instruction, line) in lines.iter().enumerate() {
                let found = line_of(&mut Table(table), first, instruction);
                assert_eq!(found.unwrap_or(NO_LINE), *line, "{instruction}");
            }
            assert_eq!(line_of(&mut Table(table), first, lines.len()), None);
        }
    }

    struct Table<'a>(&'a [u8]);

    impl Peekable for Table<'_> {
        fn peek(&mut self) -> Option<u8> {
            self.0.first().copied()
        }

        fn next(&mut self) -> Option<u8> {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            Some(*first)
        }
    }

    /// Around the image every address can be read, and everywhere is the same byte.
    struct Endless(Image, u8);

    impl Memory for Endless {
        fn read(&self, address: usize, into: &mut [u8]) -> bool {
            if !self.0.read(address, into) {
                into.fill(self.1);
            }
            true
        }
    }

    /// More than the deepest stack takes: what a frame asks for, its two names, and
    /// the tables of lines.
    const READS: usize = STEPS * (16 + 2 * CHARACTERS * 4 / CHUNK) + FRAMES + LINES / CHUNK;

    #[test]
    fn a_table_of_lines_without_end_ends() {
        for byte in [0x80, 0x00, 0xf8, 0xe8] {
            let mut image = Image::new(0x030e_08f0, &PYTHON_3_14);
            let code = image.code("file", "name", 1, LINES_OF_CODE);
            let frame = image.frame(code, usize::MAX / 8, 0);
            image.put(frame + 8, BASE + frame);
            let table = SIZE - 32;
            image.put(code - BASE + 136, BASE + table);
            image.put(table + 8, BASE + TYPES + 32);
            image.put(table + 16, usize::MAX);
            let endless = Endless(image, byte);
            let mut into = [0; 64 << 10];
            let exports = endless.0.exports();
            let length = write(&endless, &exports, BASE + THREAD, &mut into).unwrap();
            assert!(into[..length].ends_with(b", line ??? in name\n  ...\n"));
            assert!(endless.0.reads.get() < READS, "{}", endless.0.reads.get());
        }
    }

    /// Whatever stands anywhere in the table of offsets, the frames and what they lead to.
    #[test]
    fn damage_is_survived_within_bounds() {
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 16) as usize % below
        };
        let (sound, mut as_before, mut fewer, mut refused) = (some(), 0, 0, 0);
        for _ in 0..20_000 {
            let mut image = some();
            image.bytes.copy_from_slice(&sound.bytes);
            for _ in 0..=next(4) {
                // In the table, or behind it.
                let start = [8, THREAD][next(2)];
                let end = if start == 8 { WORDS * 8 } else { image.used };
                let at = start + next((end - start) / 8) * 8;
                let word = match next(8) {
                    0 => usize::MAX,
                    1 => 0,
                    2 => next(256),
                    3 => BASE + next(SIZE), // one that can be read
                    4 => BASE + HEAP + next((sound.used - HEAP) / 16) * 16,
                    5 => usize::MAX / 2 + next(usize::MAX / 2),
                    6 => BASE + SIZE - next(16),
                    _ => {
                        image.bytes[at + next(8)] ^= 1 << next(8);
                        continue;
                    }
                };
                image.put(at, word);
            }
            // Nothing around it, or something everywhere.
            let exports = image.exports();
            let mut into = [0x55; 2048];
            let (into, beyond) = into.split_at_mut(1024);
            let (result, reads) = if next(2) == 0 {
                let result = write(&image, &exports, BASE + THREAD, into);
                (result, image.reads.get())
            } else {
                let endless = Endless(image, next(256) as u8);
                let result = write(&endless, &exports, BASE + THREAD, into);
                (result, endless.0.reads.get())
            };
            assert!(reads < READS, "{reads}");
            assert!(beyond.iter().all(|byte| *byte == 0x55));
            match result {
                Ok(length) if into[..length] == *SOME.as_bytes() => as_before += 1,
                Ok(length) => {
                    let text = std::str::from_utf8(&into[..length]).unwrap();
                    assert!(text.starts_with("Stack (most recent call first):\n  "));
                    fewer += 1;
                }
                Err(why) => {
                    assert!([NOT_KNOWN, FREE_THREADED, UNSOUND].contains(&why));
                    refused += 1;
                }
            }
        }
        // Each kind of end was met, by more than a chance.
        assert!([as_before, fewer, refused]
            .iter()
            .all(|count| *count > 1000));
    }
    #[test]
    fn a_frame_is_read_from_its_end() {
        let frame = Frame::read(b"File \"/a \", line 1 in/b.py\", line 12 in <lambda>").unwrap();
        assert_eq!(frame.file, b"/a \", line 1 in/b.py");
        assert_eq!((frame.line, frame.function), (12, b"<lambda>".as_slice()));
        assert!(Frame::read(b"...").is_none());
    }
}
