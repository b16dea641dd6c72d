//! What the sections say, each by itself and one after the other.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Findings, places};
use crate::account;
use crate::policy::{
    self, Account, Audit, Config, Destination, Entry, Glob, Root, Sandbox, Section, Several, When,
};

pub(super) fn look(config: &Config, file: &Path, findings: &mut Findings) {
    for (at, entry) in config.matches.iter().enumerate() {
        let earlier = config.matches.get(..at).unwrap_or_default();
        conditions(entry, findings);
        order(entry, earlier, findings);
        section(entry, findings);
        root(entry, config, findings);
    }
    for entry in &config.default {
        section(entry, findings);
        if entry.section.root.is_some() {
            root(entry, config, findings);
        }
    }
    let for_everybody = |entry: &Entry| entry.when == When::default() && entry.section.root.is_some();
    if !config.matches.iter().chain(&config.default).any(for_everybody) {
        let what = "who is in no [[match]] gets no root from here: without --root in the forced command the whole host is open";
        findings.warning(
            file.display(),
            what,
            "give [default] a root, such as /var/empty, with read-only = true",
        );
    }
}

/// Looks at who a section is about.
fn conditions(Entry { origin, when, .. }: &Entry, findings: &mut Findings) {
    for user in literals(when.user.as_ref()) {
        if account::called(user).is_err() {
            findings.error(
                origin,
                format_args!("there is no account {user}"),
                "look for a slip of the pen, or add it",
            );
        }
    }
    for group in literals(when.group.as_ref()) {
        if account::group_id(group.as_ref()).is_err() {
            findings.error(
                origin,
                format_args!("there is no group {group}"),
                "look for a slip of the pen, or groupadd",
            );
        }
    }
    if when.is_over(Timestamp::now()) {
        findings.warning(
            origin,
            "this section has expired: it refuses whom it is about",
            "take it out, or give it another day",
        );
    }
    for (key, empty) in when.empty() {
        if empty {
            findings.error(
                origin,
                format_args!("{key} is an empty list, which nobody is in"),
                "name somebody, or take it out",
            );
        }
    }
}

/// Looks for sections that never count: the first value does.
fn order(entry: &Entry, earlier: &[Entry], findings: &mut Findings) {
    let covers = |before: &Entry| before.when == When::default() || before.when == entry.when;
    for before in earlier.iter().filter(|before| covers(before)) {
        if entry.section == Section::default() || before.section.clone().or(&entry.section) == before.section
        {
            let what = format!("this never counts: {} comes first, and says all of it", before.origin);
            return findings.warning(
                &entry.origin,
                what,
                "put the narrower section first, or take this one out",
            );
        }
    }
}

/// Looks at what a section says by itself.
fn section(Entry { origin, section, when }: &Entry, findings: &mut Findings) {
    let yes = |key: Option<bool>| key == Some(true);
    if yes(section.read_only) && (yes(section.write_only) || yes(section.drop_box)) {
        let other = if yes(section.drop_box) { "drop-box" } else { "write-only" };
        findings.error(origin, format_args!("read-only and {other} together allow nothing"), "choose one");
    }
    if section.sandbox == Some(Sandbox::Off) {
        findings.warning(
            origin,
            "sandbox = \"off\" leaves one layer where there could be two",
            "take it out: try is the default",
        );
    }
    if section.audit == Some(Audit::Require) && section.log.is_none() {
        findings.warning(
            origin,
            "audit = \"require\" without a log in this section",
            "name the log beside it",
        );
    }
    let modes = [("file-mode", section.file_mode), ("directory-mode", section.directory_mode)];
    for (key, _) in modes.into_iter().filter(|(_, mode)| mode.is_some_and(|mode| mode.0 & 0o002 != 0)) {
        findings.warning(
            origin,
            format_args!("{key} lets every account of this machine write what is stored"),
            "take o+w away",
        );
    }
    if section.umask.is_some_and(|umask| umask.0 & 0o002 == 0) {
        findings.warning(
            origin,
            "with this umask every account of this machine can write what is stored",
            "a umask such as 027",
        );
    }
    if let (Some(file), Some(session)) = (section.max_file_size, section.max_session_size)
        && file > session
    {
        findings.warning(
            origin,
            "max-file-size is more than a whole session may store",
            "make max-session-size the larger one",
        );
    }
    group(origin, when, section, findings);
    if let Some(Destination::File(log)) = &section.log {
        let root = section.root.as_ref().map(|Root(root)| Path::new(root));
        places::log(origin, log, root, findings);
    }
}

fn group(origin: &str, when: &When, section: &Section, findings: &mut Findings) {
    let Some(group) = &section.force_group else { return };
    if account::group_id(group.as_ref()).is_err() {
        return findings.error(
            origin,
            format_args!("there is no group {group}"),
            format_args!("groupadd {group}"),
        );
    }
    for user in
        literals(when.user.as_ref()).filter(|user| account::called(user).is_ok_and(|user| user.uid != 0))
    {
        if !account::groups_of(user).iter().any(|own| own.to_str() == Some(group)) {
            let what = format!("{user} is not in the group {group}, and cannot give it files");
            findings.error(origin, what, format_args!("usermod -aG {group} {user}"));
        }
    }
}

/// Looks at the root that the accounts of a section get.
fn root(entry: &Entry, config: &Config, findings: &mut Findings) {
    let origin = &entry.origin;
    let accounts: Vec<Account> =
        literals(entry.when.user.as_ref()).filter_map(|user| account::called(user).ok()).collect();
    if accounts.is_empty() {
        // Of a root with tokens, what is before them can be looked at only when there is somebody to put in.
        let Some(Root(root)) = &entry.section.root else { return };
        if !root.as_encoded_bytes().contains(&b'%') {
            places::root(origin, Path::new(root), None, &entry.section, findings);
        }
        return;
    }
    for mut account in accounts {
        account.groups =
            account.name.as_ref().and_then(|name| name.to_str()).map(account::groups_of).unwrap_or_default();
        // With whatever key and address the section asks for.
        let rest = config.matches.iter().skip_while(|other| other.origin != *origin).skip(1);
        let rest = rest.filter(|other| other.when == When::default()).chain(&config.default);
        let section = rest.fold(entry.section.clone(), |section, later| section.or(&later.section));
        match expanded(&section, &account) {
            Some(Ok(root)) => places::root(origin, &root, Some(&account), &section, findings),
            Some(Err(denied)) => {
                findings.error(origin, denied, "give the account what the token stands for, or write it out")
            }
            None if section.drop_box == Some(true) || section.path.is_some() || section.names.is_some() => {
                findings.error(
                    origin,
                    "its rules have no meaning without a root, and nobody is served",
                    "give it a root",
                );
            }
            None => {
                let what =
                    "there is no root here: without --root in the forced command the whole host is open";
                findings.warning(origin, what, "give it a root");
            }
        }
    }
}

fn expanded(section: &Section, account: &Account) -> Option<Result<PathBuf, policy::Denied>> {
    section.root.as_ref().map(|root| root.place(account))
}

/// The names that are written out; of patterns nobody knows whom they are about.
pub(super) fn literals(names: Option<&Several<Glob>>) -> impl Iterator<Item = &str> {
    names.into_iter().flat_map(|Several(globs)| globs).filter_map(Glob::literal)
}
