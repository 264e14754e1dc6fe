//! How much dearer a region is than us-east-1.

use crate::model::Rate;

/// List price of one common type, `m5.large` for Linux, in thousandths of that in us-east-1 ($0.096
/// an hour), rounded up. Other types differ from that by some percent.
const REGIONS: &[(&str, u64)] = &[
    ("af-south-1", 1_323),
    ("ap-east-1", 1_375),
    ("ap-northeast-1", 1_292),
    ("ap-northeast-2", 1_230),
    ("ap-northeast-3", 1_292),
    ("ap-south-1", 1_053),
    ("ap-southeast-1", 1_250),
    ("ap-southeast-2", 1_250),
    ("ca-central-1", 1_115),
    ("eu-central-1", 1_198),
    ("eu-north-1", 1_063),
    ("eu-south-1", 1_167),
    ("eu-west-1", 1_115),
    ("eu-west-2", 1_157),
    ("eu-west-3", 1_167),
    ("me-south-1", 1_230),
    ("sa-east-1", 1_594),
    ("us-east-1", 1_000),
    ("us-east-2", 1_000),
    ("us-gov-west-1", 1_261),
    ("us-west-1", 1_167),
    ("us-west-2", 1_000),
];

/// What an unknown region is taken for: the dearest known one, so that no budget is overrun.
const DEAREST: u64 = 1_594;

/// How much dearer a region is, in thousandths; `None` for one that is not known.
pub(super) fn permille(region: &str) -> Option<u64> {
    let found = REGIONS.iter().find(|(name, _)| *name == region);
    found.map(|(_, permille)| *permille)
}

/// A price of us-east-1, in micro-dollars an hour, as it would be in another region; rounded up.
pub(in super::super) fn scaled(region: &str, micros: u64) -> Rate {
    let permille = permille(region).unwrap_or(DEAREST);
    Rate::from_micros_per_hour(micros.saturating_mul(permille).div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearest_region_is_the_dearest() {
        assert_eq!(
            REGIONS.iter().map(|(_, permille)| *permille).max(),
            Some(DEAREST)
        );
        assert!(REGIONS.is_sorted());
    }
}
