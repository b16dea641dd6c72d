//! Small files for directories that the session has made itself.
//!
//! Of ten thousand small files, each costs what the kernel takes for its calls and hardly anything else. Where nothing can
//! be in the way, half of the calls are not needed: nobody has to be told before the contents come that a name is taken,
//! and a temporary that lives for microseconds needs no lock. So nothing is done until all of the contents are here, and
//! then all at once. Whatever fails then, and be it that something is in the way after all, is nothing of ours to judge: the
//! temporary is removed, and the file goes the way of all others, which finds the same, and has words for it.

use std::fs::File;
use std::io::Write;

use filetime::set_file_handle_times;
use nix::errno::Errno;
use nix::sys::stat::{self, fchmod};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::dir::{Dir, Origin};
use super::durability::Taking;
use super::upload::Upload;
use super::{renaming, temporary};
use crate::attr::{Mode, Times};
use crate::name::FileName;
use crate::policy::{Collision, Leave, Operation, Sync};
use crate::refusal::{Refusal, Words, errno};
use crate::request::Keep;

/// Bytes up to which a file is small: what a client sends at once, and the session's buffer holds twice.
const SMALL: usize = 32 * 1024;

/// Bytes of the longest name that the file systems take of which it is known that they take contents at once.
const LENGTH: usize = 255;

/// A file on its way in.
#[must_use]
#[derive(Debug)]
pub enum Incoming<'d> {
    /// It is written as it comes.
    InPieces(Box<Upload<'d>>),
    /// It is written when all of it is here.
    AtOnce(Small<'d>),
}

/// A small file of which nothing is there until all of it is.
#[must_use]
#[derive(Debug)]
pub struct Small<'d> {
    dir: &'d Dir<'d>,
    name: FileName,
    size: usize,
    /// What it is until it is whole, from when the client may begin to send it.
    begun: Option<File>,
    replaces: bool,
}

impl<'j> Dir<'j> {
    /// Starts to take a file of `size` bytes to be called `name`.
    ///
    /// # Errors
    /// As [`Dir::upload`]; but in a directory that the session has made, what is there is looked at when the contents of
    /// a small file have come.
    pub fn take(&self, name: FileName, size: u64) -> Result<Incoming<'_>, Refusal> {
        let is_free = || {
            self.is_quiet()
                && name.as_bytes().len() <= LENGTH
                && self.judge(&name, Operation::Overwrite).is_ok()
        };
        let small = usize::try_from(size).ok().filter(|&size| size <= SMALL && is_free());
        let Some(small) = small else { return self.upload(name, size).map(Box::new).map(Incoming::InPieces) };
        let allowed = self.allow_upload(&name, size).and_then(|()| self.judge(&name, Operation::Create));
        match allowed {
            Ok(()) => {
                Ok(Incoming::AtOnce(Small { dir: self, name, size: small, begun: None, replaces: false }))
            }
            Err(why) => Err(Refusal::new(&self.trail(&name), why)),
        }
    }

    /// Tells whether there is nothing in the directory but what the session puts there, and nothing to be done with a file
    /// but to write it and to give it a mode and times.
    fn is_quiet(&self) -> bool {
        let storage = &self.jail.storage;
        self.origin != Origin::Found
            && self.allowed().is_none()
            && storage.group_id.is_none()
            && storage.sync == Sync::None
            && self.jail.rights.collision == Collision::Replace
            && self.jail.limits.free_space.is_none()
            && !self.jail.lacks.short_way.get()
            && self.jail.taking_on(self.identity.device) == Some(Taking::AtOnce)
    }
}

impl Incoming<'_> {
    /// The words for the file, as the client would write its path.
    pub fn words(&self) -> Words<'_> {
        match self {
            Self::InPieces(upload) => Words::Whole(upload.trail()),
            Self::AtOnce(small) => small.words(),
        }
    }

    /// Tells whether another file gives way to this one, as far as is known.
    pub fn replaces(&self) -> bool {
        match self {
            Self::InPieces(upload) => upload.replaces(),
            Self::AtOnce(small) => small.replaces,
        }
    }

    /// Returns what the file is called, if its own name was taken.
    pub fn renamed(&self) -> Option<&FileName> {
        match self {
            Self::InPieces(upload) => upload.renamed(),
            Self::AtOnce(_) => None,
        }
    }
}

impl Small<'_> {
    /// Returns how many bytes there are to be.
    pub fn size(&self) -> usize {
        self.size
    }

    fn words(&self) -> Words<'_> {
        self.dir.own_trail().entry(&self.name)
    }

    /// Makes a file for the contents, while the client is about to send them. If that fails, it is not said yet.
    pub fn prepare(&mut self) {
        self.begun = self.first_name().and_then(|name| temporary::create_unlocked(&self.dir.fd, name).ok());
    }

    /// Returns what the file is called until it is whole: in a tree that has no name yet itself, what it is called then.
    fn first_name(&self) -> Option<&FileName> {
        match self.dir.origin {
            Origin::Staged => Some(&self.name),
            Origin::Found | Origin::Made => self.dir.jail.small.get_or_init(temporary::make_up).as_ref(),
        }
    }

    /// Stores all of the contents, and returns the mode that the file has got.
    ///
    /// # Errors
    /// As [`Dir::upload`] and [`Upload::commit`].
    pub fn store(
        &mut self,
        contents: &[u8],
        mode: Mode,
        keep: Keep,
        times: Option<&Times>,
    ) -> Result<Mode, Refusal> {
        let jail = self.dir.jail;
        let wanted = match (jail.storage.file_mode, keep) {
            (Some(forced), _) => Mode::new(forced),
            (None, Keep::Attributes) => mode.only(jail.kept_bits()),
            (None, Keep::Contents) => jail.mode_of_new(mode, None),
        };
        let times = times.filter(|_| jail.storage.times == Leave::Given);
        let size = contents.len().try_into().unwrap_or(u64::MAX);
        if self.finish(contents, wanted, times).is_some() {
            jail.count_one_more(size);
            return Ok(wanted);
        }
        self.discard();
        jail.lacks.short_way.set(true);
        let mut upload = self.dir.upload(self.name.clone(), size)?;
        self.replaces = upload.replaces();
        upload.file().write_all(contents).map_err(|error| Refusal::new(&self.words().trail(), error))?;
        upload.commit(mode, keep, times)
    }

    /// Finishes the file, and gives it its name if nobody has that.
    fn finish(&mut self, contents: &[u8], mode: Mode, times: Option<&Times>) -> Option<()> {
        fill(self.begun.as_ref()?, contents, mode, times).ok()?;
        let (dir, from, to) = (&self.dir.fd, self.first_name()?, &self.name);
        if from != to {
            renaming::take(dir, from, to).ok()?;
        }
        self.begun = None;
        Some(())
    }

    /// Removes what was begun. If another session has taken it for stale, it is gone already.
    fn discard(&mut self) {
        if self.begun.take().is_some()
            && let Some(name) = self.first_name()
        {
            let _ = unlinkat(&self.dir.fd, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        self.discard();
    }
}

fn fill(mut file: &File, contents: &[u8], mode: Mode, times: Option<&Times>) -> Result<(), Errno> {
    file.write_all(contents).map_err(|error| errno(&error))?;
    fchmod(file, stat::Mode::from_bits_truncate(mode.bits()))?;
    times.map_or(Ok(()), |times| {
        set_file_handle_times(file, Some(times.accessed), Some(times.modified)).map_err(|error| errno(&error))
    })
}
