//! What may be done with which path: the administrator's rules, asked where the thing is done.
//!
//! Where there are such rules, links are not followed: the path from the root is what a thing is, or a second way to it
//! would be a way around them.

use nix::errno::Errno;

use super::dir::{Dir, Entry};
use super::{Jail, Links};
use crate::name::FileName;
use crate::policy::{DotFiles, Operation, Verdict};
use crate::refusal::Cause;

/// What an upload may need of a directory that it goes through.
pub(super) const STORING: &[Operation] = &[Operation::Create, Operation::Mkdir, Operation::Overwrite];

/// Whether what a path leads to may be sent.
pub(super) enum Passage {
    /// It may.
    Free,
    /// It may not, for this reason; if it is a directory, something in it may, and it can be gone through.
    Through(Cause),
}

impl Passage {
    /// Lets what was found pass, or not: what is not let through is refused in the same words as what is not there.
    pub(super) fn admit<'j>(self, found: Result<Entry<'j>, Cause>) -> Result<Entry<'j>, Cause> {
        match (self, found) {
            (Self::Free, found) => found,
            (Self::Through(_), Ok(directory @ Entry::Directory(..))) => Ok(directory),
            (Self::Through(why), _) => Err(why),
        }
    }
}

impl Jail {
    /// Tells whether paths are told apart by rules.
    pub(super) fn has_rules(&self) -> bool {
        self.links == Links::Refused
    }

    /// Decides about an operation on what `route` leads to; one that is too long to be told is refused.
    pub(super) fn judge(&self, route: Option<&[u8]>, operation: Operation) -> Result<(), Cause> {
        if !self.has_rules() {
            return Ok(());
        }
        let whole = self.whole(route.ok_or(Errno::ENAMETOOLONG)?);
        match self.rights.dot_files {
            DotFiles::Deny if has_dot(&whole) => {
                return Err(Cause::Forbidden("names that begin with a dot are"));
            }
            DotFiles::Hide if has_dot(&whole) => return Err(Cause::Hidden),
            _ => {}
        }
        match self.rights.paths.judge(&whole, operation) {
            Verdict::Allowed => Ok(()),
            Verdict::Denied => Err(Cause::Forbidden(match operation {
                Operation::Create => "storing this is",
                Operation::Download => "downloading this is",
                Operation::Mkdir => "this directory is",
                Operation::Overwrite => "replacing this is",
            })),
            Verdict::Hidden => Err(Cause::Hidden),
        }
    }

    /// Decides about sending what `route` leads to.
    pub(super) fn passage(&self, route: Option<&[u8]>) -> Result<Passage, Cause> {
        match self.judge(route, Operation::Download) {
            Ok(()) => Ok(Passage::Free),
            Err(why) if self.leads_on(route, &[Operation::Download]) => Ok(Passage::Through(why)),
            Err(why) => Err(why),
        }
    }

    /// Tells whether one of the operations might be allowed with something below.
    pub(super) fn leads_on(&self, route: Option<&[u8]>, operations: &[Operation]) -> bool {
        let Some(whole) = route.map(|route| self.whole(route)) else { return false };
        if self.rights.dot_files != DotFiles::Allow && has_dot(&whole) {
            return false;
        }
        operations.iter().any(|&operation| self.rights.paths.leads_on(&whole, operation))
    }

    /// Returns why nothing may be stored where `route` leads, nor below: then what is there is not looked at either, or the
    /// answers would tell.
    pub(super) fn bar(&self, route: &[u8]) -> Option<Cause> {
        if !self.has_rules() || self.leads_on(Some(route), STORING) {
            return None;
        }
        let bars = STORING.iter().map(|&operation| self.judge(Some(route), operation).err());
        bars.collect::<Option<Vec<_>>>()?.into_iter().next()
    }

    /// Returns the route as the file's rules see it, and what it says of dots; its root may be further out.
    fn whole(&self, route: &[u8]) -> Vec<u8> {
        [self.within.as_slice(), b"/", route].concat()
    }
}

impl Dir<'_> {
    /// Decides about storing a file, or making a directory, under a name.
    pub(super) fn judge(&self, name: &FileName, operation: Operation) -> Result<(), Cause> {
        let names = &self.jail.rights.names;
        let named = || names.is_empty() || names.iter().any(|pattern| pattern.matches(name.as_bytes()));
        if operation != Operation::Mkdir && !named() {
            return Err(Cause::Forbidden("this name is"));
        }
        // Where no rule would look at it, no route is made.
        let route = if self.jail.has_rules() { self.route_to(name) } else { None };
        self.jail.judge(route.as_deref(), operation)
    }
}

/// Turns a route into one without detours, which is what rules are about: `a/./b/../c` is `a/c` where no links are followed.
///
/// One that leaves the root is left as it is; it leads nowhere.
pub(super) fn straighten(route: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    let mut last: &[u8] = b"";
    for name in route.split(|&byte| byte == b'/') {
        last = name;
        match name {
            b"" | b"." => {}
            b".." if names.pop().is_none() => return route.to_vec(),
            b".." => {}
            name => names.push(name),
        }
    }
    let mut straight = names.join(&b"/"[..]);
    if matches!(last, b"" | b"." | b"..") && !straight.is_empty() {
        // It insists on a directory.
        straight.push(b'/');
    }
    straight
}

fn has_dot(route: &[u8]) -> bool {
    route.split(|&byte| byte == b'/').any(|name| name.starts_with(b".") && !matches!(name, b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_straight_or_leads_nowhere() {
        for (route, straight) in [
            ("", ""),
            (".", ""),
            ("a/./b/../c", "a/c"),
            ("a//b/", "a/b/"),
            ("a/b/.", "a/b/"),
            ("a/b/..", "a/"),
            ("a/..", ""),
            ("../a", "../a"),
            ("a/../../b", "a/../../b"),
        ] {
            assert_eq!(straighten(route.as_bytes()), straight.as_bytes(), "{route}");
        }
    }

    #[test]
    fn a_dot_counts_in_every_name_of_a_route() {
        for (route, dotted) in [("a/.b/c", true), (".a", true), ("a.b/c.", false), ("../a/./b", false)] {
            assert_eq!(has_dot(route.as_bytes()), dotted, "{route}");
        }
    }
}
