//! Sections about somebody else: of two hundred, nearly all. They have to be right, but nothing is made of them.

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, Error};
use serde::de::{Deserializer, IntoDeserializer};

use super::choice::{Root, each, text};
use super::glob::Glob;
use super::network::Network;
use super::paths::RuleKey;
use super::section::Keyword;
use super::times::Hours;
use super::when::{Account, Fingerprint};

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

impl Said {
    /// Begins a list of the same key, which holds if one of its texts does; none if the key takes no such list.
    pub fn list(self) -> Option<Self> {
        matches!(self.key, Spelled::Section(word) if takes_list(word))
            .then_some(Self { holds: false, ..self })
    }
}

impl Aside<'_> {
    /// Reads a line of the section, or of the `[[match.path]]` that we are in; none if there is no such key, or the value
    /// does not fit.
    pub fn hears<'de, D: IntoDeserializer<'de>>(&self, key: &'de str, value: D) -> Option<Said> {
        let key = BorrowedStrDeserializer::<Error>::new(key);
        let key = match self.rule {
            None => Spelled::Section(Keyword::deserialize(key).ok()?),
            Some(_) => Spelled::Rule(RuleKey::deserialize(key).ok()?),
        };
        self.hears_of(key, value)
    }

    /// Reads another value of the same key.
    pub fn hears_again<'de, D: IntoDeserializer<'de>>(&self, said: Said, value: D) -> Option<Said> {
        self.hears_of(said.key, value)
    }

    /// Reads another value of the same key, which is a text.
    pub fn hears_text(&self, said: Said, text: &str) -> Option<Said> {
        match said.list() {
            Some(mut list) => self.hears_one(&mut list, text).map(|()| list),
            None => self.hears_of(said.key, text),
        }
    }

    /// Reads a text more of a list.
    pub fn hears_one(&self, list: &mut Said, text: &str) -> Option<()> {
        let Spelled::Section(word) = list.key else { return None };
        list.holds |= self.can_one_hold(word, text)?;
        Some(())
    }

    fn hears_of<'de, D: IntoDeserializer<'de>>(&self, key: Spelled, value: D) -> Option<Said> {
        let value = value.into_deserializer();
        let holds = match key {
            Spelled::Rule(key) => key.fits(value).map(|()| true),
            Spelled::Section(word) => self.can_hold(word, value),
        };
        holds.ok().map(|holds| Said { key, holds })
    }

    /// Tells whether a condition can hold for the account, the time aside. What is none always can.
    fn can_hold<'de, D: Deserializer<'de>>(&self, word: Keyword, value: D) -> Result<bool, D::Error> {
        match word {
            word if takes_list(word) => {
                let mut found = false;
                let one = |text: &str| self.can_one_hold(word, text).ok_or("it does not fit");
                each(value, |text| one(text).map(|holds| found |= holds))?;
                Ok(found)
            }
            Keyword::root => text(value, |root| Root::form(root).map(|_| true)),
            other => other.fits(value).map(|()| true),
        }
    }

    /// Tells whether one of the texts of a list can hold; none if it does not fit.
    fn can_one_hold(&self, word: Keyword, text: &str) -> Option<bool> {
        let account = self.account;
        match word {
            Keyword::user => Glob::finds(text, account.names()).ok(),
            // Groups may have to be found out, which is not done for a section about somebody else.
            Keyword::group if self.concerns => Glob::finds(text, account.group_names()).ok(),
            Keyword::key => Fingerprint::form(text).map(|print| account.has_key(print)).ok(),
            Keyword::principal => Glob::finds(text, account.principals()).ok(),
            Keyword::from => text.parse::<Network>().map(|from| account.is_in(&from)).ok(),
            Keyword::group | Keyword::names => Glob::form(text).ok(),
            Keyword::hours => text.parse::<Hours>().map(|_| true).ok(),
            _ => None,
        }
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

/// Tells whether a key takes a text or a list of texts, in which each stands for itself.
fn takes_list(word: Keyword) -> bool {
    use Keyword::{from, group, hours, key, names, principal, user};
    matches!(word, user | group | key | principal | from | hours | names)
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
