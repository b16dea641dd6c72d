//! Whom the configuration is about, as far as it names them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Findings, at};
use crate::account;
use crate::policy::{Account, Config, Entry, Glob, Origin, Section, Several, When};

/// Accounts that are looked at; further ones are told not to be.
const MOST: usize = 50;

/// Somebody whose sessions are thought through.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) account: Account,
    /// What sshd says of him, if it could be asked.
    pub(super) settings: Option<super::sshd::Settings>,
    /// The options of the command that sshd starts for him.
    pub(super) line: Section,
    /// Where that command stands.
    pub(super) command: Command,
}

/// Where the command stands that sshd starts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Command {
    /// In sshd_config, or it is the login shell; or it is not known.
    Forced,
    /// In each line of the account's authorized_keys, and nobody gets in otherwise.
    OfKeys,
}

impl Person {
    /// Tells whether a section can be about him; with which key, from where and when is left open.
    pub(super) fn is_meant_by(&self, entry: &Entry) -> bool {
        let When { user, group, .. } = entry.when.clone();
        let names = When { user, group, ..When::default() };
        names.holds(&self.account, jiff::Timestamp::UNIX_EPOCH) == crate::policy::Holds::Yes
    }
}

/// Returns the accounts that are asked about, and those that the sections name, themselves or by a group.
pub(super) fn named(config: &Config, asked: &[String], findings: &mut Findings) -> Vec<Person> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for user in asked {
        match account::called(user) {
            Ok(_) => drop(names.insert(user.clone())),
            Err(why) => findings.error("--user", why, "look for a slip of the pen"),
        }
    }
    for Entry { origin, when, .. } in &config.matches {
        for user in literals(when.user.as_ref()) {
            match account::called(user) {
                Ok(_) => drop(names.insert(user.to_owned())),
                Err(why) => findings.error(at(origin, "user"), why, "look for a slip of the pen, or add it"),
            }
        }
        for pattern in patterns(when.user.as_ref()) {
            let all = account::all().into_iter().map(|(name, _)| name);
            names.extend(all.filter(|name| pattern.matches(name.as_bytes())));
        }
        for group in literals(when.group.as_ref()) {
            if account::group_id(group.as_ref()).is_err() {
                let mend = "look for a slip of the pen, or groupadd";
                findings.error(at(origin, "group"), format_args!("there is no group {group}"), mend);
            }
            names.extend(account::members(group));
        }
    }
    if names.is_empty() {
        let what = "no account is named, so neither sshd's settings nor anybody's directory were looked at";
        findings.warning("accounts", what, "name some, as in: scp-server check --user bob");
    }
    if names.len() > MOST {
        let what = format_args!("only {MOST} of {} were looked at", names.len()).to_string();
        findings.warning("accounts", what, "ask about the others with --user, and a file of their sections");
    }
    names.into_iter().take(MOST).filter_map(person).collect()
}

fn person(name: String) -> Option<Person> {
    let mut account = account::called(&name).ok()?;
    account.groups = account::groups_of(&name).into();
    Some(Person { name, account, settings: None, line: Section::default(), command: Command::Forced })
}

/// The patterns of names, but for those that are so wide that they are about root, too: they mean everybody, not somebody.
fn patterns(names: Option<&Several<Glob>>) -> impl Iterator<Item = &Glob> {
    let all = names.into_iter().flat_map(|Several(globs)| globs);
    all.filter(|glob| glob.literal().is_none() && !glob.matches(b"root"))
}

/// The names that are written out.
fn literals(names: Option<&Several<Glob>>) -> impl Iterator<Item = &str> {
    names.into_iter().flat_map(|Several(globs)| globs).filter_map(Glob::literal)
}

/// What a session of somebody would be like, for one of the sections that are about him.
#[derive(Debug)]
pub(super) struct Case<'p> {
    pub(super) person: &'p Person,
    /// The section that the case is about; none where the command line stands alone.
    pub(super) origin: Option<Origin>,
    /// The one that has the root, if one has.
    pub(super) root_origin: Option<Origin>,
    pub(super) section: Section,
    pub(super) root: Option<Result<PathBuf, crate::policy::Denied>>,
}

/// Returns the cases of somebody: one for each section about him, together with what else holds then.
pub(super) fn cases<'p>(config: &Config, person: &'p Person) -> Vec<Case<'p>> {
    let about: Vec<&Entry> = config.matches.iter().filter(|entry| person.is_meant_by(entry)).collect();
    let nowhere = When::default();
    // What holds with no key, from anywhere, at any time, comes last: that is where all others fall back to.
    let whens = about.iter().map(|entry| (Some(&entry.origin), &entry.when)).chain([(None, &nowhere)]);
    let mut cases = Vec::new();
    for (origin, when) in whens {
        let together: Vec<&Entry> = about
            .iter()
            .copied()
            .filter(|entry| Some(&entry.origin) == origin || rest(&entry.when).includes(when))
            .chain(&config.default)
            .collect();
        let said = together.iter().map(|entry| entry.section.clone()).reduce(|a, b| a.or(&b));
        let own = person.line.root.clone();
        let (root, section) = match said {
            Some(file) if file.root.is_some() => (file.root.clone(), file.narrowed_by(&person.line)),
            Some(file) => (own, file.narrowed_by(&person.line)),
            None => (own, person.line.clone()),
        };
        let with_root = together.iter().find(|entry| entry.section.root.is_some());
        cases.push(Case {
            person,
            origin: origin.or(together.first().map(|entry| &entry.origin)).cloned(),
            root_origin: with_root.map(|entry| entry.origin.clone()),
            section,
            root: root.map(|root| root.place(&person.account)),
        });
    }
    cases
}

/// The conditions beside those on the account itself.
fn rest(when: &When) -> When {
    When { user: None, group: None, ..when.clone() }
}
