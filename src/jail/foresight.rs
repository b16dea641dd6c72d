//! What would become of an upload, found out without doing it.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::SFlag;
use nix::unistd::{AccessFlags, faccessat};

use super::dir::Dir;
use super::lookup::{kind, look_at};
use crate::name::FileName;
use crate::policy::{Collision, Operation};
use crate::refusal::Cause;

/// What becomes of a file that is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is new.
    Created,
    /// It gets another name: its own is taken.
    Renamed,
    /// It takes the place of another.
    Replacing,
}

impl Dir<'_> {
    /// Returns the directory's path on the host, every link followed.
    ///
    /// # Errors
    /// /proc is not there.
    #[expect(clippy::disallowed_methods, reason = "a link of the kernel's to what is open already")]
    pub fn location(&self) -> io::Result<PathBuf> {
        fs::read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// Asks whether something can be put into the directory at all.
    ///
    /// # Errors
    /// It cannot.
    pub fn foresee_any(&self) -> Result<(), Cause> {
        let needed = AccessFlags::W_OK | AccessFlags::X_OK;
        Ok(faccessat(&self.fd, ".", needed, AtFlags::AT_EACCESS)?)
    }

    /// Foretells what becomes of a file of this name.
    ///
    /// # Errors
    /// It is refused, whatever is in it.
    pub fn foresee(&self, name: &FileName) -> Result<Fate, Cause> {
        self.allow_storing(name)?;
        let there = look_at(&self.fd, name)?;
        let fate = match (there, self.jail.rights.collision) {
            (Some(there), _) if kind(&there) == SFlag::S_IFDIR => return Err(Errno::EISDIR.into()),
            (Some(_), Collision::Refuse) => return Err(Errno::EEXIST.into()),
            (Some(_), Collision::Rename) => Fate::Renamed,
            (Some(_), Collision::Replace) => Fate::Replacing,
            (None, _) => Fate::Created,
        };
        let operation = if fate == Fate::Replacing { Operation::Overwrite } else { Operation::Create };
        self.judge(name, operation)?;
        self.foresee_any()?;
        Ok(fate)
    }
}
