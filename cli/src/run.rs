//! `forkguard run`: becomes the program, with the library in it.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use clap::ValueEnum;

use crate::arguments::{Run, Settings};
use crate::elf::Elf;
use crate::{library, program, Failure};
use forkguard_proto::config;
use forkguard_proto::interposers::is_sanitizer;

/// The exit status of a refusal: as env(1) and nohup(1) have it.
pub const REFUSED: i32 = 125;

/// Returns only where it could not.
pub fn run(run: Run) -> Failure {
    match prepare(run) {
        Ok(failure) | Err(failure) => failure,
    }
}

fn refused(line: String) -> Failure {
    Failure::new(REFUSED, line)
}

fn prepare(run: Run) -> Result<Failure, Failure> {
    let settings = variables(&run.settings)?;
    let library = library::find(run.settings.library.as_deref()).map_err(refused)?;
    let loaded = library::is_loadable(&library).map_err(refused)?;
    let program = program::find(&run.command[0])?;
    let shown = program.binary.display();
    library::suits(&loaded, &program.elf).map_err(|why| refused(format!("{shown} {why}")))?;
    if let Some(how) = program::gains_rights(&program.binary) {
        return Err(refused(format!(
            "{shown} is {how}: the loader ignores LD_PRELOAD there; start forkguard as that user instead"
        )));
    }
    if program.env_clears {
        return Err(refused(format!(
            "{}: its first line has env take LD_PRELOAD away",
            program.file.display()
        )));
    }
    let before = std::env::var_os("LD_PRELOAD").unwrap_or_default();
    let preload = preload(&before, &library, &program.elf);

    // As the environment is, in its order; what is set stands once.
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| name != "LD_PRELOAD" && settings.iter().all(|(set, _)| name != set))
        .collect();
    environment.extend(
        settings
            .into_iter()
            .map(|(name, value)| (name.into(), value)),
    );
    environment.push(("LD_PRELOAD".into(), preload));

    let mut arguments = run.command;
    let mut file = program.file.into_os_string();
    if program.by_shell {
        arguments[0] = file;
        arguments.insert(0, "sh".into());
        file = "/bin/sh".into();
    }
    Ok(exec(file, arguments, environment))
}

/// The flags as the library's variables. What the library would complain of is refused here.
fn variables(settings: &Settings) -> Result<Vec<(&'static str, OsString)>, Failure> {
    fn word(value: Option<impl ValueEnum>) -> Option<OsString> {
        Some(value?.to_possible_value()?.get_name().into())
    }
    let number = |value: Option<u32>| value.map(|number| OsString::from(number.to_string()));
    let all = [
        ("FORKGUARD_POLICY", word(settings.policy)),
        ("FORKGUARD_EXEMPT", settings.exempt.clone()),
        (
            "FORKGUARD_TRUST_FUNCTIONS",
            settings.trust_functions.clone(),
        ),
        ("FORKGUARD_JOURNAL_KB", number(settings.journal_kb)),
        (
            "FORKGUARD_FORK_WAIT",
            number(settings.fork_wait.map(u32::from)),
        ),
        (
            "FORKGUARD_CONNECT_WAIT",
            number(settings.connect_wait.map(u32::from)),
        ),
        ("FORKGUARD_LOG", word(settings.log)),
        ("FORKGUARD_LOG_FILE", settings.log_file.clone()),
        ("FORKGUARD_LOG_FORMAT", word(settings.log_format)),
    ];
    let set: Vec<_> = all
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let lines: Vec<Vec<u8>> = set
        .iter()
        .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
        .collect();
    match config::read(lines.iter().map(Vec::as_slice)).1.first() {
        Some(complaint) => Err(refused(complaint.clone())),
        None => Ok(set),
    }
}

/// `LD_PRELOAD` with the library in it, once: behind what must be first, before the rest.
fn preload(before: &OsStr, library: &Path, program: &Elf) -> OsString {
    let mut others: Vec<&[u8]> = before
        .as_bytes()
        .split(|byte| b" :".contains(byte))
        .filter(|entry| !entry.is_empty() && !library::is_named_so(OsStr::from_bytes(entry)))
        .filter(|entry| Path::new(OsStr::from_bytes(entry)) != library)
        .collect();
    let mut list: Vec<&[u8]> = Vec::new();
    let mut index = 0;
    while index < others.len() {
        if is_sanitizer(others[index]) {
            list.push(others.remove(index));
        } else {
            index += 1;
        }
    }
    // A program linked with one has it loaded after every preload, and refuses to start.
    for needed in &program.needed {
        let named =
            |entry: &&[u8]| entry.rsplit(|byte| *byte == b'/').next() == Some(needed.as_bytes());
        if is_sanitizer(needed.as_bytes()) && !list.iter().any(named) {
            list.push(needed.as_bytes());
        }
    }
    list.push(library.as_os_str().as_bytes());
    list.extend(others);
    OsString::from_vec(list.join(&b':'))
}

/// Becomes the program. Not `std::process::Command`, which gives SIGPIPE and the signal mask other
/// values than we were started with.
fn exec(
    file: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
) -> Failure {
    let c_string = |bytes: Vec<u8>| CString::new(bytes).ok();
    let list = |strings: Vec<CString>| -> (Vec<CString>, Vec<*const libc::c_char>) {
        let pointers = strings.iter().map(|string| string.as_ptr());
        let pointers = pointers.chain([std::ptr::null()]).collect();
        (strings, pointers)
    };
    // None of these holds a NUL: they came as C strings.
    let arguments: Vec<_> = arguments
        .into_iter()
        .filter_map(|argument| c_string(argument.into_vec()))
        .collect();
    let environment: Vec<_> = environment
        .into_iter()
        .filter_map(|(name, value)| c_string([name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect();
    let (_arguments, argv) = list(arguments);
    let (_environment, envp) = list(environment);
    let shown = file.to_string_lossy().into_owned();
    let Some(file) = c_string(file.into_vec()) else {
        return Failure::new(program::NOT_FOUND, format!("{shown}: not found"));
    };
    // SAFETY: C strings, and lists of them that end with null; all live until the call returns.
    unsafe { libc::execve(file.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    let error = std::io::Error::last_os_error();
    let status = match error.raw_os_error() {
        // The file was found: its loader is what is missing.
        Some(libc::ENOENT) => program::NOT_FOUND,
        _ => program::NOT_EXECUTABLE,
    };
    Failure::new(status, format!("{shown}: cannot be executed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(before: &str, needed: &[&str]) -> String {
        let program = Elf {
            needed: needed.iter().map(|name| (*name).to_owned()).collect(),
            ..Elf::default()
        };
        preload(before.as_ref(), Path::new("/l/libforkguard.so"), &program)
            .into_string()
            .unwrap()
    }

    #[test]
    fn the_library_is_first_once_and_behind_a_sanitizer() {
        let own = "/l/libforkguard.so";
        assert_eq!(list("", &["libc.so.6"]), own);
        assert_eq!(
            list("a.so /b.so:c.so", &[]),
            format!("{own}:a.so:/b.so:c.so")
        );
        assert_eq!(
            list(&format!("x.so:{own}::/else/libforkguard.so.0"), &[]),
            format!("{own}:x.so")
        );
        assert_eq!(
            list("x.so /usr/lib/libasan.so.8", &[]),
            format!("/usr/lib/libasan.so.8:{own}:x.so")
        );
        assert_eq!(
            list("x.so", &["libasan.so.8"]),
            format!("libasan.so.8:{own}:x.so")
        );
        assert_eq!(
            list("/q/libasan.so.8", &["libasan.so.8"]),
            format!("/q/libasan.so.8:{own}")
        );
    }
}
