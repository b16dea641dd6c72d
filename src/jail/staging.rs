//! A directory tree that is put in its place in one step: `--commit tree`.

use std::fs::{File, TryLockError};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{self, FileStat, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, UnlinkatFlags, fchown, unlinkat};

use super::dir::Dir;
use super::drop_box::take_free;
use super::inheritance::Inheritance;
use super::lookup::{kind, look_at};
use super::temporary::{self, NO_LOCKS};
use super::{Jail, removal, renaming};
use crate::attr::Mode;
use crate::name::FileName;
use crate::policy::{Collision, Operation};
use crate::refusal::{Cause, Refusal, Trail};

/// A tree on its way in, beside the place where it will be. Dropped before it is committed, it leaves no trace and the old
/// tree is still there.
#[must_use]
#[derive(Debug)]
pub struct Staging<'j> {
    jail: &'j Jail,
    home: OwnedFd,
    device: u64,
    name: FileName,
    temporary: FileName,
    /// The mode of the directory that is replaced.
    old_mode: Option<Mode>,
    trail: Trail,
    /// The tree; locked, which keeps other sessions from clearing it away.
    lock: File,
}

impl<'j> Dir<'j> {
    /// Makes a directory under a temporary name, which is to be called `name` when all is in it.
    ///
    /// # Errors
    /// The rights, the name or what is there forbid it, or no directory can be made.
    pub fn stage(&self, name: &FileName) -> Result<(Dir<'j>, Staging<'j>), Refusal> {
        let trail = self.trail(name);
        let refuse = |errno: Errno| Refusal::new(&trail, errno);
        let allowed = self.allow_storing(name).and_then(|()| self.judge(name, Operation::Mkdir));
        allowed.map_err(|why| Refusal::new(&trail, why))?;
        self.clear_away_once();
        let old = match look_at(&self.fd, name).map_err(refuse)? {
            None => None,
            Some(_) if self.jail.rights.collision == Collision::Rename => None,
            Some(_) if self.jail.rights.collision != Collision::Replace => return Err(refuse(Errno::EEXIST)),
            // What is in the old tree may not be anybody's to replace.
            Some(_) if self.jail.has_rules() => {
                return Err(Refusal::new(&trail, Cause::Forbidden("replacing a whole directory is")));
            }
            Some(stat) if kind(&stat) == SFlag::S_IFDIR => Some(Old::of(&self.fd, name, &stat)),
            // A link to a directory would be exchanged for the tree, and what it leads to not be replaced at all.
            Some(_) => return Err(refuse(Errno::ENOTDIR)),
        };
        let temporary = temporary::make_up().ok_or_else(|| refuse(Errno::EEXIST))?;
        mkdirat(&self.fd, temporary.as_os_str(), stat::Mode::S_IRWXU).map_err(refuse)?;
        self.take_in(name, &temporary, old.as_ref(), trail.clone()).map_err(|why| {
            let _ = unlinkat(&self.fd, temporary.as_os_str(), UnlinkatFlags::RemoveDir);
            Refusal::new(&trail, why)
        })
    }

    /// Opens and locks the directory that was just made for a tree.
    fn take_in(
        &self,
        name: &FileName,
        temporary: &FileName,
        old: Option<&Old>,
        trail: Trail,
    ) -> Result<(Dir<'j>, Staging<'j>), Cause> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, temporary.as_os_str(), flags, stat::Mode::empty())?;
        let (home, lock) = (self.fd.try_clone()?, File::from(fd.try_clone()?));
        if let Err(TryLockError::Error(_)) = lock.try_lock() {
            self.jail.note_lack(|lacks| &lacks.locks, NO_LOCKS);
        }
        let old_mode = old.map(|old| old.hand_on(&lock)).transpose()?;
        let dir = self.staged(fd, name, temporary, trail.clone())?;
        let (name, temporary) = (name.clone(), temporary.clone());
        let (jail, device) = (self.jail, self.identity().device);
        Ok((dir, Staging { jail, home, device, name, temporary, old_mode, trail, lock }))
    }
}

/// The directory that is replaced, as far as the new one is to be like it.
struct Old {
    mode: Mode,
    group: Gid,
    /// Whether what is made in it gets its group.
    hands_group_on: bool,
    inheritance: Inheritance,
}

impl Old {
    fn of(dir: &OwnedFd, name: &FileName, stat: &FileStat) -> Self {
        Self {
            mode: Mode::new(stat.st_mode).only(Mode::PERMISSIONS),
            group: Gid::from_raw(stat.st_gid),
            hands_group_on: stat.st_mode & SET_GROUP_ID != 0,
            inheritance: Inheritance::of_directory(dir, name).unwrap_or_default(),
        }
    }

    /// Makes the new directory like the old one before anything is made in it, and returns the mode that it is to get in
    /// the end.
    fn hand_on(&self, new: &File) -> Result<Mode, Errno> {
        let grouped =
            fstat(new)?.st_gid == self.group.as_raw() || fchown(new, None, Some(self.group)).is_ok();
        self.inheritance.give_to_directory(new)?;
        let inherited = if grouped && self.hands_group_on { SET_GROUP_ID } else { 0 };
        if inherited != 0 || self.inheritance.has_list() {
            // For our eyes only until all is in it, whatever the list says.
            fchmod(new, stat::Mode::from_bits_truncate(0o700 | inherited))?;
        }
        Ok(if grouped { self.mode } else { self.mode.for_another_group() })
    }
}

const SET_GROUP_ID: u32 = 0o2000;

impl Staging<'_> {
    /// Returns the mode of the directory that is replaced, if there is one.
    pub fn old_mode(&self) -> Option<Mode> {
        self.old_mode
    }

    /// Gives the tree its name, and removes the old one; returns the name if it is another than was wanted.
    ///
    /// # Errors
    /// It has not got its name, and the old tree is still there; or it has, but not for certain on the disk.
    pub fn commit(self) -> Result<Option<FileName>, Refusal> {
        self.publish().map_err(|why| Refusal::new(&self.trail, why))
        // Dropped now, what is left under the temporary name is removed: the old tree, or the new one.
    }

    fn publish(&self) -> Result<Option<FileName>, Cause> {
        let settling = self.jail.ready_to_settle(&self.home, self.device, self.lock.as_fd())?;
        let name = match self.jail.rights.collision {
            Collision::Rename => {
                let free = take_free(&self.home, &self.name, |name| self.rename_to_free(name))?;
                (free != self.name).then_some(free)
            }
            Collision::Refuse | Collision::Replace => {
                self.take_place()?;
                None
            }
        };
        settling.settle()?;
        Ok(name)
    }

    fn take_place(&self) -> Result<(), Errno> {
        let (home, from, to) = (&self.home, &self.temporary, &self.name);
        let placed = match self.old_mode {
            Some(_) => renaming::exchange(home, from, to),
            None => renaming::take(home, from, to),
        };
        match placed {
            Err(Errno::EINVAL | Errno::ENOSYS) => self.take_place_in_steps()?,
            Ok(()) if self.old_mode.is_some() => {
                let looked = self.is_tree(&self.temporary);
                if looked != Ok(true) {
                    // It was a tree when we looked before; what it is now is nobody's to remove.
                    renaming::exchange(home, from, to)?;
                    return Err(looked.err().unwrap_or(Errno::ENOTDIR));
                }
            }
            renamed => renamed?,
        }
        Ok(())
    }

    fn is_tree(&self, name: &FileName) -> Result<bool, Errno> {
        Ok(look_at(&self.home, name)?.is_some_and(|stat| kind(&stat) == SFlag::S_IFDIR))
    }

    /// Renames only to a name that nobody has.
    fn rename_to_free(&self, to: &FileName) -> Result<(), Errno> {
        match renaming::take(&self.home, &self.temporary, to) {
            Err(Errno::EINVAL | Errno::ENOSYS) if look_at(&self.home, to)?.is_some() => Err(Errno::EEXIST),
            // The next best on a file system that cannot do it.
            Err(Errno::EINVAL | Errno::ENOSYS) => renaming::replace(&self.home, &self.temporary, to),
            renamed => renamed,
        }
    }

    /// The next best on a file system that cannot exchange two names: for a moment there is neither tree.
    fn take_place_in_steps(&self) -> Result<(), Errno> {
        self.jail.note_lack(
            |lacks| &lacks.exchange,
            "this file system cannot exchange two names: for a moment there is neither tree",
        );
        // Killed between the two, we have not lost the old tree: it is under a name that no session clears away.
        let aside = temporary::make_up_lasting().ok_or(Errno::EEXIST)?;
        let rename = |from: &FileName, to: &FileName| renaming::replace(&self.home, from, to);
        if self.old_mode.is_none() {
            return rename(&self.temporary, &self.name);
        }
        rename(&self.name, &aside)?;
        let replaced = match self.is_tree(&aside) {
            Ok(false) => Err(Errno::ENOTDIR),
            looked => looked.and_then(|_| rename(&self.temporary, &self.name)),
        };
        // Now the old one may go, as what is under the temporary name does.
        let back = if replaced.is_ok() { &self.temporary } else { &self.name };
        if rename(&aside, back).is_err() {
            log::warn!("what was in the place of a directory is called {} now", aside.as_os_str().display());
        }
        replaced
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        let why = match removal::remove_tree(&self.home, &self.temporary) {
            // The new tree has got its name, and there was no old one.
            Ok(()) | Err(Errno::ENOENT) => return,
            Err(Errno::EXDEV) => "something is mounted in it",
            Err(errno) => errno.desc(),
        };
        // A later session tries it again.
        let name = self.temporary.as_os_str().display();
        log::warn!("a directory that is not needed any more, {name}, could not be removed: {why}");
    }
}
