//! Who a session is for, and what there is to say of a file.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Instant;

use super::event::Event;
use crate::attr::Mode;
use crate::channel::Passed;
use crate::policy::{Account, Pipeline, Terms};
use crate::refusal::Words;
use crate::request::Request;

/// What is known of a session: it is said in each of its events.
#[derive(Debug)]
pub struct Session {
    /// Sixteen hexadecimal digits, by which events belong together.
    pub id: String,
    /// The account's name, or its number.
    pub user: Vec<u8>,
    /// The client's address and port, in sshd's words.
    pub from: Option<(Vec<u8>, Vec<u8>)>,
    /// The key or certificate that the client logged in with.
    pub key: Option<String>,
    /// The rule of the policy that the session is subject to.
    pub rule: Option<String>,
    /// What is spoken.
    pub protocol: &'static str,
    /// Which way contents go; none before the request is understood.
    pub direction: Option<Direction>,
    /// How records are acknowledged.
    pub pipeline: Pipeline,
    /// The layers of the sandbox that are on.
    pub layers: Vec<&'static str>,
    began: Instant,
    bytes: u64,
}

/// Which way contents go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// To the client.
    Download,
    /// From the client.
    Upload,
}

impl Session {
    /// Begins a session for `account`; `connection` is sshd's SSH_CONNECTION: the client's address and port, and ours.
    pub fn new(account: &Account, connection: &[u8], request: Option<&Request>, terms: &Terms) -> Self {
        let mut words = connection.split(|&byte| byte == b' ').map(<[u8]>::to_vec);
        let from = words.next().filter(|address| !address.is_empty());
        let name = account.name.as_ref().map(|name| name.as_encoded_bytes().to_vec());
        Self {
            // The standard library's hash keys come from the system's random numbers.
            id: format!("{:016x}", RandomState::new().build_hasher().finish()),
            user: name.unwrap_or_else(|| account.uid.to_string().into_bytes()),
            from: from.map(|address| (address, words.next().unwrap_or_default())),
            key: account.keys.first().map(|key| key.fingerprint().to_owned()),
            rule: terms.rule(),
            protocol: "scp",
            direction: request.map(|request| match request {
                Request::Fetch(_) => Direction::Download,
                Request::Store(_) => Direction::Upload,
            }),
            pipeline: terms.manners().pipeline,
            layers: Vec::new(),
            began: Instant::now(),
            bytes: 0,
        }
    }

    /// Returns when it began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Returns how many bytes of contents came or went, those of files that are not whole included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn count(&mut self, event: &Event<'_>) {
        if let Some((transfer, _)) = event.transfer() {
            self.bytes = self.bytes.saturating_add(transfer.passed.bytes);
        }
    }
}

impl Direction {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }
}

/// A file whose contents came or went.
#[derive(Debug)]
pub struct Transfer<'a> {
    /// Which.
    pub what: Words<'a>,
    /// What has passed of its contents.
    pub passed: Passed,
    /// When its record came, or its contents began to go.
    pub began: Instant,
    /// Its mode, if it is known: the one that it has got, or was sent with.
    pub mode: Option<Mode>,
    /// Whether it took the place of another; none for a file that is sent.
    pub replaced: Option<bool>,
}
