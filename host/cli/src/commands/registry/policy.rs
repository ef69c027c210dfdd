//! `transom registry policy`.

use std::fs;

use serde_json::json;
use transom_registry::policy::{Policy, QuestionError, ask};

use crate::arguments::PolicyCheck;
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};

pub(super) fn check(command: &PolicyCheck, json: bool) -> Result<(), Failure> {
    let file = command.policy.display();
    let text =
        fs::read_to_string(&command.policy).map_err(|error| Failure::io(command.policy.display(), &error))?;
    let wrong = |error: QuestionError| match error {
        QuestionError::Mistakes(mistakes) => {
            let lines: Vec<String> = mistakes
                .iter()
                .map(|mistake| format!("{file}: {mistake}"))
                .collect();
            Failure::usage(lines.join("\n"))
        }
        other => Failure::usage(other.to_string()),
    };
    let Some(action) = &command.action else {
        Policy::parse(&text).map_err(|mistakes| wrong(QuestionError::Mistakes(mistakes)))?;
        return match json {
            true => print_json(&json!({ "policy": file.to_string(), "good": true })),
            false => print(&format!("{file}: good\n")),
        };
    };
    let verdict = ask(&text, &command.who, action, command.repository.as_deref()).map_err(wrong)?;
    match verdict.allowed {
        true if json => print_json(&json!({ "allowed": true, "line": verdict.line })),
        true => print(&format!("{verdict}\n")),
        false => Err(Failure::new(Kind::Refused, verdict.to_string())),
    }
}
