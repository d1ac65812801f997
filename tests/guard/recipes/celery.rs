//! `docs/recipes/celery.md`. systemd can't run here, where it is not the first process: it reads the
//! unit and its drop-ins, and what they set and start is run without it.

use super::{Page, Service};
use crate::support::{Outcome, Run};

fn service() -> Service {
    let service = Service::new("celery", ("an address", "is not said"));
    std::fs::create_dir(service.path().join("unit")).unwrap();
    service
}

#[test]
fn on_the_command_line() {
    let page = Page::open("celery.md");
    let service = service();
    service.shows_the_fault(page.block("plain"));
    service.is_guarded(page.block("preload"));
    service.is_guarded(page.block("run"));
    service.append("myapp/tasks.py", page.block("fix"));
    service.is_fixed(page.block("plain"));
}

#[test]
fn by_systemd() {
    let page = Page::open("celery.md");
    let service = service();
    let unit = page.block("celery.service");
    service.file("unit/celery.service", unit);
    service.shows_the_fault(&started(&[unit]));
    std::fs::create_dir(service.path().join("unit/celery.service.d")).unwrap();
    let drop_in = "unit/celery.service.d/override.conf";
    for name in ["drop-in preload", "drop-in run"] {
        service.file(drop_in, page.block(name));
        verify(&service).ok();
        service.is_guarded(&started(&[unit, page.block(name)]));
    }
    // It does read drop-ins, and has something to say of a bad one.
    service.file(drop_in, "[Service]\nExecStart=/nowhere/forkguard run\n");
    let bad = verify(&service);
    bad.check(!bad.success(), "a program that is not there");
}

/// `systemd-analyze verify` of the unit with its drop-ins.
fn verify(service: &Service) -> Outcome {
    let units = service.path().join("unit");
    Run::new("systemd-analyze")
        .arg("verify")
        .arg("--man=no")
        .arg(units.join("celery.service"))
        // The folder, then systemd's own.
        .env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()))
        .run()
}

/// What systemd would start, as a shell's line. A later file's line counts after an earlier's; an
/// empty `ExecStart=` takes back those before (systemd.service(5)).
fn started(files: &[&str]) -> String {
    let (mut environment, mut commands) = (Vec::new(), Vec::new());
    for line in files.iter().flat_map(|file| file.lines()) {
        match line.split_once('=') {
            Some(("Environment", setting)) => environment.push(setting),
            Some(("ExecStart", "")) => commands.clear(),
            Some(("ExecStart", command)) => commands.push(command),
            _ => {}
        }
    }
    assert_eq!(commands.len(), 1, "one ExecStart for a simple service");
    assert!(commands[0].starts_with('/'));
    format!("{} {}", environment.join(" "), commands[0])
}

#[test]
fn by_supervisor() {
    let page = Page::open("celery.md");
    let service = service();
    let program = page.block("celery.conf");
    // supervisord's own part: no socket, no files elsewhere, the program's output into ours.
    let daemon = "[supervisord]\nnodaemon=true\nlogfile=/dev/stderr\nlogfile_maxbytes=0\n\
                  pidfile=/srv/myapp/supervisord.pid\nuser=root\n";
    let output = "stdout_logfile=/dev/stderr\nstdout_logfile_maxbytes=0\n";
    service.file("guarded.conf", &format!("{daemon}{program}\n{output}"));
    let plain: Vec<_> = program
        .lines()
        .filter(|line| !line.starts_with("environment="))
        .collect();
    let plain = format!("{daemon}{}\n{output}", plain.join("\n"));
    service.file("plain.conf", &plain);
    service.shows_the_fault("supervisord --configuration /srv/myapp/plain.conf");
    service.is_guarded("supervisord --configuration /srv/myapp/guarded.conf");
}
