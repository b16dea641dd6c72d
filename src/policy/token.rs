//! Tokens in places of the administrator's: `%u`, `%h` and the like.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use jiff::Timestamp;

use super::Denied;
use super::when::Account;
use crate::key::Key;
use crate::name::FileName;
use crate::zones;

/// Replaces `%u`, `%U`, `%h` and `%%`, as sshd does in ChrootDirectory.
///
/// A user name with a slash or `..` would choose another directory (CVE-2026-30915, CVE-2023-42456): it has to be a
/// file name.
pub(super) fn place(text: &OsStr, account: &Account) -> Result<PathBuf, Denied> {
    expand(text.as_bytes(), |token| match token {
        b'h' => {
            let home = account.home.as_deref().map(OsStr::as_bytes).filter(|home| home.starts_with(b"/"));
            home.map(<[u8]>::to_vec).ok_or(Denied::Root("%h"))
        }
        token => common(token, account),
    })
}

/// Replaces the tokens of a drop box: `%u` and `%U`, `%a` (the client's address), `%k` (its key) and `%d` (the day).
pub(super) fn box_directory(text: &str, account: &Account, now: Timestamp) -> Result<PathBuf, Denied> {
    expand(text.as_bytes(), |token| match token {
        // As a name: no colons, which some file systems do not take.
        b'a' => match account.address {
            Some(address) => Ok(address.to_canonical().to_string().replace(':', "_").into_bytes()),
            None => Err(Denied::Root("%a")),
        },
        b'd' => Ok(now.to_zoned_datetime(zones::local()).date().to_string().into_bytes()),
        b'k' => {
            let print = account.keys.first().map(Key::fingerprint).ok_or(Denied::Root("%k"))?;
            // As base64 for URLs and file names (RFC 4648, section 5).
            let digest = print.trim_start_matches("SHA256:");
            Ok(digest.replace('+', "-").replace('/', "_").into_bytes())
        }
        token => common(token, account),
    })
}

fn common(token: u8, account: &Account) -> Result<Vec<u8>, Denied> {
    match token {
        b'%' => Ok(b"%".to_vec()),
        b'U' => Ok(account.uid.to_string().into_bytes()),
        b'u' => {
            let name = account.name.as_deref().and_then(|name| FileName::new(name.as_bytes()));
            name.map(|name| name.as_bytes().to_vec()).ok_or(Denied::Root("%u"))
        }
        other => Err(Denied::UnknownToken(other)),
    }
}

fn expand(text: &[u8], value: impl Fn(u8) -> Result<Vec<u8>, Denied>) -> Result<PathBuf, Denied> {
    let mut path = Vec::new();
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' {
            path.extend(value(bytes.next().copied().unwrap_or_default())?);
        } else {
            path.push(byte);
        }
    }
    Ok(OsString::from_vec(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: Option<&str>) -> Account {
        Account {
            uid: 1000,
            name: name.map(OsString::from),
            home: Some("/home/bob".into()),
            ..Account::default()
        }
    }

    #[test]
    fn tokens_of_the_root_are_those_of_chroot_directory() {
        for (root, path) in [
            ("/srv/%u", "/srv/bob"),
            ("/srv/%U/x", "/srv/1000/x"),
            ("%h/drop", "/home/bob/drop"),
            ("/srv/100%%", "/srv/100%"),
            ("/srv/%%u", "/srv/%u"),
        ] {
            assert_eq!(place(OsStr::new(root), &account(Some("bob"))), Ok(PathBuf::from(path)), "{root}");
        }
        let unknown = |byte| Err(Denied::UnknownToken(byte));
        assert_eq!(place(OsStr::new("/srv/%x"), &account(None)), unknown(b'x'));
        assert_eq!(place(OsStr::new("/srv/%"), &account(None)), unknown(0));
    }

    // covers: security ENV-03, security ENV-09
    #[test]
    fn a_user_name_that_is_no_file_name_chooses_no_directory() {
        for name in [None, Some(""), Some(".."), Some("../../x"), Some("a/b")] {
            assert_eq!(place(OsStr::new("/srv/%u"), &account(name)), Err(Denied::Root("%u")), "{name:?}");
        }
    }

    #[test]
    fn a_box_is_named_after_the_sender_and_the_day() {
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        let bob = Account {
            address: "2001:db8::7".parse().ok(),
            keys: vec![Key::with("SHA256:a+b/c".into(), Vec::new())],
            ..account(Some("bob"))
        };
        assert_eq!(box_directory("%u/%a/%k/x", &bob, now), Ok("bob/2001_db8__7/a-b_c/x".into()));
        assert_eq!(box_directory("%d", &bob, now), Ok("2026-11-25".into()));
        for (token, name) in [("%a", "%a"), ("%k", "%k")] {
            assert_eq!(box_directory(token, &account(None), now), Err(Denied::Root(name)));
        }
    }
}
