//! The logger behind the `log` facade.
//!
//! There is one log: the sink. Whatever may run in a hook or a child writes its line there
//! itself, without formatting. The facade is for what only the constructor and a panic say, in
//! texts that have to be formatted.

use core::fmt::{self, Write};

use forkguard_signal_safe::line::Line;
use forkguard_signal_safe::sink::{self, Level};

/// Writes to [`sink`], one stack buffer a line.
struct Logger;

/// Formats into a line. The crate of `Line` cannot: its handlers must not format.
struct Message<'a>(&'a mut Line);

impl fmt::Write for Message<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push(text.as_bytes());
        Ok(())
    }
}

fn level_of(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::Error,
        log::Level::Warn => Level::Warn,
        log::Level::Info => Level::Info,
        log::Level::Debug => Level::Debug,
        log::Level::Trace => Level::Trace,
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        sink::wants(level_of(metadata.level()))
    }

    fn log(&self, record: &log::Record) {
        sink::say(level_of(record.level()), |line| {
            let _ = Message(line).write_fmt(*record.args());
        });
    }

    fn flush(&self) {}
}

/// Sends the facade's records to the sink. Once, by the constructor.
pub(crate) fn start() {
    let _ = log::set_logger(&Logger);
    // The sink decides.
    log::set_max_level(log::LevelFilter::Trace);
    // A panic of ours is caught at the C boundary and the real function is
    // called; the host's standard error is not the place for its story.
    std::panic::set_hook(std::boxed::Box::new(|panic| {
        let place = panic
            .location()
            .map_or(("?", 0), |place| (place.file(), place.line()));
        log::error!(
            "internal error at {}:{}; this call went past the library",
            place.0,
            place.1
        );
    }));
}
