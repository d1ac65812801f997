//! A kernel that lies, as qemu-user does: memory that it says it wipes in children and does not, and
//! sockets without a cookie. A filter (seccomp) makes ours one: it answers 0 and does nothing.

use crate::facts::Facts;
use crate::support::{cluster, compile, Outcome, Run, Transport};

const WARNING: &str = "does not wipe memory in forked children";

fn run(lie: &str, child: &str, policy: Option<&str>) -> Outcome {
    let run = Run::new(compile("lies"))
        .arg(cluster().conninfo(Transport::Tcp))
        .args([lie, child]);
    match policy {
        Some(policy) => run.guarded(true).env("FORKGUARD_POLICY", policy),
        None => run,
    }
    .run()
}

/// The parent's sessions are what they were, its statement was not cancelled, and the child
/// spoke on its own session or on none.
fn protected(outcome: &Outcome, policy: &str) {
    let parents = format!("answered by backend {}", outcome.fact("idle before"));
    outcome.check(outcome.fact("ended") == "exit 0", "the child ends well");
    for child in ["child", "later child"] {
        for said in outcome.facts(child) {
            let (own, lost) = (said.starts_with("answered by "), said.starts_with("bad, "));
            outcome.check(said != parents && (own || lost), "not on its parent's");
            outcome.check(own == (policy == "resume"), policy);
        }
    }
    outcome
        .check(outcome.fact("busy after") == "well", "not cancelled")
        .check(
            outcome.fact("idle after") == outcome.fact("idle before")
                && outcome.fact("idle last") == outcome.fact("idle before"),
            "the parent's session is undisturbed",
        );
}

#[test]
fn without_it_a_child_speaks_on_its_parents_session() {
    for child in ["clone", "fork"] {
        let outcome = run("both", child, None);
        let parents = format!("answered by backend {}", outcome.fact("idle before"));
        outcome
            .check(outcome.fact("child") == parents, "the fault")
            .check(outcome.fact("busy after") != "well", "the fault");
    }
}

#[test]
fn children_are_kept_off_where_the_kernel_lies() {
    let mut runs = 0;
    for policy in ["resume", "abandon"] {
        for lie in ["madvise", "wipe", "both", "cookie", "none"] {
            for child in ["clone", "fork", "forked", "cloned", "vfork"] {
                let outcome = run(lie, child, Some(policy));
                protected(&outcome, policy);
                let warned = outcome.stderr.matches(WARNING).count();
                let lies = !["cookie", "none"].contains(&lie);
                outcome.check(warned == usize::from(lies), "said once, where it lies");
                runs += 1;
            }
        }
    }
    println!("{runs} runs: protected");
}
