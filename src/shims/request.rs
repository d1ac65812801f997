//! What a call to libpq asks of the server.

use crate::libpq::types::Text;

/// What a call asks of the server.
#[derive(Clone, Copy)]
pub(crate) enum Request<'a> {
    /// Nothing.
    None,
    /// A statement, by the simple protocol.
    Simple(Text<'a>),
    /// A statement without parameters, by the extended protocol.
    Extended(Text<'a>),
    /// To close the prepared statement of this name.
    ClosePrepared(Text<'a>),
    /// To close a portal.
    ClosePortal,
    /// Anything else.
    Other,
}
