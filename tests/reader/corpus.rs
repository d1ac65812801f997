//! SQL of others, as found on the machine, and of ours. None of theirs is in the repository.

use crate::support::root;
use std::path::{Path, PathBuf};

/// A file of SQL, without what is psql's and not SQL.
pub struct File {
    pub path: PathBuf,
    pub sql: String,
}

/// What applications and their libraries send.
pub fn ours() -> File {
    read(&root().join("tests/reader/orm.sql"))
}

/// PostgreSQL's regression tests and those of its extensions, from Debian's source package
/// (tools/setup), in the order in which they make what the next one needs.
pub fn regression() -> Vec<File> {
    let source = root().join("target/postgresql-source");
    let schedule = std::fs::read_to_string(source.join("src/test/regress/parallel_schedule"))
        .expect("target/postgresql-source: run tools/setup");
    let mut names: Vec<&str> = schedule
        .lines()
        .filter_map(|line| line.strip_prefix("test:"))
        .flat_map(str::split_whitespace)
        .collect();
    names.dedup();
    let mut files: Vec<File> = names
        .iter()
        .map(|name| source.join(format!("src/test/regress/sql/{name}.sql")))
        .filter(|path| path.exists())
        .map(|path| read(&path))
        .collect();
    files.extend(below(&source.join("contrib")));
    files
}

/// What a PostgreSQL server has on disk: its catalogs' views, its extensions' scripts.
pub fn installed() -> Vec<File> {
    let mut files = below(Path::new("/usr/share/postgresql"));
    files.retain(|file| !file.sql.is_empty());
    assert!(
        files.len() > 50,
        "no SQL in /usr/share/postgresql: run tools/setup"
    );
    files
}

/// All of it.
pub fn everything() -> Vec<File> {
    let mut files = regression();
    files.extend(installed());
    files.push(ours());
    files
}

fn below(folder: &Path) -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)
            .expect("a folder of SQL")
            .flatten()
        {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "sql") {
                files.push(read(&path));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn read(path: &Path) -> File {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    File {
        path: path.to_owned(),
        // A few are in other encodings: left out.
        sql: String::from_utf8(bytes).map_or_else(|_| String::new(), |sql| without_psql(&sql)),
    }
}

/// Takes out psql's commands, and the data behind COPY … FROM stdin.
fn without_psql(text: &str) -> String {
    let mut sql = String::with_capacity(text.len());
    let mut data = false;
    let mut conditional = 0;
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().copied().enumerate() {
        if data {
            data = line != "\\.";
            continue;
        }
        let start = line.trim_start();
        if let Some(command) = start.strip_prefix('\\') {
            // The other branch of the test is for another build of the server.
            match command.split_whitespace().next() {
                Some("if") => conditional += 1,
                Some("endif") => conditional -= 1,
                _ => {}
            }
            continue;
        }
        if conditional > 0 && start.starts_with("quit") {
            continue;
        }
        // Where the server is to refuse the COPY, no data follow.
        let statement = |line: &str| {
            line.split("--")
                .next()
                .unwrap_or("")
                .trim_end()
                .ends_with(';')
        };
        data = line.to_ascii_lowercase().contains(" from stdin")
            && statement(line)
            && lines[at + 1..]
                .iter()
                .find(|line| **line == "\\." || statement(line))
                .is_some_and(|line| *line == "\\.");
        // A statement sent by a command on its last line.
        let commands = [
            " \\g",
            "\\gexec",
            "\\gset",
            " \\crosstabview",
            " \\watch",
            " \\bind",
        ];
        match commands
            .iter()
            .filter_map(|command| line.find(command))
            .min()
        {
            Some(at) => {
                sql.push_str(&line[..at]);
                sql.push(';');
            }
            None => sql.push_str(line),
        }
        sql.push('\n');
    }
    // psql's way to send a semicolon.
    sql.replace("\\;", ";")
}
