//! `auth`.

use super::work::Work;
use super::{ImportError, Origin};
use crate::auth::token::Algorithm;

/// What is written where somebody had to be let in in a way that there is not here: nobody is, until there is such a file.
const NEEDED_POLICY: &str = "/etc/transom/policy.toml";

pub(super) fn translate(work: &mut Work) -> Result<(), ImportError> {
    let found = work.keys("auth");
    match found.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(()),
        ["htpasswd"] => {
            for key in ["realm", "path"] {
                let value = work.text(&format!("auth.htpasswd.{key}"));
                work.put_some(&format!("auth.htpasswd.{key}"), value);
            }
            Ok(())
        }
        ["token"] => {
            token(work);
            Ok(())
        }
        [other] => {
            let path = format!("auth.{other}");
            let node = work.take_in("auth", other);
            let origin = node.map_or(Origin::Line(1), |node| node.origin);
            let reason = format!(
                "there is no such way to log in here. So that nobody is let in by mistake, the configuration names a policy, \
                 {NEEDED_POLICY}, which you must write"
            );
            work.note(&path, &origin, reason, true);
            work.put("policy.file", NEEDED_POLICY);
            Ok(())
        }
        _ => Err(ImportError::Several {
            what: "way of authentication",
            found,
        }),
    }
}

fn token(work: &mut Work) {
    let renamed = [
        ("realm", "realm"),
        ("service", "service"),
        ("issuer", "issuer"),
        ("jwks", "jwks"),
        ("rootcertbundle", "certificates"),
    ];
    for (from, to) in renamed {
        let value = work.text(&format!("auth.token.{from}"));
        work.put_some(&format!("auth.token.{to}"), value);
    }
    let redirect = work.switch("auth.token.autoredirect");
    let path = work.text("auth.token.autoredirectpath");
    if redirect == Some(true) {
        work.put(
            "auth.token.redirect",
            path.unwrap_or_else(|| "/auth/token".to_owned()),
        );
    }
    algorithms(work);
}

fn algorithms(work: &mut Work) {
    let key = "auth.token.signingalgorithms";
    let Some(node) = work.take(key) else {
        return;
    };
    let names = node.as_texts().unwrap_or_default();
    let (known, others): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| Algorithm::of(name).is_some());
    for name in others {
        let reason = match name.starts_with("HS") {
            true => format!("{name}: whoever can check such a token can make one, so they are not taken"),
            false => format!("{name} is not known here"),
        };
        work.note(key, &node.origin, reason, true);
    }
    if !known.is_empty() {
        work.put("auth.token.algorithms", known);
    }
}
