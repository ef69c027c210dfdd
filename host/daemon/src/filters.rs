//! Label filters that are plugins, watched at their work.

use std::sync::Arc;

use transom_meta::filter::{Compiled, Facts, FilterError, FilterPlugin, PluginFailure};
use transom_plugin::Filter;
use transom_plugin::breaker::{Ending, Suspended};
use transom_plugin::watch::{Call, Watch};

/// A filter, watched.
#[must_use]
pub fn watched(filter: Filter, watch: Arc<Watch>) -> Arc<dyn FilterPlugin> {
    Arc::new(WatchedFilter {
        name: filter.name().to_owned(),
        inner: filter,
        watch,
    })
}

struct WatchedFilter {
    name: String,
    inner: Filter,
    watch: Arc<Watch>,
}

impl FilterPlugin for WatchedFilter {
    fn compile(&self, expression: &str) -> Result<Box<dyn Compiled>, FilterError> {
        let call = self.watch.begin();
        let call = call.map_err(|suspended| refused(&self.name, suspended))?;
        let compiled = self.inner.compile(expression);
        end(call, compiled.as_ref().err());
        Ok(Box::new(Expression {
            name: self.name.clone(),
            inner: compiled?,
            watch: Arc::clone(&self.watch),
        }))
    }
}

/// An expression, watched.
struct Expression {
    name: String,
    inner: Box<dyn Compiled>,
    watch: Arc<Watch>,
}

impl Compiled for Expression {
    fn matches(&self, batch: &[Facts<'_>]) -> Result<Vec<bool>, FilterError> {
        let call = self.watch.begin();
        let call = call.map_err(|suspended| refused(&self.name, suspended))?;
        let answers = self.inner.matches(batch);
        end(call, answers.as_ref().err());
        answers
    }
}

fn refused(name: &str, suspended: Suspended) -> FilterError {
    FilterError::Plugin {
        plugin: name.to_owned(),
        failure: PluginFailure::Suspended,
        reason: suspended.to_string(),
    }
}

fn end(call: Call, error: Option<&FilterError>) {
    let ending = match error {
        Some(FilterError::Plugin { failure, .. }) => match failure {
            PluginFailure::Crash | PluginFailure::Limit | PluginFailure::Answer => Ending::Crash,
            PluginFailure::Refused | PluginFailure::Suspended => Ending::Well,
        },
        _ => Ending::Well,
    };
    // What somebody typed wrongly is nothing to remember.
    let failure = error.filter(|_| ending == Ending::Crash);
    let failure = failure.map(|error| (String::new(), error.to_string()));
    call.end(result(error), ending, failure);
}

/// In the words of the metric.
#[must_use]
pub fn result(error: Option<&FilterError>) -> &'static str {
    match error {
        None => "ok",
        Some(FilterError::Plugin { failure, .. }) => match failure {
            PluginFailure::Refused => "refused",
            PluginFailure::Limit => "limit",
            PluginFailure::Answer => "answer",
            PluginFailure::Suspended => "suspended",
            PluginFailure::Crash => "crash",
        },
        Some(_) => "refused",
    }
}
