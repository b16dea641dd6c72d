//! What happened, one line per event: for the administrator's log, and for the screen of a client that asked (`-v`).

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::panic::PanicHookInfo;
use std::path::Path;

use env_logger::{Builder, Logger, Target, WriteStyle};
use log::{LevelFilter, Log, Metadata, Record as LogRecord};
use syslog::{BasicLogger, Facility, Formatter3164, LoggerBackend};

use crate::abort::Abort;
use crate::jail::Arrival;
use crate::name::FileName;
use crate::policy::Destination;
use crate::refusal::{Cause, Refusal, Tally, Trail};
use crate::request::Chatter;
use crate::sandbox::Missing;
use crate::wire::{self, escape};

/// Bytes of a name in a line; a longer one is cut, so that one event stays one datagram.
const NAME: usize = 1024;

/// The target of lines that are for the client's screen.
const SCREEN: &str = "screen";

/// Something worth a line in the log.
pub enum Event<'a> {
    /// The session ended before its time.
    Aborted(&'a Abort),
    /// The session began, by this request.
    Began {
        /// What the client asked for, as it wrote it.
        request: &'a [u8],
    },
    /// The client said that it could not read or write something.
    Complained(&'a [u8]),
    /// The account's home lies in the root.
    HomeInside,
    /// The session ended, all records answered.
    Ended(&'a Tally),
    /// We have a defect: a panic.
    Defect(&'a PanicHookInfo<'a>),
    /// A directory was made, or gone into.
    Entered(&'a Trail, Arrival),
    /// An entry was refused.
    Refused(&'a Refusal),
    /// The name was taken, and it got another.
    Renamed {
        /// What the client wanted it to be.
        what: &'a Trail,
        /// What it is called.
        name: &'a FileName,
    },
    /// The request was refused before a session began.
    Rejected(&'a dyn fmt::Display),
    /// A file was sent, whole.
    Sent {
        /// Which.
        what: &'a Trail,
        /// Bytes of contents.
        bytes: u64,
    },
    /// An entry was stored without its mode or its times.
    Unset(&'a Refusal),
    /// The kernel does not enforce a layer of the sandbox.
    Unprotected(&'a Missing),
    /// A file was stored, whole, and has its name.
    Stored {
        /// Which.
        what: &'a Trail,
        /// Bytes of contents.
        bytes: u64,
        /// Whether it took the place of another.
        replaced: bool,
    },
}

/// Writes an event to the administrator's log, if there is one.
pub fn record(event: &Event<'_>) {
    match event {
        Event::Defect(_) => log::error!("{event}"),
        Event::Aborted(_)
        | Event::Refused(_)
        | Event::Rejected(_)
        | Event::Unprotected(_)
        | Event::HomeInside => {
            log::warn!("{event}")
        }
        _ => log::info!("{event}"),
    }
}

/// Shows a record on the screen of a client that gave `-v`, in the words of OpenSSH's scp.
pub fn show_client(chatter: Chatter, what: &str, record: &wire::Record) {
    if chatter == Chatter::Verbose {
        let line = record.write();
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        log::debug!(target: SCREEN, "{what}: {}", escape(line));
    }
}

/// Tells the client, on its screen, what could not be told on the wire any more.
pub fn tell_screen(refusal: &Refusal, more: usize) {
    let Refusal { what, why } = refusal;
    let rest = if more > 0 { format!(" (and {more} more errors)") } else { String::new() };
    // The exit status says it too.
    let _ = writeln!(io::stderr(), "scp: {}: {why}{rest}", escape(what));
}

/// Sets the log up: nothing is written anywhere unless the administrator or the client asked for it.
///
/// `who` begins each of the administrator's lines. A log that cannot be opened stops no transfer.
pub fn open(destination: Option<&Destination>, chatter: Chatter, who: String) {
    let administrator = destination.and_then(|destination| open_log(destination, who).ok());
    let screen = match chatter {
        Chatter::Quiet => None,
        Chatter::Verbose => Some(plain_lines(Target::Stderr)),
    };
    let level = match (&screen, &administrator) {
        (Some(_), _) => LevelFilter::Debug,
        (None, Some(_)) => LevelFilter::Info,
        (None, None) => LevelFilter::Off,
    };
    // A second call finds the first one's logger: there is one session in a process, but several in a test.
    if log::set_boxed_logger(Box::new(Desk { administrator, screen })).is_ok() {
        log::set_max_level(level);
    }
}

/// Sorts lines by reader.
struct Desk {
    administrator: Option<Box<dyn Log>>,
    screen: Option<Logger>,
}

impl Log for Desk {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &LogRecord<'_>) {
        match (record.target(), &self.administrator, &self.screen) {
            (SCREEN, _, Some(screen)) => screen.log(record),
            (SCREEN, _, None) | (_, None, _) => {}
            (_, Some(administrator), _) => administrator.log(record),
        }
    }

    fn flush(&self) {}
}

fn open_log(destination: &Destination, who: String) -> io::Result<Box<dyn Log>> {
    match destination {
        Destination::File(path) => Ok(Box::new(dated_lines(Target::Pipe(Box::new(append_to(path)?)), who))),
        Destination::Stderr => Ok(Box::new(dated_lines(Target::Stderr, who))),
        Destination::Syslog => Ok(Box::new(Prefixed { log: BasicLogger::new(syslog()?), who })),
    }
}

#[expect(clippy::disallowed_methods, reason = "the administrator's path, not the client's")]
fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Connects to the system's log. Never waits for it: a line that it has no room for is lost, not the transfer.
fn syslog() -> io::Result<syslog::Logger<LoggerBackend, Formatter3164>> {
    let socket = UnixDatagram::unbound()?;
    socket.connect("/dev/log")?;
    socket.set_nonblocking(true)?;
    let formatter = Formatter3164 {
        facility: Facility::LOG_AUTH,
        hostname: None,
        process: env!("CARGO_PKG_NAME").into(),
        pid: std::process::id(),
    };
    Ok(syslog::Logger::new(LoggerBackend::Unix(socket), formatter))
}

fn plain_lines(target: Target) -> Logger {
    builder(target).format(|line, record| writeln!(line, "{}", record.args())).build()
}

fn dated_lines(target: Target, who: String) -> Logger {
    let pid = std::process::id();
    let program = env!("CARGO_PKG_NAME");
    let mut builder = builder(target);
    builder.format(move |line, record| {
        let now = line.timestamp_seconds();
        writeln!(line, "{now} {program}[{pid}]: {who} {}", record.args())
    });
    builder.build()
}

/// Reads no environment variable (RUST_LOG would be the client's to set) and asks no terminal for its colours.
fn builder(target: Target) -> Builder {
    let mut builder = Builder::new();
    builder.filter_level(LevelFilter::Debug).write_style(WriteStyle::Never).target(target);
    builder
}

/// Puts who the session is for in front of each line.
struct Prefixed {
    log: BasicLogger,
    who: String,
}

impl Log for Prefixed {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &LogRecord<'_>) {
        let Self { log, who } = self;
        log.log(
            &LogRecord::builder().level(record.level()).args(format_args!("{who} {}", record.args())).build(),
        );
    }

    fn flush(&self) {}
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted(abort) => write!(f, "event=abort reason={}", quoted(abort.to_string().as_bytes())),
            Self::Began { request } => write!(f, "event=begin request={}", quoted(request)),
            Self::Complained(text) => write!(f, "event=complaint text={}", quoted(text)),
            Self::HomeInside => {
                f.write_str("event=config warning=\"the root holds the home of the account\"")
            }
            Self::Ended(Tally { copied, refused }) => {
                write!(f, "event=end copied={copied} refused={refused}")
            }
            Self::Defect(defect) => write!(f, "event=defect text={}", quoted(defect.to_string().as_bytes())),
            Self::Entered(what, Arrival::Made) => write!(f, "event=mkdir path={}", quoted(what.as_bytes())),
            Self::Entered(what, Arrival::Found) => write!(f, "event=enter path={}", quoted(what.as_bytes())),
            Self::Refused(Refusal { what, why: Cause::Outside(errno) }) => {
                write!(f, "event=security path={} reason=\"outside the root ({errno:?})\"", quoted(what))
            }
            Self::Refused(Refusal { what, why: Cause::Hidden }) => {
                write!(f, "event=refuse path={} reason=\"hidden by a rule\"", quoted(what))
            }
            Self::Refused(Refusal { what, why }) => {
                write!(f, "event=refuse path={} reason={}", quoted(what), quoted(why.to_string().as_bytes()))
            }
            Self::Renamed { what, name } => {
                write!(f, "event=rename path={} name={}", quoted(what.as_bytes()), quoted(name.as_bytes()))
            }
            Self::Rejected(why) => write!(f, "event=reject reason={}", quoted(why.to_string().as_bytes())),
            Self::Unset(Refusal { what, why }) => {
                write!(
                    f,
                    "event=metadata path={} reason={}",
                    quoted(what),
                    quoted(why.to_string().as_bytes())
                )
            }
            Self::Unprotected(Missing { layer, why }) => {
                write!(f, "event=sandbox layer={layer} state=missing reason={}", quoted(why.as_bytes()))
            }
            Self::Sent { what, bytes } => {
                write!(f, "event=send path={} bytes={bytes}", quoted(what.as_bytes()))
            }
            Self::Stored { what, bytes, replaced } => {
                let replaced = if *replaced { "yes" } else { "no" };
                write!(f, "event=store path={} bytes={bytes} replaced={replaced}", quoted(what.as_bytes()))
            }
        }
    }
}

/// Puts a value in quotes so that it is one value, on one line, and can only be read.
pub fn quoted(bytes: &[u8]) -> String {
    let kept = bytes.get(..NAME).unwrap_or(bytes);
    let cut = if kept.len() < bytes.len() { "..." } else { "" };
    format!("\"{}{cut}\"", escape(kept).replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ClientPath;
    use nix::errno::Errno;

    // covers: security LOG-01, security LOG-02, security LOG-05
    #[test]
    fn an_event_is_one_line_whatever_the_client_wrote() {
        let name = b"x\nNov 25 sshd: Accepted\r\x1b]0;t\x07\xc2\x9b\xe2\x80\xae \"q\" \\ \xff";
        let line =
            Event::Stored { what: &Trail::from_path(&ClientPath::new(&name[..])), bytes: 3, replaced: true };
        assert_eq!(
            line.to_string(),
            r#"event=store path="x\nNov 25 sshd: Accepted\r\x1b]0;t\x07\u{9b}\u{202e} \"q\" \\ \xff" bytes=3 replaced=yes"#
        );
        let long = vec![b'a'; 4096];
        assert!(Event::Complained(&long).to_string().len() < 1100);

        let outside = Refusal { what: b"../x".to_vec(), why: Cause::Outside(Errno::EXDEV) };
        let line = Event::Refused(&outside).to_string();
        assert_eq!(line, r#"event=security path="../x" reason="outside the root (EXDEV)""#);
    }
}
