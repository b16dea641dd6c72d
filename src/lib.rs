//! The server's half of scp, confined to one directory.

#![warn(missing_docs)]

pub mod attr;
pub mod name;
pub mod pattern;
pub mod request;
pub mod words;

use std::ffi::OsString;
use std::process::ExitCode;

/// Serves one request and returns the exit status: 0 or 1, never anything else.
pub fn run(_arguments: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}
