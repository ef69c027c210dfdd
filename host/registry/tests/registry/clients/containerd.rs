//! `ctr` with a containerd of its own.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use transom_tests::{require_program, require_root};

use super::{Place, good, layout};
use crate::serving::Serving;

/// A containerd that does what content and images need.
struct Containerd {
    child: Child,
    socket: std::path::PathBuf,
}

impl Containerd {
    fn start(place: &Place) -> Containerd {
        let socket = place.path("c.sock");
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\", \"io.containerd.internal.v1.restart\"]\n\
             [grpc]\naddress = {socket:?}\n[ttrpc]\naddress = {:?}\n",
            place.path("root"),
            place.path("state"),
            place.path("t.sock"),
        );
        fs::write(place.path("containerd.toml"), config).unwrap();
        let mut command = Command::new("containerd");
        command.arg("--config").arg(place.path("containerd.toml"));
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut containerd = Containerd { child, socket };
        for _ in 0..2400 {
            assert_eq!(containerd.child.try_wait().unwrap(), None, "containerd ended");
            let asked = containerd.ctr().arg("version").output().unwrap();
            if asked.status.success() {
                return containerd;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("containerd does not answer");
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(&self.socket);
        command
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn exported(file: &Path) -> usize {
    fs::metadata(file).map_or(0, |file| file.len() as usize)
}

#[test]
fn ctr_pulls_pushes_and_mounts() {
    if !require_root() {
        return;
    }
    for program in ["skopeo", "containerd", "ctr"] {
        if require_program(program).is_none() {
            return;
        }
    }
    let (serving, place) = (Serving::files(), Place::new());
    let sample = place.image("ctr");
    let image = format!("{}/from/ctr:v1", serving.address);
    place.copy(&layout(&sample), &format!("docker://{image}"), &[]);
    let containerd = Containerd::start(&place);
    let pull = ["images", "pull", "--plain-http", "--snapshotter", "native"];
    good(containerd.ctr().args(pull).arg(&image));
    let tar = place.path("image.tar");
    good(containerd.ctr().args(["images", "export"]).arg(&tar).arg(&image));
    assert!(exported(&tar) > 400_000);
    let to = format!("{}/to/ctr:v2", serving.address);
    good(containerd.ctr().args(["images", "tag", &image, &to]));
    good(containerd.ctr().args(["images", "push", "--plain-http", &to]));
    // The layers came from this registry, so that they are mounted and not sent again.
    let counted = serving.counted();
    assert!(
        counted.contains("handler=\"blob_upload\",method=\"post\",code=\"201\""),
        "{counted}"
    );
    place.copy(
        &format!("docker://{to}"),
        &format!("oci:{}:latest", place.text("back")),
        &[],
    );
    assert!(super::blobs(&sample.layout) == super::blobs(&place.path("back")));
}
