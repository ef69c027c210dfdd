//! How often a client may ask.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Deserialize;

use super::credential::Credential;
use super::limits;
use crate::access::{Access, Decision, Gate, Presented, Refusal};
use crate::settings::SetupError;

/// `[auth.limits]`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Requests a second of one user, or of one address if it is a stranger; 0 for no limit.
    pub requests_per_second: f64,
    /// Requests that may come at once after a pause.
    pub burst: u32,
    /// Wrong passwords a minute from one address; 0 for no limit. After that no password of that address is looked at.
    pub failures_per_minute: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            requests_per_second: 0.0,
            burst: 200,
            failures_per_minute: 30,
        }
    }
}

/// Counts requests before and after another gate looks at them.
#[derive(Debug)]
pub struct Throttle {
    inner: Arc<dyn Gate>,
    requests: Option<Buckets<Client>>,
    failures: Option<Buckets<IpAddr>>,
}

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    User(String),
    Address(IpAddr),
}

impl Throttle {
    /// Counts in front of `inner`.
    ///
    /// # Errors
    /// [`SetupError::Setting`] if a limit is no limit.
    pub fn new(settings: &Settings, inner: Arc<dyn Gate>) -> Result<Throttle, SetupError> {
        let rate = settings.requests_per_second;
        if !rate.is_finite() || rate < 0.0 {
            let problem = "it must be a number, 0 or more";
            return Err(SetupError::setting("auth.limits.requests_per_second", problem));
        }
        if rate > 0.0 && settings.burst == 0 {
            return Err(SetupError::setting("auth.limits.burst", "it must be 1 or more"));
        }
        let failures = f64::from(settings.failures_per_minute);
        Ok(Throttle {
            inner,
            requests: (rate > 0.0).then(|| Buckets::new(rate, f64::from(settings.burst))),
            failures: (failures > 0.0).then(|| Buckets::new(failures / 60.0, failures)),
        })
    }
}

impl Gate for Throttle {
    fn check<'a>(&'a self, presented: &'a Presented<'a>, wanted: &'a [Access]) -> Decision<'a> {
        Box::pin(async move {
            let address = network(presented.address);
            let password = matches!(Credential::of(presented), Credential::Basic { .. });
            let failures = self.failures.as_ref().filter(|_| password);
            if let Some(failures) = failures {
                failures.look(&address, Instant::now())?;
            }
            let decision = self.inner.check(presented, wanted).await;
            let wrong = matches!(decision, Err(Refusal::Unauthenticated { .. }));
            // Charged afterwards, so that many right ones at once do not stand in each other's way. Many wrong ones at once
            // all get through, and are paid for by a longer wait.
            if let Some(failures) = failures.filter(|_| wrong) {
                failures.charge(address, Instant::now());
            }
            let name = decision.as_ref().ok().and_then(|actor| actor.name.clone());
            if let Some(requests) = &self.requests {
                requests.take(
                    name.map_or(Client::Address(address), Client::User),
                    Instant::now(),
                )?;
            }
            decision
        })
    }
}

/// What stands for a client: its address, or the /64 that an IPv6 client has all of.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// A bucket for each of those who are counted, which fills again with time.
struct Buckets<K> {
    /// How many a second it gets back.
    rate: f64,
    /// How many it holds.
    size: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K> fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets")
            .field("rate", &self.rate)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    fn new(rate: f64, size: f64) -> Buckets<K> {
        Buckets {
            rate,
            size,
            buckets: Mutex::default(),
        }
    }

    /// Takes one out, or says after how many seconds there will be one.
    fn take(&self, key: K, now: Instant) -> Result<(), Refusal> {
        self.look(&key, now)?;
        self.charge(key, now);
        Ok(())
    }

    /// Whether there is one, or after how many seconds there will be.
    fn look(&self, key: &K, now: Instant) -> Result<(), Refusal> {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let left = buckets
            .get(key)
            .map_or(self.size, |bucket| self.left(bucket, now));
        if left >= 1.0 {
            return Ok(());
        }
        let seconds = ((1.0 - left) / self.rate).ceil();
        let retry_after = seconds.clamp(1.0, f64::from(u32::MAX)) as u32;
        Err(Refusal::TooMany { retry_after })
    }

    /// Takes one out, whether there is one or not.
    fn charge(&self, key: K, now: Instant) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= limits::COUNTED && !buckets.contains_key(&key) {
            self.forget(&mut buckets, now);
        }
        let full = Bucket {
            left: self.size,
            at: now,
        };
        let bucket = buckets.entry(key).or_insert(full);
        bucket.left = self.left(bucket, now) - 1.0;
        bucket.at = now;
    }

    fn left(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + since * self.rate).min(self.size)
    }

    /// Full buckets say nothing. If all say something, those go that were quiet longest.
    fn forget(&self, buckets: &mut HashMap<K, Bucket>, now: Instant) {
        buckets.retain(|_, bucket| self.left(bucket, now) < self.size);
        if buckets.len() < limits::COUNTED {
            return;
        }
        let mut times: Vec<Instant> = buckets.values().map(|bucket| bucket.at).collect();
        let (_, middle, _) = times.select_nth_unstable(limits::COUNTED / 2);
        let middle = *middle;
        buckets.retain(|_, bucket| bucket.at > middle);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        let buckets = Buckets::new(2.0, 3.0);
        let start = Instant::now();
        let take = |key: &str, millis| buckets.take(key.to_owned(), start + Duration::from_millis(millis));
        for _ in 0..3 {
            assert_eq!(take("a", 0), Ok(()));
        }
        assert_eq!(take("a", 0), Err(Refusal::TooMany { retry_after: 1 }));
        assert_eq!(take("b", 0), Ok(()));
        assert_eq!(take("a", 500), Ok(()));
        assert!(take("a", 500).is_err());
        buckets.charge("a".to_owned(), start + Duration::from_millis(500));
        assert_eq!(take("a", 500), Err(Refusal::TooMany { retry_after: 1 }));
        assert!(take("a", 1499).is_err(), "what was charged must be paid for");
        assert_eq!(take("a", 1500), Ok(()));
        for _ in 0..3 {
            assert_eq!(take("a", 60_000), Ok(()));
        }
        assert!(take("a", 60_000).is_err());
        let slow = Buckets::new(0.01, 1.0);
        slow.take(1, start).unwrap();
        assert_eq!(slow.take(1, start), Err(Refusal::TooMany { retry_after: 100 }));
    }

    #[test]
    fn many_clients_do_not_fill_the_memory() {
        let buckets = Buckets::new(0.001, 1.0);
        let start = Instant::now();
        for number in 0..limits::COUNTED + 10 {
            let now = start + Duration::from_micros(number as u64);
            assert_eq!(buckets.take(number, now), Ok(()));
        }
        assert!(buckets.buckets.lock().unwrap().len() <= limits::COUNTED);
        assert!(
            buckets
                .take(limits::COUNTED, start + Duration::from_secs(1))
                .is_err()
        );
    }

    #[test]
    fn a_network_is_one_client() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
    }
}
