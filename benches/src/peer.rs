//! The client's end of two pipes, in lock-step, and what the server has used when it is over.

use std::fs;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes that are moved at a time: what one packet of SSH holds, so what sshd reads and writes at a time.
const PACKET: usize = 32 * 1024;

/// What a session has cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From the start of the process to the last answer.
    pub wall: Duration,
    /// The server's, user and system, from its start to its exit.
    pub cpu: Duration,
    /// The server's largest resident set, in KiB.
    pub peak: u64,
}

/// What the client does in a session.
#[derive(Clone, Copy, Debug)]
pub enum Script {
    /// Fetches all that is offered.
    Fetch,
    /// Waits for the first reply and leaves.
    Look,
    /// Stores so many files of such a size in a directory.
    StoreMany { files: usize, size: usize, times: bool },
    /// Stores one file of such a size.
    StoreOne { size: u64 },
}

/// Starts a server, plays a script to it, and sees it end.
///
/// # Errors
/// The server did not do as it should.
pub fn play(command: &mut Command, script: Script) -> io::Result<Cost> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let began = Instant::now();
    let mut child = command.spawn()?;
    let (Some(mouth), Some(ears)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("no pipes"));
    };
    let mut peer = Peer { mouth, ears, pid: child.id(), peak: 0 };
    match script {
        Script::Fetch => peer.fetch()?,
        Script::Look => peer.look()?,
        Script::StoreMany { files, size, times } => peer.store_many(files, size, times)?,
        Script::StoreOne { size } => peer.store_one(size)?,
    }
    let wall = began.elapsed();
    let peak = peer.peak;
    drop(peer);
    Ok(Cost { wall, cpu: end(&child)?, peak })
}

struct Peer {
    mouth: ChildStdin,
    ears: ChildStdout,
    pid: u32,
    peak: u64,
}

impl Peer {
    fn look(&mut self) -> io::Result<()> {
        self.hear_ok()?;
        self.weigh()
    }

    fn store_many(&mut self, files: usize, size: usize, times: bool) -> io::Result<()> {
        let mut contents = vec![b'x'; size];
        contents.push(0);
        self.hear_ok()?;
        self.ask(b"D0755 0 d\n")?;
        for number in 0..files {
            if times {
                self.ask(b"T1700000000 0 1700000000 0\n")?;
            }
            self.ask(format!("C0644 {size} file-{number:05}\n").as_bytes())?;
            self.ask(&contents)?;
        }
        self.ask(b"E\n")?;
        self.weigh()
    }

    fn store_one(&mut self, size: u64) -> io::Result<()> {
        let packet = vec![b'x'; PACKET];
        self.hear_ok()?;
        self.ask(format!("C0644 {size} large\n").as_bytes())?;
        let mut left = size;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(PACKET);
            self.mouth.write_all(&packet[..length])?;
            left -= length as u64;
        }
        self.ask(&[0])?;
        self.weigh()
    }

    /// Takes everything that comes, and answers each record and each file's contents.
    fn fetch(&mut self) -> io::Result<()> {
        let mut heard = Heard { buffer: vec![0; PACKET], start: 0, end: 0 };
        let mut depth = 0_usize;
        self.mouth.write_all(&[0])?;
        loop {
            let line = heard.line(&mut self.ears)?;
            match line.first() {
                Some(b'D') => depth += 1,
                Some(b'E') => depth -= 1,
                Some(b'T') => {}
                Some(b'C') => {
                    let size = line.split(|&byte| byte == b' ').nth(1);
                    let size = size.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
                    let size = size.ok_or_else(|| bad("no size"))?;
                    self.mouth.write_all(&[0])?;
                    heard.skip(size + 1, &mut self.ears)?;
                }
                _ => return Err(bad(&String::from_utf8_lossy(&line))),
            }
            let over = depth == 0 && matches!(line.first(), Some(b'C' | b'E'));
            if over {
                self.weigh()?;
            }
            self.mouth.write_all(&[0])?;
            if over {
                return Ok(());
            }
        }
    }

    fn ask(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mouth.write_all(bytes)?;
        self.hear_ok()
    }

    /// Hears one byte, with a call of its own, as OpenSSH's scp does.
    fn hear_ok(&mut self) -> io::Result<()> {
        let mut reply = [0xff];
        self.ears.read_exact(&mut reply)?;
        if reply == [0] {
            return Ok(());
        }
        let mut text = [0; 256];
        let length = self.ears.read(&mut text)?;
        Err(bad(&String::from_utf8_lossy(&text[..length])))
    }

    /// Asks the kernel for the largest resident set. Not `ru_maxrss`, in which the kernel counts what this process had
    /// in memory when it started the server.
    fn weigh(&mut self) -> io::Result<()> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        self.peak = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        Ok(())
    }
}

/// What was read ahead of the server's stream.
struct Heard {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Heard {
    fn line(&mut self, ears: &mut ChildStdout) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let ready = &self.buffer[self.start..self.end];
            if let Some(length) = ready.iter().position(|&byte| byte == b'\n') {
                line.extend_from_slice(&ready[..length]);
                self.start += length + 1;
                return Ok(line);
            }
            line.extend_from_slice(ready);
            self.fill(ears)?;
        }
    }

    fn skip(&mut self, bytes: u64, ears: &mut ChildStdout) -> io::Result<()> {
        let mut left = bytes;
        loop {
            let ready = (self.end - self.start) as u64;
            if left <= ready {
                self.start += usize::try_from(left).unwrap_or(usize::MAX);
                return Ok(());
            }
            left -= ready;
            self.fill(ears)?;
        }
    }

    fn fill(&mut self, ears: &mut ChildStdout) -> io::Result<()> {
        (self.start, self.end) = (0, ears.read(&mut self.buffer)?);
        if self.end == 0 { Err(bad("the stream ended")) } else { Ok(()) }
    }
}

/// Waits for the end of the process, and returns what it has used.
fn end(child: &Child) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: rusage is plain data, for which all zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the types that the call fills in.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    if waited != pid {
        return Err(io::Error::last_os_error());
    }
    if status != 0 {
        return Err(bad(&format!("exit status {status:#x}")));
    }
    Ok(duration(usage.ru_utime) + duration(usage.ru_stime))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

fn bad(what: &str) -> io::Error {
    io::Error::other(format!("the server: {what}"))
}
