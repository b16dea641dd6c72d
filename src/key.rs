//! Public keys and certificates as SSH writes them: what identifies the one that was used.

use ssh_key::{Certificate, HashAlg, PublicKey};

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
        if let Ok(certificate) = Certificate::from_openssh(line) {
            let fingerprint = certificate.public_key().fingerprint(HashAlg::Sha256).to_string();
            return Some(Self { fingerprint, principals: certificate.valid_principals().to_vec() });
        }
        let key = PublicKey::from_openssh(line).ok()?;
        Some(Self { fingerprint: key.fingerprint(HashAlg::Sha256).to_string(), principals: Vec::new() })
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
