//! `forkguard`. See [`forkguard_cli`].

use clap::{CommandFactory, Parser};
use forkguard_cli::arguments::{Action, Arguments};

fn main() {
    match Arguments::parse().action {
        Action::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "forkguard",
                &mut std::io::stdout(),
            );
        }
        Action::Manual { folder } => {
            if let Err(error) = clap_mangen::generate_to(Arguments::command(), &folder) {
                eprintln!("forkguard: {}: {error}", folder.display());
                std::process::exit(1);
            }
        }
        _ => unimplemented!("built by the commits that follow"),
    }
}
