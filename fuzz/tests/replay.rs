//! Every kept input, once more: those that fuzzing found worth keeping, and what was a finding once.

use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut count = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let input = std::fs::read(file.unwrap().path()).unwrap();
        run(&input);
        count += 1;
    }
    println!("{target}: {count} inputs");
    assert!(count >= 20, "{} holds {count} inputs", folder.display());
}

#[test]
fn first_bytes() {
    replay("first_bytes", forkguard_fuzz::first_bytes);
}

#[test]
fn statements() {
    replay("statements", forkguard_fuzz::statements);
}

#[test]
fn against_postgresql() {
    replay("against_postgresql", forkguard_fuzz::against_postgresql);
}

#[test]
fn configuration() {
    replay("configuration", forkguard_fuzz::configuration);
}
