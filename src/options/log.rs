//! What is written down of a session, where, and what it means that it cannot be: `--log` and its kin.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

/// What the administrator wants to know afterwards.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct Log {
    /// Log events: syslog, journal, stderr, or a file's path
    #[arg(long = "log", value_name = "WHERE", value_parser = OsStringValueParser::new().map(destination))]
    pub destination: Option<Destination>,

    /// How an event is written: for people, for programs, or as FTP servers write transfers
    #[arg(long = "log-format", value_name = "FORMAT", value_enum, default_value_t)]
    pub format: Format,

    /// When the log cannot be written: go on, or serve nothing
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub audit: Audit,

    /// Log a checksum of each file's contents
    #[arg(long, value_name = "WHICH", value_enum, default_value_t)]
    pub checksum: Checksum,
}

/// Where the administrator's lines go: `--log`.
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

/// How an event is written: `--log-format`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// An object of JSON on a line.
    Json,
    /// `key=value`, for people.
    #[default]
    Line,
    /// The transfer log of wu-ftpd and ProFTPD: files only.
    Xferlog,
}

/// What it means that an event cannot be written: `--audit`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Audit {
    /// The session ends; without a log none begins.
    Require,
    /// Nothing.
    #[default]
    Try,
}

/// Which checksum of contents is logged: `--checksum`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Checksum {
    /// None.
    #[default]
    None,
    /// SHA-256.
    Sha256,
}

fn destination(word: OsString) -> Destination {
    match word.as_bytes() {
        b"journal" => Destination::Journal,
        b"stderr" => Destination::Stderr,
        b"syslog" => Destination::Syslog,
        _ => Destination::File(word.into()),
    }
}
