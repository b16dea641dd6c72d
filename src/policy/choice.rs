//! The words and numbers that an administrator chooses with, in the file as on the command line.

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use serde::de::{DeserializeSeed, Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::when::Account;
use super::{Denied, token};
use crate::bytes;

/// Whether something is allowed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Leave {
    /// It is.
    #[default]
    Given,
    /// It is not.
    Withheld,
}

impl Leave {
    /// Takes leave away if `withheld`.
    pub fn unless(withheld: bool) -> Self {
        if withheld { Self::Withheld } else { Self::Given }
    }

    /// Gives leave if `given`.
    pub fn only_if(given: bool) -> Self {
        Self::unless(!given)
    }
}

/// How a file takes the place of another: `atomic`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Replacement {
    /// By a new file under the old name; unconfined, in the old file where that would lose something.
    #[default]
    Auto,
    /// By a new file under the old name, whatever is lost: links, owner.
    Always,
    /// In the old file, as OpenSSH does: a cut transfer leaves new head and old tail.
    Off,
}

/// What gets its name in one step: `commit`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Each file, as soon as it is whole.
    #[default]
    File,
    /// A directory with all that is in it, in the place of what was there.
    Tree,
}

/// What it means that a mode or times cannot be set: `metadata`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Metadata {
    /// Nothing.
    Ignore,
    /// The client is told, and the exit status is 1; the file stays. As OpenSSH.
    #[default]
    Strict,
    /// It is logged.
    Warn,
}

/// What is made durable before it is acknowledged: `sync`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    /// Nothing: the kernel writes when it likes.
    #[default]
    None,
    /// Each file and its name.
    File,
    /// Everything, once, before the exit status.
    Session,
}

/// Whether records are acknowledged before they come: `pipeline`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Pipeline {
    /// What a file is certain to ask for, to clients that turn out to read byte by byte.
    Auto,
    /// Nothing.
    #[default]
    Off,
    /// A window of replies: clients are known to wait for the exit status.
    On,
}

/// Whether the kernel enforces the confinement too: `sandbox`. A later one is stricter.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Not at all.
    Off,
    /// As far as this kernel can.
    #[default]
    Try,
    /// All layers, or nothing is served.
    Require,
}

/// What becomes of names that begin with a dot: `dot-files`. A later one is stricter.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DotFiles {
    /// They are names like any other.
    #[default]
    Allow,
    /// They can be neither stored nor fetched, and it is said so.
    Deny,
    /// They are not there, and cannot be stored.
    Hide,
}

/// How an event is written: `log-format`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// An object of JSON on a line.
    Json,
    /// `key=value`, for people.
    #[default]
    Line,
    /// The transfer log of wu-ftpd and ProFTPD: files only.
    Xferlog,
}

/// What it means that an event cannot be written: `audit`. A later one is stricter.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Audit {
    /// Nothing.
    #[default]
    Try,
    /// The session ends; without a log none begins.
    Require,
}

/// Which checksum of contents is logged: `checksum`. A later one says more.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// None.
    #[default]
    None,
    /// SHA-256.
    Sha256,
}

/// Where the administrator's lines go: `log`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// Appended to a file.
    File(PathBuf),
    /// To systemd's journal, with a field for each value.
    Journal,
    /// To standard error, which sshd shows to the client: for trying things out.
    Stderr,
    /// To the system's log, facility auth.
    Syslog,
}

impl From<OsString> for Destination {
    fn from(word: OsString) -> Self {
        match word.to_str() {
            Some("journal") => Self::Journal,
            Some("syslog") => Self::Syslog,
            Some("stderr") => Self::Stderr,
            _ => Self::File(word.into()),
        }
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        match Self::from(OsString::from(String::deserialize(source)?)) {
            // Relative to what would be sshd's affair, and its directory is the account's home.
            Self::File(path) if path.is_relative() => {
                Err(D::Error::custom("syslog, journal, stderr or a path that begins with / is meant"))
            }
            destination => Ok(destination),
        }
    }
}

/// The directory that confines, its tokens not yet expanded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Root(pub OsString);

impl Root {
    /// Returns the directory that is meant for an account.
    ///
    /// # Errors
    /// A token has no value that is a file name.
    pub fn place(&self, account: &Account) -> Result<PathBuf, Denied> {
        token::place(&self.0, account)
    }
}

impl Root {
    /// Takes an absolute path of plain letters from the beginning of a text.
    pub(super) fn first(text: &[u8]) -> Option<&[u8]> {
        text.get(bytes::plain(text)..).filter(|_| text.starts_with(b"/"))
    }

    /// Tells that a text is one for a root.
    pub(super) fn form(text: &[u8]) -> Result<(), &'static str> {
        // Relative to what would be sshd's affair.
        let is_absolute = matches!(text, [b'/', ..] | b"%h" | [b'%', b'h', b'/', ..]);
        if is_absolute { Ok(()) } else { Err("a path that begins with / or %h is meant") }
    }
}

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        text(source, |text| Self::form(text.as_bytes()).map(|()| Self(text.into())))
    }
}

/// A number of bytes: `1000`, `64K`.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "bytes are meant, or a number with K, M, G or T".to_owned();
        Self::read(text.as_bytes()).ok_or_else(wrong)
    }
}

impl Bytes {
    /// Takes up to eight digits and a unit from the beginning of a text.
    pub(super) fn first(text: &[u8]) -> Option<&[u8]> {
        let count =
            text.iter().position(|byte| !byte.is_ascii_digit()).filter(|count| (1..=8).contains(count))?;
        match text.get(count..)? {
            [b'K' | b'M' | b'G', rest @ ..] | rest => Some(rest),
        }
    }

    /// Reads a text; none if it does not fit.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let (digits, unit) = match text {
            [digits @ .., b'k' | b'K'] => (digits, 1_u64 << 10),
            [digits @ .., b'm' | b'M'] => (digits, 1 << 20),
            [digits @ .., b'g' | b'G'] => (digits, 1 << 30),
            [digits @ .., b't' | b'T'] => (digits, 1 << 40),
            digits => (digits, 1),
        };
        let more = |number: u64, &byte: &u8| {
            let digit = byte.is_ascii_digit().then_some(u64::from(byte & 0xf))?;
            number.checked_mul(10)?.checked_add(digit)
        };
        let digits = Some(digits).filter(|digits| !digits.is_empty())?;
        digits.iter().try_fold(0, more)?.checked_mul(unit).map(Self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(BytesVisitor)
    }
}

/// Bytes in a second, at least one: what waits for ever is no rate.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rate(pub NonZeroU64);

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let Bytes(bytes) = Bytes::deserialize(source)?;
        let rate = NonZeroU64::new(bytes).map(Self);
        rate.ok_or_else(|| D::Error::custom("a rate of 0 never ends; leave the key out for none"))
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, or a number with K, M, G or T in quotes")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Bytes, E> {
        u64::try_from(number).map(Bytes).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Bytes, E> {
        Ok(Bytes(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        text.parse().map_err(E::custom)
    }
}

/// Permission bits: `027`, in quotes in the file, where TOML would take them for a decimal number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Octal(pub u32);

impl FromStr for Octal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text.as_bytes()).ok_or_else(|| "three octal digits are meant, such as 027".to_owned())
    }
}

impl Octal {
    /// Takes three digits from the beginning of a text.
    pub(super) fn first(text: &[u8]) -> Option<&[u8]> {
        match text {
            [b'0'..=b'7', b'0'..=b'7', b'0'..=b'7', rest @ ..] => Some(rest),
            _ => None,
        }
    }

    /// Reads a text; none if it does not fit.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let more = |bits: u32, &byte: &u8| {
            let digit = matches!(byte, b'0'..=b'7').then_some(u32::from(byte & 7))?;
            Some(bits << 3 | digit).filter(|&bits| bits <= 0o777)
        };
        let digits = Some(text).filter(|digits| !digits.is_empty())?;
        digits.iter().try_fold(0, more).map(Self)
    }
}

impl<'de> Deserialize<'de> for Octal {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        // A number would have been read in the wrong base.
        parsed(source)
    }
}

/// One value, or a list of them: `user = "bob"`, `user = ["bob", "eve"]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Several<T>(pub Vec<T>);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let mut several = Vec::new();
        each(source, |text| text.parse().map(|one| several.push(one)))?;
        Ok(Self(several))
    }
}

/// Reads a value that the file has as a text, or as a list of texts.
pub(super) fn each<'de, D, F, E>(source: D, read: F) -> Result<(), D::Error>
where
    D: Deserializer<'de>,
    F: FnMut(&str) -> Result<(), E>,
    E: Display,
{
    source.deserialize_any(Each(read))
}

struct Each<F>(F);

impl<'de, F: FnMut(&str) -> Result<(), E>, E: Display> Visitor<'de> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a list of texts")
    }

    fn visit_str<C: Error>(mut self, text: &str) -> Result<(), C> {
        (self.0)(text).map_err(C::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut texts: A) -> Result<(), A::Error> {
        while let Some(()) = texts.next_element_seed(One(&mut self.0))? {}
        Ok(())
    }
}

/// Reads a value that the file has as a text, by what parses it.
pub(super) fn parsed<'de, T, D>(source: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    text(source, T::from_str)
}

/// Reads a value that the file has as a text.
pub(super) fn text<'de, D, F, T, E>(source: D, read: F) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    F: FnOnce(&str) -> Result<T, E>,
    E: Display,
{
    One(read).deserialize(source)
}

struct One<F>(F);

impl<'de, F: FnOnce(&str) -> Result<T, E>, T, E: Display> DeserializeSeed<'de> for One<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<T, D::Error> {
        source.deserialize_str(self)
    }
}

impl<F: FnOnce(&str) -> Result<T, E>, T, E: Display> Visitor<'_> for One<F> {
    type Value = T;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<C: Error>(self, text: &str) -> Result<T, C> {
        (self.0)(text).map_err(C::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_in_powers_of_two() {
        for (text, bytes) in [("0", 0), ("1000", 1000), ("64K", 65_536), ("2g", 2 << 30), ("1T", 1 << 40)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "1.5G", "-1", "+1", "99999999999T", "G", "1KB", "0x10"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn permission_bits_are_octal_and_no_more_than_nine() {
        assert_eq!("027".parse(), Ok(Octal(0o027)));
        for text in ["", "8", "01000", "+7", "u=rw"] {
            assert!(text.parse::<Octal>().is_err(), "{text}");
        }
    }
}
