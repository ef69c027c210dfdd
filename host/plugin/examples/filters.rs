//! Measures label filters: `filters FOLDER EXPRESSION [SECONDS]` matches records of content in pages, as a list does, and prints
//! how many a second of one core's time.

use std::borrow::Cow;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use transom_meta::Labels;
use transom_meta::filter::{Facts, Fields, Filters};
use transom_plugin::{FilterSet, Host, HostConfig};

/// A record of content, as a daemon has it in memory.
#[derive(Clone)]
struct Record {
    digest: String,
    size: u64,
    created: SystemTime,
    labels: Labels,
}

impl Fields for Record {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        (path == ["digest"]).then_some(Cow::Borrowed(self.digest.as_str()))
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "content",
            digest: Some(Cow::Borrowed(&self.digest)),
            size: Some(self.size),
            created: Some(self.created),
            updated: Some(self.created),
            labels: Some(&self.labels),
            ..Facts::default()
        }
    }
}

/// Records in a page of a list.
const PAGE: u64 = 512;

fn record(number: u64) -> Record {
    let label = |key: &str, value: String| (key.to_owned(), value);
    let source = format!("library/app-{}", number % 100);
    Record {
        digest: format!("sha256:{number:064x}"),
        size: number * 1000,
        created: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + number),
        labels: Labels::from([
            label("containerd.io/distribution.source.docker.io", source),
            label(
                "version",
                format!("{}.{}.{}", number % 3, number % 40, number % 7),
            ),
        ]),
    }
}

/// CPU time of this thread, on which the guest runs too.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs().try_into().unwrap_or(0),
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "filters FOLDER EXPRESSION [SECONDS]";
    let folder = PathBuf::from(arguments.next().ok_or(usage)?);
    let expression = arguments.next().ok_or(usage)?;
    let seconds: u64 = arguments.next().map_or(Ok(3), |seconds| seconds.parse())?;
    let (set, refused) = FilterSet::load(&Host::new(HostConfig::default())?, &[folder]);
    if let Some(refused) = refused.into_iter().next() {
        return Err(refused.into());
    }
    let name = set
        .iter()
        .next()
        .map(|filter| filter.name().to_owned())
        .ok_or("no filter")?;
    let quoted = expression.replace('\\', r"\\").replace('"', "\\\"");
    let filters = Filters::compile(&[format!("wasm.{name}==\"{quoted}\"")], &set.into_plugins())?;
    let pages: Vec<Vec<Record>> = (0..20)
        .map(|page| (page * PAGE..(page + 1) * PAGE).map(record).collect())
        .collect();

    let (mut matched, mut found, mut used) = (0u64, 0u64, Duration::ZERO);
    let end = std::time::Instant::now() + Duration::from_secs(seconds);
    while std::time::Instant::now() < end {
        for page in &pages {
            // The copy stands for reading the page, which is not measured.
            let mut page = page.clone();
            matched += page.len() as u64;
            let start = cpu();
            filters.retain(&mut page)?;
            used += cpu() - start;
            found += page.len() as u64;
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = matched as f64 / used.as_secs_f64();
    println!("{name}: {rate:.0} records a second of CPU time; {found} of {matched} match {expression}");
    Ok(())
}
