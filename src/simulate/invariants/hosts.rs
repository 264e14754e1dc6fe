//! Who may run where: builds side by side, builds one after the other, and machines that have to rest.
//! Compared with what machines really said, whatever the books made of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::books::Books;
use crate::model::{
    Attempt, AttemptId, AttemptState, Build, BuildId, Left, Machine, MachineId, Reuse, Usage,
};
use crate::policy::{self, Terms};

/// Machines, with what they have run.
#[derive(Debug, Default)]
pub(super) struct Hosts(BTreeMap<MachineId, Host>);

/// What a machine has run, and what that has left.
#[derive(Debug, Default)]
struct Host {
    /// The builds that it has.
    claims: BTreeSet<BuildId>,
    /// All builds that it had while it was up.
    ran: BTreeMap<BuildId, Guest>,
    /// Attempts of which it has not said yet what is left.
    untidy: BTreeSet<AttemptId>,
    left: Option<Left>,
    usage: Usage,
}

/// A build on a machine.
#[derive(Debug, Clone)]
struct Guest {
    project: String,
    /// Whose builds may be there before, with or after it.
    wish: Reuse,
    is_fresh: bool,
}

impl Hosts {
    /// An attempt ended on a machine that is still up: something may be left of it.
    pub(super) fn attempt(&mut self, attempt: &Attempt, books: &Books) {
        let machine = books.machines.get(&attempt.machine);
        let is_up = machine.is_some_and(|machine| machine.state.endpoint().is_some());
        if is_up && matches!(attempt.state, AttemptState::Finished { .. }) {
            let host = self.0.entry(attempt.machine).or_default();
            host.untidy.insert(attempt.id);
        }
    }

    /// A machine has said what is left of an attempt, and how full it is.
    pub(super) fn tidied(
        &mut self,
        machine: MachineId,
        attempt: AttemptId,
        left: Option<Left>,
        usage: Usage,
    ) {
        let host = self.0.entry(machine).or_default();
        host.untidy.remove(&attempt);
        (host.left, host.usage) = (left, usage);
    }

    /// Looks at the builds that a machine has got.
    pub(super) fn machine(&mut self, machine: &Machine, books: &Books) -> Result<(), String> {
        let host = self.0.entry(machine.id).or_default();
        let claims: BTreeSet<BuildId> = machine.state.claims().iter().map(|c| c.0).collect();
        let new: Vec<BuildId> = claims.difference(&host.claims).copied().collect();
        let is_alone = host.claims.is_disjoint(&claims);
        let guests: BTreeMap<BuildId, Guest> = claims
            .iter()
            .filter_map(|id| Some((*id, guest(books.builds.get(id)?, machine, books))))
            .collect();
        host.claims = claims;
        if !new.is_empty() {
            let terms = books.terms(&machine.image);
            host.may_take_more(machine, &terms, is_alone)?;
            crowd(machine, books, &terms)?;
        }
        for id in new {
            let mut others = host.ran.clone();
            others.extend(guests.clone());
            others.remove(&id);
            if let Some(guest) = guests.get(&id) {
                let fits = agree(guest, &others, &host.claims);
                fits.map_err(|why| format!("{id} is on {}, {why}", machine.id))?;
            }
        }
        if machine.state.endpoint().is_some() {
            host.ran.extend(guests);
        }
        Ok(())
    }
}

impl Host {
    /// Whether it may take a build at all, as far as that depends on those before.
    fn may_take_more(
        &self,
        machine: &Machine,
        terms: &Terms,
        is_alone: bool,
    ) -> Result<(), String> {
        let id = machine.id;
        // While others run on it, what is not known yet of one holds up nobody.
        if is_alone && !self.untidy.is_empty() {
            return Err(format!("{id} has a build before it was tidied up"));
        }
        if let Some(left) = self.left {
            return Err(format!("{id} has a build, although {}", left.sentence()));
        }
        match self.usage.too_full(&terms.rest_at) {
            Some(full) => Err(format!("{id} has a build at {}", full.sentence())),
            None => Ok(()),
        }
    }
}

/// There are no more builds on a machine than it has slots, nor more in its life than it may run.
fn crowd(machine: &Machine, books: &Books, terms: &Terms) -> Result<(), String> {
    let id = machine.id;
    let image = books.image(&machine.image);
    let allowed = image.map_or(1, |image| image.spec.slots);
    let slots = match terms.reuse {
        Reuse::Never => 1,
        Reuse::Project | Reuse::Any => allowed.min(terms.slots),
    };
    let count = u32::try_from(machine.state.claims().len()).unwrap_or(u32::MAX);
    if count > slots.max(1) {
        return Err(format!("{id} has {count} builds and {slots} slots"));
    }
    let begun = machine.builds_done + count;
    if begun > terms.max_builds {
        let most = terms.max_builds;
        return Err(format!("{id} has begun {begun} builds and may run {most}"));
    }
    Ok(())
}

/// Whether a build and those beside and before it put up with one another.
fn agree(
    guest: &Guest,
    others: &BTreeMap<BuildId, Guest>,
    claims: &BTreeSet<BuildId>,
) -> Result<(), String> {
    for (id, other) in others {
        let is_beside = claims.contains(id);
        if guest.is_fresh || (other.is_fresh && is_beside) {
            return Err(format!("which is not its own: {id}"));
        }
        let is_shared = match guest.wish.stricter(other.wish) {
            Reuse::Any => true,
            Reuse::Project => guest.project == other.project,
            Reuse::Never => false,
        };
        if !is_shared {
            return Err(format!("which {id} of {} had or has", other.project));
        }
    }
    Ok(())
}

fn guest(build: &Build, machine: &Machine, books: &Books) -> Guest {
    let spec = &build.spec;
    let subject = policy::Subject {
        project: Some(&spec.project),
        image: Some(&machine.image),
        provider: Some(&machine.provider),
        labels: Some(&spec.labels),
        priority: Some(spec.priority),
    };
    let terms = policy::effective(books.policies.values(), &subject).terms;
    Guest {
        project: spec.project.clone(),
        wish: terms.reuse,
        is_fresh: spec.fresh,
    }
}
