//! The administrator's command line: the options of ours, before the client's request.

mod log;

pub use log::{Audit, Checksum, Destination, Format, Log};

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

use crate::policy::{
    Config, Leave, Manners, Metadata, Patience, Pipeline, Replacement, Rights, Sandbox, Storage, Sync, Unit,
};

/// A command line of ours, understood.
#[derive(Debug)]
pub enum Order {
    /// Say what the kernel can enforce.
    Report,
    /// Serve a request.
    Serve(Options),
}

/// How a request is to be served.
#[derive(Debug)]
pub struct Options {
    /// What the administrator says.
    pub config: Config,
    /// What is written down, and where.
    pub log: Log,
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
    let leave = |withheld| if withheld { Leave::Withheld } else { Leave::Given };
    let rights = Rights {
        fetching: leave(line.write_only),
        storing: leave(line.read_only),
        replacing: leave(line.no_overwrite),
        file_size: line.max_file_size,
        start_up_files: if line.allow_start_up_files { Leave::Given } else { Leave::Withheld },
    };
    let storage = Storage {
        umask: line.umask,
        replacement: line.atomic.into(),
        sync: line.sync.into(),
        unit: line.commit.into(),
    };
    let entry = match line.command {
        Some(command) => Entry::Command(command),
        None if line.request.is_empty() => Entry::Environment,
        None => Entry::Arguments(line.request),
    };
    let some = |seconds| (seconds > 0).then_some(seconds);
    let patience = Patience {
        idle: some(line.idle_timeout),
        stall: some(line.stall_timeout),
        total: some(line.time_limit),
    };
    let manners = Manners { pipeline: line.pipeline.into(), metadata: line.metadata.into() };
    let config = Config { root: line.root, rights, storage, sandbox: line.sandbox.into(), patience, manners };
    Ok(Order::Serve(Options { config, log: line.log, entry }))
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
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_file_size: Option<u64>,

    /// Permission bits that new files and directories do not get without -p
    #[arg(long, value_name = "OCTAL", value_parser = octal)]
    umask: Option<u32>,

    /// Without a root: replace a file by a new one, or write into it where that keeps links and owner, or always
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    atomic: Atomic,

    /// What gets its name in one step: each file, or a directory with all that is in it, in the place of the old one
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    commit: Step,

    /// When a mode or times cannot be set: fail, only log it, or neither; the file stays
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    metadata: Strictness,

    /// Make files durable before they are acknowledged, or all of them before the exit
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    sync: Durable,

    /// Acknowledge records before they come: what is certain, nothing, or a window for clients that wait for the end
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pipeline: Pace,

    /// Let clients replace .ssh, .bashrc and the like where the account's home lies in the root
    #[arg(long)]
    allow_start_up_files: bool,

    /// End a session that sends no whole record for so long; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    idle_timeout: u64,

    /// End a session whose file does not move on for so long; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    stall_timeout: u64,

    /// End a session after so long, whatever it does; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    time_limit: u64,

    /// Let the kernel confine the process too: all layers or no service, as far as it can, or not
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    sandbox: Demand,

    /// Say which layers of the sandbox work here, and exit
    #[arg(long, conflicts_with_all = ["command", "request"])]
    sandbox_report: bool,

    #[command(flatten)]
    log: Log,

    /// Serve COMMAND, as a login shell is asked to
    #[arg(short = 'c', value_name = "COMMAND", conflicts_with = "request")]
    command: Option<OsString>,

    /// The request: -t or -f, other letters of scp, and paths
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    request: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Atomic {
    #[default]
    Auto,
    Always,
    Off,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Durable {
    #[default]
    None,
    File,
    Session,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Demand {
    Off,
    Require,
    #[default]
    Try,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Pace {
    Auto,
    #[default]
    Off,
    On,
}

impl From<Pace> for Pipeline {
    fn from(pace: Pace) -> Self {
        match pace {
            Pace::Auto => Self::Auto,
            Pace::Off => Self::Off,
            Pace::On => Self::On,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Strictness {
    Ignore,
    #[default]
    Strict,
    Warn,
}

impl From<Strictness> for Metadata {
    fn from(strictness: Strictness) -> Self {
        match strictness {
            Strictness::Ignore => Self::Ignore,
            Strictness::Strict => Self::Strict,
            Strictness::Warn => Self::Warn,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Step {
    #[default]
    File,
    Tree,
}

impl From<Step> for Unit {
    fn from(step: Step) -> Self {
        match step {
            Step::File => Self::File,
            Step::Tree => Self::Tree,
        }
    }
}

impl From<Demand> for Sandbox {
    fn from(demand: Demand) -> Self {
        match demand {
            Demand::Off => Self::Off,
            Demand::Require => Self::Require,
            Demand::Try => Self::Try,
        }
    }
}

impl From<Atomic> for Replacement {
    fn from(atomic: Atomic) -> Self {
        match atomic {
            Atomic::Auto => Self::Auto,
            Atomic::Always => Self::Always,
            Atomic::Off => Self::Off,
        }
    }
}

impl From<Durable> for Sync {
    fn from(durable: Durable) -> Self {
        match durable {
            Durable::None => Self::None,
            Durable::File => Self::File,
            Durable::Session => Self::Session,
        }
    }
}

/// Reads a number of bytes: `1000`, `64K`, `1.5G` is none.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || "bytes are meant, or a number with K, M, G or T".to_owned();
    let (digits, shift) = match text.char_indices().last().ok_or_else(wrong)? {
        (end, 'k' | 'K') => (text.get(..end), 10),
        (end, 'm' | 'M') => (text.get(..end), 20),
        (end, 'g' | 'G') => (text.get(..end), 30),
        (end, 't' | 'T') => (text.get(..end), 40),
        _ => (Some(text), 0),
    };
    let digits =
        digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(wrong)?;
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1_u64 << shift).ok_or_else(wrong)
}

fn octal(text: &str) -> Result<u32, String> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let value = u32::from_str_radix(text, 8).ok().filter(|&value| digits && value <= 0o777);
    value.ok_or_else(|| "three octal digits are meant, such as 027".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_words(words: &[&str]) -> Result<Options, clap::Error> {
        match parse(words.iter().map(OsString::from))? {
            Order::Serve(options) => Ok(options),
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
            assert_eq!(options.config.root, Some("/srv/%u".into()));
        }
    }

    #[test]
    fn the_three_entries_are_told_apart() {
        assert_eq!(read("--root /x").unwrap().entry, Entry::Environment);
        assert_eq!(read("").unwrap().entry, Entry::Environment);
        assert_eq!(read("-c scp").unwrap().entry, Entry::Command("scp".into()));
        let command = read_words(&["--root", "/x", "-c", "scp -t --root=/"]).unwrap();
        assert_eq!(command.entry, Entry::Command("scp -t --root=/".into()));
        assert_eq!(command.config.root, Some("/x".into()));
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
        assert_eq!(options.config.rights.file_size, Some(2 << 30));
        assert_eq!(options.config.rights.storing, Leave::Withheld);
        assert_eq!(options.config.storage.umask, Some(0o027));
        assert_eq!(options.config.storage.sync, Sync::File);
        assert_eq!(options.config.storage.replacement, Replacement::Off);
        assert_eq!(options.log.destination, Some(Destination::Syslog));
    }
}
