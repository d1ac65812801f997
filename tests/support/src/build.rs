//! What is run: the library, the C programs, the Python clients.

use super::{other_system, Run};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

/// The repository.
pub fn root() -> &'static Path {
    // tests/reader is a package of its own.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = package.ancestors();
    folders
        .find(|folder| folder.join("Cargo.lock").exists())
        .unwrap()
}

/// The library under test: `$FORKGUARD_LIBRARY`, or what `make build` built.
pub fn library() -> PathBuf {
    let library = std::env::var_os("FORKGUARD_LIBRARY").map_or_else(
        || root().join("target/release/libforkguard.so"),
        PathBuf::from,
    );
    assert!(
        library.exists(),
        "{} is missing: run make build",
        library.display()
    );
    library
}

/// Builds the library with something of `src/fault_injection.rs` in it, named by its `--cfg`, into
/// `target/broken/NAME`: with `--release`, as it is shipped, or else for debugging.
pub fn broken(name: &str, cfg: &str, release: bool) -> PathBuf {
    let folder = root().join("target/broken").join(name);
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--lib"])
        .args(release.then_some("--release"))
        // For the crates below the library, too.
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg\u{1f}{cfg}"))
        .current_dir(root())
        .env("CARGO_TARGET_DIR", &folder)
        .env_remove("LD_PRELOAD")
        .status()
        .expect("cargo");
    assert!(status.success(), "the broken library does not build");
    let built = if release { "release" } else { "debug" };
    folder.join(built).join("libforkguard.so")
}

/// Builds `tests/programs/NAME.c` against libpq and returns the program.
pub fn compile(name: &str) -> PathBuf {
    compile_with(name, name, &[])
}

/// Builds `tests/programs/NAME` (`.c` where the name has no ending; `.cpp` is C++) into
/// `target/tests/OUT`, with more arguments for the compiler: `compile_with("hook",
/// "libhook.so", &["-shared", "-fPIC"])`. Once for each OUT in a test process.
pub fn compile_with(name: &str, out: &str, args: &[&str]) -> PathBuf {
    static DONE: Mutex<Option<HashMap<String, Arc<OnceLock<PathBuf>>>>> = Mutex::new(None);
    // The map is held for a look only: two different programs are built side by side.
    let slot = Arc::clone(
        DONE.lock()
            .unwrap()
            .get_or_insert_default()
            .entry(out.to_owned())
            .or_default(),
    );
    slot.get_or_init(|| build(name, out, args)).clone()
}

/// Where the programs are that the tests build: those for another processor apart.
pub fn programs() -> PathBuf {
    let apart = std::env::var_os("FORKGUARD_TEST_CC").is_some();
    root()
        .join("target")
        .join(if apart { "tests-other" } else { "tests" })
}

fn build(name: &str, out: &str, args: &[&str]) -> PathBuf {
    let source = root().join("tests/programs").join(if name.contains('.') {
        name.to_owned()
    } else {
        format!("{name}.c")
    });
    let compiler = match std::env::var("FORKGUARD_TEST_CC") {
        Ok(compiler) => compiler, // tools/test-arm64's, for another processor
        Err(_) if name.ends_with(".cpp") => "g++".into(),
        Err(_) => "gcc".into(),
    };
    let folder = programs();
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join(out);
    // Another test process may be running the one that is there: build aside, then rename.
    let fresh = folder.join(format!("{out}.{}", std::process::id()));
    let output = Command::new(&compiler)
        .args(["-Wall", "-Werror", "-O1", "-g"])
        .arg("-I")
        .arg(root().join("include"))
        .args(["-I", "/usr/include/postgresql"]) // Debian's libpq-dev
        .arg(&source)
        .args(args)
        .args(["-lpq", "-pthread", "-o"])
        .arg(&fresh)
        .output()
        .unwrap_or_else(|error| panic!("{compiler}: {error}: run tools/setup"));
    assert!(
        output.status.success(),
        "{compiler} {}:\n{}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::rename(&fresh, &program).unwrap();
    program
}

/// A program of the Python environment: `venv("celery")`.
pub fn venv(program: &str) -> PathBuf {
    let program = root().join("target/venv/bin").join(program);
    assert!(
        program.exists(),
        "{} is missing: run tools/setup",
        program.display()
    );
    program
}

/// A run of `tests/programs/SCRIPT.py`, by the Python of the environment, or another system's.
pub fn python(name: &str) -> Run {
    let interpreter = other_system().map_or_else(|| venv("python"), |_| "python3".into());
    script(interpreter, &format!("{name}.py"))
}

/// psycopg's compiled half: of the wheels, or of Debian's packages in another system.
pub fn psycopg_compiled() -> &'static str {
    other_system().map_or("binary", |_| "c")
}

/// A run of `tests/programs/NAME` by its interpreter.
pub fn script(interpreter: impl AsRef<std::ffi::OsStr>, name: &str) -> Run {
    Run::new(interpreter).arg(root().join("tests/programs").join(name))
}

/// Where the modules of Debian's PHP lie, which `tools/setup` has unpacked.
pub fn extensions() -> PathBuf {
    // A folder for PHP's internal version; beside it lie Debian's own.
    std::fs::read_dir(root().join("target/unpacked/usr/lib/php"))
        .expect("target/unpacked: run tools/setup")
        .map(|folder| folder.unwrap().path())
        .find(|folder| folder.join("pgsql.so").exists())
        .expect("pgsql.so: run tools/setup")
}

/// A run of `tests/programs/idle.php` by that PHP, or another system's as it is installed.
pub fn php() -> Run {
    if other_system().is_some() {
        return script("php", "idle.php");
    }
    Run::new(root().join("target/unpacked/usr/bin/php8.2"))
        .arg("-n") // no php.ini of this machine's
        .args(["-d", "extension=pgsql", "-d", "extension=pdo"])
        .args(["-d", "extension=pdo_pgsql", "-d"])
        .arg(format!("extension_dir={}", extensions().display()))
        .arg(root().join("tests/programs/idle.php"))
}
