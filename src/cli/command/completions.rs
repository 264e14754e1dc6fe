//! `dormouse completions`

use clap::Args;
use clap_complete::Shell;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::report::Outcome;

/// Print a script that completes this program's commands in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse completions bash > ~/.local/share/bash-completion/completions/dormouse
  dormouse completions zsh > ~/.zfunc/_dormouse
  dormouse completions fish > ~/.config/fish/completions/dormouse.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, ctx: &Context) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut visible(), "dormouse", &mut script);
        ctx.output.bytes(&script)?;
        Ok(Exit::Success)
    }
}

/// The command line without hidden commands, which some generators would complete.
fn visible() -> clap::Command {
    let whole = crate::cli::command();
    let commands = whole.get_subcommands().filter(|one| !one.is_hide_set());
    clap::Command::new("dormouse")
        .args(whole.get_arguments().cloned())
        .subcommands(commands.cloned())
}
