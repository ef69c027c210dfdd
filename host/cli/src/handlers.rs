//! From the plugin and processor flags to a chain of handlers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;
use transom_keys::Keyring;
use transom_layer::chain::Chain;
use transom_layer::exec::ExternalProcessor;
use transom_layer::stage::Payload;
use transom_plugin::config::{Value, Values};
use transom_plugin::decrypt::CAPABILITY;
use transom_plugin::{Host, HostConfig, Loaded, Plugin, ProcessorGrants};

use crate::arguments::{Handlers, PluginFolder};
use crate::failure::Failure;
use crate::installed;
use crate::places;

/// The chain that the flags describe. Processors are asked before plugins, both before what is built in, and among
/// themselves the one named last is asked first.
pub(crate) fn chain(flags: &Handlers) -> Result<Chain, Failure> {
    let mut chain = Chain::new();
    let mut config = plugin_config(&flags.plugin_config)?;
    let plugins = load(flags)?;
    let grants = grants(&flags.decryption_key, &plugins)?;
    for plugin in plugins {
        let values = config.remove(plugin.name()).unwrap_or_default();
        chain.register(plugin.handler_with(&values, grants.clone())?);
    }
    if let Some(name) = config.keys().next() {
        return Err(Failure::usage(format!(
            "--plugin-config names {name:?}, but no such plugin is loaded (--plugin)"
        )));
    }
    for spec in &flags.processor {
        for processor in processors(spec)? {
            chain.register(std::sync::Arc::new(processor));
        }
    }
    Ok(chain)
}

/// What the flags grant to plugins that ask for it. The keys are read, so that a mistake is found before anything is begun.
pub(crate) fn grants(keys: &[PathBuf], plugins: &[Plugin]) -> Result<ProcessorGrants, Failure> {
    let keyring = Keyring::new(keys.to_vec());
    if !keys.is_empty() {
        if !plugins.iter().any(|plugin| plugin.asks_for(CAPABILITY)) {
            let text =
                "--decryption-key is for a plugin that decrypts, and none is loaded: add --plugin …/ocicrypt";
            return Err(Failure::usage(text));
        }
        keyring.check()?;
    }
    Ok(ProcessorGrants { keys: keyring })
}

fn load(flags: &Handlers) -> Result<Vec<Plugin>, Failure> {
    // Starting the engine takes milliseconds that nobody owes who loads no plugin.
    if flags.plugin.is_empty() {
        return Ok(Vec::new());
    }
    let host = host()?;
    let load = |path: &PathBuf| {
        let plugin = match installed::name(path) {
            Some(name) => installed_processor(&host, flags, name)?,
            None => host
                .load(path)
                .map_err(|error| Failure::from(error).about(path.display()))?,
        };
        tracing::info!(plugin = plugin.name(), version = plugin.version(), digest = %plugin.digest(), "loaded");
        Ok(plugin)
    };
    flags.plugin.iter().map(load).collect()
}

/// A processor that is installed.
fn installed_processor(host: &Host, flags: &Handlers, name: (&str, Option<&str>)) -> Result<Plugin, Failure> {
    let folder = installed::folder(&PluginFolder {
        plugins: flags.plugins.clone(),
    })?;
    let policy = installed::policy(&flags.trust)?;
    match installed::load(host, &folder, &policy, name)? {
        Loaded::Processor(plugin) => Ok(plugin),
        other => Err(Failure::usage(format!(
            "{} is a {}, not a processor of layers",
            other.name(),
            other.kind().as_str()
        ))),
    }
}

/// The engine, with compiled code kept where this user keeps it.
pub(crate) fn host() -> Result<Host, Failure> {
    let config = HostConfig {
        cache_dir: places::compiled(),
        ..HostConfig::default()
    };
    match Host::new(config.clone()) {
        Err(error @ transom_plugin::LoadError::Cache { .. }) => {
            tracing::warn!("compiling anew: {error}");
            Ok(Host::new(HostConfig {
                cache_dir: None,
                ..config
            })?)
        }
        other => Ok(other?),
    }
}

fn plugin_config(texts: &[String]) -> Result<BTreeMap<String, Values>, Failure> {
    let mut config: BTreeMap<String, Values> = BTreeMap::new();
    for text in texts {
        let (place, value) = split(text, "NAME.KEY=VALUE")?;
        let (name, key) = place
            .split_once('.')
            .ok_or_else(|| Failure::usage(format!("{text:?}: want NAME.KEY=VALUE")))?;
        config
            .entry(name.to_owned())
            .or_default()
            .insert(key.to_owned(), value_of(value));
    }
    Ok(config)
}

/// `KEY=VALUE` flags as configuration values.
pub(crate) fn values(texts: &[String]) -> Result<Values, Failure> {
    let pair = |text: &String| split(text, "KEY=VALUE").map(|(key, value)| (key.to_owned(), value_of(value)));
    texts.iter().map(pair).collect()
}

/// What a person typed, as a TOML value if it is one, else as plain text.
fn value_of(text: &str) -> Value {
    #[derive(Deserialize)]
    struct Document {
        value: Value,
    }
    let parsed = toml::from_str::<Document>(&format!("value = {text}"));
    parsed.map_or_else(|_| Value::Text(text.to_owned()), |document| document.value)
}

/// A flag of the form `left=right`.
pub(crate) fn split<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str), Failure> {
    text.split_once('=')
        .filter(|(left, _)| !left.is_empty())
        .ok_or_else(|| Failure::usage(format!("{text:?}: want {form}")))
}

/// `ID=TYPE_URL=FILE` flags.
pub(crate) fn payloads(texts: &[String]) -> Result<Vec<(String, Payload)>, Failure> {
    let payload_of = |text: &String| {
        let (id, rest) = split(text, "ID=TYPE_URL=FILE")?;
        Ok((id.to_owned(), payload(rest)?))
    };
    texts.iter().map(payload_of).collect()
}

/// A `TYPE_URL=FILE` flag.
pub(crate) fn payload(text: &str) -> Result<Payload, Failure> {
    let (type_url, file) = split(text, "TYPE_URL=FILE")?;
    let value = fs::read(file).map_err(|error| Failure::io(format_args!("payload {file}"), &error))?;
    Ok(Payload {
        type_url: type_url.to_owned(),
        value: Bytes::from(value),
    })
}

/// Containerd's configuration of stream processors; what else its file holds is not looked at.
#[derive(Deserialize)]
struct ProcessorFile {
    stream_processors: BTreeMap<String, ProcessorTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessorTable {
    accepts: Vec<String>,
    returns: String,
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
}

fn processors(spec: &str) -> Result<Vec<ExternalProcessor>, Failure> {
    if spec.contains('=') {
        inline(spec).map(|processor| vec![processor])
    } else {
        from_file(Path::new(spec))
    }
}

fn from_file(path: &Path) -> Result<Vec<ExternalProcessor>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::io(path.display(), &error))?;
    let file: ProcessorFile =
        toml::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let processor = |(id, table): (String, ProcessorTable)| {
        let env = table
            .env
            .iter()
            .map(|pair| split(pair, "NAME=VALUE").map(owned))
            .collect::<Result<_, _>>()?;
        let ProcessorTable {
            accepts,
            returns,
            path,
            args,
            ..
        } = table;
        Ok(ExternalProcessor {
            id,
            accepts,
            returns,
            path,
            args,
            env,
        })
    };
    file.stream_processors.into_iter().map(processor).collect()
}

fn owned((left, right): (&str, &str)) -> (String, String) {
    (left.to_owned(), right.to_owned())
}

const SPEC_FORM: &str = "id=ID,accepts=TYPE,returns=TYPE,path=PROGRAM[,arg=ARG][,env=NAME=VALUE]; for commas in values use a TOML file";

fn inline(spec: &str) -> Result<ExternalProcessor, Failure> {
    let wrong = |what: &str| Failure::usage(format!("--processor {spec:?}: {what}; want {SPEC_FORM}"));
    let (mut id, mut returns, mut path) = (None, None, None);
    let (mut accepts, mut args, mut env) = (Vec::new(), Vec::new(), Vec::new());
    for part in spec.split(',') {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| wrong(&format!("{part:?} has no =")))?;
        match key {
            "id" => id = Some(value.to_owned()),
            "accepts" => accepts.push(value.to_owned()),
            "returns" => returns = Some(value.to_owned()),
            "path" => path = Some(PathBuf::from(value)),
            "arg" => args.push(value.to_owned()),
            "env" => env.push(split(value, "NAME=VALUE").map(owned)?),
            other => return Err(wrong(&format!("unknown key {other:?}"))),
        }
    }
    let path = path.ok_or_else(|| wrong("path is missing"))?;
    if accepts.is_empty() {
        return Err(wrong("accepts is missing"));
    }
    let returns = returns.ok_or_else(|| wrong("returns is missing"))?;
    let id = id.unwrap_or_else(|| path.display().to_string());
    Ok(ExternalProcessor {
        id,
        accepts,
        returns,
        path,
        args,
        env,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inline_processor_is_read() {
        let spec = "id=dec,accepts=a/b,accepts=c/d,returns=e/f,path=/bin/x,arg=-k,arg=v,env=K=v=w";
        let processor = &processors(spec).unwrap()[0];
        assert_eq!(processor.accepts, ["a/b", "c/d"]);
        assert_eq!(processor.env, [("K".to_owned(), "v=w".to_owned())]);
        assert_eq!((processor.id.as_str(), processor.args.len()), ("dec", 2));
        for bad in [
            "id=x",
            "path=/x,returns=a",
            "accepts=a,returns=b,path=/x,color=red",
            "accepts=a,oops,path=b",
        ] {
            assert!(processors(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn containerds_table_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        fs::write(
            &path,
            "version = 2\n[stream_processors]\n[stream_processors.\"io.x\"]\naccepts = [\"a/b\"]\nreturns = \"c/d\"\n\
             path = \"ctd-decoder\"\nargs = [\"--k\"]\nenv = [\"A=b\"]\n",
        )
        .unwrap();
        let processor = &processors(path.to_str().unwrap()).unwrap()[0];
        assert_eq!(
            (processor.id.as_str(), processor.returns.as_str()),
            ("io.x", "c/d")
        );
    }

    #[test]
    fn values_are_toml_or_text() {
        assert_eq!(value_of("true"), Value::Boolean(true));
        assert_eq!(value_of("3"), Value::Integer(3));
        assert_eq!(
            value_of("[\"a\", \"b\"]"),
            Value::Texts(vec!["a".into(), "b".into()])
        );
        assert_eq!(value_of("plain words"), Value::Text("plain words".into()));
        assert_eq!(value_of("1 = 2"), Value::Text("1 = 2".into()));
        let config = plugin_config(&["a.b=1".into(), "a.c.d=x".into()]).unwrap();
        assert_eq!(config["a"]["c.d"], Value::Text("x".into()));
        assert!(plugin_config(&["ab=1".into()]).is_err());
    }
}
