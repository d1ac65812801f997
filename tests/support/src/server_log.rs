//! What a server's log says of the sessions of a run.

use super::Cluster;
use std::collections::HashSet;

/// What a server logs where two clients have spoken into one session, or a client has left it
/// in the middle of a message.
const FAULTS: [&str; 11] = [
    "invalid frontend message type",
    "protocol synchronization",
    "invalid message",
    "insufficient data",
    "data left in message",
    "unexpected EOF within message",
    "incomplete message",
    "SSL error",
    "could not accept SSL",
    "bad record mac",
    "terminating connection because protocol",
];

impl Cluster {
    /// Waits for the end of the parent's sessions, and fails unless these have met nothing in
    /// their life, and no backend of the run a fault.
    #[track_caller]
    pub fn saw_nothing_wrong(&self, mark: u64, parents: &[u64], all: &HashSet<u64>) {
        let log = self.wait_for_end(mark, parents);
        for backend in parents {
            let quiet = ["connection received", "connection auth", "disconnection"];
            for line in of_backend(&log, *backend) {
                assert!(
                    quiet
                        .iter()
                        .any(|start| line.contains(&format!("LOG:  {start}"))),
                    "the parent's session {backend} met: {line}"
                );
            }
        }
        self.saw_no_fault(mark, all);
    }

    /// Waits for the end of sessions: the log since the mark.
    #[track_caller]
    pub fn wait_for_end(&self, mark: u64, backends: &[u64]) -> String {
        assert!(!backends.is_empty());
        let lack = format!("no end of sessions {backends:?}");
        self.wait_for_log_that(mark, &lack, |log| {
            let gone = |backend: &u64| {
                of_backend(log, *backend).any(|line| line.contains("disconnection: session time"))
            };
            backends.iter().all(gone)
        })
    }

    /// Fails if a backend's client has left it in the middle of a message, or was two.
    #[track_caller]
    pub fn saw_no_fault(&self, mark: u64, backends: &HashSet<u64>) {
        let log = self.log_since(mark);
        for backend in backends {
            for line in of_backend(&log, *backend) {
                let fault = FAULTS.iter().find(|fault| line.contains(**fault));
                assert!(fault.is_none(), "backend {backend} met: {line}");
            }
        }
    }
}

fn of_backend(log: &str, backend: u64) -> impl Iterator<Item = &str> {
    let tag = format!("[{backend}]");
    log.lines().filter(move |line| line.contains(&tag))
}
