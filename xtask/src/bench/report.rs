//! Medians and ratios, as the rows that `docs/benchmarks.md` records.

use std::fs;

use super::measure::Run;
use super::peers::version;

/// The runs of one command.
#[derive(Debug, Default)]
pub(crate) struct Series(Vec<Run>);

impl Series {
    pub(crate) fn new() -> Series {
        Series::default()
    }

    pub(crate) fn push(&mut self, run: Run) {
        self.0.push(run);
    }

    /// The runs in their order.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.0
    }

    fn median(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        median(&mut self.0.iter().map(figure).collect::<Vec<_>>())
    }

    /// The median of the ratios run by run: both of a pair met the same noise.
    fn paired(&self, other: &Series, figure: impl Fn(&Run) -> f64) -> f64 {
        median(
            &mut self
                .0
                .iter()
                .zip(&other.0)
                .map(|(ours, theirs)| figure(ours) / figure(theirs))
                .collect::<Vec<_>>(),
        )
    }
}

/// The middle value; the mean of the two in the middle of an even number.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// What was measured on.
pub(crate) fn machine(runs: usize) {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split(": ").nth(1))
            .unwrap_or("unknown")
            .to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let extensions: Vec<&str> = ["sha_ni", "avx2", "avx512f"]
        .into_iter()
        .filter(|flag| field("flags").contains(flag))
        .collect();
    println!(
        "\n{cores} cores, {}, {}; {runs} runs, medians, ratios of pairs",
        field("model name"),
        extensions.join(" ")
    );
    println!("{}; {}", version("containerd"), version("pigz"));
}

pub(crate) fn heading(text: &str) {
    println!("\n{text}");
}

/// Wall times and their ratio.
pub(crate) fn row(title: &str, a: &str, ours: &Series, b: &str, theirs: &Series, wanted: &str) {
    print_row(title, a, ours, b, theirs, wanted, |run| run.wall);
}

/// CPU times and their ratio.
pub(crate) fn cpu_row(title: &str, a: &str, ours: &Series, b: &str, theirs: &Series, wanted: &str) {
    print_row(title, a, ours, b, theirs, wanted, |run| run.cpu);
}

fn print_row(
    title: &str,
    a: &str,
    ours: &Series,
    b: &str,
    theirs: &Series,
    wanted: &str,
    figure: fn(&Run) -> f64,
) {
    println!(
        "  {title:<36} {a} {:7.3} s   {b} {:7.3} s   ratio {:.3}   (wanted: {wanted})",
        ours.median(figure),
        theirs.median(figure),
        ours.paired(theirs, figure),
    );
    #[allow(clippy::cast_precision_loss, reason = "mebibytes are shown")]
    let peak = |series: &Series| series.median(|run| run.peak_kib as f64 / 1024.0);
    println!(
        "  {:<36} peak memory {:.0} and {:.0} MiB, CPU {:.2} and {:.2} s",
        "",
        peak(ours),
        peak(theirs),
        ours.median(|run| run.cpu),
        theirs.median(|run| run.cpu)
    );
}

/// The overlap ratio and the peak memory.
pub(crate) fn overlap_row(title: &str, ratios: &mut [f64], peak_kib: u64) {
    println!(
        "  {title:<36} wall / bound {:.2} (wanted: at most 1.25)   peak {} MiB (wanted: under 96)",
        median(ratios),
        peak_kib / 1024
    );
}

/// What one more stage costs for each layer.
pub(crate) fn start_rows(plain: &mut [f64], wasm: &mut [f64], exec: &mut [f64]) {
    #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
    let layers = super::SMALL_LAYERS as f64;
    let (plain, wasm, exec) = (median(plain), median(wasm), median(exec));
    let (wasm_cost, exec_cost) = ((wasm - plain) / layers * 1e6, (exec - plain) / layers * 1e6);
    println!("  no stage {plain:.3} s, wasm {wasm:.3} s, cat {exec:.3} s");
    println!(
        "  wasm {wasm_cost:.0} µs, cat {exec_cost:.0} µs for each layer   ratio {:.3}   (wanted: at most 0.1)",
        wasm_cost / exec_cost
    );
}

/// System calls for each entry.
pub(crate) fn calls_row(title: &str, ours: &[(String, u64)], theirs: &[(String, u64)], entries: u64) {
    #[allow(clippy::cast_precision_loss, reason = "counts below 2^52")]
    let each =
        |calls: &[(String, u64)]| calls.iter().map(|(_, count)| *count).sum::<u64>() as f64 / entries as f64;
    println!(
        "  {title:<36} transom {:.2}, tar -x {:.2} for each entry",
        each(ours),
        each(theirs)
    );
    for (name, calls) in [("transom", ours), ("tar", theirs)] {
        let top: Vec<String> = calls
            .iter()
            .take(8)
            .map(|(call, count)| format!("{call} {count}"))
            .collect();
        println!("    {name}: {}", top.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&mut [4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&mut []).is_nan());
    }
}
