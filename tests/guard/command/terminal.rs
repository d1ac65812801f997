//! A real terminal: a pseudo-terminal with a session of its own, so that Ctrl-C is a signal.

use super::forkguard;
use crate::counters::Tree;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A command in a terminal.
struct Terminal {
    master: File,
    shown: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    fn start(arguments: &[&str], width: u16, variables: &[(&str, &str)]) -> Terminal {
        let size = libc::winsize {
            ws_row: 24,
            ws_col: width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let (mut master, mut slave) = (0, 0);
        // SAFETY: room for two numbers, and a size to read.
        let made = unsafe {
            libc::openpty(
                &mut master,
                &mut slave,
                std::ptr::null_mut(),
                std::ptr::null(),
                &size,
            )
        };
        assert_eq!(made, 0, "openpty");
        // SAFETY: openpty's, and nobody else's.
        let (master, slave) = unsafe { (File::from_raw_fd(master), File::from_raw_fd(slave)) };
        let mut command = Command::new(forkguard());
        command
            .args(arguments)
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin"),
                ("TERM", "xterm"),
                ("LANG", "C.UTF-8"),
            ])
            .envs(variables.iter().copied())
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave);
        // SAFETY: both are system calls.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            })
        };
        let child = command.spawn().unwrap();
        drop(command); // and its copies of the slave: the end is seen
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, sink) = (master.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Terminal {
            master,
            shown,
            child,
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Twenty seconds are a loaded machine.
    #[track_caller]
    fn until(&mut self, what: &str, done: impl Fn(&mut Terminal) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(Instant::now() < end, "{what}: {:?}", self.shown());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it showed to its end, and its exit status.
    #[track_caller]
    fn end(mut self) -> (String, i32) {
        self.until("its end", |terminal| {
            terminal.child.try_wait().unwrap().is_some()
        });
        let status = self.child.wait().unwrap().code().unwrap();
        // What was written is read a moment later.
        std::thread::sleep(Duration::from_millis(100));
        (self.shown(), status)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without what a terminal obeys.
fn plain(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece
            .find(|letter: char| letter.is_ascii_alphabetic())
            .unwrap_or(0);
        plain.push_str(&piece[end + 1..]);
    }
    plain
}

fn family() -> (Tree, u32) {
    let tree = Tree::resuming();
    tree.tell(tree.pid(), "open");
    tree.tell(tree.pid(), "open");
    let child = tree.fork(tree.pid(), "fork");
    tree.tell(child, "use 0");
    (tree, child)
}

#[test]
fn the_table_fits_the_screen_and_has_its_colours() {
    let (tree, child) = family();
    tree.tell(tree.pid(), "hold 1");
    let loser = tree.fork(tree.pid(), "fork");
    assert_eq!(tree.tell(loser, "use 1"), 0);
    let pid = tree.pid().to_string();
    for width in [40, 60, 100, 200] {
        let (shown, status) = Terminal::start(&["status", &pid], width, &[]).end();
        assert_eq!(status, 0, "{shown}");
        assert!(shown.contains("\x1b["), "colours: {shown}");
        let text = plain(&shown);
        for line in text.lines() {
            assert!(
                line.chars().count() <= usize::from(width),
                "{width}: {line:?}"
            );
        }
        assert!(text.contains(&format!("├─{child}")), "a tree: {text}");
        // Why it was lost, and what to do, are broken and not cut.
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words.contains("more than read: create (transaction_more)"),
            "{text}"
        );
        assert!(
            words.contains("cure: commit or roll back before the fork"),
            "{text}"
        );
        assert!(text.contains(&format!("└─{loser}")), "a tree: {text}");
        assert_eq!(text.contains("LAST EVENT"), width >= 100, "{text}");
        assert!(
            text.contains("PROTECTED") && text.contains("RESUMED") || width < 60,
            "{text}"
        );
    }
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (shown, status) = Terminal::start(&["status", &pid], 100, &[variable]).end();
        assert_eq!(status, 0);
        assert!(!shown.contains('\x1b') && shown.contains(&pid), "{shown:?}");
    }
    let (shown, _) = Terminal::start(&["status", &pid], 100, &[("LANG", "C")]).end();
    assert!(
        plain(&shown).contains(&format!("|-{child}")),
        "ASCII: {shown}"
    );
    let (shown, status) = Terminal::start(&["doctor", "--pid", &pid], 100, &[]).end();
    assert!(
        status == 0 && shown.contains("\x1b[1;32mprotected"),
        "{shown:?}"
    );
}

#[test]
fn watching_draws_again_and_leaves_the_screen_as_it_was() {
    let (tree, child) = family();
    let pid = tree.pid().to_string();
    let mut terminal = Terminal::start(&["status", &pid, "--watch", "1"], 120, &[]);
    terminal.until("drawn twice", |terminal| {
        terminal.shown().matches("\x1b[H").count() >= 2
    });
    let first = terminal.shown();
    assert!(
        first.starts_with("\x1b[?1049h\x1b[?25l"),
        "the other screen: {first:?}"
    );
    // It sees what happens meanwhile.
    tree.tell(child, "use 1");
    let row = format!("└─{child}");
    terminal.until("the second session resumed", |terminal| {
        let text = plain(&terminal.shown());
        let last = text
            .lines()
            .rfind(|line| line.starts_with(&row))
            .map(str::to_owned);
        last.is_some_and(|line| line.split_whitespace().nth(4) == Some("2"))
    });
    // SIGWINCH draws at once; Ctrl-C ends it.
    terminal.master.write_all(b"\x03").unwrap();
    let (shown, status) = terminal.end();
    assert_eq!(status, 0);
    assert!(
        shown.trim_end().ends_with("\x1b[?25h\x1b[?1049l"),
        "restored: {shown:?}"
    );
}

/// Help is for people at a terminal: it fits, and no line is broken early.
#[test]
fn help_fits_and_fills_the_screen() {
    for action in [
        "run",
        "status",
        "metrics",
        "doctor",
        "path",
        "completions",
        "",
    ] {
        let arguments: &[&str] = &[action, "--help"];
        for width in [80, 100, 120] {
            let arguments = &arguments[usize::from(action.is_empty())..];
            let (shown, status) = Terminal::start(arguments, width, &[]).end();
            assert_eq!(status, 0, "{shown}");
            let text = plain(&shown).replace('\r', "");
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(
                widest <= Some(usize::from(width)),
                "{action} {width}: {widest:?} {text}"
            );
            for (line, next) in text.lines().zip(text.lines().skip(1)) {
                assert!(
                    !is_broken_early(line, next, width.min(100)),
                    "{action} {width}: {line:?} {text}"
                );
            }
        }
    }
}

/// Whether the next line goes on with a sentence whose next word this line has room for. Lists, whose
/// lines are broken by hand to less than 80 columns, are indented by two.
fn is_broken_early(line: &str, next: &str, width: u16) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let goes_on = next
        .trim_start()
        .starts_with(|letter: char| letter.is_lowercase() || letter == '(')
        && indent(line) == indent(next)
        && indent(line) != 2
        && !line.trim_start().starts_with('-')
        && !line.trim_end().ends_with([':', '.', ';']);
    let word = next.split_whitespace().next().unwrap_or_default();
    let is_hanging = indent(line) > 2 && indent(line) != 10 && indent(line) != 6;
    goes_on
        && !is_hanging
        && !line.trim().is_empty()
        && line.chars().count() + 1 + word.chars().count() <= usize::from(width)
}
