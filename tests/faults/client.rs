//! A client that goes step by step, and what comes of its session.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Session, Step};
use crate::yard::Yard;

/// What came of a session.
pub(crate) struct Outcome {
    pub(crate) replies: usize,
    pub(crate) records: usize,
    /// What was said on the wire and on the screen.
    pub(crate) texts: Vec<String>,
    /// Files whose contents were acknowledged.
    pub(crate) acknowledged: BTreeSet<&'static str>,
    pub(crate) held: bool,
    pub(crate) rest: Vec<u8>,
    pub(crate) status: Option<i32>,
}

/// A client that goes step by step, as OpenSSH's.
pub(crate) struct Client<'c> {
    child: Child,
    outcome: Outcome,
    case: &'c str,
}

/// The session has ended.
pub(crate) struct Ended;

impl Client<'_> {
    pub(crate) fn starts<'c>(
        case: &'c str,
        yard: &Yard,
        session: &Session,
        pipeline: &str,
        strace: &[String],
    ) -> Client<'c> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-s", "8"]).args(strace).arg(env!("CARGO_BIN_EXE_scp-server"));
        if !session.root {
            command.current_dir(yard.path(""));
        } else {
            command.arg("--root").arg(yard.path("")).args(["--pipeline", pipeline]);
        }
        let pipe = Stdio::piped;
        let child = command.args(session.options).arg(".").stdin(pipe()).stdout(pipe()).stderr(pipe());
        // A fault that were to leave somebody waiting must not leave the tests waiting.
        let child = child.process_group(0).spawn().unwrap();
        let outcome = Outcome {
            replies: 0,
            records: 0,
            texts: Vec::new(),
            acknowledged: BTreeSet::new(),
            held: false,
            rest: Vec::new(),
            status: None,
        };
        Client { child, outcome, case }
    }

    fn hears(&mut self) -> Result<bool, Ended> {
        let stdout = self.child.stdout.as_mut().unwrap();
        let ready =
            poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)], PollTimeout::from(30_000_u16));
        if ready != Ok(1) {
            let _ = self.child.kill();
            panic!("{}: no reply for half a minute", self.case);
        }
        let mut byte = [0];
        if stdout.read(&mut byte).unwrap_or(0) == 0 {
            return Err(Ended);
        }
        self.outcome.replies += 1;
        if byte[0] == 0 {
            return Ok(true);
        }
        assert_eq!(byte[0], 1, "{}: a reply is yes, or a line of text", self.case);
        let mut text = Vec::new();
        while stdout.read(&mut byte).unwrap_or(0) == 1 && byte[0] != b'\n' {
            text.push(byte[0]);
        }
        self.outcome.texts.push(String::from_utf8(text).unwrap());
        Ok(false)
    }

    fn says(&mut self, record: &str) -> Result<bool, Ended> {
        self.outcome.records += 1;
        self.child.stdin.as_mut().unwrap().write_all(record.as_bytes()).map_err(|_| Ended)?;
        self.hears()
    }

    fn plays(&mut self, session: &Session) -> Result<(), Ended> {
        if !self.hears()? {
            return Err(Ended);
        }
        // Directories inside one that was refused.
        let mut outside = 0;
        let name = |path: &'static str| path.rsplit('/').next().unwrap();
        let timed = session.options.contains(&"-p");
        for step in session.steps {
            match step {
                Step::Leave if outside > 0 => outside -= 1,
                Step::Enter(_) if outside > 0 => outside += 1,
                Step::Put(..) if outside > 0 => {}
                Step::Enter(_) | Step::Put(..) if timed && !self.says("T1000000000 0 1000000000 0\n")? => {
                    return Err(Ended);
                }
                Step::Enter(path) => outside = usize::from(!self.says(&format!("D0755 0 {}\n", name(path)))?),
                Step::Leave => drop(self.says("E\n")?),
                Step::Put(path, contents) => {
                    let record = format!("C0644 {} {}\n", contents.len(), name(path));
                    if self.says(&record)? && self.says(&format!("{contents}\0"))? {
                        self.outcome.acknowledged.insert(path);
                    }
                }
            }
        }
        self.outcome.held = true;
        Ok(())
    }

    pub(crate) fn runs(mut self, session: &Session, pipeline: &str) -> Outcome {
        let _ = self.plays(session);
        drop(self.child.stdin.take());
        let rest = &mut self.outcome.rest;
        self.child.stdout.take().unwrap().read_to_end(rest).unwrap();
        // What was not on the disk when the session ended.
        if let Some(last) = rest.iter().position(|&byte| byte == 1) {
            let words = String::from_utf8(rest.split_off(last)).unwrap();
            assert!(words.contains("could not be made durable"), "{}: {words}", self.case);
            self.outcome.texts.push(words);
        }
        let mut screen = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut screen).unwrap();
        self.outcome.texts.extend(screen.lines().map(str::to_owned));
        self.outcome.status = self.child.wait().unwrap().code();
        // It may have ended before, where all that the client heard had been said ahead.
        self.outcome.held &=
            pipeline != "on" || self.outcome.status == Some(0) || !self.outcome.texts.is_empty();
        self.outcome
    }
}

impl Outcome {
    pub(crate) fn names(&self, path: &str) -> impl Iterator<Item = &String> {
        let words = format!(" ./{path}: ");
        self.texts.iter().filter(move |text| text.contains(&words))
    }

    /// Tells whether the file was refused, or the directory; not that it is there with a blemish.
    pub(crate) fn refuses(&self, path: &str) -> bool {
        self.refuses_all() || self.names(path).any(|text| !is_blemish(text))
    }

    /// Tells whether the target itself was refused, which is the answer to each record then.
    pub(crate) fn refuses_all(&self) -> bool {
        self.texts.iter().any(|text| text.starts_with("scp: .: "))
    }

    /// Tells whether it is not said for certain what became of the file.
    pub(crate) fn leaves_open(&self, path: &str) -> bool {
        let parents = Path::new(path).ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
        !self.held
            || self.texts.iter().any(|text| text.contains(" more "))
            || parents.into_iter().any(|parent| self.names(parent.to_str().unwrap()).next().is_some())
    }
}

pub(crate) fn is_blemish(text: &str) -> bool {
    text.contains(": set ") || text.contains(": stored, but ")
}
