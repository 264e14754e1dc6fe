use tokio::time::sleep;

use super::*;

type Sizes = Arc<Mutex<Vec<usize>>>;

/// A batcher that doubles numbers, and the sizes of the batches it made.
fn doubler(most: usize) -> (Arc<Batcher<u32, u32>>, Sizes) {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let batcher = Batcher::new(most, {
        let sizes = Arc::clone(&sizes);
        move |keys: Vec<u32>| {
            sizes.lock().unwrap().push(keys.len());
            async move { keys.into_iter().map(|key| key * 2).collect() }
        }
    });
    (Arc::new(batcher), sizes)
}

#[tokio::test(start_paused = true)]
async fn callers_of_one_moment_share_a_call_and_each_gets_its_own_answer() {
    let (batcher, sizes) = doubler(100);
    let calls = (0..10_u32).map(|key| {
        let batcher = Arc::clone(&batcher);
        async move {
            sleep(Duration::from_millis(u64::from(key) * 10)).await;
            batcher.each([key, key + 100]).await
        }
    });
    let answers = futures::future::join_all(calls).await;
    for (key, answer) in (0_u32..).zip(answers) {
        assert_eq!(answer, [Some(key * 2), Some((key + 100) * 2)]);
    }
    assert_eq!(*sizes.lock().unwrap(), [20]);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let (batcher, sizes) = doubler(3);
    let answers = batcher.each(0..7).await;
    let expected: Vec<_> = (0..7).map(|key| Some(key * 2)).collect();
    assert_eq!(answers, expected);
    assert_eq!(*sizes.lock().unwrap(), [3, 3, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_takes_nobody_with_it() {
    let (batcher, sizes) = doubler(100);
    let gone = tokio::spawn({
        let batcher = Arc::clone(&batcher);
        async move { batcher.each([1]).await }
    });
    sleep(Duration::from_millis(10)).await;
    gone.abort();
    assert_eq!(batcher.each([2]).await, [Some(4)]);
    assert_eq!(*sizes.lock().unwrap(), [2]);
    assert_eq!(
        batcher.each([3]).await,
        [Some(6)],
        "a later batch is sent too"
    );
}

#[tokio::test(start_paused = true)]
async fn work_that_dies_leaves_nobody_waiting() {
    let batcher: Batcher<u32, u32> = Batcher::new(10, |_| async { Vec::new() });
    assert_eq!(batcher.each([1, 2]).await, [None, None]);
}
