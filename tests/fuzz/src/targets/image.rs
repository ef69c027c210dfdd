//! Any bytes as an image archive: found in a file, or read from a stream.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;

use tempfile::TempDir;
use transom_image::inspect::inspect;
use transom_image::{OpenOptions, PlatformChoice, Reference, Source, resolve};
use transom_oci::Platform;

use super::{shape, temporary};

/// Bytes that a compressed archive may grow to here.
const SPOOL_MAX: u64 = 4 << 20;

thread_local! {
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// Opens the bytes as a file and as a stream, looks at all that is in them, chooses an image and opens its layers.
///
/// # Panics
/// When file and stream differ in kind, or when something cannot be printed.
pub fn image(data: &[u8]) -> String {
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(temporary);
        let file = folder.path().join("archive");
        fs::write(&file, data).expect("the folder is ours");
        let options = OpenOptions {
            spool_bytes_max: SPOOL_MAX,
            ..OpenOptions::new(folder.path())
        };
        let open = |argument: &OsStr| {
            let reference = Reference::parse(argument).expect("it names a file that is there, or stdin");
            let mut stream = data;
            Source::open(&reference, &mut stream, &options)
        };
        match (open(file.as_os_str()), open(OsStr::new("-"))) {
            (Ok(from_file), Ok(from_stream)) => {
                assert_eq!(from_file.format(), from_stream.format());
                look_at(&from_file)
            }
            (Err(from_file), Err(_)) => shape(&from_file),
            (from_file, from_stream) => {
                panic!(
                    "as a file {:?}, as a stream {:?}",
                    from_file.err(),
                    from_stream.err()
                )
            }
        }
    })
}

fn look_at(source: &Source) -> String {
    let inspected = match inspect(source) {
        Ok(inspection) => {
            let text = serde_json::to_string(&inspection).expect("it is made to be printed");
            format!(
                "{} entries, {} problems",
                inspection.entries.len(),
                text.matches("\"problem\"").count().min(3)
            )
        }
        Err(error) => shape(&error),
    };
    let choices = [
        PlatformChoice::Host,
        PlatformChoice::Only(Platform::new("linux", "s390x", None)),
    ];
    let resolved =
        choices.map(
            |platform| match resolve(source, &transom_image::Selector::default(), &platform) {
                Ok(image) => {
                    let opened = image
                        .layers
                        .iter()
                        .filter(|layer| source.open_layer(layer).is_ok())
                        .count();
                    format!("{opened} of {} layers", image.layers.len())
                }
                Err(error) => shape(&error),
            },
        );
    format!("{inspected}; {}", resolved.join("; "))
}
