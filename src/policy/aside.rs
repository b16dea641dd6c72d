//! Sections about somebody else: of two hundred, nearly all. They have to be right, but nothing is made of them.

use std::fmt::Display;

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, Error};
use serde::de::{Deserializer, IntoDeserializer};

use super::choice::{Root, each, text};
use super::paths::{Glob, RuleKey};
use super::section::Keyword;
use super::when::{Account, Fingerprint, Hours, Network};

/// A `[[match]]` that goes by, key after key.
pub struct Aside<'a> {
    account: &'a Account,
    /// Whether all conditions so far can hold for the account.
    concerns: bool,
    keys: Numbers,
    /// The keys of the `[[match.path]]` that we are in.
    rule: Option<Numbers>,
}

impl<'a> From<&'a Account> for Aside<'a> {
    fn from(account: &'a Account) -> Self {
        Self { account, concerns: true, keys: Numbers::default(), rule: None }
    }
}

/// What a line of it says, for this account.
#[derive(Clone, Copy)]
pub struct Said {
    key: Spelled,
    /// Whether it can hold if it is a condition.
    holds: bool,
}

#[derive(Clone, Copy)]
enum Spelled {
    Rule(RuleKey),
    Section(Keyword),
}

impl Aside<'_> {
    /// Reads a line of the section, or of the `[[match.path]]` that we are in; none if there is no such key, or the value
    /// does not fit.
    pub fn hears<'de, D: IntoDeserializer<'de>>(&self, key: &'de str, value: D) -> Option<Said> {
        let (key, value) = (BorrowedStrDeserializer::<Error>::new(key), value.into_deserializer());
        if self.rule.is_some() {
            let key = RuleKey::deserialize(key).ok()?;
            key.fits(value).ok()?;
            return Some(Said { key: Spelled::Rule(key), holds: true });
        }
        let word = Keyword::deserialize(key).ok()?;
        let holds = can_hold(word, value, self.account).ok()?;
        Some(Said { key: Spelled::Section(word), holds })
    }

    /// Tells whether a line may be here that says this. No key is both one of a section and one of a rule.
    pub fn takes(&mut self, said: Said) -> bool {
        match (said.key, &mut self.rule) {
            (Spelled::Section(word), None) => {
                self.concerns &= said.holds;
                self.keys.add(word.number())
            }
            (Spelled::Rule(key), Some(keys)) => keys.add(key.number()),
            (Spelled::Section(_), Some(_)) | (Spelled::Rule(_), None) => false,
        }
    }

    /// Tells whether a `[[match.path]]` may be here.
    pub fn takes_path(&mut self) -> bool {
        let may_be = self.is_whole() && !self.keys.have(Keyword::path.number());
        self.rule = Some(Numbers::default());
        may_be
    }

    /// Tells whether the section, as it is now, is right and about somebody else.
    pub fn is_settled(&self) -> bool {
        self.is_whole() && !self.concerns
    }

    /// Tells whether nothing is missing that has to be there.
    fn is_whole(&self) -> bool {
        self.rule.as_ref().is_none_or(|keys| keys.have(RuleKey::Pattern.number()))
    }
}

/// Tells whether a condition can hold for an account, its groups and the time aside. What is none always can.
fn can_hold<'de, D: Deserializer<'de>>(word: Keyword, value: D, account: &Account) -> Result<bool, D::Error> {
    match word {
        Keyword::user => any(value, |user| Glob::finds(user, account.names())),
        Keyword::key => any(value, |print| Fingerprint::form(print).map(|print| account.has_key(print))),
        Keyword::principal => any(value, |principal| Glob::finds(principal, account.principals())),
        Keyword::from => any(value, |network| network.parse::<Network>().map(|from| account.is_in(&from))),
        Keyword::group | Keyword::names => any(value, Glob::form).map(|_| true),
        Keyword::hours => any(value, |hours| hours.parse::<Hours>().map(|_| true)).map(|_| true),
        Keyword::root => text(value, |root| Root::form(root).map(|_| true)),
        other => other.fits(value).map(|()| true),
    }
}

/// Reads each text of a list, or one; tells whether any of them holds.
fn any<'de, D: Deserializer<'de>, E: Display>(
    value: D,
    holds: impl Fn(&str) -> Result<bool, E>,
) -> Result<bool, D::Error> {
    let mut found = false;
    each(value, |text| holds(text).map(|holds| found |= holds))?;
    Ok(found)
}

/// A set of numbers below 64.
#[derive(Default)]
struct Numbers(u64);

impl Numbers {
    /// Tells whether the number was not there yet.
    fn add(&mut self, number: u32) -> bool {
        let is_new = !self.have(number);
        self.0 |= bit(number);
        is_new
    }

    fn have(&self, number: u32) -> bool {
        self.0 & bit(number) != 0
    }
}

fn bit(number: u32) -> u64 {
    1_u64.wrapping_shl(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::KEYS;

    #[test]
    fn a_section_is_settled_if_it_is_right_and_about_somebody_else() {
        let bob = Account { name: Some("bob".into()), ..Account::default() };
        for (lines, settled) in [
            (&[][..], false),
            (&[("user", "eve")], true),
            (&[("user", "bob")], false),
            (&[("user", "b*")], false),
            (&[("user", "e*"), ("root", "/srv")], true),
            (&[("root", "/srv"), ("from", "192.0.2.7")], true),
            // Groups and times are asked for later.
            (&[("group", "staff"), ("hours", "Sat"), ("expires", "2020-01-01")], false),
            (&[("user", "eve"), ("[[match.path]]", ""), ("pattern", "x")], true),
            (&[("user", "eve"), ("[[match.path]]", "")], false),
        ] {
            let mut aside = Aside::from(&bob);
            for &(key, value) in lines {
                let is_taken = match key {
                    "[[match.path]]" => aside.takes_path(),
                    key => aside.hears(key, value).is_some_and(|said| aside.takes(said)),
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
            assert!(aside.hears(key, value).is_none(), "{key} {value}");
        }
        let said = aside.hears("umask", "027").unwrap();
        assert!(aside.takes(said) && !aside.takes(said));
        assert!(aside.takes_path() && !aside.takes_path());
        // A key of the section, in a rule.
        assert!(!aside.takes(said) && aside.hears("umask", "027").is_none());
    }

    #[test]
    fn each_key_has_a_number_of_its_own() {
        assert!(KEYS.len() <= 64);
    }
}
