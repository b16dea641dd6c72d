//! The administrator's command line: the options of ours, before the client's request.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::policy::{
    Audit, Bytes, Checksum, Destination, Format, Metadata, Octal, Pipeline, Replacement, Root, Sandbox,
    Section, Sync, Unit,
};

/// A command line of ours, understood.
#[derive(Debug)]
pub enum Order {
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
    let entry = match line.command {
        Some(command) => Entry::Command(command),
        None if line.request.is_empty() => Entry::Environment,
        None => Entry::Arguments(line.request),
    };
    // What is not given is not said: the file may say it.
    let given = |flag: bool| flag.then_some(true);
    let section = Section {
        root: line.root.map(Root),
        read_only: given(line.read_only),
        write_only: given(line.write_only),
        no_overwrite: given(line.no_overwrite),
        allow_start_up_files: given(line.allow_start_up_files),
        max_file_size: line.max_file_size,
        umask: line.umask,
        atomic: line.atomic,
        commit: line.commit,
        metadata: line.metadata,
        sync: line.sync,
        pipeline: line.pipeline,
        idle_timeout: line.idle_timeout,
        stall_timeout: line.stall_timeout,
        time_limit: line.time_limit,
        sandbox: line.sandbox,
        log: line.log.map(Destination::from),
        log_format: line.log_format,
        audit: line.audit,
        checksum: line.checksum,
        ..Section::default()
    };
    Ok(Order::Serve(Box::new(Options { line: section, config: line.config, entry })))
}

const ABOUT: &str = "\
Serve the server's half of scp, inside one directory.

sshd starts it; it speaks the SCP protocol on its standard input and output, stores (-t) or sends (-f) files, and
cannot be led out of the directory given by --root. In sshd_config:

    Match Group partners
        ForceCommand /usr/bin/scp-server --root /srv/drop/%u

Clients then use any scp; OpenSSH's since version 9 with -O: scp -O file host:";

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
            Order::Report => panic!("a report is asked for"),
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
