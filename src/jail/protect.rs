//! Names in the account's home that would become access or code: a file for sshd, a shell or the mail system.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{self, fstat, fstatat};

use super::Identity;
use crate::name::FileName;

/// The account's home, where it lies inside the root.
#[derive(Debug)]
pub(super) struct Home(OwnedFd);

/// What is protected in which directory below the home. No names: all of them.
const PROTECTED: &[(&str, &[&str])] = &[
    (".", HOME),
    (".ssh", &[]),
    (".config", &["autostart", "environment.d", "fish", "systemd"]),
    (".config/autostart", &[]),
    (".config/environment.d", &[]),
    (".config/fish", &[]),
    (".config/fish/conf.d", &[]),
    (".config/fish/functions", &[]),
    (".config/systemd", &[]),
    (".config/systemd/user", &[]),
    (".local/share", &["fish", "systemd"]),
    (".local/share/systemd", &[]),
    (".local/share/systemd/user", &[]),
];

const HOME: &[&str] = &[
    ".bash_aliases",
    ".bash_login",
    ".bash_logout",
    ".bash_profile",
    ".bashrc",
    ".cshrc",
    ".forward",
    ".google_authenticator",
    ".k5identity",
    ".k5login",
    ".k5users",
    ".kshrc",
    ".login",
    ".logout",
    ".mkshrc",
    ".netrc",
    ".pam_environment",
    ".popt",
    ".procmailrc",
    ".profile",
    ".rhosts",
    ".shosts",
    ".ssh",
    ".tcshrc",
    ".xprofile",
    ".xsession",
    ".xsessionrc",
    ".zlogin",
    ".zlogout",
    ".zprofile",
    ".zshenv",
    ".zshrc",
];

/// Directories between a home and the root that are gone up; a home deeper than that is taken for one inside.
const STEPS: usize = 256;

impl Home {
    /// Opens the home, if it is the root or below it. By what it is and not by what it is called: a link or a second
    /// mount makes no difference.
    pub(super) fn inside(root: Identity, path: &Path) -> Option<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let open = |dir: &OwnedFd, name| openat(dir, name, flags, stat::Mode::empty()).ok();
        let home = openat(AT_FDCWD, path, flags, stat::Mode::empty()).ok()?;
        let mut here = open(&home, ".")?;
        for _ in 0..STEPS {
            let identity = Identity::of(&fstat(&here).ok()?);
            if identity == root {
                return Some(Self(home));
            }
            here = open(&here, "..")?;
            if Identity::of(&fstat(&here).ok()?) == identity {
                return None;
            }
        }
        Some(Self(home))
    }

    /// Tells whether putting something under `name` into `dir` would give its writer more than a file.
    pub(super) fn protects(&self, dir: Identity, name: &FileName) -> bool {
        PROTECTED.iter().any(|(place, names)| {
            let named =
                names.is_empty() || names.iter().any(|protected| protected.as_bytes() == name.as_bytes());
            // A link to the directory of that name is followed: it is the directory that counts.
            named && fstatat(&self.0, *place, AtFlags::empty()).is_ok_and(|stat| Identity::of(&stat) == dir)
        })
    }
}
