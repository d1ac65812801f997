//! The level of a log line, and its format.

/// How important a line is. In the order of the `log` crate.
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
    /// For people at a terminal.
    Text,
    /// One JSON object, for log collectors.
    Json,
}
