//! Which path is what. There are so few of them that a dozen lines find it.

use std::borrow::Cow;

use crate::Error;
use crate::names::{NameError, Reference, RepositoryName};

/// What a path is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/`, which says that somebody is here.
    Top,
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(RepositoryName, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(RepositoryName, transom_oci::Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(RepositoryName, String),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(RepositoryName, transom_oci::Digest),
}

impl Route {
    /// Finds what a path is about.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], [`Error::Name`].
    pub(crate) fn find(path: &str) -> Result<Route, Error> {
        if path == "/" {
            return Ok(Route::Top);
        }
        let path = decode(path).ok_or(Error::NoSuchPath)?;
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Route::Base),
            Some("/_catalog") => return Ok(Route::Catalog),
            Some(rest) => rest.strip_prefix('/').ok_or(Error::NoSuchPath)?,
            None => return Err(Error::NoSuchPath),
        };
        // From the end: a repository may be called `a/manifests/b`.
        let (rest, last) = rest.rsplit_once('/').ok_or(Error::NoSuchPath)?;
        let (name, kind) = rest.rsplit_once('/').ok_or(Error::NoSuchPath)?;
        match (kind, last) {
            ("tags", "list") => Ok(Route::Tags(RepositoryName::new(name)?)),
            ("manifests", reference) => Ok(Route::Manifest(RepositoryName::new(name)?, reference.parse()?)),
            ("blobs", "uploads") => Ok(Route::Uploads(RepositoryName::new(name)?)),
            ("blobs", hash) => Ok(Route::Blob(RepositoryName::new(name)?, digest(hash)?)),
            ("referrers", hash) => Ok(Route::Referrers(RepositoryName::new(name)?, digest(hash)?)),
            ("uploads", id) => {
                let name = name.strip_suffix("/blobs").ok_or(Error::NoSuchPath)?;
                let name = RepositoryName::new(name)?;
                Ok(match id {
                    "" => Route::Uploads(name),
                    id => Route::Upload(name, id.to_owned()),
                })
            }
            _ => Err(Error::NoSuchPath),
        }
    }

    /// The name in metrics: docker-registry's.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Route::Top | Route::Base => "base",
            Route::Catalog => "catalog",
            Route::Tags(_) => "tags",
            Route::Manifest(..) => "manifest",
            Route::Blob(..) => "blob",
            Route::Uploads(_) => "blob_upload",
            Route::Upload(..) => "blob_upload_chunk",
            Route::Referrers(..) => "referrers",
        }
    }

    /// The repository that it is in.
    pub(crate) fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Route::Top | Route::Base | Route::Catalog => None,
            Route::Tags(name)
            | Route::Manifest(name, _)
            | Route::Blob(name, _)
            | Route::Uploads(name)
            | Route::Upload(name, _)
            | Route::Referrers(name, _) => Some(name),
        }
    }

    /// The same in another repository.
    pub(crate) fn of(mut self, repository: RepositoryName) -> Route {
        match &mut self {
            Route::Top | Route::Base | Route::Catalog => {}
            Route::Tags(name)
            | Route::Manifest(name, _)
            | Route::Blob(name, _)
            | Route::Uploads(name)
            | Route::Upload(name, _)
            | Route::Referrers(name, _) => *name = repository,
        }
        self
    }

    /// The methods that it takes.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Route::Top | Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(..) => "GET, HEAD",
            Route::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Route::Blob(..) => "GET, HEAD, DELETE",
            Route::Uploads(_) => "POST",
            Route::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
        }
    }
}

/// A digest, with the error of one.
pub(crate) fn digest(text: &str) -> Result<transom_oci::Digest, Error> {
    match text.parse() {
        Ok(digest) => Ok(digest),
        Err(error) => {
            let text = text.chars().take(crate::limits::SHOWN_BYTES / 4).collect();
            let reason = transom_oci::DigestError::to_string(&error);
            Err(Error::Name(NameError::Digest { text, reason }))
        }
    }
}

/// Text with its `%41` as what they mean; `None` if that is no text.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_from_their_end() {
        let name = |name: &str| RepositoryName::new(name).unwrap();
        let hash = format!("sha256:{}", "0".repeat(64));
        let find = |path: &str| Route::find(path).unwrap();
        assert_eq!(find("/"), Route::Top);
        assert_eq!(find("/v2"), Route::Base);
        assert_eq!(find("/v2/"), Route::Base);
        assert_eq!(find("/v2/_catalog"), Route::Catalog);
        assert_eq!(find("/v2/a/b/tags/list"), Route::Tags(name("a/b")));
        assert_eq!(
            find("/v2/a/manifests/b/manifests/latest"),
            Route::Manifest(name("a/manifests/b"), "latest".parse().unwrap())
        );
        assert_eq!(
            find(&format!("/v2/a/blobs/{}", hash.replace(':', "%3a"))),
            Route::Blob(name("a"), hash.parse().unwrap())
        );
        assert_eq!(find("/v2/a/blobs/uploads/"), Route::Uploads(name("a")));
        assert_eq!(find("/v2/a/blobs/uploads"), Route::Uploads(name("a")));
        assert_eq!(
            find("/v2/a/blobs/uploads/x"),
            Route::Upload(name("a"), "x".to_owned())
        );
        assert_eq!(
            find(&format!("/v2/a/referrers/{hash}")),
            Route::Referrers(name("a"), hash.parse().unwrap())
        );
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in [
            "",
            "/v1/",
            "/v2x",
            "/v2/a",
            "/v2/a/b",
            "/v2//",
            "/v2/a/uploads/x",
            "/v2/%",
            "/v2/%4",
            "/v2/%ff/tags/list",
            "/v2/a/tags/x",
            "/v2/a/blobs/sha256:..%2f..%2fetc",
        ] {
            assert!(matches!(Route::find(path), Err(Error::NoSuchPath)), "{path}");
        }
        for path in [
            "/v2/../tags/list",
            "/v2/a/%2e%2e/tags/list",
            "/v2/_uploads/tags/list",
            "/v2/A/manifests/x",
            "/v2/a/manifests/..",
            "/v2/a/manifests/sha256:baddigeststring",
            "/v2//tags/list",
            "/v2/a%00/tags/list",
        ] {
            assert!(matches!(Route::find(path), Err(Error::Name(_))), "{path}");
        }
    }
}
