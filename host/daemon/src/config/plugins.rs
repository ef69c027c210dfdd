//! `[plugins]`: what holds for plugins of every kind.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use transom_plugin::{LimitsGiven, breaker};

use super::section::{Faults, Section};
use super::setting::Setting;
use super::text::{duration, quoted, set};

/// What holds for plugins of every kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plugins {
    /// The file that says who must have signed what is installed; if `None`, `trust.toml` beside the configuration, if it is there.
    pub policy: Option<PathBuf>,
    /// When one is suspended.
    pub breaker: breaker::Settings,
    /// What jobs of a plugin may cost, by its name.
    pub limits: BTreeMap<String, LimitsGiven>,
}

impl Plugins {
    pub(super) fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        section.set("policy", &mut self.policy, faults);
        let mut breaker = section.section("breaker", faults);
        let mut crashes = self.breaker.crashes as u32;
        breaker.set("crashes", &mut crashes, faults);
        self.breaker.crashes = crashes as usize;
        breaker.set("window", &mut self.breaker.window, faults);
        breaker.set("pause", &mut self.breaker.pause, faults);
        breaker.end(faults);
        for (name, mut table) in section.tables("limits", faults) {
            let limits = read_limits(&mut table, faults);
            self.limits.insert(name, limits);
        }
        section.end(faults);
    }

    pub(super) fn write(&self, out: &mut String) {
        out.push_str(
            "\n# Plugins of every kind: those in folders, and those that `transom plugin install` has brought. See\n\
             # docs/guides/operating-plugins.md.\n[plugins]\n",
        );
        let comment = "A file that says whether what is installed must be signed, and by whom. Without this line: trust.toml beside this file,\n\
                       # if it is there. See docs/guides/distributing-plugins.md.";
        match &self.policy {
            Some(path) => set(out, comment, "policy", quoted(path.display())),
            None => out.push_str(&format!("# {comment}\n#policy = \"/etc/transom/trust.toml\"\n")),
        }
        out.push_str("\n[plugins.breaker]\n");
        set(
            out,
            "Crashes within `window` after which a plugin's jobs are refused, beyond those that end well; 0 for never. A trap counts, and\n\
             # a job that was stopped for its time or memory.",
            "crashes",
            self.breaker.crashes,
        );
        set(
            out,
            "How long a crash counts.",
            "window",
            duration(self.breaker.window),
        );
        set(
            out,
            "How long its jobs are refused before one is let try.",
            "pause",
            duration(self.breaker.pause),
        );
        out.push_str(
            "# What one job of a plugin may cost, by the plugin's name; it counts more than what its plugin.toml asks for.\n\
             #[plugins.limits.xz]\n\
             #memory_mib = 128\n\
             #cpu = \"1h\"\n\
             #stall = \"10s\"\n\
             #wall = \"6h\"\n\
             #output = 274877906944\n\
             #ratio = 10000\n\
             #log_lines = 1000\n",
        );
        for (name, limits) in &self.limits {
            out.push_str(&format!("[plugins.limits.{}]\n", quoted(name)));
            write_limits(limits, out);
        }
    }
}

fn read_limits(table: &mut Section<'_>, faults: &mut Faults) -> LimitsGiven {
    let limits = LimitsGiven {
        memory_mib: given(table, "memory_mib", faults),
        cpu: given(table, "cpu", faults),
        stall: given(table, "stall", faults),
        wall: given(table, "wall", faults),
        output: given(table, "output", faults),
        ratio: given(table, "ratio", faults),
        log_lines: given(table, "log_lines", faults),
    };
    table.end(faults);
    limits
}

fn given<T: Setting + Default>(
    table: &mut Section<'_>,
    name: &'static str,
    faults: &mut Faults,
) -> Option<T> {
    let mut value = T::default();
    table.set(name, &mut value, faults).then_some(value)
}

fn write_limits(limits: &LimitsGiven, out: &mut String) {
    let mut line = |name: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            out.push_str(&format!("{name} = {value}\n"));
        }
    };
    let time = |value: Option<Duration>| value.map(duration);
    let (cpu, stall, wall) = (time(limits.cpu), time(limits.stall), time(limits.wall));
    line("memory_mib", limits.memory_mib.as_ref().map(|value| value as _));
    line("cpu", cpu.as_ref().map(|value| value as _));
    line("stall", stall.as_ref().map(|value| value as _));
    line("wall", wall.as_ref().map(|value| value as _));
    line("output", limits.output.as_ref().map(|value| value as _));
    line("ratio", limits.ratio.as_ref().map(|value| value as _));
    line("log_lines", limits.log_lines.as_ref().map(|value| value as _));
}
