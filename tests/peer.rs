//! The client's end of a session: says, hears, sees the end.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};

use crate::server::Packets;

/// How long anything may take that a peer waits for.
const DEADLINE: Duration = Duration::from_secs(30);

/// A client that holds the other ends of the program's stdin, stdout and stderr, each its own pipe as sshd makes them.
///
/// Its methods are the protocol's verbs. What they wait for has to come before the deadline; what does not hold stops
/// the test and shows all that was said. A peer has to see the end of the session: `sees_exit`.
pub struct Peer {
    child: Child,
    mouth: Option<File>,
    ears: Option<File>,
    screen: Option<File>,
    unsaid: Vec<u8>,
    unheard: Vec<u8>,
    /// How many bytes came at once, for all that is unheard.
    pieces: VecDeque<usize>,
    unseen: Vec<u8>,
    exit: Option<ExitStatus>,
    transcript: Vec<(&'static str, Vec<u8>)>,
}

impl Peer {
    pub(crate) fn start(mut command: Command, packets: Packets) -> Self {
        let flags = |packets| {
            if packets { OFlag::O_CLOEXEC | OFlag::O_DIRECT } else { OFlag::O_CLOEXEC }
        };
        let (stdin, mouth) = pipe2(flags(packets.to_server)).unwrap();
        let (ears, stdout) = pipe2(flags(packets.from_server)).unwrap();
        let (screen, stderr) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let child = command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let flags = OFlag::from_bits_retain(fcntl(mouth.as_fd(), FcntlArg::F_GETFL).unwrap());
        fcntl(mouth.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
        Self {
            child,
            mouth: Some(mouth.into()),
            ears: Some(ears.into()),
            screen: Some(screen.into()),
            unsaid: Vec::new(),
            unheard: Vec::new(),
            pieces: VecDeque::new(),
            unseen: Vec::new(),
            exit: None,
            transcript: vec![("starts", format!("{command:?}").into_bytes())],
        }
    }

    /// Sends bytes, and hears whatever comes meanwhile.
    #[track_caller]
    pub fn says(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.note("says", bytes.as_ref());
        self.unsaid = bytes.as_ref().to_vec();
        self.waits("to be listened to", |peer| peer.unsaid.is_empty() || peer.mouth.is_none());
        self
    }

    /// Sends bytes, as many as are taken, while nothing is heard: what is said meanwhile waits in the pipe.
    #[track_caller]
    pub fn says_without_listening(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let ears = self.ears.take();
        self.says(bytes);
        self.ears = ears;
        self
    }

    /// Sends bytes in pieces of `size`; see `Server::who_reads_piecemeal`.
    #[track_caller]
    pub fn says_in_pieces(&mut self, bytes: impl AsRef<[u8]>, size: usize) -> &mut Self {
        for piece in bytes.as_ref().chunks(size) {
            self.says(piece);
        }
        self
    }

    /// Acknowledges.
    #[track_caller]
    pub fn says_ok(&mut self) -> &mut Self {
        self.says(b"\0")
    }

    /// Closes the pipe that is the program's stdin.
    pub fn hangs_up(&mut self) -> &mut Self {
        self.note("hangs up", b"");
        self.mouth = None;
        self
    }

    /// Closes the pipe that is the program's stdout.
    pub fn stops_listening(&mut self) -> &mut Self {
        self.note("stops listening", b"");
        self.ears = None;
        self.unheard.clear();
        self.pieces.clear();
        self
    }

    /// Sends the program a signal.
    pub fn signals(&mut self, signal: Signal) -> &mut Self {
        self.note("signals", signal.as_str().as_bytes());
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("the child is there, or not waited for");
        self
    }

    /// Hears exactly these bytes next.
    #[track_caller]
    pub fn hears_exactly(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let wanted = bytes.as_ref();
        let heard = self.hears(wanted.len(), &format!("\"{}\"", short(wanted)));
        if heard != wanted {
            self.fails(&format!("heard \"{}\" instead of \"{}\"", short(&heard), short(wanted)));
        }
        self
    }

    /// Hears the acknowledgement, one zero byte.
    #[track_caller]
    pub fn hears_ok(&mut self) -> &mut Self {
        match self.hears(1, "an acknowledgement")[0] {
            0 => self,
            _ => {
                let rest = self.unheard.escape_ascii().to_string();
                self.fails(&format!("heard no acknowledgement but \\1{rest}"))
            }
        }
    }

    /// Hears `count` acknowledgements.
    #[track_caller]
    pub fn hears_oks(&mut self, count: usize) -> &mut Self {
        for _ in 0..count {
            self.hears_ok();
        }
        self
    }

    /// Hears an error: `\1scp: `, text and a line feed; returns the text.
    #[track_caller]
    pub fn hears_refusal(&mut self) -> String {
        self.waits("a refusal", |peer| peer.unheard.contains(&b'\n') || peer.ears.is_none());
        let end = self.unheard.iter().position(|&byte| byte == b'\n');
        let Some(end) = end else {
            self.fails("heard no refusal to its end");
        };
        let line = self.takes(end + 1);
        let text = line.strip_prefix(b"\x01scp: ").and_then(|text| text.strip_suffix(b"\n"));
        let Some(text) = text else {
            self.fails(&format!("heard \"{}\" instead of a refusal", short(&line)));
        };
        if line.len() > 2046 || text.iter().any(|byte| !(b' '..=b'~').contains(byte)) {
            self.fails(&format!("heard a refusal of {} bytes, or one that is not plain text", line.len()));
        }
        String::from_utf8(text.to_vec()).unwrap()
    }

    /// Tells whether what comes next is an acknowledgement, and takes it if it is.
    #[track_caller]
    pub fn hears_whether_ok(&mut self) -> bool {
        self.waits("a reply", |peer| !peer.unheard.is_empty() || peer.ears.is_none());
        let ok = self.unheard.first() == Some(&0);
        if ok {
            self.takes(1);
        }
        ok
    }

    /// Hears a record, whichever it is, its line feed included.
    #[track_caller]
    pub fn hears_line(&mut self) -> String {
        self.waits("a record", |peer| peer.unheard.contains(&b'\n') || peer.ears.is_none());
        match self.unheard.iter().position(|&byte| byte == b'\n') {
            Some(end) => self.takes(end + 1).escape_ascii().to_string().replace("\\n", "\n"),
            None => self.fails("heard no record to its end"),
        }
    }

    /// Hears an error with exactly this text, `\1scp: ` before it and the line feed aside.
    #[track_caller]
    pub fn hears_that(&mut self, text: &str) -> &mut Self {
        let heard = self.hears_refusal();
        if heard != text {
            self.fails(&format!("heard the refusal \"{heard}\" instead of \"{text}\""));
        }
        self
    }

    /// Hears exactly this record, without its line feed.
    #[track_caller]
    pub fn hears_record(&mut self, record: impl AsRef<[u8]>) -> &mut Self {
        self.hears_exactly([record.as_ref(), b"\n"].concat())
    }

    /// Asks for nothing but a file that it hears, contents and all, and acknowledges like every client.
    #[track_caller]
    pub fn hears_file(&mut self, record: impl AsRef<[u8]>, contents: impl AsRef<[u8]>) -> &mut Self {
        self.hears_record(record).says_ok();
        self.hears_exactly(contents).hears_ok().says_ok()
    }

    /// Hears exactly these bytes, written by one call; see `Server::whose_writes_are_seen`.
    #[track_caller]
    pub fn hears_at_once(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.waits("something to be said at once", |peer| !peer.unheard.is_empty() || peer.ears.is_none());
        let wanted = bytes.as_ref();
        let heard = self.takes(self.pieces.front().copied().unwrap_or(0));
        if heard != wanted {
            self.fails(&format!("heard \"{}\" at once, not \"{}\"", short(&heard), short(wanted)));
        }
        self
    }

    /// Asserts that nothing more is said, for as long as it takes to be fairly sure.
    #[track_caller]
    pub fn hears_nothing(&mut self) -> &mut Self {
        let end = Instant::now() + Duration::from_millis(30);
        while Instant::now() < end {
            self.turn();
        }
        if !self.unheard.is_empty() {
            self.fails("heard something where nothing was due");
        }
        self
    }

    /// Hears so many bytes, whatever they are.
    #[track_caller]
    pub fn hears_count(&mut self, count: usize) -> Vec<u8> {
        self.hears(count, "so many bytes")
    }

    /// Hears everything until the program closes its stdout.
    #[track_caller]
    pub fn hears_the_rest(&mut self) -> Vec<u8> {
        self.waits("the end", |peer| peer.ears.is_none());
        self.takes(self.unheard.len())
    }

    /// Stores a file in a session that waits for a record: header, contents, and both acknowledgements.
    #[track_caller]
    pub fn stores(&mut self, record: impl AsRef<[u8]>, contents: impl AsRef<[u8]>) -> &mut Self {
        self.says_record(record).hears_ok();
        self.says(contents).says_ok().hears_ok()
    }

    /// Sends a record, its line feed added.
    #[track_caller]
    pub fn says_record(&mut self, record: impl AsRef<[u8]>) -> &mut Self {
        self.says([record.as_ref(), b"\n"].concat())
    }

    /// Sees the program end with this status and nothing unheard on stdout or unseen on stderr.
    #[track_caller]
    pub fn sees_exit(&mut self, code: i32) -> &mut Self {
        self.waits("the exit", |peer| peer.exit.is_some() && peer.ears.is_none() && peer.screen.is_none());
        let Some(status) = self.exit else { unreachable!() };
        if status.code() != Some(code) {
            let signal = status.signal();
            self.fails(&format!("saw it end with {status} (signal {signal:?}), not {code}"));
        }
        if !self.unheard.is_empty() {
            let unheard = short(&self.unheard);
            self.fails(&format!("\"{unheard}\" was said that nobody waited for"));
        }
        if !self.unseen.is_empty() {
            let unseen = short(&self.unseen);
            self.fails(&format!("\"{unseen}\" stood on stderr"));
        }
        self
    }

    /// Sees the program end, however that may be.
    #[track_caller]
    pub fn sees_any_end(&mut self) {
        self.waits("the end", |peer| peer.exit.is_some());
    }

    /// Sees the program end with status 0 or 1, what it said last not heard.
    #[track_caller]
    pub fn sees_whatever_exit(&mut self) -> i32 {
        self.sees_any_end();
        match self.exit.and_then(|status| status.code()) {
            Some(code @ (0 | 1)) => code,
            _ => self.fails("saw it end neither with 0 nor with 1"),
        }
    }

    /// Sees all that is written on stderr until it is closed.
    #[track_caller]
    pub fn sees_stderr(&mut self) -> String {
        self.waits("stderr's end", |peer| peer.screen.is_none());
        String::from_utf8(std::mem::take(&mut self.unseen)).expect("stderr is text")
    }

    /// Returns the most memory of its own the program has used so far, in KiB. What is mapped of its file is not its own: how
    /// much of that is there depends on the machine, and it only becomes more.
    pub fn peak_memory(&self) -> u64 {
        let status = self.account_of("status");
        let kibibytes = |what: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        kibibytes("VmHWM:") - kibibytes("RssFile:")
    }

    /// Returns what the kernel tells of the program, in a file of its own in /proc.
    pub fn account_of(&self, file: &str) -> String {
        std::fs::read_to_string(self.process().join(file)).unwrap()
    }

    /// Returns the program's directory in /proc.
    pub fn process(&self) -> PathBuf {
        format!("/proc/{}", self.child.id()).into()
    }

    /// Returns what the program has open right now.
    pub fn open_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("the program runs");
        entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect()
    }

    #[track_caller]
    fn hears(&mut self, count: usize, what: &str) -> Vec<u8> {
        self.waits(what, |peer| peer.unheard.len() >= count || peer.ears.is_none());
        if self.unheard.len() < count {
            let unheard = short(&self.unheard);
            self.fails(&format!("waited for {what}, heard \"{unheard}\" and the end"));
        }
        self.takes(count)
    }

    fn takes(&mut self, count: usize) -> Vec<u8> {
        let mut left = count;
        while let Some(piece) = self.pieces.front_mut().filter(|_| left > 0) {
            let part = left.min(*piece);
            left -= part;
            *piece -= part;
            if *piece == 0 {
                self.pieces.pop_front();
            }
        }
        self.unheard.drain(..count).collect()
    }

    #[track_caller]
    fn waits(&mut self, what: &str, come: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !come(self) {
            if Instant::now() > deadline {
                self.fails(&format!("waited {DEADLINE:?} for {what}"));
            }
            self.turn();
        }
    }

    /// Moves bytes wherever they can be moved, or waits a moment.
    fn turn(&mut self) {
        let mut fds = Vec::new();
        if let Some(mouth) = self.mouth.as_ref().filter(|_| !self.unsaid.is_empty()) {
            fds.push(PollFd::new(mouth.as_fd(), PollFlags::POLLOUT));
        }
        for pipe in [&self.ears, &self.screen].into_iter().flatten() {
            fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
        }
        let patience = if fds.is_empty() { 1 } else { 5 };
        match poll(&mut fds, PollTimeout::from(patience as u8)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
        self.speak();
        let heard = receive(&mut self.ears);
        self.note("hears", &heard);
        if !heard.is_empty() {
            self.pieces.push_back(heard.len());
        }
        self.unheard.extend(heard);
        let seen = receive(&mut self.screen);
        self.note("sees", &seen);
        self.unseen.extend(seen);
        if self.exit.is_none() {
            self.exit = self.child.try_wait().unwrap();
            if let Some(status) = self.exit {
                self.note("exit", status.to_string().as_bytes());
            }
        }
    }

    fn speak(&mut self) {
        let Some(mouth) = self.mouth.as_mut() else { return };
        while !self.unsaid.is_empty() {
            match mouth.write(&self.unsaid) {
                Ok(count) => drop(self.unsaid.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nobody listens any more: what that means is seen at the exit.
                Err(_) => {
                    self.unsaid.clear();
                    self.mouth = None;
                    self.note("is not listened to", b"");
                    return;
                }
            }
        }
    }

    fn note(&mut self, what: &'static str, bytes: &[u8]) {
        if !bytes.is_empty() || what.contains(' ') {
            self.transcript.push((what, bytes.to_vec()));
        }
    }

    /// Stops the test and shows all that was said.
    #[track_caller]
    fn fails(&mut self, why: &str) -> ! {
        let mut text = format!("{why}\n\nthe session so far:\n");
        for (what, bytes) in &self.transcript {
            writeln!(text, "  {what:>8} {}", short(bytes)).unwrap();
        }
        panic!("{text}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.exit.is_some() {
            return;
        }
        // The one process that this peer started.
        let _ = self.child.kill();
        let _ = self.child.wait();
        assert!(std::thread::panicking(), "nobody saw the end of the session: sees_exit");
    }
}

/// Reads what is there, without waiting; closes the pipe at its end.
fn receive(pipe: &mut Option<File>) -> Vec<u8> {
    let mut buffer = vec![0; 64 * 1024];
    let Some(file) = pipe else { return Vec::new() };
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::ZERO) {
        Ok(0) | Err(Errno::EINTR) => return Vec::new(),
        Ok(_) => {}
        Err(error) => panic!("poll: {error}"),
    }
    let count = file.read(&mut buffer).unwrap();
    if count == 0 {
        *pipe = None;
    }
    buffer.truncate(count);
    buffer
}

/// Shows bytes on one line, long ones cut.
fn short(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=400 => bytes.escape_ascii().to_string(),
        all => format!("{}... ({all} bytes)", bytes[..200].escape_ascii()),
    }
}
