//! A box that can only be put into: nothing in it is touched again, and nobody learns what is in it.
//!
//! What is there and what is not has the same answers: every name is free, and one that is taken gets a number behind it.
//! Whose directory it is meant for does not count, or a path would tell which directories there are.

use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use super::dir::{Arrival, Dir};
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

/// Returns the name, and what it becomes when it is taken: `name.2`, `name.3`; as much of it as there is room for.
pub(super) fn names_like(name: &FileName) -> impl Iterator<Item = FileName> {
    let bytes = name.as_bytes().to_vec();
    let numbered = (2..=SAME).filter_map(move |number| {
        let suffix = format!(".{number}");
        let kept = if bytes.len() > NAME { bytes.len() } else { NAME.saturating_sub(suffix.len()) };
        let kept = bytes.get(..kept).unwrap_or(&bytes);
        FileName::new(&[kept, suffix.as_bytes()].concat())
    });
    [name.clone()].into_iter().chain(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_gets_a_number_that_fits_behind_it() {
        let like = |name: &str, nth: usize| names_like(&FileName::new(name.as_bytes()).unwrap()).nth(nth);
        for (nth, wanted) in [(0, "a.txt"), (1, "a.txt.2"), (2, "a.txt.3"), (11, "a.txt.12")] {
            assert_eq!(like("a.txt", nth), FileName::new(wanted.as_bytes()));
        }
        let long = "x".repeat(255);
        assert_eq!(like(&long, 1).unwrap().as_bytes(), ["x".repeat(253), ".2".into()].concat().as_bytes());
        assert_eq!(like(&long, 9).unwrap().as_bytes(), ["x".repeat(252), ".10".into()].concat().as_bytes());
        assert_eq!(names_like(&FileName::new(b"a").unwrap()).count(), 100_000);
    }
}
