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
        let shown = command
            .get_subcommands()
            .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
        for page in std::iter::once(&command).chain(shown) {
            let page = page.clone();
            let name = page
                .get_display_name()
                .unwrap_or(page.get_name())
                .to_owned();
            fs::write(commands.join(format!("{name}.1")), command_page(page)?)?;
        }
        fs::write(library.join("libforkguard.7"), variables())
    };
    match pages() {
        Ok(()) => Ok(0),
        Err(error) => Err(Failure::new(1, format!("{}: {error}", folder.display()))),
    }
}

/// As clap_mangen has it, but for the text behind the options: its headings become sections, and what
/// is indented stays as it is.
fn command_page(command: clap::Command) -> std::io::Result<Vec<u8>> {
    let help = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let has_commands = command.has_subcommands();
    let man = clap_mangen::Man::new(command);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    for paragraph in help.split("\n\n") {
        let mut lines = paragraph.lines().peekable();
        if let Some(heading) = lines.next_if(|line| line.ends_with(':') && !line.starts_with(' ')) {
            rest.control(
                "SH",
                [heading.trim_end_matches(':').to_uppercase().as_str()],
            );
        } else {
            rest.control("PP", []);
        }
        let mut as_it_is = false;
        for line in lines {
            if line.starts_with(' ') != as_it_is {
                as_it_is = !as_it_is;
                rest.control(if as_it_is { "nf" } else { "fi" }, []);
            }
            rest.text([roman(line)]);
        }
        if as_it_is {
            rest.control("fi", []);
        }
    }
    rest.control("SH", ["SEE ALSO"]).text([
        bold("forkguard"),
        roman("(1), "),
        bold("libforkguard"),
        roman("(7), "),
        bold("ld.so"),
        roman("(8)"),
    ]);
    page.extend(rest.to_roff().into_bytes());
    Ok(page)
}

fn variables() -> String {
    let mut page = Roff::new();
    page.control("TH", ["libforkguard", "7", "", env!("CARGO_PKG_VERSION")])
        .control("SH", ["NAME"])
        .text([roman(
            "libforkguard - keeps forked children off their parent's PostgreSQL sessions",
        )])
        .control("SH", ["DESCRIPTION"])
        .text([
            roman("A shared library for LD_PRELOAD, which "),
            bold("forkguard run"),
            roman(
                " sets, or to link with. It is set by environment; an empty value is none. A value \
                 that cannot be understood gives one line on standard error, and the default. In a \
                 setuid program the environment is not read.",
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
    page.control("SH", ["SEE ALSO"]).text([
        bold("forkguard"),
        roman("(1), "),
        bold("ld.so"),
        roman("(8)"),
    ]);
    page.to_roff()
}
