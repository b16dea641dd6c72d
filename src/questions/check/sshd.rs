//! sshd's own settings, as `sshd -T` tells them: what opens a way around.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Findings;
use super::sections::literals;
use crate::account;
use crate::policy::{Account, Config, Entry, Root};

/// Accounts that sshd is asked about; further ones are told not to be.
const ACCOUNTS: usize = 50;

/// Settings that have to have this value, and what they are good for otherwise.
const OFFERS: [(&str, &[&str], &str); 7] = [
    ("AllowTcpForwarding", &["no"], "clients reach the network through this machine"),
    ("AllowStreamLocalForwarding", &["no"], "clients reach, create and delete Unix sockets"),
    ("X11Forwarding", &["no"], "clients open a socket for X11"),
    ("PermitTunnel", &["no"], "clients get a network device"),
    ("PermitTTY", &["no"], "clients get a terminal, which changes what bytes mean"),
    ("PermitUserRC", &["no"], "sshd runs ~/.ssh/rc before the forced command"),
    ("PermitUserEnvironment", &["no"], "~/.ssh/environment sets variables before the forced command"),
];

/// Of those, what DisableForwarding takes away.
const FORWARDING: [&str; 3] = ["AllowTcpForwarding", "AllowStreamLocalForwarding", "X11Forwarding"];

type Settings = BTreeMap<String, Vec<String>>;

pub(super) fn look(config: &Config, file: Option<&Path>, findings: &mut Findings) {
    let entries = || config.matches.iter().chain(&config.default);
    let users: BTreeSet<&str> = entries().flat_map(|entry| literals(entry.when.user.as_ref())).collect();
    let users: Vec<&str> = users.into_iter().filter(|user| account::called(user).is_ok()).collect();
    if users.len() > ACCOUNTS {
        findings.warning(
            "sshd",
            format_args!("only {ACCOUNTS} of {} accounts were looked at", users.len()),
            "ask about the others in a smaller file",
        );
    }
    let asks_for_keys = entries().find(|entry| entry.when.key.is_some() || entry.when.principal.is_some());
    for user in users.into_iter().take(ACCOUNTS) {
        let settings = match settings(user, file) {
            Ok(settings) => settings,
            Err(why) => {
                let mend = "run check as root on the machine that it is for, where sshd is installed";
                return findings.warning("sshd", format_args!("its settings are not known: {why}"), mend);
            }
        };
        let place = format!("sshd_config, for {user}");
        offers(&place, &settings, findings);
        entry_points(&place, user, &settings, findings);
        if let Some(entry) = asks_for_keys
            && value(&settings, "ExposeAuthInfo") != Some("yes")
        {
            let what = format!("{} asks for keys, and sshd does not say which one was used", entry.origin);
            findings.error(&place, what, "ExposeAuthInfo yes, outside of all Match blocks or in this one");
        }
        keys(&place, user, &settings, entries(), findings);
    }
}

/// Has sshd say what holds for an account.
fn settings(user: &str, file: Option<&Path>) -> Result<Settings, String> {
    let mut failed = "there is no sshd".to_owned();
    for program in ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"] {
        let mut command = Command::new(program);
        command.arg("-T").arg("-C").arg(format!("user={user},host=localhost,addr=127.0.0.1"));
        if let Some(file) = file {
            command.arg("-f").arg(file);
        }
        match command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {
                return Ok(parse(&String::from_utf8_lossy(&output.stdout)));
            }
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(said.lines().next_back().unwrap_or("sshd -T failed").to_owned());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => failed = error.to_string(),
        }
    }
    Err(failed)
}

fn parse(text: &str) -> Settings {
    let mut settings = Settings::new();
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        settings.entry(key.to_ascii_lowercase()).or_default().push(value.to_owned());
    }
    settings
}

fn value<'s>(settings: &'s Settings, key: &str) -> Option<&'s str> {
    settings.get(&key.to_ascii_lowercase()).and_then(|values| values.first()).map(String::as_str)
}

/// Looks at what sshd offers beside the forced command.
fn offers(place: &str, settings: &Settings, findings: &mut Findings) {
    let none_forwarded = value(settings, "DisableForwarding") == Some("yes");
    for (key, right, otherwise) in OFFERS {
        let found = value(settings, key);
        if none_forwarded && FORWARDING.contains(&key) || found.is_none_or(|found| right.contains(&found)) {
            continue;
        }
        let mend = if FORWARDING.contains(&key) { "DisableForwarding yes" } else { &format!("{key} no") };
        findings.error(place, format_args!("{key} {}: {otherwise}", found.unwrap_or_default()), mend);
    }
    let accepted = settings.get("acceptenv").into_iter().flatten();
    for name in accepted.flat_map(|line| line.split(' ')).filter(|name| is_dangerous(name)) {
        let what = format!("AcceptEnv {name}: clients set variables that run code before the forced command");
        findings.error(place, what, "leave it at LANG and LC_*");
    }
}

/// Tells whether a pattern of AcceptEnv lets a variable in that a shell or the loader takes for code.
fn is_dangerous(pattern: &str) -> bool {
    let stem = pattern.split(['*', '?']).next().unwrap_or_default();
    let is_pattern = stem.len() < pattern.len();
    ["BASH_ENV", "ENV", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "SHELLOPTS", "PATH", "SSH_USER_AUTH"]
        .iter()
        .any(|name| if is_pattern { name.starts_with(stem) } else { *name == pattern })
}

/// Looks at what is started for the account.
fn entry_points(place: &str, user: &str, settings: &Settings, findings: &mut Findings) {
    let is_ours = |command: &str| {
        let program = command.split_ascii_whitespace().next().unwrap_or_default();
        program.rsplit('/').next() == Some(env!("CARGO_PKG_NAME"))
    };
    let forced = value(settings, "ForceCommand").filter(|command| *command != "none");
    match forced {
        Some(command) if is_ours(command) => {}
        Some(command) => {
            let what = format!("ForceCommand {command}: that is not scp-server");
            findings.error(place, what, "ForceCommand /usr/bin/scp-server");
        }
        None if account::shell_of(user).is_some_and(|shell| is_ours(&shell)) => {}
        None => {
            let what = "no ForceCommand, and the login shell is another one: only keys with command=\"scp-server ...\" are confined, \
                        and subsystems such as sftp are open to the others";
            findings.error(place, what, "ForceCommand /usr/bin/scp-server in a Match block");
        }
    }
}

/// Looks for files of keys that clients could write.
fn keys<'c>(
    place: &str,
    user: &str,
    settings: &Settings,
    entries: impl Iterator<Item = &'c Entry>,
    findings: &mut Findings,
) {
    let Ok(account) = account::called(user) else { return };
    let roots: Vec<_> = entries
        .filter(|entry| {
            entry.when.user.is_none() || literals(entry.when.user.as_ref()).any(|name| name == user)
        })
        .filter_map(|entry| entry.section.root.as_ref())
        .filter_map(|root: &Root| root.place(&account).ok())
        .collect();
    for pattern in value(settings, "AuthorizedKeysFile").unwrap_or_default().split(' ') {
        let file = keys_file(pattern, &account);
        if let Some(root) = roots.iter().find(|root| Path::new(&file).starts_with(root)) {
            let what = format!(
                "the keys in {file} lie in the root {}: an upload could let somebody in",
                root.display()
            );
            findings.error(place, what, "AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u");
        }
    }
}

/// Expands sshd's tokens; what is relative is in the home.
fn keys_file(pattern: &str, account: &Account) -> String {
    let text = |value: &Option<std::ffi::OsString>| {
        value.as_ref().map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let (name, home) = (text(&account.name), text(&account.home));
    let file = pattern.replace("%h", &home).replace("%u", &name).replace("%U", &account.uid.to_string());
    if file.starts_with('/') { file } else { format!("{home}/{file}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_code_are_known_in_patterns_too() {
        for name in ["*", "LD_*", "BASH_ENV", "B*", "PATH", "?NV"] {
            assert!(is_dangerous(name), "{name}");
        }
        for name in ["LANG", "LC_*", "LD", "COLORTERM", "TZ"] {
            assert!(!is_dangerous(name), "{name}");
        }
    }

    #[test]
    fn what_sshd_says_is_read_line_by_line() {
        let settings = parse("permittty yes\nacceptenv LANG\nacceptenv LC_*\nforcecommand none\n");
        assert_eq!(value(&settings, "PermitTTY"), Some("yes"));
        assert_eq!(settings["acceptenv"], ["LANG", "LC_*"]);
    }
}
