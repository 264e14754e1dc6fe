//! The builds that a machine has.

use serde::{Deserialize, Serialize};

use super::id::{AttemptId, BuildId};

/// Builds and attempts bound to a machine, in the order in which they were bound; each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Vec<(BuildId, AttemptId)>")]
pub struct Claims(Vec<(BuildId, AttemptId)>);

impl Claims {
    /// All of them, oldest first.
    pub fn as_slice(&self) -> &[(BuildId, AttemptId)] {
        &self.0
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and one more, which comes last.
    #[must_use]
    pub fn with(&self, claim: (BuildId, AttemptId)) -> Self {
        let kept = self.0.iter().copied().filter(|held| *held != claim);
        Self(kept.chain([claim]).collect())
    }

    /// These but the attempts named.
    #[must_use]
    pub fn without(&self, attempts: &[AttemptId]) -> Self {
        let kept = self.0.iter().filter(|held| !attempts.contains(&held.1));
        Self(kept.copied().collect())
    }

    /// Whether `other` is these with some more, or with some less, and not the same.
    pub fn differs_one_way(&self, other: &Self) -> bool {
        let (fewer, more) = if self.len() < other.len() {
            (self, other)
        } else {
            (other, self)
        };
        fewer.len() < more.len() && fewer.0.iter().all(|claim| more.0.contains(claim))
    }
}

impl From<Option<(BuildId, AttemptId)>> for Claims {
    fn from(claim: Option<(BuildId, AttemptId)>) -> Self {
        Self(claim.into_iter().collect())
    }
}

impl From<(BuildId, AttemptId)> for Claims {
    fn from(claim: (BuildId, AttemptId)) -> Self {
        Self(vec![claim])
    }
}

impl From<Claims> for Vec<(BuildId, AttemptId)> {
    fn from(claims: Claims) -> Self {
        claims.0
    }
}

/// The forms in which rows have them: before machines could have several builds, one or null.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    /// As they are written.
    Several(Vec<(BuildId, AttemptId)>),
    /// The one of an older row.
    One((BuildId, AttemptId)),
    /// An older row without one.
    None,
}

impl From<Stored> for Claims {
    fn from(stored: Stored) -> Self {
        Self(match stored {
            Stored::Several(claims) => claims,
            Stored::One(claim) => vec![claim],
            Stored::None => Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MachineState;

    fn claim(n: u128) -> (BuildId, AttemptId) {
        (BuildId::from_bits(n), AttemptId::from_bits(n + 1_000))
    }

    fn read(json: &str) -> MachineState {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn rows_from_before_several_builds_still_load() {
        let ((build, attempt), instance) = (claim(7), r#""instance":"i-1""#);
        let pair = format!(r#"["{build}","{attempt}"]"#);
        let endpoint = r#""endpoint":{"address":"127.0.0.1:22"}"#;
        let rows = [
            (r#"{"state":"intended","claim":null}"#.to_owned(), 0),
            (format!(r#"{{"state":"intended","claim":{pair}}}"#), 1),
            (
                format!(r#"{{"state":"booting",{instance},"claim":{pair}}}"#),
                1,
            ),
            (
                format!(r#"{{"state":"booting",{instance},"claim":null}}"#),
                0,
            ),
            (
                format!(r#"{{"state":"waking",{instance},"claim":{pair}}}"#),
                1,
            ),
            (
                format!(r#"{{"state":"busy",{instance},{endpoint},"claim":{pair}}}"#),
                1,
            ),
        ];
        for (row, count) in rows {
            let state = read(&row);
            let expected = &[claim(7)][..count];
            assert_eq!(state.claims(), expected, "{row}");
        }
        assert!(serde_json::from_str::<MachineState>(r#"{"state":"intended","claim":7}"#).is_err());
    }

    #[test]
    fn several_survive_a_round_through_a_row() {
        let claims = Claims::from(claim(2)).with(claim(1)).with(claim(3));
        let state = MachineState::Intended { claims };
        let row = serde_json::to_string(&state).unwrap();
        assert_eq!(read(&row), state);
        assert_eq!(read(&row).claims(), [claim(2), claim(1), claim(3)]);
    }

    #[test]
    fn one_way_means_more_or_less_but_not_exchanged() {
        let one = Claims::from(claim(1));
        let two = one.with(claim(2));
        let other = Claims::from(claim(2)).with(claim(3));
        assert!(one.differs_one_way(&two) && two.differs_one_way(&one));
        assert!(Claims::default().differs_one_way(&two));
        assert!(!two.differs_one_way(&two) && !one.differs_one_way(&other));
        assert!(!Claims::default().differs_one_way(&Claims::default()));
        assert_eq!(two.without(&[claim(1).1]), Claims::from(claim(2)));
    }
}
