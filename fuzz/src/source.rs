mod model;
mod plan;

use std::env;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::thread;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use scp_server::abort::Abort;
use scp_server::channel::Channel;
use scp_server::jail::Jail;
use scp_server::pattern::{Component, braces, components};
use scp_server::policy::{Grant, Patience, Sandbox};
use scp_server::refusal::Tally;
use scp_server::request::{self, Chatter, Fetch, Request};
use scp_server::source;
use scp_server::words::{Word, split};

use crate::furniture::furnished;
use crate::memory;
use crate::tree::Tree;
use crate::yard::{self, CANARY, Ears, Yard};
use model::Model;

/// Bytes that the program may hold: its buffers, and the paths that a pattern stands for.
const MEMORY: usize = 16 * 1024 * 1024;

/// Paths that the patterns of a request may stand for; more would only be slow.
const PATHS: usize = 4096;

/// A command line, a newline and what the client answers; or a tree, a request and answers.
pub fn run(data: &[u8]) {
    if data.starts_with(b"scp ") {
        let at = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
        let Ok(Ok(Request::Fetch(mut fetch))) = split(&data[..at]).map(|words| request::parse(&words)) else {
            return;
        };
        // Its lines on the screen would only slow us down.
        fetch.chatter = Chatter::Quiet;
        let said = data.get(at + 1..).unwrap_or_default().to_vec();
        yard::with(|yard| {
            let tree = furnished(true, false, yard);
            Session { fetch, tree, said, pieces: vec![], hears: Some(Hears::All) }.play(yard);
        });
    } else {
        yard::with(|yard| {
            if let Some(session) = Session::made_up(data, yard) {
                session.play(yard);
            }
        });
    }
}

/// Prints what an input stands for.
pub fn show(data: &[u8]) {
    plan::show(data);
}

struct Session {
    fetch: Fetch,
    tree: Tree,
    /// The client's answers.
    said: Vec<u8>,
    pieces: Vec<u8>,
    /// None: all of it, through a pipe.
    hears: Option<Hears>,
}

enum Hears {
    All,
    UpTo(usize),
}

impl Session {
    fn play(self, yard: &Yard) {
        if self.count_paths() > PATHS {
            return;
        }
        yard.lay_out(&self.tree);
        env::set_current_dir(&yard.root).unwrap();
        let grant = Grant {
            root: self.tree.confined().then(|| yard.root.clone()),
            home: None,
            sandbox: Sandbox::Off,
            ..Grant::default()
        };
        let jail = Jail::open(grant).unwrap();
        let mouth = yard::mouth_in_pieces(&self.said, &self.pieces);
        let (ended, heard, deaf) = match &self.hears {
            None => {
                let (ears, end) = pipe2(OFlag::O_CLOEXEC).unwrap();
                let (ended, heard) = thread::scope(|scope| {
                    let heard = scope.spawn(|| {
                        let mut heard = Vec::new();
                        File::from(ears).read_to_end(&mut heard).unwrap();
                        heard
                    });
                    (self.serve(&jail, mouth, end), heard.join().unwrap())
                });
                (ended, heard, false)
            }
            Some(hears) => {
                let most = match hears {
                    Hears::All => None,
                    Hears::UpTo(most) => Some(*most),
                };
                let ears = Ears::new(most);
                let ended = self.serve(&jail, mouth, ears.end());
                (ended, ears.heard(), most.is_some())
            }
        };
        yard.check();
        self.tree.compare(yard.root());
        assert!(!heard.windows(CANARY.len()).any(|window| window == CANARY), "the canary was sent");
        Model::new(&self, &heard, deaf).check(yard, &ended);
    }

    fn serve(&self, jail: &Jail, mouth: OwnedFd, ears: OwnedFd) -> Result<Tally, Abort> {
        memory::bounded(MEMORY, || {
            let mut channel = Channel::new(mouth, ears, None, Patience::default());
            let ended = source::run(&self.fetch, jail, &mut channel);
            if let Err(abort) = &ended
                && let Some(words) = abort.last_words()
            {
                let _ = channel.complain(&words);
            }
            ended
        })
    }

    /// Counts the paths that the request can stand for, as if every name matched everywhere.
    fn count_paths(&self) -> usize {
        let paths = |word: &Word| {
            let patterns = components(word).iter().filter(|part| Component::is_pattern(part)).count();
            (self.tree.size() + 1).saturating_pow(patterns.try_into().unwrap())
        };
        let words = self.fetch.sources.iter().flat_map(|word| braces(word).unwrap_or_default());
        words.map(|word| paths(&word)).fold(0, usize::saturating_add)
    }
}
