//! What comes with an instance: its root volume, and a public address.
//!
//! Approximate list prices of us-east-1 as they stood in 2026, not read from anywhere at run time:
//! to be trusted like the bundled table, and scaled for other regions like it.

use super::super::reference::VolumeKind;
use super::bundled::scaled;
use crate::model::Rate;

/// A public IPv4 address, the same in every region since 2024-02-01: $0.005 an hour.
const ADDRESS_MICROS: u64 = 5_000;

/// Hours of a month: EBS is billed by the second in shares of a month, of which the shortest used
/// is 30 days; rounded up so.
const HOURS_PER_MONTH: u64 = 720;

/// What gp3 includes, beyond which both are paid for.
const GP3_IOPS: u32 = 3_000;
const GP3_THROUGHPUT: u32 = 125;

/// A root volume, as far as its price goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Disk {
    /// Its size.
    pub gib: u32,
    /// How it is stored.
    pub kind: VolumeKind,
    /// Its operations per second, if they were chosen.
    pub iops: Option<u32>,
    /// Its MiB per second, if they were chosen.
    pub throughput: Option<u32>,
}

/// What a public address costs.
pub(in super::super) const fn address_rate() -> Rate {
    Rate::from_micros_per_hour(ADDRESS_MICROS)
}

/// What a volume costs in a region, whether its machine runs or not.
pub(in super::super) fn disk_rate(region: &str, disk: &Disk) -> Rate {
    let size = u64::from(disk.gib);
    let paid_iops = |included| u64::from(disk.iops.unwrap_or(0).saturating_sub(included));
    let throughput = disk.throughput.unwrap_or(0).saturating_sub(GP3_THROUGHPUT);
    // Micro-dollars a month: per GiB, per operation a second, per MiB a second.
    let month = match disk.kind {
        VolumeKind::Gp3 => {
            size * 80_000 + paid_iops(GP3_IOPS) * 5_000 + u64::from(throughput) * 40_000
        }
        VolumeKind::Gp2 => size * 100_000,
        // Beyond 32,000 operations a second io2 is cheaper by the piece: this is an upper bound.
        VolumeKind::Io1 | VolumeKind::Io2 => size * 125_000 + paid_iops(0) * 65_000,
    };
    scaled(region, month.div_ceil(HOURS_PER_MONTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_costs_by_size_and_speed() {
        let disk = Disk {
            gib: 9,
            kind: VolumeKind::Gp3,
            iops: None,
            throughput: None,
        };
        let micros = |disk: Disk| disk_rate("us-east-1", &disk).micros_per_hour();
        assert_eq!(micros(disk), 1_000);
        let included = Disk {
            iops: Some(3_000),
            throughput: Some(125),
            ..disk
        };
        assert_eq!(micros(included), 1_000);
        let fast = Disk {
            iops: Some(3_144),
            throughput: Some(143),
            ..disk
        };
        assert_eq!(micros(fast), 3_000);
        assert_eq!(
            micros(Disk {
                gib: 36,
                kind: VolumeKind::Gp2,
                ..disk
            }),
            5_000
        );
        assert_eq!(
            micros(Disk {
                gib: 144,
                kind: VolumeKind::Io2,
                iops: Some(144),
                ..disk
            }),
            38_000
        );
        assert_eq!(disk_rate("sa-east-1", &disk).micros_per_hour(), 1_594);
    }
}
