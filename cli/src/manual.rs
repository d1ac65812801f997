//! The man pages: of the command and its sub-commands as clap tells them, and of the library's
//! variables.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use roff::{bold, italic, roman, Roff};

use crate::arguments::{Arguments, VARIABLES};
use crate::Failure;

/// Writes `man1/forkguard*.1` and `man7/libforkguard.7` below the folder.
pub fn write(folder: &Path) -> Result<i32, Failure> {
    let pages = || -> std::io::Result<()> {
        let (commands, library) = (folder.join("man1"), folder.join("man7"));
        fs::create_dir_all(&commands)?;
        fs::create_dir_all(&library)?;
        let mut command = Arguments::command();
        command.build();
        for page in std::iter::once(&command).chain(shown_commands(&command)) {
            let name = page_name(page);
            fs::write(
                commands.join(format!("{name}.1")),
                command_page(page, &name)?,
            )?;
        }
        fs::write(library.join("libforkguard.7"), variables())
    };
    match pages() {
        Ok(()) => Ok(0),
        Err(error) => Err(Failure::new(1, format!("{}: {error}", folder.display()))),
    }
}

/// The line that a page begins with: its header and its footer. By hand, for roff leaves out an
/// argument that is empty, and the date is: a page of the same sources is the same.
fn title(name: &str, section: &str, manual: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {name} {section} \"\" \"libforkguard {version}\" \"{manual}\"\n")
}

fn see_also(page: &mut Roff, pages: &[(&str, &str)]) {
    page.control("SH", ["SEE ALSO"]);
    let mut text = Vec::new();
    for (index, (name, section)) in pages.iter().enumerate() {
        let end = if index + 1 < pages.len() { ", " } else { "" };
        text.extend([bold(*name), roman(format!("({section}){end}"))]);
    }
    page.text(text);
}

/// clap_mangen writes the description and the options; what is ours is its own.
fn command_page(command: &clap::Command, name: &str) -> std::io::Result<Vec<u8>> {
    let mut begin = Roff::new();
    let about = command.get_about().map(ToString::to_string);
    begin
        .control("SH", ["NAME"])
        .text([roman(format!("{name} - {}", about.unwrap_or_default()))]);
    begin.control("SH", ["SYNOPSIS"]);
    for (index, line) in synopsis(command).iter().enumerate() {
        if index > 0 {
            begin.control("br", []);
        }
        begin.text([bold(name.replace('-', " ")), roman(line)]);
    }
    let mut page = title(name, "1", "User Commands").into_bytes();
    page.extend(begin.to_roff().into_bytes());
    let man = clap_mangen::Man::new(command.clone());
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut end = Roff::new();
    let commands: Vec<String> = shown_commands(command).map(page_name).collect();
    if !commands.is_empty() {
        end.control("SH", ["COMMANDS"]);
        for sub in shown_commands(command) {
            let about = sub.get_about().map(ToString::to_string);
            end.control("TP", [])
                .text([bold(page_name(sub)), roman("(1)")])
                .text([roman(about.unwrap_or_default())]);
        }
    }
    if let Some(help) = command.get_after_help() {
        write_sections(&mut end, &help.to_string());
    }
    let mut others = vec![("libforkguard", "7"), ("ld.so", "8")];
    let own: Vec<(&str, &str)> = commands.iter().map(|name| (&**name, "1")).collect();
    if own.is_empty() {
        others.insert(0, ("forkguard", "1"));
    }
    see_also(&mut end, &[own, others].concat());
    page.extend(end.to_roff().into_bytes());
    Ok(page)
}

fn shown_commands(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    let commands = command.get_subcommands();
    commands.filter(|sub| sub.get_name() != "help")
}

fn page_name(command: &clap::Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or(command.get_name()).to_owned()
}

/// The lines of the usage, without the command's own name.
fn synopsis(command: &clap::Command) -> Vec<String> {
    let usage = command.clone().render_usage().to_string();
    let name = page_name(command).replace('-', " ");
    usage
        .trim_start_matches("Usage:")
        .lines()
        .map(|line| line.trim().trim_start_matches(&name).to_owned())
        .collect()
}

/// The text behind the options: its headings become sections, and what is indented stays as it is.
fn write_sections(page: &mut Roff, text: &str) {
    let mut is_verbatim = false;
    for paragraph in text.split("\n\n") {
        page.control("PP", []);
        for line in paragraph.lines() {
            if line.starts_with(' ') != is_verbatim {
                is_verbatim = !is_verbatim;
                page.control(if is_verbatim { "nf" } else { "fi" }, []);
            }
            match line.strip_suffix(':') {
                Some(heading) if !is_verbatim => {
                    page.control("SH", [heading.to_uppercase().as_str()])
                }
                _ => page.text([roman(line)]),
            };
        }
        if is_verbatim {
            is_verbatim = false;
            page.control("fi", []);
        }
    }
}

fn variables() -> String {
    let mut page = Roff::new();
    page.control("SH", ["NAME"])
        .text([roman(
            "libforkguard - keeps forked children off their parent's PostgreSQL sessions",
        )])
        .control("SH", ["DESCRIPTION"])
        .text([
            roman("A shared library for LD_PRELOAD, which "),
            bold("forkguard run"),
            roman(
                " sets, or to link with. Environment variables set it up; an empty value counts as unset. \
                 For a value that it cannot understand, the library prints a line on standard error and \
                 uses the default. In a setuid program it does not read the environment.",
            ),
        ])
        .control("SH", ["ENVIRONMENT"]);
    for variable in VARIABLES {
        page.control("TP", []).text([bold(variable.name)]).text([
            roman(format!("{} Default: ", variable.help)),
            italic(variable.default),
            roman("."),
        ]);
    }
    see_also(&mut page, &[("forkguard", "1"), ("ld.so", "8")]);
    title("libforkguard", "7", "Miscellaneous Information Manual") + &page.to_roff()
}
