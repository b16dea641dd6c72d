//! What an account may do: the file, the command line, the account and its request to a grant.
//!
//! As in sshd_config, the first value counts: of the `[[match]]` sections that are about the account, in their order,
//! then of `[default]`. The command line can take away of that and give nothing; without a section that holds, it
//! stands alone.

mod aside;
mod choice;
mod glob;
mod grant;
mod network;
mod paths;
mod section;
mod times;
mod token;
mod when;

pub use aside::{Aside, Spelled};
pub use choice::{
    Audit, Bytes, Checksum, Destination, DotFiles, Format, Leave, Metadata, Octal, Pipeline, Rate,
    Replacement, Root, Sandbox, Several, Sync, Unit,
};
pub use glob::{Glob, Written};
pub use grant::{Collision, DropBox, Grant, Journal, Limits, Manners, Patience, Rights, Storage};
pub use paths::{Operation, Operations, PathRule, PathRules, Verdict};
pub use section::{CONDITIONS, KEYS, Match, Section};
pub use when::{Account, Fingerprint, Groups, Holds, When};

use std::fmt;
use std::num::NonZeroU64;
use std::rc::Rc;

use jiff::Timestamp;

use crate::request::{Depth, Keep, Request};

/// What the administrator has said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Config {
    /// The `[[match]]` sections, in their order.
    pub matches: Vec<Entry>,
    /// The `[default]` sections; none for a file that has none, or no file.
    pub default: Vec<Entry>,
    /// The command line.
    pub line: Section,
}

/// A section, where it stands, and when it holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entry {
    /// File and line.
    pub origin: Origin,
    /// Its conditions.
    pub when: When,
    /// What it says.
    pub section: Section,
}

/// Where a section begins.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// The file, as it is called.
    pub file: Rc<str>,
    /// The line of the head, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line } = self;
        write!(f, "{file}:{line}")
    }
}

/// What is said of an account, all sections taken together, whatever it will ask for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    /// What the file gives, and the line takes away; but for places.
    grant: Grant,
    root: Option<Root>,
    /// The line's own root, to be looked up in the file's.
    within: Option<Root>,
    drop_box_directory: Option<String>,
    /// Why there is no access at all.
    bar: Option<Denied>,
}

/// Why a session gets no grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denied {
    /// The account has as many sessions as it may have.
    Crowded(u64),
    /// The section about the account has expired.
    Expired,
    /// The session may only store.
    Fetching,
    /// The sections about the account hold at other times of the week.
    Hours,
    /// The configuration is wrong: that is for the log, not for the client.
    Misconfigured(String),
    /// `-p` is not allowed.
    Preserving,
    /// `-r` is not allowed.
    Recursion,
    /// A token of the root has no value that is a file name.
    Root(&'static str),
    /// The session may only fetch.
    Storing,
    /// A `%` that no token begins with.
    UnknownToken(u8),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crowded(limit) => write!(f, "no more than {limit} sessions at a time are allowed here"),
            Self::Expired => f.write_str("this access has expired"),
            Self::Fetching => f.write_str("downloads are not allowed here"),
            Self::Hours => f.write_str("transfers are not allowed at this time"),
            Self::Misconfigured(why) => write!(f, "the configuration cannot be used: {why}"),
            Self::Preserving => f.write_str("keeping modes and times (-p) is not allowed here"),
            Self::Recursion => f.write_str("directories (-r) are not allowed here"),
            Self::Root(token) => {
                write!(f, "this account has no usable value for {token} in the name of its directory")
            }
            Self::Storing => f.write_str("uploads are not allowed here"),
            Self::UnknownToken(byte) => {
                write!(f, "unknown token %{} in the name of its directory", [*byte].escape_ascii())
            }
        }
    }
}

impl Config {
    /// Takes a command line without a file.
    pub fn of_line(line: Section) -> Self {
        Self { line, ..Self::default() }
    }

    /// Takes together what is said of an account.
    pub fn terms(&self, account: &Account, now: Timestamp) -> Terms {
        let mut about = Vec::new();
        let (mut holding, mut later, mut bar) = (false, false, None);
        for entry in &self.matches {
            match entry.when.holds(account, now) {
                Holds::No => continue,
                Holds::Yes => holding = true,
                Holds::Later => {
                    later = true;
                    continue;
                }
                // An access that has ended is not to fall back to what everybody has.
                Holds::Expired if holding => continue,
                Holds::Expired => bar = Some(Denied::Expired),
            }
            about.push(entry);
            if bar.is_some() {
                break;
            }
        }
        if later && !holding && bar.is_none() {
            bar = Some(Denied::Hours);
        }
        about.extend(&self.default);
        let rule = about.iter().map(|entry| entry.origin.clone()).collect();
        let file = about.into_iter().map(|entry| entry.section.clone()).reduce(|a, b| a.or(&b));
        let Some(file) = file else { return Terms { bar, ..Terms::of(self.line.clone(), rule) } };
        let own = self.line.root.clone();
        let (root, within) = if file.root.is_some() { (file.root.clone(), own) } else { (own, None) };
        let section = Section { root, ..file.narrowed_by(&self.line) };
        Terms { within, bar, ..Terms::of(section, rule) }
    }
}

impl Terms {
    fn of(section: Section, rule: Vec<Origin>) -> Self {
        let grant = Grant { rule, ..section.grant() };
        let Section { root, drop_box_directory, .. } = section;
        Self { grant, root, drop_box_directory, ..Self::default() }
    }

    /// No access, whoever asks: the log is where the line says, or where the administrator looks first.
    pub fn barred(line: Section, why: Denied) -> Self {
        let log = line.log.or(Some(Destination::Syslog));
        let section = Section { log, log_format: line.log_format, audit: line.audit, ..Section::default() };
        Self { bar: Some(why), ..Self::of(section, Vec::new()) }
    }

    /// What is written down of the session, and where.
    pub fn journal(&self) -> &Journal {
        &self.grant.journal
    }

    /// How the conversation goes.
    pub fn manners(&self) -> Manners {
        self.grant.manners
    }

    /// How long the client is waited for.
    pub fn patience(&self) -> Patience {
        self.grant.patience
    }

    /// How fast contents may move that are asked for.
    pub fn rate(&self, request: &Request) -> Option<NonZeroU64> {
        match request {
            Request::Fetch(_) => self.grant.limits.download_rate,
            Request::Store(_) => self.grant.limits.upload_rate,
        }
    }

    /// Where the sections stand that said so; none if only the command line did.
    pub fn rule(&self) -> Option<String> {
        let all: Vec<String> = self.grant.rule.iter().map(Origin::to_string).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// Decides what the account may do of what it asks for.
///
/// # Errors
/// It may not do it at all.
pub fn decide(terms: Terms, account: &Account, request: &Request, now: Timestamp) -> Result<Grant, Denied> {
    let Terms { mut grant, root, within, drop_box_directory, bar } = terms;
    if let Some(bar) = bar {
        return Err(bar);
    }
    let rights = &grant.rights;
    let (depth, keep) = match request {
        Request::Fetch(_) if rights.fetching == Leave::Withheld => return Err(Denied::Fetching),
        Request::Store(_) if rights.storing == Leave::Withheld => return Err(Denied::Storing),
        Request::Fetch(fetch) => (fetch.depth, fetch.keep),
        Request::Store(store) => (store.depth, store.keep),
    };
    if depth == Depth::Tree && rights.recursion == Leave::Withheld {
        return Err(Denied::Recursion);
    }
    if keep == Keep::Attributes && rights.preserving == Leave::Withheld {
        return Err(Denied::Preserving);
    }
    if matches!(request, Request::Fetch(_)) {
        // A source stores nothing, whatever else the account may do.
        grant.rights.storing = Leave::Withheld;
    }
    if let Some(key) = root.is_none().then(|| grant.rights.bound_to_a_root()).flatten() {
        return Err(Denied::Misconfigured(format!("{key} has no meaning without a root")));
    }
    grant.root = root.map(|root| root.place(account)).transpose()?;
    grant.within = within.map(|root| root.place(account)).transpose()?;
    grant.home = account.home.as_ref().map(Into::into);
    if let (Some(drop_box), Some(directory)) = (&mut grant.rights.drop_box, drop_box_directory) {
        drop_box.directory = Some(token::box_directory(&directory, account, now)?);
    }
    Ok(grant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Chatter, Fetch, Store, TargetKind};

    fn fetch(depth: Depth, keep: Keep) -> Request {
        Request::Fetch(Fetch { sources: vec![], depth, keep, chatter: Chatter::Quiet })
    }

    fn store(depth: Depth, keep: Keep) -> Request {
        Request::Store(Store { targets: vec![], depth, keep, kind: TargetKind::Any, chatter: Chatter::Quiet })
    }

    fn entry(line: usize, text: &str) -> Entry {
        let (when, section) = toml::from_str::<Match>(text).unwrap().split();
        Entry { origin: Origin { file: "f".into(), line }, when, section }
    }

    fn bob() -> Account {
        Account { uid: 1000, name: Some("bob".into()), home: Some("/home/bob".into()), ..Account::default() }
    }

    fn noon() -> Timestamp {
        "2026-11-25T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn what_is_withheld_is_denied_at_the_door() {
        let (flat, deep) = (Depth::Flat, Depth::Tree);
        let (plain, kept) = (Keep::Contents, Keep::Attributes);
        for (line, request, denied) in [
            ("", fetch(deep, kept), None),
            ("", store(deep, kept), None),
            ("read-only = true", store(flat, plain), Some(Denied::Storing)),
            ("read-only = true", fetch(flat, plain), None),
            ("write-only = true", fetch(flat, plain), Some(Denied::Fetching)),
            ("drop-box = true", fetch(flat, plain), Some(Denied::Fetching)),
            ("no-recursion = true", fetch(deep, plain), Some(Denied::Recursion)),
            ("no-recursion = true", store(flat, plain), None),
            ("no-preserve = true", store(flat, kept), Some(Denied::Preserving)),
        ] {
            let config = Config::of_line(toml::from_str(line).unwrap());
            assert_eq!(
                decide(config.terms(&bob(), noon()), &bob(), &request, noon()).err(),
                denied,
                "{line} {request:?}"
            );
        }
    }

    #[test]
    fn the_first_value_counts_and_the_default_comes_last() {
        let config = Config {
            matches: vec![
                entry(1, "user = 'eve'\nroot = '/eve'"),
                entry(2, "user = 'b*'\nread-only = true"),
                entry(3, "root = '/srv/%u'\nread-only = false\numask = '077'"),
            ],
            default: vec![entry(9, "root = '/none'\nmax-file-size = 5")],
            ..Config::default()
        };
        let grant = decide(config.terms(&bob(), noon()), &bob(), &fetch(Depth::Flat, Keep::Contents), noon())
            .unwrap();
        assert_eq!(grant.root, Some("/srv/bob".into()));
        assert_eq!(grant.storage.umask, Some(0o077));
        assert_eq!(grant.limits.file_size, Some(5));
        assert_eq!(grant.rule.iter().map(Origin::to_string).collect::<Vec<_>>(), ["f:2", "f:3", "f:9"]);
        let denied =
            decide(config.terms(&bob(), noon()), &bob(), &store(Depth::Flat, Keep::Contents), noon());
        assert_eq!(denied, Err(Denied::Storing));
    }

    #[test]
    fn the_line_has_its_root_inside_the_files() {
        let line = Section { root: Some(Root("/sub/%u".into())), ..Section::default() };
        let default = vec![entry(1, "root = '/srv'")];
        let request = store(Depth::Flat, Keep::Contents);
        let places = |config: &Config| {
            let grant = decide(config.terms(&bob(), noon()), &bob(), &request, noon()).unwrap();
            (grant.root, grant.within)
        };
        let with_file = Config { default, line: line.clone(), ..Config::default() };
        assert_eq!(places(&with_file), (Some("/srv".into()), Some("/sub/bob".into())));
        assert_eq!(places(&Config::of_line(line.clone())), (Some("/sub/bob".into()), None));
        let without_root = Config { default: vec![entry(1, "umask = '077'")], line, ..Config::default() };
        assert_eq!(places(&without_root), (Some("/sub/bob".into()), None));
    }

    #[test]
    fn an_access_that_is_over_does_not_fall_back_to_what_everybody_has() {
        let terms = |matches: &[&str]| {
            let matches = matches.iter().map(|text| entry(1, text)).collect();
            let default = vec![entry(9, "root = '/srv'")];
            Config { matches, default, ..Config::default() }.terms(&bob(), noon()).bar
        };
        let expired = "user = 'bob'\nexpires = '2026-11-24'\nzone = 'UTC'";
        let later = "user = 'bob'\nhours = '20:00-21:00'\nzone = 'UTC'";
        let holding = "user = 'bob'";
        assert_eq!(terms(&[expired]), Some(Denied::Expired));
        assert_eq!(terms(&[expired, holding]), Some(Denied::Expired));
        assert_eq!(terms(&[holding, expired]), None);
        assert_eq!(terms(&[later]), Some(Denied::Hours));
        assert_eq!(terms(&[later, holding]), None);
        assert_eq!(terms(&["user = 'eve'\nexpires = '2026-11-24'"]), None);
    }
}
