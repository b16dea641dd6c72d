//! Lines of authorized_keys: what each key is for, where no forced command of sshd's is for all of them.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::account;
use crate::key::has_options;
use crate::policy::Account;

/// The most that is read of a file.
const SIZE: u64 = 1024 * 1024;

/// A line with a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: usize,
    /// What sshd starts for whoever comes with the key.
    pub(super) command: Option<String>,
    /// What it may do beside that, each by the option that says so, or that is missing.
    pub(super) open: Vec<&'static str>,
}

/// Reads the file as sshd does, with the account's rights; one that is not there has no lines.
pub(super) fn read(path: &Path, account: &Account) -> Vec<Line> {
    let text = account::acting_as(account, || text(path)).flatten().unwrap_or_default();
    lines(&text)
}

#[expect(clippy::disallowed_methods, reason = "a path of sshd's, not the client's")]
fn text(path: &Path) -> Option<String> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file: File = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).ok()?;
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    file.take(SIZE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn lines(text: &str) -> Vec<Line> {
    let written = (1..).zip(text.lines().map(str::trim));
    let written = written.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    written.map(|(number, line)| self::line(number, line)).collect()
}

fn line(number: usize, line: &str) -> Line {
    let options = if has_options(line) { options(line) } else { Vec::new() };
    let mut command = None;
    let mut open = vec!["restrict is missing"];
    for option in &options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name.to_ascii_lowercase().as_str() {
            "command" => command = Some(unquoted(value)),
            "restrict" => open.clear(),
            "pty" => open.push("pty"),
            "port-forwarding" => open.push("port-forwarding"),
            "agent-forwarding" => open.push("agent-forwarding"),
            "x11-forwarding" => open.push("X11-forwarding"),
            "user-rc" => open.push("user-rc"),
            _ => {}
        }
    }
    Line { number, command, open }
}

/// Takes apart what stands before the first blank that is not between quotes (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
fn options(line: &str) -> Vec<String> {
    let mut options = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for letter in line.chars() {
        match letter {
            ' ' | '\t' if !quoted => break,
            ',' if !quoted => {
                options.push(String::new());
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        // Only a quote is taken for a letter behind a backslash.
        escaped = letter == '\\';
        if let Some(option) = options.last_mut() {
            option.push(letter);
        }
    }
    options
}

fn unquoted(value: &str) -> String {
    let inside = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    inside.replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILXPwCLxGYOCf6HcAPBoZ97B+ZuKUpRNzdchJf0HBjAt bob";

    #[test]
    fn a_line_says_what_its_key_is_for() {
        let missing = &["restrict is missing"][..];
        for (options, command, open) in [
            ("", None, missing),
            ("no-pty ", None, missing),
            ("restrict ", None, &[]),
            (r#"restrict,command="scp-server --root '/a, b'" "#, Some("scp-server --root '/a, b'"), &[]),
            (r#"command="scp-server \"x\"",restrict "#, Some(r#"scp-server "x""#), &[]),
            (r#"command="x y" "#, Some("x y"), missing),
            (r#"restrict,pty,command="x",X11-Forwarding "#, Some("x"), &["pty", "X11-forwarding"]),
            (r#"from="192.0.2.*,!192.0.2.7",restrict,Command="x" "#, Some("x"), &[]),
        ] {
            let text = format!("# one\n\n{options}{KEY}\n");
            let command = command.map(str::to_owned);
            assert_eq!(lines(&text), [Line { number: 3, command, open: open.to_vec() }], "{options}");
        }
        assert_eq!(lines("# nobody\n"), []);
    }
}
