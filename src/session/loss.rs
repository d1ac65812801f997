//! Why one session is lost: a [`Reason`] (the list is `crates/sql/src/reason.rs`), and what it is about.

use std::boxed::Box;
use std::vec::Vec;

use forkguard_sql::{Cause, Reason};

/// As long as a detail may be: the log line has room for the hint behind it.
const LONGEST_DETAIL: usize = 300;

/// Why a session cannot be resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Why.
    pub reason: Reason,
    /// See [`Cause::detail`].
    detail: Box<[u8]>,
}

impl Loss {
    /// With the words of somebody else, libpq or the server; they are cut where they are long.
    pub(crate) fn with(reason: Reason, detail: &[u8]) -> Loss {
        let detail = detail.trim_ascii();
        Loss {
            reason,
            detail: detail.get(..LONGEST_DETAIL).unwrap_or(detail).into(),
        }
    }

    /// The same, borrowed.
    pub(crate) fn cause(&self) -> Cause<'_> {
        Cause {
            reason: self.reason,
            detail: &self.detail,
        }
    }
}

// Without memory: an empty box has none.
impl From<Reason> for Loss {
    fn from(reason: Reason) -> Loss {
        Loss {
            reason,
            detail: Box::default(),
        }
    }
}

/// A name or a word of a statement, in printable ASCII.
impl From<Cause<'_>> for Loss {
    fn from(cause: Cause) -> Loss {
        let shown = cause.detail.get(..forkguard_sql::LONGEST_NAME);
        let shown = shown.unwrap_or(cause.detail).escape_ascii();
        Loss {
            reason: cause.reason,
            detail: shown.collect::<Vec<u8>>().into_boxed_slice(),
        }
    }
}
