mod model;
mod plan;

use std::env;
use std::os::unix::ffi::OsStrExt;

use scp_server::channel::Channel;
use scp_server::jail::Jail;
use scp_server::policy::{
    Collision, Grant, Limits, Manners, Patience, Pipeline, Replacement, Rights, Sandbox, Storage, Sync, Unit,
};
use scp_server::request::{self, Chatter, Request, Store};
use scp_server::sink;
use scp_server::words::{Word, split};

use crate::furniture::furnished;
use crate::memory;
use crate::yard::{self, Ears, Yard};
use model::Model;
use plan::is_safe_on_host;

/// Bytes that the program may hold: its buffers, and for each of 256 open directories the way to it.
const MEMORY: usize = 24 * 1024 * 1024;

/// Permission bits that are withheld.
const UMASK: u32 = 0o022;

/// A command line, a newline and what the client says; or the steps of a conversation.
///
/// Before the command line there may be a line with what the administrator says: `# off home limit=5`.
pub fn run(data: &[u8]) {
    let is_spelled = data.starts_with(b"scp ") || data.starts_with(b"# ");
    let session = if is_spelled { Session::spelled(data) } else { Session::made_up(data) };
    if let Some(session) = session {
        yard::with(|yard| session.play(yard));
    }
}

/// What is asked for, what is allowed, and what the client says.
#[derive(Debug)]
struct Session {
    store: Store,
    rights: Rights,
    limits: Limits,
    storage: Storage,
    manners: Manners,
    confined: bool,
    home: bool,
    spelled_root: bool,
    said: Vec<u8>,
    pieces: Vec<u8>,
    hears: Option<usize>,
}

/// Prints what an input stands for.
pub fn show(data: &[u8]) {
    plan::show(data);
}

impl Session {
    /// Perhaps a line of the administrator's; the command; the rest is what the client says.
    fn spelled(data: &[u8]) -> Option<Self> {
        let first_line = |data: &'_ [u8]| data.iter().position(|&byte| byte == b'\n');
        let (policy, data) = match data.strip_prefix(b"# ") {
            Some(rest) => rest.split_at_checked(first_line(rest)? + 1)?,
            None => (&b""[..], data),
        };
        let at = first_line(data)?;
        let Request::Store(mut store) = request::parse(&split(&data[..at]).ok()?).ok()? else { return None };
        // Its lines on the screen would only slow us down.
        store.chatter = Chatter::Quiet;
        let mut session = Self {
            store,
            rights: Rights::default(),
            limits: Limits::default(),
            storage: Storage { umask: Some(UMASK), ..Storage::default() },
            manners: Manners { pipeline: Pipeline::Off, ..Manners::default() },
            confined: true,
            home: false,
            spelled_root: false,
            said: data[at + 1..].to_vec(),
            pieces: vec![],
            hears: None,
        };
        for word in std::str::from_utf8(policy).ok()?.split_whitespace() {
            match word.split_once('=') {
                None if word == "always" => session.storage.replacement = Replacement::Always,
                None if word == "home" => session.home = true,
                None if word == "host" => session.confined = false,
                None if word == "new" => session.rights.collision = Collision::Refuse,
                None if word == "off" => session.storage.replacement = Replacement::Off,
                None if word == "ahead" => session.manners.pipeline = Pipeline::On,
                None if word == "auto" => session.manners.pipeline = Pipeline::Auto,
                None if word == "tree" => session.storage.unit = Unit::Tree,
                None if word == "sync" => session.storage.sync = Sync::File,
                Some(("hears", bytes)) => session.hears = Some(bytes.parse::<u16>().ok()?.into()),
                Some(("limit", bytes)) => session.limits.file_size = Some(bytes.parse().ok()?),
                Some(("pieces", length)) => session.pieces = vec![length.parse().ok()?; 15],
                _ => return None,
            }
        }
        (session.confined || session.store.targets.iter().all(is_safe_on_host)).then_some(session)
    }

    fn play(mut self, yard: &Yard) {
        if self.spelled_root
            && let [word] = self.store.targets.as_mut_slice()
        {
            *word = Word::literal(&[yard.root.as_os_str().as_bytes(), &word.bytes()].concat());
        }
        let tree = furnished(self.confined, true, yard);
        yard.lay_out(&tree);
        env::set_current_dir(&yard.root).unwrap();
        let grant = Grant {
            root: self.confined.then(|| yard.root.clone()),
            home: self.home.then(|| yard.root.clone()),
            rights: self.rights.clone(),
            limits: self.limits,
            storage: self.storage.clone(),
            sandbox: Sandbox::Off,
            ..Grant::default()
        };
        let mouth = yard::mouth_in_pieces(&self.said, &self.pieces);
        let ears = Ears::new(self.hears);
        let ended = memory::bounded(MEMORY, || {
            let jail = Jail::open(grant).unwrap();
            let mut channel = Channel::new(mouth, ears.end(), None, Patience::default());
            let ended = sink::run(&self.store, self.manners, &jail, &mut channel);
            if let Err(abort) = &ended
                && let Some(words) = abort.last_words()
            {
                let _ = channel.complain(&words);
            }
            ended
        });
        yard.check();
        let deaf = ears.most.is_some();
        let heard = ears.heard();
        Model::new(&self, tree, &heard, deaf).check(yard, &ended);
    }
}
