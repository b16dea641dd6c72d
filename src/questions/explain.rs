//! `explain`: what would become of a request, found out by the rooms that a session goes through, as the account.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::Timestamp;
use nix::unistd::chdir;

use crate::abort::Abort;
use crate::account;
use crate::audit;
use crate::etc;
use crate::jail::{Entry, Fate, Insists, Jail, Place};
use crate::options::{Explain, Options};
use crate::policy::{
    self, Account, Audit, Collision, Denied, Destination, Grant, Journal, Leave, Limits, Operation, Sandbox,
    Sync, Unit,
};
use crate::refusal::{Cause, Size};
use crate::request::{Depth, Fetch, Keep, Request, Store, TargetKind};
use crate::sandbox::{self, Direction};
use crate::sink;

/// What would become of a request.
#[derive(Debug)]
pub struct Explanation {
    /// Why it would be refused; none if it would not.
    denied: Option<String>,
    /// What leads to that, one thing a line.
    facts: Vec<(&'static str, String)>,
}

impl Explanation {
    /// Tells whether the request is allowed.
    pub fn is_allowed(&self) -> bool {
        self.denied.is_none()
    }

    fn say(&mut self, what: &'static str, words: impl fmt::Display) {
        self.facts.push((what, words.to_string()));
    }

    fn deny(&mut self, why: impl fmt::Display) {
        self.denied.get_or_insert_with(|| why.to_string());
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.denied {
            None => writeln!(f, "allowed")?,
            Some(why) => writeln!(f, "denied: {why}")?,
        }
        self.facts.iter().try_for_each(|(what, words)| writeln!(f, "{:<8} {words}", format!("{what}:")))
    }
}

/// Finds out what would become of a request. Asked by root, the process becomes the account: what that may read, and
/// where it may write, is then known, too.
///
/// # Errors
/// There is no such account.
pub fn explain(asked: Explain, request: &Request) -> Result<Explanation, String> {
    let Explain { user, key, from, options } = asked;
    let mut account = account::called(&user)?;
    account.keys.extend(key);
    account.address = from;
    account.groups = account::groups_of(&user).into();
    let mut explanation = Explanation { denied: None, facts: Vec::new() };
    explanation.say("request", wish(request));

    let Options { line, config, .. } = options;
    let config = etc::read(config.as_deref(), &line, Some(&account));
    let now = Timestamp::now();
    let terms = match config {
        Ok(config) => config.terms(&account, now),
        Err(wrong) => {
            explanation.deny(Denied::Misconfigured(wrong.to_string()));
            return Ok(explanation);
        }
    };
    let rule = terms.rule();
    explanation.say("rule", rule.as_deref().unwrap_or("none in the file: what the command line says"));
    match policy::decide(terms, &account, request, now) {
        Err(denied) => explanation.deny(denied),
        Ok(grant) => explanation.follow(grant, &account, request),
    }
    Ok(explanation)
}

/// Says what is asked for.
fn wish(request: &Request) -> String {
    let (what, depth, keep, paths) = match request {
        Request::Fetch(Fetch { depth, keep, sources, .. }) => ("download of", depth, keep, sources),
        Request::Store(Store { depth, keep, targets, .. }) => ("upload to", depth, keep, targets),
    };
    let paths: Vec<String> = paths.iter().map(|word| word.bytes().escape_ascii().to_string()).collect();
    let tree = if *depth == Depth::Tree { ", directories as well" } else { "" };
    let kept = if *keep == Keep::Attributes { ", with modes and times" } else { "" };
    format!("{what} {}{tree}{kept}", paths.join(" "))
}

impl Explanation {
    /// Goes the way of a session: into the root, and to the path.
    fn follow(&mut self, mut grant: Grant, account: &Account, request: &Request) {
        if let Some(group) = &grant.storage.group {
            match account::group_id(group) {
                Ok(id) => grant.storage.group_id = Some(id),
                Err(denied) => return self.deny(denied),
            }
        }
        if let Err(why) = account::become_it(account) {
            self.say("note", format_args!("the files are looked at by another account than that: {why}"));
        }
        match (audit::foresee(&grant.journal), grant.journal.clone()) {
            (Err(errno), Journal { audit: Audit::Require, .. }) => {
                return self.deny(Abort::Unrecorded(errno));
            }
            (Err(errno), _) => self.say("log", Abort::Unrecorded(errno)),
            (Ok(()), Journal { destination: Some(destination), .. }) => self.say("log", log(&destination)),
            (Ok(()), _) => {}
        }
        self.say("root", place(&grant));
        if grant.root.is_none() {
            // Where sshd has a session begin.
            let home = account.home.as_deref().map_or(Path::new("/"), Path::new);
            let _ = chdir(home).or_else(|_| chdir("/"));
        }
        let told = grant.clone();
        let jail = match Jail::open(grant) {
            Ok(jail) => jail,
            Err(error) => return self.deny(format_args!("the root cannot be opened: {error}")),
        };
        match request {
            Request::Fetch(fetch) => self.fetch(fetch, &jail),
            Request::Store(store) => {
                self.store(store, &jail);
                self.say("modes", modes(&told, store.keep));
                self.say("taken", taken(&told));
            }
        }
        self.say("limits", limits(&told.limits));
        // Last of all: nothing can be looked at any more then.
        if told.sandbox == Sandbox::Require
            && let Err(why) = protect(&jail, request)
        {
            self.deny(why);
        }
    }

    fn fetch(&mut self, fetch: &Fetch, jail: &Jail) {
        let mut found = 0_usize;
        let mut refused = None;
        for word in &fetch.sources {
            let paths = match jail.expand(word) {
                Ok(paths) => paths,
                Err(refusal) => return self.deny(refusal.why),
            };
            for path in paths {
                match jail.fetch(&path) {
                    Ok(Entry::Directory(..)) if fetch.depth == Depth::Flat => {
                        refused =
                            Some(format!("{}: a directory, and -r is not asked for", shown(path.as_bytes())));
                    }
                    Ok(Entry::Directory(dir, _)) => {
                        found = found.saturating_add(1);
                        if let Err(why) = dir.foresee_unnamed(Operation::Download) {
                            let inside = shown(path.as_bytes());
                            self.say(
                                "refused",
                                format_args!("what is in {inside} and no rule allows: {}", truth(&why)),
                            );
                        }
                        self.say(
                            "place",
                            format_args!("{}: a directory", at(dir.location().ok().as_deref())),
                        );
                    }
                    Ok(Entry::File(contents)) => {
                        found = found.saturating_add(1);
                        let size = Size(contents.size);
                        self.say("place", format_args!("{}: a file of {size}", shown(path.as_bytes())));
                    }
                    Err(refusal) => {
                        refused = Some(format!("{}: {}", shown(path.as_bytes()), truth(&refusal.why)))
                    }
                }
            }
        }
        match refused {
            Some(why) if found == 0 => self.deny(why),
            Some(why) => self.say("refused", why),
            None => {}
        }
    }

    fn store(&mut self, store: &Store, jail: &Jail) {
        let target = sink::target(store, jail);
        match target.as_ref().ok().and_then(|path| jail.foresee_in_box(path, store.kind)) {
            Some(Ok(inside)) => {
                return self.say("place", format_args!("{} in the root: the box", inside.display()));
            }
            Some(Err(why)) => return self.deny(truth(&why)),
            None => {}
        }
        let found = target.and_then(|path| jail.find(&path, store.kind).map_err(Abort::Refused));
        match found {
            Err(Abort::Refused(refusal)) => self.deny(truth(&refusal.why)),
            Err(abort) => self.deny(abort),
            Ok(Place::Directory(dir)) => {
                let place = at(dir.location().ok().as_deref());
                self.say("place", format_args!("{place}: a directory, which files are put into"));
                if let Err(why) = dir.foresee_any() {
                    self.deny(truth(&why));
                } else if let Err(why) = dir.foresee_unnamed(Operation::Create) {
                    self.say("refused", format_args!("what no rule allows by its name: {}", truth(&why)));
                }
            }
            Ok(Place::Name { dir, name, .. }) if store.kind == TargetKind::Directory => {
                self.deny(dir.lack_of(&name).why);
            }
            Ok(Place::Name { dir, name, spelling: Insists::Yes }) if store.depth == Depth::Flat => {
                self.deny(dir.lack_of(&name).why);
            }
            Ok(Place::Name { dir, name, spelling }) => {
                let place = dir.location().ok().map(|place| place.join(name.as_os_str()));
                let is_directory = spelling == Insists::Yes || store.depth == Depth::Tree;
                let fate = dir.foresee(&name);
                let becomes = match &fate {
                    Ok(Fate::Replacing) => "a file, which is replaced",
                    Ok(Fate::Renamed) => "taken: the file gets a number behind its name",
                    Ok(Fate::Created) if is_directory => "not there yet: a file or a directory is made",
                    Ok(Fate::Created) => "not there yet: a file is made",
                    Err(_) => "refused",
                };
                self.say("place", format_args!("{}: {becomes}", at(place.as_deref())));
                if let Err(why) = fate {
                    self.deny(truth(&why));
                }
            }
        }
    }
}

/// Says why, to the administrator: clients hear the same words for what is outside, hidden and absent.
fn truth(why: &Cause) -> String {
    match why {
        Cause::Outside(_) => "the path leads outside of the root".to_owned(),
        Cause::Hidden => "a rule hides it".to_owned(),
        why => why.to_string(),
    }
}

fn at(path: Option<&Path>) -> String {
    path.map_or_else(|| "a place without a name".to_owned(), |path| shown(path.as_os_str().as_bytes()))
}

fn shown(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

fn place(grant: &Grant) -> String {
    match (&grant.root, &grant.within) {
        (Some(root), Some(within)) => format!("{} in {}", within.display(), root.display()),
        (Some(root), None) => root.display().to_string(),
        (None, _) => "none: all that the account itself may do".to_owned(),
    }
}

fn log(destination: &Destination) -> String {
    match destination {
        Destination::File(path) => path.display().to_string(),
        Destination::Journal => "the journal".to_owned(),
        Destination::Stderr => "standard error, which the client sees".to_owned(),
        Destination::Syslog => "the system's log".to_owned(),
    }
}

/// Enters the sandbox, as a session that requires it.
fn protect(jail: &Jail, request: &Request) -> Result<(), Abort> {
    let direction = Direction::of(request, jail.unit());
    let entered = sandbox::enter(Sandbox::Require, jail.bounds(), direction, None);
    entered.map(drop).map_err(Abort::Unprotected)
}

fn modes(grant: &Grant, keep: Keep) -> String {
    let storage = &grant.storage;
    let kind = |what: &str, forced: Option<u32>| match forced {
        Some(mode) => format!("{what} {mode:04o}"),
        None if keep == Keep::Attributes && storage.modes == Leave::Given => {
            format!("{what} as the client says")
        }
        None => match storage.umask {
            Some(umask) => format!("{what} as the client says, less {umask:03o}"),
            None => format!("{what} as the client says, less the account's umask"),
        },
    };
    let group = storage.group.as_ref().map(|group| format!(", of the group {}", group.to_string_lossy()));
    let set_id = if grant.rights.set_id == Leave::Given { ", set-id bits too" } else { "" };
    let files = kind("files", storage.file_mode);
    format!("{files}, {}{set_id}{}", kind("directories", storage.directory_mode), group.unwrap_or_default())
}

fn taken(grant: &Grant) -> String {
    let collision = match grant.rights.collision {
        Collision::Refuse => "a name that is taken is refused",
        Collision::Rename => "a file whose name is taken gets another one",
        Collision::Replace => "a file takes the place of an old one",
    };
    let unit = if grant.storage.unit == Unit::Tree { ", a directory all at once" } else { "" };
    let sync = if grant.storage.sync == Sync::None { "" } else { ", made durable" };
    format!("{collision}{unit}{sync}")
}

fn limits(limits: &Limits) -> String {
    let size = |what: &str, limit: Option<u64>| limit.map(|limit| format!("{what} {}", Size(limit)));
    let count = |what: &str, limit: Option<u64>| limit.map(|limit| format!("{what} {limit}"));
    let all = [
        size("a file", limits.file_size),
        size("a session", limits.session_size),
        count("files in a session", limits.session_files),
        size("left free", limits.free_space),
        count("directories in each other", limits.depth),
        count("sessions at a time", limits.sessions),
        size("uploads in a second", limits.upload_rate.map(u64::from)),
        size("downloads in a second", limits.download_rate.map(u64::from)),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
