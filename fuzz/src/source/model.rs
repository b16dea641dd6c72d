//! The receiving side, which knows what it ought to receive.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use scp_server::abort::Abort;
use scp_server::refusal::Tally;
use scp_server::request::{Depth, Keep};
use scp_server::wire::Record;
use scp_server::words::Letter;

use super::Session;
use crate::naive::{self, Line};
use crate::tree::{Id, Kind, Tree};
use crate::wire::moves;
use crate::yard::{Yard, is_temporary};

/// Complaints of a directory that are told in words; the rest is a number.
const TOLD: usize = 64;

/// The receiving side, which knows what it ought to receive.
pub(super) struct Model<'a> {
    session: &'a Session,
    heard: &'a [u8],
    /// Whether the end of what was heard may be missing.
    deaf: bool,
    said: &'a [u8],
    levels: Vec<Level>,
    tally: Tally,
    /// Whether it is known what the request stands for.
    known: bool,
}

/// A directory that is being received.
struct Level {
    dir: Id,
    route: Vec<u8>,
    /// What is yet to come: by the name in the record, what may be under it.
    due: BTreeMap<Vec<u8>, Vec<Id>>,
    /// Entries of which only the times were announced.
    skipped: usize,
    /// Entries that cannot be sent.
    held: usize,
}

/// Why nothing more is foretold.
#[derive(Debug)]
enum Stop {
    Abort { has_words: bool },
    Deaf,
}

#[derive(Debug)]
enum Sent {
    File { size: usize },
    Directory,
}

impl<'a> Model<'a> {
    pub(super) fn new(session: &'a Session, heard: &'a [u8], deaf: bool) -> Self {
        let said = &session.said;
        Self { session, heard, deaf, said, levels: vec![], tally: Tally::default(), known: true }
    }
}

impl Model<'_> {
    pub(super) fn check(mut self, yard: &Yard, ended: &Result<Tally, Abort>) {
        match (self.converse(yard), ended) {
            (Err(Stop::Deaf), _) => {}
            (Ok(()), Ok(tally)) => {
                if self.known {
                    assert_eq!(*tally, self.tally);
                }
            }
            (Err(Stop::Abort { has_words }), Err(abort)) => {
                assert_eq!(abort.last_words().is_some(), has_words, "{abort}");
            }
            (expected, ended) => panic!("ended with {ended:?}, not {expected:?}"),
        }
        assert!(self.deaf || self.heard.is_empty(), "more was said: {}", self.heard.escape_ascii());
    }

    fn converse(&mut self, yard: &Yard) -> Result<(), Stop> {
        let ended = self.all(yard);
        if let Err(Stop::Abort { has_words: true }) = ended
            && !self.deaf
        {
            self.complaint()?;
        }
        ended
    }

    fn all(&mut self, yard: &Yard) -> Result<(), Stop> {
        if !self.answer()? {
            return Ok(());
        }
        let special = |letter: &Letter| letter.live && b"*?[{~".contains(&letter.byte);
        // What the modes forbid is not modelled.
        let is_readable = self.session.tree.is_readable();
        if !is_readable || self.session.fetch.sources.iter().any(|word| word.0.iter().any(special)) {
            self.known = false;
            return self.anything();
        }
        let mut held = 0;
        for word in &self.session.fetch.sources {
            let path = word.bytes();
            let route = self.route(&path, yard);
            let name = last(&path);
            let found = match last(&route) {
                Some(name) if is_temporary(&name) => None,
                _ => self.session.tree.walk(Tree::ROOT, &route).ok(),
            };
            let Some(id) = found else {
                held += 1;
                continue;
            };
            let name = match &self.session.tree.node(id).kind {
                Kind::File(_) => name,
                Kind::Directory { .. } if self.session.fetch.depth == Depth::Tree => {
                    let name = name.unwrap_or_else(|| match id {
                        Tree::ROOT => b"root".to_vec(),
                        _ => self.session.tree.name(id),
                    });
                    (!name.contains(&b'\n')).then_some(name)
                }
                _ => None,
            };
            let Some(name) = name else {
                held += 1;
                continue;
            };
            let mut due = BTreeMap::from([(written(&name), vec![id])]);
            self.entry(&mut due, &route)?;
            while !self.levels.is_empty() {
                self.step()?;
            }
        }
        self.complaints(held)
    }

    /// Takes a record, and its contents, in the innermost directory; or its end.
    fn step(&mut self) -> Result<(), Stop> {
        let Some(&first) = self.heard.first() else { return self.out_of_words() };
        let mut level = self.levels.pop().unwrap();
        if first == 1 || first == b'E' {
            let due: usize = level.due.values().map(Vec::len).sum();
            assert_eq!(due, level.skipped, "left out: {:?}", level.due);
            self.complaints(level.held)?;
            assert_eq!(self.record()?, Line::End);
            self.answer()?;
            return Ok(());
        }
        let route = level.route.clone();
        let mut due = std::mem::take(&mut level.due);
        self.levels.push(level);
        let at = self.levels.len() - 1;
        let announced = self.entry(&mut due, &route);
        self.levels[at].due = due;
        if !announced? {
            self.levels[at].skipped += 1;
        }
        Ok(())
    }

    /// Takes one of the entries that are due, and tells whether it is known which.
    fn entry(&mut self, due: &mut BTreeMap<Vec<u8>, Vec<Id>>, route: &[u8]) -> Result<bool, Stop> {
        let keeps = self.session.fetch.keep == Keep::Attributes;
        if keeps {
            let record = self.record()?;
            assert!(matches!(record, Line::Times(..)), "{record:?}");
            if !self.answer()? {
                return Ok(false);
            }
        }
        let (name, mode, sent) = match self.record()? {
            Line::File { mode, size, name } => (name, mode, Sent::File { size: size as usize }),
            Line::Directory { mode, name } => (name, mode, Sent::Directory),
            other => panic!("{other:?} where an entry was due"),
        };
        let tree = &self.session.tree;
        let told = if tree.confined() { 0o777 } else { 0o6777 };
        let candidates =
            due.get_mut(&name).unwrap_or_else(|| panic!("nobody asked for {}", name.escape_ascii()));
        let wanted = self.said.first() == Some(&0);
        let mut fits = |id: &Id| {
            let node = tree.node(*id);
            let alike = match (&node.kind, &sent) {
                (Kind::File(contents), Sent::File { size }) => {
                    let body = &self.heard[..contents.len().min(self.heard.len())];
                    contents.len() == *size && (!wanted || contents.starts_with(body))
                }
                (Kind::Directory { .. }, Sent::Directory) => true,
                _ => false,
            };
            alike && mode == node.mode & told
        };
        let Some(which) = candidates.iter().position(&mut fits) else {
            panic!("{sent:?} of mode {mode:o} is not {}", name.escape_ascii());
        };
        let id = candidates.swap_remove(which);
        if !self.answer()? {
            return Ok(true);
        }
        self.tally.copied += 1;
        match &tree.node(id).kind {
            Kind::File(contents) => {
                self.contents(contents.len())?;
            }
            _ => {
                let route = if self.levels.is_empty() { route.to_vec() } else { extend(route, &name) };
                self.enter(id, route);
            }
        }
        Ok(true)
    }

    /// Takes contents, what is said of them, and answers.
    fn contents(&mut self, size: usize) -> Result<(), Stop> {
        if self.heard.len() < size + 1 {
            return self.out_of_words();
        }
        let (_, rest) = self.heard.split_at(size);
        assert_eq!(rest[0], 0, "after the contents");
        self.heard = &rest[1..];
        // A client that has all may leave; the next record will tell.
        if !self.said.is_empty() {
            self.answer()?;
        }
        Ok(())
    }

    fn enter(&mut self, dir: Id, route: Vec<u8>) {
        let tree = &self.session.tree;
        let mut level = Level { dir, route, due: BTreeMap::new(), skipped: 0, held: 0 };
        for (name, &id) in tree.children(dir) {
            if is_temporary(name) {
                continue;
            }
            let target = match tree.node(id).kind {
                // A link is looked up by the way that led here.
                Kind::Link(_) if tree.confined() => {
                    let whole = extend(&level.route, name);
                    if whole.len() < 4096 { tree.walk(Tree::ROOT, &whole).ok() } else { None }
                }
                Kind::Link(_) => tree.walk(dir, name).ok(),
                _ => Some(id),
            };
            let is_open = |id| id == dir || self.levels.iter().any(|level| level.dir == id);
            match target {
                Some(id) if matches!(tree.node(id).kind, Kind::File(_)) => {
                    level.due.entry(written(name)).or_default().push(id);
                }
                Some(id) if tree.is_directory(id) && !name.contains(&b'\n') && !is_open(id) => {
                    level.due.entry(written(name)).or_default().push(id);
                }
                _ => level.held += 1,
            }
        }
        self.levels.push(level);
    }

    /// Takes as many complaints as there are entries that cannot be sent.
    fn complaints(&mut self, held: usize) -> Result<(), Stop> {
        self.tally.refused += held as u64;
        for _ in 0..held.min(TOLD) {
            self.complaint()?;
        }
        if held > TOLD {
            let text = self.complaint()?;
            assert_eq!(text, format!("scp: {} more entries were not sent", held - TOLD));
        }
        Ok(())
    }

    fn complaint(&mut self) -> Result<String, Stop> {
        if self.heard.first() != Some(&1) {
            self.out_of_words()?;
        }
        let line = self.line()?;
        assert!(line.len() < 2046, "{}", line.len());
        let text = String::from_utf8(line[1..].to_vec()).unwrap();
        assert!(text.starts_with("scp: ") && !text.chars().any(moves), "{text:?}");
        Ok(text)
    }

    fn line(&mut self) -> Result<Vec<u8>, Stop> {
        let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') else {
            return self.out_of_words().map(|()| vec![]);
        };
        let line = self.heard[..end].to_vec();
        self.heard = &self.heard[end + 1..];
        Ok(line)
    }

    fn record(&mut self) -> Result<Line, Stop> {
        let line = self.line()?;
        let shown = line.escape_ascii().to_string();
        assert!(Record::parse(&line).is_ok(), "no record: {shown}");
        Ok(naive::line(&line).unwrap_or_else(|| panic!("no record: {shown}")))
    }

    fn out_of_words(&self) -> Result<(), Stop> {
        assert!(self.deaf, "something is missing after {}", self.heard.escape_ascii());
        Err(Stop::Deaf)
    }

    /// Gives the next answer: whether what was announced is wanted.
    fn answer(&mut self) -> Result<bool, Stop> {
        let Some((&first, rest)) = self.said.split_first() else {
            return Err(Stop::Abort { has_words: false });
        };
        self.said = rest;
        if first == 0 {
            return Ok(true);
        }
        let window = &rest[..rest.len().min(4096)];
        match window.iter().position(|&byte| byte == b'\n') {
            Some(end) => self.said = &rest[end + 1..],
            None if window.len() == 4096 => return Err(Stop::Abort { has_words: true }),
            None => self.said = b"",
        }
        if first != 1 {
            return Err(Stop::Abort { has_words: false });
        }
        self.tally.refused += 1;
        Ok(false)
    }

    /// Takes whatever patterns stand for, as long as it is in order and came from the tree.
    fn anything(&mut self) -> Result<(), Stop> {
        let keeps = self.session.fetch.keep == Keep::Attributes;
        let mut depth = 0_usize;
        while let Some(&first) = self.heard.first() {
            if first == 1 {
                self.complaint()?;
                continue;
            }
            let mut record = self.record()?;
            assert_eq!(keeps && record != Line::End, matches!(record, Line::Times(..)), "{record:?}");
            if keeps && record != Line::End {
                if !self.answer()? {
                    continue;
                }
                record = self.record()?;
            }
            let wanted = match record {
                Line::End => {
                    self.answer()?;
                    depth = depth.checked_sub(1).unwrap();
                    continue;
                }
                Line::Directory { .. } => {
                    assert_eq!(self.session.fetch.depth, Depth::Tree);
                    let wanted = self.answer()?;
                    depth += usize::from(wanted);
                    continue;
                }
                Line::File { size, .. } => self.answer()?.then_some(size as usize),
                other => panic!("{other:?} where an entry was due"),
            };
            if let Some(size) = wanted {
                let body = self.heard.get(..size).unwrap_or_default();
                let known = self.session.tree.contents().any(|contents| contents == body);
                assert!(known || self.heard.len() < size, "contents from elsewhere");
                self.contents(size)?;
            }
        }
        if self.deaf || depth > 0 { self.out_of_words() } else { Ok(()) }
    }

    /// Turns a path into one from the root, as the client may write it.
    fn route(&self, path: &[u8], yard: &Yard) -> Vec<u8> {
        if !self.session.tree.confined() {
            return path.to_vec();
        }
        let rest = match path.strip_prefix(yard.root.as_os_str().as_bytes()) {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
            _ => path,
        };
        let slashes = rest.iter().take_while(|&&byte| byte == b'/').count();
        rest[slashes..].to_vec()
    }
}

/// Returns the last name of a path, if it is a name.
fn last(path: &[u8]) -> Option<Vec<u8>> {
    let end = path.iter().rposition(|&byte| byte != b'/')? + 1;
    let name = path[..end].rsplit(|&byte| byte == b'/').next()?;
    (!matches!(name, b"." | b"..")).then(|| name.to_vec())
}

/// Writes a name as a record does.
fn written(name: &[u8]) -> Vec<u8> {
    name.split(|&byte| byte == b'\n').collect::<Vec<_>>().join(&b"\\^J"[..])
}

fn extend(route: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if route.is_empty() || route.ends_with(b"/") { b"" } else { b"/" };
    [route, slash, name].concat()
}
