//! Where builds would go and how they are paid for, in words.

use crate::model::{Billing, Build, BuildId, BuildState, Span};
use crate::planner::{self, Action, Estimate, ImageIndex, Phase};

use super::{Quoting, action_for};

impl Quoting<'_> {
    /// Where a build would go, in words.
    pub(super) fn place(&self, build: &Build, image: Option<ImageIndex>) -> String {
        let name = image.and_then(|image| self.books.snapshot.image(image));
        let name = name.map_or("?", |image| image.name.as_str());
        if build.state == BuildState::Waiting {
            let needs = build.spec.needs.iter();
            let of = |need: &BuildId| self.builds.iter().find(|build| build.id == *need);
            let needs: Vec<&str> = needs.filter_map(of).map(|b| b.spec.name.as_str()).collect();
            return format!("on {name}, after {}", needs.join(", "));
        }
        match action_for(self.plan, build.id) {
            Some(Action::Bind { machine, .. }) => {
                let view = self.books.snapshot.machines.get(machine);
                match view.map(|view| view.phase) {
                    Some(Phase::Busy) => format!("beside others on {machine} ({name})"),
                    Some(Phase::Coming { .. }) => {
                        format!("on {machine} ({name}), which is booting")
                    }
                    Some(_) => format!("on {machine} ({name}), which is idle"),
                    None => format!("on a machine of {name} that is launched for another one"),
                }
            }
            Some(Action::Wake { machine, .. }) => format!("wakes {machine} ({name})"),
            Some(Action::Launch { offerings, .. }) => self.launch_words(name, image, offerings),
            Some(Action::GiveUp { reason, .. }) => format!("is given up: {reason}"),
            Some(Action::Move { .. } | Action::Sleep { .. } | Action::Drain { .. }) | None => {
                let snapshot = &self.books.snapshot;
                let waiting = planner::waiting_for(snapshot, self.plan, build.id, self.now);
                let why = waiting.map(|waiting| planner::blocked_words(snapshot, &waiting.why));
                format!("waits: {}", why.unwrap_or_default())
            }
        }
    }

    fn launch_words(&self, name: &str, image: Option<ImageIndex>, places: &[usize]) -> String {
        let image = image.and_then(|image| self.books.image_at(image));
        let offered = image.map(|image| self.books.offerings_at(image, places));
        let pools: Vec<String> = offered
            .unwrap_or_default()
            .iter()
            .map(|offering| offering.pool().to_string())
            .collect();
        match pools.as_slice() {
            [] => format!("launches {name}"),
            [only] => format!("launches {name} on {only}"),
            [first, others @ ..] => {
                format!("launches {name} on {first}, or {} like it", others.len())
            }
        }
    }

    /// What of the idle figure is paid for in pieces and not used.
    pub(super) fn billing_words(
        &self,
        estimate: &Estimate,
        images: &[Option<ImageIndex>],
    ) -> String {
        let billed = images.iter().flatten().filter_map(|image| {
            let name = &self.books.snapshot.image(*image)?.name;
            let pieces = pieces(self.billing(*image))?;
            Some(format!("machines of {name} are billed {pieces}"))
        });
        let mut billed: Vec<String> = billed.collect();
        billed.sort();
        billed.dedup();
        format!(
            "{}: of the idle figure, {} to {} is for time that is paid for and not used",
            billed.join(", "),
            estimate.unused.low,
            estimate.unused.high
        )
    }
}

/// `in pieces of 1h, for 1m at least`; none for time as it is used.
fn pieces(billing: Billing) -> Option<String> {
    let quantum =
        (billing.quantum > Span::ZERO).then(|| format!("in pieces of {}", billing.quantum));
    let minimum =
        (billing.minimum > Span::ZERO).then(|| format!("for {} at least", billing.minimum));
    let parts: Vec<String> = [quantum, minimum].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_told_as_they_are_billed() {
        let billing = |quantum, minimum| Billing {
            quantum: Span::from_secs(quantum),
            minimum: Span::from_secs(minimum),
        };
        let said = |quantum, minimum| pieces(billing(quantum, minimum));
        assert_eq!(said(0, 0), None);
        assert_eq!(said(0, 60).as_deref(), Some("for 1m at least"));
        assert_eq!(
            said(3_600, 60).as_deref(),
            Some("in pieces of 1h, for 1m at least")
        );
    }
}
