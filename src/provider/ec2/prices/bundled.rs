//! The bundled table: list prices of us-east-1 on one day, for when AWS's price list does not
//! answer; scaled for other regions. Good for choosing between types, roughly right for the bill.

use crate::model::Rate;

mod region;

use region::permille;
pub(super) use region::scaled;

/// One family a line: its name, then sizes with micro-dollars an hour.
const TABLE: &str = include_str!("table.txt");

/// The day of the price list that the table was made from.
const DAY: &str = "2026-07-20";

/// What a type costs in a region, about, if it is in the table.
pub(super) fn rate(region: &str, name: &str) -> Option<Rate> {
    let (family, size) = name.split_once('.')?;
    let line = TABLE.lines().find(|line| {
        line.split_once(' ')
            .is_some_and(|(first, _)| first == family)
    })?;
    let price = line
        .split_ascii_whitespace()
        .filter_map(|item| item.split_once('='))
        .find(|(other, _)| *other == size)?
        .1;
    Some(scaled(region, price.parse().ok()?))
}

/// Where these prices come from, as a clause.
pub(super) fn describe(region: &str) -> String {
    match permille(region) {
        Some(1_000) => format!("bundled table of {DAY}"),
        Some(_) => format!("bundled table of {DAY}, roughly scaled from us-east-1"),
        None => format!(
            "bundled table of {DAY}, scaled as for the dearest region since {region} is not known"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_prices_are_there() {
        for (name, micros) in [
            ("c5.large", 85_000),
            ("c7i.large", 89_250),
            ("m5.large", 96_000),
            ("m7i.xlarge", 201_600),
            ("r5.large", 126_000),
            ("t3.medium", 41_600),
            ("t4g.nano", 4_200),
            ("i3.large", 156_000),
            ("i4i.xlarge", 343_000),
            ("c8g.48xlarge", 7_656_960),
        ] {
            assert_eq!(
                rate("us-east-1", name),
                Some(Rate::from_micros_per_hour(micros)),
                "{name}"
            );
        }
        for name in [
            "c5",
            "c5.",
            "c5.nosuch",
            "nosuch.large",
            "#.On",
            "m5.large=96000",
        ] {
            assert_eq!(rate("us-east-1", name), None, "{name}");
        }
    }

    #[test]
    fn every_entry_is_a_sane_price_and_no_family_stands_twice() {
        let mut families = std::collections::BTreeSet::new();
        let mut entries = 0;
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let (family, sizes) = line.split_once(' ').unwrap();
            assert!(families.insert(family), "{family} stands twice");
            for item in sizes.split(' ') {
                let (size, price) = item.split_once('=').unwrap();
                let price: u64 = price.parse().unwrap();
                assert!(
                    (1_000..500_000_000).contains(&price),
                    "{family}.{size}: {price}"
                );
                assert!(rate("us-east-1", &format!("{family}.{size}")).is_some());
                entries += 1;
            }
        }
        assert!(entries > 1_000, "{entries} entries");
    }

    #[test]
    fn other_regions_are_scaled_and_told() {
        assert_eq!(
            rate("eu-central-1", "m5.large"),
            Some(Rate::from_micros_per_hour(115_008))
        );
        assert!(rate("xx-new-1", "m5.large") > rate("us-west-1", "m5.large"));
        assert!(describe("xx-new-1").contains("xx-new-1 is not known"));
        assert!(describe("eu-west-1").contains("roughly"));
        assert_eq!(describe("us-west-2"), "bundled table of 2026-07-20");
    }
}
