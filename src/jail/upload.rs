//! A file that has no name until it is committed.

use std::ffi::OsStr;
use std::fs::File;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use filetime::set_file_handle_times;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{self, FileStat, SFlag, fchmod, fstat};
use nix::unistd::{
    AccessFlags, Gid, UnlinkatFlags, close, faccessat, fchown, fdatasync, ftruncate, geteuid, linkat,
    unlinkat,
};

use super::Jail;
use super::dir::Dir;
use super::drop_box::take_free;
use super::durability::{Settling, Taking, open_readable};
use super::inheritance::{Inheritance, allowed_by};
use super::lookup::{is_mounted_over, kind, look_at};
use super::renaming;
use super::temporary::{self, NO_LOCKS, Temporary};
use crate::attr::{Mode, Times};
use crate::name::FileName;
use crate::policy::{Collision, Leave, Operation, Replacement, Storage, Sync};
use crate::refusal::{Cause, Refusal, Trail, errno};
use crate::request::Keep;

/// Links that an unconfined upload follows to the file that it replaces, as the kernel's own limit.
const LINKS: usize = 40;

/// A file on its way in: written under a temporary name, and given its own only when it is whole. Dropped before, it
/// leaves no trace and the old file is still there.
#[must_use]
#[derive(Debug)]
pub struct Upload<'d> {
    jail: &'d Jail,
    home: Home<'d>,
    name: FileName,
    file: File,
    manner: Manner,
    /// What is replaced, if it is a file.
    old: Option<Old>,
    /// What it has beside that, if it could be read.
    inheritance: Option<Inheritance>,
    /// What the directory's default list allows to a new file, if there is one.
    allowed: Option<Mode>,
    size: u64,
    taking: Taking,
    trail: Trail,
    taken: Taken,
    /// What it is called, if its own name was taken.
    renamed: Option<FileName>,
}

/// What becomes of the file if its name is taken, or is when it is whole.
#[derive(Debug)]
enum Taken {
    /// It is refused.
    Refused(Cause),
    /// It gets another name.
    Renamed,
    /// It takes the place of the old one.
    Replaced,
}

/// What a new file takes over from the one that it replaces.
#[derive(Clone, Copy, Debug)]
struct Old {
    mode: Mode,
    group: Gid,
}

/// The directory that the file will be in.
#[derive(Debug)]
enum Home<'d> {
    Here(&'d OwnedFd, u64),
    /// Where a link led, on the host.
    Elsewhere(OwnedFd),
}

/// How the contents get to their name.
#[derive(Debug)]
enum Manner {
    /// They are under it already: written into the old file.
    InPlace,
    /// Renamed from this name.
    Renamed(FileName),
    /// It is done.
    Settled,
}

impl<'j> Dir<'j> {
    /// Starts an upload of `size` bytes to be called `name`. All that can be known to fail fails here, before the
    /// client sends a byte: libssh2 never reads the reply to the contents.
    ///
    /// # Errors
    /// The rights, the name, the size or the file that is there forbid it, or no file can be made.
    pub fn upload(&self, name: FileName, size: u64) -> Result<Upload<'_>, Refusal> {
        let mut trail = self.trail(&name);
        self.start(name, size, &mut trail).map_err(|why| Refusal::new(&trail, why))
    }

    /// Refuses what the rights, the name and the limits forbid, whatever is there.
    pub(super) fn allow_upload(&self, name: &FileName, size: u64) -> Result<(), Cause> {
        self.allow_storing(name)?;
        if let Some(limit) = self.jail.limits.file_size.filter(|&limit| size > limit) {
            return Err(Cause::TooLarge { size, limit });
        }
        self.jail.allow_one_more(size)
    }

    /// Takes the trail for the upload, if there is one.
    fn start(&self, name: FileName, size: u64, trail: &mut Trail) -> Result<Upload<'_>, Cause> {
        self.allow_upload(&name, size)?;
        self.clear_away_once();
        let (home, name, old) = self.destination(name)?;
        let taken = match self.jail.rights.collision {
            Collision::Replace => {
                self.judge(&name, Operation::Overwrite).map_or_else(Taken::Refused, |()| Taken::Replaced)
            }
            Collision::Refuse => Taken::Refused(Errno::EEXIST.into()),
            Collision::Rename => Taken::Renamed,
        };
        // What is there has nothing to do with what comes.
        let old = old.filter(|_| !matches!(taken, Taken::Renamed));
        let plan = match (&old, &taken) {
            (None, _) | (_, Taken::Renamed) => {
                self.judge(&name, Operation::Create)?;
                Plan::Rename
            }
            (Some(_), Taken::Refused(why)) => {
                // What may not be made either need not be known to be there.
                self.judge(&name, Operation::Create)?;
                return Err(why.clone());
            }
            (Some(stat), Taken::Replaced) => self.plan(stat, &home, &name)?,
        };
        let inherits = |stat: &FileStat| kind(stat) == SFlag::S_IFREG && !matches!(plan, Plan::InPlace);
        let inheritance = old
            .as_ref()
            .filter(|stat| inherits(stat))
            .map(|_| Inheritance::of(home.fd(), &name).unwrap_or_default());
        let allowed = match &home {
            Home::Here(..) => self.allowed(),
            Home::Elsewhere(fd) => open_readable(fd).ok().and_then(allowed_by),
        };
        let (file, manner) = match plan {
            Plan::InPlace => (open_in_place(&home, &name)?, Manner::InPlace),
            Plan::Rename | Plan::RenameIfPossible => {
                self.jail.check_space(home.fd(), size)?;
                match temporary::create(home.fd()) {
                    Ok(Temporary { file, name, locked }) => {
                        if !locked {
                            self.jail.note_lack(|lacks| &lacks.locks, NO_LOCKS);
                        }
                        (file, Manner::Renamed(name))
                    }
                    Err(Errno::EACCES | Errno::EPERM) if matches!(plan, Plan::RenameIfPossible) => {
                        (open_in_place(&home, &name)?, Manner::InPlace)
                    }
                    Err(errno) => return Err(errno.into()),
                }
            }
        };
        let old = old.filter(|stat| kind(stat) == SFlag::S_IFREG).map(|stat| Old {
            mode: Mode::new(stat.st_mode).only(Mode::PERMISSIONS),
            group: Gid::from_raw(stat.st_gid),
        });
        let taking = home.device().map_or(Taking::Later, |device| self.jail.write_at_once(device, &file));
        Ok(Upload {
            jail: self.jail,
            home,
            name,
            file,
            manner,
            old,
            inheritance,
            allowed,
            size,
            taking,
            trail: mem::take(trail),
            taken,
            renamed: None,
        })
    }

    /// Finds the name that the file will have, and what is there. A link is a name like any other when confined, and
    /// is replaced; on the host it is followed, as OpenSSH does.
    fn destination(&self, mut name: FileName) -> Result<(Home<'_>, FileName, Option<FileStat>), Cause> {
        let old = look_at(&self.fd, &name)?;
        if self.jail.confines() || old.is_none_or(|stat| kind(&stat) != SFlag::S_IFLNK) {
            return Ok((Home::Here(&self.fd, self.identity().device), name, old));
        }
        let mut dir = self.fd.try_clone()?;
        for _ in 0..LINKS {
            let target = match readlinkat(&dir, name.as_os_str()) {
                Ok(target) => target,
                // Not a link any more: it is what is there.
                Err(Errno::EINVAL | Errno::ENOENT) => {
                    let old = look_at(&dir, &name)?;
                    return Ok((Home::Elsewhere(dir), name, old));
                }
                Err(errno) => return Err(errno.into()),
            };
            let bytes = target.as_bytes();
            let slash = bytes.iter().rposition(|&byte| byte == b'/');
            let (parent, last) = bytes.split_at(slash.map_or(0, |slash| slash.saturating_add(1)));
            let parent = if parent.is_empty() { b"." } else { parent };
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            dir = openat(&dir, OsStr::from_bytes(parent), flags, stat::Mode::empty())?;
            name = FileName::new(last).ok_or(Errno::EISDIR)?;
        }
        Err(Errno::ELOOP.into())
    }

    fn plan(&self, old: &FileStat, home: &Home<'_>, name: &FileName) -> Result<Plan, Cause> {
        let confined = self.jail.confines();
        match kind(old) {
            SFlag::S_IFREG => {}
            SFlag::S_IFLNK => return Ok(Plan::Rename),
            SFlag::S_IFDIR => return Err(Errno::EISDIR.into()),
            // `scp x host:/dev/null` works.
            SFlag::S_IFCHR if !confined => return Ok(Plan::InPlace),
            _ => return Err(Cause::NotRegular),
        }
        if !confined {
            // OpenSSH opens the old file to write into it; a file that says no is not replaced behind its back.
            faccessat(home.fd(), name.as_os_str(), AccessFlags::W_OK, AtFlags::AT_EACCESS)?;
        }
        if confined {
            // Never into what is there: it may have, or be given in this moment, another name outside.
            return Ok(Plan::Rename);
        }
        let shared = old.st_nlink > 1;
        let foreign = old.st_uid != geteuid().as_raw();
        Ok(match self.jail.storage.replacement {
            Replacement::Always => Plan::Rename,
            Replacement::Off => Plan::InPlace,
            Replacement::Auto if shared || foreign || is_mounted_over(home.fd(), name) => Plan::InPlace,
            Replacement::Auto => Plan::RenameIfPossible,
        })
    }
}

/// How an upload is going to get to its name.
#[derive(Clone, Copy)]
enum Plan {
    InPlace,
    Rename,
    RenameIfPossible,
}

impl Home<'_> {
    fn fd(&self) -> &OwnedFd {
        match self {
            Self::Here(fd, _) => fd,
            Self::Elsewhere(fd) => fd,
        }
    }

    fn device(&self) -> Result<u64, Errno> {
        match self {
            Self::Here(_, device) => Ok(*device),
            Self::Elsewhere(fd) => fstat(fd).map(|stat| stat.st_dev),
        }
    }
}

impl Upload<'_> {
    /// The file to write the contents to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The words for the file, as the client would write its path.
    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Tells whether another file gives way to this one.
    pub fn replaces(&self) -> bool {
        self.old.is_some()
    }

    /// Returns what the file is called, if its own name was taken.
    pub fn renamed(&self) -> Option<&FileName> {
        self.renamed.as_ref()
    }

    /// Gives the file its mode, its times and its name, and returns the mode that it has got.
    ///
    /// # Errors
    /// It has not got its name, and the old file is still there; or it has, but not its mode and times, or not for
    /// certain on the disk.
    pub fn commit(&mut self, mode: Mode, keep: Keep, times: Option<&Times>) -> Result<Mode, Refusal> {
        self.publish(mode, keep, times).map_err(|why| Refusal::new(&self.trail, why))
    }

    fn publish(&mut self, mode: Mode, keep: Keep, times: Option<&Times>) -> Result<Mode, Cause> {
        if matches!(self.manner, Manner::InPlace) {
            self.cut()?;
        }
        // A file system on a network or in a process may only now find out that there is no room, and says so once: not in
        // the answer to something that the contents can do without. Not the file itself, which holds the lock.
        if self.taking != Taking::AtOnce || matches!(self.manner, Manner::InPlace) {
            close(self.file.try_clone()?)?;
        }
        // As OpenSSH: contents without their attributes are better than none, and the client is told.
        let moded = self.set_mode(mode, keep);
        let timed = match times.filter(|_| self.jail.storage.times == Leave::Given) {
            Some(times) => set_file_handle_times(&self.file, Some(times.accessed), Some(times.modified))
                .map_err(|error| Cause::times(errno(&error))),
            None => Ok(()),
        };
        let sync = self.jail.storage.sync;
        if sync == Sync::File {
            match fdatasync(&self.file) {
                // A device has nothing to make durable.
                Err(Errno::EINVAL) => {}
                settled => settled?,
            }
        }
        let renames = matches!(self.manner, Manner::Renamed(_));
        let settling = if renames || sync == Sync::Session {
            self.jail.ready_to_settle(self.home.fd(), self.home.device()?, self.file.as_fd())?
        } else {
            Settling::Nothing
        };
        if let Manner::Renamed(temporary) = &self.manner {
            match &self.taken {
                Taken::Replaced => renaming::replace(self.home.fd(), temporary, &self.name)?,
                Taken::Renamed => {
                    let rename = |name: &FileName| self.rename_to_free(temporary, name);
                    let free = take_free(self.home.fd(), &self.name, rename)?;
                    self.renamed = (free != self.name).then_some(free);
                }
                Taken::Refused(why) => match self.rename_to_free(temporary, &self.name) {
                    Err(Errno::EEXIST) => return Err(why.clone()),
                    renamed => renamed?,
                },
            }
            self.manner = Manner::Settled;
        }
        self.jail.count_one_more(self.size);
        settling.settle()?;
        moded.and_then(|mode| timed.map(|()| mode))
    }

    /// Renames only to a name that nobody has, also when somebody took it just now.
    fn rename_to_free(&self, temporary: &FileName, name: &FileName) -> Result<(), Errno> {
        match renaming::take(self.home.fd(), temporary, name) {
            // A second name is refused where one is, and the first one is taken off.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                self.jail.note_lack(
                    |lacks| &lacks.no_replace,
                    "this file system cannot rename without replacing: files get a second name and lose the first",
                );
                let (dir, from, to) = (self.home.fd(), temporary.as_os_str(), name.as_os_str());
                linkat(dir, from, dir, to, AtFlags::empty())?;
                // It has its name now; the first one, if it stays, is a stale temporary's.
                let _ = unlinkat(dir, from, UnlinkatFlags::NoRemoveDir);
                Ok(())
            }
            renamed => renamed,
        }
    }

    /// Takes off what is left of a longer old file. Devices have no length.
    fn cut(&self) -> Result<(), Cause> {
        if kind(&fstat(&self.file)?) == SFlag::S_IFREG {
            ftruncate(&self.file, i64::try_from(self.size).map_err(|_| Errno::EFBIG)?)?;
        }
        Ok(())
    }

    fn set_mode(&self, mode: Mode, keep: Keep) -> Result<Mode, Cause> {
        let Storage { file_mode: forced, group_id: group, .. } = self.jail.storage;
        // Written into, the old file has kept its group and its bits.
        let old = self.old.filter(|_| !matches!(self.manner, Manner::InPlace));
        let grouped = group.map_or(Ok(()), |group| self.take_group(Gid::from_raw(group)));
        let regrouped = match (group, old) {
            (Some(group), Some(old)) => old.group.as_raw() == group,
            (None, Some(old)) => self.take_group(old.group).is_ok(),
            (_, None) => true,
        };
        let inheritance = self.inheritance.as_ref().filter(|_| old.is_some());
        let listed = match inheritance {
            // A new file has no list but from its directory.
            Some(old) if old.has_list() || self.allowed.is_some() => old.give_list(&self.file),
            _ => Ok(()),
        };
        let attributed = inheritance.map_or(Ok(()), |old| old.give_others(&self.file));
        let wanted = match (forced, keep, old, &self.manner) {
            (Some(forced), ..) => Mode::new(forced),
            (None, Keep::Attributes, _, _) => mode.only(self.jail.kept_bits()),
            (None, Keep::Contents, _, Manner::InPlace) => {
                return grouped.map(|()| self.old.map_or(mode, |old| old.mode));
            }
            (None, Keep::Contents, Some(old), _) if regrouped => old.mode,
            (None, Keep::Contents, Some(old), _) => old.mode.for_another_group(),
            (None, Keep::Contents, None, _) => self.jail.mode_of_new(mode, self.allowed),
        };
        // Where the list is not as it was, what the mode says of the group may have been meant for somebody else.
        let all_given = grouped.is_ok() && listed.is_ok();
        let wanted = if all_given { wanted } else { wanted.for_another_group() };
        let moded = fchmod(&self.file, stat::Mode::from_bits_truncate(wanted.bits())).map_err(Cause::mode);
        grouped.and(listed).and(attributed).and(moded).map(|()| wanted)
    }

    /// Gives the file a group: that of the old one, or the administrator's.
    fn take_group(&self, group: Gid) -> Result<(), Cause> {
        match fstat(&self.file) {
            Ok(stat) if stat.st_gid == group.as_raw() => Ok(()),
            _ => fchown(&self.file, None, Some(group)).map_err(Cause::group),
        }
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if let Manner::Renamed(temporary) = &self.manner {
            // A failure here has nobody left to hear it.
            let _ = unlinkat(self.home.fd(), temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Opens the old file to write into it: never truncated, so that it is the old one until the last byte has come.
fn open_in_place(home: &Home<'_>, name: &FileName) -> Result<File, Cause> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = File::from(openat(home.fd(), name.as_os_str(), flags, stat::Mode::empty())?);
    match kind(&fstat(&file)?) {
        SFlag::S_IFREG | SFlag::S_IFCHR => Ok(file),
        _ => Err(Cause::NotRegular),
    }
}
