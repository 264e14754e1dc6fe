//! Whether a machine may take a further build, for what the builds before have made of it.

use crate::model::{Reason, Reuse, Span, Timestamp};

use super::snapshot::{Class, ImageView, MachineView, Past};

/// How long a build waits for a machine that is being tidied up after another one, rather than have
/// one launched: that takes milliseconds, or as long as a large directory takes to be removed, and a
/// launch twenty seconds and more.
const TIDY_PATIENCE: Span = Span::from_secs(10);

/// Why a machine that is up takes no further build, if it does not.
pub(super) fn must_rest(machine: &MachineView, image: &ImageView) -> Option<Reason> {
    if !machine.is_up() {
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

/// Whose wish keeps a build from a machine that has run others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Minds {
    /// Those that it has run want nobody after them.
    ThoseBefore,
    /// The build wants nobody before it.
    TheBuild,
    /// Those that it has run want builds of their own project only.
    ProjectBefore,
    /// The build wants builds of its own project only.
    ProjectOfBuild,
}

/// Whose wish keeps builds of a class from following those that a machine has run, or from joining
/// those that it has: neither they nor those may mind.
pub(super) fn who_minds(class: &Class, machine: &MachineView) -> Option<Minds> {
    if !is_used(machine) {
        return None;
    }
    let wanted = class.reuse.get(&machine.image).copied().unwrap_or_default();
    let is_of_project = !machine.past.is_mixed && machine.project == Some(class.project);
    match (machine.past.reuse, wanted) {
        (Reuse::Never, _) => Some(Minds::ThoseBefore),
        (_, Reuse::Never) => Some(Minds::TheBuild),
        (Reuse::Project, _) if !is_of_project => Some(Minds::ProjectBefore),
        (_, Reuse::Project) if !is_of_project => Some(Minds::ProjectOfBuild),
        (Reuse::Project | Reuse::Any, Reuse::Project | Reuse::Any) => None,
    }
}

/// Whether nobody minds.
pub(super) fn may_follow(class: &Class, machine: &MachineView) -> bool {
    who_minds(class, machine).is_none()
}

/// Until when a machine that is being tidied up is waited for.
pub(super) fn tidy_until(idle_since: Timestamp) -> Timestamp {
    idle_since + TIDY_PATIENCE
}

/// What a machine's past is once it has been given a build of a class.
pub(super) fn past_with(class: &Class, machine: &MachineView) -> Past {
    let is_another = machine.project != Some(class.project);
    let wanted = class.reuse.get(&machine.image).copied();
    Past {
        reuse: machine.past.reuse.stricter(wanted.unwrap_or_default()),
        is_mixed: machine.past.is_mixed || (is_used(machine) && is_another),
        ..machine.past
    }
}

/// Whether a build has run on it, runs, or is to.
const fn is_used(machine: &MachineView) -> bool {
    machine.builds_done > 0 || machine.claims > 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{BuildId, Full, Left, MachineId, Market, Rate, Resource, Usage};
    use crate::planner::{
        Action, Blocked, Candidate, ClassId, ImageIndex, Limit, Meter, OfferingView, Past, Phase,
        ProjectIndex, QueueKey, Snapshot, Violation, audit, plan,
    };

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);
    const ONLY: ImageIndex = ImageIndex(0);
    const MACHINE: MachineId = MachineId::from_bits(1);

    /// One image, an idle machine of it with this past, and a queued build of project 0.
    fn house(past: Past, wanted: Reuse) -> Snapshot {
        let offering = OfferingView {
            price: Rate::from_micros_per_hour(10),
            market: Market::OnDemand,
            available_after: None,
            zone: 0,
            place: 0,
            vcpus: 2,
        };
        let image = ImageView {
            name: "only".to_owned(),
            version: Some(1),
            idle_timeout: Span::from_secs(300),
            max_lifetime: Span::from_secs(86_400),
            max_builds: 100,
            offerings: vec![offering],
            ..ImageView::default()
        };
        let machine = MachineView {
            image: ONLY,
            version: 1,
            price: offering.price,
            market: offering.market,
            offering: Some(0),
            is_interrupted: false,
            project: Some(ProjectIndex(0)),
            past,
            phase: Phase::Idle(NOW - Span::from_secs(1)),
            created_at: NOW - Span::from_secs(600),
            builds_done: 1,
            claims: 0,
            free: 1,
            held_until: None,
            meter: Meter::default(),
        };
        let candidate = Candidate {
            price: offering.price,
            spare: 0,
            image: ONLY,
        };
        let class = Class {
            reuse: [(ONLY, wanted)].into(),
            candidates: vec![candidate].into(),
            ..Class::default()
        };
        let mut snapshot = Snapshot {
            images: vec![image],
            machines: [(MACHINE, machine)].into(),
            classes: [(ClassId(0), class)].into(),
            ..Snapshot::default()
        };
        queue(&mut snapshot, 1);
        snapshot
    }

    fn queue(snapshot: &mut Snapshot, build: u128) {
        queue_in(snapshot, ClassId(0), build);
    }

    fn queue_in(snapshot: &mut Snapshot, class: ClassId, build: u128) {
        let key = QueueKey {
            priority: std::cmp::Reverse(0),
            submitted_at: NOW,
            build: BuildId::from_bits(build),
        };
        snapshot.enqueue(class, key, None);
    }

    fn planned(snapshot: &Snapshot, now: Timestamp) -> crate::planner::Plan {
        let mut next = 100;
        let plan = plan(snapshot, now, &mut || {
            next += 1;
            next
        });
        assert_eq!(audit(snapshot, &plan, now), []);
        plan
    }

    /// What becomes of the machine, and how many are launched.
    fn outcome(snapshot: &Snapshot, now: Timestamp) -> (Option<&'static str>, usize) {
        let plan = planned(snapshot, now);
        let of_it = |action: &Action| match action {
            Action::Bind { machine, .. } if *machine == MACHINE => Some("bound"),
            Action::Drain { machine, .. } if *machine == MACHINE => Some("drained"),
            Action::Bind { .. }
            | Action::Launch { .. }
            | Action::Move { .. }
            | Action::Wake { .. }
            | Action::Sleep { .. }
            | Action::GiveUp { .. }
            | Action::Drain { .. } => None,
        };
        let launches = |action: &&Action| matches!(action, Action::Launch { .. });
        (
            plan.actions.iter().find_map(of_it),
            plan.actions.iter().filter(launches).count(),
        )
    }

    #[test]
    fn nobody_follows_where_either_minds() {
        let past = |reuse, is_mixed| Past {
            reuse,
            is_mixed,
            ..Past::default()
        };
        for (past, wanted, project, expected) in [
            (past(Reuse::Any, true), Reuse::Any, 1, Some("bound")),
            (past(Reuse::Project, false), Reuse::Any, 0, Some("bound")),
            (past(Reuse::Project, false), Reuse::Any, 1, None),
            (past(Reuse::Any, false), Reuse::Project, 0, Some("bound")),
            (past(Reuse::Any, false), Reuse::Project, 1, None),
            (past(Reuse::Any, true), Reuse::Project, 0, None),
            (past(Reuse::Any, false), Reuse::Never, 0, None),
            (past(Reuse::Never, false), Reuse::Any, 0, Some("drained")),
        ] {
            let mut snapshot = house(past, wanted);
            if let Some(class) = snapshot.classes.get_mut(&ClassId(0)) {
                class.project = ProjectIndex(project);
            }
            let launches = usize::from(expected != Some("bound"));
            assert_eq!(
                outcome(&snapshot, NOW),
                (expected, launches),
                "{past:?} {wanted:?} {project}"
            );
            // Where nothing has run, nobody minds.
            if let Some(machine) = snapshot.machines.get_mut(&MACHINE) {
                machine.builds_done = 0;
            }
            assert_eq!(outcome(&snapshot, NOW), (Some("bound"), 0), "{past:?}");
        }
    }

    #[test]
    fn a_machine_with_something_left_or_without_room_rests() {
        let left = Past {
            left: Some(Left::Directory),
            ..Past::default()
        };
        let full = Past {
            usage: Usage {
                disk: Some(93),
                ..Usage::default()
            },
            ..Past::default()
        };
        let disk = Full {
            what: Resource::Disk,
            percent: 93,
        };
        for (past, reason) in [
            (left, Reason::Unclean(Left::Directory)),
            (full, Reason::Full(disk)),
        ] {
            let mut snapshot = house(past, Reuse::Any);
            let drain = Action::Drain {
                machine: MACHINE,
                reason,
            };
            assert!(planned(&snapshot, NOW).actions.contains(&drain));
            // A person keeps it: it stays, and takes nothing.
            if let Some(machine) = snapshot.machines.get_mut(&MACHINE) {
                machine.held_until = Some(NOW + Span::from_secs(60));
            }
            assert_eq!(outcome(&snapshot, NOW), (None, 1));
        }
    }

    #[test]
    fn one_build_waits_for_a_machine_that_is_tidied_up_but_not_for_long() {
        let past = Past {
            is_tidying: true,
            ..Past::default()
        };
        let mut snapshot = house(past, Reuse::Any);
        queue(&mut snapshot, 2);
        let plan = planned(&snapshot, NOW);
        let until = NOW - Span::from_secs(1) + TIDY_PATIENCE;
        let waiting: Vec<_> = plan.waiting.iter().map(|w| (w.builds, &w.why)).collect();
        assert_eq!(waiting, [(1, &Blocked::Tidying(MACHINE, until))]);
        assert_eq!(outcome(&snapshot, NOW), (None, 1), "the other one");
        assert_eq!(plan.wake_at, Some(until));
        assert_eq!(outcome(&snapshot, until), (None, 2));
    }

    /// The machine as it is with a build of project 0, and room for another.
    fn busy(past: Past, wanted: Reuse) -> Snapshot {
        let mut snapshot = house(past, wanted);
        if let Some(image) = snapshot.images.first_mut() {
            image.slots = 2;
        }
        if let Some(machine) = snapshot.machines.get_mut(&MACHINE) {
            (machine.phase, machine.builds_done) = (Phase::Busy, 0);
            (machine.claims, machine.free) = (1, 1);
        }
        snapshot
    }

    #[test]
    fn nobody_joins_where_either_minds_or_where_the_next_one_may_not_follow() {
        let past = |reuse| Past {
            reuse,
            ..Past::default()
        };
        let full = Past {
            usage: Usage {
                memory: Some(99),
                ..Usage::default()
            },
            ..Past::default()
        };
        let unclean = Past {
            left: Some(Left::Processes(1)),
            ..Past::default()
        };
        for (past, wanted, project, expected) in [
            (past(Reuse::Any), Reuse::Any, 1, Some("bound")),
            (past(Reuse::Project), Reuse::Any, 0, Some("bound")),
            (past(Reuse::Project), Reuse::Any, 1, None),
            (past(Reuse::Any), Reuse::Project, 1, None),
            (past(Reuse::Any), Reuse::Never, 0, None),
            (past(Reuse::Never), Reuse::Any, 0, None),
            (full, Reuse::Any, 0, None),
            (unclean, Reuse::Any, 0, None),
        ] {
            let mut snapshot = busy(past, wanted);
            if let Some(class) = snapshot.classes.get_mut(&ClassId(0)) {
                class.project = ProjectIndex(project);
            }
            let launches = usize::from(expected.is_none());
            assert_eq!(
                outcome(&snapshot, NOW),
                (expected, launches),
                "{past:?} {wanted:?} {project}"
            );
        }
    }

    #[test]
    fn builds_of_one_pass_share_a_machine_only_where_none_minds() {
        for (wanted, launches) in [(Reuse::Any, 1), (Reuse::Project, 2), (Reuse::Never, 2)] {
            let mut snapshot = house(Past::default(), wanted);
            snapshot.machines.clear();
            if let Some(image) = snapshot.images.first_mut() {
                image.slots = 2;
            }
            let other = Class {
                project: ProjectIndex(1),
                reuse: BTreeMap::new(),
                candidates: snapshot.classes[&ClassId(0)].candidates.clone(),
                ..Class::default()
            };
            snapshot.classes.insert(ClassId(1), other);
            queue_in(&mut snapshot, ClassId(1), 2);
            assert_eq!(outcome(&snapshot, NOW), (None, launches), "{wanted:?}");
        }
    }

    #[test]
    fn as_many_builds_wait_for_a_machine_that_is_tidied_up_as_it_will_take() {
        let past = Past {
            is_tidying: true,
            ..Past::default()
        };
        let mut snapshot = house(past, Reuse::Any);
        if let Some(image) = snapshot.images.first_mut() {
            image.slots = 2;
        }
        if let Some(machine) = snapshot.machines.get_mut(&MACHINE) {
            machine.free = 2;
        }
        queue(&mut snapshot, 2);
        assert_eq!(outcome(&snapshot, NOW), (None, 0));
        queue(&mut snapshot, 3);
        let plan = planned(&snapshot, NOW);
        let waiting: usize = plan.waiting.iter().map(|waiting| waiting.builds).sum();
        assert_eq!((waiting, plan.actions.len()), (2, 1), "{plan:?}");
    }

    #[test]
    fn who_waits_for_a_machine_that_is_tidied_up_takes_no_room_from_others() {
        let past = Past {
            is_tidying: true,
            ..Past::default()
        };
        let mut snapshot = house(past, Reuse::Any);
        // The machine is one, and another one may be launched.
        snapshot.limits = vec![Limit {
            machines: Some(2),
            ..Limit::default()
        }];
        queue(&mut snapshot, 2);
        queue(&mut snapshot, 3);
        assert_eq!(outcome(&snapshot, NOW), (None, 1));
        let plan = planned(&snapshot, NOW);
        let whys: Vec<_> = plan.waiting.iter().map(|waiting| &waiting.why).collect();
        assert!(
            matches!(whys[..], [Blocked::Tidying(..), Blocked::Limit(_)]),
            "{whys:?}"
        );
    }

    #[test]
    fn the_audit_finds_builds_where_they_must_not_be() {
        let bind = crate::planner::Plan {
            actions: vec![Action::Bind {
                build: BuildId::from_bits(1),
                attempt: crate::model::AttemptId::from_bits(1),
                machine: MACHINE,
            }],
            ..crate::planner::Plan::default()
        };
        let fresh = house(Past::default(), Reuse::Never);
        let shared = Violation::NotShared {
            build: BuildId::from_bits(1),
            machine: MACHINE,
        };
        assert_eq!(audit(&fresh, &bind, NOW), [shared]);
        let tidying = Past {
            is_tidying: true,
            ..Past::default()
        };
        let unclean = Past {
            left: Some(Left::Processes(1)),
            ..Past::default()
        };
        for past in [tidying, unclean] {
            let found = audit(&house(past, Reuse::Any), &bind, NOW);
            assert_eq!(found, [Violation::NotFree(MACHINE)]);
        }
    }
}
