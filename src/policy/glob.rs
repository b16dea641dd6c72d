//! Patterns of the file: for names, and for paths.

use std::fmt;
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
#[derive(Clone, Debug)]
pub struct Glob {
    /// Its names, with slashes between them, and before them if it is about paths.
    text: Letters,
    /// What has been made of those that are odd; behind one pointer, as few have any and there may be hundreds of patterns.
    patterns: Option<Box<Patterns>>,
}

/// In the order of the names that are odd; none where one is a name all the same.
type Patterns = Vec<Option<Pattern>>;

impl Eq for Glob {}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.is_anchored() == other.is_anchored() && self.parts().eq(other.parts())
    }
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text.as_bytes()).map_err(|why| format!("{why}: {text:?}"))
    }
}

/// A pattern that has been looked at, and of which nothing has been made yet.
#[derive(Clone, Copy)]
pub struct Written<'t> {
    text: &'t [u8],
    /// Whether it is known that none of its names is odd.
    is_plain: bool,
}

impl<'t> Written<'t> {
    /// Looks at all of a text.
    ///
    /// # Errors
    /// It is no pattern.
    pub fn read(text: &'t [u8]) -> Result<Self, &'static str> {
        Glob::form(text).map(|()| Self { text, is_plain: false })
    }

    /// Takes one of the plainest form from the beginning of a quoted text; returns what follows as well.
    pub fn first(text: &'t [u8]) -> Option<(Self, &'t [u8])> {
        let rest = Glob::first(text)?;
        let text = text.get(..text.len().checked_sub(rest.len())?)?;
        Some((Self { text, is_plain: true }, rest))
    }
}

impl From<Written<'_>> for Glob {
    fn from(written: Written<'_>) -> Self {
        let path = path_of(written.text);
        let is_odd = !written.is_plain && is_odd(path);
        let names = bare(path);
        Self { text: Letters::of(names, bytes::have(path, *b"/")), patterns: is_odd.then(|| patterns(names)) }
    }
}

/// Takes the slash at the end of a pattern away, which only says that a directory is meant.
fn path_of(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"/").unwrap_or(text)
}

/// Returns the names of such a path, with slashes between them.
fn bare(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
}

fn split(names: &[u8]) -> impl Iterator<Item = &[u8]> {
    names.split(|&byte| byte == b'/')
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        parsed(source)
    }
}

impl Glob {
    /// Reads a text as a pattern.
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &[u8]) -> Result<Self, &'static str> {
        Written::read(text).map(Self::from)
    }

    fn parts(&self) -> Parts<'_> {
        let patterns = self.patterns.as_ref().map_or(&[][..], |patterns| patterns.as_slice());
        Parts { text: Some(bare(self.text.bytes())), patterns }
    }

    /// Tells whether it is about a path.
    fn is_anchored(&self) -> bool {
        self.text.bytes().starts_with(b"/")
    }

    /// Takes a name from the beginning of a text: a pattern that matches nothing else.
    pub(super) fn first_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
        let length = text.iter().position(|&byte| !is_of_name(byte))?;
        let (name, rest) = text.split_at_checked(length).filter(|_| length <= LENGTH)?;
        // What begins with a dot may be none.
        (!matches!(name, [] | [b'.', ..])).then_some((name, rest))
    }

    /// Takes a pattern of the plainest form from the beginning of a quoted text: names with stars, and `**`, between slashes.
    #[inline(never)] // Most sections have none, and who calls it needs the registers.
    pub(super) fn first(text: &[u8]) -> Option<&[u8]> {
        let names = bare(text);
        let mut next = names;
        while let Some(rest) = next.strip_prefix(b"**").or_else(|| starred(next)) {
            match rest.split_first()? {
                (b'/', after) => next = after,
                (b'*', _) => return None,
                _ => return Some(rest),
            }
        }
        // The slash at the end.
        Some(next).filter(|end| end.len() < names.len() && matches!(end, [b'"' | b'\'', ..]))
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
        if bytes::have(text, *b"/") {
            split(bare(path_of(text))).try_for_each(form_of_one)
        } else {
            form_of_one(text)
        }
    }

    /// Returns the one name that matches, if there is only one.
    pub fn literal(&self) -> Option<&str> {
        match self.parts().next() {
            Some(Part::Name(name)) if !self.is_anchored() => str::from_utf8(name).ok(),
            _ => None,
        }
    }

    /// Tells whether whatever the other one covers is covered by this one; where that is not plain to see, no.
    pub fn includes(&self, other: &Self) -> bool {
        let leading = other.parts().map_while(|part| match part {
            Part::Name(name) => Some(name),
            Part::Any | Part::Pattern(_) | Part::Stars(_) => None,
        });
        let leading: Vec<&[u8]> = leading.collect();
        let is_path = other.is_anchored() && !leading.is_empty();
        let is_name = !other.is_anchored() && !self.is_anchored() && !leading.is_empty();
        self == other || bare(self.text.bytes()) == b"**" || (is_path || is_name) && self.covers(&leading)
    }

    /// Tells whether a name, or a word, matches as a whole.
    pub fn matches(&self, name: &[u8]) -> bool {
        covered(&self.parts(), &[name]) == Covered::Whole
    }

    /// Tells whether a path of these names matches, or a directory that it is in.
    pub(super) fn covers(&self, names: &[&[u8]]) -> bool {
        // Of hundreds of rules, most are about something else, as the first letter tells.
        let may_cover = match *self.text.bytes() {
            [b'/', letter, ..] => names.first().is_some_and(|name| may_begin(letter, name)),
            [letter, ..] => names.iter().any(|name| may_begin(letter, name)),
            [] => false,
        };
        may_cover && self.does_cover(names)
    }

    #[inline(never)] // What most come to is so short that it is not called.
    fn does_cover(&self, names: &[&[u8]]) -> bool {
        if self.is_anchored() {
            return covered(&self.parts(), names) == Covered::Whole;
        }
        self.parts().any(|part| names.iter().any(|name| part.takes(name)))
    }

    /// Tells whether something in the directory that these names lead to could match.
    pub(super) fn reaches_below(&self, names: &[&[u8]]) -> bool {
        !self.is_anchored() || covered(&self.parts(), names) != Covered::Never
    }
}

/// What a pattern is written in: nearly always so little that it needs no memory of its own, of which there may be hundreds.
#[derive(Clone)]
enum Letters {
    Few(u8, [u8; FEW]),
    Many(Box<[u8]>),
}

/// As many as fit where four numbers would be.
const FEW: usize = 30;

impl Letters {
    /// Takes names, with a slash before them if there is to be one.
    fn of(names: &[u8], slash: bool) -> Self {
        let before = usize::from(slash);
        let length = names.len().saturating_add(before);
        let mut few = [b'/'; FEW];
        match (u8::try_from(length), few.get_mut(before..length)) {
            (Ok(length), Some(room)) => {
                room.copy_from_slice(names);
                Self::Few(length, few)
            }
            _ if slash => Self::Many([b"/", names].concat().into()),
            _ => Self::Many(names.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Few(length, few) => few.get(..usize::from(*length)).unwrap_or_default(),
            Self::Many(many) => many,
        }
    }
}

impl fmt::Debug for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.bytes().escape_ascii())
    }
}

/// What is left of a pattern.
#[derive(Clone)]
struct Parts<'g> {
    text: Option<&'g [u8]>,
    patterns: &'g [Option<Pattern>],
}

#[derive(Eq, PartialEq)]
enum Part<'g> {
    Any,
    Name(&'g [u8]),
    Pattern(&'g Pattern),
    /// Letters that are themselves, and stars: `*.csv`.
    Stars(&'g [u8]),
}

impl<'g> Iterator for Parts<'g> {
    type Item = Part<'g>;

    fn next(&mut self) -> Option<Part<'g>> {
        let mut two = self.text?.splitn(2, |&byte| byte == b'/');
        let name = two.next()?;
        self.text = two.next();
        Some(match self.patterns {
            [pattern, after @ ..] if is_odd(name) => {
                self.patterns = after;
                pattern.as_ref().map_or(Part::Name(name), Part::Pattern)
            }
            _ if name == b"**" => Part::Any,
            _ if bytes::have(name, *b"*") => Part::Stars(name),
            _ => Part::Name(name),
        })
    }
}

impl Part<'_> {
    fn takes(&self, name: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => *own == name,
            Self::Pattern(pattern) => pattern.covers(name),
            Self::Stars(text) => fits(text, name),
        }
    }
}

/// Tells whether a name is like a text in which each star is any number of letters.
fn fits(text: &[u8], name: &[u8]) -> bool {
    let (mut text, mut rest) = (text, name);
    // Where the latest star stands, and what it has not swallowed: as in `Pattern::covers`.
    let mut latest = None;
    loop {
        match (text, rest) {
            ([], []) => return true,
            ([b'*', after @ ..], _) => {
                latest = Some((after, rest));
                text = after;
            }
            ([letter, after @ ..], [byte, further @ ..]) if letter == byte => (text, rest) = (after, further),
            _ => {
                let Some((after, [_, further @ ..])) = latest else { return false };
                latest = Some((after, further));
                (text, rest) = (after, further);
            }
        }
    }
}

/// Tells whether a pattern that begins with a letter can be about a name, as far as that tells.
fn may_begin(letter: u8, name: &[u8]) -> bool {
    matches!(letter, b'*' | b'?' | b'[') || name.first() == Some(&letter)
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

fn covered(parts: &Parts<'_>, names: &[&[u8]]) -> Covered {
    let mut after = parts.clone();
    match (after.next(), names) {
        // What is left of the path is in a directory that matches.
        (None, _) => Covered::Whole,
        (_, []) => Covered::Beginning,
        // `a/**` is all that is in `a`, not `a` itself.
        (Some(Part::Any), _) if after.text.is_none() => Covered::Whole,
        (Some(Part::Any), [_, rest @ ..]) => match covered(&after, names) {
            Covered::Whole => Covered::Whole,
            // As `a/**/b` is `a/b` as well, and a deeper one may come.
            _ => match covered(parts, rest) {
                Covered::Never => Covered::Beginning,
                found => found,
            },
        },
        (Some(part), [name, rest @ ..]) if part.takes(name) => covered(&after, rest),
        _ => Covered::Never,
    }
}

/// Splits a path into its names.
pub(super) fn names(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect()
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

/// Takes a name with stars from the beginning.
fn starred(text: &[u8]) -> Option<&[u8]> {
    let name = |text: &[u8]| text.iter().position(|&byte| !is_of_name(byte));
    // What begins with a dot may be no name.
    let mut rest = text.get(name(text)?..).filter(|_| !text.starts_with(b"."))?;
    while let Some(after) = rest.strip_prefix(b"*").filter(|after| !after.starts_with(b"*")) {
        rest = after.get(name(after)?..)?;
    }
    let length = text.len().wrapping_sub(rest.len());
    (1..=LENGTH).contains(&length).then_some(rest)
}

/// Tells whether a byte can only be itself, and be in a quoted text.
fn is_of_name(byte: u8) -> bool {
    OF_NAMES.get(usize::from(byte)) == Some(&true)
}

const OF_NAMES: [bool; 256] =
    bytes::each_of(b"-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz");

/// What can be something else in a pattern than itself.
const SPECIAL: [u8; 5] = *b"*/?[\\";

/// Tells whether a name of a pattern may be more than letters and stars, so that something has to be made of it.
fn is_odd(name: &[u8]) -> bool {
    bytes::have(name, *b"?[")
}

/// Makes something of the names that are odd.
#[cold]
fn patterns(names: &[u8]) -> Box<Patterns> {
    Box::new(split(names).filter(|name| is_odd(name)).map(pattern).collect())
}

/// Takes one name of a pattern for what its letters mean; none if they only mean themselves.
fn pattern(name: &[u8]) -> Option<Pattern> {
    let letters: Vec<Letter> = name.iter().map(|&byte| Letter { byte, live: true }).collect();
    Pattern::new(&letters)
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
            ("/in/", "in", true),
            ("[a/*/b]", "[a/x/b]", true),
            ("[a/*/b]", "[a/x/b", false),
            ("a\\b/?", "a\\b/x", true),
            ("in/**/*.csv/?", "in/a.csv/b/c.csv/d", true),
            ("in/**/*.csv/?", "in/a.csv/bb/c.csvx/d", false),
            ("/**", "a", true),
            ("in/*-*.csv", "in/a-b-c.csv", true),
            ("in/*-*.csv", "in/a-b.csv.csvx", false),
            ("*a*a*", "a", false),
            ("a*", "a", true),
            ("*\u{fc}*", "gr\u{fc}n", true),
            ("[a*", "[ab", true),
            ("a-name-of-more-letters-than-others/*/b", "a-name-of-more-letters-than-others/x/b", true),
            ("a-name-of-more-letters-than-others/*/b", "a-name-of-more-letters-than-other/x/b", false),
        ] {
            let glob: Glob = pattern.parse().unwrap();
            assert_eq!(glob.covers(&names(path.as_bytes())), covers, "{pattern} {path}");
        }
        for wrong in ["", "/", "a//b", "../x", "a/./b", "a**", "x/**y"] {
            assert!(wrong.parse::<Glob>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn patterns_are_the_same_if_they_are_made_up_of_the_same() {
        for (one, other, same) in [
            ("in/", "in", true),
            ("/in", "in", false),
            ("/in/x/", "in/x", true),
            ("in/[a]", "in/[a-a]", true),
            ("in/[a]/[", "in/[b]/[", false),
            ("[a/b", "[a/c", false),
            ("**", "/**", false),
            ("a-name-of-more-letters-than-others", "a-name-of-more-letters-than-other", false),
        ] {
            let [one, other]: [Glob; 2] = [one.parse().unwrap(), other.parse().unwrap()];
            assert_eq!(one == other, same, "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_is_taken_from_the_beginning_is_what_is_read() {
        let mut taken = 0;
        for pattern in [
            "a",
            "*",
            "*.csv",
            "a*b*c",
            "in/**",
            "**",
            "**/x",
            "a/**/b-*.x",
            "in/*/ready",
            "a.b",
            "",
            ".",
            "..",
            ".a",
            "a/",
            "/a",
            "/a/b/",
            "/**/",
            "/",
            "//",
            "a//",
            "/a'/",
            "a//b",
            "a**",
            "**a",
            "a/.b",
            "a?",
            "[a]",
            "a\\b",
            "tr\u{e4}ger",
            "a b",
            "a-name-of-more-letters-than-others/*",
        ] {
            let text = format!("{pattern}\" # more");
            let Some((written, rest)) = Written::first(text.as_bytes()).filter(|(_, rest)| rest[0] == b'"')
            else {
                continue;
            };
            let read = Glob::read(pattern.as_bytes());
            assert_eq!((Ok(written.into()), rest), (read, &b"\" # more"[..]), "{pattern}");
            taken += 1;
        }
        assert_eq!(taken, 15);
    }

    #[test]
    fn a_name_and_nothing_else_is_literal() {
        for (pattern, literal) in [
            ("bob", Some("bob")),
            ("bob/", Some("bob")),
            ("b[ob", Some("b[ob")),
            ("tr\u{e4}ger", Some("tr\u{e4}ger")),
            ("/bob", None),
            ("b?b", None),
            ("**", None),
            ("a/b", None),
        ] {
            assert_eq!(pattern.parse::<Glob>().unwrap().literal(), literal, "{pattern}");
        }
    }
}
