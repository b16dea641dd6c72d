//! What would become of an upload, found out without doing it.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::SFlag;
use nix::unistd::{AccessFlags, faccessat};

use super::Jail;
use super::dir::Dir;
use super::lookup::{kind, look_at};
use crate::name::{ClientPath, FileName};
use crate::policy::{Collision, Operation};
use crate::refusal::{Cause, Trail};
use crate::request::TargetKind;

/// A name that stands for all that no rule is about.
const NOBODYS: &[u8] = b"a name that nobody has a rule for";

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

impl Jail {
    /// Says where in the box an upload would go; none where everything is not put into one.
    ///
    /// # Errors
    /// It would be refused.
    pub fn foresee_in_box(&self, path: &ClientPath, kind: TargetKind) -> Option<Result<PathBuf, Cause>> {
        let drop_box = self.rights.drop_box.as_ref()?;
        let inside = drop_box.directory.as_deref().unwrap_or(Path::new(""));
        let name = path.last().filter(|_| kind == TargetKind::Any && !path.means_directory());
        Some(self.foresee_name_in(inside, name.as_ref()).map(|()| match name {
            Some(name) => inside.join(name.as_os_str()),
            None if inside == Path::new("") => Path::new(".").to_owned(),
            None => inside.to_owned(),
        }))
    }

    fn foresee_name_in(&self, inside: &Path, name: Option<&FileName>) -> Result<(), Cause> {
        let mut dir = self.open_directory(b"", Trail::default())?;
        for part in inside.ancestors().collect::<Vec<_>>().into_iter().rev() {
            match self.open_directory(part.as_os_str().as_bytes(), Trail::default()) {
                Ok(found) => dir = found,
                // It is made.
                Err(Cause::Errno(Errno::ENOENT)) => break,
                Err(why) => return Err(why),
            }
        }
        dir.foresee_any()?;
        let Some(name) = name else { return Ok(()) };
        dir.route = Some(inside.as_os_str().as_bytes().to_vec());
        dir.allow_storing(name)?;
        dir.judge(name, Operation::Create)
    }
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

    /// Asks whether the rules about paths allow something with a file here that none of them is about by its name.
    ///
    /// # Errors
    /// They do not: it takes a name that a rule allows.
    pub fn foresee_unnamed(&self, operation: Operation) -> Result<(), Cause> {
        let Some(name) = FileName::new(NOBODYS) else { return Ok(()) };
        self.jail.judge(self.route_to(&name).as_deref(), operation)
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
