//! Patterns for paths: `?` is one byte and `*` any number of them, both without `/`; `**` is anything.

/// A pattern.
#[derive(Debug)]
pub(crate) struct Glob(Vec<Token>);

#[derive(Debug)]
enum Token {
    Byte(u8),
    One,
    Some,
    Any,
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        let pattern = pattern.strip_prefix('/').unwrap_or(pattern).as_bytes();
        let mut tokens = Vec::new();
        let mut at = 0;
        while at < pattern.len() {
            let token = match pattern[at] {
                b'*' if pattern.get(at + 1) == Some(&b'*') => {
                    at += 1;
                    Token::Any
                }
                b'*' => Token::Some,
                b'?' => Token::One,
                byte => Token::Byte(byte),
            };
            tokens.push(token);
            at += 1;
        }
        Self(tokens)
    }

    /// Whether the whole path fits. Takes pattern times path steps at most.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        // reached[i]: the path so far fits the first i tokens.
        let mut reached = vec![false; self.0.len() + 1];
        reached[0] = true;
        self.skip_stars(&mut reached);
        for byte in path {
            let mut next = vec![false; reached.len()];
            for (at, token) in self.0.iter().enumerate().filter(|(at, _)| reached[*at]) {
                match token {
                    Token::Byte(wanted) if wanted == byte => next[at + 1] = true,
                    Token::One if *byte != b'/' => next[at + 1] = true,
                    Token::Some if *byte != b'/' => next[at] = true,
                    Token::Any => next[at] = true,
                    _ => {}
                }
            }
            self.skip_stars(&mut next);
            reached = next;
        }
        reached[self.0.len()]
    }

    /// Stars fit nothing, too.
    fn skip_stars(&self, reached: &mut [bool]) {
        for (at, token) in self.0.iter().enumerate() {
            if reached[at] && matches!(token, Token::Some | Token::Any) {
                reached[at + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_described() {
        let fits = |pattern: &str, path: &str| Glob::new(pattern).matches(path.as_bytes());
        assert!(fits("etc/ssl/*.pem", "etc/ssl/a.pem"));
        assert!(!fits("etc/ssl/*.pem", "etc/ssl/private/a.pem"));
        assert!(fits("/usr/share/doc/**", "usr/share/doc/a/b/c"));
        assert!(fits("**/testdata/**", "go/src/testdata/key"));
        assert!(fits("a?c", "abc") && !fits("a?c", "a/c") && !fits("a?c", "ac"));
        assert!(fits("**", "") && !fits("", "x"));
    }
}
