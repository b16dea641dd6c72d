//! `authorized-key`: public keys to the lines that let them do one thing.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::key;

/// The largest file: some thousand keys.
const SIZE: u64 = 1024 * 1024;

/// Returns a line for each key in a `.pub` file, `-` being standard input: `restrict,command="..." ssh-ed25519 AAAA...`.
///
/// # Errors
/// The file cannot be read, has no public key in it, or something else.
pub fn lines(options: &[OsString], keys: &Path) -> Result<Vec<String>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", keys.display());
    let text = read(keys).map_err(|error| wrong(&error))?;
    let listed = key::listed(&text).map_err(|why| wrong(&why))?;
    let command = command(&program(), options)?;
    Ok(listed.iter().map(|key| format!("restrict,command=\"{command}\" {key}")).collect())
}

#[expect(clippy::disallowed_methods, reason = "the administrator's path, not the client's")]
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(path)?),
    };
    let length = source.take(SIZE.saturating_add(1)).read_to_string(&mut text)?;
    // Cut off, the last key could be another one.
    if u64::try_from(length).is_ok_and(|length| length > SIZE) {
        Err(io::Error::other("it is larger than 1 MiB"))
    } else {
        Ok(text)
    }
}

/// Returns where we are installed, as far as that can be known: sshd's PATH may be another one.
fn program() -> OsString {
    env::current_exe().map_or_else(|_| env!("CARGO_PKG_NAME").into(), Into::into)
}

/// Writes a command for a shell, and that for sshd, which reads `\"` in an option of authorized_keys as a quote and
/// every other backslash as itself (sshd(8), and `opt_dequote` of auth-options.c).
fn command(program: &OsStr, options: &[OsString]) -> Result<String, String> {
    let mut command = String::new();
    for word in [program].into_iter().chain(options.iter().map(OsString::as_os_str)) {
        let word = std::str::from_utf8(word.as_bytes()).ok().filter(|word| !word.contains(char::is_control));
        let word = word.ok_or(
            "an option cannot be written in authorized_keys: it is not UTF-8, or has control characters",
        )?;
        if !command.is_empty() {
            command.push(' ');
        }
        command.push_str(&quoted(word));
    }
    Ok(command.replace('"', "\\\""))
}

/// Quotes a word for a shell, if it needs that.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_=:,%+@".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_quoted_for_the_shell_and_for_sshd() {
        for (words, written) in [
            (&["--root", "/srv/%u", "--read-only"][..], "scp-server --root /srv/%u --read-only"),
            (&["--root", "/srv/a b"], "scp-server --root '/srv/a b'"),
            (&["--root", "/srv/it's"], r"scp-server --root '/srv/it'\''s'"),
            (&["--root", "/srv/\"x\"$(id)"], r#"scp-server --root '/srv/\"x\"$(id)'"#),
            (&["--log", ""], "scp-server --log ''"),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(command(OsStr::new("scp-server"), &words).as_deref(), Ok(written));
        }
        assert!(command(OsStr::new("x"), &["a\nb".into()]).is_err());
    }
}
