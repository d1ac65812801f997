//! Tells plain queries by their bytes alone.

/// Whether a text is one plain query, told by its bytes alone: `SELECT` without a parenthesis, a
/// quote, a comment or a second statement calls no function, and without `INTO` and `temp` it makes
/// nothing. Most of what a busy program sends; the reader says the same of it, in ten times as long.
pub fn is_plain_select(text: &[u8]) -> bool {
    is_plain::<false>(text)
}

/// The same, and that it only reads ([`crate::Touch::Reads`]): no `FOR UPDATE`, no time of its transaction.
pub fn is_plain_read(text: &[u8]) -> bool {
    is_plain::<true>(text)
}

fn is_plain<const READ: bool>(text: &[u8]) -> bool {
    const PLAIN: u8 = 1;
    const BEGINS: u8 = 2; // a word that a plain query has not may begin here
    const LAST: u8 = 3; // may stand at the end
    const PARAMETER: u8 = 4;
    const BEGINS_MORE: u8 = 5; // a word that a plain read has not may begin here
    const CLASS: [u8; 256] = {
        let mut class = [0; 256];
        let mut byte = b'a';
        while byte <= b'z' {
            class[byte as usize] = PLAIN;
            class[byte.to_ascii_uppercase() as usize] = PLAIN;
            byte += 1;
        }
        let mut digit = b'0';
        while digit <= b'9' {
            class[digit as usize] = PLAIN;
            digit += 1;
        }
        let others = b" \t\n\r_,.=<>*+%";
        let mut place = 0;
        while place < others.len() {
            class[others[place] as usize] = PLAIN;
            place += 1;
        }
        class[b'i' as usize] = BEGINS;
        class[b'I' as usize] = BEGINS;
        class[b't' as usize] = BEGINS;
        class[b'T' as usize] = BEGINS;
        let more = b"cflpCFLP";
        place = 0;
        while place < more.len() {
            class[more[place] as usize] = BEGINS_MORE;
            place += 1;
        }
        class[b';' as usize] = LAST;
        class[b'$' as usize] = PARAMETER;
        class
    };
    let Some((first, rest)) = text.split_at_checked(7) else {
        return false;
    };
    if !first.eq_ignore_ascii_case(b"select ") {
        return false;
    }
    for (place, byte) in rest.iter().enumerate() {
        let plain = match CLASS[usize::from(*byte)] {
            PLAIN => true,
            BEGINS => !rest.get(place..place + 4).is_some_and(|word| {
                word.eq_ignore_ascii_case(b"into") || word.eq_ignore_ascii_case(b"temp")
            }),
            BEGINS_MORE => {
                // `current_…`, `for …`, `local…`, `pg_…`; also within a word: then the reader looks.
                !READ
                    || !rest.get(place..place + 4).is_some_and(|word| {
                        word.eq_ignore_ascii_case(b"curr")
                            || word.eq_ignore_ascii_case(b"loca")
                            || matches!(word, [b'f' | b'F', b'o' | b'O', b'r' | b'R', behind] if behind.is_ascii_whitespace())
                            || matches!(word, [b'p' | b'P', b'g' | b'G', b'_', _])
                    })
            }
            LAST => place + 1 == rest.len(),
            PARAMETER => rest.get(place + 1).is_some_and(u8::is_ascii_digit),
            _ => false,
        };
        if !plain {
            return false;
        }
    }
    true
}
