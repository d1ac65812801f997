//! The Python wheel, in an environment of its own.

use super::{files, holds_the_licences, package, same, LICENCE, VERSION};
use crate::clients::celery;
use crate::support::{root, venv, Run};
use std::path::Path;
use std::time::Duration;

#[test]
fn its_tag_is_the_oldest_glibc_that_the_binaries_take() {
    let wheel = package(".whl");
    let name = wheel.file_stem().unwrap().to_str().unwrap();
    let tag = name.rsplit('-').next().unwrap();
    assert!(name.contains("-py3-none-manylinux_2_"), "{name}");
    let said = Run::new(venv("auditwheel")).arg("show").arg(&wheel).run();
    said.ok();
    // It breaks its lines anywhere.
    let text: String = said.stdout.split_whitespace().collect();
    said.check(
        text.contains(&format!("consistentwiththefollowingplatformtag:\"{tag}\""))
            && text.contains(&format!("constrainstheplatformtagto\"{tag}\"")),
        "auditwheel agrees",
    );
}

#[test]
fn installed_by_pip_used_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let environment = folder.path();
    let python = environment.join("bin/python");
    let run = |program: &Path, arguments: &[&str]| {
        Run::new(program)
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .timeout(Duration::from_secs(120))
            .run()
    };
    let here = environment.to_str().unwrap();
    run(&venv("python"), &["-m", "venv", "--without-pip", here]).ok();
    // Celery, the drivers and pip come from the tests' environment, for nothing is to be fetched.
    let version = run(
        &python,
        &[
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'))",
        ],
    );
    let site = Path::new(version.ok().stdout.trim_end()).to_owned();
    let theirs = root()
        .join("target/venv")
        .join(site.strip_prefix(environment).unwrap());
    std::fs::write(site.join("clients.pth"), theirs.to_str().unwrap()).unwrap();
    let before = files(environment);

    let wheel = package(".whl");
    let install = [
        "-m",
        "pip",
        "install",
        "--no-index",
        wheel.to_str().unwrap(),
    ];
    run(&python, &install).ok();
    let shown = run(&python, &["-m", "pip", "show", "forkguard"]);
    shown.ok().must_say(&format!("License: {LICENCE}\n"));
    holds_the_licences(&site.join(format!("forkguard-{VERSION}.dist-info")));
    let command = environment.join("bin/forkguard");
    run(&command, &["--version"]).ok().must_say(VERSION);
    celery::guarded_by(&command, &python);

    run(&python, &["-m", "pip", "uninstall", "-y", "forkguard"]).ok();
    same(&before, &files(environment));
}
