use std::env;

use arbitrary::{Arbitrary, Unstructured};
use nix::unistd::geteuid;
use scp_server::abort::Abort;
use scp_server::channel::Channel;
use scp_server::jail::Jail;
use scp_server::policy::{
    Grant, Leave, Manners, Metadata, Patience, Pipeline, Replacement, Rights, Sandbox, Storage, Sync, Unit,
};
use scp_server::refusal::Tally;
use scp_server::request::{self, Chatter, Depth, Keep, Request, Store, TargetKind};
use scp_server::sink;
use scp_server::words::{Letter, Word, split};

use crate::bytes::Bytes;
use crate::memory;
use crate::naive::{self, Line};
use crate::tree::{Astray, Id, Kind, Node, Tree};
use crate::wire::moves;
use crate::yard::{self, CANARY, Ears, Yard, is_temporary};

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
    println!("{:#?}", Plan::arbitrary(&mut Unstructured::new(data)));
}

// -- what the fuzzer makes up --

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
                None if word == "new" => session.rights.replacing = Leave::Withheld,
                None if word == "off" => session.storage.replacement = Replacement::Off,
                None if word == "ahead" => session.manners.pipeline = Pipeline::On,
                None if word == "auto" => session.manners.pipeline = Pipeline::Auto,
                None if word == "tree" => session.storage.unit = Unit::Tree,
                None if word == "sync" => session.storage.sync = Sync::File,
                Some(("hears", bytes)) => session.hears = Some(bytes.parse::<u16>().ok()?.into()),
                Some(("limit", bytes)) => session.rights.file_size = Some(bytes.parse().ok()?),
                Some(("pieces", length)) => session.pieces = vec![length.parse().ok()?; 15],
                _ => return None,
            }
        }
        let is_safe =
            |word: &Word| TARGETS[..HOST_TARGETS].iter().any(|safe| *word == Word::literal(safe.as_bytes()));
        (session.confined || session.store.targets.iter().all(is_safe)).then_some(session)
    }

    fn made_up(data: &[u8]) -> Option<Self> {
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
            replacing: if plan.keep_old { Leave::Withheld } else { Leave::Given },
            file_size: plan.limit.map(u64::from),
            ..Rights::default()
        };
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

// -- the tree that is there --

/// A file of each kind; where nothing confines, no way leads out. If it `shares`, the canary has a name inside, too.
pub fn furnished(confined: bool, shares: bool, yard: &Yard) -> Tree {
    let root = Tree::ROOT;
    let mut tree = Tree::new(confined);
    let dir = tree.put(root, b"dir", Node::directory(0o755));
    tree.put(dir, b"inner", Node::file("inner", 0o640));
    tree.put(dir, b"side", Node::link("../file"));
    let file = tree.put(root, b"file", Node::file("old contents", 0o644));
    tree.link(root, b"pair", file);
    tree.put(root, b"ro", Node::directory(0o500));
    tree.put(root, b"drop", Node::directory(0o300));
    tree.put(root, b"shared", Node::directory(0o2755));
    tree.put(root, b"fifo", Node::new(Kind::Fifo, 0o600));
    tree.put(root, b"in", Node::link("dir"));
    tree.put(root, b"alias", Node::link("file"));
    tree.put(root, b"gone", Node::link("nowhere"));
    let ssh = tree.put(root, b".ssh", Node::directory(0o700));
    tree.put(ssh, b"authorized_keys", Node::file("key", 0o600));
    tree.put(root, b"keys", Node::link(".ssh"));
    // What a session that was killed has left, and what only looks like it.
    tree.put(root, STALE[0], Node::file("half", 0o600));
    tree.put(root, STALE[1], Node::file("whole", 0o644));
    let stale = tree.put(dir, STALE[2], Node::directory(0o700));
    tree.put(stale, b"half", Node::file("half", 0o644));
    tree.put(stale, b"away", Node::link("../../.ssh"));
    if confined {
        tree.put(dir, b"up", Node::link(".."));
        tree.put(root, b"up", Node::link(".."));
        tree.put(root, b"out", Node::link("../canary"));
        tree.put(root, b"leaf", Node::link("../canary/secret"));
        tree.put(root, b"abs", Node::link(yard.canary()));
        if shares {
            let hard = tree.put(root, b"hard", Node::file(CANARY, 0o644));
            tree.node_mut(hard).names_outside = 1;
        }
    }
    tree
}

/// Names of files in transfer that are there from the beginning.
const STALE: [&[u8]; 3] = [b".scp-00000000000000aa", b".scp-00000000000000bb", b".scp-00000000000000cc"];

// -- the session --

impl Session {
    fn play(mut self, yard: &Yard) {
        if self.spelled_root
            && let [word] = self.store.targets.as_mut_slice()
        {
            use std::os::unix::ffi::OsStrExt;
            *word = Word::literal(&[yard.root.as_os_str().as_bytes(), &word.bytes()].concat());
        }
        let tree = furnished(self.confined, true, yard);
        yard.lay_out(&tree);
        env::set_current_dir(&yard.root).unwrap();
        let grant = Grant {
            root: self.confined.then(|| yard.root.clone()),
            home: self.home.then(|| yard.root.clone()),
            rights: self.rights,
            storage: self.storage,
            sandbox: Sandbox::Off,
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
        let model = Model {
            session: &self,
            tree,
            heard: Heard { left: &heard, deaf },
            levels: vec![],
            times: None,
            known: true,
            owed: 0,
            told: 0,
            complaints: 0,
            certain: 0,
            slots: 0,
            probed: None,
        };
        model.check(yard, &ended);
    }
}

/// The answers that were given, in order.
struct Heard<'a> {
    left: &'a [u8],
    /// Some were perhaps given that nobody heard.
    deaf: bool,
}

/// What the program ought to say to a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Guess {
    No,
    Unknown,
    Yes,
}

/// The end of what can be foretold.
struct Lost;

impl Heard<'_> {
    /// Takes an answer: yes, or the words of a refusal.
    fn answer(&mut self) -> Option<Result<(), String>> {
        let (&first, rest) = self.left.split_first()?;
        match first {
            0 => {
                self.left = rest;
                Some(Ok(()))
            }
            1 => {
                let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
                    if self.deaf {
                        self.left = b"";
                        return None;
                    }
                    panic!("an answer without an end: {}", rest.escape_ascii());
                };
                let text = String::from_utf8(rest[..end].to_vec()).unwrap();
                assert!(end + 2 <= 2046 && text.starts_with("scp: ") && !text.chars().any(moves), "{text:?}");
                self.left = &rest[end + 1..];
                Some(Err(text))
            }
            other => panic!("no answer begins so: {other}"),
        }
    }
}

/// The sink again, in memory, from the protocol's description.
struct Model<'a> {
    session: &'a Session,
    tree: Tree,
    heard: Heard<'a>,
    levels: Vec<Level>,
    times: Option<i64>,
    /// Whether it is known what the target leads to.
    known: bool,
    /// Refusals that were not told yet, and those that were.
    owed: u64,
    told: u64,
    /// Complaints of the client's, which are not answered.
    complaints: u64,
    /// Answers that are certain to be asked for, but for the last one of all: on that one the client may leave.
    certain: usize,
    /// Answers that were due so far, and how many had been when the way of the client was tried out.
    slots: u64,
    probed: Option<u64>,
}

struct Level {
    /// None: it was refused when it had been acknowledged already.
    dir: Option<Id>,
    made: bool,
    mode: u32,
    keeps: bool,
    /// The way from the root, as far as a link may be followed by it.
    route: Option<Vec<u8>>,
    staged: Option<Staged>,
}

/// A tree that is put in its place as a whole.
struct Staged {
    dir: Id,
    name: Vec<u8>,
    /// Entries that had been refused before.
    refused: u64,
}

/// Where the target leads.
enum Goal {
    Directory(Id, Vec<u8>),
    Name { dir: Id, route: Vec<u8>, name: Vec<u8>, insists: bool },
    Nowhere,
    Unknown,
}

/// How the session ends.
enum End {
    Abort { has_words: bool },
    Rest(Tally),
}

const OUT_OF_STEP: Result<End, Lost> = Ok(End::Abort { has_words: true });

impl Model<'_> {
    fn check(mut self, yard: &Yard, ended: &Result<Tally, Abort>) {
        let Ok(end) = self.converse() else { return yard.check_is_tidy(&STALE) };
        while let Some(level) = self.levels.pop() {
            self.finish(&level);
        }
        self.check_surplus(matches!(end, End::Abort { .. }));
        match (&end, ended) {
            (End::Abort { has_words }, Err(abort)) => {
                assert_eq!(abort.last_words().is_some(), *has_words, "{abort}");
                if *has_words {
                    let words = self.heard.answer();
                    assert!(matches!(words, Some(Err(_))) || self.heard.deaf, "{words:?}");
                }
            }
            (End::Rest(tally), Ok(counted)) => {
                if self.known {
                    assert_eq!(counted, tally);
                    // What is refused is told, or the client cannot know it.
                    let told = self.told + self.complaints == tally.refused;
                    assert!(told || self.heard.deaf || self.session.manners.pipeline == Pipeline::On);
                }
            }
            (_, ended) => panic!("ended with {ended:?}"),
        }
        assert!(self.heard.left.is_empty(), "more was said: {}", self.heard.left.escape_ascii());
        if self.known {
            self.tree.compare(yard.root());
        } else {
            yard.check_is_tidy(&STALE);
        }
    }

    /// Takes what was acknowledged ahead of its time, which is only what is certain to be asked for.
    fn check_surplus(&mut self, is_cut: bool) {
        let surplus = self.heard.left.iter().take_while(|&&byte| byte == 0).count();
        let most = match self.session.manners.pipeline {
            Pipeline::Off => 0,
            // A second answer is tried at the first directory, to see how the client reads; it may be the last one.
            Pipeline::Auto if is_cut && self.probed == Some(self.slots) => self.certain.max(1),
            Pipeline::Auto if is_cut => self.certain,
            Pipeline::Auto => 0,
            Pipeline::On => 256,
        };
        assert!(surplus <= most, "{surplus} answers too many, {most} is the most");
        self.heard.left = &self.heard.left[surplus..];
    }

    /// Compares the next answer with what it ought to be, and tells whether the client takes it for a yes.
    ///
    /// Whoever acknowledges ahead may tell a refusal later, where it `only_counts`.
    fn answered(&mut self, guess: Guess, only_counts: bool) -> Result<bool, Lost> {
        let guess = if self.known { guess } else { Guess::Unknown };
        let waits = self.session.manners.pipeline != Pipeline::Off;
        self.slots += 1;
        self.owed += u64::from(guess == Guess::No);
        match (self.heard.answer(), guess) {
            (Some(Err(text)), Guess::Yes) if !geteuid().is_root() && text.ends_with("Permission denied") => {
                // What the modes forbid is not modelled.
                self.known = false;
                Ok(false)
            }
            (Some(Err(text)), _) if self.known && guess != Guess::Unknown => {
                let for_others = 1 + more(&text);
                assert!(guess == Guess::No || (waits && only_counts), "refused: {text}");
                self.told += for_others;
                self.owed =
                    self.owed.checked_sub(for_others).unwrap_or_else(|| panic!("who was refused? {text}"));
                Ok(false)
            }
            (Some(Err(text)), _) => {
                self.told += 1 + more(&text);
                Ok(false)
            }
            (Some(Ok(())), Guess::No) if !waits => panic!("not refused"),
            (Some(Ok(())), _) => Ok(true),
            (None, Guess::Unknown) if self.heard.deaf => Err(Lost),
            // Whether it was a late refusal or an early yes is not known.
            (None, _) if self.heard.deaf && waits => Err(Lost),
            (None, guess) if self.heard.deaf => Ok(guess == Guess::Yes),
            (None, guess) => panic!("no answer where {guess:?} was due"),
        }
    }

    fn converse(&mut self) -> Result<End, Lost> {
        let store = &self.session.store;
        let Some(goal) = self.goal() else { return OUT_OF_STEP };
        if matches!(goal, Goal::Unknown) {
            self.known = false;
            // It is told by the first answer whether there is one target, and a directory.
            if self.heard.left.first() != Some(&0) {
                return if self.heard.deaf { Err(Lost) } else { OUT_OF_STEP };
            }
        } else if store.kind == TargetKind::Directory && !matches!(goal, Goal::Directory(..)) {
            return OUT_OF_STEP;
        }
        self.answered(Guess::Yes, false)?;
        let mut tally = Tally::default();
        let mut said = self.session.said.as_slice();
        loop {
            let open = self.levels.len();
            // Of each directory its end; after times, what they are for and the end of that.
            self.certain = match self.times {
                Some(_) if open > 0 => open + 1,
                _ => open.saturating_sub(1),
            };
            let Some(&first) = said.first() else {
                let at_rest = self.levels.is_empty() && self.times.is_none();
                return if at_rest { Ok(End::Rest(tally)) } else { OUT_OF_STEP };
            };
            if !b"CDET\x01\x02".contains(&first) {
                return OUT_OF_STEP;
            }
            let window = &said[..said.len().min(4096)];
            let Some(end) = window.iter().position(|&byte| byte == b'\n') else { return OUT_OF_STEP };
            let Some(record) = naive::line(&said[..end]) else { return OUT_OF_STEP };
            said = &said[end + 1..];
            match record {
                Line::Complaint => {
                    self.complaints += 1;
                    tally.refused += 1;
                }
                Line::GivenUp => return Ok(End::Abort { has_words: false }),
                Line::Times((modified, _), _) => {
                    self.times = Some(modified);
                    self.answered(Guess::Yes, false)?;
                }
                Line::End => {
                    if self.times.is_some() {
                        return OUT_OF_STEP;
                    }
                    let Some(level) = self.levels.pop() else {
                        self.answered(Guess::Yes, true)?;
                        return Ok(End::Rest(tally));
                    };
                    let whole = self.finish(&level) && self.commit_tree(&level, tally.refused);
                    tally.refused += u64::from(!whole);
                    self.answered(if whole { Guess::Yes } else { Guess::No }, true)?;
                }
                Line::Directory { mode, name } => {
                    if store.depth == Depth::Flat {
                        return OUT_OF_STEP;
                    }
                    self.times = None;
                    if self.enter(&goal, mode, name, tally.refused)? {
                        tally.copied += 1;
                    } else {
                        tally.refused += 1;
                    }
                }
                Line::File { mode, size, name } => {
                    let times = self.times.take();
                    let Some(place) = self.place(&goal, &name)? else { return OUT_OF_STEP };
                    let mut plan = self.plan(place.as_ref(), size);
                    let guess = plan.as_ref().map_or(Guess::No, |plan| plan.guess);
                    tally.refused += u64::from(guess == Guess::No);
                    if !self.answered(guess, false)? {
                        tally.refused += u64::from(guess == Guess::Unknown);
                        continue;
                    }
                    if guess == Guess::No {
                        plan = None;
                    }
                    self.certain = self.levels.len();
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    let (contents, rest) = said.split_at(said.len().min(size));
                    said = rest;
                    if contents.len() < size {
                        self.write_over(plan.as_ref(), contents);
                        return OUT_OF_STEP;
                    }
                    let status = said.first().copied();
                    said = said.get(1..).unwrap_or_default();
                    match status {
                        None | Some(0) => {
                            tally.copied += u64::from(plan.is_some());
                            if let Some(plan) = plan {
                                self.commit(plan, contents, mode, times);
                            }
                            self.answered(Guess::Yes, true)?;
                        }
                        Some(1) => {
                            self.write_over(plan.as_ref(), contents);
                            let window = &said[..said.len().min(4096)];
                            match window.iter().position(|&byte| byte == b'\n') {
                                Some(end) => said = &said[end + 1..],
                                None if window.len() == 4096 => return OUT_OF_STEP,
                                None => said = b"",
                            }
                            // Of what was drained it was said before that it is not stored.
                            tally.refused += u64::from(plan.is_some());
                            self.answered(if plan.is_some() { Guess::No } else { Guess::Yes }, true)?;
                        }
                        Some(other) => {
                            self.write_over(plan.as_ref(), contents);
                            return Ok(End::Abort { has_words: other != 2 });
                        }
                    }
                }
            }
        }
    }

    /// Finds where the target leads; nothing if there is not one target.
    fn goal(&self) -> Option<Goal> {
        let [word] = self.session.store.targets.as_slice() else { return None };
        if word.0.iter().any(|letter| letter.live && b"*?[{~".contains(&letter.byte)) {
            return Some(Goal::Unknown);
        }
        let mut path = word.bytes();
        if self.tree.confined() {
            use std::os::unix::ffi::OsStrExt;
            let root = env::current_dir().unwrap();
            match path.strip_prefix(root.as_os_str().as_bytes()) {
                Some(rest) if rest.is_empty() || rest.starts_with(b"/") => path = rest.to_vec(),
                _ => {}
            }
            let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
            path.drain(..slashes);
        }
        match self.tree.walk_to_directory(Tree::ROOT, &path) {
            Ok(dir) => return Some(Goal::Directory(dir, path)),
            Err(Astray::NameTooLong) => return Some(Goal::Nowhere),
            Err(Astray::Loop) if !self.tree.confined() => return Some(Goal::Nowhere),
            Err(_) => {}
        }
        let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        let insists = end < path.len();
        path.truncate(end);
        let begin = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let name = path.split_off(begin);
        if matches!(name.as_slice(), b"" | b"." | b"..") {
            return Some(Goal::Nowhere);
        }
        Some(match self.tree.walk_to_directory(Tree::ROOT, &path) {
            Ok(dir) => Goal::Name { dir, route: path, name, insists },
            Err(_) => Goal::Nowhere,
        })
    }

    /// Finds the directory and the name that a record means: nothing if it means none, and an inner nothing if it is
    /// refused.
    fn place(&self, goal: &Goal, name: &[u8]) -> Result<Option<Option<Place>>, Lost> {
        let (dir, route) = match (self.levels.last(), goal) {
            (Some(Level { dir: None, .. }), _) => return Ok(if name.is_empty() { None } else { Some(None) }),
            (Some(Level { dir: Some(dir), route, .. }), _) => (*dir, route.clone()),
            (None, Goal::Directory(dir, route)) => (*dir, Some(route.clone())),
            (None, Goal::Name { dir, route, name, insists }) => {
                let (name, insists, route) = (name.clone(), *insists, Some(route.clone()));
                return Ok(Some(Some(Place { dir: *dir, name, insists, route })));
            }
            (None, Goal::Nowhere) => return Ok(Some(None)),
            (None, Goal::Unknown) if name.is_empty() => return Err(Lost),
            (None, Goal::Unknown) => return Ok(Some(None)),
        };
        if name.is_empty() {
            return Ok(None);
        }
        Ok(Some(Some(Place { dir, name: name.to_vec(), insists: false, route })))
    }

    /// Tells whether something may be stored under a name.
    fn allows(&self, dir: Id, name: &[u8]) -> Guess {
        let confined = self.tree.confined();
        if is_temporary(name) || (confined && String::from_utf8_lossy(name).chars().any(moves)) {
            return Guess::No;
        }
        if !(confined && self.session.home) {
            return Guess::Yes;
        }
        let is = |path: &[u8]| self.tree.walk(Tree::ROOT, path) == Ok(dir);
        match dir {
            _ if is(b".ssh") => Guess::No,
            Tree::ROOT if matches!(name, b".ssh" | b".bashrc" | b".profile" | b".forward") => Guess::No,
            // There are more of them; which, is a list that is only to be written once.
            Tree::ROOT if name.starts_with(b".") => Guess::Unknown,
            _ if is(b".config") || is(b".local") || is(b".local/share") => Guess::Unknown,
            _ if self.levels.len() > 1 => Guess::Unknown,
            _ => Guess::Yes,
        }
    }

    /// Foretells whether an upload can begin, and what it will do.
    fn plan(&mut self, place: Option<&Place>, size: u64) -> Option<Upload> {
        let Place { dir, name, insists, .. } = place?;
        let (mut dir, mut name) = (*dir, name.clone());
        if *insists {
            return None;
        }
        let mut guess = self.allows(dir, &name);
        let too_large = self.session.rights.file_size.is_some_and(|limit| size > limit);
        if guess == Guess::No || too_large {
            return None;
        }
        self.clear_away(dir, guess);
        if name.len() > 255 {
            return None;
        }
        if !self.tree.confined() {
            // On the host a link is followed, to what is not there yet, too.
            for hop in 0.. {
                let Some(Kind::Link(target)) = self.tree.child(dir, &name).map(|id| &self.tree.node(id).kind)
                else {
                    break;
                };
                let begin = target.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
                dir = self.tree.walk_to_directory(dir, &target[..begin]).ok()?;
                name = target[begin..].to_vec();
                if hop >= 40 || matches!(name.as_slice(), b"" | b"." | b"..") {
                    return None;
                }
            }
        }
        let old = self.tree.child(dir, &name);
        let mut in_place = false;
        let mut old_mode = None;
        if let Some(old) = old {
            if self.session.rights.replacing == Leave::Withheld {
                return None;
            }
            let node = self.tree.node(old);
            match node.kind {
                Kind::Directory { .. } | Kind::Fifo => return None,
                Kind::Link(_) => {}
                Kind::File(_) => {
                    old_mode = Some(node.mode & 0o777);
                    let shared = self.tree.names(old) > 1;
                    in_place = match self.session.storage.replacement {
                        Replacement::Always => false,
                        Replacement::Auto => !self.tree.confined() && shared,
                        Replacement::Off => !self.tree.confined(),
                    };
                }
            }
        }
        if !in_place && size >= 1 << 20 && guess == Guess::Yes {
            // Whether there is room depends on the machine.
            guess = if size >= 1 << 50 { Guess::No } else { Guess::Unknown };
        }
        Some(Upload { dir, name, in_place: old.filter(|_| in_place), old_mode, guess })
    }

    /// Without a temporary file, what has come is there.
    fn write_over(&mut self, plan: Option<&Upload>, contents: &[u8]) {
        if let Some(Upload { in_place: Some(id), .. }) = plan
            && let Kind::File(old) = &mut self.tree.node_mut(*id).kind
        {
            let kept = old.get(contents.len()..).unwrap_or_default();
            *old = [contents, kept].concat();
            if !contents.is_empty() {
                self.tree.node_mut(*id).changed = None;
            }
        }
    }

    fn commit(&mut self, plan: Upload, contents: &[u8], mode: u32, times: Option<i64>) {
        let kept = if self.tree.confined() { 0o777 } else { 0o7777 };
        let keeps = self.session.store.keep == Keep::Attributes;
        let (id, mode) = match (plan.in_place, plan.old_mode) {
            (Some(id), _) => (id, if keeps { mode & kept } else { self.tree.node(id).mode }),
            (None, old_mode) => {
                let id = self.tree.put(plan.dir, &plan.name, Node::file("", 0));
                (id, if keeps { mode & kept } else { old_mode.unwrap_or(mode & 0o777 & !UMASK) })
            }
        };
        let node = self.tree.node_mut(id);
        node.kind = Kind::File(contents.to_vec());
        node.mode = mode;
        node.changed = times;
    }

    /// Before the first upload into a directory, what dead sessions have left in it is removed.
    fn clear_away(&mut self, dir: Id, guess: Guess) {
        if guess == Guess::Unknown {
            self.known = false;
        }
        let is_stale = |id: Id| match self.tree.node(id) {
            Node { kind: Kind::File(_), mode, .. } => *mode == 0o600,
            Node { kind: Kind::Directory { .. }, mode, .. } => mode & 0o777 == 0o700,
            _ => false,
        };
        let stale: Vec<_> = self
            .tree
            .children(dir)
            .iter()
            .filter(|(name, id)| is_temporary(name) && is_stale(**id))
            .collect();
        let stale: Vec<_> = stale.into_iter().map(|(name, _)| name.clone()).collect();
        stale.iter().for_each(|name| self.tree.remove(dir, name));
    }

    /// Goes into a directory, and tells whether it is stored.
    fn enter(&mut self, goal: &Goal, mode: u32, name: Vec<u8>, refused: u64) -> Result<bool, Lost> {
        let place = self.place(goal, &name)?.flatten();
        let keeps = self.session.store.keep == Keep::Attributes;
        let mut level = Level { dir: None, made: false, mode, keeps, route: None, staged: None };
        let mut guess = Guess::No;
        if let Some(Place { dir, name, route, .. }) = place {
            guess = self.allows(dir, &name);
            let longer = route.and_then(|route| lengthen(&route, &name));
            let found = self.tree.child(dir, &name);
            if guess == Guess::No || self.levels.len() >= 256 {
                guess = Guess::No;
            } else if self.levels.is_empty() && self.session.storage.unit == Unit::Tree {
                self.clear_away(dir, guess);
                let replaceable = match found {
                    _ if name.len() > 255 => false,
                    None => true,
                    Some(id) => self.tree.is_directory(id) && self.session.rights.replacing == Leave::Given,
                };
                if replaceable {
                    if let Some(old) = found
                        && !keeps
                    {
                        (level.mode, level.keeps) = (self.tree.node(old).mode & 0o777, true);
                    }
                    level.made = true;
                    // Under a name that nobody can ask for.
                    level.route = Some(vec![b'/'; 4096]);
                    level.staged = Some(Staged { dir, name, refused });
                } else {
                    guess = Guess::No;
                }
            } else {
                let there = match found {
                    _ if name.len() > 255 => None,
                    None => Some(None),
                    Some(id) => match self.tree.node(id).kind {
                        Kind::Directory { .. } => Some(Some(id)),
                        Kind::Link(_) if self.tree.confined() => {
                            let target =
                                longer.as_ref().map(|route| self.tree.walk_to_directory(Tree::ROOT, route));
                            target.and_then(Result::ok).map(Some)
                        }
                        // The host's own lookup goes on from where we are.
                        Kind::Link(_) => self.tree.walk_to_directory(dir, &name).ok().map(Some),
                        _ => None,
                    },
                };
                match there {
                    None => guess = Guess::No,
                    Some(there) => {
                        level.route = longer;
                        level.made = there.is_none();
                        level.dir = there;
                        if level.made {
                            level.staged = Some(Staged { dir, name, refused });
                        }
                    }
                }
            }
        }
        let yes = self.answered(guess, false)?;
        let known = self.known && guess != Guess::No;
        if yes && self.levels.is_empty() {
            self.probed.get_or_insert(self.slots);
        }
        if let (true, true, Some(Staged { dir, name, .. })) = (yes, known, &level.staged) {
            let inherited = self.tree.node(*dir).mode & 0o2000;
            let id = self.tree.detached(*dir, 0o700 | inherited);
            if self.levels.is_empty() && self.session.storage.unit == Unit::Tree {
                level.dir = Some(id);
            } else {
                self.tree.link(*dir, name, id);
                level.staged = None;
                level.dir = Some(id);
            }
        } else {
            level.staged = None;
        }
        if yes && known {
            if !level.made
                && keeps
                && let Some(id) = level.dir
            {
                self.tree.node_mut(id).mode |= 0o700;
            }
            self.levels.push(level);
        } else if yes {
            // Refused after all, or not known where.
            self.levels.push(Level { dir: None, made: false, mode, keeps, route: None, staged: None });
        }
        Ok(if self.known { guess != Guess::No && yes } else { yes })
    }

    /// Gives a directory its mode.
    fn finish(&mut self, level: &Level) -> bool {
        let kept = if self.tree.confined() { 0o777 } else { 0o7777 };
        let Some(dir) = level.dir else { return true };
        let node = self.tree.node_mut(dir);
        if level.keeps {
            node.mode = level.mode & kept | node.mode & 0o2000;
        } else if level.made {
            node.mode = level.mode & 0o777 & !UMASK | node.mode & 0o2000;
        }
        true
    }

    /// Puts a tree in its place, if nothing in it was refused.
    fn commit_tree(&mut self, level: &Level, refused: u64) -> bool {
        let (Some(id), Some(Staged { dir, name, refused: before })) = (level.dir, &level.staged) else {
            return true;
        };
        let whole = refused == *before;
        if whole {
            self.tree.link(*dir, name, id);
        }
        whole
    }
}

/// Reads for how many more entries a refusal stands.
fn more(text: &str) -> u64 {
    let number = || text.strip_suffix(" more errors)")?.rsplit_once(" (and ")?.1.parse().ok();
    number().unwrap_or(0)
}

struct Place {
    dir: Id,
    name: Vec<u8>,
    insists: bool,
    route: Option<Vec<u8>>,
}

struct Upload {
    dir: Id,
    name: Vec<u8>,
    /// The old file, if it is written into.
    in_place: Option<Id>,
    old_mode: Option<u32>,
    guess: Guess,
}

fn lengthen(route: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let slash: &[u8] = if route.is_empty() || route.ends_with(b"/") { b"" } else { b"/" };
    let longer = [route, slash, name].concat();
    (longer.len() < 4096).then_some(longer)
}
