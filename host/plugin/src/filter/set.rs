//! How lists find filters by name: the traits that `transom-meta` defines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use transom_meta::filter::{
    Compiled, Facts, FilterError, FilterPlugin, FilterSource, PluginFailure, Plugins,
};

use super::batch::{Builder, TooLong};
use super::instance::Instance;
use super::{Filter, FilterInfo, Inner};
use crate::error::{Fault, GuestError, LoadError};
use crate::host::Host;
use crate::limits::{FILTER_BATCH_RECORDS, FILTER_EXPRESSION_SHOWN};
use crate::manifest::{Manifest, PluginKind};

/// The label filters of a daemon, by name.
#[derive(Clone, Debug, Default)]
pub struct FilterSet {
    filters: BTreeMap<String, Filter>,
}

/// The label filters that paths mean: a plugin's folder, or a folder of plugins' folders, of which those of other kinds are left
/// alone.
pub fn found(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut filters = Vec::new();
    for path in paths {
        if is_filter(path) {
            filters.push(path.clone());
            continue;
        }
        let entries = path.read_dir().into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| is_filter(path))
            .collect();
        folders.sort();
        filters.append(&mut folders);
    }
    filters
}

fn is_filter(folder: &Path) -> bool {
    let file = folder.join("plugin.toml");
    let manifest = std::fs::read_to_string(&file).ok();
    let manifest = manifest.and_then(|text| Manifest::parse(&text, &file).ok());
    manifest.is_some_and(|manifest| manifest.kind == PluginKind::Filter)
}

/// A label filter that could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("the label filter {} cannot be used: {error}", path.display())]
pub struct Refused {
    /// The folder or the component.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub error: LoadError,
}

impl FilterSet {
    /// Loads filters from folders or components. One that cannot be loaded does not keep the others away: it is given back
    /// with the reason, for whoever started the daemon and for those who ask what it has.
    pub fn load(host: &Host, paths: &[PathBuf]) -> (FilterSet, Vec<Refused>) {
        let mut set = FilterSet::default();
        let mut refused = Vec::new();
        for path in paths {
            let added = host.load_filter(path).and_then(|filter| set.add(filter));
            refused.extend(added.err().map(|error| Refused {
                path: path.clone(),
                error,
            }));
        }
        (set, refused)
    }

    /// Adds a filter.
    ///
    /// # Errors
    ///
    /// [`LoadError::Twice`] if there is one of the same name.
    pub fn add(&mut self, filter: Filter) -> Result<(), LoadError> {
        let name = filter.name().to_owned();
        if self.filters.contains_key(&name) {
            return Err(LoadError::Twice(name));
        }
        self.filters.insert(name, filter);
        Ok(())
    }

    /// The filters, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Filter> {
        self.filters.values()
    }

    /// As lists need them.
    #[must_use]
    pub fn into_plugins(self) -> Plugins {
        Plugins::new(Arc::new(self))
    }
}

impl FilterSource for FilterSet {
    fn find(&self, name: &str) -> Option<Arc<dyn FilterPlugin>> {
        let filter = self.filters.get(name)?;
        Some(Arc::new(filter.clone()))
    }

    fn names(&self) -> Vec<String> {
        self.filters.keys().cloned().collect()
    }
}

impl FilterPlugin for Filter {
    fn compile(&self, expression: &str) -> Result<Box<dyn Compiled>, FilterError> {
        let expression: Arc<str> = expression.into();
        let filter = Arc::clone(&self.inner);
        let instance = filter
            .instance(&expression)
            .map_err(|fault| filter.not_compiled(&expression, fault))?;
        filter.keep(instance);
        Ok(Box::new(Expression { filter, expression }))
    }
}

/// An expression that some instance of the filter has understood.
struct Expression {
    filter: Arc<Inner>,
    expression: Arc<str>,
}

impl Compiled for Expression {
    fn matches(&self, facts: &[Facts<'_>]) -> Result<Vec<bool>, FilterError> {
        let filter = &self.filter;
        let mut instance = filter
            .instance(&self.expression)
            .map_err(|fault| filter.failed(&fault))?;
        let mut answers = Vec::with_capacity(facts.len());
        let mut builder = Builder::new(facts.len().min(FILTER_BATCH_RECORDS));
        for facts in facts {
            builder.push(facts).map_err(|TooLong| filter.too_long())?;
            if builder.is_full() {
                self.ask(&mut instance, &mut builder, &mut answers)?;
            }
        }
        self.ask(&mut instance, &mut builder, &mut answers)?;
        filter.keep(instance);
        Ok(answers)
    }
}

impl Expression {
    /// Has a batch matched and begins the next one.
    fn ask(
        &self,
        instance: &mut Instance,
        builder: &mut Builder,
        answers: &mut Vec<bool>,
    ) -> Result<(), FilterError> {
        let count = builder.batch().records.len();
        if count == 0 {
            return Ok(());
        }
        let bits = instance
            .matches(&self.filter, builder.batch())
            .map_err(|fault| self.filter.failed(&fault))?;
        builder.clear();
        let spare = bits.len() * 8 - count.min(bits.len() * 8);
        let spare_bits_are_clear = bits
            .last()
            .is_none_or(|last| last.leading_zeros() as usize >= spare);
        if bits.len() != count.div_ceil(8) || !spare_bits_are_clear {
            let reason = format!(
                "it answered with {} bytes of bits for {count} records",
                bits.len()
            );
            return Err(self.filter.failure(PluginFailure::Answer, reason));
        }
        answers.extend((0..count).map(|at| bits[at / 8] >> (at % 8) & 1 == 1));
        Ok(())
    }
}

impl Inner {
    /// Why an expression cannot be used.
    fn not_compiled(&self, expression: &str, fault: Fault) -> FilterError {
        match fault {
            Fault::Guest(error) => FilterError::Expression {
                plugin: self.info.name.clone(),
                expression: expression[..expression.floor_char_boundary(FILTER_EXPRESSION_SHOWN)].to_owned(),
                reason: said(&error),
            },
            fault => self.failed(&fault),
        }
    }

    /// Why records could not be matched.
    fn failed(&self, fault: &Fault) -> FilterError {
        let failure = match fault {
            Fault::Guest(_) => PluginFailure::Refused,
            Fault::Memory { .. } | Fault::Cpu { .. } | Fault::Stall { .. } | Fault::Wall { .. } => {
                PluginFailure::Limit
            }
            // It broke the rules of the interface with what it returned.
            Fault::Protocol(_) => PluginFailure::Answer,
            _ => PluginFailure::Crash,
        };
        let reason = match fault {
            Fault::Guest(error) => said(error),
            fault => fault.to_string(),
        };
        self.failure(failure, reason)
    }

    fn too_long(&self) -> FilterError {
        self.failure(
            PluginFailure::Limit,
            "a record has more than 4 GiB of text".into(),
        )
    }

    fn failure(&self, failure: PluginFailure, reason: String) -> FilterError {
        let FilterInfo { name, version, .. } = &self.info;
        tracing::warn!(plugin = name, version, digest = %self.digest, ?failure, reason, "a label filter failed");
        FilterError::Plugin {
            plugin: name.clone(),
            failure,
            reason,
        }
    }
}

/// What a guest says of an expression or a record, without what it says for the stages of a layer.
fn said(error: &GuestError) -> String {
    match error {
        GuestError::Corrupt { message, .. } => message.clone(),
        error => error.to_string(),
    }
}
