//! Patterns, walked by descriptor inside the root: no shell and no library that works on paths.

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::Jail;
use super::gate::Passage;
use crate::name::ClientPath;
use crate::pattern::{Component, Pattern, braces, components, tilde};
use crate::policy::Leave;
use crate::refusal::{Refusal, Trail};
use crate::words::Word;

/// Bytes of paths that one word may stand for; for more the word is refused, as a shell refuses a list that is too long.
const LIST: usize = 32 * 1024 * 1024;

/// Bytes that a path costs beside its own.
const PATH: usize = 64;

impl Jail {
    /// Expands braces, `~` and patterns of a word of the request, as a shell would: sorted, hidden names only where
    /// the dot is written, and the word itself where nothing matches.
    ///
    /// `~` is where sshd starts us: the root, or, where none confines, the home directory.
    ///
    /// # Errors
    /// More matches than are served.
    pub fn expand(&self, word: &Word) -> Result<Vec<ClientPath>, Refusal> {
        // Too many braces are taken for a name, which then is not there.
        let words = braces(word).unwrap_or_else(|_| vec![word.clone()]);
        let mut paths = Vec::new();
        for word in words {
            let word = tilde(&word).unwrap_or(word);
            match self.matches(&word)? {
                matches if matches.is_empty() => paths.push(ClientPath::new(word.bytes())),
                matches => paths.extend(matches.into_iter().map(ClientPath::new)),
            }
        }
        Ok(paths)
    }

    fn matches(&self, word: &Word) -> Result<Vec<Vec<u8>>, Refusal> {
        let components = components(word);
        // Who may not read is not told what is there either.
        if self.rights.fetching == Leave::Withheld || !components.iter().any(Component::is_pattern) {
            return Ok(Vec::new());
        }
        let too_long = || Refusal::new(&Trail::from_path(&ClientPath::new(word.bytes())), Errno::E2BIG);
        let mut paths = vec![None];
        for component in &components {
            let mut longer = List { paths: Vec::new(), room: LIST };
            for path in &paths {
                let path = path.as_deref();
                let fitted = match component {
                    Component::Literal(name) => longer.push(join(path, name)),
                    Component::Pattern(pattern) => self.extend_matching(path, pattern, &mut longer),
                };
                fitted.ok_or_else(too_long)?;
            }
            paths = longer.paths;
        }
        let mut paths: Vec<_> = paths.into_iter().flatten().collect();
        if !components.last().is_some_and(Component::is_pattern) {
            paths.retain(|path| self.is_there(path));
        }
        // If none may be fetched, the answers would tell what is there: then it is as if nothing matched.
        let may_pass =
            |path: &Vec<u8>| self.passage(Some(&self.route(&ClientPath::new(path.as_slice())))).is_ok();
        if self.has_rules() && !paths.iter().any(may_pass) {
            return Ok(Vec::new());
        }
        paths.sort_unstable();
        Ok(paths)
    }

    /// Adds the names in the directory at `path` that match, if there is room; a directory that cannot be read has none.
    fn extend_matching(&self, path: Option<&[u8]>, pattern: &Pattern, found: &mut List) -> Option<()> {
        let route = self.route(&ClientPath::new(path.map(|path| join(Some(path), b"")).unwrap_or_default()));
        if self.passage(Some(&route)).is_err() {
            return Some(());
        }
        let Ok(dir) = self.open_directory(&route, Trail::default()) else { return Some(()) };
        let Ok(mut names) = dir.names() else { return Some(()) };
        let mut matching =
            names.by_ref().map_while(Result::ok).filter(|name| pattern.matches(name.as_bytes()));
        matching.try_for_each(|name| found.push(join(path, name.as_bytes())))
    }

    fn is_there(&self, path: &[u8]) -> bool {
        let route = self.route(&ClientPath::new(path));
        let kind = match self.passage(Some(&route)) {
            // Refused for being there, or not found: the answers would tell.
            Err(_) => return false,
            // What leads to something is a directory.
            Ok(Passage::Through(_)) => OFlag::O_DIRECTORY,
            Ok(Passage::Free) => OFlag::empty(),
        };
        self.look_up(&route, OFlag::O_PATH | kind).is_ok()
    }
}

/// Paths, and how many bytes there is room for.
struct List {
    paths: Vec<Option<Vec<u8>>>,
    room: usize,
}

impl List {
    fn push(&mut self, path: Vec<u8>) -> Option<()> {
        self.room = self.room.checked_sub(path.len().saturating_add(PATH))?;
        self.paths.push(Some(path));
        Some(())
    }
}

/// Puts a slash between two components; the first one has none before it.
fn join(path: Option<&[u8]>, name: &[u8]) -> Vec<u8> {
    match path {
        None => name.to_vec(),
        Some(path) => [path, b"/", name].concat(),
    }
}
