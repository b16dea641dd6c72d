//! Files and directories: whose they are, and who else can write them.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use super::Findings;
use super::people::{Case, Person};
use crate::account;
use crate::audit;
use crate::policy::{Account, Audit, Destination, Journal, Section};

/// Looks at the directories that the file is in: who can write one of them can put another file in its place.
pub(super) fn file(path: &Path, findings: &mut Findings) {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for directory in whole.ancestors().skip(1) {
        let Some(found) = stat(directory) else { continue };
        let shown = directory.display();
        if found.uid() != 0 || is_open_to_others(&found) || is_open_to_its_group(&found) {
            let what = "others can write this directory, and so put another configuration in its place";
            findings.error(&shown, what, format_args!("chown root, chmod go-w {shown}"));
        }
    }
}

/// Looks at a root.
pub(super) fn root(
    place: &str,
    path: &Path,
    person: Option<&Person>,
    section: &Section,
    findings: &mut Findings,
) {
    let shown = path.display();
    if path == Path::new("/") {
        let mend = "name a directory of the account's own";
        return findings.error(place, "the root is /, which confines nobody", mend);
    }
    let Some(found) = stat(path) else {
        let owner = person.map_or("ACCOUNT", |person| &person.name);
        let mend = format!("install -d -o {owner} -m 0750 {shown}");
        return findings.error(place, format_args!("the root {shown} is not there"), mend);
    };
    if !found.is_dir() {
        return findings.error(place, format_args!("the root {shown} is no directory"), "name a directory");
    }
    if is_open_to_others(&found) {
        let what = format_args!("every account of this machine can write the root {shown}").to_string();
        findings.warning(place, what, format_args!("chmod o-w {shown}"));
    }
    for directory in real(path).ancestors().skip(1) {
        let Some(found) = stat(directory) else { continue };
        let may = |account: &Account| account.uid != 0 && may(account, directory, WRITE) == Some(true);
        let by_account = person.is_some_and(|person| may(&person.account)) && !is_sticky(&found);
        let own = person.is_some_and(|person| person.account.uid != 0 && person.account.uid == found.uid());
        if is_open_to_others(&found) || by_account || own {
            let what = format!(
                "the account, or others, can write {}, and so put another root in the place of {shown}",
                directory.display()
            );
            findings.warning(place, what, format_args!("chown root, chmod go-w {}", directory.display()));
        }
    }
    if let Some(person) = person {
        home(place, path, &person.account, section, findings);
    }
}

/// Looks at what the account of a session may do in its root.
pub(super) fn rights(place: &str, root: &Path, case: &Case<'_>, findings: &mut Findings) {
    let Case { person, section, .. } = case;
    let yes = |key: Option<bool>| key == Some(true);
    let (name, shown) = (&person.name, root.display());
    let is_box = yes(section.drop_box);
    let may = |access| may(&person.account, root, access);
    if stat(root).is_none() || is_nobodys(root) {
        // It has been said, or is meant.
        return;
    }
    if may(AccessFlags::X_OK) == Some(false) {
        let what = format!("{name} may not enter the root {shown}, and is not served");
        return findings.error(place, what, format_args!("chmod u+x or chgrp, there and in what it is in"));
    }
    if !yes(section.read_only) && may(WRITE) == Some(false) {
        let mend = format!("chown {name} {shown}, or say read-only = true");
        let what = format!("{name} may not write in the root {shown}");
        if is_box {
            // All goes there, or into directories that are made there.
            findings.error(place, format_args!("{what}, and nothing gets into the box"), mend);
        } else {
            let what = format!("{what}: uploads arrive only in directories below that it may write in");
            findings.warning(place, what, mend);
        }
    }
    if !yes(section.write_only) && !is_box && may(AccessFlags::R_OK) == Some(false) {
        let what = format!("{name} may not read the root {shown}: fetching all of it, or a pattern, fails");
        findings.warning(place, what, "chmod u+r or chgrp, or say write-only = true");
    }
}

fn home(place: &str, root: &Path, account: &Account, section: &Section, findings: &mut Findings) {
    let Some(home) = account.home.as_ref().map(Path::new) else { return };
    if !real(home).starts_with(real(root)) || is_nobodys(root) {
        return;
    }
    let what = if real(home) == real(root) {
        format!("the root {} is the account's home", root.display())
    } else {
        format!("the account's home {} lies in the root {}", home.display(), root.display())
    };
    let mend = "use a directory beside it or below it as the root, such as %h/files";
    if section.allow_start_up_files == Some(true) {
        let what = format!("{what}, and allow-start-up-files lets clients write ~/.ssh and ~/.profile there");
        findings.error(place, what, mend);
    } else {
        findings.warning(place, format!("{what}; only names that are known are protected"), mend);
    }
}

/// Looks at a log file.
pub(super) fn log(place: &str, log: &Path, root: Option<&Path>, findings: &mut Findings) {
    let shown = log.display();
    if stat(log).is_some_and(|found| found.is_dir()) {
        return findings.error(place, format_args!("the log {shown} is a directory"), "name a file");
    }
    let directory = log.parent().unwrap_or(Path::new("/"));
    if !stat(directory).is_some_and(|found| found.is_dir()) {
        let mend = format!("install -d -m 0755 {}", directory.display());
        return findings.error(place, format_args!("there is no directory for the log {shown}"), mend);
    }
    if root.is_some_and(|root| real(log).starts_with(real(root))) {
        let what = format!("the log {shown} lies in the root, where clients can read or replace it");
        findings.error(place, what, "put it elsewhere, such as /var/log");
    }
}

/// Asks whether the log can be opened, which a session does with the account's rights.
pub(super) fn log_of(place: &str, journal: &Journal, person: &Person, findings: &mut Findings) {
    let Some(Err(errno)) = account::acting_as(&person.account, || audit::foresee(journal)) else { return };
    let (name, why) = (&person.name, errno.desc());
    match (&journal.destination, journal.audit) {
        (None, _) => {
            let what = format!("{name} is not served: audit = \"require\", and there is no log");
            findings.error(place, what, "name a log");
        }
        (Some(Destination::File(log)), audit) => {
            let so = match audit {
                Audit::Require => "and is not served",
                Audit::Try => "and nothing that it does is written down",
            };
            let what = format!("{name} cannot open the log {}, {so}: {why}", log.display());
            let mend = format!("make {}, and let {name} append to it; or log = \"syslog\"", log.display());
            findings.error(place, what, mend);
        }
        (Some(_), Audit::Require) => {
            let what = format!("{name} is not served: its log cannot be opened: {why}");
            findings.error(place, what, "start the daemon that it goes to");
        }
        (Some(_), Audit::Try) => {
            let what = format!("nothing that {name} does is written down: the log cannot be opened: {why}");
            findings.warning(place, what, "start the daemon that it goes to");
        }
    }
}

const WRITE: AccessFlags = AccessFlags::W_OK.union(AccessFlags::X_OK);

/// Asks the kernel what an account may do; none if only the account itself, or root, could ask.
fn may(account: &Account, path: &Path, access: AccessFlags) -> Option<bool> {
    account::acting_as(account, || faccessat(AT_FDCWD, path, access, AtFlags::AT_EACCESS).is_ok())
}

/// Tells whether a directory is the one in which nothing is, nor can be stored, by the custom of hier(7) of the BSDs and of sshd.
fn is_nobodys(path: &Path) -> bool {
    path == Path::new("/var/empty")
}

/// Tells whether there is something.
pub(super) fn is_there(path: &Path) -> bool {
    stat(path).is_some()
}

fn is_open_to_others(found: &Metadata) -> bool {
    // In a sticky directory nobody moves what is another's.
    found.mode() & 0o002 != 0 && !is_sticky(found)
}

fn is_open_to_its_group(found: &Metadata) -> bool {
    found.mode() & 0o020 != 0 && found.gid() != 0 && !is_sticky(found)
}

fn is_sticky(found: &Metadata) -> bool {
    found.mode() & 0o1000 != 0
}

/// Follows the links of as much of a path as is there.
#[expect(
    clippy::disallowed_methods,
    reason = "the administrator's paths, not the client's, and nothing is done there"
)]
pub(super) fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    let Some((part, real)) = there else { return path.to_owned() };
    path.strip_prefix(part).map_or_else(|_| path.to_owned(), |rest| real.join(rest))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the administrator's paths, not the client's, and nothing is done there"
)]
fn stat(path: &Path) -> Option<Metadata> {
    fs::metadata(path).ok()
}
