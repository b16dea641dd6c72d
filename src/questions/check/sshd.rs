//! sshd's own settings, as `sshd -T` tells them: what opens a way around.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::people::Command::{Forced, OfKeys};
use super::people::{Case, Command as Started, Person};
use super::places::real;
use super::{Findings, at, keys};
use crate::account;
use crate::options::{self, Options, Order};
use crate::policy::{Account, Config, Entry, Section};
use crate::words;

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

/// Of those, what `restrict` takes away.
const RESTRICTED: [&str; 5] =
    ["AllowTcpForwarding", "AllowStreamLocalForwarding", "X11Forwarding", "PermitTTY", "PermitUserRC"];

/// Ways in beside a line of authorized_keys, and how they are closed.
const OTHERWISE: [(&str, &str); 6] = [
    ("PasswordAuthentication", "no"),
    ("KbdInteractiveAuthentication", "no"),
    ("HostbasedAuthentication", "no"),
    ("GSSAPIAuthentication", "no"),
    ("TrustedUserCAKeys", "none"),
    ("AuthorizedKeysCommand", "none"),
];

/// Keywords in small letters, each with all that is said of it.
pub(super) type Settings = BTreeMap<String, Vec<String>>;

/// Has sshd say what holds for each of them, and reads the options of the command that it starts.
pub(super) fn ask(people: &mut Vec<Person>, from: Option<&Path>, checked: &Path, findings: &mut Findings) {
    let mut of_keys = Vec::new();
    for person in people.iter_mut() {
        match settings(&person.name, from) {
            Ok(settings) => {
                forced(person, &settings, checked, findings);
                of_keys.extend(by_keys(person, &settings, checked, findings));
                person.settings = Some(settings);
            }
            Err(why) => {
                let mend = "run check as root on the machine that it is for, where sshd is installed";
                return findings.warning("sshd", format_args!("its settings are not known: {why}"), mend);
            }
        }
    }
    people.retain(|person| person.command == Forced);
    people.extend(of_keys);
}

/// Looks at what sshd allows beside the transfers.
pub(super) fn look(config: &Config, people: &[Person], cases: &[Case<'_>], findings: &mut Findings) {
    let asks_for_key = |entry: &&Entry| entry.when.key.is_some() || entry.when.principal.is_some();
    for person in people {
        let Some(settings) = &person.settings else { continue };
        let place = place(person);
        offers(&place, settings, &person.command, findings);
        if person.command == Forced {
            entry_points(&place, &person.name, settings, findings);
        }
        let mut about = config.matches.iter().filter(|entry| person.is_meant_by(entry));
        if let Some(Entry { origin, .. }) = about.find(asks_for_key)
            && value(settings, "ExposeAuthInfo") != Some("yes")
        {
            let what = format!("{} asks for keys, and sshd does not say which one was used", at(origin, ""));
            findings.error(&place, what, "ExposeAuthInfo yes, outside of all Match blocks or in this one");
        }
        let own = cases.iter().filter(|case| case.person.name == person.name);
        let roots: Vec<&PathBuf> = own.filter_map(|case| case.root.as_ref()?.as_ref().ok()).collect();
        key_files(&place, &person.account, settings, &roots, findings);
    }
}

fn place(person: &Person) -> String {
    format!("sshd_config, for {}", person.name)
}

/// Reads the options of the forced command: they take away of what the file gives.
fn forced(person: &mut Person, settings: &Settings, checked: &Path, findings: &mut Findings) {
    if let Some(command) = value(settings, "ForceCommand").filter(|command| is_ours(command))
        && let Some(line) = understood(&place(person), command, checked, findings)
    {
        person.line = line;
    }
}

/// Reads the commands in the account's authorized_keys, where they are all that confines: a person for each of them.
fn by_keys(person: &mut Person, settings: &Settings, checked: &Path, findings: &mut Findings) -> Vec<Person> {
    let by_shell = || account::shell_of(&person.name).is_some_and(|shell| is_ours(&shell));
    if value(settings, "ForceCommand").is_some_and(|command| command != "none") || by_shell() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut all_ours = true;
    for pattern in value(settings, "AuthorizedKeysFile").unwrap_or_default().split(' ') {
        let file = keys_file(pattern, &person.account);
        for keys::Line { number, command, open } in keys::read(Path::new(&file), &person.account) {
            let place = format!("{file}:{number}:1");
            let mend = "scp-server authorized-key writes such lines";
            let Some(command) = command.filter(|command| is_ours(command)) else {
                findings.error(
                    place,
                    "this key has no command=\"scp-server ...\", and is not confined",
                    mend,
                );
                all_ours = false;
                continue;
            };
            for option in open {
                let what = format!("{option}: this key can be used for more than transfers");
                findings.error(&place, what, mend);
            }
            if let Some(line) = understood(&place, &command, checked, findings) {
                found.push(line);
            }
        }
    }
    let otherwise =
        OTHERWISE.iter().find(|(key, closed)| value(settings, key).is_some_and(|value| value != *closed));
    match otherwise {
        Some((key, _)) if !found.is_empty() => {
            let what =
                format!("no ForceCommand, and {key} lets somebody in without a line of authorized_keys");
            findings.error(self::place(person), what, "ForceCommand /usr/bin/scp-server in a Match block");
            all_ours = false;
        }
        _ => {}
    }
    if found.is_empty() || !all_ours {
        return Vec::new();
    }
    person.command = OfKeys;
    let of_key = |line| Person { line, settings: Some(settings.clone()), ..person.clone() };
    found.into_iter().map(of_key).collect()
}

/// Reads the options of a command that runs this program.
fn understood(place: &str, command: &str, checked: &Path, findings: &mut Findings) -> Option<Section> {
    // What only a shell could tell is left to it.
    let Ok(words) = words::split(command.as_bytes()) else {
        let what = format!("{command}: what a shell makes of it is not known here");
        findings.warning(place, what, "write its options out, between single quotes");
        return None;
    };
    let arguments = words.iter().skip(1).map(|word| OsStr::from_bytes(&word.bytes()).to_owned());
    match options::parse(arguments.collect::<Vec<OsString>>().into_iter()) {
        Ok(Order::Serve(given)) => {
            let Options { line, config, .. } = *given;
            let checked = real(&std::path::absolute(checked).unwrap_or_default());
            if let Some(other) = config.filter(|other| real(other) != checked) {
                let other = other.display();
                let what = format!("the forced command reads {other}, and not what is checked here");
                findings.warning(place, what, format_args!("scp-server check {other}"));
            }
            Some(line)
        }
        Ok(_) => {
            let what = format!("{command}: that serves nothing");
            findings.error(place, what, "/usr/bin/scp-server, with options for sessions");
            None
        }
        Err(error) => {
            let said = error.render().to_string();
            let why = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
            let what = format!("{command}: {why}; nobody is served");
            findings.error(place, what, "scp-server --help has the options");
            None
        }
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
fn offers(place: &str, settings: &Settings, command: &Started, findings: &mut Findings) {
    let none_forwarded = value(settings, "DisableForwarding") == Some("yes");
    for (key, right, otherwise) in OFFERS {
        let found = value(settings, key);
        if *command == OfKeys && RESTRICTED.contains(&key) {
            continue;
        }
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

/// Tells whether a command runs this program.
fn is_ours(command: &str) -> bool {
    let first = words::split(command.as_bytes()).map(|words| words.first().map(words::Word::bytes));
    // What only a shell understands has a first word all the same.
    let plain = || command.split_ascii_whitespace().next().map(|word| word.as_bytes().to_vec());
    let program = first.unwrap_or_else(|_| plain()).unwrap_or_default();
    program.rsplit(|&byte| byte == b'/').next() == Some(env!("CARGO_PKG_NAME").as_bytes())
}

/// Looks at what is started for the account.
fn entry_points(place: &str, user: &str, settings: &Settings, findings: &mut Findings) {
    let mend = "ForceCommand /usr/bin/scp-server in a Match block";
    let mut subsystems = settings.get("subsystem").into_iter().flatten();
    match value(settings, "ForceCommand").filter(|command| *command != "none") {
        Some(command) if is_ours(command) => {}
        Some(command) => {
            let what = format!("ForceCommand {command}: that is not scp-server");
            findings.error(place, what, mend);
        }
        None if account::shell_of(user).is_some_and(|shell| is_ours(&shell)) => {
            // The others are run by the login shell, which does not serve them.
            if let Some(inside) = subsystems.find(|subsystem| subsystem.ends_with(" internal-sftp")) {
                let what = format!("Subsystem {inside} is in sshd itself, and no login shell confines it");
                findings.error(place, what, mend);
            }
        }
        None => {
            let what = "no ForceCommand, and the login shell is another one: only keys with command=\"scp-server ...\" are confined";
            findings.error(place, what, mend);
            for subsystem in subsystems {
                let what = format!("Subsystem {subsystem} can be reached by whoever comes with another key");
                findings.error(place, what, mend);
            }
        }
    }
}

/// Looks for files of keys that clients could write.
fn key_files(
    place: &str,
    account: &Account,
    settings: &Settings,
    roots: &[&PathBuf],
    findings: &mut Findings,
) {
    for pattern in value(settings, "AuthorizedKeysFile").unwrap_or_default().split(' ') {
        let file = keys_file(pattern, account);
        let found = real(Path::new(&file));
        if let Some(root) = roots.iter().find(|root| found.starts_with(real(root))) {
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
