//! Only the hidden machine subcommand, until the command line takes over.

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let [_, command, flag, directory] = arguments.as_slice()
        && command == "local-machine"
        && flag == "--dir"
    {
        dormouse::provider::local::run_machine(directory.as_ref())?;
    }
    Ok(())
}
