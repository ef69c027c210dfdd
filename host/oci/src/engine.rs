//! Digest engines (design D5): several implementations of each algorithm, the fastest of which is taken.
//!
//! Which one is fastest depends on the CPU: `sha2` uses the SHA extensions where they are, and portable code
//! where they are not; `ring` has AVX2 code for the CPUs between. Both are timed once, on first use, over
//! [`TRIAL_BYTES`]; that costs well under a millisecond for each algorithm.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sha2::Digest as _;

use crate::digest::{Algorithm, Digest};

/// Bytes hashed per trial: enough to outweigh the set-up, small enough to stay in the first-level cache.
const TRIAL_BYTES: usize = 16 * 1024;
/// Trials per engine; the best counts, so that an interrupted one does not decide.
const TRIALS: usize = 5;

/// An implementation of the digest algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The `sha2` crate: SHA-NI, ARMv8 or portable code.
    Sha2,
    /// The `ring` crate: AVX2 and SHA-NI assembly.
    Ring,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Engine; 2] = [Engine::Sha2, Engine::Ring];

    /// Its name, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Engine::Sha2 => "sha2",
            Engine::Ring => "ring",
        }
    }

    /// The fastest engine on this CPU for an algorithm, measured once per process.
    pub fn fastest(algorithm: Algorithm) -> Engine {
        static CHOSEN: [OnceLock<Engine>; 3] = [const { OnceLock::new() }; 3];
        let slot = match algorithm {
            Algorithm::Sha256 => &CHOSEN[0],
            Algorithm::Sha384 => &CHOSEN[1],
            Algorithm::Sha512 => &CHOSEN[2],
        };
        *slot.get_or_init(|| {
            let sample = vec![0x5a; TRIAL_BYTES];
            let best = Engine::ALL
                .into_iter()
                .min_by_key(|engine| engine.trial(algorithm, &sample));
            best.unwrap_or(Engine::Sha2)
        })
    }

    fn trial(self, algorithm: Algorithm, sample: &[u8]) -> Duration {
        let once = || {
            let start = Instant::now();
            let mut hasher = Hasher::with_engine(algorithm, self);
            hasher.update(sample);
            std::hint::black_box(hasher.finish());
            start.elapsed()
        };
        (0..TRIALS).map(|_| once()).min().unwrap_or(Duration::MAX)
    }
}

/// A digest in the making. A clone goes on from the same bytes on its own.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    state: State,
}

#[derive(Clone)]
enum State {
    Ring(ring::digest::Context),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Starts a digest on the fastest engine.
    pub fn new(algorithm: Algorithm) -> Hasher {
        Hasher::with_engine(algorithm, Engine::fastest(algorithm))
    }

    /// Starts a digest on a given engine.
    pub fn with_engine(algorithm: Algorithm, engine: Engine) -> Hasher {
        use ring::digest;
        let state = match (engine, algorithm) {
            (Engine::Sha2, Algorithm::Sha256) => State::Sha256(sha2::Sha256::new()),
            (Engine::Sha2, Algorithm::Sha384) => State::Sha384(sha2::Sha384::new()),
            (Engine::Sha2, Algorithm::Sha512) => State::Sha512(sha2::Sha512::new()),
            (Engine::Ring, Algorithm::Sha256) => State::Ring(digest::Context::new(&digest::SHA256)),
            (Engine::Ring, Algorithm::Sha384) => State::Ring(digest::Context::new(&digest::SHA384)),
            (Engine::Ring, Algorithm::Sha512) => State::Ring(digest::Context::new(&digest::SHA512)),
        };
        Hasher { algorithm, state }
    }

    /// The algorithm it computes.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Ring(context) => context.update(bytes),
            State::Sha256(hash) => hash.update(bytes),
            State::Sha384(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        match self.state {
            State::Ring(context) => Digest::from_raw(self.algorithm, context.finish().as_ref()),
            State::Sha256(hash) => Digest::from_raw(self.algorithm, &hash.finalize()),
            State::Sha384(hash) => Digest::from_raw(self.algorithm, &hash.finalize()),
            State::Sha512(hash) => Digest::from_raw(self.algorithm, &hash.finalize()),
        }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_gives_the_published_digests_of_abc() {
        // FIPS 180-4 examples.
        let want = [
            (
                Algorithm::Sha256,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                Algorithm::Sha384,
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            ),
            (
                Algorithm::Sha512,
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ];
        for (algorithm, hex) in want {
            for engine in Engine::ALL {
                let mut hasher = Hasher::with_engine(algorithm, engine);
                hasher.update(b"a");
                let branch = hasher.clone();
                hasher.update(b"bc");
                assert_eq!(hasher.finish().hex(), hex, "{algorithm} by {}", engine.as_str());
                assert_eq!(branch.finish(), Digest::of(algorithm, b"a"));
            }
            assert!(Engine::ALL.contains(&Engine::fastest(algorithm)));
        }
    }
}
