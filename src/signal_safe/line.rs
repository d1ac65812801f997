//! One line of text on the stack.

/// As long as a line may be. Below `PIPE_BUF` (4,096), so that lines of many
/// processes in one pipe or file never mix (pipe(7)).
pub const CAPACITY: usize = 1024;

/// Text that is cut, and never grows, when it is full.
pub struct Line {
    bytes: [u8; CAPACITY],
    length: usize,
}

impl Line {
    /// An empty line.
    pub const fn empty() -> Self {
        Line {
            bytes: [0; CAPACITY],
            length: 0,
        }
    }

    /// Adds bytes. Control characters become `?`: a path or a name cannot
    /// write lines of its own into a log.
    pub fn push(&mut self, text: &[u8]) -> &mut Self {
        for &byte in text {
            // One place is kept for the newline.
            if self.length >= CAPACITY - 1 {
                break;
            }
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = if byte < 0x20 || byte == 0x7f {
                    b'?'
                } else {
                    byte
                };
                self.length += 1;
            }
        }
        self
    }

    /// Adds a number in decimal.
    pub fn push_number(&mut self, number: i64) -> &mut Self {
        let mut digits = [0u8; 20];
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
        if number < 0 {
            self.push(b"-");
        }
        if let Some(text) = digits.get(digits.len() - used..) {
            self.push(text);
        }
        self
    }

    /// How many bytes more fit.
    pub fn room(&self) -> usize {
        (CAPACITY - 1).saturating_sub(self.length)
    }

    /// The text so far.
    pub fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    /// The text with its newline.
    pub fn ended(&mut self) -> &[u8] {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = b'\n';
        }
        self.bytes.get(..self.length + 1).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(number: i64) -> std::string::String {
        let mut line = Line::empty();
        line.push_number(number);
        std::string::String::from_utf8(line.text().to_vec()).unwrap()
    }

    #[test]
    fn numbers_read_as_they_are() {
        for number in [0, 7, 10, -1, 65_535, i64::MAX, i64::MIN] {
            assert_eq!(pushed(number), std::string::ToString::to_string(&number));
        }
    }

    #[test]
    fn a_full_line_is_cut_and_still_ends() {
        let mut line = Line::empty();
        line.push(&[b'x'; CAPACITY * 2]);
        assert_eq!(line.room(), 0);
        assert_eq!(line.text().len(), CAPACITY - 1);
        assert_eq!(line.ended().last(), Some(&b'\n'));
    }

    #[test]
    fn no_name_writes_a_line_of_its_own() {
        let mut line = Line::empty();
        line.push(b"a\nb\x1b[31m");
        assert_eq!(line.text(), b"a?b?[31m");
    }
}
