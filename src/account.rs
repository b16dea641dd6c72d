//! Who the request is for: the user database, and what sshd says in the environment.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nix::fcntl::OFlag;
use nix::unistd::{
    Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups, getuid, initgroups, setegid, seteuid,
    setgid, setgroups, setuid,
};

use crate::key::Key;
use crate::policy::{Account, Denied};

/// The most that sshd writes about an authentication: a line for each of a handful of methods.
const AUTHENTICATION: u64 = 256 * 1024;

/// Finds out who the process runs for, but for the groups.
pub fn look_up() -> Account {
    let uid = getuid();
    let mut account = Account { uid: uid.as_raw(), address: address(), keys: keys(), ..Account::default() };
    if let Some(user) = User::from_uid(uid).ok().flatten() {
        account.name = Some(user.name.into());
        account.home = Some(user.dir.into());
    }
    account
}

/// Finds out who is called so, for a question about an account.
///
/// # Errors
/// There is nobody of this name.
pub fn called(name: &str) -> Result<Account, String> {
    let user = User::from_name(name).map_err(|errno| format!("{name}: {errno}"))?;
    let user = user.ok_or_else(|| format!("there is no account {name}"))?;
    Ok(Account {
        uid: user.uid.as_raw(),
        name: Some(user.name.into()),
        home: Some(user.dir.into()),
        ..Account::default()
    })
}

/// Finds out what sshd starts for somebody.
pub fn shell_of(name: &str) -> Option<String> {
    let user = User::from_name(name).ok().flatten()?;
    user.shell.to_str().map(str::to_owned)
}

/// Finds out which groups a session of somebody would be in.
pub fn groups_of(name: &str) -> Vec<OsString> {
    let Some(user) = User::from_name(name).ok().flatten() else { return Vec::new() };
    let ids = CString::new(name).ok().and_then(|name| getgrouplist(&name, user.gid).ok());
    named(ids.unwrap_or_default())
}

/// Becomes the account, for good, so that files are seen as it sees them.
///
/// # Errors
/// Only root can.
pub fn become_it(account: &Account) -> Result<(), String> {
    let user = User::from_uid(Uid::from_raw(account.uid)).ok().flatten();
    let user = user.ok_or("it is not in the user database")?;
    if getuid() == user.uid && geteuid() == user.uid {
        return Ok(());
    }
    let name = CString::new(user.name).map_err(|error| error.to_string())?;
    let become_user = || {
        initgroups(&name, user.gid)?;
        setgid(user.gid)?;
        setuid(user.uid)
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
    let user = User::from_uid(uid).ok().flatten()?;
    let name = CString::new(user.name).ok()?;
    let (own, groups) = (getegid(), getgroups().ok()?);
    let acted = initgroups(&name, user.gid)
        .and_then(|()| setegid(user.gid))
        .and_then(|()| seteuid(uid))
        .map(|()| act());
    // What comes back in the order in which it went: only root may have the rest.
    let returned = seteuid(Uid::from_raw(0)).and_then(|()| setegid(own)).and_then(|()| setgroups(&groups));
    acted.and_then(|acted| returned.map(|()| acted)).ok()
}

/// Returns the accounts of /etc/passwd that are in a group, by their own entry or by the group's.
pub fn members(group: &str) -> Vec<String> {
    let Some(group) = Group::from_name(group).ok().flatten() else { return Vec::new() };
    let all = all().into_iter();
    let own = all.filter_map(|(name, gid)| (gid == group.gid.as_raw()).then_some(name));
    own.chain(group.mem.iter().cloned()).collect()
}

/// Returns the accounts of /etc/passwd, each with the number of its group.
#[expect(clippy::disallowed_methods, reason = "a path of the system's, not the client's")]
pub fn all() -> Vec<(String, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let account = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(2)?.parse().ok()?))
    };
    passwd.lines().filter_map(account).collect()
}

/// Finds out which groups the process is in.
pub fn groups() -> Vec<OsString> {
    named(getgroups().unwrap_or_default().into_iter().chain([getegid()]))
}

fn named(ids: impl IntoIterator<Item = Gid>) -> Vec<OsString> {
    let groups = ids.into_iter().filter_map(|id| Group::from_gid(id).ok().flatten());
    groups.map(|group| OsString::from(group.name)).collect()
}

/// Returns the number of a group of the administrator's.
pub fn group_id(name: &OsStr) -> Result<u32, Denied> {
    let group = name.to_str().and_then(|name| Group::from_name(name).ok().flatten());
    let unknown = || Denied::Misconfigured(format!("there is no group {}", name.as_bytes().escape_ascii()));
    group.map(|group| group.gid.as_raw()).ok_or_else(unknown)
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
