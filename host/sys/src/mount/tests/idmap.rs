//! Mapped ids: the calls, in order.

use super::{Stage, described};
use crate::Op;
use crate::mount::{Mount, MountError};

const ALL: [Op; 8] = [
    Op::Mount,
    Op::Propagate,
    Op::Unmount,
    Op::CloneTree,
    Op::MoveMount,
    Op::MapIds,
    Op::UserNamespace,
    Op::Statfs,
];

const MAPS: [&str; 2] = ["uidmap=0:1000:10,10:5000:5", "gidmap=0:2000:10"];

const MADE: &str = "UserNamespace 0 1000 10\n10 5000 5\n0 2000 10\n";

#[test]
fn a_bind_mount_is_replaced_by_its_mapped_clone() {
    let stage = Stage::new();
    stage
        .mount(&[described(
            "bind",
            "/source",
            &["bind", "ro", "private", MAPS[0], MAPS[1]],
        )])
        .unwrap();
    assert_eq!(
        stage.calls(&ALL),
        [
            "Mount /source /ROOT bind 0x1001 ",
            "CloneTree /ROOT recursive",
            MADE,
            "MapIds 0x0",
            "Unmount /ROOT 0xa",
            "MoveMount /ROOT",
            "Propagate /ROOT 0x48000",
            "Statfs /ROOT",
            "Mount  /ROOT  0x1021 ",
        ]
    );
}

#[test]
fn an_overlay_stands_on_a_mapped_clone_of_the_folder_of_its_lower_ones() {
    let stage = Stage::new();
    stage
        .mount(&[Mount::overlay(
            &["/s/12/fs", "/s/1/fs"],
            Some(("/u", "/w")),
            &MAPS,
        )])
        .unwrap();
    assert_eq!(
        stage.calls(&ALL),
        [
            "CloneTree /s recursive",
            MADE,
            "MapIds 0x1",
            "MoveMount /ROOT",
            "Mount overlay /ROOT overlay 0x0 workdir=/w,upperdir=/u,lowerdir=/ROOT/12/fs:/ROOT/1/fs",
            "CloneTree /ROOT",
            "Unmount /ROOT 0xa",
            "Unmount /ROOT 0xa",
            "MoveMount /ROOT",
        ]
    );
    assert_eq!(stage.sys.pretended_mounts().len(), 1);
}

#[test]
fn lower_folders_without_a_common_one_are_refused() {
    for lower in [["/a/1", "/b/1"], ["/a", "/b"], ["a/1", "a/2"], ["/a/1", "/a"]] {
        let stage = Stage::new();
        let error = stage.mount(&[Mount::overlay(&lower, None, &MAPS)]).unwrap_err();
        assert!(matches!(error, MountError::BadOption { .. }), "{error}");
        assert_eq!(stage.calls(&ALL), [] as [&str; 0]);
    }
}

#[test]
fn one_map_alone_maps_nothing() {
    let stage = Stage::new();
    stage
        .mount(&[described("bind", "/source", &["bind", MAPS[0]])])
        .unwrap();
    assert_eq!(stage.calls(&ALL), ["Mount /source /ROOT bind 0x1000 "]);
}
