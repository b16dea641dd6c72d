//! Files and directories: whose they are, and who else can write them.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Findings;
use crate::policy::{Account, Section};

/// Looks at the directories that the file is in: who can write one of them can put another file in its place.
pub(super) fn file(path: &Path, findings: &mut Findings) {
    for directory in path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()) {
        let Some(found) = stat(directory) else { continue };
        if found.uid() != 0 || is_open_to_others(&found) {
            let what = "others can write this directory, and so put another configuration in its place";
            findings.error(
                directory.display(),
                what,
                format_args!("chown root, chmod go-w {}", directory.display()),
            );
        }
    }
}

/// Looks at a root, with its tokens expanded for an account.
pub(super) fn root(
    place: &str,
    path: &Path,
    account: Option<&Account>,
    section: &Section,
    findings: &mut Findings,
) {
    let shown = path.display();
    if path == Path::new("/") {
        return findings.error(
            place,
            "the root is /, which confines nobody",
            "name a directory of the account's own",
        );
    }
    let Some(found) = stat(path) else {
        let owner = account
            .and_then(|account| account.name.as_ref())
            .map_or("ACCOUNT".into(), |name| name.to_string_lossy());
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
    for directory in path.ancestors().skip(1) {
        let Some(found) = stat(directory) else { continue };
        let own = account.is_some_and(|account| account.uid != 0 && account.uid == found.uid());
        if is_open_to_others(&found) || own {
            let what = format!(
                "the account, or others, can write {}, and so put another root in the place of {shown}",
                directory.display()
            );
            findings.warning(place, what, format_args!("chown root, chmod go-w {}", directory.display()));
        }
    }
    home(place, path, account, section, findings);
}

fn home(place: &str, root: &Path, account: Option<&Account>, section: &Section, findings: &mut Findings) {
    let Some(home) = account.and_then(|account| account.home.as_ref()).map(Path::new) else { return };
    if !home.starts_with(root) {
        return;
    }
    let what = format!("the account's home {} lies in the root {}", home.display(), root.display());
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
    if root.is_some_and(|root| log.starts_with(root)) {
        let what = format_args!("the log {shown} lies in the root, where clients can read or replace it")
            .to_string();
        findings.error(place, what, "put it elsewhere, such as /var/log");
    }
}

fn is_open_to_others(found: &Metadata) -> bool {
    // A group is what the administrator has made it; in a sticky directory nobody moves what is another's.
    found.mode() & 0o002 != 0 && found.mode() & 0o1000 == 0
}

#[expect(
    clippy::disallowed_methods,
    reason = "the administrator's paths, not the client's, and nothing is done there"
)]
fn stat(path: &Path) -> Option<Metadata> {
    fs::metadata(path).ok()
}
