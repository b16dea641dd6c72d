//! Names: one component of a path, and a path as the client wrote it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// One component of a path: not empty, not `.` or `..`, without `/` and NUL.
///
/// Bytes, not text: nothing is normalised or decoded. The length is the file system's to judge.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FileName(OsString);

impl FileName {
    /// Takes `bytes` as a name, or nothing if they could mean another place than one entry of one directory
    /// (CVE-2018-20685, CVE-2000-0992).
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let escapes = matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') || bytes.contains(&0);
        (!escapes).then(|| Self(OsStr::from_bytes(bytes).to_owned()))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns what the system calls take.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// Tells whether a terminal or a log could be deceived by the name: it holds a control character (C0, DEL, C1),
    /// a line or paragraph separator, or a character that changes the direction of writing.
    pub fn could_deceive(&self) -> bool {
        let is_plain = self.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~'));
        !is_plain && self.as_bytes().utf8_chunks().any(|chunk| chunk.valid().chars().any(is_deceptive))
    }
}

/// Tells whether a character does something to a terminal or a line instead of standing in it.
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{061c}' | '\u{200e}' | '\u{200f}')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A path as the client wrote it. It names nothing until the jail has looked it up.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ClientPath(Vec<u8>);

impl ClientPath {
    /// Takes the bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether the client's spelling says that a directory is meant: it is empty, or ends in `/`, `.` or `..`.
    pub fn means_directory(&self) -> bool {
        matches!(self.0.rsplit(|&byte| byte == b'/').next(), None | Some(b"" | b"." | b".."))
    }

    /// Returns what follows the last slash, trailing slashes aside: the name that a client expects to be sent.
    ///
    /// There is none for the root, `.` and `..`, which name a place by where it is and not by what it is called.
    pub fn last(&self) -> Option<FileName> {
        let path = self.0.trim_suffix_bytes(b'/');
        FileName::new(path.rsplit(|&byte| byte == b'/').next()?)
    }
}

/// What `str::trim_end_matches` is for text.
trait TrimBytes {
    fn trim_suffix_bytes(&self, byte: u8) -> &[u8];
}

impl TrimBytes for [u8] {
    fn trim_suffix_bytes(&self, byte: u8) -> &[u8] {
        let end = self.iter().rposition(|&b| b != byte).map_or(0, |last| last.saturating_add(1));
        self.get(..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_exactly_one_component() {
        for bad in [&b""[..], b".", b"..", b"/", b"a/b", b"../x", b"/etc/passwd", b"a/", b"a\0b"] {
            assert_eq!(FileName::new(bad), None, "{bad:?}");
        }
        for good in [
            &b"..."[..],
            b"..a",
            b" a",
            b"-rf",
            b"~",
            b"*",
            b"a b ",
            b"C:\\x",
            b"\xff\xfe",
            b"\xc0\xae\xc0\xae",
        ] {
            assert_eq!(FileName::new(good).unwrap().as_bytes(), good);
        }
    }

    #[test]
    fn names_that_move_a_cursor_or_turn_the_writing_round_are_recognised() {
        for bad in ["a\x1b[2J", "a\nb", "a\x7f", "a\u{9b}b", "a\u{202e}gpj.exe", "a\u{2028}b", "\t"] {
            assert!(FileName::new(bad.as_bytes()).unwrap().could_deceive(), "{bad:?}");
        }
        for good in [&b"plain"[..], "grün".as_bytes(), b"gr\xfcn", b"a\\b", "文件".as_bytes()] {
            assert!(!FileName::new(good).unwrap().could_deceive(), "{good:?}");
        }
    }

    #[test]
    fn the_last_component_is_what_a_client_expects_to_be_sent() {
        let last = |path: &str| {
            ClientPath::new(path).last().map(|name| String::from_utf8(name.as_bytes().to_vec()).unwrap())
        };
        for (path, name) in [("a", "a"), ("/a/b", "b"), ("a/b/", "b"), ("a//b//", "b"), ("a/./b", "b")] {
            assert_eq!(last(path).as_deref(), Some(name), "{path}");
        }
        for path in ["", "/", "//", ".", "..", "a/.", "a/..", "a/../"] {
            assert_eq!(last(path), None, "{path}");
        }
    }

    #[test]
    fn a_spelling_can_insist_on_a_directory() {
        for path in ["", "/", "a/", ".", "..", "a/.", "a/.."] {
            assert!(ClientPath::new(path).means_directory(), "{path}");
        }
        for path in ["a", "/a", "a/b", "...", "a/..b"] {
            assert!(!ClientPath::new(path).means_directory(), "{path}");
        }
    }
}
