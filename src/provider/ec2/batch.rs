//! Gathers what several callers want done to single things into few calls.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// A call goes out when nothing was added for this long: callers that were woken by the same event
/// come within a few milliseconds of each other.
const QUIET: Duration = Duration::from_millis(35);

/// Does a batch; one answer for each item, in order.
type Work<K, R> = dyn Fn(Vec<K>) -> Pin<Box<dyn Future<Output = Vec<R>> + Send>> + Send + Sync;

/// Gathers items for a piece of work.
pub(super) struct Batcher<K, R> {
    /// Most items at once.
    most: usize,
    queue: Arc<Mutex<Queue<K, R>>>,
    work: Arc<Work<K, R>>,
}

struct Queue<K, R> {
    items: Vec<(K, oneshot::Sender<R>)>,
    added_at: Instant,
    /// Whether somebody empties it.
    is_attended: bool,
}

impl<K, R> std::fmt::Debug for Batcher<K, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl<K: Send + 'static, R: Send + 'static> Batcher<K, R> {
    /// Batches of at most `most` items for `work`.
    pub(super) fn new<F>(most: usize, work: impl Fn(Vec<K>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<R>> + Send + 'static,
    {
        Self {
            most,
            queue: Arc::new(Mutex::new(Queue {
                items: Vec::new(),
                added_at: Instant::now(),
                is_attended: false,
            })),
            work: Arc::new(move |items| Box::pin(work(items))),
        }
    }

    /// Has it done to these; `None` where the work gave no answer.
    pub(super) async fn each(&self, keys: impl IntoIterator<Item = K>) -> Vec<Option<R>> {
        let answers: Vec<_> = keys.into_iter().map(|key| self.add(key)).collect();
        let mut done = Vec::with_capacity(answers.len());
        for answer in answers {
            done.push(answer.await.ok());
        }
        done
    }

    fn add(&self, key: K) -> oneshot::Receiver<R> {
        let (answer, answered) = oneshot::channel();
        let mut queue = locked(&self.queue);
        queue.items.push((key, answer));
        queue.added_at = Instant::now();
        if !queue.is_attended {
            queue.is_attended = true;
            // A task, since the caller may go away and others rely on it.
            tokio::spawn(empty(
                self.most,
                Arc::clone(&self.queue),
                Arc::clone(&self.work),
            ));
        }
        answered
    }
}

/// Sends batches until nothing is left. Batches do not wait for each other's answers.
async fn empty<K: Send + 'static, R: Send + 'static>(
    most: usize,
    queue: Arc<Mutex<Queue<K, R>>>,
    work: Arc<Work<K, R>>,
) {
    loop {
        let until = {
            let mut queue = locked(&queue);
            let until = queue.added_at + QUIET;
            if queue.items.is_empty() {
                queue.is_attended = false;
                return;
            }
            if queue.items.len() >= most || until <= Instant::now() {
                let count = queue.items.len().min(most);
                let batch = queue.items.drain(..count).collect();
                tokio::spawn(send(batch, Arc::clone(&work)));
                continue;
            }
            until
        };
        sleep_until(until).await;
    }
}

async fn send<K, R>(batch: Vec<(K, oneshot::Sender<R>)>, work: Arc<Work<K, R>>) {
    let (keys, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    for (answer, result) in answers.into_iter().zip(work(keys).await) {
        // Fails only when nobody wants to know any more.
        let _ = answer.send(result);
    }
}

/// What is behind the lock is whole after every statement, so a panic elsewhere spoils nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tests/batch.rs"]
mod tests;
