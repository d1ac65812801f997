//! Every kept input, once more: those that fuzzing found worth keeping, and what was a finding once.

use std::path::Path;

/// `corpora` are folders: what was kept for one target may serve another.
fn replay(corpora: &[&str], run: fn(&[u8])) {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut count = 0;
    for corpus in corpora {
        for file in std::fs::read_dir(all.join(corpus)).unwrap() {
            let input = std::fs::read(file.unwrap().path()).unwrap();
            run(&input);
            count += 1;
        }
    }
    println!("{corpora:?}: {count} inputs");
    assert!(count >= 20, "{corpora:?} hold {count} inputs");
}

#[test]
fn first_bytes() {
    replay(&["first_bytes"], forkguard_fuzz::first_bytes);
}

#[test]
fn statements() {
    replay(&["statements"], forkguard_fuzz::statements);
}

#[test]
fn against_postgresql() {
    let corpora = ["against_postgresql", "statements"];
    replay(&corpora, forkguard_fuzz::against_postgresql);
}

#[test]
fn configuration() {
    replay(&["configuration"], forkguard_fuzz::configuration);
}
