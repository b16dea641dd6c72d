//! Who the request is for: the user database, and what sshd says in the environment.

mod database;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nix::fcntl::OFlag;
use nix::unistd::{
    Gid, Uid, getegid, geteuid, getgroups, getuid, setegid, seteuid, setgid, setgroups, setuid,
};

use crate::key::Key;
use crate::policy::{Account, Denied, Groups};
use database::{Group, Person, find, find_each, local};

/// The most that sshd writes about an authentication: a line for each of a handful of methods.
const AUTHENTICATION: u64 = 256 * 1024;

/// Finds out who the process runs for; its groups when they are asked for.
pub fn look_up() -> Account {
    let uid = getuid().as_raw();
    let groups = Groups::found_by(groups);
    let mut account = Account { uid, address: address(), keys: keys(), groups, ..Account::default() };
    if let Some(person) = by_number(uid) {
        account.name = Some(person.name);
        account.home = Some(person.home);
    }
    account
}

/// Finds out who is called so, for a question about an account.
///
/// # Errors
/// There is nobody of this name.
pub fn called(name: &str) -> Result<Account, String> {
    let Person { name, uid, home, .. } =
        by_name(name).ok_or_else(|| format!("there is no account {name}"))?;
    Ok(Account { uid, name: Some(name), home: Some(home), ..Account::default() })
}

/// Finds out what sshd starts for somebody.
pub fn shell_of(name: &str) -> Option<String> {
    by_name(name)?.shell.into_string().ok()
}

/// Finds out which groups a session of somebody would be in.
pub fn groups_of(name: &str) -> Vec<OsString> {
    let ids = |person: Person| groups_with(&person).into_iter().map(Gid::as_raw).collect();
    by_name(name).map(|person| named(ids(person))).unwrap_or_default()
}

/// Becomes the account, for good, so that files are seen as it sees them.
///
/// # Errors
/// Only root can.
pub fn become_it(account: &Account) -> Result<(), String> {
    let person = by_number(account.uid).ok_or("it is not in the user database")?;
    let uid = Uid::from_raw(person.uid);
    if getuid() == uid && geteuid() == uid {
        return Ok(());
    }
    let become_user = || {
        setgroups(&groups_with(&person))?;
        setgid(Gid::from_raw(person.gid))?;
        setuid(uid)
    };
    become_user().map_err(|errno| errno.desc().to_owned())
}

/// Does something with the account's rights, and has root's again; none if only the account itself could.
pub fn acting_as<T>(account: &Account, act: impl FnOnce() -> T) -> Option<T> {
    let uid = Uid::from_raw(account.uid);
    if geteuid() == uid {
        return Some(act());
    }
    if !geteuid().is_root() {
        return None;
    }
    let person = by_number(account.uid)?;
    let (own, groups) = (getegid(), getgroups().ok()?);
    let acted = setgroups(&groups_with(&person))
        .and_then(|()| setegid(Gid::from_raw(person.gid)))
        .and_then(|()| seteuid(uid))
        .map(|()| act());
    // What comes back in the order in which it went: only root may have the rest.
    let returned = seteuid(Uid::from_raw(0)).and_then(|()| setegid(own)).and_then(|()| setgroups(&groups));
    acted.and_then(|acted| returned.map(|()| acted)).ok()
}

/// Returns the accounts of /etc/passwd that are in a group, by their own entry or by the group's.
pub fn members(group: &str) -> Vec<String> {
    let Some(Group { gid, members, .. }) = find(database::Key::Name(group.as_ref())) else {
        return Vec::new();
    };
    let own = all().into_iter().filter_map(|(name, own)| (own == gid).then_some(name));
    own.chain(members.into_iter().filter_map(|name| name.into_string().ok())).collect()
}

/// Returns the accounts of /etc/passwd, each with the number of its group.
pub fn all() -> Vec<(String, u32)> {
    local().filter_map(|person: Person| Some((person.name.into_string().ok()?, person.gid))).collect()
}

/// Finds out which groups the process is in.
fn groups() -> Vec<OsString> {
    // Not nix's, which asks a file in /proc first how many there can be.
    let others = rustix::process::getgroups().unwrap_or_default();
    named(others.into_iter().map(rustix::process::Gid::as_raw).chain([getegid().as_raw()]).collect())
}

/// Returns the number of a group of the administrator's.
pub fn group_id(name: &OsStr) -> Result<u32, Denied> {
    let unknown = || Denied::Misconfigured(format!("there is no group {}", name.as_bytes().escape_ascii()));
    find(database::Key::Name(name)).map(|group: Group| group.gid).ok_or_else(unknown)
}

fn by_number(uid: u32) -> Option<Person> {
    find(database::Key::Number(uid))
}

fn by_name(name: &str) -> Option<Person> {
    find(database::Key::Name(name.as_ref()))
}

/// Returns the groups of a session of somebody's.
fn groups_with(person: &Person) -> Vec<Gid> {
    let others = database::groups_of(&person.name).into_iter();
    others.chain([person.gid]).map(Gid::from_raw).collect()
}

fn named(mut ids: Vec<u32>) -> Vec<OsString> {
    ids.sort_unstable();
    ids.dedup();
    let groups = find_each(ids.into_iter().map(database::Key::Number).collect());
    groups.into_iter().map(|group: Group| group.name).collect()
}

/// Returns where the client is: the first word of SSH_CONNECTION.
fn address() -> Option<IpAddr> {
    let connection = env::var_os("SSH_CONNECTION")?;
    let text = connection.to_str()?.split(' ').next()?;
    // An address of a link has its interface behind it.
    text.split('%').next()?.parse().ok()
}

/// Returns the keys that the client has proved to have, if sshd exposes them (ExposeAuthInfo).
fn keys() -> Vec<Key> {
    let Some(mut file) = env::var_os("SSH_USER_AUTH").and_then(|path| authentication(&path)) else {
        return Vec::new();
    };
    let mut text = String::new();
    match file.by_ref().take(AUTHENTICATION).read_to_string(&mut text) {
        Ok(_) => Key::of_authentication(&text),
        Err(_) => Vec::new(),
    }
}

/// Opens the file of sshd's, if it is one: where AcceptEnv lets clients set variables, the name could be the client's,
/// and so could be a file that it has uploaded.
#[expect(clippy::disallowed_methods, reason = "a path of sshd's, not the client's")]
fn authentication(path: &OsStr) -> Option<File> {
    // session.c of OpenSSH: /tmp/sshauth.XXXXXXXXXXXXXXX.
    let random = path.as_bytes().strip_prefix(b"/tmp/sshauth.")?;
    if random.len() != 15 || !random.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let ours =
        metadata.is_file() && metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o7777 == 0o600;
    (ours && metadata.nlink() == 1).then_some(file)
}
