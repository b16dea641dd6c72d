//! When a section holds: for whom, from where, and at what time.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Deserialize;

use super::choice::Several;
use super::glob::Glob;
use super::network::Network;
use super::times::{Expiry, Hours, Zone};
use crate::key::Key;
use crate::zones;

/// Who the request is for, as the system and sshd say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Account {
    /// The numeric user id.
    pub uid: u32,
    /// The name in the user database, if the id still has one.
    pub name: Option<OsString>,
    /// The home directory in the user database.
    pub home: Option<OsString>,
    /// The groups that the process is in.
    pub groups: Groups,
    /// Where the client is, if sshd says so.
    pub address: Option<IpAddr>,
    /// The keys that the client has proved to have, if sshd says so (ExposeAuthInfo).
    pub keys: Vec<Key>,
}

impl Account {
    /// Returns its name, if it has one, as a pattern takes it.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.name.iter().map(|name| name.as_bytes())
    }

    /// Returns the names of the groups that it is in.
    pub(super) fn group_names(&self) -> impl Iterator<Item = &[u8]> {
        self.groups.names().iter().map(|name| name.as_bytes())
    }

    /// Returns whom its certificates are for.
    pub(super) fn principals(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().flat_map(Key::principals).map(String::as_bytes)
    }

    /// Tells whether a key of its has this fingerprint.
    pub(super) fn has_key(&self, print: &[u8]) -> bool {
        self.keys.iter().any(|key| key.fingerprint().as_bytes() == print)
    }

    /// Tells whether its client is in a network.
    #[inline]
    pub(super) fn is_in(&self, network: &Network) -> bool {
        self.address.is_some_and(|address| network.holds(address))
    }
}

/// The names of groups, found out when a section asks for them first: most files have none that does.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    find: Option<fn() -> Vec<OsString>>,
    names: OnceCell<Vec<OsString>>,
}

impl Groups {
    /// Leaves it to a function to find them out.
    pub fn found_by(find: fn() -> Vec<OsString>) -> Self {
        Self { find: Some(find), names: OnceCell::new() }
    }

    /// Returns their names.
    pub fn names(&self) -> &[OsString] {
        self.names.get_or_init(|| self.find.map(|find| find()).unwrap_or_default())
    }
}

impl From<Vec<OsString>> for Groups {
    fn from(names: Vec<OsString>) -> Self {
        Self { find: None, names: names.into() }
    }
}

impl Eq for Groups {}

impl PartialEq for Groups {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

/// The conditions of a section; all that are given have to hold.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// Account names.
    pub user: Option<Several<Glob>>,
    /// Names of groups that the account is in.
    pub group: Option<Several<Glob>>,
    /// Fingerprints of keys, as `ssh-keygen -l` prints them.
    pub key: Option<Several<Fingerprint>>,
    /// Principals of certificates.
    pub principal: Option<Several<Glob>>,
    /// Networks that the client is in.
    pub from: Option<Several<Network>>,
    /// Times of the week.
    pub hours: Option<Several<Hours>>,
    /// The zone for times and dates; none for the machine's.
    pub zone: Option<Zone>,
    /// The last day, or the moment from which on no more.
    pub expires: Option<Expiry>,
}

/// Whether a section holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Holds {
    /// It does.
    Yes,
    /// It is about somebody else.
    No,
    /// It would, but its time is over.
    Expired,
    /// It would at another time of the week.
    Later,
}

impl When {
    /// Tells whether the conditions hold for an account in this moment.
    pub fn holds(&self, account: &Account, now: Timestamp) -> Holds {
        if !self.concerns(account) {
            return Holds::No;
        }
        if self.expires.is_none() && self.hours.is_none() {
            return Holds::Yes;
        }
        let zone = self.zone.clone().map_or_else(zones::local, |zone| zone.0);
        if self.expires.as_ref().is_some_and(|expiry| expiry.is_over(now, &zone)) {
            return Holds::Expired;
        }
        let now = now.to_zoned_datetime(zone);
        match &self.hours {
            Some(hours) if !hours.0.iter().any(|hours| hours.hold(&now)) => Holds::Later,
            _ => Holds::Yes,
        }
    }

    /// Tells whether the time is over, whoever it is about.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let zone = self.zone.clone().map_or_else(zones::local, |zone| zone.0);
        self.expires.as_ref().is_some_and(|expiry| expiry.is_over(now, &zone))
    }

    /// Tells of each condition that is a list whether nothing is in it.
    pub fn empty(&self) -> [(&'static str, bool); 6] {
        fn is_empty<T>(several: Option<&Several<T>>) -> bool {
            several.is_some_and(|several| several.0.is_empty())
        }
        [
            ("user", is_empty(self.user.as_ref())),
            ("group", is_empty(self.group.as_ref())),
            ("key", is_empty(self.key.as_ref())),
            ("principal", is_empty(self.principal.as_ref())),
            ("from", is_empty(self.from.as_ref())),
            ("hours", is_empty(self.hours.as_ref())),
        ]
    }

    /// Tells whether these conditions hold wherever the others do; where that is not plain to see, no.
    pub fn includes(&self, other: &Self) -> bool {
        let same_zone = self.zone == other.zone;
        all(self.user.as_ref(), other.user.as_ref(), Glob::includes)
            && all(self.group.as_ref(), other.group.as_ref(), Glob::includes)
            && all(self.principal.as_ref(), other.principal.as_ref(), Glob::includes)
            && all(self.key.as_ref(), other.key.as_ref(), PartialEq::eq)
            && all(self.from.as_ref(), other.from.as_ref(), Network::includes)
            && (self.hours.is_none() || same_zone && self.hours == other.hours)
            && (self.expires.is_none() || same_zone && self.expires == other.expires)
    }

    /// Tells whether the section can be about an account, the time aside.
    pub fn concerns(&self, account: &Account) -> bool {
        any(self.user.as_ref(), |user| account.names().any(|name| user.matches(name)))
            && any(self.key.as_ref(), |print| account.has_key(print.0.as_bytes()))
            && any(self.principal.as_ref(), |glob| account.principals().any(|name| glob.matches(name)))
            && any(self.from.as_ref(), |network| account.is_in(network))
            // The last, as it may have to be found out.
            && any(self.group.as_ref(), |group| account.group_names().any(|name| group.matches(name)))
    }
}

/// Tells whether any of a list holds; where there is no list, nothing is asked for.
fn any<T>(several: Option<&Several<T>>, holds: impl Fn(&T) -> bool) -> bool {
    several.is_none_or(|several| several.0.iter().any(holds))
}

/// Tells whether each of the narrower list is in the wider one; no list holds for all.
fn all<T>(wide: Option<&Several<T>>, narrow: Option<&Several<T>>, includes: impl Fn(&T, &T) -> bool) -> bool {
    let Some(Several(wide)) = wide else { return true };
    let each = |narrow: &T| wide.iter().any(|wide| includes(wide, narrow));
    narrow.is_some_and(|narrow| narrow.0.iter().all(each))
}

/// `SHA256:` and 43 letters, as `ssh-keygen -l` prints it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Fingerprint {
    /// Takes a fingerprint from the beginning of a text.
    pub(super) fn first(text: &[u8]) -> Option<(&[u8], &[u8])> {
        text.split_at_checked("SHA256:".len().wrapping_add(43)).filter(|(print, _)| Self::form(print).is_ok())
    }

    /// Tells that a text is a fingerprint.
    pub(super) fn form(text: &[u8]) -> Result<(), &'static str> {
        let digest = text.strip_prefix(b"SHA256:").unwrap_or_default();
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() | (*byte == b'+') | (*byte == b'/');
        // Without an early end, which lets the compiler take many at once.
        if <&[u8; 43]>::try_from(digest)
            .is_ok_and(|digest| digest.iter().fold(true, |yes, byte| yes & is_base64(byte)))
        {
            return Ok(());
        }
        Err("a fingerprint is meant as ssh-keygen -l prints it: SHA256: and 43 letters")
    }
}

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::form(text.as_bytes()).map(|()| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn several<T: FromStr<Err = String>>(texts: &[&str]) -> Option<Several<T>> {
        Some(Several(texts.iter().map(|text| text.parse().unwrap()).collect()))
    }

    #[test]
    fn conditions_include_those_that_are_narrower() {
        let when = |text: &str| toml::from_str::<When>(text).unwrap();
        for (wide, narrow, includes) in [
            ("", "user = 'bob'", true),
            ("user = 'bob'", "", false),
            ("user = 'b*'", "user = ['bob', 'ben']", true),
            ("user = 'b*'", "user = ['bob', 'eve']", false),
            ("user = ['eve', 'bob']", "user = 'bob'\nfrom = '192.0.2.7'", true),
            ("user = 'bob'", "user = 'b*'", false),
            ("user = 'bob'\nfrom = '192.0.2.0/24'", "user = 'bob'\nfrom = '192.0.2.7'", true),
            ("user = 'bob'\nfrom = '192.0.2.7'", "user = 'bob'\nfrom = '192.0.2.0/24'", false),
            ("hours = '08:00-18:00'", "user = 'bob'\nhours = '08:00-18:00'", true),
            ("hours = '08:00-18:00'", "hours = '08:00-18:00'\nzone = 'UTC'", false),
            ("expires = '2035-12-31'", "user = 'bob'", false),
            ("group = 'a'", "user = 'bob'", false),
        ] {
            assert_eq!(when(wide).includes(&when(narrow)), includes, "{wide:?} {narrow:?}");
        }
    }

    #[test]
    fn all_conditions_have_to_hold() {
        let bob = Account {
            name: Some("bob".into()),
            groups: vec!["partners".into()].into(),
            address: "::ffff:192.0.2.7".parse().ok(),
            ..Account::default()
        };
        let now = at("2026-11-25T12:00:00Z");
        let when = |user: &[&str], group: &[&str], from: &[&str]| When {
            user: several(user).filter(|user| !user.0.is_empty()),
            group: several(group).filter(|group| !group.0.is_empty()),
            from: several(from).filter(|from| !from.0.is_empty()),
            ..When::default()
        };
        for (when, holds) in [
            (when(&[], &[], &[]), Holds::Yes),
            (when(&["eve", "b*"], &["partners"], &["192.0.2.0/24"]), Holds::Yes),
            (when(&["eve"], &["partners"], &[]), Holds::No),
            (when(&["bob"], &["staff"], &[]), Holds::No),
            (when(&["bob"], &[], &["198.51.100.0/24", "2001:db8::/32"]), Holds::No),
        ] {
            assert_eq!(when.holds(&bob, now), holds, "{when:?}");
        }
        // Who has no name, no key and no address is nobody whom a section is about.
        let nobody = Account::default();
        assert_eq!(when(&["*"], &[], &[]).holds(&nobody, now), Holds::No);
        assert_eq!(when(&[], &[], &["0.0.0.0/0"]).holds(&nobody, now), Holds::No);
    }

    #[test]
    fn a_section_ends_with_its_last_day_or_with_its_moment() {
        let when = |expires: &str| When {
            expires: expires.parse().ok(),
            zone: "UTC".parse().ok(),
            ..When::default()
        };
        for (expires, now, holds) in [
            ("2026-11-25", "2026-11-25T23:59:59Z", Holds::Yes),
            ("2026-11-25", "2026-11-26T00:00:00Z", Holds::Expired),
            ("2026-11-25T12:00:00Z", "2026-11-25T11:59:59Z", Holds::Yes),
            ("2026-11-25T12:00:00+01:00", "2026-11-25T11:00:00Z", Holds::Expired),
        ] {
            assert_eq!(when(expires).holds(&Account::default(), at(now)), holds, "{expires} {now}");
        }
        for wrong in ["", "2026-13-01", "25.11.2026", "2026-11-25 12:00"] {
            assert!(wrong.parse::<Expiry>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_network_and_no_fingerprint_is_refused() {
        for wrong in ["", "192.0.2.7/24", "example.org", "192.0.2.0/33"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        let digest = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
        assert!(format!("SHA256:{digest}").parse::<Fingerprint>().is_ok());
        for wrong in [digest.to_owned(), format!("MD5:{digest}"), format!("SHA256:{digest}="), String::new()]
        {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
