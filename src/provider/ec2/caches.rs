//! What EC2 said before, for as long as it holds. Who asks while somebody is asking waits for that
//! answer; failures are not remembered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use super::prices::{ListPrices, SpotPrices};
use super::types::{Catalogue, ZoneSubnets};

/// Most answers of one kind: one for each set of types that images ask for. More are forgotten,
/// which costs calls only.
const MOST_ANSWERS: usize = 64;

/// Everything that is remembered of one provider.
#[derive(Debug, Default)]
pub(super) struct Caches {
    /// Types and their zones; new ones come by the week.
    pub catalogue: Remembered<Catalogue>,
    /// Subnets by zone.
    pub subnets: Remembered<BTreeMap<String, ZoneSubnets>>,
    /// On-demand prices, by the types that were asked for.
    pub list: Remembered<ListPrices>,
    /// Spot prices, by the types that were asked for.
    pub spot: Remembered<SpotPrices>,
}

/// Answers of one kind, by question.
#[derive(Debug)]
pub(super) struct Remembered<T> {
    answers: Mutex<BTreeMap<String, Arc<Slot<T>>>>,
}

/// The answer with its time. The lock is held while somebody asks, so that others wait for it.
type Slot<T> = tokio::sync::Mutex<Option<(Instant, Arc<T>)>>;

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self {
            answers: Mutex::default(),
        }
    }
}

impl<T> Remembered<T> {
    /// The answer to a question: the remembered one if it is younger than `fresh` says, else what
    /// `ask` brings.
    ///
    /// # Errors
    /// What `ask` says.
    pub(super) async fn get<E>(
        &self,
        question: &str,
        fresh: impl Fn(&T) -> Duration,
        ask: BoxFuture<'_, Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let slot = self.slot(question);
        let mut answer = slot.lock().await;
        if let Some((at, known)) = &*answer
            && at.elapsed() < fresh(known)
        {
            return Ok(Arc::clone(known));
        }
        let new = Arc::new(ask.await?);
        *answer = Some((Instant::now(), Arc::clone(&new)));
        Ok(new)
    }

    fn slot(&self, question: &str) -> Arc<Slot<T>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST_ANSWERS && !answers.contains_key(question) {
            answers.clear();
        }
        Arc::clone(answers.entry(question.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_asked_for_once_until_it_is_old() {
        let remembered = Remembered::default();
        let asked = AtomicU32::new(0);
        let get = |question: &'static str| {
            remembered.get(
                question,
                |_| HOUR,
                Box::pin(async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Ok::<_, ()>(asked.fetch_add(1, Ordering::SeqCst))
                }),
            )
        };
        let (first, second) = tokio::join!(get("a"), get("a"));
        assert_eq!((first, second), (Ok(Arc::new(0)), Ok(Arc::new(0))));
        assert_eq!(get("b").await, Ok(Arc::new(1)));
        tokio::time::advance(Duration::from_mins(59)).await;
        assert_eq!(get("a").await, Ok(Arc::new(0)));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(get("a").await, Ok(Arc::new(2)));
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let remembered = Remembered::default();
        let failed = remembered
            .get("a", |_| HOUR, Box::pin(async { Err::<u32, _>("no") }))
            .await;
        assert_eq!(failed, Err("no"));
        let answer = remembered
            .get("a", |_| HOUR, Box::pin(async { Ok::<_, &str>(1) }))
            .await;
        assert_eq!(answer, Ok(Arc::new(1)));
    }

    #[tokio::test]
    async fn only_so_much_is_remembered() {
        let remembered = Remembered::default();
        for number in 0..1_000 {
            let question = number.to_string();
            let answer =
                remembered.get(&question, |_| HOUR, Box::pin(async { Ok::<_, ()>(number) }));
            assert_eq!(answer.await, Ok(Arc::new(number)));
        }
        assert!(remembered.answers.lock().unwrap().len() <= MOST_ANSWERS);
    }
}
