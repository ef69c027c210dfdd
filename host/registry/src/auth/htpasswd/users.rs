//! An htpasswd file.

use std::collections::HashMap;

use bcrypt::HashParts;

use crate::auth::limits;
use crate::settings::Mistake;

/// A salt, and a hash that was not made from a password.
const NOBODYS: &str = "CCCCCCCCCCCCCCCCCCCCC.NobodyHasThisPasswordOfTransom.";

/// The cost of a file without users: bcrypt's usual one in registries.
const USUAL_COST: u32 = 10;

/// The users of a file.
#[derive(Debug)]
pub(super) struct Users {
    hashes: HashMap<String, String>,
    nobody: String,
}

impl Users {
    /// Reads `NAME:HASH` lines; `#` begins a comment. Of several lines for one name the last one holds, as in docker-registry.
    /// What is not bcrypt is left out with a warning: that user cannot log in, the others can.
    pub(super) fn parse(text: &str) -> Result<Users, Vec<Mistake>> {
        let mut hashes = HashMap::new();
        let mut mistakes = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once(':') {
                Some((name, hash)) if !name.is_empty() && name.len() <= limits::NAME_BYTES => {
                    hashes.insert(name, (index + 1, hash.trim()));
                }
                _ => mistakes.push(Mistake {
                    line: index + 1,
                    message: "write NAME:HASH, as `htpasswd -B` does".to_owned(),
                }),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        hashes.retain(|name, (line, hash)| usable(name, *line, hash));
        let nobody = format!(
            "$2b${:02}${NOBODYS}",
            usual_cost(hashes.values().map(|(_, hash)| *hash))
        );
        let owned = |(name, (_, hash)): (&str, (usize, &str))| (name.to_owned(), hash.to_owned());
        Ok(Users {
            hashes: hashes.into_iter().map(owned).collect(),
            nobody,
        })
    }

    /// The hash of a user's password.
    pub(super) fn hash(&self, name: &str) -> Option<&str> {
        self.hashes.get(name).map(String::as_str)
    }

    /// A hash that costs as much as most of the file's.
    pub(super) fn nobody(&self) -> &str {
        &self.nobody
    }
}

fn usable(name: &str, line: usize, hash: &str) -> bool {
    let problem = match cost(hash) {
        Some(cost) if cost <= limits::BCRYPT_COST => return true,
        Some(_) => "its bcrypt cost is too high",
        None => "it is not a bcrypt hash; make one with `htpasswd -B`",
    };
    tracing::warn!(name, line, problem, "a user of the htpasswd file cannot log in");
    false
}

fn cost(hash: &str) -> Option<u32> {
    let parts: HashParts = hash.parse().ok()?;
    Some(parts.get_cost())
}

/// The cost that most hashes have; the higher one of two that are as frequent.
fn usual_cost<'a>(hashes: impl Iterator<Item = &'a str>) -> u32 {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for cost in hashes.filter_map(cost) {
        *counts.entry(cost).or_default() += 1;
    }
    let usual = counts.into_iter().max_by_key(|&(cost, count)| (count, cost));
    usual.map_or(USUAL_COST, |(cost, _)| cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    #[test]
    fn a_file_is_read_as_docker_registry_reads_it() {
        let text = format!("# users\n\n a:{HASH} \r\nb:x\nb:{HASH}\nold:$apr1$x$y\nslow:$2y$31${NOBODYS}\n");
        let users = Users::parse(&text).unwrap();
        assert_eq!(users.hash("a"), Some(HASH));
        assert_eq!(users.hash("b"), Some(HASH));
        assert_eq!(users.hash("old"), None);
        assert_eq!(users.hash("slow"), None);
        assert_eq!(users.hash("# users"), None);
        let mistakes = Users::parse("a:x\nnonsense\n:x\n").unwrap_err();
        assert_eq!(
            mistakes.iter().map(|mistake| mistake.line).collect::<Vec<_>>(),
            [2, 3]
        );
        assert!(Users::parse("").unwrap().hash("").is_none());
    }

    #[test]
    fn nobody_costs_what_most_users_cost() {
        assert_eq!(cost(Users::parse("").unwrap().nobody()), Some(10));
        let text = format!("a:{HASH}\nb:$2y$05${NOBODYS}\nc:{HASH}\n");
        let users = Users::parse(&text).unwrap();
        assert_eq!(cost(users.nobody()), Some(4));
        assert!(!bcrypt::verify("", users.nobody()).unwrap());
    }
}
