//! Public keys and certificates as SSH writes them: what identifies the one that was used.

use std::fmt;

use ssh_encoding::{Base64Reader, Decode, Encode};
use ssh_key::{Algorithm, HashAlg, PublicKey};

/// A key that the client has proved to have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    fingerprint: String,
    principals: Vec<String>,
}

impl Key {
    /// Takes a fingerprint that somebody asks about, and whom a certificate of it is for.
    pub fn with(fingerprint: String, principals: Vec<String>) -> Self {
        Self { fingerprint, principals }
    }

    /// Reads a key from its line, as in a `.pub` file: name, base64, comment.
    ///
    /// Of a certificate, it is the certified key that counts, as `ssh-keygen -l` says too.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (key, principals) = match (words.next()?, words.next()?) {
            (name, data) if is_certificate(name) => certified(name, data)?,
            _ => (PublicKey::from_openssh(line).ok()?, Vec::new()),
        };
        Some(Self { fingerprint: key.fingerprint(HashAlg::Sha256).to_string(), principals })
    }

    /// Reads the keys from what sshd says about an authentication (ExposeAuthInfo): a line for each method.
    pub fn of_authentication(text: &str) -> Vec<Self> {
        text.lines().filter_map(|line| Self::parse(line.strip_prefix("publickey ")?)).collect()
    }

    /// Returns the fingerprint as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns whom the certificate is for; a plain key is for nobody in particular.
    pub fn principals(&self) -> &[String] {
        &self.principals
    }
}

fn is_certificate(name: &str) -> bool {
    name.ends_with("-cert-v01@openssh.com")
}

/// Reads the key and the principals of a user's certificate (PROTOCOL.certkeys of OpenSSH). That it is valid, and for
/// this account, sshd has found out.
fn certified(name: &str, data: &str) -> Option<(PublicKey, Vec<String>)> {
    let algorithm = Algorithm::new_certificate(name).ok()?;
    let mut reader = Base64Reader::new(data.as_bytes()).ok()?;
    if String::decode(&mut reader).ok()? != name {
        return None;
    }
    let _nonce = Vec::<u8>::decode(&mut reader).ok()?;
    // The plain key is its name and the fields that come next.
    let mut plain = Vec::new();
    algorithm.as_str().encode(&mut plain).ok()?;
    for _ in 0..fields(&algorithm)? {
        Vec::<u8>::decode(&mut reader).ok()?.encode(&mut plain).ok()?;
    }
    let _serial = u64::decode(&mut reader).ok()?;
    if u32::decode(&mut reader).ok()? != USER {
        return None;
    }
    let _id = Vec::<u8>::decode(&mut reader).ok()?;
    let principals = Vec::<String>::decode(&mut reader).ok()?;
    Some((PublicKey::from_bytes(&plain).ok()?, principals))
}

/// SSH_CERT_TYPE_USER.
const USER: u32 = 1;

/// Returns how many strings and numbers a public key consists of.
fn fields(algorithm: &Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::Ed25519 => Some(1),
        Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } | Algorithm::SkEd25519 => Some(2),
        Algorithm::SkEcdsaSha2NistP256 => Some(3),
        Algorithm::Dsa => Some(4),
        _ => None,
    }
}

/// Why a text does not belong into authorized_keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unlisted {
    /// A certificate: it is its authority that is listed.
    Certificate,
    /// In another form: of RFC 4716, or of PuTTY's.
    Foreign,
    /// No key is in it.
    NoKey,
    /// A line that has options in front of its key.
    Optioned(usize),
    /// The half that nobody else may see.
    Private,
    /// A line that is no public key.
    Unreadable(usize),
}

impl fmt::Display for Unlisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate => f.write_str(
                "this is a certificate: list the key of its authority, with cert-authority, or the plain key",
            ),
            Self::Foreign => f.write_str("this is a key in another form: convert it with ssh-keygen -i"),
            Self::NoKey => f.write_str("there is no public key in it"),
            Self::Optioned(line) => write!(
                f,
                "line {line} has options already, which would not count or do more than is meant: leave the key alone on it"
            ),
            Self::Private => f.write_str(
                "this is a PRIVATE key, which never leaves its owner's machine: the .pub file beside it is meant",
            ),
            Self::Unreadable(line) => write!(f, "line {line} is no public key, such as ssh-ed25519 AAAA..."),
        }
    }
}

/// Reads the lines of a `.pub` file that belong into authorized_keys.
///
/// # Errors
/// One of them does not.
pub fn listed(text: &str) -> Result<Vec<String>, Unlisted> {
    if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") {
        return Err(Unlisted::Private);
    }
    if text.starts_with("---- BEGIN SSH2") {
        return Err(Unlisted::Foreign);
    }
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.split_ascii_whitespace().next().is_some_and(is_certificate) {
            return Err(Unlisted::Certificate);
        }
        if line.contains(char::is_control) {
            return Err(Unlisted::Unreadable(number));
        }
        if PublicKey::from_openssh(line).is_err() {
            return Err(if has_options(line) {
                Unlisted::Optioned(number)
            } else {
                Unlisted::Unreadable(number)
            });
        }
        keys.push(line.to_owned());
    }
    if keys.is_empty() { Err(Unlisted::NoKey) } else { Ok(keys) }
}

/// Tells whether a key is further on in a line.
pub fn has_options(line: &str) -> bool {
    let blanks = line.match_indices([' ', '\t']).filter_map(|(at, _)| line.get(at..));
    blanks.map(str::trim_start).any(|rest| PublicKey::from_openssh(rest).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `ssh-keygen -s CA -I x -n bob,deploy-web`, one valid for ever, one for a week.
    const FOR_EVER: &str = "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIN55QIjArlfSeO/I0wn/Rx8vvWpzHoQNeXT1eH6pcpjwAAAAILXPwCLxGYOCf6HcAPBoZ97B+ZuKUpRNzdchJf0HBjAtAAAAAAAAAAAAAAABAAAAAXgAAAAVAAAAA2JvYgAAAApkZXBsb3ktd2ViAAAAAAAAAAD//////////wAAAAAAAACCAAAAFXBlcm1pdC1YMTEtZm9yd2FyZGluZwAAAAAAAAAXcGVybWl0LWFnZW50LWZvcndhcmRpbmcAAAAAAAAAFnBlcm1pdC1wb3J0LWZvcndhcmRpbmcAAAAAAAAACnBlcm1pdC1wdHkAAAAAAAAADnBlcm1pdC11c2VyLXJjAAAAAAAAAAAAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIOTZXPdDsVsJLm8YyDrkmWEYrk9qWd5O0ML4+OIqqk2DAAAAUwAAAAtzc2gtZWQyNTUxOQAAAEDQFZ3ikDcwF76wHSmSXvNiknij6/7M7jM/8DemdMgZp8K++rJfO0L5xE2+BxM4DqhK1EN/B6qCnRzM4nU10YgF";
    const FOR_A_WEEK: &str = "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIJ50IgQML54dnuuVVARIr0Oh1bB0/U48JTqnpmPXQewAAAAAILXPwCLxGYOCf6HcAPBoZ97B+ZuKUpRNzdchJf0HBjAtAAAAAAAAAAAAAAABAAAAAXgAAAAVAAAAA2JvYgAAAApkZXBsb3ktd2ViAAAAAGlVuQAAAAAAaV7zgAAAAAAAAACCAAAAFXBlcm1pdC1YMTEtZm9yd2FyZGluZwAAAAAAAAAXcGVybWl0LWFnZW50LWZvcndhcmRpbmcAAAAAAAAAFnBlcm1pdC1wb3J0LWZvcndhcmRpbmcAAAAAAAAACnBlcm1pdC1wdHkAAAAAAAAADnBlcm1pdC11c2VyLXJjAAAAAAAAAAAAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIOTZXPdDsVsJLm8YyDrkmWEYrk9qWd5O0ML4+OIqqk2DAAAAUwAAAAtzc2gtZWQyNTUxOQAAAEA4JZEhP3HvChzYb1bpEfXlMiwN2rHOMnVFWzaGdilv8cRFSGYxmc7aBTDJ5ZB1Rt4P3qBGdIjTKthIP+NAyyYH";
    const PLAIN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILXPwCLxGYOCf6HcAPBoZ97B+ZuKUpRNzdchJf0HBjAt";
    const PRINT: &str = "SHA256:UReFQkejWO82VZns8gGFSKCv9LgAcigK7A6R0fL3Ze4";

    #[test]
    fn a_certificate_is_known_by_its_key_and_has_principals() {
        assert_eq!(Key::parse(PLAIN), Some(Key::with(PRINT.into(), vec![])));
        let known = Some(Key::with(PRINT.into(), vec!["bob".into(), "deploy-web".into()]));
        for line in [FOR_EVER, FOR_A_WEEK] {
            assert_eq!(Key::parse(line), known, "{line}");
        }
        // Whatever is cut off, or called otherwise, it is a key or none, and never a panic.
        for end in 0..FOR_EVER.len() {
            let _ = Key::parse(&FOR_EVER[..end]);
        }
        assert_eq!(Key::parse(&FOR_EVER.replacen("ed25519", "rsa", 1)), None);
        assert_eq!(Key::parse(&PLAIN.replacen("ed25519", "ed25519-cert-v01@openssh.com", 1)), None);
    }

    #[test]
    fn an_authentication_has_a_line_for_each_method() {
        let text = format!("password\npublickey {PLAIN}\npublickey nonsense\npublickey {FOR_EVER}\n");
        let keys = Key::of_authentication(&text);
        assert_eq!(keys.iter().map(|key| key.principals().len()).collect::<Vec<_>>(), [0, 2]);
        assert!(keys.iter().all(|key| key.fingerprint() == PRINT));
    }
}
