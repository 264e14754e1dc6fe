//! `dormouse man`

use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man as Page;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Outcome, file_error};

/// Print the manual page, or write one for every command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse man | man -l -
  dormouse man --dir ~/.local/share/man/man1 && man dormouse-submit")]
pub(crate) struct Man {
    /// Write a page for every command into this directory
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, ctx: &Context) -> Outcome {
        let mut command = crate::cli::command();
        command.build();
        match self.dir {
            Some(directory) => {
                std::fs::create_dir_all(&directory)
                    .map_err(|error| file_error("make", &directory, &error))?;
                write_pages(&command, "dormouse", &directory)?;
            }
            None => ctx.output.bytes(&page(&command, "dormouse")?)?,
        }
        Ok(Exit::Success)
    }
}

/// Writes the page of a command and of those below it: `dormouse-token-create.1`.
fn write_pages(command: &clap::Command, name: &str, directory: &Path) -> Outcome<()> {
    let path = directory.join(format!("{name}.1"));
    std::fs::write(&path, page(command, name)?)
        .map_err(|error| file_error("write", &path, &error))?;
    for inner in command.get_subcommands() {
        if !inner.is_hide_set() && inner.get_name() != "help" {
            write_pages(inner, &format!("{name}-{}", inner.get_name()), directory)?;
        }
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str) -> Outcome<Vec<u8>> {
    let mut text = Vec::new();
    Page::new(command.clone().display_name(name.to_owned()))
        .title(name.to_uppercase())
        .manual("Dormouse")
        .render(&mut text)
        .map_err(|error| file_error("render", Path::new(name), &error))?;
    Ok(text)
}
