//! `docs/recipes/php-fpm.md`. PHP's workers that fork by themselves: `tests/programs/idle.php`.

use super::{Page, Service};
use crate::support::{extensions, library, root};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn as_the_page_says() {
    let page = Page::open("php-fpm.md");
    let mut service = Service::new("fastcgi", ("127.0.0.1:9000", ""));
    let here = service.path().to_owned();
    // The fault is that of a master which is not root, and another user may not reach our target/.
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for file in [
        root().join("target/unpacked/usr/sbin/php-fpm8.2"),
        root().join("target/release/forkguard"),
        library(),
        extensions().join("opcache.so"),
        extensions().join("pgsql.so"),
    ] {
        let copy = here.join(file.file_name().unwrap());
        std::fs::copy(file, &copy).unwrap();
        open(&copy, 0o755);
    }
    open(&here, 0o777);
    let modules = format!("extension_dir = {}\n", here.display());
    service.file("php.ini", &(modules + page.block("php.ini")));
    service.file("php-fpm.conf", page.block("php-fpm.conf"));
    let script = here.join("myapp/public/index.php");
    service.environment = vec![
        ("SCRIPT", script.display().to_string()),
        (
            "FORKGUARD_LOG_FILE",
            format!("{}/forkguard.log", here.display()),
        ),
        // None without the library.
        ("LOOK", format!("cat {}/forkguard.log", here.display())),
    ];

    // SAFETY: geteuid takes nothing and cannot fail.
    let nobody = if unsafe { libc::geteuid() } == 0 {
        "setpriv --reuid=nobody --regid=nogroup --clear-groups "
    } else {
        ""
    };
    let command = |name| {
        let command = page
            .block(name)
            .replace("/usr/local/lib/", "/srv/myapp/")
            .replace("php-fpm8.2 ", "/srv/myapp/php-fpm8.2 ")
            .replace("forkguard run", "/srv/myapp/forkguard run");
        // Behind the change of user: the log file is made by who writes it.
        format!("{nobody}env {command}")
    };
    service.shows_the_fault(&command("plain"));
    // FPM empties the environment of its workers, of which a dial without TLS reads nothing.
    let fate = ": resumed the session on descriptor ";
    service.is_guarded_and_says(&command("preload"), fate);
    service.is_guarded_and_says(&command("run"), fate);
}
