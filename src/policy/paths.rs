//! Rules about what is inside the root: which may be done with which path.

use std::fmt;
use std::rc::Rc;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::choice::text;
use super::glob::{Glob, names};

/// What is done with a path.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// A file is stored under a name that was free.
    Create,
    /// A file or a directory is sent to the client.
    Download,
    /// A directory is made, or gone into.
    Mkdir,
    /// A file is stored in the place of another.
    Overwrite,
}

impl Operation {
    const fn bit(self) -> u8 {
        match self {
            Self::Create => 1,
            Self::Download => 2,
            Self::Mkdir => 4,
            Self::Overwrite => 8,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Download => "download",
            Self::Mkdir => "mkdir",
            Self::Overwrite => "overwrite",
        })
    }
}

/// What the rules say to an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It may be.
    Allowed,
    /// It may not, and it is said so.
    Denied,
    /// What is there is not there.
    Hidden,
}

/// The rules, in the file's order: the first one that matches the path and names the operation decides.
///
/// What is not spoken of is allowed.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(from = "Vec<PathRule>")]
pub struct PathRules(Rc<Vec<PathRule>>);

impl From<Vec<PathRule>> for PathRules {
    fn from(rules: Vec<PathRule>) -> Self {
        Self(Rc::new(rules))
    }
}

/// One `[[match.path]]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PathRule {
    /// Which paths it is about.
    pub pattern: Glob,
    /// What may be done with them.
    #[serde(default)]
    pub allow: Operations,
    /// What may not.
    #[serde(default)]
    pub deny: Operations,
    /// Whether they are not there, for whatever is not allowed.
    #[serde(default)]
    pub hide: bool,
}

/// A key of a `[[match.path]]`.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleKey {
    Pattern = RuleKey::FIRST,
    Allow,
    Deny,
    Hide,
}

impl RuleKey {
    /// The number of the first; those of a section's keys are below.
    pub(super) const FIRST: isize = 60;

    /// Returns which key it is.
    #[expect(clippy::as_conversions, reason = "the number that the compiler gives it")]
    pub(super) fn number(self) -> u32 {
        self as u32
    }

    /// Reads a value as that of the key, for a rule of which nothing is kept.
    pub(super) fn fits<'de, D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        match self {
            Self::Pattern => text(value, |text| Glob::form(text.as_bytes())),
            Self::Allow | Self::Deny => Operations::deserialize(value).map(drop),
            Self::Hide => bool::deserialize(value).map(drop),
        }
    }
}

/// A list of operations, or the word `all`, or `upload` for those that store.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Operations(u8);

impl Operations {
    const NONE: Self = Self(0);

    const fn and(self, operation: Operation) -> Self {
        Self(self.0 | operation.bit())
    }

    fn have(self, operation: Operation) -> bool {
        self.0 & operation.bit() != 0
    }

    /// Takes a word of the list from the beginning of a text, and what it means in; returns what follows.
    pub fn take<'t>(&mut self, text: &'t [u8]) -> Option<&'t [u8]> {
        let (named, rest) = Named::first(text)?;
        self.0 |= named.operations().0;
        Some(rest)
    }
}

impl PathRules {
    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decides about an operation on `path`, as seen from the root, without a slash at either end.
    ///
    /// A rule about a directory is one about all that is in it.
    pub fn judge(&self, path: &[u8], operation: Operation) -> Verdict {
        let names = names(path);
        let says = |rule: &PathRule| rule.says(operation).filter(|_| rule.pattern.covers(&names));
        self.0.iter().find_map(says).unwrap_or(Verdict::Allowed)
    }

    /// Returns the number, from 1, of each rule that decides nothing, and of the earlier one that does it.
    ///
    /// Only what one earlier rule decides alone is found.
    pub fn idle(&self) -> Vec<(usize, usize)> {
        let idle = |(rule, number): (&PathRule, usize)| {
            let earlier = self.0.iter().zip(1..number);
            let mut before = earlier.filter(|(before, _)| before.pattern.includes(&rule.pattern));
            let found =
                before.find(|(before, _)| rule.operations().all(|named| before.says(named).is_some()));
            found.map(|(_, before)| (number, before))
        };
        self.0.iter().zip(1..).filter_map(idle).collect()
    }

    /// Tells whether something below `path` might be allowed though `path` itself is not: it can be walked through.
    pub fn leads_on(&self, path: &[u8], operation: Operation) -> bool {
        let names = names(path);
        for rule in self.0.iter() {
            match rule.says(operation) {
                Some(Verdict::Allowed) if rule.pattern.reaches_below(&names) => return true,
                // So is all that is below.
                Some(Verdict::Denied | Verdict::Hidden) if rule.pattern.covers(&names) => return false,
                _ => {}
            }
        }
        false
    }
}

impl PathRule {
    /// Decides about an operation on a path that matches; none if the rule does not name it.
    fn says(&self, operation: Operation) -> Option<Verdict> {
        match self {
            rule if rule.allow.have(operation) => Some(Verdict::Allowed),
            Self { hide: true, .. } => Some(Verdict::Hidden),
            rule if rule.deny.have(operation) => Some(Verdict::Denied),
            _ => None,
        }
    }

    fn operations(&self) -> impl Iterator<Item = Operation> {
        use Operation::{Create, Download, Mkdir, Overwrite};
        [Create, Download, Mkdir, Overwrite].into_iter().filter(|&named| self.says(named).is_some())
    }
}

/// What a list of operations is made up of.
#[derive(Clone, Copy)]
enum Named {
    All,
    Create,
    Download,
    Mkdir,
    Overwrite,
    Upload,
}

impl Named {
    /// Takes a word from the beginning of a text; none if it is none of these.
    fn first(text: &[u8]) -> Option<(Self, &[u8])> {
        let (named, rest) = match text.first()? {
            b'a' => (Self::All, text.strip_prefix(b"all")),
            b'c' => (Self::Create, text.strip_prefix(b"create")),
            b'd' => (Self::Download, text.strip_prefix(b"download")),
            b'm' => (Self::Mkdir, text.strip_prefix(b"mkdir")),
            b'o' => (Self::Overwrite, text.strip_prefix(b"overwrite")),
            b'u' => (Self::Upload, text.strip_prefix(b"upload")),
            _ => return None,
        };
        rest.map(|rest| (named, rest))
    }

    /// Reads a word.
    fn read(word: &[u8]) -> Option<Self> {
        Self::first(word).filter(|(_, rest)| rest.is_empty()).map(|(named, _)| named)
    }

    const fn operations(self) -> Operations {
        use Operation::{Create, Download, Mkdir, Overwrite};
        const UPLOAD: Operations = Operations::NONE.and(Create).and(Mkdir).and(Overwrite);
        match self {
            Self::All => UPLOAD.and(Download),
            Self::Create => Operations::NONE.and(Create),
            Self::Download => Operations::NONE.and(Download),
            Self::Mkdir => Operations::NONE.and(Mkdir),
            Self::Overwrite => Operations::NONE.and(Overwrite),
            Self::Upload => UPLOAD,
        }
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        text(source, |word| {
            let words = "`all`, `create`, `download`, `mkdir`, `overwrite`, `upload`";
            Self::read(word.as_bytes())
                .ok_or_else(|| format!("unknown variant `{word}`, expected one of {words}"))
        })
    }
}

impl<'de> Deserialize<'de> for Operations {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_seq(ListOfOperations)
    }
}

struct ListOfOperations;

impl<'de> Visitor<'de> for ListOfOperations {
    type Value = Operations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Operations, A::Error> {
        let mut all = 0;
        while let Some(named) = list.next_element::<Named>()? {
            all |= named.operations().0;
        }
        Ok(Operations(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> PathRules {
        #[derive(Deserialize)]
        struct Table {
            path: PathRules,
        }
        toml::from_str::<Table>(text).unwrap().path
    }

    #[test]
    fn the_first_rule_that_names_the_operation_decides() {
        let rules = rules(
            "path = [{ pattern = 'in/done/**', allow = ['download'] }, { pattern = '/in', allow = ['upload'] },
                     { pattern = 'secret', hide = true }, { pattern = '**', deny = ['all'] }]",
        );
        use Operation::{Create, Download, Mkdir};
        for (path, operation, verdict) in [
            ("in/done/x", Download, Verdict::Allowed),
            ("in/done/x", Create, Verdict::Allowed),
            ("in/x", Download, Verdict::Denied),
            ("in/secret", Mkdir, Verdict::Allowed),
            ("in/secret", Download, Verdict::Hidden),
            ("d/secret/x", Create, Verdict::Hidden),
            ("x", Create, Verdict::Denied),
        ] {
            assert_eq!(rules.judge(path.as_bytes(), operation), verdict, "{path} {operation}");
        }
        assert!(rules.leads_on(b"in", Download) && rules.leads_on(b"", Create));
        assert!(!rules.leads_on(b"x", Download));
        assert!(rules.leads_on(b"in", Create) && !rules.leads_on(b"secret", Create));
    }

    #[test]
    fn a_path_is_looked_for_in_each_rule_in_its_way() {
        let rules = rules(
            "path = [{ pattern = '*.tmp', allow = ['create'], hide = true }, { pattern = '/logs/', deny = ['upload'] },
                     { pattern = 'in/**/ready', allow = ['download'] }, { pattern = 'old/**', hide = true },
                     { pattern = 'in/*', deny = ['all'] }]",
        );
        use Operation::{Create, Download, Mkdir, Overwrite};
        for (path, operation, verdict, leads_on) in [
            ("x", Create, Verdict::Allowed, true),
            ("d/x.tmp", Create, Verdict::Allowed, true),
            ("d/x.tmp/y", Overwrite, Verdict::Hidden, false),
            ("logs", Mkdir, Verdict::Denied, false),
            ("logs/a/b", Overwrite, Verdict::Denied, false),
            ("logs/a", Create, Verdict::Denied, true),
            ("logs", Download, Verdict::Allowed, false),
            ("d/logs", Mkdir, Verdict::Allowed, false),
            ("in/ready", Download, Verdict::Allowed, true),
            ("in/a", Download, Verdict::Denied, true),
            ("in/a/b/ready/c", Download, Verdict::Allowed, true),
            ("in/a/b/ready/c", Overwrite, Verdict::Denied, false),
            ("in", Download, Verdict::Allowed, true),
            ("old", Download, Verdict::Allowed, false),
            ("/old//x/", Download, Verdict::Hidden, false),
            ("", Download, Verdict::Allowed, true),
        ] {
            assert_eq!(rules.judge(path.as_bytes(), operation), verdict, "{path} {operation}");
            assert_eq!(rules.leads_on(path.as_bytes(), operation), leads_on, "{path} {operation}");
        }
    }

    #[test]
    fn a_rule_that_decides_nothing_is_found() {
        for (text, idle) in [
            ("{ pattern = '**', deny = ['all'] }, { pattern = 'in/**', allow = ['upload'] }", &[(2, 1)][..]),
            ("{ pattern = '/**', deny = ['all'] }, { pattern = 'in/**', allow = ['upload'] }", &[(2, 1)]),
            ("{ pattern = 'in/**', allow = ['upload'] }, { pattern = '**', deny = ['all'] }", &[]),
            ("{ pattern = '**', deny = ['upload'] }, { pattern = 'a', allow = ['all'] }", &[]),
            ("{ pattern = '/a', hide = true }, { pattern = 'a/b/**', allow = ['download'] }", &[(2, 1)]),
            ("{ pattern = '/a', hide = true }, { pattern = 'a', allow = ['download'] }", &[]),
            ("{ pattern = '*.x', hide = true }, { pattern = 'a.x', deny = ['create'] }", &[(2, 1)]),
            ("{ pattern = 'a*', hide = true }, { pattern = '[ab]', deny = ['create'] }", &[]),
            ("{ pattern = '*.x', deny = ['create'] }, { pattern = '*.x', deny = ['create'] }", &[(2, 1)]),
            ("{ pattern = 'a' }, { pattern = 'b' }", &[]),
        ] {
            assert_eq!(rules(&format!("path = [{text}]")).idle(), idle, "{text}");
        }
    }

    #[test]
    fn what_is_not_spoken_of_is_allowed() {
        assert_eq!(PathRules::default().judge(b"x", Operation::Create), Verdict::Allowed);
        let rules = rules("path = [{ pattern = 'x', deny = ['overwrite'] }]");
        assert_eq!(rules.judge(b"x", Operation::Create), Verdict::Allowed);
        assert_eq!(rules.judge(b"x", Operation::Overwrite), Verdict::Denied);
    }
}
