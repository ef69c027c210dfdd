//! containerd's cases of its scheduler, on a clock that stands still between the steps.

use std::sync::Mutex;
use std::time::SystemTime;

use super::*;
use crate::gc::Removed;

/// Collections that take a certain time and note when they began.
#[derive(Clone, Default)]
struct Fake(Arc<Shared>);

#[derive(Default)]
struct Shared {
    activity: Arc<Activity>,
    took: Duration,
    fails: Mutex<u32>,
    began: Mutex<Vec<Instant>>,
}

impl Work for Fake {
    fn activity(&self) -> &Arc<Activity> {
        &self.0.activity
    }

    async fn run(&self) -> Result<Stats, Error> {
        self.0.activity.reset();
        self.0.began.lock().expect("no panic").push(Instant::now());
        let mut fails = self.0.fails.lock().expect("no panic");
        if *fails > 0 {
            *fails -= 1;
            let reason = "on purpose".to_owned();
            return Err(Error::Collect { reason });
        }
        Ok(Stats {
            started: SystemTime::UNIX_EPOCH,
            duration: self.0.took,
            metadata: self.0.took,
            longest_pause: Duration::ZERO,
            pauses: 0,
            paused: Duration::ZERO,
            removed: Removed::default(),
            bytes: 0,
        })
    }
}

impl Fake {
    fn taking(millis: u64) -> Fake {
        Fake(Arc::new(Shared {
            took: Duration::from_millis(millis),
            ..Shared::default()
        }))
    }

    fn runs(&self) -> usize {
        self.0.began.lock().expect("no panic").len()
    }

    /// Milliseconds from `start` to the begin of each run.
    fn began(&self, start: Instant) -> Vec<u128> {
        let began = self.0.began.lock().expect("no panic");
        began
            .iter()
            .map(|at| at.duration_since(start).as_millis())
            .collect()
    }

    /// Changes this many objects, and deletes this many.
    fn changes(&self, mutations: u64, deletions: u64) {
        for _ in 0..mutations {
            self.0.activity.count(0);
        }
        for _ in 0..deletions {
            self.0.activity.count(1);
        }
    }
}

/// Nothing runs by itself.
fn quiet() -> Settings {
    Settings {
        pause_threshold: 0.001,
        deletion_threshold: 0,
        mutation_threshold: 0,
        schedule_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
    }
}

async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn runs_take_their_part_of_the_time() {
    for (took, threshold, interval) in [
        (10, 0.02, 490_u32),
        (1, 0.02, 245),
        (10, 0.5, 10),
        (10, 0.9, 10),
        (30, 0.0, 1000),
    ] {
        let fake = Fake::taking(took);
        let settings = Settings {
            pause_threshold: threshold,
            ..quiet()
        };
        let start = Instant::now();
        let scheduler = Scheduler::of(fake.clone(), settings);
        for _ in 0..5 * interval + 1 {
            fake.changes(0, 1);
            pass(1).await;
        }
        let wanted: Vec<u128> = (0..=5).map(|run| u128::from(run * interval)).collect();
        let began = fake.began(start);
        assert_eq!(began.len(), wanted.len(), "{took} {threshold}: {began:?}");
        for (began, wanted) in began.iter().zip(wanted) {
            assert!(
                began.abs_diff(wanted) <= 6,
                "{took} {threshold}: {began} {wanted}"
            );
        }
        scheduler.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn enough_deletions_do_not_wait_for_their_time() {
    let fake = Fake::taking(1);
    let settings = Settings {
        deletion_threshold: 5,
        ..quiet()
    };
    let scheduler = Scheduler::of(fake.clone(), settings);
    fake.changes(0, 5);
    pass(1).await;
    assert_eq!(fake.runs(), 1);
    // The next would be after five seconds.
    for _ in 0..4 {
        fake.changes(3, 1);
        pass(10).await;
    }
    assert_eq!(fake.runs(), 1);
    fake.changes(0, 1);
    pass(1).await;
    assert_eq!(fake.runs(), 2);
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_asked_for_serves_all_who_ask_within_the_delay() {
    let fake = Fake::taking(1);
    let settings = Settings {
        schedule_delay: Duration::from_millis(10),
        ..quiet()
    };
    let start = Instant::now();
    let scheduler = Arc::new(Scheduler::of(fake.clone(), settings));
    let ask = || {
        let scheduler = Arc::clone(&scheduler);
        tokio::spawn(async move { scheduler.collect().await })
    };
    let first = [ask(), ask()];
    pass(5).await;
    let second = ask();
    pass(20).await;
    for asked in first.into_iter().chain([second]) {
        let stats = asked.await.expect("no panic").expect("a run");
        assert_eq!(stats.metadata, Duration::from_millis(1));
    }
    assert_eq!(fake.began(start).len(), 1);
    assert!(fake.began(start)[0].abs_diff(10) <= 1);
    ask().await.expect("no panic").expect("a run");
    assert_eq!(fake.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_run_comes_after_the_start() {
    let fake = Fake::taking(1);
    let settings = Settings {
        startup_delay: Duration::from_millis(100),
        mutation_threshold: 100,
        ..quiet()
    };
    let scheduler = Scheduler::of(fake.clone(), settings);
    pass(90).await;
    assert_eq!(fake.runs(), 0);
    pass(20).await;
    assert_eq!(fake.runs(), 1);
    // And no other one while nothing happens.
    pass(3_600_000).await;
    assert_eq!(fake.runs(), 1);
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn changes_count_only_when_there_are_many() {
    let fake = Fake::taking(1);
    let settings = Settings {
        mutation_threshold: 10,
        ..quiet()
    };
    let scheduler = Scheduler::of(fake.clone(), settings);
    fake.changes(9, 0);
    pass(60_000).await;
    assert_eq!(fake.runs(), 0);
    fake.changes(1, 0);
    pass(1).await;
    assert_eq!(fake.runs(), 1);
    pass(60_000).await;
    fake.changes(9, 0);
    pass(60_000).await;
    assert_eq!(fake.runs(), 1);
    fake.changes(0, 1);
    pass(4_900).await;
    assert_eq!(fake.runs(), 1);
    pass(200).await;
    assert_eq!(fake.runs(), 2);
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_is_tried_again_and_tells_those_who_wait() {
    let fake = Fake::taking(1);
    *fake.0.fails.lock().expect("no panic") = 1;
    let start = Instant::now();
    let scheduler = Scheduler::of(fake.clone(), quiet());
    let error = scheduler.collect().await.expect_err("it fails").to_string();
    assert_eq!(error, "gc failed: on purpose");
    pass(5000).await;
    let began = fake.began(start);
    assert_eq!(began.len(), 2);
    assert!(began[1].abs_diff(2000) <= 2, "{began:?}");
    scheduler.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_after_the_stop() {
    let fake = Fake::taking(1);
    let settings = Settings {
        deletion_threshold: 1,
        ..quiet()
    };
    Scheduler::of(fake.clone(), settings).stop().await;
    fake.changes(0, 9);
    pass(10_000).await;
    assert_eq!(fake.runs(), 0);
}
