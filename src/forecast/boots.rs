//! How long it takes until a machine is ready.

use super::recent::Recent;
use crate::model::{Span, Timestamp};

/// A boot of which nothing is known: what a general-purpose image of a cloud takes with its disk
/// cold (26 s measured) and a service or two.
pub const DEFAULT_BOOT: Span = Span::from_secs(40);

/// What was booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootOf<'a> {
    /// The image, by name.
    pub image: &'a str,
    /// Its version.
    pub version: u32,
    /// The provider's name for the size.
    pub shape: &'a str,
    /// Whether it was woken rather than launched.
    pub was_asleep: bool,
}

/// How long boots and wakes take, the median of the last ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boots {
    by_shape: Recent<(String, u32, String, bool)>,
    by_image: Recent<(String, bool)>,
}

impl Boots {
    /// A machine became ready after `took`.
    pub fn learn(&mut self, boot: &BootOf<'_>, took: Span, at: Timestamp) {
        self.by_shape.add(&key(boot), took, at);
        let of_image = (boot.image.to_owned(), boot.was_asleep);
        self.by_image.add(&of_image, took, at);
    }

    /// Median of a version on a size, if any was seen, and of how many.
    pub fn measured(&self, boot: &BootOf<'_>, now: Timestamp) -> Option<(Span, usize)> {
        self.by_shape.quantile(&key(boot), 50, now)
    }

    /// What to expect: of the same version and size, else of the image, else for what is woken of a
    /// launch, else [`DEFAULT_BOOT`].
    pub fn expected(&self, boot: &BootOf<'_>, now: Timestamp) -> Span {
        let of_image = |was_asleep| {
            let key = (boot.image.to_owned(), was_asleep);
            self.by_image.quantile(&key, 50, now)
        };
        let launched = BootOf {
            was_asleep: false,
            ..*boot
        };
        let known = self.measured(boot, now);
        let known = known.or_else(|| of_image(boot.was_asleep));
        let known = known.or_else(|| self.measured(&launched, now));
        let known = known.or_else(|| of_image(false));
        known.map_or(DEFAULT_BOOT, |(span, _)| span)
    }
}

fn key(boot: &BootOf<'_>) -> (String, u32, String, bool) {
    let (image, shape) = (boot.image.to_owned(), boot.shape.to_owned());
    (image, boot.version, shape, boot.was_asleep)
}
