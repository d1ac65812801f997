//! The settings in effect, with where each comes from.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::environment::Environment;
use super::report::{Level, Report};
use crate::arguments::VARIABLES;
use forkguard_proto::config::{self, Config, Policy};

/// Lists the settings, and says what they mean for a program of these names.
pub fn check_settings<'a>(
    environment: &Environment,
    names: impl Iterator<Item = &'a OsStr>,
    report: &mut Report,
) {
    let ours: Vec<&[u8]> = environment
        .variables
        .iter()
        .map(Vec::as_slice)
        .filter(|line| line.starts_with(b"FORKGUARD_"))
        .collect();
    list_known(environment, report);
    list_unknown(&ours, report);
    let (config, _) = config::read(ours.into_iter());
    check_exempt(&config, names, report);
    check_policy(config.policy, report);
}

/// What the library prints about one line of the environment.
fn complaint(line: &[u8]) -> Option<String> {
    config::read([line].into_iter()).1.into_iter().next()
}

fn list_known(environment: &Environment, report: &mut Report) {
    for variable in VARIABLES {
        let value = environment.variable(variable.name);
        let complaint =
            value.and_then(|value| complaint(&[variable.name.as_bytes(), b"=", value].concat()));
        let (value, source) = match (value, &complaint) {
            (Some(value), None) => (String::from_utf8_lossy(value).into_owned(), "environment"),
            (Some(_), Some(_)) => (variable.default.to_owned(), "invalid"),
            (None, _) => (variable.default.to_owned(), "default"),
        };
        report.add_setting(variable.name, &value, source, complaint.as_deref());
    }
}

/// Variables of our prefix that the library does not know: mistyped ones.
fn list_unknown(ours: &[&[u8]], report: &mut Report) {
    for line in ours {
        let text = String::from_utf8_lossy(line);
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        if VARIABLES.iter().any(|variable| variable.name == name) {
            continue;
        }
        if let Some(complaint) = complaint(line) {
            report.add_setting(name, value, "invalid", Some(&complaint));
        }
    }
}

fn check_exempt<'a>(config: &Config, names: impl Iterator<Item = &'a OsStr>, report: &mut Report) {
    let base = |name: &'a OsStr| Path::new(name).file_name().unwrap_or_default().as_bytes();
    let names: Vec<&[u8]> = names.map(base).collect();
    let shown = String::from_utf8_lossy(names.first().copied().unwrap_or_default()).into_owned();
    if config.exempts(names.into_iter()) {
        report.add(
            Level::Not,
            "exempt",
            format!(
                "{shown} is exempt (FORKGUARD_EXEMPT, or known to hand its session over): the policy is off"
            ),
        );
    }
}

fn check_policy(policy: Policy, report: &mut Report) {
    let (level, text) = match policy {
        Policy::Resume => return,
        Policy::Abandon => (
            Level::Note,
            "abandon: inherited sessions are lost in children, which open new ones",
        ),
        Policy::Report => (
            Level::Not,
            "report: uses of inherited sessions are reported, and nothing is changed",
        ),
        Policy::Abort => (
            Level::Not,
            "abort: a use of an inherited session is reported and ends the child; nothing else is changed",
        ),
        Policy::Off => (Level::Not, "off: the library does nothing"),
    };
    report.add(level, "policy", text);
}
