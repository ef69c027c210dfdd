//! Terms that a plugin answers: what the plugin is asked, and what becomes of it when it cannot answer.

use std::sync::{Arc, Mutex};

use transom_meta::filter::{
    Compiled, Facts, FilterError, FilterPlugin, FilterSource, Filters, PluginFailure, Plugins,
};
use transom_meta::{Class, limits};

use super::filter::Thing;

/// Plugins for tests: `part` matches names with a text in them, the others fail in their own way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// The sizes of the batches that were asked.
    asked: Arc<Mutex<Vec<usize>>>,
}

impl Source {
    pub(crate) fn plugins(&self) -> Plugins {
        Plugins::new(Arc::new(self.clone()))
    }

    fn asked(&self) -> Vec<usize> {
        std::mem::take(&mut self.asked.lock().expect("no test panics here"))
    }
}

impl FilterSource for Source {
    fn find(&self, name: &str) -> Option<Arc<dyn FilterPlugin>> {
        let (name, source) = (name.to_owned(), self.clone());
        self.names()
            .contains(&name)
            .then(|| Arc::new(Plugin { name, source }) as Arc<dyn FilterPlugin>)
    }

    fn names(&self) -> Vec<String> {
        ["crash", "part", "short"].map(str::to_owned).into()
    }
}

struct Plugin {
    name: String,
    source: Source,
}

impl FilterPlugin for Plugin {
    fn compile(&self, expression: &str) -> Result<Box<dyn Compiled>, FilterError> {
        if expression == "?" {
            return Err(FilterError::Expression {
                plugin: self.name.clone(),
                expression: expression.to_owned(),
                reason: "a question is no part of a name".to_owned(),
            });
        }
        Ok(Box::new(Part {
            name: self.name.clone(),
            part: expression.to_owned(),
            source: self.source.clone(),
        }))
    }
}

struct Part {
    name: String,
    part: String,
    source: Source,
}

impl Compiled for Part {
    fn matches(&self, batch: &[Facts<'_>]) -> Result<Vec<bool>, FilterError> {
        self.source
            .asked
            .lock()
            .expect("no test panics here")
            .push(batch.len());
        if self.name == "crash" {
            return Err(FilterError::Plugin {
                plugin: self.name.clone(),
                failure: PluginFailure::Crash,
                reason: "the sky fell".to_owned(),
            });
        }
        let named = |facts: &Facts<'_>| facts.name.as_ref().is_some_and(|name| name.contains(&self.part));
        let mut answers: Vec<bool> = batch.iter().map(named).collect();
        if self.name == "short" {
            answers.pop();
        }
        Ok(answers)
    }
}

fn compile(source: &Source, texts: &[&str]) -> Result<Filters, FilterError> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    Filters::compile(&texts, &source.plugins())
}

fn names(source: &Source, texts: &[&str]) -> String {
    let filters = compile(source, texts).expect("the filters are well formed");
    assert!(filters.has_plugins());
    let mut things: Vec<Thing> = ["a1", "a2", "b1", "b2"].map(Thing::named).into();
    filters.retain(&mut things).expect("the plugin answers");
    things
        .into_iter()
        .map(|thing| thing.name)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_plugin_answers_together_with_native_terms() {
    let source = Source::default();
    assert_eq!(names(&source, &["wasm.part==1"]), "a1 b1");
    assert_eq!(names(&source, &["wasm.part!=1"]), "a2 b2");
    assert_eq!(names(&source, &["wasm.\"part\" == \"1\""]), "a1 b1");
    assert_eq!(names(&source, &["wasm.part==1,name~=a"]), "a1");
    assert_eq!(names(&source, &["wasm.part==1,wasm.part!=b"]), "a1");
    assert_eq!(names(&source, &["wasm.part==1", "name==b2"]), "a1 b1 b2");
    assert_eq!(names(&source, &["wasm.part==b1", "wasm.part==a2"]), "a2 b1");
}

#[test]
fn it_is_asked_only_about_what_is_still_open() {
    let source = Source::default();
    names(&source, &["wasm.part==1,name~=a"]);
    assert_eq!(source.asked(), [2]);
    names(&source, &["wasm.part==1", "name~=a"]);
    assert_eq!(source.asked(), [2]);
    names(&source, &["wasm.part==1,wasm.part==a"]);
    assert_eq!(source.asked(), [4, 2]);
    names(&source, &["wasm.part==1,name==c"]);
    assert_eq!(source.asked(), [0; 0]);
}

#[test]
fn it_is_asked_in_batches() {
    let source = Source::default();
    let filters = compile(&source, &["wasm.part==7"]).expect("a filter");
    let count = limits::FILTER_BATCH + 10;
    let mut things: Vec<Thing> = (0..count).map(|n| Thing::named(&n.to_string())).collect();
    filters.retain(&mut things).expect("the plugin answers");
    assert_eq!(source.asked(), [limits::FILTER_BATCH, 10]);
    let expected: Vec<String> = (0..count)
        .map(|n| n.to_string())
        .filter(|name| name.contains('7'))
        .collect();
    assert_eq!(
        things.into_iter().map(|thing| thing.name).collect::<Vec<_>>(),
        expected
    );
    assert!(filters.matches(&Thing::named("17")).expect("the plugin answers"));
}

#[test]
fn a_plugin_that_is_not_there_is_named_with_the_nearest() {
    let source = Source::default();
    let said = |text: &str| {
        let error = compile(&source, &[text]).map(drop).expect_err(text);
        assert_eq!(error.class(), Class::InvalidArgument);
        error.to_string()
    };
    assert_eq!(
        said("wasm.prt==1"),
        "filters: the filter plugin \"prt\" is not known, did you mean part? There are: crash, part, short"
    );
    assert_eq!(
        said("wasm.other.thing==1"),
        "filters: the filter plugin \"other.thing\" is not known; there are: crash, part, short"
    );
    let none = Filters::compile(&["wasm.part==1".to_owned()], &Plugins::default()).map(drop);
    let none = none.expect_err("there are no plugins").to_string();
    assert_eq!(
        none,
        "filters: the filter plugin \"part\" is not known; this daemon has none"
    );
}

#[test]
fn an_expression_that_it_does_not_take_is_refused_in_its_words() {
    let error = compile(&Source::default(), &["name==a,wasm.part==\"?\""]).map(drop);
    let error = error.expect_err("a question");
    assert_eq!(error.class(), Class::InvalidArgument);
    assert_eq!(
        error.to_string(),
        "filters: the filter plugin part does not take the expression \"?\": a question is no part of a name"
    );
}

#[test]
fn a_failure_is_an_error_and_leaves_the_list_alone() {
    for (name, expected) in [
        ("crash", "filters: the filter plugin crash failed: the sky fell"),
        (
            "short",
            "filters: the filter plugin short failed: it answered for 1 of 2 records",
        ),
    ] {
        let source = Source::default();
        let filters = compile(&source, &[&format!("wasm.{name}==a")]).expect("a filter");
        let mut things: Vec<Thing> = ["a1", "b1"].map(Thing::named).into();
        let error = filters.retain(&mut things).expect_err(name);
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.class(), Class::Unknown);
        assert_eq!(things.len(), 2);
    }
}

#[test]
fn a_plugin_takes_an_expression_and_two_operators() {
    let said = |text: &str| {
        let error = compile(&Source::default(), &[text]).map(drop).expect_err(text);
        error.to_string()
    };
    assert_eq!(
        said("name==a,wasm.part~=a"),
        "filters: parse error: [name==a,wasm.part >|~|< =a]: a filter plugin takes == or !=, not ~="
    );
    assert_eq!(
        said("name==a,wasm.part"),
        "filters: parse error: [name==a, >|w|< asm.part]: a filter plugin needs an expression: wasm.<plugin>==<expression>"
    );
    assert_eq!(
        said("wasm==1"),
        "filters: parse error: [ >|w|< asm==1]: the name of a filter plugin is missing: wasm.<plugin>==<expression>"
    );
    assert_eq!(
        said("wasm.part=1"),
        "filters: parse error: [wasm.part >|=|< 1]: unsupported operator \"=\""
    );
}
