//! What a session may do, where, and how.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;

use super::Origin;
use super::choice::{
    Audit, Checksum, Destination, DotFiles, Format, Leave, Metadata, Pipeline, Replacement, Sandbox, Sync,
    Unit,
};
use super::glob::Glob;
use super::paths::PathRules;

/// What a session may do, and where.
#[must_use]
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grant {
    /// The directory that confines; none for the whole host.
    pub root: Option<PathBuf>,
    /// A directory in the root, as seen from there, that confines more narrowly: the command line's root in the file's.
    pub within: Option<PathBuf>,
    /// The account's home, which may lie in the root.
    pub home: Option<PathBuf>,
    /// What may be done in the root.
    pub rights: Rights,
    /// How much.
    pub limits: Limits,
    /// How files are stored.
    pub storage: Storage,
    /// What the kernel is to enforce.
    pub sandbox: Sandbox,
    /// How long the client is waited for.
    pub patience: Patience,
    /// How the conversation goes.
    pub manners: Manners,
    /// Where the administrator's lines go.
    pub journal: Journal,
    /// The sections of the file that said so.
    pub rule: Vec<Origin>,
}

/// What may be done inside the root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rights {
    /// Sending files to the client.
    pub fetching: Leave,
    /// Storing files and making directories.
    pub storing: Leave,
    /// What becomes of a file whose name is taken.
    pub collision: Collision,
    /// Sending directories and storing them (`-r`).
    pub recursion: Leave,
    /// Keeping modes and times (`-p`).
    pub preserving: Leave,
    /// Storing under names in the account's home that would become access or code.
    pub start_up_files: Leave,
    /// Keeping set-id and sticky bits with `-p` in a root.
    pub set_id: Leave,
    /// Names with control characters in a root.
    pub control_characters: Leave,
    /// Names that begin with a dot.
    pub dot_files: DotFiles,
    /// What names of stored files have to match, one of them; none for any.
    pub names: Vec<Glob>,
    /// What may be done with which path.
    pub paths: PathRules,
    /// What senders see of the box; none if it is none.
    pub drop_box: Option<DropBox>,
}

impl Default for Rights {
    fn default() -> Self {
        Self {
            fetching: Leave::Given,
            storing: Leave::Given,
            collision: Collision::Replace,
            recursion: Leave::Given,
            preserving: Leave::Given,
            start_up_files: Leave::Withheld,
            set_id: Leave::Withheld,
            control_characters: Leave::Withheld,
            dot_files: DotFiles::Allow,
            names: Vec::new(),
            paths: PathRules::default(),
            drop_box: None,
        }
    }
}

impl Rights {
    /// Returns the key of a rule that would hold nobody without a root.
    pub fn bound_to_a_root(&self) -> Option<&'static str> {
        let rules = [
            ("path", !self.paths.is_empty()),
            ("dot-files", self.dot_files != DotFiles::Allow),
            ("names", !self.names.is_empty()),
            ("drop-box", self.drop_box.is_some()),
        ];
        rules.into_iter().find_map(|(key, said)| said.then_some(key))
    }
}

/// What becomes of a file whose name is taken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Collision {
    /// It is refused.
    Refuse,
    /// It gets another name: `name.2`.
    Rename,
    /// It takes the place of the old one.
    #[default]
    Replace,
}

/// A box that can only be put into: what is in it cannot be found out, and nothing in it is touched again.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DropBox {
    /// The directory in the root that this session's files go to, made when needed; none for the root itself.
    pub directory: Option<PathBuf>,
}

/// How much a session may do; none for as much as there is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// The largest file that is stored, in bytes.
    pub file_size: Option<u64>,
    /// Bytes that a session stores, and bytes that it sends.
    pub session_size: Option<u64>,
    /// Files that a session stores, and files that it sends.
    pub session_files: Option<u64>,
    /// Bytes that have to stay free on the file system.
    pub free_space: Option<u64>,
    /// Directories in each other.
    pub depth: Option<u64>,
    /// Sessions of the account at the same time.
    pub sessions: Option<u64>,
    /// Bytes that are stored in a second.
    pub upload_rate: Option<NonZeroU64>,
    /// Bytes that are sent in a second.
    pub download_rate: Option<NonZeroU64>,
}

/// How files are stored.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Storage {
    /// Permission bits that new files and directories do not get without -p; none for the process's own.
    pub umask: Option<u32>,
    /// The mode of every file, whatever the client sends.
    pub file_mode: Option<u32>,
    /// The mode of every directory that is made, whatever the client sends.
    pub directory_mode: Option<u32>,
    /// The name of the group of every file and directory that is made.
    pub group: Option<OsString>,
    /// The same group's number, once it has been looked up.
    pub group_id: Option<u32>,
    /// Whether the client's modes count with -p.
    pub modes: Leave,
    /// Whether the client's times count with -p.
    pub times: Leave,
    /// How a file takes the place of another.
    pub replacement: Replacement,
    /// What is made durable before it is acknowledged.
    pub sync: Sync,
    /// What gets its name in one step.
    pub unit: Unit,
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

/// What is written down of a session, and where.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Journal {
    /// The place; none for nowhere.
    pub destination: Option<Destination>,
    /// How an event is written.
    pub format: Format,
    /// What it means that it cannot be.
    pub audit: Audit,
    /// Which checksum of contents is in it.
    pub checksum: Checksum,
}
