//! A panic of ours goes no further than the hook it happens in: the host's call goes on past the
//! library, and one line says so. Shown by a library that panics once in every piece of code that
//! a hook of libc's or a call of libpq's runs.

use crate::support::{cluster, python, Policy, Transport};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The library that panics.
fn panicking() -> PathBuf {
    crate::support::broken("panic", "panic_in_hooks", true)
}

#[test]
fn a_panic_in_each_hook_harms_nobody() {
    let library = panicking();
    let mut pieces = BTreeSet::new();
    for transport in [Transport::Tcp, Transport::Tls] {
        for policy in Policy::all() {
            let outcome = python("panics")
                .arg(cluster().conninfo(transport))
                .policy(*policy)
                .preload(&library)
                .run();
            outcome.ok().must_say("parent intact");
            let places = outcome.stderr.lines().filter_map(|line| {
                let (_, piece) = line.split_once("panics in forkguard::")?;
                // Behind the name an address, of which a page's part is the library's own.
                let (name, address) = piece.rsplit_once(' ')?;
                Some(format!("{name} {}", &address[address.len() - 3..]))
            });
            let before = pieces.len();
            pieces.extend(places);
            outcome.check(pieces.len() > before.min(1), "it should panic");
            outcome.must_say("this call went past the library");
        }
    }
    println!("panicked in {} pieces: {pieces:#?}", pieces.len());
    for module in ["socket", "wait", "descriptor", "shims", "resume::reconnect"] {
        assert!(
            pieces.iter().any(|piece| piece.contains(module)),
            "{module}"
        );
    }
    assert!(pieces.len() >= 22, "{pieces:#?}");
}
