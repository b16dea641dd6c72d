//! Sections about somebody else: of two hundred, nearly all. They have to be right, but nothing is made of them.

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

use super::choice::{Bytes, Octal, Root};
use super::glob::Glob;
use super::network::Network;
use super::paths::RuleKey;
use super::section::Keyword;
use super::times::{Expiry, Hours};
use super::when::{Account, Fingerprint};

/// A `[[match]]` that goes by, key after key.
pub struct Aside<'a> {
    account: &'a Account,
    /// Whether all conditions so far can hold for the account.
    concerns: bool,
    /// The keys that may still come.
    free: Numbers,
    /// Whether we are in a `[[match.path]]`.
    in_rule: bool,
}

impl<'a> From<&'a Account> for Aside<'a> {
    fn from(account: &'a Account) -> Self {
        Self { account, concerns: true, free: Numbers::OF_SECTIONS, in_rule: false }
    }
}

/// A key of a section, or of a rule about paths; none is both.
#[derive(Clone, Copy)]
pub enum Spelled {
    /// Of a `[[match.path]]`.
    Rule(RuleKey),
    /// Of a `[[match]]`.
    Section(Keyword),
}

impl Aside<'_> {
    /// Finds a key of the section, or of the `[[match.path]]` that we are in.
    pub fn knows(&self, key: &str) -> Option<Spelled> {
        let key = StrDeserializer::<Error>::new(key);
        if self.in_rule {
            RuleKey::deserialize(key).map(Spelled::Rule).ok()
        } else {
            Keyword::deserialize(key).map(Spelled::Section).ok()
        }
    }

    /// Reads a value. Tells whether it can hold for the account if it is a condition; none if it does not fit.
    #[inline(never)] // There are many kinds of values; who calls it needs the registers.
    pub fn hears<'de, D: IntoDeserializer<'de>>(&self, key: Spelled, value: D) -> Option<bool> {
        let value = value.into_deserializer();
        let fits = match key {
            Spelled::Rule(key) => key.fits(value),
            Spelled::Section(word) => word.fits(value),
        };
        fits.ok().map(|()| true)
    }

    /// Reads what a text begins with, of a kind that says itself where it ends; none if it is another kind, or something unusual.
    #[inline(always)] // One place each, for a text and for one of a list.
    pub fn hears_first<'t>(&self, key: Spelled, text: &'t [u8]) -> Option<(bool, &'t [u8])> {
        let account = self.account;
        let any = |rest| (true, rest);
        match key {
            Spelled::Section(Keyword::root) => Root::first(text).map(any),
            Spelled::Section(Keyword::user) => first_user(text, account),
            Spelled::Section(Keyword::from) => Network::first(text, account.address),
            Spelled::Section(Keyword::group) if self.concerns => first_group(text, account),
            Spelled::Section(Keyword::principal) => first_principal(text, account),
            Spelled::Section(Keyword::key) => first_key(text, account),
            Spelled::Section(Keyword::group | Keyword::names) | Spelled::Rule(RuleKey::Pattern) => {
                Glob::first(text).map(any)
            }
            Spelled::Section(Keyword::umask | Keyword::file_mode | Keyword::directory_mode) => {
                Octal::first(text).map(any)
            }
            Spelled::Section(
                Keyword::max_file_size | Keyword::max_session_size | Keyword::min_free_space,
            ) => Bytes::first(text).map(any),
            Spelled::Section(Keyword::hours) => Hours::first(text).map(|(_, rest)| (true, rest)),
            Spelled::Section(Keyword::expires) => Expiry::first(text).map(any),
            Spelled::Section(_) | Spelled::Rule(_) => None,
        }
    }

    /// Reads a value that is a text.
    #[inline(never)] // Few are so unusual.
    pub fn hears_text(&self, key: Spelled, text: &[u8]) -> Option<bool> {
        match key {
            Spelled::Rule(RuleKey::Pattern) => Glob::form(text).map(|()| true).ok(),
            Spelled::Section(word) if takes_list(word) => self.can_hold(word, text),
            _ => self.hears(key, str::from_utf8(text).ok()?),
        }
    }

    /// Begins a list of texts, which holds if one of them does; none if there is none of this key.
    pub fn begins_list(&self, key: Spelled) -> Option<bool> {
        match key {
            Spelled::Section(Keyword::names) => Some(true),
            Spelled::Section(word) if takes_list(word) => Some(false),
            _ => None,
        }
    }

    /// Reads a text of a list.
    pub fn hears_one(&self, key: Spelled, text: &[u8]) -> Option<bool> {
        match key {
            Spelled::Rule(_) => None,
            Spelled::Section(word) => self.can_hold(word, text),
        }
    }

    /// Tells whether a text of a list can hold for the account, the time aside. What is no condition always can.
    fn can_hold(&self, word: Keyword, text: &[u8]) -> Option<bool> {
        let account = self.account;
        match word {
            Keyword::user => Glob::finds(text, account.names()).ok(),
            // Groups may have to be found out, which is not done for a section about somebody else.
            Keyword::group if self.concerns => Glob::finds(text, account.group_names()).ok(),
            Keyword::key => Fingerprint::form(text).map(|()| account.has_key(text)).ok(),
            Keyword::principal => Glob::finds(text, account.principals()).ok(),
            Keyword::from => Network::read(text).map(|from| account.is_in(&from)),
            Keyword::group | Keyword::names => Glob::form(text).map(|()| true).ok(),
            Keyword::hours => Hours::read(text).map(|_| true),
            _ => None,
        }
    }

    /// Tells whether a line of this key may be here.
    pub fn takes(&mut self, key: Spelled, holds: bool) -> bool {
        self.concerns &= holds;
        self.free.take(key.number())
    }

    /// Tells whether a `[[match.path]]` may be here, behind conditions of which one cannot hold: else it is to be kept.
    pub fn takes_path(&mut self) -> bool {
        if self.concerns {
            return false;
        }
        let path = Spelled::Section(Keyword::path);
        let may_be = if self.in_rule { self.is_whole() } else { self.free.have(path.number()) };
        (self.free, self.in_rule) = (Numbers::OF_RULES, true);
        may_be
    }

    /// Tells whether the section, as it is now, is right and about somebody else.
    pub fn is_settled(&self) -> bool {
        self.is_whole() && !self.concerns
    }

    /// Tells whether nothing is missing that has to be there.
    fn is_whole(&self) -> bool {
        !(self.in_rule && self.free.have(Spelled::Rule(RuleKey::Pattern).number()))
    }
}

// One function for each condition, so that none has to make room for what only another one needs.

#[inline(never)]
fn first_key<'t>(text: &'t [u8], account: &Account) -> Option<(bool, &'t [u8])> {
    let (print, rest) = Fingerprint::first(text)?;
    Some((account.has_key(print), rest))
}

#[inline(never)]
fn first_user<'t>(text: &'t [u8], account: &Account) -> Option<(bool, &'t [u8])> {
    first_name(text, account.names())
}

#[inline(never)]
fn first_group<'t>(text: &'t [u8], account: &Account) -> Option<(bool, &'t [u8])> {
    first_name(text, account.group_names())
}

#[inline(never)]
fn first_principal<'t>(text: &'t [u8], account: &Account) -> Option<(bool, &'t [u8])> {
    first_name(text, account.principals())
}

fn first_name<'t, 'n>(text: &'t [u8], mut names: impl Iterator<Item = &'n [u8]>) -> Option<(bool, &'t [u8])> {
    let (first, rest) = Glob::first_name(text)?;
    Some((names.any(|name| name == first), rest))
}

impl Spelled {
    /// Tells whether it takes a list of operations.
    pub fn takes_operations(self) -> bool {
        matches!(self, Self::Rule(RuleKey::Allow | RuleKey::Deny))
    }

    /// Returns which key it is.
    fn number(self) -> u32 {
        match self {
            Self::Rule(key) => key.number(),
            Self::Section(word) => word.number(),
        }
    }
}

/// Tells whether a key takes a text or a list of texts, in which each stands for itself.
fn takes_list(word: Keyword) -> bool {
    use Keyword::{from, group, hours, key, names, principal, user};
    matches!(word, user | group | key | principal | from | hours | names)
}

/// A set of numbers of keys, which are below 64.
struct Numbers(u64);

impl Numbers {
    const OF_RULES: Self = Self(!Self::OF_SECTIONS.0);
    const OF_SECTIONS: Self = Self((1 << RuleKey::FIRST) - 1);

    /// Takes a number out; tells whether it was there.
    fn take(&mut self, number: u32) -> bool {
        let was_there = self.have(number);
        self.0 &= !1_u64.wrapping_shl(number);
        was_there
    }

    fn have(&self, number: u32) -> bool {
        self.0 & 1_u64.wrapping_shl(number) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::KEYS;

    impl Aside<'_> {
        fn says(&mut self, key: &str, text: &str) -> bool {
            let heard = self.knows(key).and_then(|key| Some((key, self.hears_text(key, text.as_bytes())?)));
            heard.is_some_and(|(key, holds)| self.takes(key, holds))
        }
    }

    #[test]
    fn a_section_is_settled_if_it_is_right_and_about_somebody_else() {
        let groups = vec!["staff".into()].into();
        let bob = Account { name: Some("bob".into()), groups, ..Account::default() };
        for (lines, settled) in [
            (&[][..], false),
            (&[("user", "eve")], true),
            (&[("user", "bob")], false),
            (&[("user", "b*")], false),
            (&[("user", "e*"), ("root", "/srv")], true),
            (&[("root", "/srv"), ("from", "192.0.2.7")], true),
            // Times are asked for later.
            (&[("hours", "Sat"), ("expires", "2020-01-01")], false),
            (&[("group", "staff")], false),
            (&[("group", "partners")], true),
            (&[("user", "eve"), ("group", "staff")], true),
            (&[("user", "eve"), ("[[match.path]]", ""), ("pattern", "x")], true),
            (&[("user", "eve"), ("[[match.path]]", "")], false),
        ] {
            let mut aside = Aside::from(&bob);
            for &(key, value) in lines {
                let is_taken = match key {
                    "[[match.path]]" => aside.takes_path(),
                    key => aside.says(key, value),
                };
                assert!(is_taken, "{lines:?}");
            }
            assert_eq!(aside.is_settled(), settled, "{lines:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_not_for_us() {
        let nobody = Account::default();
        let mut aside = Aside::from(&nobody);
        for (key, value) in [
            ("user", "a**"),
            ("usr", "eve"),
            ("user_", "eve"),
            ("read_only", "true"),
            ("root", "srv"),
            ("umask", "8"),
            ("sync", "often"),
            ("key", "MD5:x"),
            ("pattern", "x"),
        ] {
            assert!(!aside.says(key, value), "{key} {value}");
        }
        assert!(!aside.takes_path() && aside.says("user", "eve"));
        let umask = aside.knows("umask").unwrap();
        assert!(aside.takes(umask, true) && !aside.takes(umask, true));
        assert!(aside.takes_path() && !aside.takes_path());
        // A key of the section, in a rule.
        assert!(!aside.takes(umask, true) && aside.knows("umask").is_none());
    }

    #[test]
    fn a_list_in_which_nothing_is_holds_for_nobody_if_it_is_a_condition() {
        let bob = Account { name: Some("bob".into()), ..Account::default() };
        let aside = Aside::from(&bob);
        for (key, begun) in [
            ("user", Some(false)),
            ("from", Some(false)),
            ("names", Some(true)),
            ("path", None),
            ("log", None),
        ] {
            assert_eq!(aside.begins_list(aside.knows(key).unwrap()), begun, "{key}");
        }
    }

    #[test]
    fn each_key_has_a_number_of_its_own() {
        assert!(isize::try_from(KEYS.len()).unwrap() <= RuleKey::FIRST);
        assert!(Spelled::Rule(RuleKey::Hide).number() < 64);
    }
}
