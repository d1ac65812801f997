//! What comes from the same source as `--help`: completions and man pages.

use super::{folder, forkguard, run};
use crate::support::Run;

#[test]
fn help_tells_the_exit_statuses_and_examples() {
    for action in ["run", "status", "metrics", "doctor"] {
        let outcome = run(&[action, "--help"]).run();
        outcome.ok().must_say("Examples:").must_say("Exit status:");
    }
    run(&["--help"]).run().ok().must_say("forkguard doctor -- ");
    run(&["--version"]).run().ok().must_say("forkguard 0.");
}

#[test]
fn bash_completes_it() {
    let script = format!(
        "source <({0} completions bash) && complete -p forkguard && \
         COMP_WORDS=(forkguard st) COMP_CWORD=1 COMP_LINE='forkguard st' && \
         _forkguard forkguard st forkguard && echo \"${{COMPREPLY[@]}}\"",
        forkguard().display()
    );
    let outcome = Run::new("bash").args(["-c", &script]).run();
    outcome.ok().must_say("-F _forkguard forkguard");
    outcome.check(outcome.stdout.ends_with("\nstatus\n"), "st becomes status");
    for shell in ["zsh", "fish"] {
        run(&["completions", shell]).run().ok().must_say("status");
    }
}

#[test]
fn man_shows_every_page_without_a_complaint() {
    let folder = folder();
    run(&["manual", folder.path().to_str().unwrap()]).run().ok();
    let pages = [
        "man1/forkguard.1",
        "man1/forkguard-run.1",
        "man1/forkguard-status.1",
    ];
    let pages = pages
        .into_iter()
        .chain(["man1/forkguard-metrics.1", "man1/forkguard-doctor.1"]);
    for page in pages.chain(["man7/libforkguard.7"]) {
        let page = folder.path().join(page);
        assert!(page.exists(), "{}", page.display());
        if !std::path::Path::new("/usr/bin/groff").exists() {
            eprintln!("NOT LOOKED AT, for there is no groff: {}", page.display());
            continue;
        }
        let outcome = Run::new("groff")
            .args(["-ww", "-man", "-Tutf8"])
            .arg(&page)
            .run();
        outcome.ok().check(outcome.stderr.is_empty(), "no warning");
    }
}
