//! A short way to what nearly every file is: sections of lines such as `key = "value"`.
//!
//! A session waits for the whole file to be read. With two hundred sections, reading it as TOML in general takes as long as
//! all else that a session does before its first reply. So the plainest form is read here, section by section, and nothing
//! is found wrong here: a section with anything else in it goes to the TOML library, and if that does not take it, or the
//! sections are not those that there should be, the whole file does. What comes of it is the same; a test compares the two.

use std::io::{self, Read};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::cut::last_head;
use super::heard::{Heard, Piece};
use super::line::{Head, Line, Place, table};
use super::{Tables, Text, counts, rules};
use crate::policy::{Account, Entry, Match, Origin, PathRules, Section, When};

/// Reads the text of a file called `file`, and keeps the sections that count; none if the library has to.
pub(super) fn read(file: &str, text: &str, account: Option<&Account>) -> Option<Text> {
    let mut reading = Reading::of(file, account);
    reading.take_part(text.as_bytes())?;
    Some(reading.end())
}

/// Reads a file called `file` through a window of so many bytes, so that no memory is touched for the sections that do not
/// count; none if all of it has to be seen at once.
///
/// # Errors
/// It cannot be read.
pub fn read_in_parts(
    file: &str,
    mut source: impl Read,
    window: usize,
    account: Option<&Account>,
) -> io::Result<Option<Text>> {
    let mut reading = Reading::of(file, account);
    let (mut seen, mut room) = (Vec::new(), window.max(1));
    loop {
        let wanted = room.saturating_sub(seen.len());
        seen.reserve(wanted);
        let limit = u64::try_from(wanted).unwrap_or(u64::MAX);
        let is_end = source.by_ref().take(limit).read_to_end(&mut seen)? < wanted;
        let whole = if is_end { seen.len() } else { last_head(&seen) };
        if reading.take_part(seen.get(..whole).unwrap_or_default()).is_none() {
            return Ok(None);
        }
        if is_end {
            return Ok(Some(reading.end()));
        }
        // A section that is larger than the window.
        if whole == 0 {
            room = room.saturating_mul(2);
        }
        seen.drain(..whole);
    }
}

/// A file that is read part by part, each of which ends where a section does.
struct Reading<'a> {
    file: &'a str,
    account: Option<&'a Account>,
    kept: Text,
    heard: Heard,
}

impl<'a> Reading<'a> {
    fn of(file: &'a str, account: Option<&'a Account>) -> Self {
        Self { file, account, kept: Text::default(), heard: Heard::nothing() }
    }

    /// Returns what was kept.
    fn end(self) -> Text {
        self.kept
    }

    fn take_part(&mut self, part: &[u8]) -> Option<()> {
        let mut place = Place::first(part);
        let before = self.heard.lines;
        let mut piece = Piece { head: Head::Preamble, begin: place, before, is_aside: false };
        while !place.is_last() {
            let (begin, before) = (place, self.heard.lines);
            self.heard.lines = before.saturating_add(1);
            match place.line() {
                // A list or a string that is cut through here has lost its end, and is nobody's section.
                Line::Head(head) => {
                    self.keep(&piece, begin)?;
                    piece = Piece { head, begin, before, is_aside: false };
                    if let (Head::Match, Some(account)) = (head, self.account) {
                        self.heard.sections(account, &mut piece, &mut place);
                        // Rules that are ours are not listened to.
                        let end = place;
                        if let Some(rules) = rules::read(&mut place, &mut self.heard.lines) {
                            self.make_of(&piece, end, Some(rules))?;
                            piece.is_aside = true;
                        }
                    }
                }
                Line::Foreign => return None,
                Line::Empty | Line::Odd | Line::Pair(..) | Line::Path => piece.is_aside = false,
            }
        }
        self.keep(&piece, place)
    }

    fn keep(&mut self, piece: &Piece<'_>, end: Place<'_>) -> Option<()> {
        // Of two hundred sections, nearly every one.
        if piece.is_aside { Some(()) } else { self.make_of(piece, end, None) }
    }

    #[inline(never)] // Of two hundred sections, few are kept.
    fn make_of(&mut self, piece: &Piece<'_>, end: Place<'_>, rules: Option<PathRules>) -> Option<()> {
        let lines = piece.begin.up_to(end)?;
        match piece.head {
            // Nothing is before the first section, as in each part but the first.
            Head::Preamble if lines.is_empty() => {}
            Head::Preamble => {
                let Preamble { include } = read_pairs(lines).or_else(|| toml::from_str(lines).ok())?;
                self.kept.include = include;
            }
            Head::Match => {
                let (when, mut section) = conditions_and_section(lines)?;
                // A list that a line has written cannot be gone on with: the library says so.
                if let Some(rules) = rules
                    && section.path.replace(rules).is_some()
                {
                    return None;
                }
                if counts(&when, self.account) {
                    self.kept.matches.push(Entry { origin: self.origin(piece), when, section });
                }
            }
            Head::Default if self.kept.default.is_some() => return None,
            Head::Default => {
                let (when, section) = (When::default(), default_section(lines)?);
                self.kept.default = Some(Box::new(Entry { origin: self.origin(piece), when, section }));
            }
        }
        Some(())
    }

    fn origin(&self, piece: &Piece<'_>) -> Origin {
        Origin { file: self.file.into(), line: piece.before.saturating_add(1) }
    }
}

// What is read takes much of the stack, whose pages are as dear as those of the heap.

#[inline(never)]
fn conditions_and_section(lines: &str) -> Option<(When, Section)> {
    let one: Match = read_pairs(lines).or_else(|| {
        let tables: Tables = toml::from_str(lines).ok()?;
        tables.matches.into_iter().next().map(toml::Spanned::into_inner)
    })?;
    Some(one.split())
}

#[inline(never)]
fn default_section(lines: &str) -> Option<Section> {
    read_pairs(lines).or_else(|| {
        let tables: Tables = toml::from_str(lines).ok()?;
        tables.default.map(toml::Spanned::into_inner)
    })
}

/// Reads a piece that has nothing but plain lines and, maybe, a head.
fn read_pairs<T: DeserializeOwned>(lines: &str) -> Option<T> {
    let mut pairs = Vec::new();
    let mut place = Place::first(lines.as_bytes());
    while !place.is_last() {
        match place.line() {
            Line::Pair(key, value) => pairs.push((key, value)),
            Line::Empty | Line::Head(_) => {}
            Line::Odd | Line::Path | Line::Foreign => return None,
        }
    }
    T::deserialize(table(&pairs)).ok()
}

/// What there may be before all sections.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preamble {
    #[serde(default)]
    include: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::super::read_all;
    use super::*;
    use crate::key::Key;

    /// Lines of which files are made up, right ones and wrong ones.
    const LINES: &[&str] = &[
        "[[match]]\n",
        "[[match]]\n",
        "[[match]]\n",
        "  [[match]] # with a comment\n",
        "[default]\n",
        "[[match.path]]\n",
        "[match]\n",
        "user = \"bob\"\n",
        "user = ['a*', \"b\", ]\t# several\n",
        "user = 'b?b'\n",
        "user = \"zoe's\"\n",
        "user = 'zo\\e'\n",
        "user = \"zo\\u0065\" \n",
        "user = 'partner'\n",
        "user = 'partner1'\n",
        "user = 'partner12'  # a \u{1} comment\n",
        "user = \"partner123, and whoever else there is\" # with a comment of his\n",
        "user = 'partner123, and whoever\u{7f}else there is'\n",
        "user = 'partner123, and wh\u{f6}ever else there is'\n",
        "user = ''\n",
        "user = \"zoe\"\"\n",
        "user = ['zoe', 'partner123, and whoever else there is',\"bob\"]\n",
        "user = ['bo*', 'z*e']\n",
        "user = 'bo[bx]'\n",
        "user = '/zoe/'\n",
        "user = 'a**'\n",
        "user = [\"zoe\" \"bob\"]\n",
        "user = '.bob'\n",
        "user = 'bob*.'\n",
        "user = ['bob'x]\n",
        "user = 'bob/'\n",
        "group = [ ]\n",
        "group = 'staff/*/a**'\n",
        "group = 'st*ff\"\n",
        "group = ['staff', '']\n",
        "group = 'staff'\n",
        "principal = 'b*'\n",
        "key = 'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU'\n",
        "key = ['SHA256:47DEQpj8HBSa']\n",
        "from = \"192.0.2.0/24\"\n",
        "from = '192.0.2.7/24'\n",
        "from = [\"192.0.2.0/24\", '198.51.100.0/25'] # both\n",
        "from = ['192.0.2.0/24', '198.51.100.7/25']\n",
        "from = ['192.0.2.0/24' '198.51.100.0/25']\n",
        "from = '192.0.02.0/24'\n",
        "from = '192.0.2.0/33'\n",
        "from = '0.0.0.0/0'\n",
        "from = '192.0.2.1'\n",
        "from = '192.0.2.1 '\n",
        "from = '192.0.2.0/24/'\n",
        "from = ['2001:db8:1::/48', '2001:db8:2::/48x']\n",
        "from = '2001:db8::/32'\n",
        "from = \"2001:db8:7:8::/56\"\n",
        "from = '2001:db8:7::1/48'\n",
        "from = '2001:db8::/129'\n",
        "expires = \"2027-01-31\"\n",
        "expires = '2027-01-32'\n",
        "expires = '2027-01-31T00:00:00Z'\n",
        "hours = ['Mon-Fri 08:00-18:00']\n",
        "hours = 'Mon-Fri 08:00-18:60'\n",
        "hours = 'Sat,Sun'\n",
        "hours = [\n'Mon 08:00-09:00',\n]\n",
        "root = \"/srv/%u\"\n",
        "root = \"/srv/\\u0041\"\n",
        "root = '/srv/the box/%u'\n",
        "root = '%h/in'\n",
        "root = 'srv'\n",
        "root = '''\n[[match]]\n'''\n",
        "root = \"\"\"/srv\"\"\"\n",
        "root = \"/tr\u{e4}ger\"\n",
        "read-only = true\n",
        "read-only = true # yes\n",
        "write-only=false\n",
        "read-only = \"true\"\n",
        "read-only = truely\n",
        "read_only = true\n",
        "\"no-recursion\" = true\n",
        "max-depth = 3\n",
        "max-depth = 03\n",
        "max-depth = 1_000\n",
        "max-depth = -1\n",
        "max-session-files = 99999999999999999999\n",
        "max-file-size = \"2M\"\n",
        "max-file-size = '20M' # megabytes\n",
        "max-file-size = '20 M'\n",
        "max-file-size = '20MK'\n",
        "max-file-size = 'M'\n",
        "max-file-size = '0200000000'\n",
        "max-file-size = ['20M']\n",
        "max-file-size = '99999999999999T'\n",
        "max-file-size = 1000\n",
        "umask = \"027\"\n",
        "umask = 27\n",
        "umask = '0027'\n",
        "umask = '028'\n",
        "file-mode = ['640']\n",
        "sync = \"file\"\n",
        "sync = 'often'\n",
        "sync = ['file']\n",
        "[[match.path]]\n",
        "[[match.path]] # \u{7f}\n",
        "pattern = 'x'\n",
        "pattern = 'in/*.csv'\n",
        "pattern = 'x//y'\n",
        "pattern = '**/x*/../y'\n",
        "pattern = 'x/**/'\n",
        "pattern = '**y'\n",
        "pattern = 'in/.x'\n",
        "allow = 'upload'\n",
        "allow = ['upload']\n",
        "deny = [\"all\", 'some']\n",
        "hide = true\n",
        "path = []\n",
        "names = ['*.csv', \"it's.*\"]\n",
        "names = ['*.csv', 7]\n",
        "names = []\n",
        "zone = 'UTC'\n",
        "log = 'journal'#\t\u{e9}\n",
        "[[match]]#\u{0}\n",
        "path = [{ pattern = '*.x', hide = true }]\n",
        "dot-files = 'hide'\r\n",
        "log = 'stderr' x\n",
        "include = ['conf.d/*.toml']\n",
        "match = []\n",
        "default = { read-only = true }\n",
        "# a comment\n",
        "# a \u{1} comment\n",
        "\n",
        "  \t\n",
        "user = \"bob\"",
        "= 3\n",
        "''\n",
    ];

    /// Of Marsaglia's xorshift: the same numbers each time.
    fn random(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        usize::try_from(*state % 1_000_003).unwrap()
    }

    /// Every other time, the sections are about somebody else.
    fn account(number: usize) -> Account {
        let print = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
        Account {
            name: Some(if number.is_multiple_of(2) { "bob" } else { "zoe" }.into()),
            address: "192.0.2.1".parse().ok().filter(|_| number.is_multiple_of(3)),
            keys: vec![Key::with(print.into(), vec!["bea".into()])],
            groups: if number.is_multiple_of(5) { vec!["staff".into()] } else { Vec::new() }.into(),
            ..Account::default()
        }
    }

    struct Compared {
        is_right: bool,
        /// How many sections were; none if the text was not read the short way.
        left_out: Option<usize>,
        /// How many were not, and have rules about paths.
        ruled: usize,
    }

    fn compare(text: &str, account: &Account) -> Compared {
        let long = read_all("f", text, Some(account));
        let is_right = long.is_ok();
        let short = read("f", text, Some(account));
        let kept = short.as_ref().map(|short| short.matches.as_slice());
        let left_out = kept.map(|kept| text.matches("[[match]]").count().saturating_sub(kept.len()));
        let ruled = kept.unwrap_or_default().iter().filter(|entry| entry.section.path.is_some()).count();
        for size in [7, 100] {
            let in_parts = read_in_parts("f", text.as_bytes(), size, Some(account)).unwrap();
            assert_eq!(in_parts, short, "{size}: {text}");
        }
        if let Some(short) = short {
            assert_eq!(long, Ok(short), "{text}");
        }
        Compared { is_right, left_out, ruled }
    }

    #[test]
    fn what_is_read_the_short_way_is_what_the_library_reads() {
        let mut state = 0x5eed;
        let (mut read_short, mut read_long, mut plain_forms, mut left_out) = (0, 0, 0, 0);
        for _ in 0..500_000 {
            let count = random(&mut state) % 9;
            let text: String = (0..count).map(|_| LINES[random(&mut state) % LINES.len()]).collect();
            let compared = compare(&text, &account(count));
            read_long += usize::from(compared.is_right);
            read_short += usize::from(compared.left_out.is_some());
            left_out += compared.left_out.unwrap_or_default();
            let section: Option<Section> =
                read_pairs(&text).filter(|_| !text.contains("[[match]]") && !text.contains("[default]"));
            if let Some(section) = section {
                let all = read_all("f", &format!("[default]\n{text}"), None).unwrap();
                assert_eq!(all.default.unwrap().section, section, "{text}");
                plain_forms += usize::from(count > 1);
            }
        }
        // Whatever is right goes the short way, but for the odd `default = {...}` and `match = []`.
        assert!(read_short * 100 > read_long * 90, "{read_short} of {read_long}");
        assert!(plain_forms > 1000, "{plain_forms}");
        assert!(left_out > 100, "{left_out}");
    }

    #[test]
    fn what_earlier_sections_have_said_is_not_taken_for_something_else() {
        let mut state = 0x5eed;
        let (mut right, mut left_out, mut ruled) = (0, 0, 0);
        for number in 0..20_000 {
            let count = 1 + random(&mut state) % 4;
            let pattern: Vec<&str> = (0..count).map(|_| LINES[random(&mut state) % LINES.len()]).collect();
            let mut text = String::new();
            for _ in 0..2 + random(&mut state) % 4 {
                text.push_str("[[match]]\nuser = 'eve'\n");
                for line in &pattern {
                    match random(&mut state) % 24 {
                        0 => text.push_str(LINES[random(&mut state) % LINES.len()]),
                        1 => {}
                        2 => text.extend([*line, *line]),
                        // Begins as what is likely, and goes on.
                        3 => text.extend([line.trim_end(), " \n"]),
                        4 => text.extend([line.trim_end(), "x\n"]),
                        _ => text.push_str(line),
                    }
                }
            }
            let eve = Some("eve".into()).filter(|_| number % 4 == 0);
            let compared = compare(&text, &Account { name: eve.or(account(number).name), ..account(number) });
            right += usize::from(compared.is_right);
            ruled += compared.ruled;
            left_out += compared.left_out.unwrap_or_default();
        }
        assert!(right > 1000, "{right}");
        assert!(left_out > 3000, "{left_out}");
        assert!(ruled > 10, "{ruled}");
    }

    #[test]
    fn more_keys_than_are_remembered_are_read_as_well() {
        let flags =
            ["no-overwrite", "no-preserve", "drop-box", "allow-set-id", "ignore-modes", "ignore-times"];
        let numbers = ["max-sessions", "max-session-files", "idle-timeout", "stall-timeout", "time-limit"];
        let said = |key: &str, value: &str| [format!("{key} = {value}\n"), format!("{key}={value}\n")];
        let more = flags.iter().flat_map(|key| said(key, "true"));
        let more = more.chain(numbers.iter().flat_map(|key| said(key, "17")));
        let lines = LINES.iter().filter(|line| !line.starts_with('[')).map(|line| (*line).to_owned());
        let sections = lines.chain(more).map(|line| format!("[[match]]\nuser = 'eve'\n{line}"));
        let right: Vec<String> =
            sections.filter(|section| compare(section, &account(2)).left_out == Some(1)).collect();
        assert!(right.len() > 60, "{}", right.len());
        for step in [1, 7, 31] {
            let order = (0..right.len() * 3).map(|number| right[number * step % right.len()].as_str());
            let compared = compare(&order.collect::<String>(), &account(2));
            assert_eq!(compared.left_out, Some(right.len() * 3));
        }
    }

    /// What rules about paths are made up of, right ones and wrong ones.
    const RULES: &[&str] = &[
        "pattern = 'in/**'\n",
        "pattern = 'in/**'\n",
        "pattern = \"*.csv\" # tables\n",
        "  pattern\t=\t'/in/'\n",
        "pattern='a/*/[bc]d/e-name-that-is-as-long-as-it-is'\n",
        "pattern = 'tr\u{e4}ger'\n",
        "pattern = 'a//b'\n",
        "pattern-of = 'a'\n",
        "pattern = ['a']\n",
        "allow = ['upload', \"download\",]\n",
        "allow = []\n",
        "allow = 'all'\n",
        "deny = ['mkdir','create']#\n",
        "deny = ['some']\n",
        "deny = [\n'all']\n",
        "hide = true\n",
        "hide = false # yet\n",
        "hide = 1\n",
        "\n",
        " # a comment\r\n",
        "# a \u{1} comment\n",
        "root = '/srv'\n",
        "[[match.path]] # again\n",
        "  [[match.path]]\n",
        "[[match.path]] x\n",
        "[match.path]\n",
        "[default]\n",
        "[[match]]\n",
    ];

    #[test]
    fn rules_about_paths_are_those_that_the_library_reads() {
        let mut state = 0x5eed;
        let (mut right, mut ruled) = (0, 0);
        for number in 0..20_000 {
            let mut text = String::from("[[match]]\nuser = 'bob'\n");
            text.push_str(["", "root = '/srv'\n", "path = []\n", "hours = 'Sat'\n"][random(&mut state) % 4]);
            for _ in 0..1 + random(&mut state) % 4 {
                let pattern = RULES[random(&mut state) % 5];
                text.extend(["[[match.path]]\n", pattern]);
                text.extend((0..random(&mut state) % 4).map(|_| RULES[random(&mut state) % RULES.len()]));
            }
            let compared = compare(&text, &account(number));
            right += usize::from(compared.is_right);
            ruled += compared.ruled;
        }
        assert!(right > 2000, "{right}");
        assert!(ruled > 1000, "{ruled}");
    }
}
