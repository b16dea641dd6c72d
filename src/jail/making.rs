//! The directories of an upload: made or found, gone into, and finished.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use filetime::set_file_handle_times;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{self, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, fchown, fsync, geteuid};

use super::dir::{Dir, Origin};
use super::drop_box::take_free;
use super::gate::STORING;
use crate::attr::{Mode, Times};
use crate::name::FileName;
use crate::policy::{Collision, Leave, Operation, Storage, Sync};
use crate::refusal::{Cause, Refusal, Trail, errno};
use crate::request::Keep;

/// Whether a directory was made or found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// It is new.
    Made,
    /// It was there.
    Found,
}

impl<'j> Dir<'j> {
    /// Makes a directory, or goes into the one that is there. A link to one that is inside is followed.
    ///
    /// # Errors
    /// It cannot be made, or what is there is not a directory.
    pub fn make_dir(&self, name: &FileName) -> Result<(Dir<'j>, Arrival), Refusal> {
        let trail = self.trail(name);
        self.make_name(name, trail.clone()).map_err(|why| Refusal::new(&trail, why))
    }

    fn make_name(&self, name: &FileName, trail: Trail) -> Result<(Dir<'j>, Arrival), Cause> {
        self.allow_storing(name)?;
        if let Err(why) = self.judge(name, Operation::Mkdir) {
            return self.pass_through(name, trail, why);
        }
        if self.jail.rights.collision != Collision::Rename {
            return self.make_or_find(name, trail);
        }
        let make = |name: &FileName| mkdirat(&self.fd, name.as_os_str(), stat::Mode::S_IRWXU);
        let free = take_free(&self.fd, name, make)?;
        let mut dir = self.go_into(&free, trail.called(&free))?;
        self.settle_new(&mut dir)?;
        dir.renamed = (free != *name).then_some(free);
        Ok((dir, Arrival::Made))
    }

    pub(super) fn make_or_find(&self, name: &FileName, trail: Trail) -> Result<(Dir<'j>, Arrival), Cause> {
        // For our eyes only until all is in it, and never less: what is sent may be a read-only directory.
        let arrival = match mkdirat(&self.fd, name.as_os_str(), stat::Mode::S_IRWXU) {
            Ok(()) => Arrival::Made,
            Err(Errno::EEXIST) => Arrival::Found,
            Err(errno) => return Err(errno.into()),
        };
        let mut dir = self.go_into(name, trail)?;
        if arrival == Arrival::Made {
            self.settle_new(&mut dir)?;
        }
        Ok((dir, arrival))
    }

    fn settle_new(&self, dir: &mut Dir<'_>) -> Result<(), Cause> {
        dir.origin = if self.origin == Origin::Staged { Origin::Staged } else { Origin::Made };
        // Files in it that are acknowledged as durable are lost with its name.
        self.jail.ready_to_settle(&self.fd, self.identity.device, dir.fd.as_fd())?.settle()
    }

    fn go_into(&self, name: &FileName, trail: Trail) -> Result<Dir<'j>, Cause> {
        let (fd, route) = self.enter(name)?;
        let stat = fstat(&fd)?;
        self.jail.refuse_pseudo_file_system(&fd, &stat)?;
        Ok(Dir::new(self.jail, fd, &stat, route, trail))
    }

    /// Goes into a directory that may neither be made nor changed, for `why`, if something in it may.
    fn pass_through(&self, name: &FileName, trail: Trail, why: Cause) -> Result<(Dir<'j>, Arrival), Cause> {
        // In a box nobody goes into what is there, or learns that it is.
        let boxed = self.jail.rights.collision == Collision::Rename;
        if boxed || !self.jail.leads_on(self.route_to(name).as_deref(), STORING) {
            return Err(why);
        }
        let Ok(dir) = self.go_into(name, trail) else { return Err(why) };
        dir.passed.set(true);
        Ok((dir, Arrival::Found))
    }

    /// Takes a directory that was just made under a temporary name for the one that it will be.
    pub(super) fn staged(
        &self,
        fd: OwnedFd,
        name: &FileName,
        temporary: &FileName,
        trail: Trail,
    ) -> Result<Dir<'j>, Errno> {
        let stat = fstat(&fd)?;
        // Rules are about what it will be called; links, which are followed by what it is called now, are not followed then.
        let route = self.route_to(if self.jail.has_rules() { name } else { temporary });
        let mut dir = Dir::new(self.jail, fd, &stat, route, trail);
        dir.origin = Origin::Staged;
        Ok(dir)
    }

    /// Opens a directory for what is to be done to it: readable, so that mode and times can be set on the descriptor;
    /// where it may not be read (a drop box of mode 0300), at least to put something in.
    fn enter(&self, name: &FileName) -> Result<(OwnedFd, Option<Vec<u8>>), Cause> {
        let route = self.route_to(name);
        let readable = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK;
        let pinned = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.open_here(name, readable) {
            Ok(fd) => return Ok((fd, route)),
            Err(Errno::EACCES) => return Ok((self.open_here(name, pinned)?, route)),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Not a directory, or a link: the one lookup from the root knows whether it stays inside.
        let whole = route.ok_or(Errno::ENAMETOOLONG)?;
        if self.jail.has_rules() {
            return Err(self.lack_of(name).why);
        }
        let fd = match self.follow(&whole, readable) {
            Err(Cause::Errno(Errno::EACCES)) => self.follow(&whole, pinned)?,
            opened => opened?,
        };
        Ok((fd, Some(whole)))
    }

    /// Makes sure that files can be put into a directory that was found: its owner's rights come back with the mode
    /// that the client sends for it (the second upload of a tree with read-only directories).
    pub fn open_up(&self) {
        let Ok(stat) = fstat(&self.fd) else { return };
        if self.passed.get() || self.jail.storage.directory_mode.is_some() {
            return;
        }
        let lacks = stat.st_mode & 0o700 != 0o700;
        if lacks && stat.st_uid == geteuid().as_raw() {
            let wider = stat::Mode::from_bits_truncate(stat.st_mode | 0o700);
            // Without it the first file is refused, in words that name it.
            let _ = fchmod(&self.fd, wider);
        }
    }

    /// Gives the directory its mode and times, once all is in it.
    ///
    /// # Errors
    /// They cannot be set; what is in the directory stays.
    pub fn finish(
        &self,
        arrival: Arrival,
        mode: Mode,
        keep: Keep,
        times: Option<&Times>,
    ) -> Result<(), Refusal> {
        if self.passed.get() {
            return Ok(());
        }
        let moded = self.finish_mode(arrival, mode, keep);
        let times = times.filter(|_| self.jail.storage.times == Leave::Given);
        let timed = times.map_or(Ok(()), |times| self.set_times(times));
        let synced = match self.jail.storage.sync {
            Sync::File => fsync(&self.fd).or_else(ignore_unreadable).map_err(Cause::from),
            Sync::None | Sync::Session => Ok(()),
        };
        synced.and(moded).and(timed).map_err(|why| Refusal::new(&self.trail, why))
    }

    fn finish_mode(&self, arrival: Arrival, mode: Mode, keep: Keep) -> Result<(), Cause> {
        let Storage { directory_mode: forced, group_id, .. } = self.jail.storage;
        // The administrator's group and mode are for what is made, and nothing is changed that was found.
        let made = arrival == Arrival::Made;
        let group = group_id.filter(|_| made).map(Gid::from_raw);
        let grouped = group.map_or(Ok(()), |group| fchown(&self.fd, None, Some(group)));
        let wanted = match (forced, keep, arrival) {
            (Some(_), _, Arrival::Found) | (_, Keep::Contents, Arrival::Found) => return Ok(()),
            (Some(forced), _, Arrival::Made) => Mode::new(forced),
            // A default list is handed on: its own is that of the directory that it was made in.
            (None, Keep::Contents, Arrival::Made) => self.jail.mode_of_new(mode, self.allowed()),
            (None, Keep::Attributes, _) => mode.only(self.jail.kept_bits()),
        };
        let wanted = if grouped.is_ok() { wanted } else { wanted.for_another_group() };
        // A set-group-id directory hands its group on to what is made in it: fchmod must not undo that.
        let inherited = fstat(&self.fd)?.st_mode & 0o2000;
        let moded = fchmod(&self.fd, stat::Mode::from_bits_truncate(wanted.with(inherited).bits()));
        let moded = moded.map_err(|errno| Cause::mode(opaque_is_denied(errno)));
        grouped.map_err(|errno| Cause::group(opaque_is_denied(errno))).and(moded)
    }

    fn set_times(&self, times: &Times) -> Result<(), Cause> {
        let file = File::from(self.fd.try_clone()?);
        set_file_handle_times(&file, Some(times.accessed), Some(times.modified))
            .map_err(|error| Cause::times(opaque_is_denied(errno(&error))))
    }
}

/// A directory that we may write to but not read is open by `O_PATH` only.
fn opaque_is_denied(errno: Errno) -> Errno {
    if errno == Errno::EBADF { Errno::EACCES } else { errno }
}

fn ignore_unreadable(errno: Errno) -> Result<(), Errno> {
    if errno == Errno::EBADF { Ok(()) } else { Err(errno) }
}
