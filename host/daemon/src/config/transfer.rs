//! What the configuration says of pulls and pushes, and of who must allow a pull or a name.

use std::path::PathBuf;
use std::time::Duration;

use transom_client::Proxies;
use transom_meta::policy::Policy;

use super::section::{Faults, Section};
use super::setting::{Count, Text};
use super::text::{duration, quoted, set};

/// Pulls and pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Folders in containerd's form that say which hosts serve a registry; the first that knows it decides.
    pub config_path: Vec<PathBuf>,
    /// Large blobs that are moved at once, of all pulls and pushes together; of small ones there are more.
    pub max_concurrent_downloads: usize,
    /// The machine's proxies. They are not in the file: `main` takes them from the environment.
    pub proxies: Proxies,
}

/// Who is asked before an image is pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifiers {
    /// The folder of programs by containerd's contract; none if `None`.
    pub bin_dir: Option<PathBuf>,
    /// How many of them are asked.
    pub max_verifiers: usize,
    /// How long each may take.
    pub per_verifier_timeout: Duration,
    /// Expressions for filter plugins, all of which must hold.
    pub policies: Vec<Policy>,
}

/// What must hold of an image before it gets a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Expressions for filter plugins, all of which must hold.
    pub policies: Vec<Policy>,
}

impl Default for Transfer {
    fn default() -> Self {
        Transfer {
            config_path: ["/etc/transom/certs.d", "/etc/containerd/certs.d"]
                .map(PathBuf::from)
                .into(),
            max_concurrent_downloads: transom_client::limits::DOWNLOADS,
            proxies: Proxies::default(),
        }
    }
}

impl Default for Verifiers {
    fn default() -> Self {
        Verifiers {
            bin_dir: None,
            max_verifiers: 10,
            per_verifier_timeout: Duration::from_secs(10),
            policies: Vec::new(),
        }
    }
}

impl Transfer {
    pub(super) fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        section.set("config_path", &mut self.config_path, faults);
        let mut downloads = Count(self.max_concurrent_downloads);
        section.set("max_concurrent_downloads", &mut downloads, faults);
        self.max_concurrent_downloads = downloads.0;
        section.end(faults);
    }

    pub(super) fn write(&self, out: &mut String) {
        out.push_str("\n[transfer]\n");
        let folders: Vec<String> = self
            .config_path
            .iter()
            .map(|path| quoted(path.display()))
            .collect();
        set(
            out,
            "Folders with the hosts of registries, their mirrors and certificates, as containerd has them in certs.d: the first one\n\
             # that knows a registry decides. See docs/guides/registry-client.md.",
            "config_path",
            format!("[{}]", folders.join(", ")),
        );
        set(
            out,
            "Large blobs that are moved at once, for all pulls and pushes together; of small ones six times as many.",
            "max_concurrent_downloads",
            self.max_concurrent_downloads,
        );
    }
}

impl Verifiers {
    pub(super) fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        section.set("bin_dir", &mut self.bin_dir, faults);
        let mut most = Count(self.max_verifiers);
        section.set("max_verifiers", &mut most, faults);
        self.max_verifiers = most.0;
        section.set("per_verifier_timeout", &mut self.per_verifier_timeout, faults);
        read_policies(&mut self.policies, section, faults);
        section.end(faults);
    }

    pub(super) fn write(&self, out: &mut String) {
        out.push_str("\n# Who must allow an image before the daemon pulls it.\n[verifiers]\n");
        let folder = self.bin_dir.as_ref().map(|path| path.display().to_string());
        set(
            out,
            "A folder of programs that are asked, by the contract of containerd's image verifiers, such as\n\
             # \"/opt/containerd/image-verifier/bin\"; \"\" for none.",
            "bin_dir",
            quoted(folder.unwrap_or_default()),
        );
        set(
            out,
            "How many of them are asked, in the order of their names.",
            "max_verifiers",
            self.max_verifiers,
        );
        set(
            out,
            "How long each of them may take.",
            "per_verifier_timeout",
            duration(self.per_verifier_timeout),
        );
        out.push_str(
            "# Expressions that must hold, in the language of a filter plugin (see [filters]):\n\
             #[verifiers.policies.\"ours\"]\n\
             #plugin = \"cel\"\n\
             #expression = '\"org.example.reviewed\" in annotations'\n",
        );
        write_policies(&self.policies, "verifiers", out);
    }
}

impl Admission {
    pub(super) fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        read_policies(&mut self.policies, section, faults);
        section.end(faults);
    }

    pub(super) fn write(&self, out: &mut String) {
        out.push_str(
            "\n# What must hold of an image before it gets a name here, whoever gives it: by Images.Create and Update, by an import,\n\
             # a pull or a tag. See docs/guides/policies.md.\n[admission]\n\
             #[admission.policies.\"no-latest\"]\n\
             #plugin = \"cel\"\n\
             #expression = '!name.endsWith(\":latest\")'\n",
        );
        write_policies(&self.policies, "admission", out);
    }
}

/// The tables in `policies`.
fn read_policies(policies: &mut Vec<Policy>, section: &mut Section<'_>, faults: &mut Faults) {
    for (name, mut policy) in section.tables("policies", faults) {
        let (mut plugin, mut expression) = (Text::default(), Text::default());
        let is_whole =
            policy.need("plugin", &mut plugin, faults) & policy.need("expression", &mut expression, faults);
        policy.end(faults);
        if is_whole {
            policies.push(Policy {
                name,
                plugin: plugin.0,
                expression: expression.0,
            });
        }
    }
}

fn write_policies(policies: &[Policy], section: &str, out: &mut String) {
    for policy in policies {
        out.push_str(&format!(
            "[{section}.policies.{}]\nplugin = {}\nexpression = {}\n",
            quoted(&policy.name),
            quoted(&policy.plugin),
            quoted(&policy.expression),
        ));
    }
}
