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

impl Aside<'_> {
    /// Tells whether a key may be here, in the section or in its `[[match.path]]`, and have this value.
    pub fn takes<'de, D: IntoDeserializer<'de>>(&mut self, key: &'de str, value: D) -> bool {
        let (key, value) = (BorrowedStrDeserializer::<Error>::new(key), value.into_deserializer());
        match &mut self.rule {
            Some(keys) => {
                let key = RuleKey::deserialize(key);
                key.is_ok_and(|key| keys.add(key.number()) && key.fits(value).is_ok())
            }
            None => Keyword::deserialize(key).is_ok_and(|word| {
                let holds = can_hold(word, value, self.account);
                self.concerns &= matches!(holds, Ok(true));
                self.keys.add(word.number()) && holds.is_ok()
            }),
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
