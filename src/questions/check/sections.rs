//! What the sections say, each by itself, one after the other, and together for those whom they are about.

use std::path::Path;

use jiff::Timestamp;

use super::people::{self, Case, Person};
use super::{Findings, at, places};
use crate::account;
use crate::policy::{Audit, Config, Destination, Entry, Origin, Root, Sandbox, Section, When};

/// Looks at all sections, and returns what sessions would be like.
pub(super) fn look<'p>(
    config: &Config,
    file: &Path,
    people: &'p [Person],
    findings: &mut Findings,
) -> Vec<Case<'p>> {
    for (number, entry) in config.matches.iter().enumerate() {
        conditions(entry, findings);
        order(entry, config.matches.get(..number).unwrap_or_default(), findings);
    }
    for entry in config.matches.iter().chain(&config.default) {
        section(entry, findings);
        let about = people.iter().filter(|person| person.is_meant_by(entry));
        group(entry, about, findings);
        unknown_root(entry, people, findings);
    }
    let for_everybody = |entry: &Entry| entry.when == When::default() && entry.section.root.is_some();
    let all_have_one = !people.is_empty() && people.iter().all(|person| person.line.root.is_some());
    if !all_have_one && !config.matches.iter().chain(&config.default).any(for_everybody) {
        let what = "who is in no [[match]] gets no root from here: without --root in the forced command the whole host is open";
        let mend = "ask about accounts with --user, or give [default] a root, such as /var/empty: the --root of forced commands is looked up in it then";
        findings.warning(file.display(), what, mend);
    }
    let cases: Vec<Case<'p>> = people.iter().flat_map(|person| people::cases(config, person)).collect();
    let by_itself: Vec<&Origin> = config
        .matches
        .iter()
        .chain(&config.default)
        .filter(|entry| contradiction(&entry.section).is_some())
        .map(|entry| &entry.origin)
        .collect();
    for of in &cases {
        if let Some(other) = contradiction(&of.section)
            && !of.origin.as_ref().is_some_and(|origin| by_itself.contains(&origin))
        {
            let place = of.origin.as_ref().map_or_else(String::new, |origin| at(origin, ""));
            let name = &of.person.name;
            let what = format!(
                "for {name} read-only and {other} together allow nothing: another section, or its forced command, says one of them"
            );
            findings.error(place, what, "say read-only = false here, or write-only = false");
        }
        case(of, file, findings);
    }
    cases
}

/// Looks at who a section is about.
fn conditions(Entry { origin, when, .. }: &Entry, findings: &mut Findings) {
    if when.is_over(Timestamp::now()) {
        let what = "this section has expired: it refuses whom it is about";
        findings.warning(at(origin, "expires"), what, "take it out, or give it another day");
    }
    for (key, empty) in when.empty() {
        if empty {
            let what = format_args!("{key} is an empty list, which nobody is in").to_string();
            findings.error(at(origin, key), what, "name somebody, or take it out");
        }
    }
}

/// Looks for sections that never count: the first value does.
fn order(entry: &Entry, earlier: &[Entry], findings: &mut Findings) {
    let covers = |before: &&Entry| before.when.includes(&entry.when);
    let mut first = None;
    let mut said = Section::default();
    for before in earlier.iter().filter(covers) {
        first = first.or(Some(&before.origin));
        said = said.or(&before.section);
    }
    let Some(first) = first else { return };
    if said.clone().or(&entry.section) == said {
        let what = format!("this never counts: {first} comes first, is about the same, and says all of it");
        findings.warning(at(&entry.origin, ""), what, "put the narrower section first, or take this one out");
    }
}

/// Looks at what a section says by itself.
fn section(Entry { origin, section, .. }: &Entry, findings: &mut Findings) {
    let yes = |key: Option<bool>| key == Some(true);
    if let Some(other) = contradiction(section) {
        let what = format!("read-only and {other} together allow nothing");
        findings.error(at(origin, "read-only"), what, "choose one");
    }
    if section.sandbox == Some(Sandbox::Off) {
        let what = "sandbox = \"off\" leaves one layer where there could be two";
        findings.warning(at(origin, "sandbox"), what, "take it out: try is the default");
    }
    if section.audit == Some(Audit::Require) && section.log.is_none() {
        let what = "audit = \"require\" without a log in this section";
        findings.warning(at(origin, "audit"), what, "name the log beside it");
    }
    if section.drop_box_directory.is_some() && !yes(section.drop_box) {
        let what = "drop-box-directory has no meaning without drop-box = true in this section";
        findings.warning(at(origin, "drop-box-directory"), what, "say drop-box = true, or take it out");
    }
    if section.drop_box_directory.as_ref().is_some_and(|path| path.split('/').any(|name| name == "..")) {
        let what = "drop-box-directory goes upwards, and nothing gets into the box";
        findings.error(at(origin, "drop-box-directory"), what, "name a directory in the root, without ..");
    }
    let numbers = [("max-sessions", section.max_sessions), ("max-session-files", section.max_session_files)];
    for (key, _) in numbers.into_iter().filter(|(_, number)| *number == Some(0)) {
        findings.warning(at(origin, key), "0 is none at all", "take it out, or say how many");
    }
    if section.names.as_ref().is_some_and(|names| names.0.is_empty()) {
        let what = "with names = [] every name may be stored";
        findings.warning(at(origin, "names"), what, "take it out, or say which");
    }
    let modes = [("file-mode", section.file_mode), ("directory-mode", section.directory_mode)];
    for (key, _) in modes.into_iter().filter(|(_, mode)| mode.is_some_and(|mode| mode.0 & 0o002 != 0)) {
        let what = format!("{key} lets every account of this machine write what is stored");
        findings.warning(at(origin, key), what, "take o+w away");
    }
    if section.umask.is_some_and(|umask| umask.0 & 0o002 == 0) {
        let what = "with this umask every account of this machine can write what is stored";
        findings.warning(at(origin, "umask"), what, "a umask such as 027");
    }
    if let (Some(file), Some(session)) = (section.max_file_size, section.max_session_size)
        && file > session
    {
        let what = "max-file-size is more than a whole session may store";
        findings.warning(at(origin, "max-file-size"), what, "make max-session-size the larger one");
    }
    for (number, before) in section.path.iter().flat_map(|rules| rules.idle()) {
        let what =
            format!("rule {number} of path never counts: rule {before} comes first, and decides all of it");
        findings.warning(at(origin, "path"), what, "put the narrower rule first, or take this one out");
    }
    if let Some(Destination::File(log)) = &section.log {
        let root = section.root.as_ref().map(|Root(root)| Path::new(root));
        places::log(&at(origin, "log"), log, root, findings);
    }
}

/// Returns what read-only leaves nothing of.
fn contradiction(section: &Section) -> Option<&'static str> {
    let said = [("drop-box", section.drop_box), ("write-only", section.write_only)];
    let other = said.into_iter().find(|(_, said)| *said == Some(true)).map(|(key, _)| key);
    other.filter(|_| section.read_only == Some(true))
}

fn group<'p>(
    Entry { origin, section, .. }: &Entry,
    about: impl Iterator<Item = &'p Person>,
    findings: &mut Findings,
) {
    let Some(group) = &section.force_group else { return };
    let place = at(origin, "force-group");
    if account::group_id(group.as_ref()).is_err() {
        let mend = format!("groupadd {group}");
        return findings.error(place, format_args!("there is no group {group}"), mend);
    }
    for Person { name, account, .. } in about.filter(|person| person.account.uid != 0) {
        if !account.groups.names().iter().any(|own| own.to_str() == Some(group)) {
            let what = format!("{name} is not in the group {group}, and cannot give it files");
            findings.error(&place, what, format_args!("usermod -aG {group} {name}"));
        }
    }
}

/// Looks at the root of a section that is about nobody who is known; one with tokens names no directory then.
fn unknown_root(entry: &Entry, people: &[Person], findings: &mut Findings) {
    let Some(Root(root)) = &entry.section.root else { return };
    if !root.as_encoded_bytes().contains(&b'%') && !people.iter().any(|person| person.is_meant_by(entry)) {
        places::root(&at(&entry.origin, "root"), Path::new(root), None, &entry.section, findings);
    }
}

/// Looks at what a session of somebody would be like.
fn case(case: &Case<'_>, file: &Path, findings: &mut Findings) {
    let Case { person, origin, root_origin, section, root } = case;
    let name = &person.name;
    let whole = file.display().to_string();
    let place = match (root_origin, origin) {
        (Some(origin), _) => at(origin, "root"),
        (None, _) if root.is_some() => format!("the forced command of {name}"),
        (None, Some(origin)) => at(origin, ""),
        (None, None) => whole,
    };
    match root {
        Some(Ok(root)) => {
            places::root(&place, root, Some(person), section, findings);
            let whole = match (root_origin, &person.line.root) {
                // The line's root is looked up in the file's.
                (Some(_), Some(within)) => match within.place(&person.account) {
                    Ok(within) => root.join(within.strip_prefix("/").unwrap_or(&within)),
                    Err(denied) => {
                        let place = format!("the forced command of {name}");
                        return findings.error(place, denied, "give the account what the token stands for");
                    }
                },
                _ => root.clone(),
            };
            if whole != *root && !places::is_there(&whole) {
                let what = format!(
                    "its --root is looked up in the file's, and {} is not there: {name} is not served",
                    whole.display()
                );
                let mend =
                    "make it, or take --root out of it, or have no section about the account give a root";
                findings.error(format_args!("the forced command of {name}"), what, mend);
            } else if places::real(&whole).starts_with(places::real(root)) {
                places::rights(&place, &whole, case, findings);
            }
            if let Some(Destination::File(log)) = &section.log {
                places::log(&place, log, Some(root), findings);
            }
        }
        Some(Err(denied)) => {
            findings.error(place, denied, "give the account what the token stands for, or write it out");
        }
        None if section.drop_box == Some(true) || section.path.is_some() || section.names.is_some() => {
            let what = "its rules have no meaning without a root, and nobody is served";
            findings.error(place, what, "give it a root");
        }
        None => {
            let what = format!(
                "there is no root here for {name}: without --root in the forced command the whole host is open"
            );
            findings.warning(place, what, "give it a root");
        }
    }
    let place = origin.as_ref().map_or_else(|| format!("the log of {name}"), |origin| at(origin, "log"));
    places::log_of(&place, &section.grant().journal, person, findings);
}
