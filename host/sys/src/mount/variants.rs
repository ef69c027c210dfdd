//! The same mounts for another purpose: to be read only, to be durable, with the ids on disk.

use super::description::Mount;

/// The mounts for somebody who only reads: nothing can be written through them, and an overlay that is in use elsewhere
/// is not disturbed, because its upper folder becomes the topmost lower one and its work folder is left out. Ids are
/// those on disk.
#[must_use]
pub fn read_only(mounts: &[Mount]) -> Vec<Mount> {
    let change = |mount: &Mount| {
        let mut mount = mount.clone();
        if mount.is_overlay() {
            mount.options = read_only_overlay(&mount);
        } else {
            mount.options.retain(|option| option != "ro" && option != "rw");
            mount.options.push("ro".to_owned());
        }
        mount
    };
    mounts.iter().map(change).collect()
}

fn read_only_overlay(mount: &Mount) -> Vec<String> {
    let upper = mount.option("upperdir");
    let dropped = ["upperdir=", "workdir=", "uidmap=", "gidmap="];
    let mut options = Vec::with_capacity(mount.options.len());
    for option in &mount.options {
        if dropped.iter().any(|prefix| option.starts_with(prefix)) {
            continue;
        }
        match (option.strip_prefix("lowerdir="), upper) {
            // In `upperdir` a colon stands for itself; here it would end the folder.
            (Some(lower), Some(upper)) => {
                options.push(format!(
                    "lowerdir={}:{lower}",
                    super::overlay::escape_colons(upper)
                ));
            }
            _ => options.push(option.clone()),
        }
    }
    options
}

/// The mounts without what makes an overlay lose writes in a crash: `volatile` and `fsync=volatile`.
#[must_use]
pub fn without_volatile(mounts: &[Mount]) -> Vec<Mount> {
    let mut mounts = mounts.to_vec();
    for mount in mounts.iter_mut().filter(|mount| mount.is_overlay()) {
        let volatile = ["volatile", "fsync=volatile"];
        mount
            .options
            .retain(|option| !volatile.contains(&option.as_str()));
    }
    mounts
}

/// The mounts with the ids on disk: without `uidmap` and `gidmap`.
#[must_use]
pub fn without_id_maps(mounts: &[Mount]) -> Vec<Mount> {
    let mut mounts = mounts.to_vec();
    for mount in &mut mounts {
        let mapping = |option: &String| option.starts_with("uidmap=") || option.starts_with("gidmap=");
        mount.options.retain(|option| !mapping(option));
    }
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, options: &[&str]) -> Mount {
        Mount {
            kind: kind.to_owned(),
            source: "source".to_owned(),
            target: "target".to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        }
    }

    #[test]
    fn an_overlay_to_read_has_its_upper_folder_on_top() {
        let options = [
            "index=off",
            "workdir=/w",
            "upperdir=/u",
            "lowerdir=/2:/1",
            "uidmap=0:1:2",
            "gidmap=0:1:2",
        ];
        assert_eq!(
            read_only(&[mount("overlay", &options)]),
            [mount("overlay", &["index=off", "lowerdir=/u:/2:/1"])]
        );
        let without_upper = mount("overlay", &["lowerdir=/2:/1", "ro"]);
        assert_eq!(read_only(std::slice::from_ref(&without_upper)), [without_upper]);
        // A colon that stood for itself would now end a folder.
        assert_eq!(
            read_only(&[mount(
                "overlay",
                &["upperdir=/u:p\\,q", "lowerdir=/1", "workdir=/w"]
            )]),
            [mount("overlay", &["lowerdir=/u\\:p\\,q:/1"])]
        );
    }

    #[test]
    fn anything_else_to_read_gets_one_ro() {
        let mounts = [
            mount("bind", &["rw", "rbind"]),
            mount("ext4", &["ro", "loop", "ro"]),
            mount("x", &[]),
        ];
        let expected = [
            mount("bind", &["rbind", "ro"]),
            mount("ext4", &["loop", "ro"]),
            mount("x", &["ro"]),
        ];
        assert_eq!(read_only(&mounts), expected);
        assert_eq!(read_only(&expected), expected);
    }

    #[test]
    fn volatile_is_dropped_from_overlays_only() {
        let mounts = [
            mount(
                "overlay",
                &["volatile", "index=off", "fsync=volatile", "volatile"],
            ),
            mount("other", &["volatile"]),
        ];
        assert_eq!(
            without_volatile(&mounts),
            [mount("overlay", &["index=off"]), mounts[1].clone()]
        );
    }

    #[test]
    fn maps_are_dropped_wherever_they_are() {
        let mounts = [mount(
            "bind",
            &["uidmap=0:1:2", "gidmap=0:1:2", "uidmap=3:4:5", "uidmapped", "ro"],
        )];
        assert_eq!(without_id_maps(&mounts), [mount("bind", &["uidmapped", "ro"])]);
    }
}
