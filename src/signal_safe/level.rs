//! How much a line matters, and what it looks like. A file of its own: `cli/` and `fuzz/` read the
//! configuration with the library's code, and need no more of this folder.

/// How much trouble, or detail, a line tells. As the `log` crate orders them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// Nothing is written.
    Off,
    /// The library cannot do its work.
    Error,
    /// Something could not be protected, or a setting is wrong.
    Warn,
    /// One line a child.
    Info,
    /// One line a session.
    Debug,
    /// What was looked at and left alone.
    Trace,
}

impl Level {
    /// Its name, as `FORKGUARD_LOG` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Off => "off",
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

/// What a line looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Format {
    /// For who reads a terminal.
    Text,
    /// One JSON object, for what collects logs.
    Json,
}
