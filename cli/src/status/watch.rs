//! `--watch`: draws again and again, until a signal ends it.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};

use super::{now, rfc3339, Picture};
use crate::arguments::Status;
use crate::terminal::{self, colours, Screen};
use crate::{signals, Failure};

pub fn watch(options: &Status, every: Duration) -> Result<i32, Failure> {
    let failed = |error: std::io::Error| Failure::new(1, error.to_string());
    let over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&over)).map_err(failed)?;
    }
    let mut arrived = signals::pipe(&[SIGINT, SIGTERM, SIGHUP, SIGWINCH])?;
    let alternate = Alternate::enter(Screen::now().terminal && !options.json)?;
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let screen = Screen::now();
        let picture = Picture::take(options, &screen);
        if alternate.0 {
            draw(&picture, every, &screen)?;
        } else {
            append(&picture, options.json)?;
        }
        // A changed size draws at once.
        let left = every
            .saturating_sub(began.elapsed())
            .max(Duration::from_millis(50));
        arrived.set_read_timeout(Some(left)).map_err(failed)?;
        let _ = arrived.read(&mut [0; 16]);
    }
    Ok(0)
}

/// Draws over what is on the screen.
fn draw(picture: &Picture, every: Duration, screen: &Screen) -> Result<(), Failure> {
    let head = format!(
        "forkguard status, every {} s, at {}; Ctrl-C ends",
        every.as_secs(),
        &rfc3339(now())[11..19]
    );
    let mut lines = vec![
        screen.paint(&screen.fit(&head), colours::FAINT),
        String::new(),
    ];
    lines.extend(picture.text.lines().map(str::to_owned));
    lines.extend(picture.notes.iter().map(|note| screen.fit(note)));
    let height = screen.height.unwrap_or(usize::MAX).max(2);
    if lines.len() > height {
        let more = lines.len() - height + 1;
        lines.truncate(height - 1);
        lines.push(format!("… {more} more lines"));
    }
    // Line by line, each to its end: nothing flickers.
    terminal::print(format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")).as_bytes())?;
    Ok(())
}

/// Writes behind what was written before, where standard output is no terminal.
fn append(picture: &Picture, is_json: bool) -> Result<(), Failure> {
    terminal::print(picture.text.as_bytes())?;
    terminal::print_notes(&picture.notes);
    if !is_json {
        terminal::print(b"\n")?;
    }
    Ok(())
}

/// The other screen of a terminal, so that what stood on the first is there again afterwards.
struct Alternate(bool);

impl Alternate {
    fn enter(terminal: bool) -> Result<Alternate, Failure> {
        if terminal {
            terminal::print(b"\x1b[?1049h\x1b[?25l")?;
        }
        Ok(Alternate(terminal))
    }
}

impl Drop for Alternate {
    fn drop(&mut self) {
        if self.0 {
            let _ = terminal::print(b"\x1b[?25h\x1b[?1049l");
        }
    }
}
