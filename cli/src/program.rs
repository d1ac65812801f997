//! What a command line would execute: which file, through which scripts, as execvp(3) and the kernel
//! find it.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::elf::{self, Elf};
use crate::Failure;

/// As env(1), nohup(1) and shells have it.
pub const NOT_FOUND: i32 = 127;
/// The same.
pub const NOT_EXECUTABLE: i32 = 126;

/// How many interpreters the kernel goes through (fs/exec.c, `exec_binprm`).
const DEEPEST: usize = 5;

/// What would be executed.
pub struct Program {
    /// The file that `exec` is given: a script, or the program itself.
    pub file: PathBuf,
    /// Scripts on the way, the first is `file`.
    pub scripts: Vec<PathBuf>,
    /// The file that runs in the end, and what it says.
    pub binary: PathBuf,
    /// See `binary`.
    pub elf: Elf,
    /// Neither ELF nor `#!`: execvp(3) gives it to the shell.
    pub by_shell: bool,
    /// A script whose `env` takes the environment away, and `LD_PRELOAD` with it.
    pub env_clears: bool,
}

/// Follows a command's first word to the program.
pub fn find(word: &OsStr) -> Result<Program, Failure> {
    let mut binary = search(word)?;
    let mut program = Program {
        file: binary.clone(),
        scripts: Vec::new(),
        binary: PathBuf::new(),
        elf: Elf::default(),
        by_shell: false,
        env_clears: false,
    };
    loop {
        let shown = binary.display().to_string();
        let mut head = Vec::new();
        // BINPRM_BUF_SIZE: the kernel reads no more of a first line.
        match File::open(&binary).and_then(|file| file.take(256).read_to_end(&mut head)) {
            Ok(_) => {}
            // May be executed and not read, so its kind is unknown.
            Err(error) => {
                return Err(Failure::new(
                    crate::run::REFUSED,
                    format!("{shown}: {error}: cannot tell what kind of program it is"),
                ))
            }
        }
        if elf::is_elf(&head) {
            program.elf = elf::read(&binary)
                .map_err(|error| Failure::new(NOT_EXECUTABLE, format!("{shown} {error}")))?;
            program.binary = binary;
            return Ok(program);
        }
        if program.scripts.len() == DEEPEST {
            return Err(Failure::new(
                NOT_EXECUTABLE,
                format!(
                    "{}: too many scripts, each the next one's interpreter",
                    program.file.display()
                ),
            ));
        }
        program.scripts.push(binary.clone());
        let next = match head.strip_prefix(b"#!") {
            Some(line) => interpreter(line, &mut program),
            // As execvp(3); a binary of another kind would be a script full of nonsense.
            None if !head.contains(&0) && program.scripts.len() == 1 => {
                program.by_shell = true;
                Some("/bin/sh".into())
            }
            None => None,
        };
        let Some(next) = next else {
            return Err(Failure::new(
                NOT_EXECUTABLE,
                format!("{shown}: is no program"),
            ));
        };
        binary = search(&next).map_err(|failure| {
            let ends = next.as_bytes().ends_with(b"\r");
            let why = if ends {
                "; the script has the line ends of Windows"
            } else {
                ""
            };
            Failure::new(
                failure.status,
                format!("{shown}: its interpreter {}{why}", failure.line),
            )
        })?;
    }
}

/// What a first line names, through `env`.
fn interpreter(line: &[u8], program: &mut Program) -> Option<OsString> {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let line = line.trim_ascii_start();
    let end = line.iter().position(blank).unwrap_or(line.len());
    let (name, argument) = (&line[..end], line[end..].trim_ascii());
    if name.is_empty() {
        return None;
    }
    if Path::new(OsStr::from_bytes(name)).file_name() != Some(OsStr::new("env")) {
        return Some(OsString::from_vec(name.to_vec()));
    }
    // One argument, whatever is in it, unless env is told to split it (-S, --split-string).
    let split = [b"-vS".as_slice(), b"-S", b"--split-string="]
        .iter()
        .find_map(|option| argument.strip_prefix(*option));
    let words: Vec<&[u8]> = match split {
        Some(rest) => rest.split(blank).filter(|word| !word.is_empty()).collect(),
        None => vec![argument],
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word {
            b"" => {}
            b"-i" | b"-" | b"--ignore-environment" => program.env_clears = true,
            b"-u" | b"--unset" => program.env_clears |= words.next() == Some(b"LD_PRELOAD"),
            b"-uLD_PRELOAD" | b"--unset=LD_PRELOAD" => program.env_clears = true,
            _ if word.starts_with(b"-") => {}
            // A setting wins over ours.
            _ if word.starts_with(b"LD_PRELOAD=") => program.env_clears = true,
            _ if word.contains(&b'=') => {}
            _ => return Some(OsString::from_vec(word.to_vec())),
        }
    }
    None
}

/// execvp(3)'s search.
fn search(word: &OsStr) -> Result<PathBuf, Failure> {
    let shown = word.to_string_lossy();
    if word.is_empty() {
        return Err(Failure::new(NOT_FOUND, "the program's name is empty"));
    }
    if word.as_bytes().contains(&b'/') {
        let path = PathBuf::from(word);
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(failure) => Err(failure),
        };
    }
    // confstr(_CS_PATH)'s.
    let paths = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut closed = None;
    for folder in std::env::split_paths(&paths) {
        // An empty one is the current folder.
        let path = if folder.as_os_str().is_empty() {
            Path::new(".").join(word)
        } else {
            folder.join(word)
        };
        match executable(&path) {
            Ok(()) => return Ok(path),
            Err(failure) if failure.status == NOT_FOUND => {}
            Err(failure) => closed = closed.or(Some(failure)),
        }
    }
    Err(closed.unwrap_or_else(|| Failure::new(NOT_FOUND, format!("{shown}: not found in PATH"))))
}

fn executable(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let file = std::fs::metadata(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => {
            Failure::new(NOT_FOUND, format!("{shown}: not found"))
        }
        _ => Failure::new(NOT_EXECUTABLE, format!("{shown}: {error}")),
    })?;
    if file.is_dir() {
        return Err(Failure::new(
            NOT_EXECUTABLE,
            format!("{shown}: is a folder"),
        ));
    }
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Failure::new(NOT_FOUND, format!("{shown}: not found")))?;
    // SAFETY: a C string.
    if unsafe { libc::faccessat(libc::AT_FDCWD, name.as_ptr(), libc::X_OK, libc::AT_EACCESS) } != 0
    {
        return Err(Failure::new(
            NOT_EXECUTABLE,
            format!("{shown}: {}", std::io::Error::last_os_error()),
        ));
    }
    Ok(())
}

/// Why the loader would ignore `LD_PRELOAD` in a program: it runs with more rights than its caller
/// (getauxval(3), `AT_SECURE`; security/commoncap.c).
pub fn gains_rights(path: &Path) -> Option<&'static str> {
    let file = std::fs::metadata(path).ok()?;
    // SAFETY: these take nothing and cannot fail.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    // SAFETY: takes numbers, returns one.
    let kept = unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } == 1;
    if kept || crate::library::mount_flags(path).is_some_and(|flags| flags & libc::ST_NOSUID != 0) {
        return None;
    }
    // Of a file without the group's right to execute, setgid means locking (inode(7)).
    let (setuid, setgid) = (file.mode() & 0o4000 != 0, file.mode() & 0o2010 == 0o2010);
    if setuid && file.uid() != user {
        return Some("setuid");
    }
    if setgid && file.gid() != group {
        return Some("setgid");
    }
    let name = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: two C strings; no room is given, so only the length is asked for.
    let length = unsafe {
        libc::getxattr(
            name.as_ptr(),
            c"security.capability".as_ptr(),
            std::ptr::null_mut(),
            0,
        )
    };
    (length > 0 && user != 0).then_some("given capabilities (setcap)")
}
