//! What runs on instances: builds' processes, and what they leave behind.

use crate::model::{AttemptId, Left, Timestamp, Usage};

use super::{Cloud, InstanceNumber, Run, RunEnd};
use crate::simulate::dice::Dice;

/// What builds have left on an instance.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Remains {
    /// For good.
    left: Option<Left>,
    usage: Usage,
}

impl Remains {
    /// One more build has used up some of what there is.
    fn fill(&mut self, dice: &mut Dice, most: u32) {
        let used = match dice.below(3) {
            0 => &mut self.usage.disk,
            1 => &mut self.usage.inodes,
            _ => &mut self.usage.memory,
        };
        let more = u32::try_from(dice.below(u64::from(most) + 1)).unwrap_or(0);
        *used = Some(used.unwrap_or(0).saturating_add(more).min(100));
    }
}

impl Cloud {
    /// Starts a build's processes, unless they were started before; none when that cannot be.
    pub(in crate::simulate) fn start(
        &mut self,
        number: InstanceNumber,
        attempt: AttemptId,
        run: Run,
        at: Timestamp,
    ) -> Option<Run> {
        let vm = self.vms.get_mut(&number)?;
        let is_up = vm.ended.is_none() && vm.up_at.is_some_and(|up_at| up_at <= at);
        is_up.then(|| *vm.runs.entry(attempt).or_insert(run))
    }

    /// A build's processes, if they were started.
    pub(in crate::simulate) fn run(
        &self,
        number: InstanceNumber,
        attempt: AttemptId,
    ) -> Option<Run> {
        self.vms.get(&number)?.runs.get(&attempt).copied()
    }

    /// A build's processes are tidied up after: what is left of all builds so far, and how full the
    /// instance is. Asked again, it says the same.
    pub(in crate::simulate) fn tidy(
        &mut self,
        number: InstanceNumber,
        attempt: AttemptId,
    ) -> (Option<Left>, Usage) {
        let Some(vm) = self.vms.get_mut(&number) else {
            return (None, Usage::default());
        };
        if vm.runs.remove(&attempt).is_some() {
            if self.faults.fills_percent > 0 {
                vm.remains.fill(&mut self.dice, self.faults.fills_percent);
            }
            if self.dice.chance(self.faults.unclean_per_mille) {
                vm.remains.left = Some(Left::Processes(1));
            }
        }
        (vm.remains.left, vm.remains.usage)
    }

    /// An instance is rebooted: nothing of what ran on it runs any more. The builds, but for one.
    pub(in crate::simulate) fn reboot(
        &mut self,
        number: InstanceNumber,
        but: AttemptId,
        at: Timestamp,
    ) -> Vec<AttemptId> {
        let Some(vm) = self.vms.get_mut(&number) else {
            return Vec::new();
        };
        let others = vm.runs.iter_mut().filter(|(attempt, _)| **attempt != but);
        let others = others.map(|(attempt, run)| {
            *run = Run {
                ends_at: at,
                end: RunEnd::Reboot,
            };
            *attempt
        });
        others.collect()
    }
}
