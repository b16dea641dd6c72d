//! The configuration file: its text to sections.

mod cut;
mod heard;
mod line;
mod plain;
mod rules;

pub use plain::read_in_parts;

use std::fmt;

use serde::Deserialize;
use toml::Spanned;

use crate::policy::{Account, Entry, Match, Origin, Section, When};

/// What a file says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Text {
    /// Patterns for files that are read before the sections of this one.
    pub include: Vec<String>,
    /// The `[[match]]` sections, in their order.
    pub matches: Vec<Entry>,
    /// The `[default]` section; in a box, as all of this is handed on.
    pub default: Option<Box<Entry>>,
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrong {
    /// The file.
    pub file: String,
    /// Line and column, from 1; none where the whole file is meant.
    pub at: Option<(usize, usize)>,
    /// What.
    pub why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, why } = self;
        match at {
            Some((line, column)) => write!(f, "{file}:{line}:{column}: {why}"),
            None => write!(f, "{file}: {why}"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    #[serde(default)]
    include: Vec<String>,
    #[serde(default, rename = "match")]
    matches: Vec<Spanned<Match>>,
    default: Option<Spanned<Section>>,
}

/// Reads the text of a file called `file`; with an account, without the sections that cannot be about it.
///
/// # Errors
/// It is no TOML, has a key that is not known, or a value that does not fit, wherever that is.
pub fn read(file: &str, text: &str, account: Option<&Account>) -> Result<Text, Wrong> {
    plain::read(file, text, account).map_or_else(|| read_all(file, text, account), Ok)
}

/// Tells whether a section is one to keep.
fn counts(when: &When, account: Option<&Account>) -> bool {
    account.is_none_or(|account| when.concerns(account))
}

/// Has the TOML library read all of it, which knows every form and what is wrong.
fn read_all(file: &str, text: &str, account: Option<&Account>) -> Result<Text, Wrong> {
    let tables: Tables = toml::from_str(text).map_err(|error| {
        let at = error.span().map(|span| position(text, span.start));
        // One line: where it stands is said before it.
        let why = error.message().replace('\n', "; ");
        Wrong { file: file.to_owned(), at, why }
    })?;
    let lines = Lines::of(text);
    let origin = |start: usize| Origin { file: file.into(), line: lines.number(start) };
    let matches = tables.matches.into_iter().map(|table| {
        let origin = origin(table.span().start);
        let (when, section) = table.into_inner().split();
        Entry { origin, when, section }
    });
    let matches = matches.filter(|entry| counts(&entry.when, account)).collect();
    let default = tables.default.map(|table| {
        let origin = origin(table.span().start);
        Box::new(Entry { origin, when: When::default(), section: table.into_inner() })
    });
    Ok(Text { include: tables.include, matches, default })
}

/// Where lines end, so that two hundred sections are found in one pass.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at).collect())
    }

    fn number(&self, at: usize) -> usize {
        self.0.partition_point(|&end| end < at).saturating_add(1)
    }
}

/// Turns a place in the text into line and column, in characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count().saturating_add(1), line.chars().count().saturating_add(1))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::policy::Groups;

    #[test]
    fn sections_know_where_they_stand() {
        let text = "# a comment\n[default]\nroot = '/srv'\n\n[[match]]\nuser = 'a'\n[[match.path]]\npattern = 'x'\n\
                    hide = true\n\n[[match]]\nuser = 'b'\n";
        let read = read("f", text, None).unwrap();
        let origins: Vec<String> = read.matches.iter().map(|entry| entry.origin.to_string()).collect();
        assert_eq!(origins, ["f:5", "f:11"]);
        assert_eq!(read.default.unwrap().origin.to_string(), "f:2");
        assert!(read.matches[0].section.path.is_some());
    }

    #[test]
    fn groups_are_found_out_only_for_a_section_that_can_be_about_the_account_otherwise() {
        let sections = |text: &str, find: fn() -> Vec<OsString>| {
            let groups = Groups::found_by(find);
            let bob = Account { name: Some("bob".into()), groups, ..Account::default() };
            read("f", text, Some(&bob)).unwrap().matches.len()
        };
        let for_eve = "[[match]]\nuser = 'eve'\ngroup = 'staff'\n";
        assert_eq!(sections(&for_eve.repeat(3), || panic!("nobody asks for the groups")), 0);
        let for_bob = "[[match]]\nuser = 'bob'\ngroup = ['partners', 'staff']\n[[match]]\ngroup = 'staff'\n";
        assert_eq!(sections(&format!("{for_eve}{for_bob}"), || vec!["staff".into()]), 2);
        assert_eq!(sections(&format!("{for_eve}{for_bob}"), || vec!["admin".into()]), 0);
        // What is not read line by line.
        let in_one = "match = [{ user = 'eve', group = 'staff' }, { user = 'bob' }]";
        assert_eq!(sections(in_one, || panic!("nobody asks for the groups")), 1);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, at, why) in [
            ("[default]\nrot = '/x'", (2, 1), "unknown field `rot`"),
            ("[default]\nuser = 'bob'", (2, 1), "unknown field `user`"),
            ("x = 1", (1, 1), "unknown field `x`"),
            ("[[match]]\n  umask = '8'", (2, 11), "three octal digits"),
            ("[default]\numask = 27", (2, 9), "expected a string"),
            ("[default]\nroot = 'x'", (2, 8), "begins with /"),
            ("[default]\nread-only = 'yes'", (2, 13), "expected a boolean"),
            ("[default]\nsync = 'often'", (2, 8), "unknown variant `often`"),
            ("[[match]]\npath = [{ patern = 'x' }]", (2, 11), "unknown field `patern`"),
            ("[[match]]\nkey = 'MD5:x'", (2, 7), "a fingerprint is meant"),
            ("[default]\nmax-depth = -1", (2, 13), "invalid value"),
            ("[default", (1, 9), ""),
            ("[default]\nread-only = true\nread-only = true", (3, 1), "duplicate key"),
        ] {
            let wrong = read("f", text, None).unwrap_err();
            assert!(wrong.why.contains(why), "{text:?}: {wrong}");
            assert_eq!(wrong.at, Some(at), "{text:?}: {wrong}");
        }
    }
}
