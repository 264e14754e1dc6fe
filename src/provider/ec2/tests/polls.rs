use std::sync::Arc;

use tokio::time::sleep;

use super::*;

/// A poll that takes a second and says when it began, in milliseconds.
async fn slow(start: Instant) -> u128 {
    let began = start.elapsed().as_millis();
    sleep(Duration::from_secs(1)).await;
    began
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_share_the_next_poll_and_nobody_gets_an_older_one() {
    let start = Instant::now();
    let polls = Arc::new(Polls::new(Duration::from_millis(100)));
    let first = tokio::spawn({
        let polls = Arc::clone(&polls);
        async move { polls.after_now(|| slow(start)).await }
    });
    sleep(Duration::from_millis(500)).await;
    let later: Vec<_> = (0..5)
        .map(|_| {
            let polls = Arc::clone(&polls);
            tokio::spawn(async move { polls.after_now(|| slow(start)).await })
        })
        .collect();
    assert!(first.await.unwrap() < 10);
    let mut answers = Vec::new();
    for call in later {
        answers.push(call.await.unwrap());
    }
    assert!(
        answers.iter().all(|began| (1_000..1_020).contains(began)),
        "{answers:?}"
    );
    assert!((2_000..2_020).contains(&start.elapsed().as_millis()));
}

#[tokio::test(start_paused = true)]
async fn polls_keep_their_distance() {
    let start = Instant::now();
    let polls = Polls::new(Duration::from_secs(10));
    for expected in [0, 10_000, 20_000] {
        let began = polls.after_now(|| slow(start)).await;
        assert!((expected..expected + 20).contains(&began), "{began}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_one_who_polls_goes_away_the_next_one_polls() {
    let start = Instant::now();
    let polls = Arc::new(Polls::new(Duration::ZERO));
    let first = tokio::spawn({
        let polls = Arc::clone(&polls);
        async move { polls.after_now(|| slow(start)).await }
    });
    sleep(Duration::from_millis(500)).await;
    let second = tokio::spawn({
        let polls = Arc::clone(&polls);
        async move { polls.after_now(|| slow(start)).await }
    });
    sleep(Duration::from_millis(100)).await;
    first.abort();
    let began = second.await.unwrap();
    assert!((600..620).contains(&began), "{began}");
}
