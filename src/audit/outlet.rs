//! Where lines go: one write for each, on a descriptor that was opened before the sandbox was on.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{AccessFlags, faccessat, write};

use super::format::Message;
use crate::policy::{Audit, Destination, Format};
use crate::refusal::errno;

/// The system's log's number for what is about access: LOG_AUTH.
pub(super) const FACILITY: u8 = 4;

/// How long a log that is required may take to make room: a busy daemon is not a dead one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that a pipe takes whole or not at all: PIPE_BUF.
const PIPE: usize = 4096;

/// Bytes of a datagram that every syslog daemon of today takes: rsyslog's limit, less what it puts in front.
const SYSLOG: usize = 8000;

/// Bytes of an entry that a socket takes without its buffer being made larger.
const JOURNAL: usize = 64 * 1024;

/// Whatever the path leads to is not waited for, and does not become our terminal.
const ASIDE: OFlag = OFlag::O_NONBLOCK.union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// An open log.
#[derive(Debug)]
pub(super) struct Outlet {
    fd: OwnedFd,
    kind: Kind,
    patience: Duration,
    /// Whether the last line has no end, because the disk was full in the middle of it.
    torn: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    File,
    Journal,
    Pipe,
    Syslog,
}

impl Outlet {
    pub(super) fn open(destination: &Destination, audit: Audit) -> Result<Self, Errno> {
        let (fd, kind) = match destination {
            Destination::File(path) => open_file(path)?,
            Destination::Journal => (connect("/run/systemd/journal/socket")?, Kind::Journal),
            // Not told to be impatient: others write to what stands behind it, too. See `wait`.
            Destination::Stderr => {
                let own = std::io::stderr().as_fd().try_clone_to_owned();
                (own.map_err(|error| errno(&error))?, Kind::Pipe)
            }
            Destination::Syslog => (connect("/dev/log")?, Kind::Syslog),
        };
        let torn = match destination {
            Destination::File(path) => kind == Kind::File && lacks_an_end(path),
            Destination::Journal | Destination::Stderr | Destination::Syslog => false,
        };
        let patience = if audit == Audit::Require { PATIENCE } else { Duration::ZERO };
        Ok(Self { fd, kind, patience, torn })
    }

    /// Finds out whether a place could be opened, and makes nothing there.
    pub(super) fn foresee(destination: &Destination) -> Result<(), Errno> {
        let Destination::File(path) = destination else {
            return Self::open(destination, Audit::Try).map(drop);
        };
        match open(path, OFlag::O_WRONLY | OFlag::O_APPEND | ASIDE, Mode::empty()) {
            Err(Errno::ENOENT) => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                let needed = AccessFlags::W_OK | AccessFlags::X_OK;
                faccessat(AT_FDCWD, parent, needed, AtFlags::AT_EACCESS)
            }
            opened => opened.map(drop),
        }
    }

    /// Puts around a line what belongs around it here.
    pub(super) fn wrap(&self, message: &Message<'_>, text: &str, format: Format, limit: usize) -> String {
        let (program, pid) = (env!("CARGO_PKG_NAME"), std::process::id());
        match (self.kind, format) {
            (Kind::File | Kind::Pipe, Format::Line) => {
                format!("{:.3} {program}[{pid}]: {text}\n", message.now)
            }
            (Kind::File | Kind::Pipe, Format::Json | Format::Xferlog) => format!("{text}\n"),
            (Kind::Journal, _) => message.write_entry(text, limit),
            (Kind::Syslog, _) => {
                let priority = FACILITY.saturating_mul(8).saturating_add(message.event.severity().number());
                let now = message.now.strftime("%b %e %H:%M:%S");
                format!("<{priority}>{now} {program}[{pid}]: {text}")
            }
        }
    }

    /// Tells whether something is short enough to be taken in one piece.
    pub(super) fn takes(&self, parcel: &str) -> bool {
        let most = match self.kind {
            Kind::File => usize::MAX,
            Kind::Journal => JOURNAL,
            Kind::Pipe => PIPE,
            Kind::Syslog => SYSLOG,
        };
        parcel.len() <= most
    }

    /// Writes in one call, so that the lines of two sessions are never mixed. Waits only for a log that is required, and not
    /// a second time for one that has failed.
    pub(super) fn write(&mut self, parcel: &str) -> Result<(), Errno> {
        self.write_once(parcel).inspect_err(|_| self.patience = Duration::ZERO)
    }

    fn write_once(&mut self, parcel: &str) -> Result<(), Errno> {
        let whole = if self.torn { format!("\n{parcel}") } else { parcel.to_owned() };
        let end = Instant::now().checked_add(self.patience);
        loop {
            self.wait(end)?;
            match write(&self.fd, whole.as_bytes()) {
                Ok(length) if length == whole.len() => {
                    self.torn = false;
                    return Ok(());
                }
                // Of a file only: everything else takes all or nothing.
                Ok(length) => {
                    self.torn |= length > 0;
                    return Err(Errno::ENOSPC);
                }
                // Somebody else has taken the room; the next wait says whether there is time.
                Err(Errno::EAGAIN) if self.patience > Duration::ZERO => {}
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Waits until there is room, or it is too late.
    fn wait(&self, end: Option<Instant>) -> Result<(), Errno> {
        if self.kind == Kind::File {
            return Ok(());
        }
        let left = end.map_or(Duration::ZERO, |end| end.saturating_duration_since(Instant::now()));
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
            Ok(0) => Err(Errno::EAGAIN),
            Err(Errno::EINTR) | Ok(_) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Opens the administrator's file. A FIFO that nobody reads is no log, and is not waited for.
fn open_file(path: &Path) -> Result<(OwnedFd, Kind), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | ASIDE;
    let fd = open(path, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let kind = SFlag::from_bits_truncate(fstat(&fd)?.st_mode & SFlag::S_IFMT.bits());
    Ok((fd, if kind == SFlag::S_IFIFO { Kind::Pipe } else { Kind::File }))
}

/// Tells whether a file ends in the middle of a line: another session met a full disk. One that may not be read is not
/// asked.
fn lacks_an_end(path: &Path) -> bool {
    let Ok(file) = open(path, OFlag::O_RDONLY | ASIDE, Mode::empty()).map(File::from) else { return false };
    let Ok(size) = file.metadata().map(|stat| stat.len()) else { return false };
    let mut last = *b"\n";
    size > 0 && file.read_at(&mut last, size.saturating_sub(1)).is_ok() && last != *b"\n"
}

/// Connects to a daemon's socket. Once the sandbox is on there is no second time: a daemon that makes a new socket is lost
/// to this session.
fn connect(path: &str) -> Result<OwnedFd, Errno> {
    let connected = UnixDatagram::unbound().and_then(|socket| {
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    connected.map(OwnedFd::from).map_err(|error| errno(&error))
}
