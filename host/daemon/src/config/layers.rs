//! What happens to layers: the differs, and the processors that a layer may pass through.

use std::collections::BTreeMap;
use std::path::PathBuf;

use transom_layer::apply::ApplyLimits;
use transom_layer::exec::ExternalProcessor;
use transom_layer::limits::OutputLimits;
use transom_plugin::config::Values;

use super::section::{Faults, Section};
use super::setting::{Differs, Pair, Text};
use super::text::{quoted, set};

/// The differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Their names, in the order in which they are asked.
    pub default: Vec<String>,
    /// Whether every layer must outlast a power cut before it is said to be applied.
    pub sync_fs: bool,
    /// Whether layers are unpacked while clients write them, before they ask for it.
    pub ahead: bool,
    /// What processors may put out for one layer.
    pub output: OutputLimits,
    /// Entries of one layer.
    pub max_entries: u64,
    /// Behind a containerd: the socket where its content is. Without one, blobs are read here only and none are written.
    pub content_address: Option<PathBuf>,
}

/// Processors in WASM.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Processors {
    /// The folders that they are loaded from.
    pub folders: Vec<PathBuf>,
    /// What each of them is told, by its name.
    pub config: BTreeMap<String, Values>,
    /// Where the private keys are that each of them may use, by its name: files, and folders of files.
    pub keys: BTreeMap<String, Vec<PathBuf>>,
}

impl Default for Diff {
    fn default() -> Self {
        Diff {
            default: vec![transom_diff::WALKING.to_owned()],
            sync_fs: false,
            ahead: true,
            output: OutputLimits::default(),
            max_entries: ApplyLimits::default().entries,
            content_address: Some(PathBuf::from("/run/containerd/containerd.sock")),
        }
    }
}

impl Diff {
    pub(super) fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        let mut default = Differs(std::mem::take(&mut self.default));
        section.set("default", &mut default, faults);
        self.default = default.0;
        section.set("sync_fs", &mut self.sync_fs, faults);
        section.set("ahead", &mut self.ahead, faults);
        section.set("max_layer_size", &mut self.output.bytes, faults);
        section.set("max_ratio", &mut self.output.ratio, faults);
        section.set("max_entries", &mut self.max_entries, faults);
        section.set("content_address", &mut self.content_address, faults);
        section.end(faults);
    }

    pub(super) fn write(&self, out: &mut String) {
        out.push_str("\n[diff]\n");
        set(
            out,
            "The differs in the order in which they are asked: walking is the only one.",
            "default",
            format!("{:?}", self.default),
        );
        set(
            out,
            "Bring every layer to the disk before it is said to be applied.",
            "sync_fs",
            self.sync_fs,
        );
        set(
            out,
            "Unpack layers while clients write them, before they ask for it, where a snapshotter is overlayfs.",
            "ahead",
            self.ahead,
        );
        set(
            out,
            "Most bytes that a layer may unpack to.",
            "max_layer_size",
            self.output.bytes,
        );
        set(
            out,
            "Most bytes that each byte of a layer's blob may unpack to, once it is more than 1 GiB.",
            "max_ratio",
            self.output.ratio,
        );
        set(
            out,
            "Most files, folders and links of a layer.",
            "max_entries",
            self.max_entries,
        );
        let address = self
            .content_address
            .as_ref()
            .map(|path| path.display().to_string());
        set(
            out,
            "With proxy_backend: containerd's socket, where layers are read that are not here, and written when mounts are\n\
             # compared; \"\" for nowhere.",
            "content_address",
            quoted(address.unwrap_or_default()),
        );
    }
}

impl Processors {
    pub(super) fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        section.set("folders", &mut self.folders, faults);
        for (name, mut values) in section.tables("config", faults) {
            let values = values.values(faults);
            self.config.insert(name, values);
        }
        self.keys = section.section("keys", faults).paths(faults);
        section.end(faults);
    }

    pub(super) fn write(&self, out: &mut String) {
        out.push_str(
            "\n# Processors that layers may pass through. Those of [stream_processors] are asked before these, the last one first.\n\
             [processors]\n",
        );
        let folders: Vec<String> = self.folders.iter().map(|path| quoted(path.display())).collect();
        set(
            out,
            "Folders that WASM processors are loaded from. What a plugin is told stands in [processors.config.<its name>].",
            "folders",
            format!("[{}]", folders.join(", ")),
        );
        out.push_str(
            "\n# Private keys that plugins may use which ask for that, by the plugin's name: files, PEM or DER, and folders of files. They are\n\
             # read anew for each layer, and never leave the daemon.\n\
             [processors.keys]\n\
             #ocicrypt = [\"/etc/transom/keys\"]\n",
        );
        for (name, paths) in &self.keys {
            let paths: Vec<String> = paths.iter().map(|path| quoted(path.display())).collect();
            out.push_str(&format!("{} = [{}]\n", quoted(name), paths.join(", ")));
        }
        for (name, values) in &self.config {
            out.push_str(&format!("[processors.config.{}]\n", quoted(name)));
            if let Ok(text) = toml::to_string(values) {
                out.push_str(&text);
            }
        }
    }
}

/// Containerd's `[stream_processors."<id>"]`, in the order of the file.
pub(super) fn read_programs(top: &mut Section<'_>, faults: &mut Faults) -> Vec<ExternalProcessor> {
    let tables = top.tables("stream_processors", faults);
    let read = |(id, mut section): (String, Section<'_>)| read_program(id, &mut section, faults);
    tables.into_iter().filter_map(read).collect()
}

fn read_program(id: String, section: &mut Section<'_>, faults: &mut Faults) -> Option<ExternalProcessor> {
    let (mut accepts, mut args, mut env) = (Vec::<Text>::new(), Vec::<String>::new(), Vec::<Pair>::new());
    let (mut returns, mut path) = (Text::default(), Text::default());
    let is_whole = section.need("accepts", &mut accepts, faults)
        & section.need("returns", &mut returns, faults)
        & section.need("path", &mut path, faults);
    section.set("args", &mut args, faults);
    section.set("env", &mut env, faults);
    section.end(faults);
    is_whole.then(|| ExternalProcessor {
        id,
        accepts: accepts.into_iter().map(|text| text.0).collect(),
        returns: returns.0,
        path: path.0.into(),
        args,
        env: env.into_iter().map(|pair| pair.0).collect(),
    })
}

pub(super) fn write_programs(programs: &[ExternalProcessor], out: &mut String) {
    out.push_str(
        "\n# Programs that layers may pass through, as in containerd's configuration:\n\
         #[stream_processors.\"io.containerd.ocicrypt.decoder.v1.tar.gzip\"]\n\
         #accepts = [\"application/vnd.oci.image.layer.v1.tar+gzip+encrypted\"]\n\
         #returns = \"application/vnd.oci.image.layer.v1.tar+gzip\"\n\
         #path = \"ctd-decoder\"\n\
         #args = [\"--decryption-keys-path\", \"/etc/containerd/ocicrypt/keys\"]\n\
         #env = [\"OCICRYPT_KEYPROVIDER_CONFIG=/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf\"]\n",
    );
    let list = |texts: &mut dyn Iterator<Item = String>| texts.map(quoted).collect::<Vec<_>>().join(", ");
    for program in programs {
        let env = &mut program.env.iter().map(|(name, value)| format!("{name}={value}"));
        out.push_str(&format!(
            "[stream_processors.{}]\naccepts = [{}]\nreturns = {}\npath = {}\nargs = [{}]\nenv = [{}]\n",
            quoted(&program.id),
            list(&mut program.accepts.iter().cloned()),
            quoted(&program.returns),
            quoted(program.path.display()),
            list(&mut program.args.iter().cloned()),
            list(env),
        ));
    }
}
