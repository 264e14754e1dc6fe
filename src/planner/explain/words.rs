//! Verdicts in words, as clauses.

use crate::model::MarketChoice;

use super::super::report::blocked_words;
use super::super::rest::Minds;
use super::super::snapshot::Snapshot;
use super::{MachineVerdict, OfferingVerdict};

/// What an offering means, as a clause.
pub fn offering_words(snapshot: &Snapshot, verdict: &OfferingVerdict) -> String {
    match verdict {
        OfferingVerdict::Rank(_) => "a launch asks for it".to_owned(),
        OfferingVerdict::Market(choice) => {
            let allowed = match choice {
                MarketChoice::OnDemand => "on-demand",
                MarketChoice::Spot => "spot",
                MarketChoice::SpotWithFallback => "spot and on-demand",
            };
            format!("the policy allows {allowed} only")
        }
        OfferingVerdict::Spot => "the build needs capacity that is not taken back".to_owned(),
        OfferingVerdict::Dry(until) => format!("it had no capacity; tried again at {until}"),
        OfferingVerdict::Blocked(why) => blocked_words(snapshot, why),
        OfferingVerdict::Dear(cheapest) => {
            format!("it costs more than twice the cheapest, which is {cheapest}")
        }
        OfferingVerdict::Many => "a launch names enough that are cheaper".to_owned(),
        OfferingVerdict::Behind(market) => format!("{} is asked first", market.word()),
    }
}

/// What a machine means, as a clause.
pub fn machine_words(snapshot: &Snapshot, verdict: &MachineVerdict) -> String {
    match verdict {
        MachineVerdict::Rank(_) => "it can take the build".to_owned(),
        MachineVerdict::Full => "it has as many builds side by side as it may".to_owned(),
        MachineVerdict::WornOut(most) => {
            format!("it takes no more builds: its policy lets it run {most} in all")
        }
        MachineVerdict::TooOld(most) => {
            format!("it takes no more builds: it is older than {most}, its policy's lifetime")
        }
        MachineVerdict::Unclean(left) => format!("it takes no more builds: {}", left.sentence()),
        MachineVerdict::TooFull(full) => {
            let full = full.sentence();
            format!("it takes no more builds: {full}, more than its policy allows")
        }
        MachineVerdict::Reuse(minds) => minds_words(*minds).to_owned(),
        MachineVerdict::Tidying => "it is being tidied up after another build".to_owned(),
        MachineVerdict::Taken(build) => format!("it goes to {build}, whose turn is earlier"),
        MachineVerdict::Held(until) => format!("a person keeps it until {until}"),
        MachineVerdict::Interrupted => "its provider takes it back".to_owned(),
        MachineVerdict::Ends(reason) => format!("it takes no more builds: {}", reason.sentence()),
        MachineVerdict::Ending => "it is on its way out".to_owned(),
        MachineVerdict::FallingAsleep => {
            "it is falling asleep, and can be woken once it is".to_owned()
        }
        MachineVerdict::Used => {
            "the build asks for a machine that has run nothing, and it has".to_owned()
        }
        MachineVerdict::Spot => {
            "it is spot, and the build needs capacity that is not taken back".to_owned()
        }
        MachineVerdict::Dry(Some(until)) => {
            format!("there is no capacity to wake it; tried again at {until}")
        }
        MachineVerdict::Dry(None) => "there is no capacity to wake it".to_owned(),
        MachineVerdict::Blocked(why) => blocked_words(snapshot, why),
    }
}

const fn minds_words(minds: Minds) -> &'static str {
    match minds {
        Minds::ThoseBefore => "a build that it has run wants nobody after it (reuse.by: never)",
        Minds::TheBuild => {
            "it has run builds, and this one wants nobody before it (reuse.by: never)"
        }
        Minds::ProjectBefore => {
            "builds that it has run want only their own project after them (reuse.by: project)"
        }
        Minds::ProjectOfBuild => {
            "it has run builds of another project, and this one wants only its own (reuse.by: \
             project)"
        }
    }
}
