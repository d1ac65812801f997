//! Thousands of signals a second, during fork and reconnect.

use crate::facts::Facts;
use crate::support::{cluster, compile, Outcome, Run, Transport};
use std::time::Duration;

fn storm(how: &str, forks: u32, transport: Transport, guarded: bool) -> Outcome {
    let outcome = Run::new(compile("storm"))
        .arg(cluster().conninfo(transport))
        .args([how, &forks.to_string()])
        .env("FORKGUARD_POLICY", "resume")
        .guarded(guarded)
        .timeout(Duration::from_secs(120))
        .run();
    outcome.ok();
    outcome
}

#[test]
fn a_storm_of_signals_during_fork_and_reconnect() {
    const FORKS: u32 = 30;
    for how in ["restart", "interrupt"] {
        storm(how, 3, Transport::Unix, false).disturbed();
        for transport in [Transport::Unix, Transport::Tls] {
            let outcome = storm(how, FORKS, transport, true);
            let own = format!("own {FORKS}, shared 0, lost 0, ended by a signal 0");
            outcome
                .undisturbed()
                .check(outcome.fact("children") == own, "each child's own");
            let signals: u32 = outcome.fact("in children").parse().unwrap();
            println!("{how}, {transport:?}: {FORKS} children, {signals} signals in them");
            outcome.check(signals > 10 * FORKS, "it was a storm");
        }
    }
}
