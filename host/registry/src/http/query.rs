//! What follows the `?`.

use super::route::decode;
use crate::Error;

/// The parameters of a request, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads them. A `+` is a `+`: nothing here has a space in it, and media types have a `+`.
    pub(super) fn read(text: Option<&str>) -> Result<Query, Error> {
        let mut parameters = Vec::new();
        for pair in text
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                return Err(Error::BadRequest(
                    "a parameter after the ? is not text".to_owned(),
                ));
            };
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Query(parameters))
    }

    /// The first of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All of a name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// `n`, the length of a page.
    pub(super) fn page(&self, default: usize, most: usize) -> Result<usize, Error> {
        let Some(text) = self.get("n") else {
            return Ok(default.min(most));
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match digits {
            // More digits than fit are more than the most.
            true => Ok(text.parse().unwrap_or(usize::MAX).min(most)),
            false => Err(Error::PageInvalid(
                "n must be a whole number, 0 or more".to_owned(),
            )),
        }
    }
}

/// Text for a value after the `?`.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        let query = Query::read(Some("tag=a&tag=b%2Dc&n=07&x&artifactType=a/b+json")).unwrap();
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b-c"]);
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.get("artifactType"), Some("a/b+json"));
        assert_eq!(query.page(1, 5).unwrap(), 5);
        assert_eq!(Query::default().page(1, 5).unwrap(), 1);
        for wrong in ["n=", "n=-1", "n=a", "n=+1", "n=1.5"] {
            assert!(Query::read(Some(wrong)).unwrap().page(1, 5).is_err(), "{wrong}");
        }
        let much = format!("n={}", "9".repeat(100));
        assert_eq!(Query::read(Some(&much)).unwrap().page(1, 5).unwrap(), 5);
        assert!(Query::read(Some("a=%zz")).is_err());
        assert_eq!(encode("a/b+c ü"), "a%2Fb%2Bc%20%C3%BC");
    }
}
