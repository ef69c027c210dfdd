//! Refuses the jobs of a plugin that crashes again and again, so that it costs nothing until somebody has looked at it.
//!
//! ```text
//! closed ── crashes ≥ limit within the window ──▶ open ── the pause is over ──▶ trying ── the job ends well ──▶ closed
//!                                                   ▲                              │
//!                                                   └───────── it crashes ─────────┘
//! ```
//!
//! A job that ends well takes one crash back: a plugin that works for most layers is not suspended for a few that are
//! made to crash it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{BREAKER_CRASHES, BREAKER_PAUSE, BREAKER_WINDOW};

/// When a plugin is suspended, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Crashes that suspend it, within the window; 0 for never.
    pub crashes: usize,
    /// How long a crash counts.
    pub window: Duration,
    /// How long jobs are refused before one is let try.
    pub pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            crashes: BREAKER_CRASHES,
            window: BREAKER_WINDOW,
            pause: BREAKER_PAUSE,
        }
    }
}

/// What time it is. The default is the system's.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Instant + Send + Sync>);

impl Clock {
    /// A clock that is asked for the time.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Instant {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new(Instant::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Why a job is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "it is suspended because it crashed {crashes} times; one job is let try in {} s; the log has the crashes, and a daemon's `transom plugin status`",
    wait.as_secs_f32().ceil()
)]
pub struct Suspended {
    /// The crashes that count.
    pub crashes: usize,
    /// Until the next one is let try; zero while one does.
    pub wait: Duration,
}

/// How a job ended, as far as it matters here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// The plugin worked, if only to refuse.
    Well,
    /// It crashed, or was stopped by a limit on what it may cost.
    Crash,
    /// Somebody else failed, or stopped it: that says nothing.
    Unknown,
}

/// Counts the crashes of one plugin. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Breaker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    crashes: VecDeque<Instant>,
    trips: u64,
    /// Counts the changes of phase, so that a job of an earlier one says nothing about this one.
    turn: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    Trying,
}

/// What a breaker looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// `closed`, `open` or `trying`.
    pub state: &'static str,
    /// The crashes that count.
    pub crashes: usize,
    /// Until a job is let try, if it is open.
    pub wait: Option<Duration>,
    /// How often it opened.
    pub trips: u64,
}

impl Breaker {
    /// A closed one.
    pub fn new(settings: Settings, clock: Clock) -> Breaker {
        Breaker {
            inner: Arc::new(Inner {
                settings,
                clock,
                state: Mutex::default(),
            }),
        }
    }

    /// By what it goes.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// A job wants to begin.
    ///
    /// # Errors
    ///
    /// [`Suspended`].
    pub fn admit(&self) -> Result<Permit, Suspended> {
        let mut state = self.inner.lock();
        let now = self.inner.clock.now();
        let refused = |state: &State, wait| {
            Err(Suspended {
                crashes: state.crashes.len(),
                wait,
            })
        };
        match state.phase {
            Phase::Closed => {}
            Phase::Trying => return refused(&state, Duration::ZERO),
            Phase::Open { until } if now < until => return refused(&state, until - now),
            Phase::Open { .. } => state.enter(Phase::Trying),
        }
        Ok(Permit {
            breaker: self.clone(),
            turn: state.turn,
            ending: Ending::Unknown,
        })
    }

    /// What it looks like now.
    pub fn view(&self) -> View {
        let mut state = self.inner.lock();
        let now = self.inner.clock.now();
        if state.phase == Phase::Closed {
            state.forget(now, self.inner.settings.window);
        }
        let (name, wait) = match state.phase {
            Phase::Closed => ("closed", None),
            Phase::Open { until } => ("open", Some(until.saturating_duration_since(now))),
            Phase::Trying => ("trying", None),
        };
        View {
            state: name,
            crashes: state.crashes.len(),
            wait,
            trips: state.trips,
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job that began in some turn has ended.
    fn ended(&self, turn: u64, ending: Ending) {
        let mut state = self.lock();
        if state.turn != turn {
            return;
        }
        let now = self.clock.now();
        match (state.phase, ending) {
            (Phase::Closed, Ending::Well) => {
                state.crashes.pop_front();
            }
            (Phase::Closed, Ending::Crash) if self.settings.crashes > 0 => {
                state.forget(now, self.settings.window);
                state.crashes.push_back(now);
                if state.crashes.len() >= self.settings.crashes {
                    state.trip(now + self.settings.pause);
                }
            }
            (Phase::Trying, Ending::Well) => {
                state.crashes.clear();
                state.enter(Phase::Closed);
            }
            (Phase::Trying, Ending::Crash) => state.trip(now + self.settings.pause),
            // The next one may try at once.
            (Phase::Trying, Ending::Unknown) => state.enter(Phase::Open { until: now }),
            _ => {}
        }
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.turn += 1;
    }

    fn trip(&mut self, until: Instant) {
        self.enter(Phase::Open { until });
        self.trips += 1;
    }

    /// Crashes before the window count no more.
    fn forget(&mut self, now: Instant, window: Duration) {
        while self
            .crashes
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) > window)
        {
            self.crashes.pop_front();
        }
    }
}

/// A job that was let begin. Dropped without a word, it says nothing about its plugin.
#[derive(Debug)]
pub struct Permit {
    breaker: Breaker,
    turn: u64,
    ending: Ending,
}

impl Permit {
    /// The job works so far: if it is the one that was let try, the others need not wait for its end, which counts all the same.
    pub fn works(&mut self) {
        let mut state = self.breaker.inner.lock();
        if state.turn == self.turn && state.phase == Phase::Trying {
            state.crashes.clear();
            state.enter(Phase::Closed);
            self.turn = state.turn;
        }
    }

    /// The job has ended.
    pub fn end(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.breaker.inner.ended(self.turn, self.ending);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A clock that is moved by hand.
    #[derive(Clone, Default)]
    pub(crate) struct Hand(Arc<Mutex<Duration>>);

    impl Hand {
        pub(crate) fn clock(&self) -> Clock {
            let (start, passed) = (Instant::now(), Arc::clone(&self.0));
            Clock::new(move || start + *passed.lock().unwrap())
        }

        pub(crate) fn pass(&self, time: Duration) {
            *self.0.lock().unwrap() += time;
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(hand: &Hand) -> Breaker {
        let settings = Settings {
            crashes: 3,
            window: 60 * SECOND,
            pause: 30 * SECOND,
        };
        Breaker::new(settings, hand.clock())
    }

    fn crash(breaker: &Breaker) {
        breaker.admit().unwrap().end(Ending::Crash);
    }

    #[test]
    fn crashes_open_it_and_one_good_job_closes_it() {
        let hand = Hand::default();
        let breaker = breaker(&hand);
        (0..2).for_each(|_| crash(&breaker));
        assert_eq!(breaker.view().state, "closed");
        crash(&breaker);
        hand.pass(10 * SECOND);
        let refused = breaker.admit().unwrap_err();
        assert_eq!((refused.crashes, refused.wait), (3, 20 * SECOND));
        assert!(refused.to_string().contains("crashed 3 times"), "{refused}");
        hand.pass(20 * SECOND);
        let trial = breaker.admit().unwrap();
        assert_eq!(breaker.view().state, "trying");
        assert_eq!(breaker.admit().unwrap_err().wait, Duration::ZERO, "one at a time");
        trial.end(Ending::Crash);
        assert_eq!(breaker.admit().unwrap_err().wait, 30 * SECOND);
        hand.pass(30 * SECOND);
        breaker.admit().unwrap().end(Ending::Well);
        let view = breaker.view();
        assert_eq!((view.state, view.crashes, view.trips), ("closed", 0, 2));
    }

    #[test]
    fn crashes_are_forgotten_and_good_jobs_make_up_for_them() {
        let hand = Hand::default();
        let breaker = breaker(&hand);
        (0..2).for_each(|_| crash(&breaker));
        hand.pass(61 * SECOND);
        assert_eq!(breaker.view().crashes, 0);
        (0..2).for_each(|_| crash(&breaker));
        breaker.admit().unwrap().end(Ending::Well);
        crash(&breaker);
        assert_eq!(breaker.view().state, "closed");
        drop(breaker.admit().unwrap());
        assert_eq!(breaker.view().crashes, 2, "a job that was cut off says nothing");
        crash(&breaker);
        assert_eq!(breaker.view().state, "open");
    }

    #[test]
    fn a_trial_that_was_cut_off_lets_the_next_one_try() {
        let hand = Hand::default();
        let breaker = breaker(&hand);
        let late = breaker.admit().unwrap();
        (0..3).for_each(|_| crash(&breaker));
        late.end(Ending::Well);
        assert_eq!(breaker.view().state, "open", "it began before");
        hand.pass(30 * SECOND);
        drop(breaker.admit().unwrap());
        breaker.admit().unwrap().end(Ending::Well);
        assert_eq!(breaker.view().state, "closed");
    }

    #[test]
    fn a_long_trial_that_works_lets_the_others_in_before_its_end() {
        let hand = Hand::default();
        let breaker = breaker(&hand);
        (0..3).for_each(|_| crash(&breaker));
        hand.pass(30 * SECOND);
        let mut trial = breaker.admit().unwrap();
        breaker.admit().unwrap_err();
        trial.works();
        assert_eq!(breaker.view().state, "closed");
        (0..2).for_each(|_| crash(&breaker));
        trial.end(Ending::Crash);
        assert_eq!(breaker.view().state, "open", "its end counts, too");
        let mut late = breaker.admit();
        assert!(late.as_mut().map(Permit::works).is_err());
    }

    #[test]
    fn it_can_be_switched_off() {
        let settings = Settings {
            crashes: 0,
            ..Settings::default()
        };
        let breaker = Breaker::new(settings, Clock::default());
        (0..1000).for_each(|_| crash(&breaker));
        assert_eq!((breaker.view().state, breaker.view().crashes), ("closed", 0));
    }
}
