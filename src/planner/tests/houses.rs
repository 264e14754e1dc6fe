//! Random houses: builds of random classes, machines in random phases, limits, cool-downs, markets
//! and pools that are dry.

use super::*;

/// Offerings of a random image: price, whether spare capacity, when it is to be had, and the zone.
fn any_offerings() -> impl Strategy<Value = Vec<OfferingView>> {
    let one = (
        1_u64..60,
        any::<bool>(),
        prop::option::of(-9_i64..9),
        0_u32..2,
    );
    prop::collection::vec(one, 0..5).prop_map(|all| {
        let views = all.into_iter().enumerate();
        let views = views.map(|(place, (price, is_spot, dry, zone))| OfferingView {
            available_after: dry.map(seconds_from_now),
            zone,
            ..offering(price, market(is_spot), place)
        });
        let mut views: Vec<OfferingView> = views.collect();
        views.sort_unstable();
        views
    })
}

pub(super) const fn market(is_spot: bool) -> Market {
    if is_spot {
        Market::Spot
    } else {
        Market::OnDemand
    }
}

fn seconds_from_now(secs: i64) -> Timestamp {
    Timestamp::from_micros(NOW.micros() + secs * 1_000_000)
}

fn any_image() -> impl Strategy<Value = ImageView> {
    let markets = prop::sample::select(vec![
        MarketChoice::OnDemand,
        MarketChoice::Spot,
        MarketChoice::SpotWithFallback,
    ]);
    let sleep = prop::sample::select(vec![SleepKind::Never, SleepKind::Stop]);
    let state = (any::<bool>(), any::<bool>(), 0_u64..600);
    (state, any_offerings(), markets, sleep, 0_u32..3).prop_map(
        |((active, cooling, idle), offerings, market, sleep, max_asleep)| ImageView {
            version: active.then_some(1),
            idle_timeout: Span::from_secs(idle),
            max_lifetime: Span::from_secs(3_600),
            max_builds: 2,
            paused: cooling.then(|| pause(NOW + Span::from_secs(5))),
            offerings,
            market,
            sleep,
            max_asleep,
            asleep_timeout: Span::from_secs(600),
            ..ImageView::default()
        },
    )
}

/// A random house: builds of random classes, machines in random phases, limits, cool-downs, markets
/// and pools that are dry.
pub(super) fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let images = prop::collection::vec(any_image(), 1..6);
    let fitting = prop::collection::btree_set(0_usize..6, 0..4);
    let classes = prop::collection::vec((fitting, any::<bool>(), any::<bool>()), 1..6);
    let builds = prop::collection::vec((0_usize..6, -2_i32..3, prop::option::of(-9_i64..9)), 0..40);
    let machines = prop::collection::vec(
        (
            (0_usize..6, 0_u8..7, 0_u64..900, 0_u32..3),
            any::<bool>(),
            0_usize..6,
            any::<bool>(),
        ),
        0..20,
    );
    let limits = prop::collection::vec((prop::option::of(0_usize..6), 0_u32..15), 1..3);
    let patience = prop::option::of(0_u64..20);
    (images, classes, builds, machines, (limits, patience)).prop_map(
        |(images, classes, builds, machines, (limits, patience))| {
            let mut snapshot = house();
            snapshot.images = images;
            for (place, image) in snapshot.images.iter_mut().enumerate() {
                image.name = format!("image-{place}");
            }
            snapshot.capacity_wait = patience.map(Span::from_secs);
            let count = snapshot.images.len();
            let some_image = |place: usize| ImageIndex(place % count);
            for (id, (images, fresh, on_demand)) in (0_u32..).zip(&classes) {
                let images: BTreeSet<ImageIndex> = images.iter().map(|p| some_image(*p)).collect();
                let id = class(&mut snapshot, id, &images.into_iter().collect::<Vec<_>>());
                let class = snapshot.classes.get_mut(&id).unwrap();
                (class.fresh, class.on_demand) = (*fresh, *on_demand);
            }
            for (id, (place, priority, wait)) in (1_u128..).zip(builds) {
                let class = ClassId(u32::try_from(place % classes.len()).unwrap());
                let build = BuildId::from_bits(id);
                let key = QueueKey {
                    priority: Reverse(priority),
                    submitted_at: NOW - Span::from_secs(10),
                    build,
                };
                snapshot.enqueue(class, key, wait.map(seconds_from_now));
            }
            for (id, machine) in (1_u128..).zip(machines) {
                add_machine(&mut snapshot, id, machine);
            }
            snapshot.limits = limits
                .into_iter()
                .map(|(image, machines)| Limit {
                    name: "some".to_owned(),
                    scope: Scope {
                        images: image.map(|place| BTreeSet::from([some_image(place)])),
                        ..Scope::default()
                    },
                    machines: Some(machines),
                    ..Limit::default()
                })
                .collect();
            snapshot
        },
    )
}

/// Image, phase, time in it and builds done; whether spare capacity; offering; whether taken back.
type AnyMachine = ((usize, u8, u64, u32), bool, usize, bool);

fn add_machine(snapshot: &mut Snapshot, id: u128, any: AnyMachine) {
    let ((place, phase, age, done), is_spot, offering, is_interrupted) = any;
    let phase = match phase {
        0 => Phase::Coming { claimed: true },
        1 => Phase::Coming { claimed: false },
        2 => idle_for(age),
        3 => Phase::Busy,
        4 => Phase::Asleep(NOW - Span::from_secs(age)),
        5 => Phase::FallingAsleep,
        _ => Phase::Ending,
    };
    let image = ImageIndex(place % snapshot.images.len());
    let id = machine(snapshot, id, image, phase);
    let view = snapshot.machines.get_mut(&id).unwrap();
    let may_be_spot = !matches!(phase, Phase::Asleep(_) | Phase::FallingAsleep);
    view.builds_done = done;
    view.market = market(is_spot && may_be_spot);
    view.offering = Some(offering).filter(|place| *place < 5);
    view.is_interrupted = is_interrupted && is_spot && may_be_spot;
}
