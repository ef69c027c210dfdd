//! Drives the fuzz targets for a while: inputs are changed at random, and those with a new kind of outcome are changed
//! further. No coverage is measured, so it runs wherever the tests do.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use transom_fuzz::mutate::{Random, mutate};
use transom_fuzz::seeds::seeds;
use transom_fuzz::targets::{ALL, Target};
use transom_oci::{Algorithm, Digest};
use transom_tests::needs::target_dir;

/// Tries inputs made at random on what strangers' bytes meet.
#[derive(Debug, Parser)]
struct Arguments {
    /// tar, scan, chain, image, plugin, request, text, filter or all
    target: String,
    /// How long, for each target.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Where the random numbers begin [default: the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// A folder of more inputs to begin with.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Try this file once, and nothing else.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Write the inputs to begin with into this folder, for another driver.
    #[arg(long)]
    write_seeds: Option<PathBuf>,
}

/// One input may take this long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Inputs kept for further changes.
const POOL_MAX: usize = 4000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen: Vec<_> = ALL
        .into_iter()
        .filter(|(name, _)| arguments.target == "all" || arguments.target == *name)
        .collect();
    if chosen.is_empty() {
        eprintln!("there is no target {:?}", arguments.target);
        return ExitCode::from(2);
    }
    let mut sound = true;
    for (name, target) in chosen {
        match drive(name, target, &arguments) {
            Ok(found) => sound &= !found,
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::from(2);
            }
        }
    }
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Gives whether something was found.
fn drive(name: &str, target: Target, arguments: &Arguments) -> io::Result<bool> {
    if let Some(file) = &arguments.replay {
        println!("{name}: {}", target(&fs::read(file)?));
        return Ok(false);
    }
    if let Some(folder) = &arguments.write_seeds {
        fs::create_dir_all(folder)?;
        for (number, seed) in seeds(name)?.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    let clock = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_secs();
    let seed = arguments.seed.unwrap_or(clock);
    let mut session = Session::begin(name, target, Random::new(seed), arguments.corpus.as_deref())?;
    let start = Instant::now();
    let found = session.run(start + Duration::from_secs(arguments.seconds))?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{name}: {} inputs in {seconds:.0} s, {} kinds of outcome, peak memory {} MiB, seed {seed}",
        session.tried,
        session.outcomes.len(),
        peak_memory() >> 20,
    );
    Ok(found)
}

/// The work on one target.
struct Session {
    name: String,
    target: Target,
    random: Random,
    pool: Vec<Vec<u8>>,
    outcomes: HashSet<String>,
    tried: u64,
    /// Where inputs that failed go.
    folder: PathBuf,
    /// Told of every input that is done.
    alive: Arc<AtomicU64>,
}

impl Session {
    fn begin(name: &str, target: Target, random: Random, corpus: Option<&Path>) -> io::Result<Session> {
        let mut pool = seeds(name)?;
        if let Some(corpus) = corpus {
            for entry in fs::read_dir(corpus)? {
                pool.push(fs::read(entry?.path())?);
            }
        }
        let folder = target_dir().join("fuzz");
        fs::create_dir_all(&folder)?;
        let session = Session {
            name: name.to_owned(),
            target,
            random,
            pool,
            outcomes: HashSet::new(),
            tried: 0,
            folder,
            alive: Arc::default(),
        };
        session.watch();
        Ok(session)
    }

    /// The input at work, which is there when the process was killed by it.
    fn current(&self) -> PathBuf {
        self.folder.join(format!("{}.current", self.name))
    }

    /// Ends the process when one input takes too long.
    fn watch(&self) {
        let (alive, current, name) = (Arc::downgrade(&self.alive), self.current(), self.name.clone());
        std::thread::spawn(move || {
            let (mut seen, mut since) = (0, Instant::now());
            while let Some(alive) = alive.upgrade() {
                let now = alive.load(Ordering::Relaxed);
                if now != seen {
                    (seen, since) = (now, Instant::now());
                } else if since.elapsed() > PATIENCE {
                    eprintln!("{name}: an input takes more than {} s", PATIENCE.as_secs());
                    eprintln!("{}", replay_line(&name, &current));
                    std::process::abort();
                }
                drop(alive);
                std::thread::sleep(Duration::from_secs(1));
            }
        });
    }

    fn run(&mut self, end: Instant) -> io::Result<bool> {
        let seeds = self.pool.clone();
        for input in seeds {
            if self.try_one(&input)? {
                return Ok(true);
            }
        }
        while Instant::now() < end {
            let (first, second) = (
                self.random.below(self.pool.len()),
                self.random.below(self.pool.len()),
            );
            let mut input = self.pool[first].clone();
            mutate(&mut input, &self.pool[second], &mut self.random);
            if self.try_one(&input)? {
                return Ok(true);
            }
        }
        fs::remove_file(self.current())?;
        Ok(false)
    }

    /// Tries an input; gives whether it failed.
    fn try_one(&mut self, input: &[u8]) -> io::Result<bool> {
        fs::write(self.current(), input)?;
        let result = catch_unwind(AssertUnwindSafe(|| (self.target)(input)));
        self.tried += 1;
        self.alive.store(self.tried, Ordering::Relaxed);
        let Ok(outcome) = result else {
            let digest = Digest::of(Algorithm::Sha256, input);
            let file = self.folder.join(format!("{}-{}", self.name, &digest.hex()[..16]));
            fs::rename(self.current(), &file)?;
            eprintln!("{}", replay_line(&self.name, &file));
            return Ok(true);
        };
        if self.outcomes.insert(outcome) && self.pool.len() < POOL_MAX {
            self.pool.push(input.to_vec());
        }
        Ok(false)
    }
}

fn replay_line(name: &str, file: &Path) -> String {
    format!(
        "to see it again: cargo run -p transom-fuzz -- {name} --replay {}",
        file.display()
    )
}

/// The most memory that this process has held, in bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .unwrap_or(0)
        << 10
}
