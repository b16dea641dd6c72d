//! Refusal: why one entry was not copied. It is told to the peer, and the transfer goes on.

use std::borrow::Cow;
use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::name::{ClientPath, FileName};

/// One entry was not copied, or not copied well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The path as the client knows it; nothing of the host's paths.
    pub what: Vec<u8>,
    /// Why.
    pub why: Cause,
}

/// Why an entry was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cause {
    /// It was copied, but not this of its attributes.
    Attribute(&'static str, Errno),
    /// The name holds characters that could deceive a terminal or a log.
    DeceptiveName,
    /// The file was cut or could not be read while it was sent; zeros were sent instead.
    EndedEarly,
    /// The system refused.
    Errno(Errno),
    /// A rule of the administrator's forbids it.
    Forbidden(&'static str),
    /// A rule of the administrator's says that it is not there.
    Hidden,
    /// So many entries of a tree that is to be put in its place as a whole were refused.
    Incomplete(u64),
    /// A newline in a directory's name cannot be sent.
    Newline,
    /// There is no room for the claimed size.
    NoSpace {
        /// Bytes that the client wants to send.
        size: u64,
        /// Bytes that are free for this account.
        free: u64,
        /// Bytes that are to stay free beside these.
        kept: u64,
    },
    /// A fifo, a socket, a device; or a directory where a file was asked for.
    NotRegular,
    /// The directory that it would be in was refused.
    Orphaned,
    /// The path leads outside the root.
    Outside(Errno),
    /// The name would give access, or be run.
    Protected,
    /// The name is one of our temporaries'.
    Reserved,
    /// The sender said that it could not read the file to its end.
    SenderFailed,
    /// The session may not move so much.
    SessionFull {
        /// Bytes that it would be.
        size: u64,
        /// Bytes that are left of the session's.
        left: u64,
        /// Bytes that a session may move.
        limit: u64,
    },
    /// Deeper than directories may be nested: so many in each other.
    TooDeep(u64),
    /// The claimed size is over the limit.
    TooLarge {
        /// Bytes that the client wants to send.
        size: u64,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// The session has moved so many files, and no more are allowed.
    TooMany(u64),
    /// The rights of this session do not include it.
    Unauthorised(&'static str),
    /// It was copied, and is there, but perhaps not after a power cut.
    Unsettled(Errno),
}

impl Refusal {
    /// Says why the entry at `path`, below or beside the place the client named, was refused.
    pub fn new(what: &Trail, why: impl Into<Cause>) -> Self {
        Self { what: what.as_bytes().to_vec(), why: why.into() }
    }

    /// Returns the words for the entry.
    pub fn trail(&self) -> Trail {
        Trail { written: self.what.clone(), inside: None }
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::from_io(&error)
    }
}

impl Cause {
    /// Tells whether what it is said of is there all the same, whole.
    pub fn is_blemish(&self) -> bool {
        matches!(self, Self::Attribute(..) | Self::Unsettled(_))
    }

    /// Takes the system's word for it.
    pub fn from_io(error: &io::Error) -> Self {
        Self::Errno(errno(error))
    }

    /// Says that attributes of the user's could not be set.
    pub fn attribute(errno: Errno) -> Self {
        Self::Attribute("attributes", errno)
    }

    /// Says that the group could not be set.
    pub fn group(errno: Errno) -> Self {
        Self::Attribute("group", errno)
    }

    /// Says that the access control list could not be set.
    pub fn list(errno: Errno) -> Self {
        Self::Attribute("access control list", errno)
    }

    /// Says that the mode could not be set.
    pub fn mode(errno: Errno) -> Self {
        Self::Attribute("mode", errno)
    }

    /// Says that the times could not be set.
    pub fn times(errno: Errno) -> Self {
        Self::Attribute("times", errno)
    }
}

/// Returns the system's word for an error.
pub fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(what, errno) => write!(f, "set {what}: {}", errno.desc()),
            Self::DeceptiveName => f.write_str("control characters in the name are not allowed"),
            Self::EndedEarly => f.write_str("the file became shorter or unreadable while it was sent"),
            Self::Errno(errno) => f.write_str(errno.desc()),
            Self::Forbidden(what) => write!(f, "{what} not allowed here"),
            Self::Incomplete(refused) => write!(f, "not stored: {refused} entries in it were refused"),
            Self::Newline => f.write_str("a directory with a newline in its name cannot be sent"),
            Self::NoSpace { size, free, kept: 0 } => {
                write!(f, "{} needed, {} free", Size(*size), Size(*free))
            }
            Self::NoSpace { size, free, kept } => {
                write!(f, "{} needed, {} free beside {} to be left", Size(*size), Size(*free), Size(*kept))
            }
            Self::NotRegular => f.write_str("not a regular file"),
            Self::Orphaned => f.write_str("not stored: its directory was refused"),
            // An outside file and an absent one must look the same from outside (CVE-2023-35887).
            Self::Hidden | Self::Outside(_) => f.write_str(Errno::ENOENT.desc()),
            Self::Protected => f.write_str("start-up and access files of the account are not replaced here"),
            Self::Reserved => f.write_str("this name is reserved for files in transfer"),
            Self::SenderFailed => f.write_str("not stored: the sender could not read it to the end"),
            Self::SessionFull { size, left, limit } => {
                write!(f, "{} of {} left in this session, {} needed", Size(*left), Size(*limit), Size(*size))
            }
            Self::TooDeep(most) => {
                write!(f, "directories are nested too deeply: no more than {most} in each other are allowed")
            }
            Self::TooMany(most) => write!(f, "no more than {most} files are allowed in a session"),
            Self::TooLarge { size, limit } => {
                write!(f, "{} is over the limit of {} for a file", Size(*size), Size(*limit))
            }
            Self::Unauthorised(what) => write!(f, "{what} not allowed"),
            Self::Unsettled(errno) => write!(f, "stored, but not made durable: {}", errno.desc()),
        }
    }
}

/// A number of bytes in words: `40.1 MiB`.
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = u128::from(self.0);
        let units = [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let Some((name, unit)) =
            units.map(|(name, shift)| (name, 1_u128 << shift)).into_iter().find(|unit| bytes >= unit.1)
        else {
            return write!(f, "{bytes} bytes");
        };
        let tenths = bytes.saturating_mul(10).saturating_add(unit >> 1).div_euclid(unit);
        write!(f, "{}.{} {name}", tenths.div_euclid(10), tenths.rem_euclid(10))
    }
}

/// Where in the client's view of the tree something happens: the path that it asked for, and what came below it; and
/// where that is inside the root.
///
/// For words only: nothing is ever opened by it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trail {
    written: Vec<u8>,
    inside: Option<Vec<u8>>,
}

impl Trail {
    /// Starts at the path that the client wrote.
    pub fn from_path(path: &ClientPath) -> Self {
        let bytes = path.as_bytes();
        let written = if bytes.is_empty() { b".".to_vec() } else { bytes.to_vec() };
        Self { written, inside: None }
    }

    /// Says that the path leads to this place, counted from the root; `a//./b` is written `a/b`.
    #[must_use]
    pub fn at(self, inside: &[u8]) -> Self {
        let names = inside.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
        Self { inside: Some(names.collect::<Vec<_>>().join(&b'/')), ..self }
    }

    /// Goes one name down.
    #[must_use]
    pub fn join(&self, name: &FileName) -> Self {
        let inside = self.inside.as_deref().map(|inside| joined(inside, name));
        Self { written: joined(&self.written, name), inside }
    }

    /// The same, put together later.
    pub fn entry<'a>(&'a self, name: &'a FileName) -> Words<'a> {
        Words::Entry(self, name)
    }

    /// Says that it has got another name than the client wrote.
    #[must_use]
    pub fn called(&self, name: &FileName) -> Self {
        let inside = self.inside.as_deref().map(|inside| joined(&parent(inside), name));
        Self { written: self.written.clone(), inside }
    }

    /// Goes one name up, for words about the directory that something would be in.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self { written: parent(&self.written), inside: self.inside.as_deref().map(parent) }
    }

    /// Returns the bytes, as the client would write them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.written
    }

    /// Returns the path from the root, if there is one.
    pub fn inside(&self) -> Option<&[u8]> {
        self.inside.as_deref()
    }

    /// Returns the bytes as printable ASCII.
    pub fn escaped(&self) -> impl fmt::Display {
        self.written.escape_ascii()
    }
}

/// The words for an entry, put together when somebody reads them: for most of ten thousand files that is nobody.
#[derive(Clone, Copy, Debug)]
pub enum Words<'a> {
    /// For the entry of a directory.
    Entry(&'a Trail, &'a FileName),
    /// Those that are there.
    Whole(&'a Trail),
}

impl<'a> Words<'a> {
    /// Puts them together.
    pub fn trail(self) -> Cow<'a, Trail> {
        match self {
            Self::Entry(dir, name) => Cow::Owned(dir.join(name)),
            Self::Whole(trail) => Cow::Borrowed(trail),
        }
    }
}

fn joined(path: &[u8], name: &FileName) -> Vec<u8> {
    let mut longer = Vec::with_capacity(path.len().saturating_add(name.as_bytes().len()).saturating_add(1));
    longer.extend_from_slice(path);
    if !(path.is_empty() || path.ends_with(b"/")) {
        longer.push(b'/');
    }
    longer.extend_from_slice(name.as_bytes());
    longer
}

fn parent(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last.saturating_add(1));
    let trimmed = path.get(..end).unwrap_or_default();
    match trimmed.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => trimmed.get(..slash.max(1)).unwrap_or_default().to_vec(),
        None => Vec::new(),
    }
}

/// How many entries were copied, and how many were not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Files and directories that were copied.
    pub copied: u64,
    /// Entries that either side refused.
    pub refused: u64,
}

impl Tally {
    /// Counts an entry that was copied.
    pub fn count_copied(&mut self) {
        self.copied = self.copied.saturating_add(1);
    }

    /// Counts an entry that was refused.
    pub fn count_refused(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_a_person_would_use() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (42_047_897, "40.1 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    // covers: security PT-18
    #[test]
    fn outside_and_absent_are_told_in_the_same_words() {
        let words = |cause: Cause| cause.to_string();
        assert_eq!(words(Cause::Outside(Errno::EXDEV)), words(Cause::Errno(Errno::ENOENT)));
    }

    #[test]
    fn a_trail_is_written_as_the_client_would_write_it() {
        let name = FileName::new(b"x").unwrap();
        for (start, end) in [("", "./x"), ("d", "d/x"), ("d/", "d/x"), ("/", "/x")] {
            let trail = Trail::from_path(&ClientPath::new(start)).join(&name);
            assert_eq!(trail.as_bytes(), end.as_bytes());
        }
    }

    #[test]
    fn a_trail_knows_both_spellings_of_a_place() {
        let trail = Trail::from_path(&ClientPath::new("/srv/drop/d")).at(b".//d/");
        let deeper = trail.join(&FileName::new(b"x").unwrap());
        assert_eq!((deeper.as_bytes(), deeper.inside()), (&b"/srv/drop/d/x"[..], Some(&b"d/x"[..])));
        assert_eq!(deeper.parent(), trail);
        assert_eq!(trail.parent().inside(), Some(&b""[..]));
    }
}
