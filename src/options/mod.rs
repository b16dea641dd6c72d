//! The administrator's command line: the options of ours, before the client's request.

mod line;
mod plain;

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::key::Key;
use crate::policy::{Fingerprint, Section};

use line::Line;

/// A command line of ours, understood.
#[derive(Debug)]
pub enum Order {
    /// Write lines for authorized_keys.
    Authorize(Authorize),
    /// Look for what is wrong in the configuration file.
    Check(Check),
    /// Say what would become of a request.
    Explain(Box<Explain>),
    /// Say what the kernel can enforce.
    Report,
    /// Serve a request.
    Serve(Box<Options>),
}

/// How a request is to be served.
#[derive(Debug)]
pub struct Options {
    /// What the command line says; the configuration file may say more.
    pub line: Section,
    /// The configuration file that is named.
    pub config: Option<PathBuf>,
    /// Where the request is.
    pub entry: Entry,
}

/// `authorized-key`: which keys, and what they are for.
#[derive(Debug)]
pub struct Authorize {
    /// The options of the forced command, as they are written.
    pub options: Vec<OsString>,
    /// The `.pub` file; `-` for standard input.
    pub keys: PathBuf,
}

/// `check`: which file.
#[derive(Debug, Parser)]
#[command(name = "scp-server check", about = CHECK)]
pub struct Check {
    /// The configuration file [default: /etc/scp-server.toml]
    pub file: Option<PathBuf>,
    /// Have sshd read its settings from FILE
    #[arg(long, value_name = "FILE")]
    pub sshd_config: Option<PathBuf>,
    /// Look at this account too, which the file does not name
    #[arg(long, value_name = "NAME")]
    pub user: Vec<String>,
}

/// `explain`: who asks, and for what.
#[derive(Debug)]
pub struct Explain {
    /// The account's name.
    pub user: String,
    /// The key that it comes with.
    pub key: Option<Key>,
    /// Where from.
    pub from: Option<IpAddr>,
    /// How a session would be started, its request included.
    pub options: Options,
}

/// Where the client's request is to be found. An option of ours is never taken from there.
#[derive(Debug, Eq, PartialEq)]
pub enum Entry {
    /// Behind our options, as words of their own: the administrator has pinned it.
    Arguments(Vec<OsString>),
    /// In one word, because we are the login shell: `-c COMMAND`.
    Command(OsString),
    /// In SSH_ORIGINAL_COMMAND, because we are the forced command.
    Environment,
}

/// Reads the command line, the program's own name left out.
///
/// # Errors
/// It is wrong, or asks for help: clap knows what to print, and where.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Order, clap::Error> {
    let words: Vec<OsString> = arguments.collect();
    match words.first().and_then(|first| first.to_str()) {
        // The administrator's questions: no request begins so, and no client gets here.
        Some("authorized-key") => authorize(words.into_iter().skip(1).collect()).map(Order::Authorize),
        Some("check") => Check::try_parse_from(words).map(Order::Check),
        Some("explain") => explain(&words).map(|explain| Order::Explain(Box::new(explain))),
        _ => serve(&words),
    }
}

fn serve(words: &[OsString]) -> Result<Order, clap::Error> {
    if let Some(line) = plain::read(words) {
        return Ok(Order::Serve(Box::new(line.into_options())));
    }
    let name = OsString::from(env!("CARGO_PKG_NAME"));
    let line = Line::try_parse_from(std::iter::once(&name).chain(words))?;
    // clap takes a mistyped option for the request's first word; the request has no long options.
    if let Some(first) =
        line.request.first().filter(|word| word.len() > 2 && word.as_bytes().starts_with(b"--"))
    {
        let text = format!("unexpected argument '{}' found", first.as_bytes().escape_ascii());
        return Err(Line::command().error(ErrorKind::UnknownArgument, text));
    }
    if line.sandbox_report {
        return Ok(Order::Report);
    }
    Ok(Order::Serve(Box::new(line.into_options())))
}

/// Takes the options of a forced command, and behind them a file.
fn authorize(mut words: Vec<OsString>) -> Result<Authorize, clap::Error> {
    let mut command = clap::Command::new("scp-server authorized-key")
        .about(AUTHORIZED_KEY)
        .override_usage("scp-server authorized-key [OPTIONS OF A FORCED COMMAND] KEYFILE");
    if words.iter().any(|word| word == "--help" || word == "-h") {
        // The options themselves are those of `scp-server --help`.
        command.try_get_matches_from_mut(["", "--help"])?;
    }
    let last = words.pop().filter(|word| word == "-" || !word.as_bytes().starts_with(b"-"));
    let Some(keys) = last.map(PathBuf::from) else {
        return Err(
            command.error(ErrorKind::MissingRequiredArgument, "a file with a public key is meant, or -")
        );
    };
    match serve(&words)? {
        Order::Serve(options) if options.entry == Entry::Environment => {
            Ok(Authorize { options: words, keys })
        }
        _ => Err(command
            .error(ErrorKind::ArgumentConflict, "of the request only the client speaks: no -t, -f, -c")),
    }
}

fn explain(words: &[OsString]) -> Result<Explain, clap::Error> {
    let Asked { user, key, principal, from, line } = Asked::try_parse_from(words)?;
    let key = key.map(|print| Key::with(print.to_string(), principal));
    let mut options = line.into_options();
    options.entry = match options.entry {
        // Between quotes, as a client sends it.
        Entry::Arguments(words) if words.first().is_some_and(|word| !word.as_bytes().starts_with(b"-")) => {
            let [command] = words.as_slice() else {
                let text = "the request is one word: put it between quotes";
                return Err(Asked::command().error(ErrorKind::TooManyValues, text));
            };
            Entry::Command(command.clone())
        }
        Entry::Environment => {
            let text = "a request is meant, such as 'scp -t x'";
            return Err(Asked::command().error(ErrorKind::MissingRequiredArgument, text));
        }
        entry => entry,
    };
    Ok(Explain { user, key, from, options })
}

const AUTHORIZED_KEY: &str = "\
Write the lines for authorized_keys that let the keys in KEYFILE, which ssh-keygen wrote, start scp-server with these
options, and nothing else";

const CHECK: &str = "\
Look for what is wrong in the configuration file and around it, and say how to mend it. Exit status 1 if there is an error";

const EXPLAIN: &str = "\
Say what would become of a request: whether it is allowed, by which sections of the file, where its path leads, with
which modes and limits. Nothing is served, nothing is changed. Exit status 1 if it is not allowed";

/// `explain`, as clap reads it.
#[derive(Debug, Parser)]
#[command(
    name = "scp-server explain",
    about = EXPLAIN,
    override_usage = "scp-server explain --user NAME [OPTIONS] 'scp -t PATH'"
)]
struct Asked {
    /// The account
    #[arg(long, value_name = "NAME")]
    user: String,

    /// The key that it comes with, as ssh-keygen -l prints it
    #[arg(long, value_name = "SHA256:...")]
    key: Option<Fingerprint>,

    /// A principal of the certificate that it comes with
    #[arg(long, value_name = "NAME", requires = "key")]
    principal: Vec<String>,

    /// The address that it comes from
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,

    #[command(flatten)]
    line: Line,
}

#[cfg(test)]
mod tests {
    use crate::policy::{Bytes, Destination, Octal, Replacement, Root, Sync};

    use super::*;

    fn read_words(words: &[&str]) -> Result<Options, clap::Error> {
        match parse(words.iter().map(OsString::from))? {
            Order::Serve(options) => Ok(*options),
            order => panic!("{order:?}"),
        }
    }

    fn read(line: &str) -> Result<Options, clap::Error> {
        read_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_request_begins_at_the_first_letter_of_scp_and_is_left_alone() {
        for request in ["-t x", "-r -t -- -x", "-f --root /etc", "-t -- --", "-vrpt --log", "-f -", "-t -c x"]
        {
            let options = read(&format!("--root /srv/%u --no-overwrite {request}")).unwrap();
            assert_eq!(options.entry, Entry::Arguments(words(request)), "{request}");
            assert_eq!(options.line.root, Some(Root("/srv/%u".into())));
        }
    }

    #[test]
    fn the_three_entries_are_told_apart() {
        assert_eq!(read("--root /x").unwrap().entry, Entry::Environment);
        assert_eq!(read("").unwrap().entry, Entry::Environment);
        assert_eq!(read("-c scp").unwrap().entry, Entry::Command("scp".into()));
        let command = read_words(&["--root", "/x", "-c", "scp -t --root=/"]).unwrap();
        assert_eq!(command.entry, Entry::Command("scp -t --root=/".into()));
        assert_eq!(command.line.root, Some(Root("/x".into())));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for line in [
            "--roof /x",
            "--root",
            "--max-file-size 1.5G",
            "--max-file-size -1",
            "--max-file-size 99999999999T",
            "--max-file-size G",
            "--umask 8",
            "--umask 01000",
            "--umask +7",
            "--atomic maybe",
            "--read-only --write-only",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn sizes_and_umasks_are_read_in_their_own_base() {
        let options =
            read("--max-file-size 2G --umask 027 --read-only --sync file --atomic off --log syslog").unwrap();
        assert_eq!(options.line.max_file_size, Some(Bytes(2 << 30)));
        assert_eq!(options.line.read_only, Some(true));
        assert_eq!(options.line.write_only, None);
        assert_eq!(options.line.umask, Some(Octal(0o027)));
        assert_eq!(options.line.sync, Some(Sync::File));
        assert_eq!(options.line.atomic, Some(Replacement::Off));
        assert_eq!(options.line.log, Some(Destination::Syslog));
    }
}
