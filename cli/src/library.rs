//! Where the library is, and whether it loads.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::elf::{self, Elf};

/// Its name, and that of the link that programs linked with it look for.
pub const NAME: &str = "libforkguard.so";
const NAMES: [&str; 2] = [NAME, "libforkguard.so.0"];

/// Whether a path's file is called as the library is, in any version.
pub fn is_named_so(path: &OsStr) -> bool {
    let name = Path::new(path).file_name().unwrap_or_default();
    name.as_bytes().starts_with(NAME.as_bytes())
}

/// The library to load: the one that was asked for, by option or environment, or the one beside this
/// command. Names the places where it was looked for.
pub fn find(asked: Option<&Path>) -> Result<PathBuf, String> {
    let set = std::env::var_os("FORKGUARD_LIBRARY").filter(|path| !path.is_empty());
    if let Some(asked) = asked.or(set.as_ref().map(Path::new)) {
        let path =
            std::path::absolute(asked).map_err(|error| format!("{}: {error}", asked.display()))?;
        return match std::fs::metadata(&path) {
            Ok(file) if file.is_file() => Ok(path),
            Ok(_) => Err(format!("the library {}: is no file", path.display())),
            Err(error) => Err(format!("the library {}: {error}", path.display())),
        };
    }
    let command = std::env::current_exe().map_err(|error| format!("/proc/self/exe: {error}"))?;
    let own = command.parent().unwrap_or(Path::new("/"));
    let above = own.parent().unwrap_or(Path::new("/"));
    // Debian's names of the multiarch folders.
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    let folders = [
        own.to_owned(),              // target/release
        above.join("lib/forkguard"), // a Python wheel's, in its environment
        above.join("lib"),
        above.join("lib").join(multiarch),
        above.join("lib64"),
    ];
    let mut candidates = folders
        .iter()
        .flat_map(|folder| NAMES.map(|name| folder.join(name)));
    candidates.find(|path| path.is_file()).ok_or_else(|| {
        let places: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
        format!("no {NAME} in {}; name it with --library", places.join(", "))
    })
}

/// Why the loader would not take the library from `LD_PRELOAD`. It would say so in a line of its own
/// and go on without, or, where the glibc is older than the library wants, end the program (tried).
pub fn is_loadable(path: &Path) -> Result<Elf, String> {
    let shown = path.display();
    // glibc cuts the list at both, and expands $ORIGIN, $LIB, $PLATFORM (elf/rtld.c, ld.so(8)).
    if path
        .as_os_str()
        .as_bytes()
        .iter()
        .any(|byte| b" :$".contains(byte))
    {
        return Err(format!(
            "{shown}: the loader cannot be given a path with a space, a colon or a dollar sign; \
             put the library elsewhere"
        ));
    }
    let library = elf::read(path).map_err(|error| format!("the library {shown} {error}"))?;
    if !library.dynamic || library.interpreter.is_some() {
        return Err(format!("{shown} is no shared library"));
    }
    if !elf::exports(path).is_ok_and(|names| names.contains("forkguard_version")) {
        return Err(format!("{shown} is not libforkguard"));
    }
    if is_on_noexec(path) {
        return Err(format!(
            "{shown} lies where nothing may be executed (noexec)"
        ));
    }
    Ok(library)
}

fn is_on_noexec(path: &Path) -> bool {
    mount_flags(path).is_some_and(|flags| flags & libc::ST_NOEXEC != 0)
}

/// `statvfs`'s flags of the file system that a file is on.
pub fn mount_flags(path: &Path) -> Option<libc::c_ulong> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut about = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: a C string, and room for what is written where 0 is returned.
    unsafe {
        (libc::statvfs(path.as_ptr(), about.as_mut_ptr()) == 0).then(|| about.assume_init().f_flag)
    }
}

/// The C library that a program's loader belongs to.
pub enum Libc {
    /// glibc, and the newest version of its functions, where its file was found beside the loader.
    Glibc(Option<(u32, u32)>),
    /// Another one.
    Other(&'static str),
    /// A loader we do not know.
    Unknown,
}

/// By the name that each calls its loader; glibc keeps libc.so.6 beside it.
pub fn libc_of(interpreter: &str) -> Libc {
    let name = interpreter.rsplit('/').next().unwrap_or(interpreter);
    if name.starts_with("ld-musl") {
        return Libc::Other("musl");
    }
    if name.starts_with("ld-uClibc") || name.starts_with("ld64-uClibc") {
        return Libc::Other("uClibc");
    }
    if interpreter.starts_with("/system/bin/linker") {
        return Libc::Other("Android's");
    }
    if !["ld-linux", "ld64.so", "ld.so"]
        .iter()
        .any(|known| name.starts_with(known))
    {
        return Libc::Unknown;
    }
    let beside = std::fs::canonicalize(interpreter)
        .ok()
        .and_then(|loader| Some(loader.parent()?.join("libc.so.6")));
    let versions = beside.and_then(|libc| elf::read(&libc).ok());
    Libc::Glibc(versions.and_then(|libc| libc.has.iter().filter_map(|v| elf::glibc(v)).max()))
}

/// Why the library can't be loaded into a program.
pub fn suits(library: &Elf, program: &Elf) -> Result<(), String> {
    if program.target != library.target {
        return Err(format!(
            "is built for {}, the library for {}",
            program.target, library.target
        ));
    }
    let Some(interpreter) = &program.interpreter else {
        let go = if program.go { " Go" } else { "" };
        return Err(format!(
            "is a static{go} program: no library can be loaded into it"
        ));
    };
    match libc_of(interpreter) {
        Libc::Other(name) => Err(format!(
            "uses the C library {name} ({interpreter}), the library glibc"
        )),
        Libc::Unknown | Libc::Glibc(None) => Ok(()),
        Libc::Glibc(has) => {
            let wants = library.wants.iter().filter_map(|v| elf::glibc(v)).max();
            match (wants, has) {
                (Some(wants), Some(has)) if wants > has => Err(format!(
                    "runs on glibc {}.{}, the library needs {}.{}",
                    has.0, has.1, wants.0, wants.1
                )),
                _ => Ok(()),
            }
        }
    }
}
