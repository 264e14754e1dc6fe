//! Passes that an engine keeps can be made again.

use std::sync::{Arc, Mutex};

use dormouse::engine::PassLog;
use dormouse::planner::{Plan, RecordedPass, replay};

use super::world::{World, secs};

/// Keeps every pass that did something.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<RecordedPass>>);

impl PassLog for Kept {
    fn wants(&self, plan: &Plan, _is_sound: bool) -> bool {
        !plan.actions.is_empty()
    }

    fn keep(&self, pass: RecordedPass) {
        self.0.lock().unwrap().push(pass);
    }
}

#[test]
fn passes_of_a_life_are_the_same_when_they_are_made_again() {
    let kept = Arc::new(Kept::default());
    let mut world = World::new();
    world.passes = Arc::clone(&kept) as Arc<dyn PassLog>;
    world.kill_and_restart();
    for _ in 0..4 {
        world.submit_one("sh: true", "echo done");
        world.submit_one("python: '3.12'", "sleep 30\necho done");
        world.advance(secs(20));
    }
    world.until_done();
    world.advance(secs(600));
    let passes = std::mem::take(&mut *kept.0.lock().unwrap());
    assert!(passes.len() > 5, "{}", passes.len());
    for pass in passes {
        let text = serde_json::to_vec(&pass).unwrap();
        let again = replay(&serde_json::from_slice::<RecordedPass>(&text).unwrap());
        assert_eq!(again.differences, Vec::<String>::new(), "at {}", pass.at);
        assert!(again.violations.is_empty());
    }
}
