//! `dormouse machine`

use clap::{Args, Subcommand};

use crate::api::view::MachineView;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fields, Output, Tone, words};
use crate::cli::report::Outcome;
use crate::model::MachineId;

/// Show or end one machine
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse machine show vm_01jd3x9k2v6q8w4e5r7t9y1s3f
  dormouse machine end vm_01jd3x9k2v6q8w4e5r7t9y1s3f")]
pub(crate) struct Machine {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show one machine
    #[command(after_help = "\
Example:
  dormouse machine show vm_01jd3x9k2v6q8w4e5r7t9y1s3f

JSON: one object, as in GET /api/v1/machines/{id}.")]
    Show {
        /// The machine's id
        id: MachineId,
    },
    /// End a machine that has no build; a busy one is refused
    #[command(after_help = "\
Example:
  dormouse machine end vm_01jd3x9k2v6q8w4e5r7t9y1s3f

JSON: the machine as it stands then.")]
    End {
        /// The machine's id
        id: MachineId,
    },
}

impl Machine {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let client = ctx.client()?;
        let machine: MachineView = match self.action {
            Action::Show { id } => {
                let path = ["machines", &id.to_string()];
                client.get(&path, &Vec::new()).await?
            }
            Action::End { id } => client.post(&["machines", &id.to_string(), "end"]).await?,
        };
        ctx.output
            .answer(&machine, |machine| draw(machine, ctx.output))?;
        Ok(Exit::Success)
    }
}

/// A machine for people.
pub(crate) fn draw(machine: &MachineView, output: Output) -> String {
    let now = output.now;
    let state = machine.state.word();
    let shape = &machine.shape;
    let mut fields = Fields::default();
    fields.add("Machine", machine.id.to_string());
    fields.toned("State", state, Tone::of_word(state));
    fields.add("Since", words::ago(machine.since, now));
    fields.maybe("Reason", machine.reason.clone());
    fields.add(
        "Image",
        format!("{} v{}", machine.image, machine.image_version),
    );
    let place = [machine.provider.as_str(), &machine.zone, &machine.market];
    let place: Vec<&str> = place.into_iter().filter(|word| !word.is_empty()).collect();
    fields.add("Provider", place.join(", "));
    fields.maybe("Instance", machine.instance.clone());
    fields.maybe("Address", machine.address.clone());
    let size = format!(
        "{} ({} vcpu, {} MiB)",
        shape.name, shape.vcpus, shape.memory_mib
    );
    fields.add("Shape", size);
    fields.add("Price", words::rate(shape.price.micro_usd_per_hour));
    fields.add("Age", words::millis(machine.age_millis));
    fields.add("Cost", words::money(&machine.cost));
    for build in &machine.builds {
        fields.add("Build", build.to_string());
    }
    fields.maybe(
        "Launched for",
        machine.launched_for.map(|id| id.to_string()),
    );
    fields.add("Builds done", machine.builds_done.to_string());
    let hold = machine.hold.as_ref();
    fields.maybe(
        "Held",
        hold.map(|hold| {
            let left = words::length(hold.until.since(now));
            format!("by {} for another {left}: {}", hold.owner, hold.reason)
        }),
    );
    fields.draw(output.paper)
}
