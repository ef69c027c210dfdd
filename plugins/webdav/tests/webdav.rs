//! The webdav plugin, natively: what it sends, and what it makes of the answers. A whole server is in the host's tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::{Cell, RefCell};
use std::io::{Cursor, Read};
use std::rc::Rc;

use plugin_webdav::WebDav;
use transom_sdk::Error;
use transom_sdk::storage::{Condition, Request, Response, StorageError, Store};
use transom_sdk::testing::TestHost;

type Seen = Rc<RefCell<Vec<Request>>>;

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Response {
        status,
        headers: headers.collect(),
        body: Box::new(Cursor::new(body.as_bytes().to_vec())),
    }
}

fn file(path: &str, size: usize, etag: &str) -> String {
    format!(
        "<multistatus xmlns=\"DAV:\"><response><href>/dav{path}</href><propstat><prop><resourcetype/>\
         <getcontentlength>{size}</getcontentlength><getetag>\"{etag}\"</getetag></prop></propstat></response></multistatus>"
    )
}

/// A driver whose server is a function of the method and the path.
fn driver(server: impl Fn(&str, &str) -> Response + 'static) -> (WebDav, Seen) {
    let seen = Seen::default();
    let requests = Rc::clone(&seen);
    let host = TestHost::new()
        .config("url", "https://dav.example.com/dav/")
        .config("username", "Aladdin")
        .secret("password", "open sesame")
        .serve(move |request, _| {
            requests.borrow_mut().push(request.clone());
            let path = request.url.strip_prefix("https://dav.example.com/dav").unwrap();
            Ok(server(&request.method, path))
        });
    (host.open().unwrap(), seen)
}

#[test]
fn reads_name_the_range_and_the_user() {
    let (driver, seen) = driver(|method, path| match method {
        "PROPFIND" => answer(207, &[], &file(path, 5, "1")),
        _ => answer(206, &[("etag", "\"1\"")], "llo"),
    });
    let mut text = String::new();
    driver
        .read("/a/b", 2)
        .unwrap()
        .body
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "llo");
    assert_eq!(
        driver.read("/a/b", 6).unwrap_err(),
        StorageError::InvalidOffset(5)
    );
    let seen = seen.borrow();
    let get = seen.iter().rfind(|request| request.method == "GET").unwrap();
    assert!(get.headers.contains(&("range".to_owned(), "bytes=2-".to_owned())));
    let user = (
        "authorization".to_owned(),
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned(),
    );
    assert!(seen.iter().all(|request| request.headers.contains(&user)));
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let (driver, _) = driver(|method, path| match method {
        "PROPFIND" => answer(207, &[], &file(path, 5, "1")),
        _ => answer(200, &[], "hello"),
    });
    let mut text = String::new();
    driver
        .read("/a", 3)
        .unwrap()
        .body
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "lo");
}

#[test]
fn a_server_that_fails_now_and_then_is_asked_again() {
    let failures = Cell::new(2);
    let (driver, seen) = driver(move |_, path| {
        let left = failures.replace(failures.get() - 1);
        match left {
            1.. => answer(500, &[], "replaced meanwhile"),
            0 => answer(207, &[], &file(path, 5, "1")),
            _ => answer(500, &[], "always"),
        }
    });
    assert!(driver.stat("/a").is_ok());
    assert_eq!(seen.borrow().len(), 3);
    assert!(matches!(driver.stat("/a"), Err(StorageError::Other(_))));
    assert_eq!(seen.borrow().len(), 6);
}

#[test]
fn content_that_is_always_another_is_not_mixed() {
    let (driver, _) = driver(|method, path| match method {
        "PROPFIND" => answer(207, &[], &file(path, 5, "1")),
        _ => answer(200, &[("etag", "\"2\"")], "other"),
    });
    assert!(matches!(
        driver.read("/a", 0),
        Err(StorageError::Unavailable { .. })
    ));
}

#[test]
fn content_is_sent_aside_and_moved() {
    let (driver, seen) = driver(|method, _| match method {
        "PROPFIND" => answer(404, &[], ""),
        _ => answer(201, &[], ""),
    });
    driver.put("/a/b", b"hello", Condition::Always).unwrap();
    let seen = seen.borrow();
    let (put, moved) = (&seen[seen.len() - 2], &seen[seen.len() - 1]);
    assert!(
        put.url
            .starts_with("https://dav.example.com/dav/a/.transom-uploads/"),
        "{}",
        put.url
    );
    assert_eq!((put.method.as_str(), moved.method.as_str()), ("PUT", "MOVE"));
    assert_eq!(put.url, moved.url);
    let destination = (
        "destination".to_owned(),
        "https://dav.example.com/dav/a/b".to_owned(),
    );
    assert!(moved.headers.contains(&destination));
    let absent = driver.put("/a/b", b"x", Condition::Absent);
    assert!(matches!(absent, Err(StorageError::Unsupported(_))));
}

#[test]
fn answers_have_meanings() {
    for (status, expected) in [
        (401, "Denied"),
        (403, "Denied"),
        (404, "NotFound"),
        (423, "Busy"),
        (503, "Unavailable"),
        (507, "NoSpace"),
        (500, "Other"),
    ] {
        let (driver, _) = driver(move |_, _| answer(status, &[("retry-after", "7")], ""));
        let error = driver.stat("/a").unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{status}: {error:?}");
        if let StorageError::Unavailable { retry_after, .. } = error {
            assert_eq!(retry_after, Some(7));
        }
    }
}

#[test]
fn the_configuration_is_checked() {
    let opened = |host: TestHost| match host.open::<WebDav>() {
        Err(Error::Config { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    let url = |url: &str| TestHost::new().config("url", url);
    assert_eq!(opened(url("dav.example.com")), "url");
    assert_eq!(opened(url("https://u:p@dav.example.com/")), "url");
    assert_eq!(opened(TestHost::new()), "url");
    let good = || url("https://dav.example.com");
    assert_eq!(opened(good().secret("password", "x")), "username");
    assert_eq!(opened(good().config("username", "x")), "password");
    let both = good()
        .config("username", "x")
        .secret("password", "x")
        .secret("token", "x");
    assert_eq!(opened(both), "token");
    good().secret("token", "x").open::<WebDav>().unwrap();
}
