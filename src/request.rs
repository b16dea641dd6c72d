//! What is asked of this invocation: words of a command line to a `Request`.

use crate::words::Word;

/// What the client asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// `scp -f`: send files to the client.
    Fetch(Fetch),
    /// `scp -t`: store what the client sends.
    Store(Store),
}

/// `scp -f`: be the source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fetch {
    /// What to send, patterns included, in the client's order; at least one.
    pub sources: Vec<Word>,
    /// `-r`
    pub depth: Depth,
    /// `-p`
    pub keep: Keep,
    /// `-v`
    pub chatter: Chatter,
}

/// `scp -t`: be the sink.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Store {
    /// Where to store: exactly one is meant, but `scp -t a b` is answered on the wire ("ambiguous target").
    pub targets: Vec<Word>,
    /// `-r`
    pub depth: Depth,
    /// `-p`
    pub keep: Keep,
    /// `-d`
    pub kind: TargetKind,
    /// `-v`
    pub chatter: Chatter,
}

/// Whether directories are copied: `-r`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// Files only.
    Flat,
    /// Directories and what is in them.
    Tree,
}

/// What is kept of a file's attributes: `-p`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keep {
    /// The contents; the mode is subject to the umask.
    Contents,
    /// Exact permission bits and times as well.
    Attributes,
}

/// What the target of an upload has to be: `-d`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TargetKind {
    /// A directory to store into, or a file's new name.
    Any,
    /// An existing directory.
    Directory,
}

/// Whether the client wants to be told what goes on: `-v`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chatter {
    /// Errors only.
    Quiet,
    /// Every record, on stderr.
    Verbose,
}
