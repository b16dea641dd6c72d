//! The options of ours, one by one, as clap reads them and says what they are.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

use super::{Entry, Options};
use crate::policy::{
    Audit, Bytes, Checksum, Destination, Format, Metadata, Octal, Pipeline, Replacement, Root, Sandbox,
    Section, Sync, Unit,
};

/// The command line as clap reads it.
#[derive(Debug, Default, Eq, PartialEq, Parser)]
#[command(
    name = "scp-server",
    version,
    about = ABOUT,
    override_usage = "scp-server [OPTIONS]                       forced command: $SSH_ORIGINAL_COMMAND is served
       scp-server [OPTIONS] -c COMMAND            login shell: COMMAND is served
       scp-server [OPTIONS] -t|-f [-rpdvq] [--] PATH...
                                                  this request is served, whatever the client asks for
       scp-server check|explain|authorized-key    questions before the fact; each has --help",
    after_help = "Exit status: 0 if all was copied, 1 if anything was not. See scp-server(8)."
)]
pub(super) struct Line {
    /// Read the configuration from FILE; without this from /etc/scp-server.toml, if it is there
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Confine the client to DIR; %u, %U, %h and %% stand for user, uid, home and %
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<OsString>,

    /// Allow downloads only
    #[arg(long, conflicts_with = "write_only")]
    pub(super) read_only: bool,

    /// Allow uploads only
    #[arg(long)]
    pub(super) write_only: bool,

    /// Never put a file in the place of another
    #[arg(long)]
    pub(super) no_overwrite: bool,

    /// Refuse larger files: bytes, or with K, M, G, T (powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = str::parse::<Bytes>)]
    pub(super) max_file_size: Option<Bytes>,

    /// Permission bits that new files and directories do not get without -p
    #[arg(long, value_name = "OCTAL", value_parser = str::parse::<Octal>)]
    pub(super) umask: Option<Octal>,

    /// Without a root: replace a file by a new one, or write into it where that keeps links and owner, or always
    #[arg(long, value_name = "WHEN", value_enum)]
    pub(super) atomic: Option<Replacement>,

    /// What gets its name in one step: each file, or a directory with all that is in it, in the place of the old one
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(super) commit: Option<Unit>,

    /// When a mode or times cannot be set: fail, only log it, or neither; the file stays
    #[arg(long, value_name = "HOW", value_enum)]
    pub(super) metadata: Option<Metadata>,

    /// Make files durable before they are acknowledged, or all of them before the exit
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(super) sync: Option<Sync>,

    /// Acknowledge records before they come: what is certain, nothing, or a window for clients that wait for the end
    #[arg(long, value_name = "HOW", value_enum)]
    pub(super) pipeline: Option<Pipeline>,

    /// Let clients replace .ssh, .bashrc and the like where the account's home lies in the root
    #[arg(long)]
    pub(super) allow_start_up_files: bool,

    /// End a session that sends no whole record for so long; 0: never [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    pub(super) idle_timeout: Option<u64>,

    /// End a session whose file does not move on for so long; 0: never [default: 900]
    #[arg(long, value_name = "SECONDS")]
    pub(super) stall_timeout: Option<u64>,

    /// End a session after so long, whatever it does; 0: never [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(super) time_limit: Option<u64>,

    /// Let the kernel confine the process too: all layers or no service, as far as it can, or not
    #[arg(long, value_name = "HOW", value_enum)]
    pub(super) sandbox: Option<Sandbox>,

    /// Say which layers of the sandbox work here, and exit
    #[arg(long, conflicts_with_all = ["command", "request"])]
    pub(super) sandbox_report: bool,

    /// Log events: syslog, journal, stderr, or a file's path
    #[arg(long, value_name = "WHERE")]
    pub(super) log: Option<OsString>,

    /// How an event is written: for people, for programs, or as FTP servers write transfers
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(super) log_format: Option<Format>,

    /// When the log cannot be written: go on, or serve nothing
    #[arg(long, value_name = "HOW", value_enum)]
    pub(super) audit: Option<Audit>,

    /// Log a checksum of each file's contents
    #[arg(long, value_name = "WHICH", value_enum)]
    pub(super) checksum: Option<Checksum>,

    /// Serve COMMAND, as a login shell is asked to
    #[arg(short = 'c', value_name = "COMMAND", conflicts_with = "request")]
    pub(super) command: Option<OsString>,

    /// The request: -t or -f, other letters of scp, and paths
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub(super) request: Vec<OsString>,
}

impl Line {
    /// Says the same in the words of the file.
    pub(super) fn into_options(self) -> Options {
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
