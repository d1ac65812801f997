//! Nothing in the child handler allocates, locks or panics.
//!
//! Three looks at it: what its crate names in its source, every call that the compiled handler
//! can reach, and what a program sees that counts its own allocations while the handler runs.
//! The last two are shown to fail on a library with an allocation or a lock put there. The second
//! goes over the hooks and the other handlers as well: which names they call.

use crate::support::*;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the handler may call outside the library: what the compiler itself writes for copies
/// and comparisons. They are pure, and whoever interposes them (sanitizers) has them ready before
/// any code runs, for every object's code is full of them.
const ALLOWED: [&str; 4] = ["memcpy", "memmove", "memset", "memcmp"];

/// What stands for the instruction.
const SYSTEM_CALL: &str = "a system call";

/// Every function that can be reached from those that `is_start` picks, by the library's
/// disassembly. Functions of other libraries as `extern NAME`, a call through a register as
/// `indirect in NAME`. Not what follows a panic: the hooks' own ends in `guarded`.
fn reachable_from(library: &Path, is_start: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let output = Command::new("objdump")
        .args(["-d", "--no-show-raw-insn", "-w"])
        .arg(library)
        .output()
        .expect("objdump (Debian: binutils)");
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    let mut calls: HashMap<String, Vec<String>> = HashMap::new();
    let mut function = String::new();
    for line in text.lines() {
        if let Some(name) = line
            .strip_suffix(">:")
            .and_then(|line| line.split('<').nth(1))
        {
            function = name.to_owned();
            continue;
        }
        let mut words = line.split_whitespace().skip(1); // behind the address
        let Some(operation) = words.next() else {
            continue;
        };
        if operation == "syscall" {
            let entry = calls.entry(function.clone()).or_default();
            entry.push(SYSTEM_CALL.to_owned());
        }
        if !operation.starts_with("call") && !operation.starts_with('j') {
            continue;
        }
        let symbol = line
            .rsplit_once('<')
            .map(|(_, rest)| rest.trim_end_matches('>'));
        let base = |symbol: &str| symbol.split("+0x").next().unwrap_or(symbol).to_owned();
        let target = match (words.next(), symbol) {
            // Through the table of imports: `call *0x1234(%rip)  # 5678 <free@GLIBC_2.2.5>`.
            (Some(operand), Some(symbol)) if operand.starts_with('*') && symbol.contains('@') => {
                format!("extern {}", symbol.split('@').next().unwrap_or(symbol))
            }
            (Some(operand), _) if operand.starts_with('*') => format!("indirect in {function}"),
            (_, Some(symbol)) if symbol.contains("@plt") => {
                format!("extern {}", symbol.split('@').next().unwrap_or(symbol))
            }
            (_, Some(symbol)) if base(symbol) != function => base(symbol),
            _ => continue,
        };
        calls.entry(function.clone()).or_default().push(target);
    }
    let (mut found, mut next) = (BTreeSet::new(), Vec::new());
    next.extend(calls.keys().filter(|name| is_start(name)).cloned());
    assert!(!next.is_empty(), "no such symbol: is the library stripped?");
    while let Some(name) = next.pop() {
        // `core::panicking` and `std::panicking`; not `std::panic::catch_unwind`, below which our
        // code is.
        if !name.contains("9panicking") || name.contains("do_call") {
            next.extend(calls.get(&name).into_iter().flatten().cloned());
        }
        found.insert(name);
        next.retain(|name| !found.contains(name));
    }
    found
}

fn reachable(library: &Path) -> BTreeSet<String> {
    reachable_from(library, |name| name.contains("signal_safe5child7handler"))
}

/// What is reached and must not be: anything outside [`ALLOWED`], of Rust's own libraries or
/// through a pointer.
fn forbidden(library: &Path) -> Vec<String> {
    reachable(library)
        .into_iter()
        .filter(|name| match name.strip_prefix("extern ") {
            Some(name) => !ALLOWED.contains(&name),
            None => name != SYSTEM_CALL && !name.contains("21forkguard_signal_safe"),
        })
        .collect()
}

/// What the hooks, `dlsym`'s among them, and the fork handlers may call by a name, which another
/// library may have put itself before, and why that is safe.
const SAFE_NAMES: [(&str, &str); 11] = [
    ("memcpy", "see ALLOWED"),
    ("memmove", "see ALLOWED"),
    ("memset", "see ALLOWED"),
    ("memcmp", "see ALLOWED"),
    ("bcmp", "see ALLOWED: a comparison for equality"),
    ("strlen", "as those: the length of a C string"),
    (
        "__errno_location",
        "C's own `errno`: whoever stood before it would be called by every library",
    ),
    (
        "__tls_get_addr",
        "ld.so's own, which the compiler writes for a variable of a thread",
    ),
    (
        "_Unwind_Resume",
        "a panic of ours goes on to where it is caught; nothing unwinds otherwise",
    ),
    (
        "pthread_getcpuclockid",
        "in a child of a raw system call alone, for a word that only libc can find; as the next",
    ),
    (
        "getauxval",
        "before our constructor alone (src/auxv.rs), and the `dlsym` hook does not enter itself",
    ),
];

/// What the hooks call through a pointer that the constructor has set (`src/observer.rs`, `Targets` in
/// `src/bind.rs`).
const BY_POINTER: [&str; 4] = [
    "8detector19report_moving_bytes",
    "8detector13report_cancel",
    "6python4look",
    "5table10instead_of",
];

/// The functions that the library exports in the place of libc's, by its table of symbols.
fn exported(library: &Path) -> BTreeSet<String> {
    let output = Command::new("nm")
        .args(["-D", "--defined-only", "--format=posix"])
        .arg(library)
        .output()
        .expect("nm (Debian: binutils)");
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    // What begins with our own name is the C interface, but for one that `dlsym` calls.
    names
        .filter(|name| !name.starts_with("forkguard_") || name.contains("look_around"))
        .map(str::to_owned)
        .collect()
}

/// What the hooks and the fork handlers can reach by name and is not known to be safe.
fn unsafe_names(library: &Path) -> Vec<String> {
    let exported = exported(library);
    assert!(
        exported.len() > 35 && exported.contains("dlsym"),
        "{exported:?}"
    );
    let reached = reachable_from(library, |name| {
        exported.contains(name)
            || ["5child7handler", "4fork7prepare", "4fork6parent"]
                .iter()
                .any(|handler| name.contains(handler))
            // Called through the facade's pointer.
            || name.contains("6report") && name.contains("Logger") && name.contains("3log")
            || BY_POINTER.iter().any(|function| name.contains(function))
    });
    assert!(reached.contains(SYSTEM_CALL), "{reached:#?}");
    for function in BY_POINTER {
        let is_its = |name: &String| name.contains(function);
        assert!(reached.iter().any(is_its), "no {function}: {reached:#?}");
    }
    reached
        .into_iter()
        .filter_map(|name| Some(name.strip_prefix("extern ")?.to_owned()))
        .filter(|name| !SAFE_NAMES.iter().any(|(safe, _)| safe == name))
        .collect()
}

#[test]
fn hooks_and_handlers_reach_no_function_of_another_library() {
    let found = unsafe_names(&library());
    assert!(found.is_empty(), "can be reached by name: {found:#?}");
}

#[test]
fn a_function_of_another_library_in_a_hook_is_found() {
    let found = unsafe_names(&broken("symbol"));
    assert_eq!(found, ["syscall"]);
}

/// The library with something put into its handler (`src/fault_injection.rs`).
fn broken(what: &str) -> PathBuf {
    crate::support::broken(what, &format!("break_child_handler=\"{what}\""), true)
}

#[test]
fn the_compiled_handler_reaches_nothing_unsafe() {
    let found = reachable(&library());
    // The walk went somewhere: to the system calls that replace a descriptor.
    assert!(found.contains(SYSTEM_CALL), "{found:#?}");
    let bad = forbidden(&library());
    assert!(bad.is_empty(), "the child handler can reach {bad:#?}");
}

#[test]
fn an_allocation_in_the_handler_is_found() {
    let library = broken("allocate");
    let bad = forbidden(&library);
    assert!(
        bad.iter()
            .any(|name| name.contains("fault_injection8allocate")),
        "{bad:#?}"
    );
    assert!(
        bad.iter()
            .any(|name| name.contains("malloc") || name.contains("alloc")),
        "{bad:#?}"
    );
    let counted = count_allocations(&library);
    assert_eq!(counted.abandoned, 3);
    assert!(
        counted.allocations > 0,
        "an allocation in the handler was not counted"
    );
}

#[test]
fn a_lock_in_the_handler_is_found() {
    let bad = forbidden(&broken("lock"));
    assert!(
        bad.iter().any(|name| name.contains("fault_injection4lock")),
        "{bad:#?}"
    );
    // The way a taken lock is waited for.
    assert!(
        bad.iter().any(|name| name.contains("lock_contended")),
        "{bad:#?}"
    );
}

struct Counted {
    abandoned: u64,
    allocations: u64,
}

/// Runs a program that counts the allocations between the last of its prepare handlers and the
/// first of its child handlers, which is where ours run.
fn count_allocations(library: &Path) -> Counted {
    let outcome = Run::new(compile("allocations"))
        .arg(cluster().conninfo(Transport::Tcp))
        .env("LD_PRELOAD", library)
        .run();
    outcome.ok();
    let number = |name: &str| {
        let after = outcome
            .stdout
            .split(name)
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        after
            .and_then(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("no {name}\n{outcome}"))
    };
    Counted {
        abandoned: number("dead "),
        allocations: number("allocations "),
    }
}

#[test]
fn a_program_sees_no_allocation_while_the_handler_runs() {
    let counted = count_allocations(&library());
    assert_eq!((counted.abandoned, counted.allocations), (3, 0));
}

#[test]
fn its_crate_names_nothing_outside() {
    let folder = root().join("crates/signal-safe/src");
    let files = names_nothing_outside(&folder);
    assert!(
        files >= 19,
        "the modules have moved: {files} files in {}",
        folder.display()
    );
    // So that the compiler knows no other name.
    let root = std::fs::read_to_string(folder.join("lib.rs")).unwrap();
    assert!(root.contains("\n#![no_std]\n"));
}

/// Reads every source in the folder. How many there are.
fn names_nothing_outside(folder: &Path) -> usize {
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            files += names_nothing_outside(&path);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or(&text);
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap_or(line);
            for word in [
                "std::",
                "alloc::",
                "extern crate",
                "dashmap",
                "log::",
                "format!",
                "println!",
                "panic!",
                "assert",
                ".unwrap()",
                ".expect(",
                "thread_local",
                "crate::",
            ] {
                assert!(
                    !line.contains(word),
                    "{}:{}: `{word}` in the child handler's crate",
                    path.display(),
                    number + 1
                );
            }
        }
        files += 1;
    }
    files
}
