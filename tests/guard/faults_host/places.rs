//! A fork where nobody expects one.

use super::kernel::protected;
use crate::facts::Facts;
use crate::support::{cluster, compile_with, library, Outcome, Run, Transport};

fn fork_in(place: &str, transport: Transport, guarded: bool) -> Outcome {
    let other = compile_with("places", "libplaces.so", &["-DLIBRARY", "-shared", "-fPIC"]);
    let program = compile_with("places", "places", &["-rdynamic"]);
    let mut preload = Vec::new();
    if guarded {
        preload.push(library());
    }
    if place.ends_with("atfork handler") || place.ends_with("constructor") {
        preload.push(other.clone());
    }
    let preload: Vec<_> = preload
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Run::new(program)
        .env("CONNINFO", cluster().conninfo(transport))
        .env("PLACE", place)
        .env("LIBRARY", other)
        .env("LD_PRELOAD", preload.join(":"))
        .env("FORKGUARD_POLICY", "resume")
        .run()
}

#[test]
fn a_fork_where_nobody_expects_one() {
    for place in [
        "signal handler",
        "in the middle of a call",
        "prepare: atfork handler",
        "parent: atfork handler",
        "child: atfork handler",
        "dlopen",
        "constructor",
        "preinit",
        "preinit session",
        "resolver",
    ] {
        let fault = fork_in(place, Transport::Unix, false);
        let parents = format!("answered by backend {}", fault.fact("idle before"));
        fault.check(fault.fact("child idle") == parents, "the fault");
        for transport in Transport::ALL {
            let outcome = fork_in(place, transport, true);
            let resumed = protected(&outcome);
            outcome
                .check(resumed, "the idle session is the child's own")
                .check(outcome.facts("forks").len() == 1, "it forked there");
        }
    }
}
