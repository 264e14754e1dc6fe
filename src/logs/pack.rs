//! Names of packs: the id says it all, so an extent need not carry a path.
//!
//! `logs/<yyyy-mm-dd>/<pack id>.pack`, where the day is that of the id's own time in UTC. Packs of
//! a day share a directory, so retention lists only days that are old enough.

use object_store::path::Path;

use crate::model::{PackId, Timestamp};

/// Everything of this room lies below it.
const ROOT: &str = "logs";

/// What the name of a pack ends in.
pub(super) const SUFFIX: &str = ".pack";

/// The directory that holds one directory per day.
pub(super) fn root() -> Path {
    Path::from(ROOT)
}

/// Where a pack lies.
pub(super) fn path(pack: PackId) -> Path {
    Path::from_iter([
        ROOT,
        day(created_at(pack)).as_str(),
        format!("{pack}{SUFFIX}").as_str(),
    ])
}

/// The pack that lies at `path`; `None` for anything that is not a pack in its place.
pub(super) fn pack_at(location: &Path) -> Option<PackId> {
    let pack: PackId = location.filename()?.strip_suffix(SUFFIX)?.parse().ok()?;
    (path(pack) == *location).then_some(pack)
}

/// When the pack was named, to the millisecond: the first 48 bits of its ULID.
pub(super) fn created_at(pack: PackId) -> Timestamp {
    let millis = i64::try_from(pack.bits() >> 80).unwrap_or(i64::MAX);
    Timestamp::from_micros(millis.saturating_mul(1_000))
}

/// The day in UTC, as in the names of directories; days sort as their texts do.
pub(super) fn day(at: Timestamp) -> String {
    // Ids can name times that the calendar of the library does not reach; they share its last day.
    let time = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or(jiff::Timestamp::MAX);
    jiff::tz::Offset::UTC.to_datetime(time).date().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_found_by_its_id_and_named_by_its_path() {
        let millis: u128 = 1_795_248_000_123; // 2026-11-21T08:00:00.123Z
        let pack = PackId::from_bits(millis << 80 | 5);
        let location = path(pack);
        assert_eq!(
            location.as_ref(),
            format!("logs/2026-11-21/{pack}.pack").as_str()
        );
        assert_eq!(pack_at(&location), Some(pack));
        assert_eq!(
            created_at(pack),
            Timestamp::from_micros(1_795_248_000_123_000)
        );
    }

    #[test]
    fn strangers_are_no_packs() {
        let pack = PackId::from_bits(7);
        for text in [
            "logs/1970-01-01/readme.txt".to_owned(),
            format!("logs/1970-01-02/{pack}.pack"),
            format!("logs/1970-01-01/{pack}"),
        ] {
            assert_eq!(pack_at(&Path::from(text.as_str())), None, "{text}");
        }
    }

    #[test]
    fn ids_beyond_the_calendar_have_a_path_too() {
        let pack = PackId::from_bits(u128::MAX);
        assert_eq!(pack_at(&path(pack)), Some(pack));
    }
}
