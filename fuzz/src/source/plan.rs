//! What the fuzzer makes up: a tree, a request for something in it, and the client's answers.

use arbitrary::{Arbitrary, Unstructured};
use scp_server::request::{Chatter, Depth, Fetch, Keep};
use scp_server::words::{Letter, Word};

use super::{Hears, Session};
use crate::bytes::Bytes;
use crate::tree::{Kind, Node, Tree};
use crate::yard::Yard;

/// Prints what an input stands for.
pub(super) fn show(data: &[u8]) {
    println!("{:#?}", Plan::arbitrary(&mut Unstructured::new(data)));
}

impl Session {
    pub(super) fn made_up(data: &[u8], yard: &Yard) -> Option<Self> {
        Plan::arbitrary(&mut Unstructured::new(data)).ok().map(|plan| plan.session(yard))
    }
}

#[derive(Arbitrary, Debug)]
struct Plan {
    recursive: bool,
    keep: bool,
    unconfined: bool,
    hears: u8,
    most: u16,
    answers: Answers,
    pieces: Bytes,
    sources: Vec<Source>,
    entries: Vec<Entry>,
}

#[derive(Arbitrary, Debug)]
enum Answers {
    Bytes(Bytes),
    /// Yes to all, but for one answer that is this byte and a line.
    But(u8, u8),
    Yes,
}

#[derive(Arbitrary, Debug)]
enum Source {
    Path(Bytes),
    Top(u8),
    Entry(u8, u8),
    Word(Vec<(u8, bool)>),
}

#[derive(Arbitrary, Debug)]
struct Entry {
    place: u8,
    name: Name,
    mode: u16,
    what: What,
}

#[derive(Arbitrary, Debug)]
enum Name {
    Bytes(Bytes),
    Known(u8),
    Long(u8),
    Numbered(u8),
}

#[derive(Arbitrary, Debug)]
enum What {
    Directory,
    Fifo,
    File(Bytes),
    Link(u8),
    LinkTo(Bytes),
    /// So many times one byte.
    Run(u8, u32),
    /// Many entries that cannot be sent.
    Crowd(u8),
}

const TOPS: &[&str] =
    &[".", "/", "", "./", "..", "../canary", "../canary/secret", "./.", "../root", "a", "a/..", "a/."];

/// How many of them are safe where nothing confines.
const HOST_TOPS: usize = 2;

const NAMES: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"a\nb",
    b"a\\^Jb",
    b"\n",
    b".scp-0123456789abcdef",
    b".hidden",
    b"-rf",
    b" ",
    b"\x1b[2J",
    b"\xff\xfe",
    b"*",
    b"?",
    b"[a]",
    b"~",
    b"E",
    b"\xe2\x80\xae",
    b"...",
];

const LINKS: &[&str] =
    &["a", "b", ".", "a/b", "../a", "..", "../b", "nowhere", "loop", "../canary", "../canary/secret", "/etc"];

/// How many of them stay inside.
const HOST_LINKS: usize = 4;

impl Plan {
    fn session(self, yard: &Yard) -> Session {
        let confined = !self.unconfined;
        let mut tree = Tree::new(confined);
        let mut places = vec![Tree::ROOT];
        for Entry { place, name, mode, what } in self.entries.iter().take(24) {
            let dir = places[usize::from(*place) % places.len()];
            let name = name.bytes();
            let is_name = !matches!(name.as_slice(), b"" | b"." | b"..") && name.len() <= 255;
            if !is_name || name.iter().any(|byte| b"/\0".contains(byte)) || tree.child(dir, &name).is_some() {
                continue;
            }
            let mode = u32::from(*mode) & 0o7777;
            match what {
                What::Directory => places.push(tree.put(dir, &name, Node::directory(mode))),
                What::Fifo => drop(tree.put(dir, &name, Node::new(Kind::Fifo, mode))),
                What::File(contents) => drop(tree.put(dir, &name, Node::file(contents.0.clone(), mode))),
                What::Run(byte, length) => {
                    let contents = vec![*byte; (*length % 200_000) as usize];
                    tree.put(dir, &name, Node::file(contents, mode));
                }
                What::Link(n) => {
                    let known = if confined { LINKS } else { &LINKS[..HOST_LINKS] };
                    let mut target = known[usize::from(*n) % known.len()].as_bytes().to_vec();
                    if target == b"/etc" {
                        target = yard.canary();
                    }
                    tree.put(dir, &name, Node::link(target));
                }
                What::LinkTo(target) => {
                    let target = &target.0;
                    if confined && !target.is_empty() && !target.contains(&0) {
                        tree.put(dir, &name, Node::link(target.clone()));
                    }
                }
                What::Crowd(count) => {
                    let crowd = tree.put(dir, &name, Node::directory(0o755));
                    for n in 0..count % 80 {
                        tree.put(crowd, format!("{n}").as_bytes(), Node::new(Kind::Fifo, 0o600));
                    }
                }
            }
        }
        let mut sources: Vec<_> =
            self.sources.iter().take(8).map(|source| source.word(&tree, confined)).collect();
        sources.retain(|word| !word.0.iter().any(|letter| letter.byte == 0));
        let said = match &self.answers {
            Answers::Bytes(bytes) => bytes.0.clone(),
            Answers::But(at, byte) => {
                let mut said = vec![0; usize::from(*at)];
                said.extend([*byte, b'x', b'\n']);
                said.resize(4096, 0);
                said
            }
            Answers::Yes => vec![0; 4096],
        };
        let depth = if self.recursive { Depth::Tree } else { Depth::Flat };
        let keep = if self.keep { Keep::Attributes } else { Keep::Contents };
        Session {
            fetch: Fetch { sources, depth, keep, chatter: Chatter::Quiet },
            tree,
            said,
            pieces: self.pieces.0,
            hears: match self.hears % 8 {
                0 => Some(Hears::UpTo(self.most.into())),
                1 | 2 => None,
                _ => Some(Hears::All),
            },
        }
    }
}

impl Source {
    fn word(&self, tree: &Tree, confined: bool) -> Word {
        match self {
            Self::Path(path) if confined => Word::literal(&path.0),
            Self::Word(letters) if confined => {
                Word(letters.iter().map(|&(byte, live)| Letter { byte, live }).collect())
            }
            Self::Entry(n, deeper) => {
                let names = |id| tree.children(id).iter();
                let root = Tree::ROOT;
                let Some((name, &id)) = names(root).nth(usize::from(*n) % names(root).count().max(1)) else {
                    return Word::literal(b".");
                };
                if !tree.is_directory(id) {
                    return Word::literal(name);
                }
                match names(id).nth(usize::from(*deeper) % 8) {
                    Some((below, _)) => Word::literal(&[name, &b"/"[..], below].concat()),
                    None => Word::literal(name),
                }
            }
            Self::Top(n) => {
                let known = if confined { TOPS } else { &TOPS[..HOST_TOPS] };
                let top = known[usize::from(*n) % known.len()];
                Word::literal(if top == "/" && !confined { b"./" } else { top.as_bytes() })
            }
            Self::Path(_) | Self::Word(_) => Word::literal(b"."),
        }
    }
}

impl Name {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.0.clone(),
            Self::Known(n) => NAMES[usize::from(*n) % NAMES.len()].to_vec(),
            Self::Long(length) => vec![b'l'; usize::from(*length)],
            Self::Numbered(n) => format!("n{n}").into_bytes(),
        }
    }
}
