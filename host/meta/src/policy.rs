//! Policies: expressions that a filter plugin understands, and that must hold of something before it is let in.

use std::sync::Arc;

use crate::filter::{Fields, FilterError, Filters, Plugins};

mod judged;

pub use judged::Judged;

/// An expression that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name, for those who are refused.
    pub name: String,
    /// The filter plugin that understands it.
    pub plugin: String,
    /// The expression.
    pub expression: String,
}

/// Policies, ready to be asked. The default has none, and lets everything in.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    policies: Vec<(Policy, Arc<Filters>)>,
}

/// Why something is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A policy does not hold of it.
    #[error("policy {policy:?} does not hold: {expression} ({plugin})")]
    Broken {
        /// The policy.
        policy: String,
        /// What does not hold.
        expression: String,
        /// The filter plugin that said so.
        plugin: String,
    },
    /// What is to be judged cannot be read.
    #[error("no policy can be asked: {reason}")]
    Unread {
        /// What went wrong.
        reason: String,
    },
    /// A policy gave no answer, so that nobody knows whether it holds.
    #[error("policy {policy:?}: {reason}")]
    Unknown {
        /// The policy.
        policy: String,
        /// What went wrong.
        reason: String,
    },
}

impl Policies {
    /// Reads the expressions.
    ///
    /// # Errors
    /// The name of the policy and why its expression cannot be used: a policy that cannot be asked must not let
    /// everything through.
    pub fn compile(
        policies: impl IntoIterator<Item = Policy>,
        plugins: &Plugins,
    ) -> Result<Policies, (String, FilterError)> {
        let compile = |policy: Policy| {
            let quoted = policy.expression.replace('\\', "\\\\").replace('"', "\\\"");
            // In quotes, an expression of several lines has them escaped.
            let quoted = quoted.replace('\n', "\\n");
            let text = format!("wasm.{}==\"{quoted}\"", policy.plugin);
            match Filters::compile(&[text], plugins) {
                Ok(filters) => Ok((policy, Arc::new(filters))),
                Err(error) => Err((policy.name, error)),
            }
        };
        let policies = policies.into_iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Policies { policies })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there is none, so that nothing needs to be known of what is let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Asks all of them about something, one after another, on threads that may block.
    ///
    /// # Errors
    /// The [`Refusal`] of the first that does not hold, or that cannot be asked.
    pub async fn judge<T>(&self, something: T) -> Result<(), Refusal>
    where
        T: Fields + Send + Sync + 'static,
    {
        let something = Arc::new(something);
        for (policy, filters) in &self.policies {
            let (filters, something) = (Arc::clone(filters), Arc::clone(&something));
            let asked = tokio::task::spawn_blocking(move || filters.matches(&*something)).await;
            let unknown = |reason: String| Refusal::Unknown {
                policy: policy.name.clone(),
                reason,
            };
            let holds = asked.map_err(|error| unknown(format!("internal fault: {error}")))?;
            if !holds.map_err(|error| unknown(error.to_string()))? {
                return Err(Refusal::Broken {
                    policy: policy.name.clone(),
                    expression: policy.expression.clone(),
                    plugin: policy.plugin.clone(),
                });
            }
        }
        Ok(())
    }
}
