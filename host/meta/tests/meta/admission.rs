//! Who is asked before an image gets a name.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use transom_content::Store;
use transom_meta::images::{Admission, Image};
use transom_meta::kv::Pending;
use transom_meta::kv::memory::Memory;
use transom_meta::policy::Refusal;
use transom_meta::{Caller, Class, Metadata, Options};

use crate::records::{caller, image, labels, refused, texts};

/// Refuses images with the label `bad`; the first question about one with the label `slow` takes so long that another client
/// gives the image the label `other` meanwhile.
#[derive(Debug, Default)]
struct Fussy {
    asked: AtomicUsize,
    slow: AtomicUsize,
}

impl Admission for Fussy {
    fn admit<'a>(
        &'a self,
        metadata: &'a Metadata,
        caller: &'a Caller,
        image: &'a Image,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if image.labels.contains_key("slow") && self.slow.fetch_add(1, Ordering::Relaxed) == 0 {
                let mut other = crate::records::image(&image.name);
                other.labels = labels([("other", "1")]);
                let path = texts(["labels.other"]);
                metadata.update_image(caller, other, &path, None).await.unwrap();
            }
            match image.labels.get("bad") {
                Some(why) => Err(Refusal::Unknown {
                    policy: "fussy".to_owned(),
                    reason: why.clone(),
                }),
                None => Ok(()),
            }
        })
    }
}

async fn fussy() -> (Metadata, Arc<Fussy>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Store::open(dir.path().join("content")).unwrap();
    let fussy = Arc::new(Fussy::default());
    let options = Options {
        admission: Some(fussy.clone()),
        ..Options::default()
    };
    let metadata = Metadata::open(Arc::new(Memory::new()), blobs, options).await;
    (metadata.unwrap(), fussy, dir)
}

#[tokio::test]
async fn what_is_refused_leaves_everything_as_it_was() {
    let (metadata, _, _dir) = fussy().await;
    let mut bad = image("a");
    bad.labels = labels([("bad", "spoilt")]);
    let (class, text) = refused(metadata.create_image(&caller(), bad.clone(), None).await);
    assert_eq!(class, Class::PermissionDenied);
    assert_eq!(text, "image \"a\" is refused: policy \"fussy\": spoilt");
    assert!(metadata.images(&caller(), &[]).await.unwrap().is_empty());
    let made = metadata.create_image(&caller(), image("a"), None).await.unwrap();
    let (class, _) = refused(metadata.update_image(&caller(), bad, &[], None).await);
    assert_eq!(class, Class::PermissionDenied);
    assert_eq!(metadata.image(&caller(), "a").await.unwrap(), made);
}

#[tokio::test]
async fn an_image_that_changes_meanwhile_is_asked_about_again() {
    let (metadata, fussy, _dir) = fussy().await;
    metadata.create_image(&caller(), image("a"), None).await.unwrap();
    let mut slow = image("a");
    slow.labels = labels([("slow", "1")]);
    let before = fussy.asked.load(Ordering::Relaxed);
    let path = texts(["labels.slow"]);
    let updated = metadata.update_image(&caller(), slow, &path, None).await.unwrap();
    assert_eq!(updated.labels, labels([("other", "1"), ("slow", "1")]));
    // Once, once for the change meanwhile, once more for what came of both.
    assert_eq!(fussy.asked.load(Ordering::Relaxed) - before, 3);
}
