//! Tells `--version` the commit.

use std::process::Command;

fn main() {
    // A packager's, for sources without their history.
    println!("cargo:rerun-if-env-changed=FORKGUARD_COMMIT");
    let named = std::env::var("FORKGUARD_COMMIT").ok();
    let commit = named.filter(|commit| !commit.is_empty()).or_else(|| {
        // Sources that were unpacked inside another project's checkout are not of its commit.
        git(&["ls-files", "--error-unmatch", "build.rs"])?;
        git(&["rev-parse", "--short=12", "HEAD"])
    });
    println!(
        "cargo:rustc-env=FORKGUARD_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
    // Each commit and each checkout writes a line into it.
    match git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        Some(log) => println!("cargo:rerun-if-changed={log}"),
        None => println!("cargo:rerun-if-changed=build.rs"),
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
