//! The known word that a misspelt one was meant to be.

/// Below this likeness a suggestion confuses more than it helps (0 is nothing alike, 1 equal).
const LEAST_LIKENESS: f64 = 0.75;

/// The most alike of `known`, if any is alike enough; the first of equals. A key that lacks its
/// section (`sweep_interval`) is near to the one that ends in it.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate: &str| {
        let last = |text: &str| text.rsplit('.').next().map(str::to_owned);
        if last(candidate) == last(word) {
            return 1.0;
        }
        strsim::jaro_winkler(word, candidate)
    };
    let mut best = None;
    for candidate in known {
        let score = likeness(candidate);
        if score >= LEAST_LIKENESS && best.is_none_or(|(top, _)| score > top) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_alike_or_absent() {
        let known = [
            "listen",
            "log.level",
            "engine.sweep_interval",
            "engine.lease",
        ];
        let near = |word| nearest(word, known.into_iter());
        assert_eq!(near("lisen"), Some("listen"));
        assert_eq!(
            near("engine.sweep_intervall"),
            Some("engine.sweep_interval")
        );
        assert_eq!(near("sweep_interval"), Some("engine.sweep_interval"));
        assert_eq!(near("colour"), None);
    }
}
