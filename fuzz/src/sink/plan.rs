//! What the fuzzer makes up: a request, a policy, and the steps of a conversation.

use arbitrary::{Arbitrary, Unstructured};
use scp_server::policy::{
    Collision, Limits, Manners, Metadata, Pipeline, Replacement, Rights, Storage, Sync, Unit,
};
use scp_server::request::{Chatter, Depth, Keep, Store, TargetKind};
use scp_server::words::{Letter, Word};

use super::{Session, UMASK};
use crate::bytes::Bytes;

/// Prints what an input stands for.
pub(super) fn show(data: &[u8]) {
    println!("{:#?}", Plan::arbitrary(&mut Unstructured::new(data)));
}

/// Tells whether a target stays inside where nothing confines.
pub(super) fn is_safe_on_host(target: &Word) -> bool {
    TARGETS[..HOST_TARGETS].iter().any(|safe| *target == Word::literal(safe.as_bytes()))
}

#[derive(Arbitrary, Debug)]
struct Plan {
    recursive: bool,
    keep: bool,
    directory: bool,
    target: Target,
    unconfined: bool,
    home: bool,
    keep_old: bool,
    limit: Option<u16>,
    /// Replacement, pipeline, what is committed, and metadata.
    replacement: u8,
    sync: bool,
    hears: Option<u16>,
    pieces: Bytes,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Target {
    Known(u8),
    Path(Bytes),
    /// Live and quoted letters.
    Word(Vec<(u8, bool)>),
    Spelled(Bytes),
    Many(u8),
}

#[derive(Arbitrary, Debug)]
enum Step {
    Complaint(Bytes),
    Directory { mode: u16, name: Name },
    Deeper(u8),
    Empty(Name),
    End,
    File { mode: u16, size: Size, name: Name, contents: Contents, status: Status },
    GivenUp,
    Raw(Bytes),
    Times { modified: i64, micros: u32, accessed: i64 },
    Recent(u32),
}

#[derive(Arbitrary, Debug)]
enum Name {
    Bytes(Bytes),
    Known(u8),
    Long(u8, u16),
    Numbered(u8),
}

#[derive(Arbitrary, Debug)]
enum Size {
    Claimed(u64),
    Right,
    Text(Bytes),
    Wrong(i8),
}

#[derive(Arbitrary, Debug)]
enum Contents {
    Bytes(Bytes),
    /// So many times one byte.
    Run(u8, u32),
}

#[derive(Arbitrary, Debug)]
enum Status {
    Byte(u8),
    Fine,
    Missing,
    Sorry(Bytes),
}

/// Targets that mean something in the tree; those without links and slashes are for the host, too.
const TARGETS: &[&str] = &[
    ".",
    "dir",
    "file",
    "new",
    "in",
    "gone",
    "fifo",
    "dir/new",
    "file/",
    "new/",
    "nowhere/x",
    "",
    "alias",
    "dir/inner",
    "ro",
    "drop/x",
    "shared",
    ".ssh",
    "keys",
    "pair",
    "dir/side",
    "dir/",
    "dir/.",
    "/",
    "..",
    "../canary",
    "../canary/x",
    "out",
    "out/x",
    "leaf",
    "abs",
    "abs/x",
    "hard",
    "up",
    "dir/up/dir",
    "dir/../file",
    "/etc",
    "../root",
    "/../root/x",
    "in/up/in/inner",
    "deep/../..",
    "file/x",
    "fifo/",
    ".ssh/authorized_keys",
    ".bashrc",
];

/// How many of them are safe where nothing confines.
const HOST_TARGETS: usize = 23;

const NAMES: &[&[u8]] = &[
    b"new",
    b"file",
    b"dir",
    b"in",
    b"out",
    b"leaf",
    b"gone",
    b"fifo",
    b"hard",
    b"inner",
    b"up",
    b"side",
    b"alias",
    b"pair",
    b"ro",
    b"drop",
    b"shared",
    b"abs",
    b".ssh",
    b"keys",
    b"authorized_keys",
    b".bashrc",
    b".config",
    b"..",
    b".",
    b"",
    b"a/b",
    b"/etc/x",
    b"../x",
    b"...",
    b".scp-0123456789abcdef",
    b".scp-0123456789abcdeF",
    b"a\x1b[2J",
    b"\xe2\x80\xae",
    b"\xff\xfe",
    b" a b ",
    b"-rf",
    b"~",
    b"*",
    b"a\\^J",
    b"a\0b",
    b"a\rb",
    b"\xc2\x9b",
];

impl Session {
    pub(super) fn made_up(data: &[u8]) -> Option<Self> {
        let plan = Plan::arbitrary(&mut Unstructured::new(data)).ok()?;
        let confined = !plan.unconfined;
        let target = match &plan.target {
            Target::Known(n) => {
                let known = if confined { TARGETS } else { &TARGETS[..HOST_TARGETS] };
                vec![Word::literal(known[usize::from(*n) % known.len()].as_bytes())]
            }
            // Where nothing confines, only what is known to stay inside.
            _ if !confined => vec![Word::literal(b".")],
            Target::Path(path) | Target::Spelled(path) => vec![Word::literal(&path.0)],
            Target::Word(letters) => {
                vec![Word(letters.iter().map(|&(byte, live)| Letter { byte, live }).collect())]
            }
            Target::Many(n) => vec![Word::literal(b"x"); usize::from(*n % 3)],
        };
        if target.iter().any(|word| word.bytes().contains(&0)) {
            return None;
        }
        let storage = Storage {
            umask: Some(UMASK),
            replacement: match plan.replacement % 3 {
                0 => Replacement::Auto,
                1 => Replacement::Always,
                _ => Replacement::Off,
            },
            sync: if plan.sync { Sync::File } else { Sync::None },
            unit: if plan.replacement / 9 % 2 == 1 { Unit::Tree } else { Unit::File },
            ..Storage::default()
        };
        let manners = Manners {
            pipeline: match plan.replacement / 3 % 3 {
                0 => Pipeline::Off,
                1 => Pipeline::Auto,
                _ => Pipeline::On,
            },
            metadata: match plan.replacement / 18 % 3 {
                0 => Metadata::Strict,
                1 => Metadata::Warn,
                _ => Metadata::Ignore,
            },
        };
        let rights = Rights {
            collision: if plan.keep_old { Collision::Refuse } else { Collision::Replace },
            ..Rights::default()
        };
        let limits = Limits { file_size: plan.limit.map(u64::from), ..Limits::default() };
        let mut said = Vec::new();
        plan.steps.iter().for_each(|step| step.say(&mut said));
        Some(Self {
            store: Store {
                targets: target,
                depth: if plan.recursive { Depth::Tree } else { Depth::Flat },
                keep: if plan.keep { Keep::Attributes } else { Keep::Contents },
                kind: if plan.directory { TargetKind::Directory } else { TargetKind::Any },
                chatter: Chatter::Quiet,
            },
            rights,
            limits,
            storage,
            manners,
            confined,
            home: plan.home,
            spelled_root: confined && matches!(plan.target, Target::Spelled(_)),
            said,
            pieces: plan.pieces.0,
            hears: plan.hears.map(usize::from),
        })
    }
}

impl Step {
    fn say(&self, said: &mut Vec<u8>) {
        match self {
            Self::Complaint(text) => line(said, &[b"\x01", &text.0]),
            Self::Directory { mode, name } => {
                line(said, &[format!("D{mode:04o} 0 ").as_bytes(), &name.bytes()]);
            }
            Self::Deeper(count) => {
                (0..=*count).for_each(|n| line(said, &[format!("D0755 0 d{}", n % 4).as_bytes()]));
            }
            Self::Empty(name) => {
                line(said, &[b"C0644 0 ", &name.bytes()]);
                said.push(0);
            }
            Self::End => line(said, &[b"E"]),
            Self::File { mode, size, name, contents, status } => {
                let contents = contents.bytes();
                let size = size.text(contents.len());
                line(said, &[format!("C{mode:04o} ").as_bytes(), &size, b" ", &name.bytes()]);
                said.extend_from_slice(&contents);
                match status {
                    Status::Byte(byte) => said.push(*byte),
                    Status::Fine => said.push(0),
                    Status::Missing => {}
                    Status::Sorry(text) => line(said, &[b"\x01", &text.0]),
                }
            }
            Self::GivenUp => line(said, &[b"\x02"]),
            Self::Raw(bytes) => said.extend_from_slice(&bytes.0),
            Self::Times { modified, micros, accessed } => {
                line(said, &[format!("T{modified} {micros} {accessed} 0").as_bytes()]);
            }
            Self::Recent(seconds) => line(said, &[format!("T{seconds} 0 {seconds} 0").as_bytes()]),
        }
    }
}

fn line(said: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| said.extend_from_slice(part));
    said.push(b'\n');
}

impl Name {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.0.clone(),
            Self::Known(n) => NAMES[usize::from(*n) % NAMES.len()].to_vec(),
            Self::Long(byte, length) => vec![*byte; usize::from(*length % 5000)],
            Self::Numbered(n) => format!("d{}", n % 4).into_bytes(),
        }
    }
}

impl Size {
    fn text(&self, right: usize) -> Vec<u8> {
        match self {
            Self::Claimed(size) => size.to_string().into_bytes(),
            Self::Right => right.to_string().into_bytes(),
            Self::Text(text) => text.0.clone(),
            Self::Wrong(by) => right.saturating_add_signed(isize::from(*by)).to_string().into_bytes(),
        }
    }
}

impl Contents {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.0.clone(),
            Self::Run(byte, length) => vec![*byte; (*length % 300_000) as usize],
        }
    }
}
