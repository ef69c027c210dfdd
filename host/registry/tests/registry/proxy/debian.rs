//! Debian's programs: docker-registry as the other registry, and skopeo and podman that pull through.

use super::rig::{Cache, proxy};
use crate::client::Client;
use crate::clients::docker_registry::DockerRegistry;
use crate::clients::{Place, blobs, good, layout};
use transom_tests::{require_program, require_root};

#[test]
fn skopeo_pulls_through_from_docker_registry() {
    if require_program("skopeo").is_none() || require_program("docker-registry").is_none() {
        return;
    }
    let place = Place::new();
    let sample = place.image("through");
    let registry = DockerRegistry::start(&place, &place.path("registry"));
    let theirs = format!("docker://{}/team/app:v1", registry.address);
    place.copy(&layout(&sample), &theirs, &[]);
    // In Docker's form, too.
    let docker = format!("docker://{}/team/app:v2", registry.address);
    place.copy(&layout(&sample), &docker, &["-f", "v2s2"]);
    let cache = Cache::start(&proxy("hub", registry.address));
    let through = |tag: &str, to: &str| {
        let image = format!("docker://{}/hub/team/app:{tag}", cache.address);
        place.copy(&image, &format!("oci:{}:latest", place.text(to)), &[]);
    };
    through("v1", "first");
    assert!(blobs(&sample.layout) == blobs(&place.path("first")));
    through("v2", "second");
    let tags = place.skopeo(&[
        "list-tags",
        "--tls-verify=false",
        &format!("docker://{}/hub/team/app", cache.address),
    ]);
    assert!(tags.contains("\"v1\"") && tags.contains("\"v2\""), "{tags}");
    let refused = Client::connect(cache.address).ask("POST", "/v2/hub/team/app/blobs/uploads/");
    assert_eq!(refused.expect(405).code(), "UNSUPPORTED");
    // All of it is here now.
    drop(registry);
    through("v1", "third");
    assert!(blobs(&sample.layout) == blobs(&place.path("third")));
}

#[test]
fn podman_has_it_for_a_mirror_of_docker_registry() {
    let programs = ["podman", "skopeo", "docker-registry"];
    if !require_root() || programs.iter().any(|program| require_program(program).is_none()) {
        return;
    }
    let place = Place::new();
    let sample = place.image("podman-through");
    let registry = DockerRegistry::start(&place, &place.path("registry"));
    let theirs = format!("docker://{}/team/app:v1", registry.address);
    place.copy(&layout(&sample), &theirs, &[]);
    let cache = Cache::start(&proxy("registry.example", registry.address));
    let mirrors = format!(
        "[[registry]]\nprefix = \"registry.example\"\nlocation = \"registry.example\"\n\
         [[registry.mirror]]\nlocation = \"{}/registry.example\"\ninsecure = true\n",
        cache.address
    );
    std::fs::write(place.path("none.conf"), mirrors).unwrap();
    let pull = ["pull", "-q", "--signature-policy"];
    let policy = place.text("policy.json");
    let mut command = place.command("podman");
    let image = "registry.example/team/app:v1";
    let id = good(command.args(pull).arg(&policy).arg(image));
    let images = good(place.command("podman").args(["images", "-q", "--no-trunc"]));
    assert!(images.contains(id.trim()), "{images}");
    assert!(cache.counted("registry_proxy_misses_total{type=\"blob\"}") >= 2);
    good(place.command("podman").args(["rmi", "-af"]));
}
