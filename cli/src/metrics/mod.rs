//! `forkguard metrics`: for Prometheus, once or over HTTP.
//!
//! | file | holds |
//! |---|---|
//! | `families.rs` | trees of processes, with their counts |
//! | `ledger.rs` | what is remembered between two scrapes |
//! | `exposition.rs` | the text |
//! | `listen.rs` | the address |
//! | `server.rs` | the HTTP server |

mod exposition;
mod families;
mod ledger;
mod listen;
mod server;

use std::net::TcpListener;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::arguments::Metrics;
use crate::{processes, signals, terminal, Failure};
use exposition::Format;
use ledger::Ledger;
use server::Server;

pub use listen::Address;

pub fn metrics(options: &Metrics) -> Result<i32, Failure> {
    let mut ledger = Ledger::new(options.by_pid);
    if let Some(address) = &options.listen {
        return serve(&address.bind()?, ledger);
    }
    let format = if options.openmetrics {
        Format::OpenMetrics
    } else {
        Format::Classic
    };
    let seen = processes::look();
    let text = exposition::write(&ledger.enter(&seen), &seen, format);
    terminal::print(text.as_bytes())
}

/// Serves until a signal ends it.
fn serve(listeners: &[TcpListener], ledger: Ledger) -> Result<i32, Failure> {
    let server = Arc::new(Server::new(ledger));
    for listener in listeners {
        let failed = |error: std::io::Error| Failure::new(1, error.to_string());
        let address = listener.local_addr().map_err(failed)?;
        let mut notes = Vec::new();
        if !address.ip().is_loopback() {
            notes.push(format!(
                "{address} can be reached from other machines, and there is no password"
            ));
        }
        notes.push(format!("serving http://{address}/metrics"));
        terminal::print_notes(&notes);
        let (server, listener) = (Arc::clone(&server), listener.try_clone().map_err(failed)?);
        std::thread::spawn(move || server.serve(&listener));
    }
    signals::wait_for(&[SIGINT, SIGTERM])?;
    Ok(0)
}
