//! The HTTP server: `/metrics` and `/healthz`, one request a connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::exposition::{self, Format};
use super::ledger::Ledger;
use crate::processes;

/// Connections at once. A scraper is one.
const CONNECTIONS: usize = 16;
/// For a request, and for its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest request: Prometheus's has some 500 bytes.
const LONGEST: usize = 8192;

/// What all connections share.
pub struct Server {
    ledger: Mutex<Ledger>,
    busy: AtomicUsize,
}

impl Server {
    pub fn new(ledger: Ledger) -> Server {
        Server {
            ledger: Mutex::new(ledger),
            busy: AtomicUsize::new(0),
        }
    }

    /// Answers until the process ends.
    pub fn serve(self: &Arc<Server>, listener: &TcpListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // No descriptors left, say: not in a circle.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            if self.busy.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                self.busy.fetch_sub(1, Ordering::Relaxed);
                continue; // closed
            }
            let server = Arc::clone(self);
            let started = std::thread::Builder::new().spawn(move || {
                server.handle(stream);
                server.busy.fetch_sub(1, Ordering::Relaxed);
            });
            if started.is_err() {
                self.busy.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn handle(&self, mut stream: TcpStream) {
        let Some(request) = read_request(&mut stream) else {
            return;
        };
        let answer = self.answer(&Request::parse(&request));
        // Each write has its limit; an answer is a few of them at most.
        if stream.set_write_timeout(Some(PATIENCE)).is_ok() && stream.write_all(&answer).is_ok() {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn answer(&self, request: &Request) -> Vec<u8> {
        const PLAIN: &str = "text/plain; charset=utf-8";
        let (status, kind, body) = match (request.method, request.path) {
            ("GET" | "HEAD", "/metrics") => {
                let kind = request.format.content_type();
                ("200 OK", kind, self.metrics(request.format))
            }
            ("GET" | "HEAD", "/healthz") => ("200 OK", PLAIN, "ok\n".to_owned()),
            ("GET" | "HEAD", _) => {
                let hint = "the metrics are at /metrics, /healthz says ok\n".to_owned();
                ("404 Not Found", PLAIN, hint)
            }
            _ => ("405 Method Not Allowed", PLAIN, "GET /metrics\n".to_owned()),
        };
        let allow = match status {
            "405 Method Not Allowed" => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nVary: Accept\r\n{allow}Connection: close\r\n\r\n",
            body.len()
        );
        if request.method != "HEAD" {
            answer.push_str(&body);
        }
        answer.into_bytes()
    }

    fn metrics(&self, format: Format) -> String {
        // One thread's panic would leave a ledger that is whole: what it holds is replaced at its end.
        let mut ledger = self
            .ledger
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let seen = processes::look();
        exposition::write(&ledger.enter(&seen), &seen, format)
    }
}

/// A request's head. A client that is slow or sends too much is cut off.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let end = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        let left = end.saturating_duration_since(Instant::now());
        // A limit of nothing is an error, and the end.
        if request.len() > LONGEST || stream.set_read_timeout(Some(left)).is_err() {
            return None;
        }
        match stream.read(&mut piece) {
            Ok(count @ 1..) => request.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&request).into_owned())
}

struct Request<'a> {
    method: &'a str,
    path: &'a str,
    format: Format,
}

impl Request<'_> {
    fn parse(text: &str) -> Request<'_> {
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().unwrap_or_default();
        let accept: Vec<&str> = lines
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.eq_ignore_ascii_case("accept"))
            .map(|(_, value)| value)
            .collect();
        Request {
            method,
            path: path.split('?').next().unwrap_or_default(),
            format: choose_format(&accept.join(",")),
        }
    }
}

/// The format that a client prefers; the classic one for a client that does not say.
fn choose_format(accept: &str) -> Format {
    let (mut classic, mut open) = (0.0, 0.0);
    for range in accept.to_ascii_lowercase().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let parameter = |name| {
            let mut found = parameters.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| value.trim_matches('"'))
        };
        let quality = match parameter("q") {
            None => 1.0,
            Some(text) => text.parse::<f32>().unwrap_or(0.0),
        };
        // 1.0 is 0.0.1 with the same text, but for what we do not use.
        let is_known = matches!(parameter("version"), None | Some("1.0.0" | "0.0.1"));
        match kind {
            "application/openmetrics-text" if is_known => open = quality.max(open),
            "text/plain" | "text/*" | "*/*" => classic = quality.max(classic),
            _ => {}
        }
    }
    if open > classic {
        Format::OpenMetrics
    } else {
        Format::Classic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_format_that_it_prefers() {
        // Prometheus 2.42 and 3, and curl.
        let old = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let new = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, format) in [
            (old, Format::OpenMetrics),
            (new, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "Application/OpenMetrics-Text; version=\"1.0.0\"",
                Format::OpenMetrics,
            ),
            ("", Format::Classic),
            ("*/*", Format::Classic),
            ("text/plain", Format::Classic),
            (
                "application/openmetrics-text;q=0.2,text/plain;q=0.9",
                Format::Classic,
            ),
            ("application/openmetrics-text;q=0", Format::Classic),
            (
                "application/openmetrics-text;version=2.0.0",
                Format::Classic,
            ),
            (";;q=,,=", Format::Classic),
        ] {
            assert_eq!(choose_format(accept), format, "{accept}");
        }
    }
}
