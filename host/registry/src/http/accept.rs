//! `Accept`: which types of manifests a client takes.

use http::HeaderMap;
use http::header::ACCEPT;
use transom_oci::media_type::is_index;

use crate::manifest::plain_type;

/// The types of all `Accept` lines. Some clients send a line for each type, some proxies join them with commas.
#[derive(Clone, Debug)]
pub(super) struct Accept(Vec<String>);

impl Accept {
    /// Reads the lines.
    pub(super) fn read(headers: &HeaderMap) -> Accept {
        let lines = headers.get_all(ACCEPT).iter();
        let types = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','));
        Accept(types.map(plain_type).filter(|plain| !plain.is_empty()).collect())
    }

    /// Whether the client takes a type. One that says nothing takes everything.
    pub(super) fn takes(&self, media_type: &str) -> bool {
        let family = media_type.split('/').next().unwrap_or_default();
        self.0.is_empty()
            || self.0.iter().any(|accepted| {
                accepted == "*/*"
                    || accepted.eq_ignore_ascii_case(media_type)
                    || accepted.strip_suffix("/*") == Some(family)
            })
    }

    /// Whether it knows of indexes at all.
    pub(super) fn takes_indexes(&self) -> bool {
        self.takes("*/*") || self.0.iter().any(|accepted| is_index(accepted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(lines: &[&str]) -> Accept {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, line.parse().unwrap());
        }
        Accept::read(&headers)
    }

    #[test]
    fn lines_are_merged() {
        let several = accept(&["a/b", "a/c;q=0.5, d/e", ""]);
        assert!(several.takes("a/b") && several.takes("a/c") && several.takes("D/E"));
        assert!(!several.takes("a/d"));
        assert!(accept(&[]).takes("x/y") && accept(&["*/*"]).takes("x/y") && accept(&["x/*"]).takes("x/y"));
        assert!(!accept(&["x/*"]).takes("y/x"));
    }
}
