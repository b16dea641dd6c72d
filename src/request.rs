//! What is asked of this invocation: words of a command line to a `Request`.

use std::error::Error;
use std::fmt;

use crate::words::Word;

/// What somebody is told who wants a shell.
pub const NO_SHELL: &str = "there is no shell here; files are copied with scp";

/// Bytes of a word that are shown in an error.
const SHOWN: usize = 64;

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

/// Why words are no request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Usage {
    /// Both `-t` and `-f`.
    BothDirections,
    /// Neither `-t` nor `-f`: scp as a client.
    Client,
    /// Nothing, or blanks.
    Empty,
    /// `-l` without a number.
    Limit,
    /// `-f` without a path.
    NoSource,
    /// Another program.
    NotScp(Vec<u8>),
    /// SFTP, which scp speaks since OpenSSH 9.
    Sftp,
    /// An option that is not on the list.
    UnknownOption(Vec<u8>),
}

/// Reads the whole request: `scp`, options, paths.
///
/// # Errors
/// It is not scp's, or has an option that is not known to be harmless.
pub fn parse(words: &[Word]) -> Result<Request, Usage> {
    let (program, rest) = words.split_first().ok_or(Usage::Empty)?;
    let program = program.bytes();
    match program.as_slice() {
        b"scp" | b"/usr/bin/scp" => arguments(rest),
        b"" => Err(Usage::Empty),
        b"internal-sftp" | b"sftp-server" | b"sftp" => Err(Usage::Sftp),
        other if other.ends_with(b"/sftp-server") => Err(Usage::Sftp),
        _ => Err(Usage::NotScp(program)),
    }
}

/// Reads what follows the program's name: options, up to `--` or the first path; from there on all are paths.
///
/// The options are a list of those that clients send, never a filter of those known to be dangerous: filters have
/// always lost (CVE-2004-1161, CVE-2007-6415, CVE-2012-2251, CVE-2019-1000018).
///
/// # Errors
/// An option is unknown, or no direction or no source is given.
pub fn arguments(words: &[Word]) -> Result<Request, Usage> {
    let mut letters = Letters::default();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        let bytes = word.bytes();
        let Some(cluster) = bytes.strip_prefix(b"-").filter(|cluster| !cluster.is_empty()) else {
            break;
        };
        rest = after;
        if cluster == b"-" {
            break;
        }
        rest = letters.read(cluster, &bytes, rest)?;
    }
    letters.request(rest.to_vec())
}

/// The letters seen so far.
#[derive(Default)]
struct Letters {
    fetch: bool,
    store: bool,
    tree: bool,
    keep: bool,
    directory: bool,
    verbose: bool,
}

impl Letters {
    /// Reads a cluster such as `-prt`, and returns the words after it and its values.
    fn read<'w>(&mut self, cluster: &[u8], word: &[u8], rest: &'w [Word]) -> Result<&'w [Word], Usage> {
        let mut letters = cluster.iter();
        while let Some(letter) = letters.next() {
            match letter {
                b'f' => self.fetch = true,
                b't' => self.store = true,
                b'r' => self.tree = true,
                b'p' => self.keep = true,
                b'd' => self.directory = true,
                b'v' => self.verbose = true,
                // Without a meaning on this side; WinSCP sends -1, Ant -C.
                b'q' | b'C' | b'B' | b'T' | b'1' | b'2' | b'3' | b'4' | b'6' | b'O' | b's' | b'A' => {}
                // scp.py sends `-l 8`, sshj `-l8`.
                b'l' if !letters.as_slice().is_empty() => return number(letters.as_slice()).map(|()| rest),
                b'l' => {
                    let (value, rest) = rest.split_first().ok_or(Usage::Limit)?;
                    return number(&value.bytes()).map(|()| rest);
                }
                _ => return Err(Usage::UnknownOption(word.to_vec())),
            }
        }
        Ok(rest)
    }

    fn request(self, paths: Vec<Word>) -> Result<Request, Usage> {
        let depth = if self.tree { Depth::Tree } else { Depth::Flat };
        let keep = if self.keep { Keep::Attributes } else { Keep::Contents };
        let kind = if self.directory { TargetKind::Directory } else { TargetKind::Any };
        let chatter = if self.verbose { Chatter::Verbose } else { Chatter::Quiet };
        match (self.fetch, self.store) {
            (true, true) => Err(Usage::BothDirections),
            (true, false) if paths.is_empty() => Err(Usage::NoSource),
            (true, false) => Ok(Request::Fetch(Fetch { sources: paths, depth, keep, chatter })),
            (false, true) => Ok(Request::Store(Store { targets: paths, depth, keep, kind, chatter })),
            (false, false) => Err(Usage::Client),
        }
    }
}

fn number(digits: &[u8]) -> Result<(), Usage> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if is_number { Ok(()) } else { Err(Usage::Limit) }
}

impl Request {
    /// Tells whether the client wants to be told what goes on.
    pub fn chatter(&self) -> Chatter {
        match self {
            Self::Fetch(fetch) => fetch.chatter,
            Self::Store(store) => store.chatter,
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BothDirections => f.write_str("either -t or -f is meant, not both"),
            Self::Client => f.write_str("this is the server's half of scp: it stores with -t or sends with -f, and copies nothing by itself"),
            Self::Empty => f.write_str(NO_SHELL),
            Self::Limit => f.write_str("a number is missing after -l"),
            Self::NoSource => f.write_str("-f names no file to send"),
            Self::NotScp(program) => write!(f, "only scp is served here, not '{}'", shown(program)),
            Self::Sftp => f.write_str("this account takes the SCP protocol only; with OpenSSH's scp, use its option -O"),
            Self::UnknownOption(word) => write!(f, "the option '{}' is not served here", shown(word)),
        }
    }
}

impl Error for Usage {}

/// Writes the beginning of a word so that it can only be read.
fn shown(word: &[u8]) -> String {
    let start = word.get(..SHOWN).unwrap_or(word);
    let more = if start.len() < word.len() { "..." } else { "" };
    format!("{}{more}", start.escape_ascii())
}
