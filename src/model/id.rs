//! A newtype per identity: 128-bit ULIDs, sortable by creation time, shown with a prefix.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not an identity of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind} id (expected {prefix}_ and 26 letters or digits)")]
pub struct IdParseError {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The prefix that tells this kind of identity from the others.
            pub const PREFIX: &'static str = $prefix;

            /// From the bits of a ULID, as the id source makes them.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The bits of the ULID.
            pub const fn bits(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = [0_u8; ulid::ULID_LEN];
                let text = ulid::Ulid(self.0).array_to_str(&mut buffer);
                text.make_ascii_lowercase();
                // Through `pad`, so that a width in a format string applies to the whole.
                f.pad(&format!(concat!($prefix, "_{}"), text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|rest| ulid::Ulid::from_string(&rest.to_ascii_uppercase()).ok())
                    .map(|ulid| Self(ulid.0))
                    .ok_or_else(|| IdParseError {
                        text: text.to_owned(),
                        kind: $kind,
                        prefix: $prefix,
                    })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// One submission.
    PipelineId, "pl", "pipeline"
);
id!(
    /// One unit of work on one machine.
    BuildId, "bld", "build"
);
id!(
    /// One try of a build on a machine.
    AttemptId, "att", "attempt"
);
id!(
    /// Our record of a VM; also the intent under which it was launched.
    MachineId, "vm", "machine"
);
id!(
    /// One launch request for one or more machines.
    LaunchId, "lch", "launch"
);
id!(
    /// One stored object of log bytes.
    PackId, "pack", "log pack"
);
id!(
    /// One API token.
    TokenId, "tok", "token"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_sorts_by_bits() {
        let low = BuildId::from_bits(7);
        let high = BuildId::from_bits(u128::MAX);
        assert_eq!(low.to_string().parse(), Ok(low));
        assert_eq!(high.to_string(), "bld_7zzzzzzzzzzzzzzzzzzzzzzzzz");
        assert!(low.to_string() < high.to_string());
    }

    #[test]
    fn another_kind_of_id_is_refused() {
        let machine = MachineId::from_bits(7).to_string();
        let error = machine.parse::<BuildId>().unwrap_err().to_string();
        assert!(
            error.contains("is not a build id (expected bld_"),
            "{error}"
        );
    }
}
