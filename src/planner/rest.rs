//! Whether a machine may take a further build, for what the builds before have made of it.

use crate::model::{Reason, Reuse, Span, Timestamp};

use super::snapshot::{Class, ImageView, MachineView, Phase};

/// How long a build waits for a machine that is being tidied up after another one, rather than have
/// one launched: that takes milliseconds, or as long as a large directory takes to be removed, and a
/// launch twenty seconds and more.
const TIDY_PATIENCE: Span = Span::from_secs(10);

/// Why an idle machine takes no further build, if it does not.
pub(super) fn must_rest(machine: &MachineView, image: &ImageView) -> Option<Reason> {
    if !matches!(machine.phase, Phase::Idle(_)) {
        return None;
    }
    if let Some(left) = machine.past.left {
        return Some(Reason::Unclean(left));
    }
    if let Some(full) = machine.past.usage.too_full(&image.rest_at) {
        return Some(Reason::Full(full));
    }
    (machine.past.reuse == Reuse::Never && is_used(machine)).then_some(Reason::BuildCount)
}

/// Whether builds of a class may follow those that a machine has run: neither they nor those may mind.
pub(super) fn may_follow(class: &Class, machine: &MachineView) -> bool {
    if !is_used(machine) {
        return true;
    }
    let wanted = class.reuse.get(&machine.image).copied();
    match machine.past.reuse.stricter(wanted.unwrap_or_default()) {
        Reuse::Any => true,
        Reuse::Project => !machine.past.is_mixed && machine.project == Some(class.project),
        Reuse::Never => false,
    }
}

/// Until when a machine that is being tidied up is waited for.
pub(super) fn tidy_until(idle_since: Timestamp) -> Timestamp {
    idle_since + TIDY_PATIENCE
}

/// Whether a build has run on it, or runs.
fn is_used(machine: &MachineView) -> bool {
    machine.builds_done > 0 || machine.phase == Phase::Busy
}
