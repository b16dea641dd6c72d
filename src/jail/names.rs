//! The names in a directory, without those that nobody is to know of.

use nix::dir::{Dir as Listing, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{self, SFlag, fstat};

use super::Identity;
use super::dir::Dir;
use super::lookup::{kind, look_at};
use super::temporary::is_temporary;
use crate::name::FileName;
use crate::policy::Operation;
use crate::refusal::{Cause, Refusal, Trail, errno};

/// The names in a directory, one at a time: a million of them need no more memory than one.
pub struct Names<'j> {
    entries: OwningIter,
    /// The directory, if not all that is in it is to be known.
    shown: Option<Dir<'j>>,
}

impl<'j> Dir<'j> {
    /// Lists the directory; our own temporaries are not among its names.
    ///
    /// # Errors
    /// It may not be read.
    pub fn names(&self) -> Result<Names<'j>, Refusal> {
        let open = || {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let listing = openat(&self.fd, ".", flags, stat::Mode::empty()).and_then(Listing::from_fd)?;
            let shown = if self.jail.has_rules() { Some(self.twin()?) } else { None };
            Ok(Names { entries: listing.into_iter(), shown })
        };
        open().map_err(|errno: Errno| Refusal::new(&self.trail, errno))
    }

    /// Returns the same directory once more.
    fn twin(&self) -> Result<Self, Errno> {
        let fd = self.fd.try_clone().map_err(|error| errno(&error))?;
        Ok(Self::new(self.jail, fd, &fstat(&self.fd)?, self.route.clone(), self.trail.clone()))
    }

    /// Tells whether a name is one of those that a client may know of.
    fn shows(&self, name: &FileName) -> bool {
        let route = self.route_to(name);
        match self.jail.judge(route.as_deref(), Operation::Download) {
            Err(Cause::Hidden) => {
                self.jail.leads_on(route.as_deref(), &[Operation::Download])
                    && matches!(look_at(&self.fd, name), Ok(Some(stat)) if kind(&stat) == SFlag::S_IFDIR)
            }
            _ => true,
        }
    }

    /// Finds what the directory is called where it stands.
    pub(super) fn name_in_parent(&self) -> Option<FileName> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let parent = openat(&self.fd, "..", flags, stat::Mode::empty()).ok()?;
        let identity = self.identity;
        let stat = fstat(&parent).ok()?;
        let parent = Dir::new(self.jail, parent, &stat, None, Trail::default());
        let mut names = parent.names().ok()?;
        let is_this = |name: &FileName| {
            look_at(&parent.fd, name).ok().flatten().is_some_and(|stat| Identity::of(&stat) == identity)
        };
        names.find_map(|name| name.ok().filter(is_this))
    }
}

impl Iterator for Names<'_> {
    type Item = Result<FileName, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.entries.next()? {
                Ok(entry) => entry,
                Err(errno) => return Some(Err(errno)),
            };
            // `.` and `..` are no names.
            match FileName::new(entry.file_name().to_bytes()) {
                Some(name) if !is_temporary(&name) && self.may_tell(&name) => return Some(Ok(name)),
                _ => {}
            }
        }
    }
}

impl Names<'_> {
    fn may_tell(&self, name: &FileName) -> bool {
        self.shown.as_ref().is_none_or(|dir| dir.shows(name))
    }
}
