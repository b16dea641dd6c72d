//! The sink again, in memory, from the protocol's description.

use std::env;
use std::os::unix::ffi::OsStrExt;

use nix::unistd::geteuid;
use scp_server::abort::Abort;
use scp_server::policy::{Collision, Pipeline, Replacement, Unit};
use scp_server::refusal::Tally;
use scp_server::request::{Depth, Keep, TargetKind};

use super::{Session, UMASK};
use crate::furniture::STALE;
use crate::naive::{self, Line};
use crate::tree::{Astray, Id, Kind, Node, Tree};
use crate::wire::moves;
use crate::yard::{Yard, is_temporary};

/// The answers that were given, in order.
struct Heard<'a> {
    left: &'a [u8],
    /// Some were perhaps given that nobody heard.
    deaf: bool,
}

/// What the program ought to say to a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Guess {
    /// No, or yes, and no when the contents have come.
    Late,
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
pub(super) struct Model<'a> {
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

/// Bytes of the largest file that is small.
const SMALL: u64 = 32 * 1024;

const OUT_OF_STEP: Result<End, Lost> = Ok(End::Abort { has_words: true });

impl<'a> Model<'a> {
    pub(super) fn new(session: &'a Session, tree: Tree, heard: &'a [u8], deaf: bool) -> Self {
        Self {
            session,
            tree,
            heard: Heard { left: heard, deaf },
            levels: vec![],
            times: None,
            known: true,
            owed: 0,
            told: 0,
            complaints: 0,
            certain: 0,
            slots: 0,
            probed: None,
        }
    }
}

impl Model<'_> {
    pub(super) fn check(mut self, yard: &Yard, ended: &Result<Tally, Abort>) {
        // What the modes forbid is not modelled, and nobody says so.
        self.known &= !self.heard.deaf || geteuid().is_root();
        let Ok(end) = self.converse() else { return yard.check_is_tidy(&STALE) };
        if !self.levels.is_empty() && !geteuid().is_root() {
            // Whether the modes could be set is not told any more.
            self.known = false;
        }
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
        let answer = self.heard.answer();
        // Late, it is due in another place.
        let is_due = guess == Guess::No || guess == Guess::Late && matches!(answer, Some(Err(_)));
        self.owed += u64::from(is_due);
        match (answer, guess) {
            (Some(Err(text)), Guess::Yes) if !geteuid().is_root() && text.ends_with("Permission denied") => {
                // What the modes forbid is not modelled.
                self.known = false;
                Ok(false)
            }
            (Some(Err(text)), _) if self.known && guess != Guess::Unknown => {
                let for_others = 1 + more(&text);
                assert!(is_due || (waits && only_counts), "refused: {text}");
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
            (None, Guess::Late | Guess::Unknown) if self.heard.deaf => Err(Lost),
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
                    let is_late = guess == Guess::Late && self.known;
                    tally.refused += u64::from(guess == Guess::No || is_late);
                    if !self.answered(guess, false)? {
                        tally.refused += u64::from(guess == Guess::Unknown);
                        continue;
                    }
                    if guess == Guess::No || is_late {
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
                            self.answered(if is_late { Guess::No } else { Guess::Yes }, true)?;
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
                            self.answered(
                                if plan.is_some() || is_late { Guess::No } else { Guess::Yes },
                                true,
                            )?;
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
        let too_large = self.session.limits.file_size.is_some_and(|limit| size > limit);
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
            if self.session.rights.collision == Collision::Refuse {
                return None;
            }
            let node = self.tree.node(old);
            match node.kind {
                Kind::Directory { .. } | Kind::Fifo if self.is_new(dir) && size <= SMALL => {
                    guess = Guess::Late
                }
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

    /// Tells whether the session has made the directory that it is in: there, what has the name is looked at when the
    /// contents of a small file have come.
    fn is_new(&self, dir: Id) -> bool {
        self.levels.last().is_some_and(|level| level.made && level.dir == Some(dir))
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
                self.drop_set_id(*id);
            }
        }
    }

    /// Who is not root takes set-id bits off by writing.
    fn drop_set_id(&mut self, id: Id) {
        if !geteuid().is_root() {
            let node = self.tree.node_mut(id);
            node.mode &= if node.mode & 0o010 == 0 { !0o4000 } else { !0o6000 };
        }
    }

    fn commit(&mut self, plan: Upload, contents: &[u8], mode: u32, times: Option<i64>) {
        let kept = if self.tree.confined() { 0o777 } else { 0o7777 };
        let keeps = self.session.store.keep == Keep::Attributes;
        if let Some(id) = plan.in_place {
            self.drop_set_id(id);
        }
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
                    Some(id) => {
                        self.tree.is_directory(id) && self.session.rights.collision == Collision::Replace
                    }
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
