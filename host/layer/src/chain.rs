//! Which stages a layer passes through, decided by media type alone (containerd's `GetProcessor` loop).
//!
//! Handlers are asked newest first, so a plugin overrides what is built in. The loop goes on with what a handler says
//! it puts out until that is the plain tar type. Handlers that take and return the plain tar type are *inspectors*:
//! containerd has none, for its loop ends where they would begin. All of them run, in order of registration, on the
//! plain tar that the chain ends with; the diffID is taken after them, so an inspector that alters a byte is caught.

use std::sync::Arc;

use transom_oci::media_type::LAYER_TAR;

use crate::limits::STAGES_MAX;
use crate::native::Decompress;
use crate::stage::{Handler, HandlerKind};

/// The handlers that layers may pass through.
#[derive(Clone)]
pub struct Chain {
    handlers: Vec<Arc<dyn Handler>>,
}

/// One stage that a layer will pass through.
#[derive(Clone)]
pub struct Step {
    /// What opens the stage.
    pub handler: Arc<dyn Handler>,
    /// The media type that goes in.
    pub input: String,
    /// The media type that comes out.
    pub output: String,
}

/// Why a media type has no way to the plain tar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No handler takes it.
    #[error(
        "no processor for media type {media_type}{}; load a processor plugin (--plugin) or name an external processor (--processor) that accepts it",
        after(.original, .media_type)
    )]
    NoProcessor {
        /// What nobody takes.
        media_type: String,
        /// The layer's own media type.
        original: String,
    },
    /// The handlers lead in a circle, or further than [`STAGES_MAX`].
    #[error("the processors for media type {original} do not lead to a plain tar: {}", .path.join(" > "))]
    NoEnd {
        /// The layer's own media type.
        original: String,
        /// The media types on the way.
        path: Vec<String>,
    },
}

fn after(original: &str, media_type: &str) -> String {
    if original == media_type {
        String::new()
    } else {
        format!(" (from {original})")
    }
}

impl Chain {
    /// A chain with the built-in decompression, the last that is asked.
    pub fn new() -> Chain {
        Chain {
            handlers: vec![Arc::new(Decompress)],
        }
    }

    /// Registers a handler; it is asked before those registered earlier.
    pub fn register(&mut self, handler: Arc<dyn Handler>) {
        self.handlers.push(handler);
    }

    /// The handlers, in order of registration.
    pub fn handlers(&self) -> &[Arc<dyn Handler>] {
        &self.handlers
    }

    /// The stages for a media type: those that lead to the plain tar, then the inspectors.
    pub fn plan(&self, media_type: &str) -> Result<Vec<Step>, PlanError> {
        let mut steps = self.plan_to_tar(media_type)?;
        let inspectors = self
            .handlers
            .iter()
            .filter(|handler| is_inspector(handler.as_ref()));
        steps.extend(inspectors.map(|handler| Step {
            handler: Arc::clone(handler),
            input: LAYER_TAR.into(),
            output: LAYER_TAR.into(),
        }));
        Ok(steps)
    }

    fn plan_to_tar(&self, original: &str) -> Result<Vec<Step>, PlanError> {
        let mut steps: Vec<Step> = Vec::new();
        let mut current = original.to_owned();
        // As in containerd the question is asked at least once, so a handler may take even the plain tar elsewhere.
        loop {
            let step = self.step(&current).ok_or_else(|| PlanError::NoProcessor {
                media_type: current.clone(),
                original: original.to_owned(),
            })?;
            current.clone_from(&step.output);
            let came_round = steps.iter().any(|before| before.input == current) || step.input == current;
            steps.push(step);
            if current == LAYER_TAR {
                return Ok(steps);
            }
            if came_round || steps.len() == STAGES_MAX {
                let path = steps
                    .iter()
                    .map(|step| step.input.clone())
                    .chain([current])
                    .collect();
                return Err(PlanError::NoEnd {
                    original: original.to_owned(),
                    path,
                });
            }
        }
    }

    fn step(&self, media_type: &str) -> Option<Step> {
        let mut newest_first = self.handlers.iter().rev();
        newest_first.find_map(|handler| {
            if media_type == LAYER_TAR && is_inspector(handler.as_ref()) {
                return None;
            }
            let output = handler.offer(media_type)?;
            Some(Step {
                handler: Arc::clone(handler),
                input: media_type.to_owned(),
                output,
            })
        })
    }
}

/// Built-in handlers take the plain tar to itself too, but only to pass it through.
fn is_inspector(handler: &dyn Handler) -> bool {
    handler.kind() != HandlerKind::Native && handler.offer(LAYER_TAR).as_deref() == Some(LAYER_TAR)
}

impl Default for Chain {
    fn default() -> Self {
        Chain::new()
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.handlers.iter().map(|handler| handler.name()))
            .finish()
    }
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} > {}", self.handler.name(), self.input, self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::{Job, Stage, StageError};

    struct Fake(&'static str, &'static str, &'static str);

    impl Handler for Fake {
        fn name(&self) -> &str {
            self.0
        }
        fn kind(&self) -> HandlerKind {
            HandlerKind::Exec
        }
        fn offer(&self, media_type: &str) -> Option<String> {
            (media_type == self.1).then(|| self.2.to_owned())
        }
        fn open(&self, _: &Job) -> Result<Box<dyn Stage>, StageError> {
            Err(StageError::Cancelled)
        }
    }

    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    fn names(chain: &Chain, media_type: &str) -> Vec<String> {
        let steps = chain.plan(media_type).unwrap();
        steps.iter().map(|step| step.handler.name().to_owned()).collect()
    }

    #[test]
    fn the_newest_handler_is_asked_first_and_inspectors_follow_in_order() {
        let mut chain = Chain::new();
        assert_eq!(names(&chain, GZIP), ["decompress"]);
        chain.register(Arc::new(Fake("old", GZIP, LAYER_TAR)));
        chain.register(Arc::new(Fake("scan", LAYER_TAR, LAYER_TAR)));
        chain.register(Arc::new(Fake("new", GZIP, LAYER_TAR)));
        chain.register(Arc::new(Fake("count", LAYER_TAR, LAYER_TAR)));
        chain.register(Arc::new(Fake("decrypt", "x/secret", GZIP)));
        assert_eq!(names(&chain, "x/secret"), ["decrypt", "new", "scan", "count"]);
        assert_eq!(names(&chain, LAYER_TAR), ["decompress", "scan", "count"]);
    }

    #[test]
    fn a_circle_and_a_dead_end_are_told_apart() {
        let mut chain = Chain::new();
        chain.register(Arc::new(Fake("a", "x/a", "x/b")));
        let error = chain.plan("x/a").unwrap_err();
        assert_eq!(
            error,
            PlanError::NoProcessor {
                media_type: "x/b".into(),
                original: "x/a".into()
            }
        );
        assert!(error.to_string().contains("--plugin") && error.to_string().contains("from x/a"));
        chain.register(Arc::new(Fake("b", "x/b", "x/a")));
        let error = chain.plan("x/a").unwrap_err();
        assert!(error.to_string().ends_with("x/a > x/b > x/a"), "{error}");
    }
}
