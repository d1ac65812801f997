//! What may be printed, and how much of it fits.

use std::io::{IsTerminal, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::Failure;

/// A text as it may stand on a terminal: command lines, paths and what a counters page holds are
/// other people's bytes, and an escape sequence among them would be obeyed.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            // Overrides of the writing direction make a line read as another one (Unicode TR 36).
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                safe.push('?')
            }
            '\n' | '\t' => safe.push(' '),
            _ if letter.is_control() => safe.push('?'),
            _ => safe.push(letter),
        }
    }
    safe
}

/// How many columns it takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// As much of it as so many columns hold.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 0;
    for letter in text.chars() {
        taken += letter.width().unwrap_or(0);
        if taken + 1 > columns {
            break;
        }
        kept.push(letter);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// Lines of so many columns, broken between words; a longer word stands alone.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(cut(word, columns)),
        }
    }
    lines
}

/// What standard output can show.
#[derive(Clone, Copy)]
pub struct Screen {
    /// Whether it is a terminal at all.
    pub terminal: bool,
    /// Whether it may be coloured.
    pub colour: bool,
    /// Columns; none where nothing is cut.
    pub width: Option<usize>,
    /// Lines.
    pub height: Option<usize>,
    /// Whether it is asked for more than ASCII.
    pub unicode: bool,
}

impl Screen {
    /// As it is now.
    pub fn now() -> Screen {
        let terminal = std::io::stdout().is_terminal();
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let size = terminal_size::terminal_size_of(std::io::stdout()).filter(|_| terminal);
        // A terminal whose size nobody set says 0.
        let known = |number: u16| (number > 0).then_some(usize::from(number));
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let utf8 = locale.is_some_and(|name| {
            let name = name.to_string_lossy().to_ascii_lowercase();
            name.contains("utf-8") || name.contains("utf8")
        });
        Screen {
            terminal,
            colour: terminal
                && set("NO_COLOR").is_none()
                && set("TERM").is_some_and(|name| name != "dumb"),
            width: size.and_then(|(width, _)| known(width.0)),
            height: size.and_then(|(_, height)| known(height.0)),
            unicode: utf8,
        }
    }

    /// As much of a text as one line holds.
    pub fn fit(&self, text: &str) -> String {
        cut(text, self.width.unwrap_or(usize::MAX))
    }

    /// The text in a colour, an SGR number (ECMA-48).
    pub fn paint(&self, text: &str, colour: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// SGR numbers that are readable on black and on white.
pub mod colours {
    pub const BOLD: &str = "1";
    pub const FAINT: &str = "2";
    pub const RED: &str = "31";
    pub const GREEN: &str = "32";
    pub const YELLOW: &str = "33";
}

/// Writes to standard output. A reader who has gone ends us by SIGPIPE, as it does `ls`; anything
/// else that keeps it from being written is reported.
pub fn print(bytes: &[u8]) -> Result<i32, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(0),
        Err(error) => Err(Failure::new(1, format!("standard output: {error}"))),
    }
}

/// Writes lines to standard error. It may be closed: there is nobody else to tell.
pub fn print_notes(notes: &[String]) {
    let mut error = std::io::stderr().lock();
    for note in notes {
        let _ = writeln!(error, "forkguard: {}", printable(note));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_on_a_terminal_is_obeyed() {
        assert_eq!(
            printable("a\x1b[2Jb\u{9b}1mc\u{202e}d\r\ne"),
            "a?[2Jb?1mc?d? e"
        );
    }

    #[test]
    fn a_wrapped_text_fits_and_is_whole() {
        let text = "lost: it made a temporary object: temp (temporary_object)";
        for columns in [20, 30, 80] {
            let lines = wrap(text, columns);
            assert!(lines.iter().all(|line| width(line) <= columns));
            assert_eq!(lines.join(" "), text);
        }
        assert_eq!(wrap("abcdef g", 4), ["abc…", "g"]);
    }

    #[test]
    fn a_cut_text_fits() {
        for columns in 0..12 {
            assert!(width(&cut("ab漢字cdef", columns)) <= columns);
        }
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }
}
