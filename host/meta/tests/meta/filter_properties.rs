//! Filters at random: reading never panics, and what matches is what a naive evaluation says.

use proptest::prelude::*;
use transom_meta::filter::{Fields, Filters, Plugins};

use super::filter::Thing;
use super::filter_plugins::Source;

/// A selector before it is written down.
#[derive(Clone, Debug)]
struct Said {
    path: Vec<String>,
    operator: &'static str,
    value: String,
}

impl Said {
    fn text(&self) -> String {
        let quote = |text: &str| format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""));
        let is_plain =
            |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let path = self
            .path
            .iter()
            .map(|part| if is_plain(part) { part.clone() } else { quote(part) });
        let path = path.collect::<Vec<_>>().join(".");
        match self.operator {
            "" => path,
            operator => format!("{path}{operator}{}", quote(&self.value)),
        }
    }

    /// What it means, without any of the code that is tested.
    fn holds(&self, thing: &Thing) -> bool {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let value = match path.as_slice() {
            ["wasm", _] => return thing.name.contains(&self.value) == (self.operator == "=="),
            path => thing.field(path).map(std::borrow::Cow::into_owned),
        };
        match self.operator {
            "==" => value.as_ref() == Some(&self.value),
            "!=" => value.as_ref() != Some(&self.value),
            // The values have no character with a meaning in an expression.
            "~=" => value.unwrap_or_default().contains(&self.value),
            _ => value.is_some(),
        }
    }
}

fn value() -> impl Strategy<Value = String> {
    "[ab,/é ]{0,3}"
}

fn said() -> impl Strategy<Value = Said> {
    let native = (
        prop_oneof![
            Just(vec!["name".to_owned()]),
            Just(vec!["nope".to_owned()]),
            prop::collection::vec("[ab/]{1,2}", 1..3)
                .prop_map(|key| [vec!["labels".to_owned()], key].concat()),
        ],
        prop_oneof![Just("=="), Just("!="), Just("~="), Just("")],
        value(),
    );
    let plugin = (prop_oneof![Just("=="), Just("!=")], value());
    prop_oneof![
        4 => native.prop_map(|(path, operator, value)| Said { path, operator, value }),
        1 => plugin.prop_map(|(operator, value)| Said {
            path: vec!["wasm".to_owned(), "part".to_owned()],
            operator,
            value,
        }),
    ]
}

fn thing() -> impl Strategy<Value = Thing> {
    let labels = prop::collection::btree_map("[ab/]{1,2}(\\.[ab/]{1,2})?", value(), 0..4);
    (value(), labels).prop_map(|(name, labels)| Thing { name, labels })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_matches_is_what_a_naive_evaluation_says(
        filters in prop::collection::vec(prop::collection::vec(said(), 1..4), 1..4),
        things in prop::collection::vec(thing(), 0..12),
    ) {
        let texts: Vec<String> = filters
            .iter()
            .map(|all| all.iter().map(Said::text).collect::<Vec<_>>().join(","))
            .collect();
        let naive = |thing: &&Thing| filters.iter().any(|all| all.iter().all(|said| said.holds(thing)));
        let expected: Vec<Thing> = things.iter().filter(naive).cloned().collect();
        let compiled = Filters::compile(&texts, &Source::default().plugins()).expect("it is well formed");
        for thing in &things {
            prop_assert_eq!(compiled.matches(thing).expect("the plugin answers"), expected.contains(thing));
        }
        let mut kept = things;
        compiled.retain(&mut kept).expect("the plugin answers");
        prop_assert_eq!(kept, expected);
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        let _ = Filters::compile(&[text], &Plugins::default());
    }

    #[test]
    fn any_text_of_the_language_is_read_or_refused(
        text in "([ab.,=!~\"/| \\\\x0u1\\[\\](){}^*+?$-]|~=|==|\\\\Q|\\\\E|\\[:|:\\]|\\(\\?|é|\u{fffd}|\0){0,24}",
    ) {
        let source = Source::default();
        for text in [text.clone(), format!("name~={text}"), format!("name~=|{text}|"), format!("wasm.part=={text}")] {
            let compiled = Filters::compile(&[text], &source.plugins());
            if let Ok(filters) = compiled {
                filters.matches(&Thing::named("ab")).expect("the plugin answers");
            }
        }
    }
}
