//! Both trees in step: each folder's names in order, each name looked up in both, what differs given on.
//!
//! The order is that of whole paths in which `/` comes before everything else: a folder, then all that is in it, then its
//! next neighbour. What is missing in the upper tree is one whiteout, whatever was below it.
//!
//! With an overlay's folders the upper one says which names matter: the others are the lower tree's own. Only where it is
//! opaque, and in all that is below that, the lower folder is listed too.

use std::cmp::Ordering;
use std::vec;

use transom_sys::{Errno, FileType, Sys};

use super::emit::{Emitted, Emitter, Leaf, WHITEOUT};
use super::error::CompareError;
use super::limits::CompareLimits;
use super::overlay::{NO_CONTENT, capability};
use super::report::Counts;
use super::same::{Comparer, Side, Verdict};
use super::trail::{Facts, Trail};
use super::view::{Entered, Found, Trouble, View};
use crate::cancel::Cancel;
use crate::tar::TarSink;

const INDEXED: &str = "overlayfs keeps other names of this file in its index";

/// A name to look at, and in which listing it was.
struct Item {
    name: Vec<u8>,
    in_upper: bool,
    /// `None`: the lower folder was not listed.
    in_lower: Option<bool>,
}

/// A folder that is being gone through.
struct Frame {
    items: vec::IntoIter<Item>,
    /// How many items there were.
    width: usize,
    /// Whether the lower view stands in it too.
    has_lower: bool,
    /// Whether nothing of the lower folder shows through, so that its names have to be listed.
    whole: bool,
}

/// The walk.
pub(super) struct Walker<'r, 's, S, K> {
    sys: &'s S,
    lower: View<'r>,
    upper: View<'r>,
    comparer: Comparer<'s, S>,
    emitter: Emitter<'s, S, K>,
    trail: Trail,
    frames: Vec<Frame>,
    /// Names in all frames.
    held: usize,
    cancel: Cancel,
    limits: CompareLimits,
}

impl<'r, 's, S: Sys, K: TarSink> Walker<'r, 's, S, K> {
    pub(super) fn new(
        sys: &'s S,
        (lower, upper): (View<'r>, View<'r>),
        emitter: Emitter<'s, S, K>,
        cancel: Cancel,
        limits: CompareLimits,
    ) -> Self {
        Self {
            sys,
            comparer: Comparer::new(sys, cancel.clone(), upper.marks()),
            lower,
            upper,
            emitter,
            trail: Trail::default(),
            frames: Vec::new(),
            held: 0,
            cancel,
            limits,
        }
    }

    /// Goes through everything.
    pub(super) fn run(mut self) -> Result<(K, Counts), CompareError> {
        let is_plain = self.upper.marks().is_none();
        self.list(true, is_plain)?;
        while let Some(frame) = self.frames.last_mut() {
            match frame.items.next() {
                Some(item) => self.look(&item)?,
                None => self.leave()?,
            }
        }
        self.emitter.finish()
    }

    /// Lists the folder where both views stand now.
    fn list(&mut self, has_lower: bool, whole: bool) -> Result<(), CompareError> {
        let path = self.trail.path();
        let listing = |errno| CompareError::io(path, "list", errno);
        let upper = self.upper.names(self.sys).map_err(listing)?;
        let items: Vec<Item> = if has_lower && whole {
            let lower = self.lower.names(self.sys).map_err(listing)?;
            merge(upper, lower)
        } else {
            let in_lower = if has_lower { None } else { Some(false) };
            let item = |name| Item {
                name,
                in_upper: true,
                in_lower,
            };
            upper.into_iter().map(item).collect()
        };
        self.held += items.len();
        let limit = self.limits.names;
        if self.held + self.emitter.names() > limit {
            return Err(CompareError::limit(path, "names held in memory", limit as u64));
        }
        self.frames.push(Frame {
            width: items.len(),
            items: items.into_iter(),
            has_lower,
            whole,
        });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), CompareError> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        self.held -= frame.width;
        if self.frames.is_empty() {
            return Ok(());
        }
        let path = self.trail.path();
        let cannot = |errno| CompareError::io(path, "go up from", errno);
        self.upper.leave(self.sys).map_err(cannot)?;
        if frame.has_lower {
            self.lower.leave(self.sys).map_err(cannot)?;
        }
        self.trail.pop();
        Ok(())
    }

    /// Looks at one name in both trees.
    fn look(&mut self, item: &Item) -> Result<(), CompareError> {
        if self.cancel.is_requested() {
            return Err(CompareError::Cancelled);
        }
        let name = &item.name;
        self.emitter.counts.names += 1;
        if name.starts_with(WHITEOUT) {
            self.emitter.counts.reserved += u64::from(item.in_upper);
            return Ok(());
        }
        let upper = match item.in_upper {
            true => self.find(&self.upper, name)?,
            false => None,
        };
        let lower = match item.in_lower {
            Some(false) => None,
            _ => self.find(&self.lower, name)?,
        };
        match upper {
            None => self.gone(name, lower.as_ref()),
            Some(upper) if is_folder(&upper) => self.folder(name, lower.as_ref(), &upper),
            Some(upper) => self.leaf(name, lower.as_ref(), &upper),
        }
    }

    fn find(&self, view: &View<'r>, name: &[u8]) -> Result<Option<Found>, CompareError> {
        view.find(self.sys, name)
            .map_err(|errno| self.io(name, "look at", errno))
    }

    /// The upper tree does not have `name`.
    fn gone(&mut self, name: &[u8], lower: Option<&Found>) -> Result<(), CompareError> {
        match lower {
            Some(_) => self.emitter.whiteout(&mut self.trail, name),
            None => Ok(()),
        }
    }

    /// The upper tree has a folder.
    fn folder(&mut self, name: &[u8], lower: Option<&Found>, upper: &Found) -> Result<(), CompareError> {
        let capability = match capability(self.sys, self.upper.dir(upper), name) {
            Err(Errno::NOENT) => return self.gone(name, lower),
            other => other.map_err(|errno| self.io(name, "read the capabilities of", errno))?,
        };
        let lower_folder = lower.filter(|lower| is_folder(lower));
        let is_changed = match lower_folder {
            Some(lower) => !self.is_same(name, lower, upper)?,
            None => true,
        };
        let entered = match self.upper.enter(self.sys, name) {
            Err(trouble) => return Err(self.trouble(name, trouble)),
            Ok(entered) => entered,
        };
        let Entered::Folder { opaque } = entered else {
            return self.gone(name, lower);
        };
        let has_lower = lower_folder.is_some() && {
            let entered = self.lower.enter(self.sys, name);
            entered.map_err(|trouble| self.trouble(name, trouble))? != Entered::Nothing
        };
        let stat = upper.stat;
        self.trail.push(name, Facts { stat, capability });
        if is_changed {
            self.emitter.folders(&mut self.trail)?;
        }
        let whole = opaque || self.frames.last().is_some_and(|frame| frame.whole);
        self.list(has_lower, whole)
    }

    /// The upper tree has something that is no folder.
    fn leaf(&mut self, name: &[u8], lower: Option<&Found>, upper: &Found) -> Result<(), CompareError> {
        if kind(upper) == FileType::Socket {
            self.emitter.counts.sockets += 1;
            // A layer cannot hold it; but what it took the place of is not there any more.
            let replaced = lower.filter(|lower| kind(lower) != FileType::Socket);
            return self.gone(name, replaced);
        }
        let is_linked = upper.stat.st_nlink > 1;
        if is_linked && let Some(marks) = self.upper.marks() {
            let indexed = marks.is_indexed(self.sys, self.upper.dir(upper), name);
            match indexed {
                Ok(false) => {}
                Ok(true) => return Err(CompareError::cannot(&self.trail.path_of(name), INDEXED)),
                Err(Errno::NOENT) => return self.gone(name, lower),
                Err(errno) => return Err(self.io(name, "read the attributes of", errno)),
            }
        }
        let unchanged = match lower {
            Some(lower) => self.is_same(name, lower, upper)?,
            None => false,
        };
        if unchanged && !is_linked {
            return Ok(());
        }
        let leaf = Leaf {
            dir: self.upper.dir(upper),
            name,
            stat: upper.stat,
            unchanged,
        };
        match self.emitter.leaf(&mut self.trail, &leaf)? {
            Emitted::Done => Ok(()),
            Emitted::Gone => self.gone(name, lower),
        }
    }

    fn is_same(&mut self, name: &[u8], lower: &Found, upper: &Found) -> Result<bool, CompareError> {
        let sides = (
            Side {
                dir: self.lower.dir(lower),
                stat: &lower.stat,
            },
            Side {
                dir: self.upper.dir(upper),
                stat: &upper.stat,
            },
        );
        match self.comparer.compare(name, sides.0, sides.1) {
            Ok(Verdict::Same) => Ok(true),
            Ok(Verdict::Different) => Ok(false),
            Ok(Verdict::NoContent) => Err(CompareError::cannot(&self.trail.path_of(name), NO_CONTENT)),
            Err(Errno::CANCELED) => Err(CompareError::Cancelled),
            // What went away meanwhile is not the same; whoever reads it next finds out.
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.io(name, "compare", errno)),
        }
    }

    fn io(&self, name: &[u8], action: &'static str, errno: Errno) -> CompareError {
        CompareError::io(&self.trail.path_of(name), action, errno)
    }

    fn trouble(&self, name: &[u8], trouble: Trouble) -> CompareError {
        trouble_at(&self.trail.path_of(name), trouble)
    }
}

/// The error for a view's trouble with the folder `path`.
pub(super) fn trouble_at(path: &[u8], trouble: Trouble) -> CompareError {
    match trouble {
        Trouble::Errno(errno) => CompareError::io(path, "open", errno),
        Trouble::Cannot(reason) => CompareError::cannot(path, reason),
    }
}

fn kind(found: &Found) -> FileType {
    FileType::from_raw_mode(found.stat.st_mode)
}

fn is_folder(found: &Found) -> bool {
    kind(found) == FileType::Directory
}

/// Two sorted lists as one.
fn merge(upper: Vec<Vec<u8>>, lower: Vec<Vec<u8>>) -> Vec<Item> {
    let mut items = Vec::with_capacity(upper.len().max(lower.len()));
    let (mut upper, mut lower) = (upper.into_iter().peekable(), lower.into_iter().peekable());
    loop {
        let order = match (upper.peek(), lower.peek()) {
            (None, None) => return items,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.cmp(b),
        };
        let from_upper = if order.is_le() { upper.next() } else { None };
        let from_lower = if order.is_ge() { lower.next() } else { None };
        let (in_upper, in_lower) = (from_upper.is_some(), Some(from_lower.is_some()));
        items.extend(from_upper.or(from_lower).map(|name| Item {
            name,
            in_upper,
            in_lower,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_merged_in_order_and_say_where_a_name_was() {
        let list = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let merged = merge(list(&["a", "c", "d"]), list(&["b", "c", "e", "f"]));
        let shown: Vec<(String, bool, Option<bool>)> = merged
            .into_iter()
            .map(|item| {
                (
                    String::from_utf8(item.name).unwrap(),
                    item.in_upper,
                    item.in_lower,
                )
            })
            .collect();
        let expected = [
            ("a", true, false),
            ("b", false, true),
            ("c", true, true),
            ("d", true, false),
            ("e", false, true),
            ("f", false, true),
        ]
        .map(|(name, upper, lower)| (name.to_owned(), upper, Some(lower)));
        assert_eq!(shown, expected);
    }
}
