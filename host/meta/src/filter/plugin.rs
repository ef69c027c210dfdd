//! The traits between the filter language and what runs filter plugins. Nothing here knows how a plugin is run.

use std::fmt;
use std::sync::Arc;

use super::Facts;
use super::error::{self, FilterError};

/// A plugin that understands expressions about records.
pub trait FilterPlugin: Send + Sync {
    /// Reads an expression once, so that many records can be matched.
    ///
    /// # Errors
    /// [`FilterError::Expression`] for one that the plugin does not take, [`FilterError::Plugin`].
    fn compile(&self, expression: &str) -> Result<Box<dyn Compiled>, FilterError>;
}

/// An expression that a plugin has read.
pub trait Compiled: Send + Sync {
    /// Says of each record whether it matches, in the order of the batch. Blocks while the plugin computes.
    ///
    /// # Errors
    /// [`FilterError::Plugin`]. The next call starts afresh.
    fn matches(&self, batch: &[Facts<'_>]) -> Result<Vec<bool>, FilterError>;
}

/// Where filter plugins are found by their names.
pub trait FilterSource: Send + Sync {
    /// The plugin of this name.
    fn find(&self, name: &str) -> Option<Arc<dyn FilterPlugin>>;

    /// All names, sorted.
    fn names(&self) -> Vec<String>;
}

/// The filter plugins that a list may name. The default has none.
#[derive(Clone, Default)]
pub struct Plugins {
    source: Option<Arc<dyn FilterSource>>,
}

impl Plugins {
    /// Those of a source.
    #[must_use]
    pub fn new(source: Arc<dyn FilterSource>) -> Plugins {
        Plugins { source: Some(source) }
    }

    /// The names of all.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.source
            .as_ref()
            .map(|source| source.names())
            .unwrap_or_default()
    }

    pub(super) fn find(&self, name: &str) -> Result<Arc<dyn FilterPlugin>, FilterError> {
        let found = self.source.as_ref().and_then(|source| source.find(name));
        found.ok_or_else(|| {
            let known = self.names();
            FilterError::Unknown {
                name: error::start(name),
                nearest: nearest(name, &known),
                known,
            }
        })
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Plugins").field(&self.names()).finish()
    }
}

/// The name that was probably meant: at most two letters away, or half of a short name.
fn nearest(name: &str, known: &[String]) -> Option<String> {
    let most = 2.min(name.chars().count() / 2);
    let distances = known.iter().map(|known| (distance(name, known), known));
    let (least, known) = distances.min()?;
    (least <= most).then(|| known.clone())
}

/// Letters to insert, remove or change on the way from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    // A name of a plugin is short; what is longer than any is far from all.
    if from.len() > 256 || to.len() > 256 {
        return usize::MAX;
    }
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (j, b) in to.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
