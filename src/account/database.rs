//! The user database: /etc/passwd and /etc/group, and behind them what else the machine asks, through its getent.
//!
//! Not through the C library, which would load what serves a directory of accounts into this process: so the program can be
//! linked as a whole (build.rs), and a local account costs one open, one read and one close.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Stdio};

/// The most that is read of an answer: a group can have many members.
const ANSWER: u64 = 1024 * 1024;

/// A line of /etc/passwd.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Person {
    pub(super) name: OsString,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: OsString,
    pub(super) shell: OsString,
}

/// A line of /etc/group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Group {
    pub(super) name: OsString,
    pub(super) gid: u32,
    pub(super) members: Vec<OsString>,
}

/// What an entry is looked for by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key<'a> {
    Name(&'a OsStr),
    Number(u32),
}

/// A kind of entry.
pub(super) trait Entry: Sized {
    /// The name that getent knows it by, and the file in /etc.
    const DATABASE: &'static str;

    /// Reads a line.
    fn parse(line: &[u8]) -> Option<Self>;

    /// Tells whether it is the one.
    fn is(&self, key: Key) -> bool;
}

impl Entry for Person {
    const DATABASE: &'static str = "passwd";

    fn parse(line: &[u8]) -> Option<Self> {
        let [name, _, uid, gid, _, home, shell] = fields(line)?;
        let (uid, gid) = (number(uid)?, number(gid)?);
        Some(Self { name: named(name)?, uid, gid, home: text(home), shell: text(shell) })
    }

    fn is(&self, key: Key) -> bool {
        match key {
            Key::Name(name) => self.name == name,
            Key::Number(uid) => self.uid == uid,
        }
    }
}

impl Entry for Group {
    const DATABASE: &'static str = "group";

    fn parse(line: &[u8]) -> Option<Self> {
        let [name, _, gid, members] = fields(line)?;
        let members = members.split(|&byte| byte == b',').filter(|member| !member.is_empty());
        Some(Self { name: named(name)?, gid: number(gid)?, members: members.map(text).collect() })
    }

    fn is(&self, key: Key) -> bool {
        match key {
            Key::Name(name) => self.name == name,
            Key::Number(gid) => self.gid == gid,
        }
    }
}

/// Finds an entry: in /etc, as most are, or wherever the machine has it.
pub(super) fn find<E: Entry>(key: Key) -> Option<E> {
    local().find(|entry: &E| entry.is(key)).or_else(|| elsewhere(key))
}

/// Finds several, in no order: in one pass those that are in /etc.
pub(super) fn find_each<E: Entry>(mut keys: Vec<Key>) -> Vec<E> {
    let mut found = Vec::new();
    let mut entries = local::<E>();
    while !keys.is_empty()
        && let Some(entry) = entries.next()
    {
        if let Some(at) = keys.iter().position(|key| entry.is(*key)) {
            keys.swap_remove(at);
            found.push(entry);
        }
    }
    found.extend(keys.into_iter().filter_map(elsewhere::<E>));
    found
}

/// Returns the entries in /etc.
#[expect(clippy::disallowed_methods, reason = "a path of the system's, not the client's")]
pub(super) fn local<E: Entry>() -> impl Iterator<Item = E> + use<E> {
    let file = File::open(format!("/etc/{}", E::DATABASE)).ok();
    let lines = file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n'));
    lines.map_while(Result::ok).filter_map(|line| E::parse(&line))
}

/// Returns the numbers of the groups that somebody's session is in, but for the own one.
pub(super) fn groups_of(name: &OsStr) -> Vec<u32> {
    // "bob    4 24 27", by glibc's getent alone.
    let answer = getent("initgroups", name).unwrap_or_default();
    let mut words = answer.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    if words.next() == Some(name.as_bytes()) {
        return words.filter_map(number).collect();
    }
    let groups = local().filter(|group: &Group| group.members.iter().any(|member| member == name));
    groups.map(|group| group.gid).collect()
}

/// Asks the machine for an entry that is not in /etc.
fn elsewhere<E: Entry>(key: Key) -> Option<E> {
    let answer = match key {
        Key::Name(name) => getent(E::DATABASE, name),
        Key::Number(number) => getent(E::DATABASE, number.to_string().as_ref()),
    };
    // A name of digits is taken for a number: what comes is looked at.
    answer?.split(|&byte| byte == b'\n').filter_map(E::parse).find(|entry| entry.is(key))
}

/// Has getent look something up, away from this process and from what clients may put into its environment.
fn getent(database: &str, key: &OsStr) -> Option<Vec<u8>> {
    if key.is_empty() || key.as_bytes().starts_with(b"-") {
        return None;
    }
    let mut command = Command::new("/usr/bin/getent");
    command.arg(database).arg(key).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut asked = command.spawn().ok()?;
    let mut answer = Vec::new();
    let read = asked.stdout.take().map(|output| output.take(ANSWER).read_to_end(&mut answer));
    let status = asked.wait().ok()?;
    (status.success() && matches!(read, Some(Ok(_)))).then_some(answer)
}

/// Takes a line apart, if it has so many fields.
fn fields<const N: usize>(line: &[u8]) -> Option<[&[u8]; N]> {
    let mut fields = line.split(|&byte| byte == b':');
    let mut all = [&[][..]; N];
    for field in &mut all {
        *field = fields.next()?;
    }
    fields.next().is_none().then_some(all)
}

/// Reads a number, as the C library does: digits alone.
fn number(field: &[u8]) -> Option<u32> {
    let digits = field.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(field).ok().filter(|_| digits)?.parse().ok()
}

/// Reads a name; `+` and `-` begin lines of NIS, which name nobody.
fn named(field: &[u8]) -> Option<OsString> {
    let names = !field.is_empty() && !field.starts_with(b"+") && !field.starts_with(b"-");
    names.then(|| text(field))
}

fn text(field: &[u8]) -> OsString {
    OsString::from_vec(field.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_none_names_nobody() {
        let bob = Person::parse(b"bob:x:1000:100:Bob,,,:/home/bob:/bin/sh").unwrap();
        assert_eq!((bob.name.as_os_str(), bob.uid, bob.gid), (OsStr::new("bob"), 1000, 100));
        assert_eq!(
            (bob.home.as_os_str(), bob.shell.as_os_str()),
            (OsStr::new("/home/bob"), OsStr::new("/bin/sh"))
        );
        assert!(bob.is(Key::Name("bob".as_ref())) && bob.is(Key::Number(1000)));
        assert!(!bob.is(Key::Name("bo".as_ref())) && !bob.is(Key::Number(100)));
        for line in [
            "",
            "#bob:x:1:1",
            "bob:x:1000:100:Bob:/home/bob",
            "bob:x:1000:100:Bob:/home/bob:/bin/sh:more",
            "+bob:x:1000:100::/:/bin/sh",
            "+::::::",
            "-bob:x:1000:100::/:/bin/sh",
            ":x:0:0::/:/bin/sh",
            "bob:x::100::/:/bin/sh",
            "bob:x:+0:100::/:/bin/sh",
            "bob:x: 0:100::/:/bin/sh",
            "bob:x:4294967296:100::/:/bin/sh",
        ] {
            assert_eq!(Person::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn members_are_those_between_commas() {
        let members = |line: &str| Group::parse(line.as_bytes()).unwrap().members;
        assert_eq!(members("staff:x:50:"), Vec::<OsString>::new());
        assert_eq!(members("staff:x:50:bob"), ["bob"]);
        assert_eq!(members("staff:x:50:bob,eve,"), ["bob", "eve"]);
        assert_eq!(Group::parse(b"staff:x:50"), None);
    }

    #[test]
    fn everybody_in_etc_is_who_the_c_library_says_it_is() {
        let mut seen = 0;
        for person in local::<Person>() {
            let found: Person = find(Key::Name(&person.name)).unwrap();
            let known = nix::unistd::User::from_name(person.name.to_str().unwrap()).unwrap().unwrap();
            assert_eq!((found.uid, found.gid), (known.uid.as_raw(), known.gid.as_raw()), "{person:?}");
            assert_eq!((found.home, found.shell), (known.dir.into(), known.shell.into()));
            let mut ours = groups_of(&person.name);
            ours.push(found.gid);
            let name = std::ffi::CString::new(person.name.as_bytes()).unwrap();
            let groups = nix::unistd::getgrouplist(&name, known.gid).unwrap();
            let mut theirs: Vec<_> = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
            for list in [&mut ours, &mut theirs] {
                list.sort_unstable();
                list.dedup();
            }
            assert_eq!(ours, theirs, "{person:?}");
            seen += 1;
        }
        assert!(seen > 0);
    }

    #[test]
    fn several_are_found_as_each_of_them_is() {
        let groups: Vec<Group> = local().collect();
        let all: Vec<Key> = groups.iter().map(|group| Key::Number(group.gid)).collect();
        assert!(all.len() > 3);
        for count in [0, 1, 2, all.len()] {
            // The last ones first, and one that there is not.
            let keys: Vec<Key> =
                all.iter().rev().take(count).copied().chain([Key::Number(4_294_967_294)]).collect();
            let mut one_by_one: Vec<Group> = keys.iter().filter_map(|key| find(*key)).collect();
            let mut found: Vec<Group> = find_each(keys);
            found.sort_unstable_by_key(|group| group.gid);
            one_by_one.sort_unstable_by_key(|group| group.gid);
            assert_eq!(found, one_by_one);
            assert_eq!(found.len(), count);
        }
    }

    #[test]
    fn getent_answers_for_what_it_is_asked() {
        let root: Person = elsewhere(Key::Number(0)).unwrap();
        assert_eq!(elsewhere::<Person>(Key::Name(&root.name)), Some(root));
        // By a name that is a number it finds somebody of another name.
        assert_eq!(elsewhere::<Person>(Key::Name("0".as_ref())), None);
        for nobody in ["", "--help", "no such account", "-s"] {
            assert_eq!(elsewhere::<Person>(Key::Name(nobody.as_ref())), None, "{nobody}");
        }
        let group: Group = elsewhere(Key::Number(0)).unwrap();
        assert_eq!(elsewhere::<Group>(Key::Name(&group.name)), Some(group));
    }
}
