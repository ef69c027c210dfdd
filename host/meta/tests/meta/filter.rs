//! The filter language: what is read, what is refused in which words, what matches. The expected texts are what containerd
//! 1.6.20 answers.

use std::borrow::Cow;
use std::time::SystemTime;

use transom_meta::filter::{Facts, Fields, FilterError, Filters, Plugins, label};
use transom_meta::{Class, Labels, limits};

/// Something that can be listed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Thing {
    pub(crate) name: String,
    pub(crate) labels: Labels,
}

impl Thing {
    pub(crate) fn named(name: &str) -> Thing {
        Thing {
            name: name.to_owned(),
            ..Thing::default()
        }
    }

    pub(crate) fn labelled(labels: &[(&str, &str)]) -> Thing {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Thing {
            name: "thing".to_owned(),
            labels: labels.collect(),
        }
    }
}

impl Fields for Thing {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name", ..] => Some(Cow::Borrowed(&self.name)),
            ["labels", rest @ ..] => label(&self.labels, rest),
            _ => None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "thing",
            name: Some(Cow::Borrowed(&self.name)),
            created: Some(SystemTime::UNIX_EPOCH),
            labels: Some(&self.labels),
            ..Facts::default()
        }
    }
}

pub(crate) fn compile(text: &str) -> Result<Filters, FilterError> {
    Filters::compile(&[text.to_owned()], &Plugins::default())
}

pub(crate) fn matches(text: &str, thing: &Thing) -> bool {
    let filters = compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    filters.matches(thing).expect("no plugin is asked")
}

/// What is wrong, and where, in containerd's words.
const REFUSED: [(&str, &str); 75] = [
    ("name ", r#"[name ]: expected an operator ("=="|"!="|"~=")"#),
    (
        "name ,labels",
        r#"[name  >|,|< labels]: expected an operator ("=="|"!="|"~=")"#,
    ),
    (
        "name .x",
        r#"[name  >|.|< x]: expected an operator ("=="|"!="|"~=")"#,
    ),
    ("name==a ,labels", "[name==a >| |< ,labels]: unexpected input:  "),
    (
        "name==a , labels",
        "[name==a >| |< , labels]: unexpected input:  ",
    ),
    ("name==a b", "[name==a >| |< b]: unexpected input:  "),
    ("name==a\tb", "[name==a >|\t|< b]: unexpected input: \t"),
    ("name==a\u{1}b", "[name==a >|\u{1}|< b]: unexpected input: \u{1}"),
    (
        "name==a\u{a0}b",
        "[name==a >|\u{a0}|< b]: unexpected input: \u{a0}",
    ),
    (
        "name==a\u{200b}b",
        "[name==a >|\u{200b}|< b]: unexpected input: \u{200b}",
    ),
    (
        "name==a\u{2028}x",
        "[name==a >|\u{2028}|< x]: unexpected input: \u{2028}",
    ),
    (
        "name==a\u{378}x",
        "[name==a >|\u{378}|< x]: unexpected input: \u{378}",
    ),
    ("name==\"a\"b", "[name==\"a\" >|b|< ]: unexpected input: b"),
    ("name==\"a\".b", "[name==\"a\" >|.|< b]: unexpected input: ."),
    ("a==\"x\"  ,b", "[a==\"x\" >| |<  ,b]: unexpected input:  "),
    ("a~=/x/y", "[a~=/x/ >|y|< ]: unexpected input: y"),
    ("name,", "[name,]: expected field or quoted"),
    ("name==a,", "[name==a,]: expected field or quoted"),
    ("name==a,,b", "[name==a, >|,|< b]: expected field or quoted"),
    ("a==\"x\",.b", "[a==\"x\", >|.|< b]: expected field or quoted"),
    ("a,==\"b\"", "[a, >|=|< =\"b\"]: expected field or quoted"),
    ("name.", "[name.]: expected field or quoted"),
    ("labels.", "[labels.]: expected field or quoted"),
    ("?", "[ >|?|< ]: expected field or quoted"),
    (" ", "[ ]: expected field or quoted"),
    (",", "[ >|,|< ]: expected field or quoted"),
    (",,", "[ >|,|< ,]: expected field or quoted"),
    (".a", "[ >|.|< a]: expected field or quoted"),
    ("==a", "[ >|=|< =a]: expected field or quoted"),
    ("é==a", "[ >|é|< ==a]: expected field or quoted"),
    ("日本", "[ >|日|< 本]: expected field or quoted"),
    ("name=a", "[name >|=|< a]: unsupported operator \"=\""),
    ("name=", "[name >|=|< ]: unsupported operator \"=\""),
    ("name===a", "[name >|=|< ==a]: unsupported operator \"===\""),
    ("a!b", "[a >|!|< b]: unsupported operator \"!\""),
    ("name==", "[name==]: expected value or quoted"),
    ("name== ", "[name== ]: expected value or quoted"),
    ("name==.a", "[name== >|.|< a]: expected value or quoted"),
    ("a==,b", "[a== >|,|< b]: expected value or quoted"),
    ("a== =b", "[a==  >|=|< b]: expected value or quoted"),
    ("name~=.*", "[name~= >|.|< *]: expected value or quoted"),
    ("na me", r#"[na  >|m|< e]: expected an operator ("=="|"!="|"~=")"#),
    (
        "a \"b\"",
        r#"[a  >|"|< b"]: expected an operator ("=="|"!="|"~=")"#,
    ),
    (
        "labels.a-b==c",
        r#"[labels.a >|-|< b==c]: expected an operator ("=="|"!="|"~=")"#,
    ),
    (
        "n\u{301}",
        "[n >|\u{301}|< ]: expected an operator (\"==\"|\"!=\"|\"~=\")",
    ),
    (
        "labels.a/b==c",
        "[labels.a >|/|< b==c]: quoted literal not terminated",
    ),
    ("name==/a", "[name== >|/|< a]: quoted literal not terminated"),
    ("a== /", "[a==  >|/|< ]: quoted literal not terminated"),
    ("name~=/a", "[name~= >|/|< a]: quoted literal not terminated"),
    ("name~=|", "[name~= >|||< ]: quoted literal not terminated"),
    ("name==\"a", "[name== >|\"|< a]: quoted literal not terminated"),
    (
        "name==\"a\nb\"",
        "[name== >|\"|< a\nb\"]: quoted literal not terminated",
    ),
    ("a==\"\\\"", "[a== >|\"|< \\\"]: quoted literal not terminated"),
    ("name==/a/", "[name== >|/|< a/]: invalid quote encountered"),
    ("name==|a|", "[name== >|||< a|]: invalid quote encountered"),
    ("/name/==a", "[ >|/|< name/==a]: invalid quote encountered"),
    ("a./b/", "[a. >|/|< b/]: invalid quote encountered"),
    ("name~=/\\d/", "[name~= >|/|< \\d/]: illegal escape sequence"),
    ("name~=\"\\d\"", "[name~= >|\"|< \\d\"]: illegal escape sequence"),
    ("name~=/\\\"/", "[name~= >|/|< \\\"/]: illegal escape sequence"),
    ("name==\"\\/\"", "[name== >|\"|< \\/\"]: illegal escape sequence"),
    ("a==\"\\8\"", "[a== >|\"|< \\8\"]: illegal escape sequence"),
    ("a==\"\\", "[a== >|\"|< \\]: illegal escape sequence"),
    (
        "a==\"\\08\"",
        "[a== >|\"|< \\08\"]: illegal numeric escape sequence",
    ),
    (
        "name==\"\\x4\"",
        "[name== >|\"|< \\x4\"]: illegal numeric escape sequence",
    ),
    (
        "name==\"\\u12\"",
        "[name== >|\"|< \\u12\"]: illegal numeric escape sequence",
    ),
    (
        "a==\"\\U0000004\"",
        "[a== >|\"|< \\U0000004\"]: illegal numeric escape sequence",
    ),
    (
        "a==\"b\\xg1",
        "[a== >|\"|< b\\xg1]: illegal numeric escape sequence",
    ),
    (
        "name==\"\\400\"",
        "[name== >|\"|< \\400\"]: unquoting failed: quote syntax error",
    ),
    (
        "name==\"\\U00110000\"",
        "[name== >|\"|< \\U00110000\"]: unquoting failed: quote syntax error",
    ),
    ("name==\0", "[name== >|\0|< ]: unexpected null"),
    ("name\0", "[name >|\0|< ]: unexpected null"),
    ("name==\"a\0\"", "[name== >|\"|< a\0\"]: unexpected null"),
    ("name==a\0", "[name==a >|\0|< ]: unexpected input: \u{fffd}"),
    ("name==\u{fffd}", "[name== >|\u{fffd}|< ]: rune error"),
];

#[test]
fn what_is_wrong_is_said_in_the_words_that_clients_know() {
    for (text, expected) in REFUSED {
        let error = compile(text).map(drop).expect_err(text);
        assert_eq!(
            error.to_string(),
            format!("filters: parse error: {expected}"),
            "{text:?}"
        );
        assert_eq!(error.class(), Class::InvalidArgument);
    }
}

/// Texts that are read, with the value that the name or the label must have to match.
const READ: [(&str, &str); 41] = [
    (" name==a", "a"),
    ("name ==a", "a"),
    ("name== a", "a"),
    ("name\u{a0}==\u{2028}a", "a"),
    ("\"name\"==a", "a"),
    ("\"na\\x6de\"==a", "a"),
    ("name.ignored==a", "a"),
    ("name. ignored==a", "a"),
    ("name==a, name", "a"),
    ("name==\"a\",name~=a", "a"),
    ("name!=b,name==a", "a"),
    ("name==a.b.c:d-e/f@g", "a.b.c:d-e/f@g"),
    ("name==a=b", "a=b"),
    ("name==a\"b", "a\"b"),
    ("name==a/b|c", "a/b|c"),
    ("name=='a'", "'a'"),
    ("name==_", "_"),
    ("name==;", ";"),
    ("name==$", "$"),
    ("name==`", "`"),
    ("name==\\", "\\"),
    ("name==a\\", "a\\"),
    ("name==é", "é"),
    ("name==😀", "😀"),
    ("name==日本", "日本"),
    ("name==\u{1}", "\u{1}"),
    ("name==\u{200b}", "\u{200b}"),
    ("name==\u{301}", "\u{301}"),
    ("name==\"\"", ""),
    ("name==\"a, b\"", "a, b"),
    ("name==\"\\\"\"", "\""),
    ("name==\"\\101\\x42\\u0043\\U00000044\"", "ABCD"),
    (
        "name==\"\\a\\b\\f\\n\\r\\t\\v\\\\\"",
        "\u{7}\u{8}\u{c}\n\r\t\u{b}\\",
    ),
    ("name==\"\\xc3\\xa9 \\u00e9 é\"", "é é é"),
    ("name==\"\\ud800\"", "\u{fffd}"),
    ("name~=/^a|b$/", "b"),
    ("name~=|a/b|", "xa/bx"),
    ("name~=|^a\\|b|", "a"),
    ("name~=/a\\/b/", "a/b"),
    ("name~=\"^\\\\d$\"", "7"),
    ("name~=^[abc]\\+$", "c+"),
];

#[test]
fn what_is_read_has_the_value_that_it_says() {
    for (text, value) in READ {
        assert!(matches(text, &Thing::named(value)), "{text:?} and {value:?}");
        assert!(!matches(text, &Thing::named("none of these")), "{text:?}");
    }
}

#[test]
fn fields_that_are_missing_differ_and_are_searched_as_empty() {
    let thing = Thing::labelled(&[("a.b", "v"), ("x/y-z", "1"), ("empty", "")]);
    let holds = [
        "name",
        "\"name\"",
        "labels.a.b",
        "labels.\"a.b\"",
        "labels.a.\"b\"==v",
        "labels.\"x/y-z\"==1",
        "labels.empty",
        "labels.empty==\"\"",
        "labels.q!=x",
        "labels!=x",
        "labels.q!=\"\"",
        "labels.q~=\"\"",
        "labels.q~=x*",
        "labels.q~=\"^$\"",
        "nope!=x",
        "nope.deep!=x",
        "labels~=\".*\"",
        "\"\"!=x",
        "1a_!=x",
    ];
    for text in holds {
        assert!(matches(text, &thing), "{text}");
    }
    let fails = [
        "labels",
        "labels.q",
        "labels.a",
        "labels.\"a.b\".c",
        "nope",
        "nope.deep",
        "labels.q==\"\"",
        "labels.a.b!=v",
        "labels.q~=x",
        "name==Thing",
        "\"\"",
        "labels.empty!=\"\"",
    ];
    for text in fails {
        assert!(!matches(text, &thing), "{text}");
    }
}

#[test]
fn selectors_must_all_hold_and_filters_are_alternatives() {
    let names = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let filters = Filters::compile(&texts, &Plugins::default()).expect("they are well formed");
        let mut things: Vec<Thing> = ["a1", "a2", "b1"].map(Thing::named).into();
        filters.retain(&mut things).expect("no plugin is asked");
        things
            .into_iter()
            .map(|thing| thing.name)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(&["name~=a"]), "a1 a2");
    assert_eq!(names(&["name~=a,name~=1"]), "a1");
    assert_eq!(names(&["name==b1", "name==a1"]), "a1 b1");
    assert_eq!(names(&["name~=x", "name==b1"]), "b1");
    assert_eq!(names(&["name~=x"]), "");
    assert_eq!(names(&["name~=x", ""]), "a1 a2 b1");
    assert_eq!(names(&[]), "a1 a2 b1");
}

#[test]
fn without_a_filter_nothing_has_to_be_looked_at() {
    let none = Filters::compile(&[], &Plugins::default()).expect("no filter");
    let empty = compile("").expect("an empty filter");
    assert!(none.is_everything() && empty.is_everything() && Filters::default().is_everything());
    let one = compile("name==a").expect("a filter");
    assert!(!one.is_everything() && !one.has_plugins());
    // A wrong one beside an empty one is still wrong.
    let texts = [String::new(), "?".to_owned()];
    assert!(Filters::compile(&texts, &Plugins::default()).is_err());
}

#[test]
fn an_expression_that_is_not_well_formed_matches_nothing() {
    for text in ["name~=[", "name~=(", "name~=\"a**\"", "name~=\"(?=a)\""] {
        assert!(!matches(text, &Thing::named("")), "{text}");
        assert!(!matches(text, &Thing::named("a")), "{text}");
    }
}

#[test]
fn size_has_limits() {
    let limited = |texts: &[String]| match Filters::compile(texts, &Plugins::default()) {
        Err(error @ FilterError::Limit { .. }) => {
            assert_eq!(error.class(), Class::InvalidArgument);
            true
        }
        other => other.is_err(),
    };
    let longest = limits::FILTER_BYTES - "name==".len();
    assert!(!limited(&[format!("name=={}", "a".repeat(longest))]));
    assert!(limited(&[format!("name=={}", "a".repeat(longest + 1))]));
    assert!(!limited(&vec!["name==a".to_owned(); limits::FILTER_TEXTS]));
    assert!(limited(&vec!["name==a".to_owned(); limits::FILTER_TEXTS + 1]));
    let many = |count: usize, selector: &str| vec![selector; count].join(",");
    assert!(!limited(&[
        many(limits::FILTER_SELECTORS / 2, "a"),
        many(limits::FILTER_SELECTORS / 2, "a")
    ]));
    assert!(limited(&[many(limits::FILTER_SELECTORS, "a"), "a".to_owned()]));
    assert!(!limited(&[many(limits::FILTER_PATTERNS, "a~=b")]));
    assert!(limited(&[many(limits::FILTER_PATTERNS + 1, "a~=b")]));
    let large = compile("name~=((a{100}){100}){100}")
        .map(drop)
        .expect_err("a megabyte is not enough");
    assert!(matches!(large, FilterError::Pattern { .. }), "{large}");
}

#[test]
fn an_error_about_a_long_text_is_short() {
    let text = format!("name=={0} {0}", "é".repeat(10_000));
    let error = compile(&text).map(drop).expect_err("a space").to_string();
    assert!(error.len() < 4 * limits::FILTER_ERROR_BYTES, "{}", error.len());
    assert!(
        error.contains("é >| |< é") && error.contains("[…é") && error.contains("é…]"),
        "{error}"
    );
}
