//! What an account may do: the administrator's options, the account and its request to a grant.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::name::FileName;
use crate::request::Request;

/// What the administrator has said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Config {
    /// The directory that confines, its tokens not yet expanded; none for a drop-in for OpenSSH's server half.
    pub root: Option<OsString>,
    /// What the account may do.
    pub rights: Rights,
    /// How files are stored.
    pub storage: Storage,
    /// What the kernel is to enforce.
    pub sandbox: Sandbox,
    /// How long the client is waited for.
    pub patience: Patience,
    /// How the conversation goes.
    pub manners: Manners,
}

/// Who the request is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// The numeric user id.
    pub uid: u32,
    /// The name in the user database, if the id still has one.
    pub name: Option<OsString>,
    /// The home directory in the user database.
    pub home: Option<OsString>,
}

/// What a session may do, and where.
#[must_use]
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grant {
    /// The directory that confines; none for the whole host.
    pub root: Option<PathBuf>,
    /// The account's home, which may lie in the root.
    pub home: Option<PathBuf>,
    /// What may be done in it.
    pub rights: Rights,
    /// How files are stored.
    pub storage: Storage,
    /// What the kernel is to enforce.
    pub sandbox: Sandbox,
}

/// What may be done inside the root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rights {
    /// Sending files to the client.
    pub fetching: Leave,
    /// Storing files and making directories.
    pub storing: Leave,
    /// Putting a file in the place of another.
    pub replacing: Leave,
    /// The largest file that is stored, in bytes.
    pub file_size: Option<u64>,
    /// Storing under names in the account's home that would become access or code.
    pub start_up_files: Leave,
}

/// Whether something is allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leave {
    /// It is.
    Given,
    /// It is not.
    Withheld,
}

/// What a sink says, and when.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Manners {
    /// Whether records are acknowledged ahead.
    pub pipeline: Pipeline,
    /// What it means that a mode or times cannot be set.
    pub metadata: Metadata,
}

/// How long the client is waited for, in seconds; none for ever.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Patience {
    /// For a record to come, whole.
    pub idle: Option<u64>,
    /// For contents to move on, in either direction.
    pub stall: Option<u64>,
    /// For the whole session.
    pub total: Option<u64>,
}

/// How files are stored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Storage {
    /// Permission bits that new files and directories do not get without -p; none for the process's own.
    pub umask: Option<u32>,
    /// How a file takes the place of another.
    pub replacement: Replacement,
    /// What is made durable before it is acknowledged.
    pub sync: Sync,
    /// What gets its name in one step.
    pub unit: Unit,
}

/// How a file takes the place of another: `--atomic`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Replacement {
    /// By a new file under the old name; unconfined, in the old file where that would lose something.
    #[default]
    Auto,
    /// By a new file under the old name, whatever is lost: links, owner.
    Always,
    /// In the old file, as OpenSSH does: a cut transfer leaves new head and old tail.
    Off,
}

/// What gets its name in one step: `--commit`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Unit {
    /// Each file, as soon as it is whole.
    #[default]
    File,
    /// A directory with all that is in it, in the place of what was there.
    Tree,
}

/// What it means that a mode or times cannot be set: `--metadata`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Metadata {
    /// Nothing.
    Ignore,
    /// The client is told, and the exit status is 1; the file stays. As OpenSSH.
    #[default]
    Strict,
    /// It is logged.
    Warn,
}

/// What is made durable before it is acknowledged: `--sync`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sync {
    /// Nothing: the kernel writes when it likes.
    #[default]
    None,
    /// Each file and its name.
    File,
    /// Everything, once, before the exit status.
    Session,
}

/// Whether records are acknowledged before they come: `--pipeline`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Pipeline {
    /// What is certain to be asked, to clients that turn out to read byte by byte.
    Auto,
    /// Nothing.
    #[default]
    Off,
    /// A window of replies: clients are known to wait for the exit status.
    On,
}

/// Whether the kernel enforces the confinement too: `--sandbox`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sandbox {
    /// Not at all.
    Off,
    /// All layers, or nothing is served.
    Require,
    /// As far as this kernel can.
    #[default]
    Try,
}

impl Default for Rights {
    fn default() -> Self {
        Self {
            fetching: Leave::Given,
            storing: Leave::Given,
            replacing: Leave::Given,
            file_size: None,
            start_up_files: Leave::Withheld,
        }
    }
}

/// Why a session gets no grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denied {
    /// The session may only store.
    Fetching,
    /// A token of the root has no value that is a file name.
    Root(&'static str),
    /// The session may only fetch.
    Storing,
    /// A `%` that no token begins with.
    UnknownToken(u8),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetching => f.write_str("downloads are not allowed here"),
            Self::Root(token) => {
                write!(f, "this account has no usable value for {token} in the root directory")
            }
            Self::Storing => f.write_str("uploads are not allowed here"),
            Self::UnknownToken(byte) => {
                write!(f, "unknown token %{} in the root directory", [*byte].escape_ascii())
            }
        }
    }
}

/// Decides what the account may do of what it asks for.
///
/// # Errors
/// It may not do it at all.
pub fn decide(config: &Config, account: &Account, request: &Request) -> Result<Grant, Denied> {
    let Config { root, rights, storage, sandbox, .. } = config;
    let rights = match request {
        Request::Fetch(_) if rights.fetching == Leave::Withheld => return Err(Denied::Fetching),
        Request::Store(_) if rights.storing == Leave::Withheld => return Err(Denied::Storing),
        // A source stores nothing, whatever else the account may do.
        Request::Fetch(_) => Rights { storing: Leave::Withheld, ..*rights },
        Request::Store(_) => *rights,
    };
    let root = root.as_deref().map(|root| expand(root, account)).transpose()?;
    let home = account.home.as_ref().map(PathBuf::from);
    Ok(Grant { root, home, rights, storage: *storage, sandbox: *sandbox })
}

/// Replaces `%u`, `%U`, `%h` and `%%`, as sshd does in ChrootDirectory.
///
/// A user name with a slash or `..` would choose another directory (CVE-2026-30915, CVE-2023-42456): it has to be a
/// file name.
fn expand(root: &OsStr, account: &Account) -> Result<PathBuf, Denied> {
    let mut path = Vec::new();
    let mut bytes = root.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            path.push(byte);
            continue;
        }
        match bytes.next().copied().unwrap_or_default() {
            b'%' => path.push(b'%'),
            b'U' => path.extend_from_slice(account.uid.to_string().as_bytes()),
            b'h' => {
                let home = account.home.as_deref().map(OsStr::as_bytes).filter(|home| home.starts_with(b"/"));
                path.extend_from_slice(home.ok_or(Denied::Root("%h"))?);
            }
            b'u' => {
                let name = account.name.as_deref().and_then(|name| FileName::new(name.as_bytes()));
                path.extend_from_slice(name.ok_or(Denied::Root("%u"))?.as_bytes());
            }
            other => return Err(Denied::UnknownToken(other)),
        }
    }
    Ok(OsString::from_vec(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Chatter, Depth, Fetch, Keep, Store, TargetKind};

    fn account(name: Option<&str>) -> Account {
        Account { uid: 1000, name: name.map(OsString::from), home: Some("/home/bob".into()) }
    }

    fn fetch() -> Request {
        Request::Fetch(Fetch {
            sources: vec![],
            depth: Depth::Flat,
            keep: Keep::Contents,
            chatter: Chatter::Quiet,
        })
    }

    fn store() -> Request {
        Request::Store(Store {
            targets: vec![],
            depth: Depth::Flat,
            keep: Keep::Contents,
            kind: TargetKind::Any,
            chatter: Chatter::Quiet,
        })
    }

    #[test]
    fn tokens_of_the_root_are_those_of_chroot_directory() {
        for (root, path) in [
            ("/srv/%u", "/srv/bob"),
            ("/srv/%U/x", "/srv/1000/x"),
            ("%h/drop", "/home/bob/drop"),
            ("/srv/100%%", "/srv/100%"),
            ("/srv/%%u", "/srv/%u"),
        ] {
            assert_eq!(expand(OsStr::new(root), &account(Some("bob"))), Ok(PathBuf::from(path)), "{root}");
        }
        let unknown = |byte| Err(Denied::UnknownToken(byte));
        assert_eq!(expand(OsStr::new("/srv/%x"), &account(None)), unknown(b'x'));
        assert_eq!(expand(OsStr::new("/srv/%"), &account(None)), unknown(0));
    }

    // covers: security ENV-03, security ENV-09
    #[test]
    fn a_user_name_that_is_no_file_name_chooses_no_directory() {
        for name in [None, Some(""), Some(".."), Some("../../x"), Some("a/b")] {
            assert_eq!(expand(OsStr::new("/srv/%u"), &account(name)), Err(Denied::Root("%u")), "{name:?}");
        }
    }

    #[test]
    fn a_direction_that_is_withheld_is_denied_at_the_door() {
        let rights = |fetching, storing| Rights { fetching, storing, ..Rights::default() };
        let decide = |rights, request: &Request| {
            let config = Config { rights, ..Config::default() };
            super::decide(&config, &account(Some("bob")), request).map(|_| ())
        };
        let (given, withheld) = (Leave::Given, Leave::Withheld);
        assert_eq!(decide(rights(given, given), &fetch()), Ok(()));
        assert_eq!(decide(rights(given, given), &store()), Ok(()));
        assert_eq!(decide(rights(given, withheld), &store()), Err(Denied::Storing));
        assert_eq!(decide(rights(withheld, given), &fetch()), Err(Denied::Fetching));
    }
}
