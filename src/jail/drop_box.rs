//! A box that can only be put into: nothing in it is touched again, and nobody learns what is in it.
//!
//! What is there and what is not has the same answers: every name is free, and one that is taken gets a number behind it.
//! Whose directory it is meant for does not count, or a path would tell which directories there are.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use super::dir::Dir;
use super::lookup::look_at;
use super::making::Arrival;
use super::{Insists, Jail, Place};
use crate::attr::Mode;
use crate::name::{ClientPath, FileName};
use crate::policy::DropBox;
use crate::refusal::{Cause, Refusal, Trail};
use crate::request::{Keep, TargetKind};

/// The longest name that file systems take.
const NAME: usize = 255;

/// Files of one name that the box has room for.
const SAME: u32 = 100_000;

impl Jail {
    /// Finds where in the box an upload goes: into it, or under the last name of the path.
    pub(super) fn find_in_box(
        &self,
        drop_box: &DropBox,
        path: &ClientPath,
        kind: TargetKind,
    ) -> Result<Place<'_>, Refusal> {
        let name = path.last().filter(|_| kind == TargetKind::Any && !path.means_directory());
        let inside = drop_box.directory.as_deref().map_or(&b""[..], |path| path.as_os_str().as_bytes());
        let last = name.as_ref().map_or(&b""[..], FileName::as_bytes);
        let trail = Trail::from_path(path).at(&[inside, b"/", last].concat());
        let words = if name.is_some() { trail.parent() } else { trail.clone() };
        let dir = self.open_box(drop_box, words).map_err(|why| Refusal::new(&trail, why))?;
        Ok(match name {
            Some(name) => Place::Name { dir, name, spelling: Insists::No },
            None => Place::Directory(dir),
        })
    }

    /// Opens the box, and makes the directories on the way to it that are not there.
    fn open_box(&self, drop_box: &DropBox, trail: Trail) -> Result<Dir<'_>, Cause> {
        let mut dir = self.open_directory(b"", trail.clone())?;
        let path = drop_box.directory.as_deref().map_or(&b""[..], |path| path.as_os_str().as_bytes());
        for name in path.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
            let name = FileName::new(name).ok_or(Errno::ENOENT)?;
            let (inner, arrival) = dir.make_or_find(&name, trail.clone())?;
            if arrival == Arrival::Made {
                inner
                    .finish(arrival, Mode::new(0o700), Keep::Contents, None)
                    .map_err(|refusal| refusal.why)?;
            }
            dir = inner;
        }
        Ok(dir)
    }
}

/// Takes a name in `dir` that is free: this one, or the same with a number behind it; returns it.
///
/// The numbers are not tried in their order: of a name that is there a thousand times, a sender would cause a thousand
/// calls with a dozen bytes, and could count them by the time that they take.
///
/// # Errors
/// Those of `take`; that a name is taken is none until all are.
pub(super) fn take_free(
    dir: &OwnedFd,
    name: &FileName,
    take: impl Fn(&FileName) -> Result<(), Errno>,
) -> Result<FileName, Errno> {
    match take(name) {
        Err(Errno::EEXIST) => {}
        taken => return taken.map(|()| name.clone()),
    }
    let is_taken = |number| Ok(look_at(dir, &numbered(name, number)?)?.is_some());
    // Others may have come meanwhile.
    for number in first_after_taken(is_taken)?..=SAME {
        let free = numbered(name, number)?;
        match take(&free) {
            Err(Errno::EEXIST) => {}
            taken => return taken.map(|()| free),
        }
    }
    Err(Errno::EEXIST)
}

/// Returns a number that is free with the one before it taken: the lowest free one, if they were given in their order.
fn first_after_taken(is_taken: impl Fn(u32) -> Result<bool, Errno>) -> Result<u32, Errno> {
    // The name alone counts as the first.
    let (mut taken, mut free) = (1, 2);
    while free <= SAME && is_taken(free)? {
        (taken, free) = (free, free.saturating_mul(2).min(SAME.saturating_add(1)));
    }
    while free.saturating_sub(taken) > 1 {
        let middle = taken.midpoint(free);
        if is_taken(middle)? {
            taken = middle;
        } else {
            free = middle;
        }
    }
    Ok(free)
}

/// Returns `name.2` and the like; as much of the name as there is room for.
fn numbered(name: &FileName, number: u32) -> Result<FileName, Errno> {
    let (bytes, suffix) = (name.as_bytes(), format!(".{number}"));
    let kept = if bytes.len() > NAME { bytes.len() } else { NAME.saturating_sub(suffix.len()) };
    let kept = bytes.get(..kept).unwrap_or(bytes);
    FileName::new(&[kept, suffix.as_bytes()].concat()).ok_or(Errno::EEXIST)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_name_that_is_taken_gets_a_number_that_fits_behind_it() {
        let name = |name: &str, number| {
            let numbered = numbered(&FileName::new(name.as_bytes()).unwrap(), number).unwrap();
            String::from_utf8(numbered.as_bytes().to_vec()).unwrap()
        };
        for (number, wanted) in [(2, "a.txt.2"), (3, "a.txt.3"), (12, "a.txt.12")] {
            assert_eq!(name("a.txt", number), wanted);
        }
        let long = "x".repeat(255);
        assert_eq!(name(&long, 2), ["x".repeat(253), ".2".into()].concat());
        assert_eq!(name(&long, 10), ["x".repeat(252), ".10".into()].concat());
    }

    #[test]
    fn the_lowest_free_number_is_found_in_a_few_looks() {
        for last in [1, 2, 3, 4, 5, 7, 8, 9, 100, 1023, 1024, 65_535, 99_999, SAME] {
            let looks = Cell::new(0);
            let found = first_after_taken(|number| {
                looks.set(looks.get() + 1);
                Ok(number <= last)
            });
            assert_eq!(found, Ok(last + 1));
            assert!(looks.get() <= 36, "{} looks for {last}", looks.get());
        }
    }

    #[test]
    fn with_gaps_a_number_is_found_that_is_free() {
        for gaps in [[5, 6, 7], [16, 17, 40], [2, 3, 4]] {
            let found = first_after_taken(|number| Ok(number < 64 && !gaps.contains(&number))).unwrap();
            assert!(gaps.contains(&found) || found == 64, "{gaps:?} {found}");
        }
    }
}
