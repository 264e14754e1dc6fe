//! What a person could change about the rules that keep machines and shapes from a build.

use crate::books::Books;
use crate::model::{Build, MachineId};
use crate::planner::{Chances, MachineVerdict, Minds, OfferingVerdict, Remedy};
use crate::policy::{self, Knob, Source};

use super::super::remedies::remedy;

/// Most rules that are told how to change: beyond it people have to think of their policies anyway.
const MOST: usize = 6;

/// What would be otherwise with another value of a policy's key.
struct Rule<'a> {
    key: &'static str,
    /// Whose policy it is: of what a build has, or of what a machine had before.
    subject: policy::Subject<'a>,
    /// What that would do, as a clause.
    effect: String,
}

/// A remedy per rule, in the order of the verdicts.
pub(super) fn remedies(books: &Books, build: &Build, chances: &Chances) -> Vec<Remedy> {
    let mut found: Vec<Remedy> = Vec::new();
    for image in &chances.images {
        let Some(name) = books.snapshot.image(image.image).map(|view| &view.name) else {
            continue;
        };
        let look = Look {
            books,
            build,
            image: name,
        };
        let of_shapes = image
            .offerings
            .iter()
            .filter_map(|o| look.of_shape(&o.verdict));
        let machines = image.machines.iter();
        let of_machines = machines.filter_map(|m| look.of_machine(m.machine, &m.verdict));
        for remedy in of_shapes.chain(of_machines) {
            if !found.contains(&remedy) && found.len() < MOST {
                found.push(remedy);
            }
        }
    }
    found
}

struct Look<'a> {
    books: &'a Books,
    build: &'a Build,
    /// The image's name.
    image: &'a str,
}

impl<'a> Look<'a> {
    fn of_shape(&self, verdict: &OfferingVerdict) -> Option<Remedy> {
        let image = self.image;
        let rule = match verdict {
            OfferingVerdict::Market(_) => Rule {
                key: "market.buy",
                subject: self.any(),
                effect: format!(
                    "launches {image} there, too (spot-with-fallback: on both markets)"
                ),
            },
            OfferingVerdict::Spot => Rule {
                key: "market.on_demand",
                subject: self.own(),
                effect: "lets it run on spare capacity".to_owned(),
            },
            // They pass, or are what the build waits for and are told of there.
            OfferingVerdict::Rank(_)
            | OfferingVerdict::Dry(_)
            | OfferingVerdict::Blocked(_)
            | OfferingVerdict::Dear(_)
            | OfferingVerdict::Many
            | OfferingVerdict::Behind(_) => return None,
        };
        self.change(&rule)
    }

    fn of_machine(&self, id: MachineId, verdict: &MachineVerdict) -> Option<Remedy> {
        let image = self.image;
        let (key, subject, effect) = match verdict {
            MachineVerdict::Reuse(minds) => {
                let (subject, what) = match minds {
                    Minds::ThoseBefore | Minds::ProjectBefore => {
                        (self.before(id), "lets other builds follow those on")
                    }
                    Minds::TheBuild | Minds::ProjectOfBuild => {
                        (self.own(), "lets it follow other builds on")
                    }
                };
                let effect = format!("{what} machines of {image}, from the next build on");
                ("reuse.by", subject, effect)
            }
            MachineVerdict::WornOut(_) => {
                let effect = format!("lets machines of {image} run more builds in all");
                ("reuse.builds", self.any(), effect)
            }
            MachineVerdict::TooOld(_) => {
                let effect = format!("lets machines of {image} live longer");
                ("reuse.lifetime", self.any(), effect)
            }
            MachineVerdict::TooFull(_) => {
                let effect = format!("lets machines of {image} become fuller");
                ("reuse.rest_at", self.any(), effect)
            }
            MachineVerdict::Full => return self.more_slots(),
            MachineVerdict::Spot => {
                let effect = "lets it run on spare capacity".to_owned();
                ("market.on_demand", self.own(), effect)
            }
            MachineVerdict::Used => return Some(Self::not_fresh()),
            MachineVerdict::Unclean(_) => {
                let command = format!("dormouse events --subject {id}");
                return Some(remedy("shows what a build has left behind", command));
            }
            // They pass, or are what the build waits for and are told of there.
            MachineVerdict::Rank(_)
            | MachineVerdict::Taken(_)
            | MachineVerdict::Held(_)
            | MachineVerdict::Interrupted
            | MachineVerdict::Ends(_)
            | MachineVerdict::Ending
            | MachineVerdict::FallingAsleep
            | MachineVerdict::Tidying
            | MachineVerdict::Dry(_)
            | MachineVerdict::Blocked(_) => return None,
        };
        self.change(&Rule {
            key,
            subject,
            effect,
        })
    }

    fn not_fresh() -> Remedy {
        remedy(
            "without `fresh: true` in the pipeline, takes machines that have run builds, too",
            "dormouse submit PIPELINE.yaml".to_owned(),
        )
    }

    /// Both the image and the policy must say that builds may share a machine.
    fn more_slots(&self) -> Option<Remedy> {
        let image = self.books.image(self.image)?;
        let subject = self.any();
        let slots = policy::effective(self.books.policies.values(), &subject)
            .terms
            .slots;
        if image.spec.slots <= slots {
            return None;
        }
        self.change(&Rule {
            key: "reuse.slots",
            subject,
            effect: format!(
                "runs up to {} builds side by side on a machine of {}",
                image.spec.slots, self.image
            ),
        })
    }

    /// The remedy, with the policy that says the key now.
    fn change(&self, rule: &Rule<'_>) -> Option<Remedy> {
        let effective = policy::effective(self.books.policies.values(), &rule.subject);
        let key = rule.key;
        let effect = match effective.sources.get(&Knob(key))? {
            Source::Policy { name, .. } => {
                format!("with another {key} in policy {name}, {}", rule.effect)
            }
            // A last retry is kept from spare capacity whatever policies say.
            Source::BuiltIn if key == "market.on_demand" => return None,
            Source::BuiltIn => format!(
                "with a {key} in a policy that speaks of {}, {}",
                self.image, rule.effect
            ),
        };
        Some(remedy(&effect, "dormouse apply POLICY.yaml".to_owned()))
    }

    /// What policies say of the build on this image.
    fn own(&self) -> policy::Subject<'a> {
        let spec = &self.build.spec;
        policy::Subject {
            project: Some(&spec.project),
            labels: Some(&spec.labels),
            priority: Some(spec.priority),
            ..self.any()
        }
    }

    /// What they say of machines of this image that ran builds of the same project as this one.
    fn before(&self, id: MachineId) -> policy::Subject<'a> {
        let machine = self.books.machines.get(&id);
        policy::Subject {
            project: machine.and_then(|machine| machine.project.as_deref()),
            ..self.any()
        }
    }

    /// What they say of all machines of this image.
    fn any(&self) -> policy::Subject<'a> {
        let image = self.books.image(self.image);
        policy::Subject {
            image: Some(self.image),
            provider: image.map(|image| image.spec.provider.as_str()),
            ..policy::Subject::default()
        }
    }
}
