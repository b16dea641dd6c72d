//! A command line as the client wrote it, taken apart into words as a POSIX shell would, without a shell.

/// One letter of a word, and whether it was quoted: only a live letter can be part of a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Letter {
    /// The byte itself.
    pub byte: u8,
    /// Whether it stood outside all quotes, so that `*`, `{` or `~` mean more than themselves.
    pub live: bool,
}

/// A word of a command line, its quoting undone but not forgotten.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Word(pub Vec<Letter>);
