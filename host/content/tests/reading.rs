//! Reading, verifying, listing, deleting.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;

use transom_content::{Checked, Damage, Error, Store, VerifyingReader};
use transom_oci::{Algorithm, Digest};

use crate::helpers::{blobs, noise, open, put, sha256, statuses, store};

/// Changes a blob behind the store's back.
fn overwrite(store: &Store, digest: &Digest, bytes: &[u8]) {
    let path = store.blob_path(digest);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn meaning(error: std::io::Error) -> Error {
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    error.downcast().unwrap()
}

#[test]
fn a_blob_reads_and_seeks() {
    let (store, _dir) = store();
    let bytes = noise(1, 10_000);
    put(&store, "r", &bytes).unwrap();
    let mut blob = store.reader(&sha256(&bytes)).unwrap();
    assert_eq!((blob.digest(), blob.size()), (&sha256(&bytes), 10_000));
    blob.seek(SeekFrom::Start(4_000)).unwrap();
    let mut read = vec![0; 100];
    blob.read_exact(&mut read).unwrap();
    assert_eq!(read, bytes[4_000..4_100]);
    assert_eq!(blob.read_at(&mut read, 9_950).unwrap(), 50);
    assert_eq!(read[..50], bytes[9_950..]);
    // read_at has not moved it.
    assert_eq!(blob.stream_position().unwrap(), 4_100);
    let mut rest = Vec::new();
    blob.into_file().read_to_end(&mut rest).unwrap();
    assert_eq!(rest, bytes[4_100..]);
}

#[test]
fn missing_blobs_are_not_found() {
    let (store, _dir) = store();
    put(&store, "r", b"x").unwrap();
    let digest = sha256(b"y");
    let text = format!("content {digest}: not found");
    assert_eq!(store.info(&digest).unwrap_err().to_string(), text);
    assert_eq!(store.reader(&digest).unwrap_err().to_string(), text);
    assert_eq!(store.delete(&digest).unwrap_err().to_string(), text);
    assert!(matches!(
        store.delete(&Digest::of(Algorithm::Sha512, b"x")),
        Err(Error::NotFound { .. })
    ));
    store.delete(&sha256(b"x")).unwrap();
    assert!(matches!(store.delete(&sha256(b"x")), Err(Error::NotFound { .. })));
}

#[test]
fn verified_reads_name_both_digests() {
    let (store, _dir) = store();
    let bytes = noise(2, 100_000);
    let digest = sha256(&bytes);
    put(&store, "r", &bytes).unwrap();
    let mut flipped = bytes.clone();
    flipped[77_777] ^= 1;
    overwrite(&store, &digest, &flipped);
    let mut reader = store.reader(&digest).unwrap().verifying();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!("{digest}")) && text.contains(&format!("{}", sha256(&flipped))),
        "{text}"
    );
    assert!(
        matches!(meaning(error), Error::Corrupt { digest: d, actual, size: 100_000 } if d == digest && actual == sha256(&flipped))
    );
    // It stays bad.
    assert!(!reader.is_verified());
    assert!(reader.read(&mut [0]).is_err());
}

#[test]
fn verified_reads_know_the_length() {
    let reader = |size| VerifyingReader::new(&b"abcdef"[..], sha256(b"abcdef")).with_size(size);
    let mut good = reader(6);
    assert_eq!(good.read_to_end(&mut Vec::new()).unwrap(), 6);
    assert!(good.is_verified());
    assert_eq!(good.read(&mut [0; 4]).unwrap(), 0);
    let short = meaning(reader(7).read_to_end(&mut Vec::new()).unwrap_err());
    assert!(
        matches!(
            short,
            Error::WrongLength {
                actual: 6,
                expected: 7,
                ..
            }
        ),
        "{short:?}"
    );
    let long = meaning(reader(3).read_to_end(&mut Vec::new()).unwrap_err());
    assert!(
        matches!(
            long,
            Error::WrongLength {
                actual: 4,
                expected: 3,
                ..
            }
        ),
        "{long:?}"
    );
}

#[test]
fn verify_names_every_bad_blob() {
    let (store, _dir) = store();
    let digests: Vec<_> = (0..5_u8)
        .map(|n| put(&store, "r", &[n; 1_000]).unwrap().digest)
        .collect();
    assert!(store.verify_all().unwrap().first_bad().unwrap().is_none());
    assert_eq!(store.verify_all().unwrap().count(), 5);
    overwrite(&store, &digests[1], b"");
    overwrite(&store, &digests[2], &[2; 999]);
    store.delete(&digests[3]).unwrap();

    let checked: Vec<Checked> = store
        .verify(digests.clone())
        .map(|checked| checked.unwrap())
        .collect();
    assert!(checked.iter().map(|checked| &checked.digest).eq(&digests));
    assert!(checked[0].damage.is_none() && checked[4].damage.is_none());
    assert!(matches!(checked[1].damage, Some(Damage::Empty)));
    assert!(matches!(&checked[2].damage, Some(Damage::Differs { actual }) if *actual == sha256(&[2; 999])));
    assert!(matches!(checked[3].damage, Some(Damage::Missing)));
    assert_eq!(
        checked.iter().map(|checked| checked.size).collect::<Vec<_>>(),
        [1_000, 0, 999, 0, 1_000]
    );
    // The first, and then the others.
    let mut verify = store.verify(digests.clone());
    assert_eq!(verify.first_bad().unwrap().unwrap().digest, digests[1]);
    assert_eq!(verify.first_bad().unwrap().unwrap().digest, digests[2]);
    let bad = store
        .verify_all()
        .unwrap()
        .filter(|checked| checked.as_ref().unwrap().damage.is_some());
    assert_eq!(bad.count(), 2);
}

#[test]
fn walk_passes_over_foreign_files() {
    let (store, _dir) = store();
    let bytes = b"content";
    for algorithm in Algorithm::ALL {
        let mut writer = open(&store, "r");
        writer.write(bytes).unwrap();
        writer.commit(None, Some(&Digest::of(algorithm, bytes))).unwrap();
    }
    let blobs_dir = store.root().join("blobs");
    std::fs::create_dir_all(blobs_dir.join("md5")).unwrap();
    std::fs::write(blobs_dir.join("md5/d41d8cd98f00b204e9800998ecf8427e"), b"").unwrap();
    std::fs::write(blobs_dir.join("README"), b"").unwrap();
    let sha256_dir = blobs_dir.join("sha256");
    std::fs::write(sha256_dir.join("x.tmp"), b"").unwrap();
    std::fs::write(sha256_dir.join(sha256(b"a").hex().to_uppercase()), b"").unwrap();
    std::fs::create_dir(sha256_dir.join(sha256(b"b").hex())).unwrap();
    std::os::unix::fs::symlink("nowhere", sha256_dir.join(sha256(b"c").hex())).unwrap();
    let expected = Algorithm::ALL.map(|algorithm| (Digest::of(algorithm, bytes), 7));
    assert_eq!(blobs(&store), expected.into_iter().collect());
    assert!(matches!(store.reader(&sha256(b"b")), Err(Error::NotFound { .. })));
}

#[test]
fn statuses_are_filtered_and_tolerant() {
    let (store, _dir) = store();
    for n in 0..5 {
        let mut writer = open(&store, &format!("ns/{n}/layer"));
        writer.write(&vec![0; n]).unwrap();
    }
    let ingests = store.root().join("ingest");
    std::fs::create_dir(ingests.join("f".repeat(64))).unwrap();
    std::fs::create_dir(ingests.join("foreign")).unwrap();
    std::fs::write(ingests.join("0".repeat(64)), b"").unwrap();
    // A whole ingest under another ref's name: nobody could resume it by the ref it claims.
    let misnamed = ingests.join("e".repeat(64));
    std::fs::create_dir(&misnamed).unwrap();
    for (name, text) in [("ref", "claimed"), ("data", "12345")] {
        std::fs::write(misnamed.join(name), text).unwrap();
    }
    assert_eq!(statuses(&store).len(), 5);
    let some = store.statuses(|reference| reference.contains('3')).unwrap();
    let some: Vec<_> = some.map(|status| status.unwrap()).collect();
    assert_eq!(
        some.iter()
            .map(|s| (s.reference.as_str(), s.offset))
            .collect::<Vec<_>>(),
        [("ns/3/layer", 3)]
    );
    // What is expected is known while the writer is there.
    let options = transom_content::IngestOptions {
        total: None,
        expected: Some(sha256(b"e")),
    };
    let writer = store.ingest("open", options).unwrap();
    assert_eq!(store.status("open").unwrap().expected, Some(sha256(b"e")));
    writer.close().unwrap();
    assert_eq!(store.status("open").unwrap().expected, None);
}
