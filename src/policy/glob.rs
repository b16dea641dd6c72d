//! Patterns of the file: for names, and for paths.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::choice::parsed;
use crate::bytes;
use crate::pattern::Pattern;
use crate::words::Letter;

/// A pattern for names or paths: `*.csv`, `in/*/ready`, `old/**`.
///
/// Without a slash it is about a name, wherever it is. With one, about a path from the root on. `*`, `?` and `[...]`
/// stay within a name and also match dots; `**` is any number of names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Glob {
    anchored: bool,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Any,
    Name(Vec<u8>),
    Pattern(Pattern),
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text.as_bytes()).map_err(|why| format!("{why}: {text:?}"))
    }
}

/// Splits a pattern into its names.
fn names_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bare = text.strip_suffix(b"/").unwrap_or(text);
    bare.strip_prefix(b"/").unwrap_or(bare).split(|&byte| byte == b'/')
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        parsed(source)
    }
}

impl Glob {
    fn read(text: &[u8]) -> Result<Self, &'static str> {
        let parts = names_of(text).map(Part::read).collect::<Result<_, _>>()?;
        // A slash at the end only says that a directory is meant.
        let anchored = text.strip_suffix(b"/").unwrap_or(text).contains(&b'/');
        Ok(Self { anchored, parts })
    }

    /// Tells whether a text is a pattern for one of the names, as what is read from it would.
    pub(super) fn finds<'n>(
        text: &[u8],
        mut names: impl Iterator<Item = &'n [u8]>,
    ) -> Result<bool, &'static str> {
        // Of nearly all, nothing has to be made: they are names.
        if is_name(text) { Ok(names.any(|name| name == text)) } else { Self::search(text, &mut names) }
    }

    #[cold]
    fn search(text: &[u8], names: &mut dyn Iterator<Item = &[u8]>) -> Result<bool, &'static str> {
        // Or they begin in another way than the name.
        let begin = text.split(|byte| SPECIAL.contains(byte)).next().unwrap_or_default();
        let mut names = names.filter(|name| name.starts_with(begin)).peekable();
        if names.peek().is_none() {
            return Self::form(text).map(|()| false);
        }
        let glob = Self::read(text)?;
        Ok(names.any(|name| glob.matches(name)))
    }

    /// Tells that a text is a pattern, whatever it matches.
    pub(super) fn form(text: &[u8]) -> Result<(), &'static str> {
        if bytes::have(text, *b"/") { names_of(text).try_for_each(form_of_one) } else { form_of_one(text) }
    }

    /// Returns the one name that matches, if there is only one.
    pub fn literal(&self) -> Option<&str> {
        match (self.anchored, self.parts.as_slice()) {
            (false, [Part::Name(name)]) => str::from_utf8(name).ok(),
            _ => None,
        }
    }

    /// Tells whether whatever the other one covers is covered by this one; where that is not plain to see, no.
    pub fn includes(&self, other: &Self) -> bool {
        let leading = other.parts.iter().map_while(|part| match part {
            Part::Name(name) => Some(name.as_slice()),
            Part::Any | Part::Pattern(_) => None,
        });
        let leading: Vec<&[u8]> = leading.collect();
        let is_path = other.anchored && !leading.is_empty();
        let is_name = !other.anchored && !self.anchored && !leading.is_empty();
        self == other
            || self.parts == [Part::Any]
            || (is_path || is_name) && self.covers(&leading.join(&b'/'))
    }

    /// Tells whether a name, or a word, matches as a whole.
    pub fn matches(&self, name: &[u8]) -> bool {
        covered(&self.parts, &[name]) == Covered::Whole
    }

    /// Tells whether a path matches, or a directory that it is in.
    pub(super) fn covers(&self, path: &[u8]) -> bool {
        let names = names(path);
        match self.parts.as_slice() {
            [part] if !self.anchored => names.iter().any(|name| part.takes(name)),
            parts => covered(parts, &names) == Covered::Whole,
        }
    }

    /// Tells whether something in the directory `path` could match.
    pub(super) fn reaches_below(&self, path: &[u8]) -> bool {
        !self.anchored || covered(&self.parts, &names(path)) != Covered::Never
    }
}

/// How much of a path a pattern covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Covered {
    /// The path ends before the pattern does.
    Beginning,
    /// They differ.
    Never,
    /// The path, or a directory that it is in.
    Whole,
}

fn covered(parts: &[Part], names: &[&[u8]]) -> Covered {
    match (parts, names) {
        // What is left of the path is in a directory that matches. `a/**` is all that is in `a`, not `a` itself.
        ([], _) | ([Part::Any], [_, ..]) => Covered::Whole,
        (_, []) => Covered::Beginning,
        ([Part::Any, after @ ..], [_, rest @ ..]) => match covered(after, names) {
            Covered::Whole => Covered::Whole,
            // As `a/**/b` is `a/b` as well, and a deeper one may come.
            _ => match covered(parts, rest) {
                Covered::Never => Covered::Beginning,
                found => found,
            },
        },
        ([part, after @ ..], [name, rest @ ..]) if part.takes(name) => covered(after, rest),
        _ => Covered::Never,
    }
}

fn names(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect()
}

/// What a text is between the slashes of a pattern.
enum Form {
    Any,
    Name,
    Pattern,
}

impl Form {
    fn of(text: &[u8]) -> Result<Self, &'static str> {
        form_of_one(text).map(|()| match text {
            b"**" => Self::Any,
            _ if is_name(text) => Self::Name,
            _ => Self::Pattern,
        })
    }
}

/// Tells that a text may be between the slashes of a pattern.
fn form_of_one(text: &[u8]) -> Result<(), &'static str> {
    match text {
        b"**" => Ok(()),
        b"" | b"." | b".." => Err("a pattern has no empty names, no . and no .."),
        _ if text.len() > LENGTH => Err("a name of a pattern has no more than 255 letters"),
        _ if bytes::have(text, *b"*") && text.windows(2).any(|two| two == b"**") => {
            Err("** stands alone between slashes")
        }
        _ => Ok(()),
    }
}

/// Tells whether a pattern is a name and nothing else, as nearly every one of an account is.
fn is_name(text: &[u8]) -> bool {
    !matches!(text, b"" | b"." | b"..") && text.len() <= LENGTH && !bytes::have(text, SPECIAL)
}

/// What can be something else in a pattern than itself.
const SPECIAL: [u8; 5] = *b"*/?[\\";

impl Part {
    fn read(text: &[u8]) -> Result<Self, &'static str> {
        let pattern = match Form::of(text)? {
            Form::Any => return Ok(Self::Any),
            Form::Name => None,
            Form::Pattern => {
                let letters: Vec<Letter> = text.iter().map(|&byte| Letter { byte, live: true }).collect();
                Pattern::new(&letters)
            }
        };
        Ok(pattern.map_or_else(|| Self::Name(text.into()), Self::Pattern))
    }

    fn takes(&self, name: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => own == name,
            Self::Pattern(pattern) => pattern.covers(name),
        }
    }
}

/// The longest name that a file system of ours takes.
const LENGTH: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_without_a_slash_is_about_names_and_one_with_a_slash_about_paths() {
        for (pattern, path, covers) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "d/a.csv", true),
            ("*.csv", "a.csv/inner", true),
            ("*.csv", "a.csvx", false),
            ("*", ".hidden", true),
            ("in/", "in", true),
            ("in", "d/in/x", true),
            ("/in", "in/x", true),
            ("/in", "d/in", false),
            ("in/*.csv", "in/a.csv", true),
            ("in/*.csv", "x/in/a.csv", false),
            ("in/**", "in", false),
            ("in/**", "in/a/b", true),
            ("**", "a/b", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z/y", true),
            ("a/**/z", "a/b", false),
            ("[ab]?", "bx", true),
        ] {
            assert_eq!(pattern.parse::<Glob>().unwrap().covers(path.as_bytes()), covers, "{pattern} {path}");
        }
        for wrong in ["", "/", "a//b", "../x", "a/./b", "a**", "x/**y"] {
            assert!(wrong.parse::<Glob>().is_err(), "{wrong}");
        }
    }
}
