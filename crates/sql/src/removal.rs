//! Statements that only take away from their session, or end its transaction, by the server's exact
//! grammar.
//!
//! The reader may take a text that the server refuses for anything. Here it may not: the answer
//! goes to the program, so each form stands as in PostgreSQL's gram.y, and every other text is
//! left to the server.

use super::lexer::{Kind, Lexer, Token};
use super::name::Name;
use super::words::Word;
use super::{calls, Mode};

/// More tokens than the longest form has: `RESET a . b . c`.
const LONGEST: usize = 6;

/// The command tag (`cmdtaglist.h`) with which the server answers a text, if it is one statement
/// that only takes something away: prepared statements, channels, cursors, settings, or all that a
/// transaction is (a `COMMIT` that fails has another tag).
pub fn removal(text: &[u8], mode: &Mode) -> Option<&'static [u8]> {
    // A vertical tab is a blank since 16 and an error before. Beyond ASCII, a byte may be invalid in
    // the client's encoding, and is then an error even in a comment.
    if !text.is_ascii() || text.contains(&0x0b) {
        return None;
    }
    let mut lexer = Lexer::new(text, mode.standard_conforming_strings);
    let mut tokens = [None; LONGEST];
    let mut count = 0;
    let mut ended = false;
    loop {
        let token = lexer.token();
        match token.kind {
            Kind::End => break,
            Kind::Semicolon => ended = count > 0,
            _ if ended => return None, // a second statement
            _ => {
                *tokens.get_mut(count)? = Some(token);
                count += 1;
            }
        }
    }
    form(text, tokens.get(..count)?)
}

fn form(text: &[u8], tokens: &[Option<Token>]) -> Option<&'static [u8]> {
    use Word::*;
    let kind = |place: usize| Some((*tokens.get(place)?)?.kind);
    let is_word = |place, word| kind(place) == Some(Kind::Word(word));
    let is_name = |place: usize| tokens.get(place).is_some_and(|token| is_name(text, *token));
    let Some(Kind::Word(first)) = kind(0) else {
        return None;
    };
    let dotted = |from| {
        (from..tokens.len()).all(|place| match (place - from) % 2 {
            0 => is_name(place),
            _ => kind(place) == Some(Kind::Dot),
        })
    };
    let is_asterisk = |place: usize| {
        let token = tokens.get(place).copied().flatten();
        token.is_some_and(|token| text.get(token.start) == Some(&b'*'))
    };
    // `opt_transaction opt_transaction_chain`; AND NO CHAIN is there since 12.
    let ends = |from: usize, length: usize| {
        let from = from + usize::from(is_word(from, Work) || is_word(from, Transaction));
        let no_chain = is_word(from, And) && is_word(from + 1, No) && is_word(from + 2, Chain);
        length == if no_chain { from + 3 } else { from }
    };
    Some(match (first, tokens.len()) {
        (Deallocate, 2) if is_word(1, All) => b"DEALLOCATE ALL",
        (Deallocate, 2) if is_name(1) => b"DEALLOCATE",
        (Deallocate, 3) if is_word(1, Prepare) && is_word(2, All) => b"DEALLOCATE ALL",
        (Deallocate, 3) if is_word(1, Prepare) && is_name(2) => b"DEALLOCATE",
        (Unlisten, 2) if is_name(1) || is_asterisk(1) => b"UNLISTEN",
        (Close, 2) if is_word(1, All) => b"CLOSE CURSOR ALL",
        (Reset, 2) if is_word(1, All) => b"RESET",
        (Reset, 2 | 4 | 6) if dotted(1) => b"RESET",
        (Discard, 2) if is_word(1, All) => b"DISCARD ALL",
        (Discard, 2) if is_word(1, Plans) => b"DISCARD PLANS",
        (Discard, 2) if is_word(1, Sequences) => b"DISCARD SEQUENCES",
        (Discard, 2) if is_word(1, Temp) || is_word(1, Temporary) => b"DISCARD TEMP",
        (Commit | End, length) if ends(1, length) => b"COMMIT",
        (Rollback | Abort, length) if ends(1, length) => b"ROLLBACK",
        _ => return None,
    })
}

/// An identifier, and no key word: which of those may be names changes with the version and the
/// place. Not empty, and short enough to be the whole name.
fn is_name(text: &[u8], token: Option<Token>) -> bool {
    let Some(token) = token else {
        return false;
    };
    let written = text.get(token.start..token.end).unwrap_or_default();
    let well_formed = match token.kind {
        Kind::Quoted => written != b"\"\"",
        Kind::Word(_) => !calls::keyword(written),
        _ => false,
    };
    well_formed && Name::written(written).is_some()
}
