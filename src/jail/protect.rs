//! Names in the account's home that would become access or code: a file for sshd, a shell or the mail system.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{self, fstat};

use super::Identity;
use super::lookup::{Links, Lookup};
use crate::name::FileName;

/// The account's home, which may be reached from the root.
#[derive(Debug)]
pub(super) struct Home {
    fd: OwnedFd,
    lookup: Lookup,
    lies: Lies,
}

/// Where the home lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lies {
    /// On the root's file system: a second mount could show it in the root all the same.
    Beside,
    /// In the root, or it is the root.
    Inside,
}

/// The names that may not be stored in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard(&'static [&'static str]);

/// What is protected in which directory below the home, each behind the one that it is in. No names: all of them.
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
    /// Opens the home, if it can be reached from the root.
    pub(super) fn near(root: Identity, path: &Path, lookup: Lookup) -> Option<Self> {
        let fd = openat(AT_FDCWD, path, DIRECTORY, stat::Mode::empty()).ok()?;
        let home = Identity::of(&fstat(&fd).ok()?);
        let lies = match lies_below(root, &fd, home)? {
            true => Lies::Inside,
            false if home.device == root.device => Lies::Beside,
            false => return None,
        };
        Some(Self { fd, lookup, lies })
    }

    /// Tells whether the home is the root, or lies in it.
    pub(super) fn is_inside(&self) -> bool {
        self.lies == Lies::Inside
    }

    /// Finds out what may not be stored in a directory: by what it is and not by what it is called, a link or a second
    /// mount makes no difference.
    pub(super) fn guard(&self, dir: Identity) -> Option<Guard> {
        let mut missing: Option<&str> = None;
        let mut is_here = |place: &'static str| {
            let below = |above: &str| place.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'));
            if missing.is_some_and(below) {
                return false;
            }
            let found = self.lookup.open(self.fd.as_fd(), place.as_bytes(), DIRECTORY, Links::Followed);
            if found.as_ref().is_err_and(|&errno| errno == Errno::ENOENT) {
                missing = Some(place);
            }
            found.and_then(|found| fstat(&found)).is_ok_and(|stat| Identity::of(&stat) == dir)
        };
        PROTECTED.iter().find(|(place, _)| is_here(place)).map(|(_, names)| Guard(names))
    }
}

impl Guard {
    /// Tells whether putting something under `name` would give its writer more than a file.
    pub(super) fn protects(self, name: &FileName) -> bool {
        self.0.is_empty() || self.0.iter().any(|protected| protected.as_bytes() == name.as_bytes())
    }
}

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Goes up from a directory and tells whether the root is on the way.
fn lies_below(root: Identity, dir: &OwnedFd, mut identity: Identity) -> Option<bool> {
    let mut here = None;
    for _ in 0..STEPS {
        if identity == root {
            return Some(true);
        }
        let above = openat(here.as_ref().unwrap_or(dir), "..", DIRECTORY, stat::Mode::empty()).ok()?;
        let above_it = Identity::of(&fstat(&above).ok()?);
        if above_it == identity {
            return Some(false);
        }
        (here, identity) = (Some(above), above_it);
    }
    Some(true)
}
