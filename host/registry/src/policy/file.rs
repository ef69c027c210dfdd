//! The policy's file.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::pattern::Pattern;
use super::who::{Groups, Names, Subject};
use super::{Policy, Right, Rule, limits};
use crate::settings::{self, Mistake, nearest};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    groups: BTreeMap<String, Vec<Spanned<String>>>,
    #[serde(default)]
    rules: Vec<Spanned<Raw>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    repositories: Option<Vec<Spanned<String>>>,
    who: Vec<Spanned<String>>,
    allow: Vec<Spanned<String>>,
}

/// Mistakes as they are found, and where the lines are.
struct Faults {
    /// Where each line but the first begins.
    lines: Vec<usize>,
    found: Vec<Mistake>,
}

pub(super) fn parse(text: &str) -> Result<Policy, Vec<Mistake>> {
    let file: File = settings::parse(text).map_err(|mistake| vec![mistake])?;
    let mut faults = Faults {
        lines: text.match_indices('\n').map(|(at, _)| at + 1).collect(),
        found: Vec::new(),
    };
    if file.rules.len() > limits::RULES {
        faults.add(0, format!("there are more than {} rules", limits::RULES));
        return Err(faults.found);
    }
    let groups = groups(&file.groups, &mut faults);
    let rules = file
        .rules
        .iter()
        .map(|raw| rule(raw, &groups, &mut faults))
        .collect();
    if faults.found.is_empty() {
        return Ok(Policy { rules });
    }
    faults.found.sort_by_key(|mistake| mistake.line);
    Err(faults.found)
}

fn groups(raw: &BTreeMap<String, Vec<Spanned<String>>>, faults: &mut Faults) -> Groups {
    let mut groups = Groups::new();
    for (name, members) in raw {
        let mut names = Names::default();
        for member in members {
            faults.of(member, names.add(member.get_ref()));
        }
        groups.insert(name.clone(), Arc::new(names));
    }
    groups
}

fn rule(raw: &Spanned<Raw>, groups: &Groups, faults: &mut Faults) -> Rule {
    let Raw {
        repositories,
        who,
        allow,
    } = raw.get_ref();
    let patterns = repositories.as_deref().unwrap_or_default();
    let rule = Rule {
        line: faults.line(raw.span().start),
        repositories: faults.all(patterns, Pattern::parse),
        who: faults.all(who, |text| Subject::parse(text, groups)),
        allow: faults.all(allow, |text| right(text, repositories.is_some())),
    };
    if who.is_empty() {
        faults.add(raw.span().start, "a rule about nobody: who is empty".to_owned());
    }
    if repositories.as_ref().is_some_and(Vec::is_empty) {
        faults.add(
            raw.span().start,
            "a rule about nothing: repositories is empty".to_owned(),
        );
    }
    rule
}

fn right(text: &str, repositories: bool) -> Result<Right, String> {
    let right = Right::of(text).ok_or_else(|| {
        let known = nearest(text, Right::ALL.map(|(name, _)| name));
        format!("{text:?} is nothing that can be allowed; {known}")
    })?;
    match (right.whole(), repositories) {
        (true, true) => Err(format!(
            "{text:?} is not done to a repository: write a rule without repositories for it"
        )),
        (false, false) => Err(format!(
            "{text:?} is done to a repository: say to which by repositories = [\"**\"]"
        )),
        _ => Ok(right),
    }
}

impl Faults {
    fn add(&mut self, at: usize, message: String) {
        let line = self.line(at);
        self.found.push(Mistake { line, message });
    }

    /// The line of a byte, from 1.
    fn line(&self, at: usize) -> usize {
        1 + self.lines.partition_point(|&begin| begin <= at)
    }

    fn of<T>(&mut self, place: &Spanned<String>, read: Result<T, String>) -> Option<T> {
        read.map_err(|message| self.add(place.span().start, message)).ok()
    }

    fn all<T>(&mut self, texts: &[Spanned<String>], read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut all = Vec::new();
        for text in texts {
            all.extend(self.of(text, read(text.get_ref())));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::{Policy, QuestionError, ask};

    const POLICY: &str = r#"
[groups]
team-a = ["alice", "user:bob", "certificate:ci-*"]

[[rules]]                                   # line 5
repositories = ["team-a/secret/**"]
who = ["user:alice"]
allow = ["pull"]

[[rules]]                                   # line 10
repositories = ["team-a/secret/**"]
who = ["everyone"]
allow = []

[[rules]]                                   # line 15
repositories = ["team-a/**", "users/{user}/**"]
who = ["group:team-a", "user:*-admin"]
allow = ["pull", "push", "delete"]

[[rules]]                                   # line 20
repositories = ["public/**"]
who = ["everyone"]
allow = ["pull"]

[[rules]]                                   # line 25
who = ["authenticated"]
allow = ["catalog"]
"#;

    #[test]
    fn the_first_rule_that_is_about_it_decides() {
        let says = |who: &str, action: &str, name: &str| {
            let name = Some(name).filter(|name| !name.is_empty());
            let verdict = ask(POLICY, who, action, name).unwrap();
            (verdict.allowed, verdict.line)
        };
        assert_eq!(says("alice", "pull", "team-a/secret/x"), (true, Some(5)));
        assert_eq!(says("alice", "push", "team-a/secret/x"), (false, Some(5)));
        assert_eq!(says("bob", "pull", "team-a/secret/x"), (false, Some(10)));
        assert_eq!(says("bob", "delete", "team-a/x"), (true, Some(15)));
        assert_eq!(says("certificate:ci-1", "push", "team-a/x"), (true, Some(15)));
        assert_eq!(says("ci-1", "push", "team-a/x"), (false, None));
        assert_eq!(says("x-admin", "push", "team-a/x"), (true, Some(15)));
        assert_eq!(says("certificate:x-admin", "push", "team-a/x"), (false, None));
        assert_eq!(says("bob", "push", "users/bob/x"), (true, Some(15)));
        assert_eq!(says("user:bob", "push", "users/bob/x"), (true, Some(15)));
        assert_eq!(says("bob", "push", "users/alice/x"), (false, None));
        assert_eq!(says("anonymous", "pull", "public/x"), (true, Some(20)));
        assert_eq!(says("", "push", "public/x"), (false, Some(20)));
        assert_eq!(says("anonymous", "catalog", ""), (false, None));
        assert_eq!(says("eve", "catalog", ""), (true, Some(25)));
        assert_eq!(says("eve", "admin", ""), (false, Some(25)));
        let shown = ask(POLICY, "eve", "push", Some("public/x")).unwrap().to_string();
        assert_eq!(
            shown,
            "refused: the first rule about this, in line 20, does not allow it"
        );
    }

    #[test]
    fn wrong_questions_are_said_to_be_wrong() {
        let wrong =
            |action: &str, name: Option<&str>| ask(POLICY, "a", action, name).unwrap_err().to_string();
        assert_eq!(
            wrong("pul", Some("a")),
            "\"pul\" is nothing that can be allowed; did you mean `pull`?"
        );
        assert_eq!(wrong("pull", None), "pull is done to a repository: name one");
        assert_eq!(wrong("admin", Some("a")), "admin is not done to a repository");
        assert!(wrong("pull", Some("A")).contains("not the name of a repository"));
        assert!(matches!(
            ask("x = 1", "a", "pull", None),
            Err(QuestionError::Mistakes(_))
        ));
    }

    #[test]
    fn all_mistakes_are_named_with_their_lines() {
        let text = r#"
[groups]
a = ["group:b", "x"]
[[rules]]
repositories = ["A/**",
    "b"]
who = ["group:aa", "bob"]
allow = ["pul", "catalog"]
[[rules]]
who = []
allow = ["pull"]
"#;
        let mistakes = Policy::parse(text).unwrap_err();
        let lines: Vec<usize> = mistakes.iter().map(|mistake| mistake.line).collect();
        assert_eq!(lines, [3, 5, 7, 7, 8, 8, 9, 11], "{mistakes:#?}");
        assert_eq!(
            mistakes[2].message,
            "there is no group \"aa\" in [groups]; did you mean `a`?"
        );
        let message = |text: &str| Policy::parse(text).unwrap_err()[0].to_string();
        assert_eq!(
            message("[[rules]]\nrepository = [\"a\"]\nwho = []\nallow = []"),
            "line 2: unknown key `repository`; did you mean `repositories`?"
        );
        assert!(message("[[rules]]\nwho = [\"everyone\"]\n").contains("missing field `allow`"));
        assert!(
            message(&"[[rules]]\nwho=[\"everyone\"]\nallow=[]\n".repeat(2001)).contains("more than 2000")
        );
        assert!(Policy::parse("").unwrap().rules.is_empty());
    }
}
