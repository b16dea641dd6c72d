//! The administrator's command line: the options of ours, before the client's request.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::key::Key;
use crate::policy::{
    Audit, Bytes, Checksum, Destination, Fingerprint, Format, Metadata, Octal, Pipeline, Replacement, Root,
    Sandbox, Section, Sync, Unit,
};

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
    let mut arguments = arguments.peekable();
    match arguments.peek().and_then(|first| first.to_str()) {
        // The administrator's questions: no request begins so, and no client gets here.
        Some("authorized-key") => authorize(arguments.skip(1).collect()).map(Order::Authorize),
        Some("check") => Check::try_parse_from(arguments).map(Order::Check),
        Some("explain") => explain(arguments).map(|explain| Order::Explain(Box::new(explain))),
        _ => serve(arguments),
    }
}

fn serve(arguments: impl Iterator<Item = OsString>) -> Result<Order, clap::Error> {
    let name = OsString::from(env!("CARGO_PKG_NAME"));
    let line = Line::try_parse_from(std::iter::once(name).chain(arguments))?;
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
    match serve(words.iter().cloned())? {
        Order::Serve(options) if options.entry == Entry::Environment => {
            Ok(Authorize { options: words, keys })
        }
        _ => Err(command
            .error(ErrorKind::ArgumentConflict, "of the request only the client speaks: no -t, -f, -c")),
    }
}

fn explain(arguments: impl Iterator<Item = OsString>) -> Result<Explain, clap::Error> {
    let Asked { user, key, principal, from, line } = Asked::try_parse_from(arguments)?;
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

impl Line {
    fn into_options(self) -> Options {
        let entry = match self.command {
            Some(command) => Entry::Command(command),
            None if self.request.is_empty() => Entry::Environment,
            None => Entry::Arguments(self.request),
        };
        // What is not given is not said: the file may say it.
        let given = |flag: bool| flag.then_some(true);
        let line = Section {
            root: self.root.map(Root),
            read_only: given(self.read_only),
            write_only: given(self.write_only),
            no_overwrite: given(self.no_overwrite),
            allow_start_up_files: given(self.allow_start_up_files),
            max_file_size: self.max_file_size,
            umask: self.umask,
            atomic: self.atomic,
            commit: self.commit,
            metadata: self.metadata,
            sync: self.sync,
            pipeline: self.pipeline,
            idle_timeout: self.idle_timeout,
            stall_timeout: self.stall_timeout,
            time_limit: self.time_limit,
            sandbox: self.sandbox,
            log: self.log.map(Destination::from),
            log_format: self.log_format,
            audit: self.audit,
            checksum: self.checksum,
            ..Section::default()
        };
        Options { line, config: self.config, entry }
    }
}

const ABOUT: &str = "\
Serve the server's half of scp, inside one directory.

sshd starts it; it speaks the SCP protocol on its standard input and output, stores (-t) or sends (-f) files, and
cannot be led out of the directory given by --root. In sshd_config:

    Match Group partners
        ForceCommand /usr/bin/scp-server --root /srv/drop/%u

Clients then use any scp; OpenSSH's since version 9 with -O: scp -O file host:";

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

/// The command line as clap reads it.
#[derive(Debug, Parser)]
#[command(
    name = "scp-server",
    version,
    about = ABOUT,
    override_usage = "scp-server [OPTIONS]                       forced command: $SSH_ORIGINAL_COMMAND is served
       scp-server [OPTIONS] -c COMMAND            login shell: COMMAND is served
       scp-server [OPTIONS] -t|-f [-rpdvq] [--] PATH...
                                                  this request is served, whatever the client asks for",
    after_help = "Exit status: 0 if all was copied, 1 if anything was not. See scp-server(8)."
)]
struct Line {
    /// Read the configuration from FILE; without this from /etc/scp-server.toml, if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Confine the client to DIR; %u, %U, %h and %% stand for user, uid, home and %
    #[arg(long, value_name = "DIR")]
    root: Option<OsString>,

    /// Allow downloads only
    #[arg(long, conflicts_with = "write_only")]
    read_only: bool,

    /// Allow uploads only
    #[arg(long)]
    write_only: bool,

    /// Never put a file in the place of another
    #[arg(long)]
    no_overwrite: bool,

    /// Refuse larger files: bytes, or with K, M, G, T (powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = str::parse::<Bytes>)]
    max_file_size: Option<Bytes>,

    /// Permission bits that new files and directories do not get without -p
    #[arg(long, value_name = "OCTAL", value_parser = str::parse::<Octal>)]
    umask: Option<Octal>,

    /// Without a root: replace a file by a new one, or write into it where that keeps links and owner, or always
    #[arg(long, value_name = "WHEN", value_enum)]
    atomic: Option<Replacement>,

    /// What gets its name in one step: each file, or a directory with all that is in it, in the place of the old one
    #[arg(long, value_name = "WHAT", value_enum)]
    commit: Option<Unit>,

    /// When a mode or times cannot be set: fail, only log it, or neither; the file stays
    #[arg(long, value_name = "HOW", value_enum)]
    metadata: Option<Metadata>,

    /// Make files durable before they are acknowledged, or all of them before the exit
    #[arg(long, value_name = "WHAT", value_enum)]
    sync: Option<Sync>,

    /// Acknowledge records before they come: what is certain, nothing, or a window for clients that wait for the end
    #[arg(long, value_name = "HOW", value_enum)]
    pipeline: Option<Pipeline>,

    /// Let clients replace .ssh, .bashrc and the like where the account's home lies in the root
    #[arg(long)]
    allow_start_up_files: bool,

    /// End a session that sends no whole record for so long; 0: never [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    idle_timeout: Option<u64>,

    /// End a session whose file does not move on for so long; 0: never [default: 900]
    #[arg(long, value_name = "SECONDS")]
    stall_timeout: Option<u64>,

    /// End a session after so long, whatever it does; 0: never [default: 0]
    #[arg(long, value_name = "SECONDS")]
    time_limit: Option<u64>,

    /// Let the kernel confine the process too: all layers or no service, as far as it can, or not
    #[arg(long, value_name = "HOW", value_enum)]
    sandbox: Option<Sandbox>,

    /// Say which layers of the sandbox work here, and exit
    #[arg(long, conflicts_with_all = ["command", "request"])]
    sandbox_report: bool,

    /// Log events: syslog, journal, stderr, or a file's path
    #[arg(long, value_name = "WHERE")]
    log: Option<OsString>,

    /// How an event is written: for people, for programs, or as FTP servers write transfers
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<Format>,

    /// When the log cannot be written: go on, or serve nothing
    #[arg(long, value_name = "HOW", value_enum)]
    audit: Option<Audit>,

    /// Log a checksum of each file's contents
    #[arg(long, value_name = "WHICH", value_enum)]
    checksum: Option<Checksum>,

    /// Serve COMMAND, as a login shell is asked to
    #[arg(short = 'c', value_name = "COMMAND", conflicts_with = "request")]
    command: Option<OsString>,

    /// The request: -t or -f, other letters of scp, and paths
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    request: Vec<OsString>,
}

#[cfg(test)]
mod tests {
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
