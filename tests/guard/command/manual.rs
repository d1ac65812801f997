//! What comes from the same source as `--help`: completions and man pages.

use super::{folder, forkguard, run};
use crate::support::{root, Run};

#[test]
fn help_tells_the_exit_statuses_and_examples() {
    for action in ["run", "status", "metrics", "doctor"] {
        let outcome = run(&[action, "--help"]).run();
        outcome.ok().must_say("Examples:").must_say("Exit status:");
    }
    run(&["--help"])
        .run()
        .ok()
        .must_say("forkguard doctor celery ");
    let version = run(&["--version"]).run();
    let libc = Run::new("getconf").arg("GNU_LIBC_VERSION").run();
    version
        .ok()
        .must_say(concat!(
            "forkguard ",
            env!("CARGO_PKG_VERSION"),
            " (commit "
        ))
        .must_say(libc.ok().stdout.trim_end())
        .must_say(std::env::consts::ARCH);
    // One of this repository; which, the build has told.
    let commit = version.stdout.split(['(', ' ', ',']).nth(4).unwrap();
    Run::new("git")
        .args(["cat-file", "-e", &format!("{commit}^{{commit}}")])
        .folder(root())
        .run()
        .ok();
}

/// What bash offers for a command line whose last word is under the cursor.
#[track_caller]
fn offered(before: &str, words: &[&str]) -> Vec<String> {
    let list = words.iter().map(|word| format!("'{word}'"));
    let list = list.collect::<Vec<_>>().join(" ");
    let script = format!(
        "source <({} completions bash)\n{before}\nCOMP_WORDS=({list})\nCOMP_CWORD={}\n\
         COMP_LINE=\"${{COMP_WORDS[*]}}\" COMP_POINT=${{#COMP_LINE}}\n\
         [[ $(complete -p forkguard) =~ -F\\ ([a-z_]+) ]] || exit 1\n\
         ${{BASH_REMATCH[1]}} forkguard \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        forkguard().display(),
        words.len() - 1
    );
    let folder = folder();
    std::fs::write(folder.path().join("tasks.py"), "").unwrap();
    let outcome = Run::new("bash")
        .args(["--norc", "-c", &script])
        .folder(folder.path())
        .run();
    outcome
        .ok()
        .check(outcome.stderr.is_empty(), "no complaint");
    outcome.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_it() {
    let has = |words: &[&str], word: &str| {
        let offered = offered("", words);
        assert!(
            offered.iter().any(|known| known == word),
            "{words:?} {offered:?}"
        );
    };
    let lacks = |words: &[&str], word: &str| {
        let offered = offered("", words);
        assert!(
            offered.iter().all(|known| known != word),
            "{words:?} {offered:?}"
        );
    };
    assert_eq!(offered("", &["forkguard", "st"]), ["status"]);
    lacks(&["forkguard", ""], "manual");
    has(&["forkguard", ""], "path");
    has(&["forkguard", "run", "--pol"], "--policy");
    has(&["forkguard", "run", "--policy", "ab"], "abandon");
    // Behind it a program, and its files.
    has(&["forkguard", "run", "prin"], "printf");
    has(
        &["forkguard", "run", "--policy", "abandon", "prin"],
        "printf",
    );
    has(
        &["forkguard", "run", "--policy", "=", "abandon", "--", "prin"],
        "printf",
    );
    has(&["forkguard", "run", "cat", "ta"], "tasks.py");
    has(&["forkguard", "doctor", "--json", "cat", "ta"], "tasks.py");
    lacks(&["forkguard", "run", "cat", "--pol"], "--policy");
    lacks(&["forkguard", "status", "prin"], "printf");
    // With bash-completion the program's own completion is asked, from its word on.
    let before = "_command_offset() { COMPREPLY=(\"from $1\"); }";
    let words = ["forkguard", "run", "--log", "info", "git", "che"];
    assert_eq!(offered(before, &words), ["from 4"]);
    for shell in ["zsh", "fish"] {
        let script = run(&["completions", shell]).run();
        script.ok().must_say("status");
        script.check(!script.says("manual"), "not what users do not call");
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
        .chain(["man1/forkguard-metrics.1", "man1/forkguard-doctor.1"])
        .chain(["man1/forkguard-path.1", "man1/forkguard-completions.1"]);
    for page in pages.chain(["man7/libforkguard.7"]) {
        let page = folder.path().join(page);
        assert!(page.exists(), "{}", page.display());
        if !std::path::Path::new("/usr/bin/groff").exists() {
            eprintln!("NOT LOOKED AT, for there is no groff: {}", page.display());
            continue;
        }
        let outcome = Run::new("groff")
            .args(["-ww", "-man", "-Tutf8", "-P-cbou"])
            .arg(&page)
            .run();
        outcome.ok().check(outcome.stderr.is_empty(), "no warning");
        let last = outcome.stdout.lines().rfind(|line| !line.is_empty());
        let footer = concat!("libforkguard ", env!("CARGO_PKG_VERSION"));
        outcome.check(
            last.is_some_and(|line| line.starts_with(footer)),
            "a footer",
        );
        check_references(folder.path(), &outcome.stdout);
    }
}

/// Every page of ours that a page names is there.
#[track_caller]
fn check_references(folder: &std::path::Path, page: &str) {
    let plain: String = page
        .chars()
        .filter(|letter| *letter != '\u{2010}')
        .collect();
    for word in plain.split(|letter: char| letter.is_whitespace() || letter == ',') {
        let Some((name, section)) = word.trim_end_matches(')').split_once('(') else {
            continue;
        };
        if name.contains("forkguard") && matches!(section, "1" | "7") {
            let file = folder.join(format!("man{section}/{name}.{section}"));
            assert!(file.exists(), "{word} in {page}");
        }
    }
}

#[test]
fn the_synopsis_is_what_people_type() {
    let folder = folder();
    run(&["manual", folder.path().to_str().unwrap()]).run().ok();
    for (page, usage) in [
        (
            "forkguard-run",
            "\\fBforkguard run\\fR [OPTIONS] [\\-\\-] COMMAND [ARGUMENT]...",
        ),
        (
            "forkguard-status",
            "\\fBforkguard status\\fR [OPTIONS] [PID]...",
        ),
        (
            "forkguard-doctor",
            "\\fBforkguard doctor\\fR [OPTIONS] \\-\\-pid PID",
        ),
    ] {
        let text = std::fs::read_to_string(folder.path().join(format!("man1/{page}.1"))).unwrap();
        assert!(text.contains(usage), "{text}");
        assert!(
            text.starts_with(&format!(".TH {page} 1 \"\" \"libforkguard ")),
            "{text}"
        );
    }
    let main = std::fs::read_to_string(folder.path().join("man1/forkguard.1")).unwrap();
    assert!(!main.contains("forkguard\\-help"), "{main}");
}
