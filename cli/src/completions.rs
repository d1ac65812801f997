//! Completion scripts. Behind `run` and `doctor` stands another program's command line, which the shell
//! completes as it does without us.

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::arguments::Arguments;

/// The commands that take another program's command line.
const WRAPPERS: [&str; 2] = ["run", "doctor"];

pub fn script(shell: Shell) -> Vec<u8> {
    let mut command = Arguments::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "forkguard", &mut script);
    match shell {
        Shell::Bash => script.extend(bash(&command).into_bytes()),
        Shell::Fish => script.extend(fish().into_bytes()),
        _ => {}
    }
    script
}

/// The options of a command that take a value, as a pattern of bash's `case`.
fn options_with_value(command: &Command, name: &str) -> String {
    let options = command
        .find_subcommand(name)
        .into_iter()
        .flat_map(Command::get_opts)
        .filter(|option| option.get_action().takes_values());
    let names: Vec<String> = options
        .filter_map(clap::Arg::get_long)
        .map(|long| format!("--{long}"))
        .collect();
    names.join("|")
}

/// A function around clap's own: it finds where the program begins and leaves the rest to
/// bash-completion's `_command_offset`, or, without bash-completion, completes programs and files.
fn bash(command: &Command) -> String {
    let cases: Vec<String> = WRAPPERS
        .iter()
        .map(|name| {
            let options = options_with_value(command, name);
            format!("        {name}) valued='{options}' ;;\n")
        })
        .collect();
    format!(
        r#"
_forkguard_with_program() {{
    local valued word index=2
    case "${{COMP_WORDS[1]}}" in
{}        *) _forkguard "$@"; return ;;
    esac
    while ((index < COMP_CWORD)); do
        word=${{COMP_WORDS[index]}}
        if [[ $word == -- ]]; then
            ((index += 1))
            break
        elif [[ $word != -* ]]; then
            break
        elif [[ ${{COMP_WORDS[index + 1]}} == "=" ]]; then
            ((index += 3))
        elif [[ "|$valued|" == *"|$word|"* ]]; then
            ((index += 2))
        else
            ((index += 1))
        fi
    done
    # An option, or an option's value.
    if ((index > COMP_CWORD)) ||
        [[ ${{COMP_WORDS[COMP_CWORD]}} == -* && ${{COMP_WORDS[index - 1]}} != -- && $index -eq $COMP_CWORD ]]; then
        _forkguard "$@"
        return
    fi
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$index"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$index"
    else
        local kind=-f
        ((index == COMP_CWORD)) && [[ ${{COMP_WORDS[COMP_CWORD]}} != */* ]] && kind=-c
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen "$kind" -- "${{COMP_WORDS[COMP_CWORD]}}" | sort -u)
    fi
}}
complete -F _forkguard_with_program -o bashdefault -o default forkguard
"#,
        cases.concat()
    )
}

fn fish() -> String {
    WRAPPERS
        .iter()
        .map(|name| {
            format!(
                "complete -c forkguard -n '__fish_seen_subcommand_from {name}' -xa '(__fish_complete_subcommand --fcs-skip=2)'\n"
            )
        })
        .collect()
}
