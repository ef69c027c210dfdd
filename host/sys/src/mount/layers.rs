//! Overlays, also those whose lower folders do not fit into the page that `mount(2)` takes.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountFlags};

use super::calls::{MountSys, Setting};
use super::error::MountError;
use super::limits::LOWER_FOLDERS_MAX;
use super::options::Options;
use super::overlay::{common_folder, lower_option, split_data, split_lower};
use super::place::Place;
use super::sequence::One;

/// Bytes that `fsconfig(2)` takes as a text, without the NUL.
const TEXT_MAX: usize = 255;

/// The folder in which every open descriptor has a name of a few digits.
const DESCRIPTORS: &[u8] = b"/proc/self/fd";

/// Where `lowerdir` is in the options, and the folders that it names.
pub(super) fn lower(data: &[String]) -> Option<(usize, Vec<String>)> {
    let value = |option: &String| option.strip_prefix("lowerdir=").map(split_lower);
    data.iter()
        .enumerate()
        .find_map(|(index, option)| Some((index, value(option)?)))
}

/// Mounts an overlay at `place`.
///
/// As long as the options fit, `mount(2)` does it, so that `/proc/mounts` shows what containerd would have it show. Past
/// that the kernel is told one folder at a time (Linux 6.8), or the paths are made shorter.
pub(super) fn attach<S: MountSys>(
    one: &One<'_, S>,
    place: &Place,
    options: &Options,
) -> Result<(), MountError> {
    let lower = lower(&options.data);
    if let Some((_, folders)) = &lower
        && folders.len() > LOWER_FOLDERS_MAX
    {
        return Err(MountError::TooMany {
            what: "lower folders",
            count: folders.len(),
            most: LOWER_FOLDERS_MAX,
        });
    }
    let data = options.joined();
    if one.fits(&data) {
        return one.attach(place, options.flags, &data, None);
    }
    let Some((index, folders)) = lower else {
        return Err(one.too_long(&data));
    };
    if one_at_a_time(one, place, options, &folders)? {
        return Ok(());
    }
    if let Some((folder, data)) = relative(options, index, &folders)
        && one.fits(&data)
    {
        let folder = open(one, folder.as_bytes())?;
        return one.attach(place, options.flags, &data, Some(folder.as_fd()));
    }
    by_descriptor(one, place, options, (index, &folders))
}

/// Sets the overlay up folder by folder. False if this kernel cannot, or not with these options: escapes mean different
/// things to it in different releases.
fn one_at_a_time<S: MountSys>(
    one: &One<'_, S>,
    place: &Place,
    options: &Options,
    folders: &[String],
) -> Result<bool, MountError> {
    let data = options.joined();
    let Some(settings) = settings(&one.mount.source, &data, options.flags) else {
        return Ok(false);
    };
    if !folders.iter().all(|folder| plain(folder)) {
        return Ok(false);
    }
    let Ok(setup) = one.sys.fsopen("overlay") else {
        return Ok(false);
    };
    if !set_lower(one, setup.as_fd(), folders)? {
        return Ok(false);
    }
    for setting in settings {
        one.sys.fsconfig(setup.as_fd(), setting).map_err(|errno| {
            let said = one.sys.fs_messages(setup.as_fd());
            one.refused_saying("fsconfig", errno, said)
        })?;
    }
    let mount = one
        .sys
        .fsmount(setup.as_fd(), attributes(options.flags))
        .map_err(|errno| one.refused("fsmount", errno))?;
    one.sys
        .move_mount(mount.as_fd(), &place.to_call())
        .map_err(|errno| one.refused("move_mount", errno))?;
    Ok(true)
}

/// A text that `fsconfig(2)` takes and that holds nothing with a meaning of its own, also to a security module.
fn plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_MAX && !text.contains(['\\', ':', '"'])
}

/// What to set besides the lower folders; `None` if a value is not [`plain`].
fn settings<'a>(source: &'a str, data: &'a str, flags: MountFlags) -> Option<Vec<Setting<'a>>> {
    let mut settings = Vec::new();
    let mut text = |name, value| plain(value).then(|| settings.push(Setting::Text(name, value)));
    text("source", source)?;
    let mut words = Vec::new();
    for option in split_data(data) {
        match option.split_once('=') {
            Some(("lowerdir", _)) => {}
            Some((name, value)) => text(name, value)?,
            None => words.push(option),
        }
    }
    // These are flags of the file system besides those of the mount.
    let of_both = [
        (MountFlags::RDONLY, "ro"),
        (MountFlags::SYNCHRONOUS, "sync"),
        (MountFlags::DIRSYNC, "dirsync"),
    ];
    words.extend(
        of_both
            .iter()
            .filter(|(flag, _)| flags.contains(*flag))
            .map(|(_, word)| *word),
    );
    settings.extend(words.into_iter().map(Setting::Flag));
    settings.push(Setting::Create);
    Some(settings)
}

/// Names the lower folders, topmost first. False if the kernel does not know how.
fn set_lower<S: MountSys>(
    one: &One<'_, S>,
    setup: BorrowedFd<'_>,
    folders: &[String],
) -> Result<bool, MountError> {
    for (index, folder) in folders.iter().enumerate() {
        match one.sys.fsconfig(setup, Setting::Text("lowerdir+", folder)) {
            Ok(()) => {}
            // Linux before 6.8 does not know the name; what else it may be about then comes up again with `mount(2)`.
            Err(Errno::INVAL) if index == 0 => return Ok(false),
            Err(errno) => {
                let said = one.sys.fs_messages(setup);
                return Err(one.refused_saying("lower folder", errno, format!("{folder}: {said}")));
            }
        }
    }
    Ok(true)
}

fn attributes(flags: MountFlags) -> MountAttrFlags {
    let mut attributes = MountAttrFlags::empty();
    for (flag, attribute) in [
        (MountFlags::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (MountFlags::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (MountFlags::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
        (MountFlags::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (MountFlags::NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    ] {
        if flags.contains(flag) {
            attributes |= attribute;
        }
    }
    // One of three, the first being none: relatime.
    if flags.contains(MountFlags::STRICTATIME) {
        attributes | MountAttrFlags::MOUNT_ATTR_STRICTATIME
    } else if flags.contains(MountFlags::NOATIME) {
        attributes | MountAttrFlags::MOUNT_ATTR_NOATIME
    } else {
        attributes
    }
}

/// The options with lower folders that stand on the folder they are all in.
fn relative<'a>(options: &Options, index: usize, folders: &'a [String]) -> Option<(&'a str, String)> {
    let common = common_folder(folders)?;
    let names: Vec<&str> = folders.iter().map(|folder| &folder[common.len() + 1..]).collect();
    Some((common, with_lower(options, index, &names)))
}

/// Opens every lower folder and names each by the number of its descriptor: two to four bytes for any path.
fn by_descriptor<S: MountSys>(
    one: &One<'_, S>,
    place: &Place,
    options: &Options,
    (index, folders): (usize, &[String]),
) -> Result<(), MountError> {
    if folders.iter().any(String::is_empty) {
        // `::` begins folders of another kind, which must stay what they are.
        return Err(one.too_long(&options.joined()));
    }
    let descriptors = open(one, DESCRIPTORS)?;
    let opened: Vec<OwnedFd> = folders
        .iter()
        .map(|folder| open(one, folder.as_bytes()))
        .collect::<Result<_, _>>()?;
    let names: Vec<String> = opened.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let data = with_lower(options, index, &names);
    if !one.fits(&data) {
        return Err(one.too_long(&data));
    }
    one.attach(place, options.flags, &data, Some(descriptors.as_fd()))
}

fn with_lower(options: &Options, index: usize, folders: &[&str]) -> String {
    let mut data = options.data.clone();
    data[index] = lower_option(folders);
    data.join(",")
}

fn open<S: MountSys>(one: &One<'_, S>, folder: &[u8]) -> Result<OwnedFd, MountError> {
    one.sys
        .openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY, 0)
        .map_err(|errno| {
            let folder = String::from_utf8_lossy(folder).into_owned();
            one.refused_saying("opening a lower folder", errno, folder)
        })
}
