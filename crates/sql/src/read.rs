//! Cuts a text into statements, and reads each.

use super::grammar;
use super::lexer::Lexer;
use super::reason::Reason;
use super::statement::{Calls, Mode, Redefines, Routines, Statement, Touch, What};
use super::temporary::Temporaries;

/// The statements of a query text. `text` ends where the server's ends: before the NUL.
pub fn read<'a>(text: &'a [u8], mode: &Mode<'a>) -> Statements<'a> {
    Statements {
        text,
        lexer: Lexer::new(text, mode.standard_conforming_strings),
        mode: *mode,
        // Such a text cannot even be cut.
        cannot_cut: !mode.ascii_safe && !text.is_ascii(),
        in_transaction: false,
    }
}

/// Iterates over the statements of a text; empty ones are left out.
pub struct Statements<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    mode: Mode<'a>,
    cannot_cut: bool,
    in_transaction: bool,
}

impl Statements<'_> {
    /// A transaction may be open: [`Statement::touch`] is asked for. From a `BEGIN` on it always is.
    pub fn in_transaction(mut self, may_be: bool) -> Self {
        self.in_transaction |= may_be;
        self
    }
}

impl<'a> Iterator for Statements<'a> {
    type Item = Statement<'a>;

    fn next(&mut self) -> Option<Statement<'a>> {
        if self.cannot_cut {
            self.cannot_cut = false;
            let text = core::mem::take(&mut self.text);
            self.lexer = Lexer::new(text.get(..0)?, true);
            let what = What::Opaque(Reason::HiddenAscii.into());
            return Some(Statement {
                text,
                what,
                redefines: Redefines::Nothing,
                calls: Calls::default(),
                routines: Routines::Same,
                temporary: Temporaries::Same,
                touch: Touch::More(b""),
                vouched: false,
            });
        }
        let statement =
            grammar::statement(self.text, &mut self.lexer, &self.mode, self.in_transaction)?;
        self.in_transaction |= statement.what == What::Begin;
        Some(statement)
    }
}
