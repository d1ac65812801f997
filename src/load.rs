//! The constructor: read the configuration, register the fork handlers.

use core::ffi::{c_char, c_int, CStr};
use core::sync::atomic::{AtomicPtr, Ordering::*};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::vec::Vec;

use crate::{auxv, bind, detector, fork, hooks, logger, observer, policy, shims};
use forkguard_proto::config::{self, Config, Policy};
use forkguard_signal_safe::errno::Errno;
use forkguard_signal_safe::processor;
use forkguard_signal_safe::sink::{self, Level};
use forkguard_signal_safe::{connect_section, generation, tree};

/// The program's arguments and environment, as the loader passes them to
/// constructors. As the first library to be initialised we run before libc's
/// own constructor has set `environ` (tried: `getenv` finds nothing).
static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(core::ptr::null_mut());
static ENVIRONMENT: AtomicPtr<*const c_char> = AtomicPtr::new(core::ptr::null_mut());

type Constructor = extern "C" fn(c_int, *mut *const c_char, *mut *const c_char);

/// Before `ctor`'s entry, whose functions take no arguments: the linker sorts
/// numbered sections first.
#[used]
#[link_section = ".init_array.00001"]
static REMEMBER_ARGUMENTS: Constructor = remember_arguments;

extern "C" fn remember_arguments(
    _: c_int,
    arguments: *mut *const c_char,
    environment: *mut *const c_char,
) {
    ARGUMENTS.store(arguments, Relaxed);
    ENVIRONMENT.store(environment, Relaxed);
    extern "C" {
        static mut environ: *mut *const c_char;
    }
    // What we allocate wakes the host's malloc, and jemalloc reads MALLOC_CONF
    // from the environment then and never again.
    // SAFETY: libc's variable, in a process with one thread; libc's own
    // constructor stores the same value a moment later (csu/init-first.c). While it
    // is null the program has not begun, and the environment is unchanged.
    unsafe {
        if environ.is_null() {
            auxv::start(environment);
            environ = environment;
        }
    }
}

/// What libpqs are led to.
static TARGETS: bind::Targets = shims::trampolines::targets(hooks::table::instead_of);

#[ctor::ctor(unsafe)]
fn load() {
    // A panic here would end the host before it began.
    let _ = std::panic::catch_unwind(start);
}

fn start() {
    #[cfg(break_memory)]
    crate::fault_injection::memory();
    hooks::table::resolve_all();
    // In a setuid program the environment is somebody else's (getauxval(3)).
    let trusted = auxv::value(libc::AT_SECURE) == 0;
    let (config, complaints) = if trusted {
        config::read(environment())
    } else {
        (Config::default(), Vec::new())
    };
    sink::start(config.level, config.format);
    logger::start();
    for complaint in complaints {
        log::warn!("{complaint}");
    }
    if let Some(path) = &config.file {
        use_file(path);
    }
    if config.policy == Policy::Off || config.exempts(names()) {
        log::debug!("does nothing: policy off, or an exempt program");
        return;
    }
    if !hooks::table::is_in_front() {
        log::error!("no protection: loaded after the program began, behind libc; preload it (LD_PRELOAD), or link the program with it");
        return;
    }
    generation::start();
    if let Some(before) = hooks::table::before_us() {
        let [path, own] = before.paths.map(CStr::to_string_lossy);
        log::error!(
            "{path} comes before this library with {} of its functions ({}, …): calls that it does not pass on are not seen; then libpq's sessions are refused in children, and others are not protected; put this library first: LD_PRELOAD={own}:{path}",
            before.count,
            before.first
        );
    }
    if let Err(errno) = fork::register() {
        log::error!(
            "no protection: fork handlers could not be registered (errno {})",
            errno.value()
        );
        return;
    }
    tree::set_policy(match config.policy {
        Policy::Off => 0,
        Policy::Abandon => 1,
        Policy::Resume => 2,
        Policy::Report => 3,
        Policy::Abort => 4,
    });
    match config.policy {
        // What a program does is to be seen as it is, its forks' timing included.
        Policy::Report | Policy::Abort => detector::start(config.policy == Policy::Abort),
        Policy::Resume => {
            connect_section::start(config.fork_wait);
            policy::resume_by(policy::ResumeSettings {
                trusted: config.trusted,
                journal_limit: config.journal_kb as usize * 1024,
                connect_wait_s: config.connect_wait.into(),
            });
        }
        Policy::Abandon | Policy::Off => connect_section::start(config.fork_wait),
    }
    if observer::registered().is_some() || sink::wants(Level::Trace) {
        policy::observe_calls();
    }
    policy::activate();
    if processor::HAS_TRAMPOLINE {
        bind::start(&TARGETS);
    } else {
        log::info!("no libpq is looked for on this processor: inherited sessions are abandoned");
    }
}

/// C strings of a list that ends with a null pointer.
fn strings(list: *mut *const c_char) -> impl Iterator<Item = &'static [u8]> {
    let mut next = list;
    core::iter::from_fn(move || {
        if next.is_null() {
            return None;
        }
        // SAFETY: the loader's lists end with null, and their strings live as
        // long as the process; nothing else runs yet that could change them.
        unsafe {
            let string = *next;
            if string.is_null() {
                return None;
            }
            next = next.add(1);
            Some(CStr::from_ptr(string).to_bytes())
        }
    })
}

fn environment() -> impl Iterator<Item = &'static [u8]> {
    strings(ENVIRONMENT.load(Relaxed))
}

/// The names this program goes by: of its first argument; of the file it was
/// started from, which for a script is the script (`AT_EXECFN`); and, where an
/// interpreter runs, of the script among its arguments, for `#!/usr/bin/env
/// python3` leaves no other trace of it.
fn names() -> impl Iterator<Item = &'static [u8]> {
    const INTERPRETERS: [&[u8]; 8] = [
        b"python", b"perl", b"ruby", b"php", b"node", b"bash", b"dash", b"sh",
    ];
    let file = auxv::value(libc::AT_EXECFN) as *const c_char;
    let file = (!file.is_null()).then(|| {
        // SAFETY: the kernel put a C string there, above the stack.
        unsafe { CStr::from_ptr(file) }.to_bytes()
    });
    let last = |path: &'static [u8]| path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let arguments = || strings(ARGUMENTS.load(Relaxed));
    let interpreter = arguments()
        .take(1)
        .map(last)
        .any(|name| INTERPRETERS.iter().any(|known| name.starts_with(known)));
    let script = arguments()
        .skip(1)
        .filter(|argument| !argument.starts_with(b"-"))
        .take(usize::from(interpreter));
    arguments().take(1).chain(file).chain(script).map(last)
}

/// Opens the log file. Its path is made absolute, for a daemon changes its folder.
fn use_file(path: &[u8]) {
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let Ok(name) = CString::new(absolute.as_os_str().as_bytes()) else {
        return;
    };
    // Kept for ever: the sink opens it again when somebody closed it.
    let name: &'static CStr = std::boxed::Box::leak(name.into_boxed_c_str());
    let opened = match std::fs::metadata(&absolute) {
        Ok(about) if about.file_type().is_socket() => sink::use_syslog(name),
        // `/dev/log` without a daemon: no file is put in the place of its socket.
        Err(_) if absolute.parent() == Some(std::path::Path::new("/dev")) => Err(Errno::ENOENT),
        _ => sink::use_file(name),
    };
    if let Err(errno) = opened {
        log::warn!(
            "FORKGUARD_LOG_FILE={}: cannot be written ({}); using standard error",
            absolute.display(),
            std::io::Error::from_raw_os_error(errno.value())
        );
    }
}
