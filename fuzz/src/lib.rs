//! What hostile bytes can reach, each with what must hold of it: a panic is a finding.
//!
//! Each function takes one input; `targets/` gives it libFuzzer's, and `tests/replay.rs` those kept in `corpus/`.

use forkguard_proto::config;
use forkguard_proto::wire::{recognise, First, Verdict};
use forkguard_sql::{is_plain_select, read, Mode, Trusted, What};
use reader::said::{said, MODE};
use reader::tree::{does, Does};

/// The recogniser of first bytes, as a client's writes bring them: the first byte of the input
/// tells where the rest is cut. However it is cut, a session is never taken for an unrelated socket,
/// but for TLS without a request, which nobody cuts.
pub fn first_bytes(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else {
        return;
    };
    let at_once = recognise(First::default(), bytes);
    let (one, two) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let in_two = match recognise(First::default(), one) {
        Verdict::Undecided(first) => {
            assert!(first.seen <= 8);
            recognise(first, two)
        }
        decided => decided,
    };
    let tls = bytes.first() == Some(&22);
    match (at_once, in_two) {
        _ if tls => {}
        // What follows the head is judged by as much of it as one write has.
        (Verdict::Session(_), Verdict::Session(_)) | (Verdict::Unrelated, _) => {}
        (at_once, in_two) => assert_eq!(at_once, in_two),
    }
}

/// The reader of statements, in each mode; the first byte of the input tells which. The pieces
/// are parts of the text, in order, and what is told by its bytes alone the reader says, too.
pub fn statements(input: &[u8]) {
    let Some((choice, text)) = input.split_first() else {
        return;
    };
    let (names, text) = if choice & 4 != 0 {
        let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        text.split_at(end)
    } else {
        (&[][..], text)
    };
    let (trusted, _) = Trusted::parse(&String::from_utf8_lossy(names));
    let mode = Mode {
        standard_conforming_strings: choice & 1 == 0,
        ascii_safe: choice & 2 == 0,
        server: [18, 13, 0, 99][usize::from(choice >> 3 & 3)],
        trusted: &trusted,
    };
    let mut behind = text.as_ptr();
    let mut count = 0;
    for statement in read(text, &mode) {
        let piece = statement.text.as_ptr_range();
        assert!(piece.start >= behind && piece.end <= text.as_ptr_range().end);
        behind = piece.end;
        count += 1;
        if let What::Opaque(reason) = statement.what {
            assert!(reason.to_string().len() < 4 * 63 + 100);
        }
    }
    if is_plain_select(text) {
        let all: Vec<What> = read(text, &MODE).map(|statement| statement.what).collect();
        assert!(matches!(all[..], [What::Harmless]) && count <= 1, "{all:?}");
    }
}

/// The reader against PostgreSQL's parser: where that finds one statement, the reader finds one,
/// and never takes it for less than it is.
pub fn against_postgresql(input: &[u8]) {
    let Ok(sql) = std::str::from_utf8(input) else {
        return;
    };
    // Its trees are walked by calls of a call, on libFuzzer's own stack of 8 MB.
    const DEEPEST: usize = 64;
    let nests = |byte: &&u8| b"([".contains(byte);
    if sql.contains('\0') || input.iter().filter(nests).count() > DEEPEST || input.len() > 4096 {
        return;
    }
    let Some((theirs, kind)) = does(sql) else {
        return;
    };
    // Its only expressions are modifiers of types, which the server takes as constants or refuses.
    if kind == "CompositeTypeStmt" {
        return;
    }
    let read: Vec<_> = read(input, &MODE).collect();
    let ours: Vec<Does> = read.iter().map(said).collect();
    // In its tree a file without a name is no file.
    let is_copy = theirs == Does::This("Copy".into());
    let is_safe = match &ours[..] {
        [Does::Nothing] if is_copy && sql.contains("''") => true,
        [Does::Changes(_)] => true,
        [ours] => *ours == theirs,
        // Cut into more: safe where one of them says that nothing is known.
        more => more.iter().any(|piece| matches!(piece, Does::Changes(_))),
    };
    assert!(is_safe, "{ours:?}, not {theirs:?}");
}

/// The configuration: variables are cut at NUL, as the environment is. Whatever they hold, each
/// complaint is short, and what is not ours changes nothing.
pub fn configuration(input: &[u8]) {
    let variables = || input.split(|byte| *byte == 0);
    let (_, complaints) = config::read(variables());
    for complaint in complaints {
        assert!(complaint.len() < 1024, "{complaint}");
    }
    let others = variables().filter(|variable| !variable.starts_with(b"FORKGUARD_"));
    assert_eq!(
        config::read(others),
        (config::Config::default(), Vec::new())
    );
}
