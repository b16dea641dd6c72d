//! A short way to what nearly every file is: sections of lines such as `key = "value"`.
//!
//! A session waits for the whole file to be read. With two hundred sections, reading it as TOML in general takes as long as
//! all else that a session does before its first reply. So the plainest form is read here, section by section, and nothing
//! is found wrong here: a section with anything else in it goes to the TOML library, and if that does not take it, or the
//! sections are not those that there should be, the whole file does. What comes of it is the same; a test compares the two.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error, MapDeserializer};

use super::line::{Cursor, Head, Line, Pair};
use super::{Tables, Text};
use crate::policy::{Entry, Match, Section, When};

/// Reads the text of a file called `file`, and keeps the sections that count; none if the library has to.
pub(super) fn read(file: &str, text: &str, counts: &impl Fn(&When) -> bool) -> Option<Text> {
    let mut whole = Text::default();
    let mut piece = Piece { head: Head::Preamble, file, line: 1, pairs: Pairs::default(), is_plain: true };
    let (mut cursor, mut start) = (Cursor { text, at: 0 }, 0);
    for number in 1.. {
        let at = cursor.at;
        match cursor.line() {
            // A list or a string that is cut through here has lost its end, and is nobody's section.
            Line::Head(head) => {
                whole.take(&piece, text.get(start..at)?, counts)?;
                piece.pairs.clear();
                piece = Piece { head, line: number, is_plain: true, ..piece };
                start = at;
            }
            Line::Foreign => return None,
            Line::Empty => {}
            Line::Odd => piece.is_plain = false,
            Line::Pair(pair) => piece.pairs.push(pair),
        }
        if cursor.rest().is_empty() {
            break;
        }
    }
    whole.take(&piece, text.get(start..)?, counts)?;
    Some(whole)
}

/// Lines of the file that are read together.
struct Piece<'t> {
    head: Head,
    file: &'t str,
    /// The number of the first line.
    line: usize,
    pairs: Pairs<'t>,
    /// Whether the pairs are all that is there.
    is_plain: bool,
}

impl Text {
    fn take(&mut self, piece: &Piece<'_>, lines: &str, counts: &impl Fn(&When) -> bool) -> Option<()> {
        let pairs = (piece.is_plain && is_printable(lines)).then_some(&piece.pairs);
        match piece.head {
            Head::Preamble => {
                let Preamble { include } =
                    pairs.and_then(Pairs::read).or_else(|| toml::from_str(lines).ok())?;
                self.include = include;
            }
            Head::Match if pairs.is_some_and(|pairs| pairs.are_aside(counts)) => {}
            Head::Match => {
                let one: Match = pairs.and_then(Pairs::read).or_else(|| {
                    let tables: Tables = toml::from_str(lines).ok()?;
                    tables.matches.into_iter().next().map(toml::Spanned::into_inner)
                })?;
                let (when, section) = one.split();
                if counts(&when) {
                    self.matches.push(piece.entry(when, section));
                }
            }
            Head::Default if self.default.is_some() => return None,
            Head::Default => {
                let section = pairs.and_then(Pairs::read).or_else(|| {
                    let tables: Tables = toml::from_str(lines).ok()?;
                    tables.default.map(toml::Spanned::into_inner)
                })?;
                self.default = Some(piece.entry(When::default(), section));
            }
        }
        Some(())
    }
}

impl Piece<'_> {
    fn entry(&self, when: When, section: Section) -> Entry {
        Entry { origin: format!("{}:{}", self.file, self.line), when, section }
    }
}

/// Tells whether there is nothing but ASCII and blanks: of all else, not everything is allowed everywhere.
fn is_printable(lines: &str) -> bool {
    // Without an early end, which keeps the compiler from taking many bytes at once.
    lines.bytes().fold(true, |yes, byte| yes & matches!(byte, b' '..=b'~' | b'\n' | b'\t'))
}

/// The plain lines of a section.
#[derive(Default)]
struct Pairs<'t> {
    conditions: Vec<Pair<'t>>,
    rest: Vec<Pair<'t>>,
}

impl<'t> Pairs<'t> {
    fn push(&mut self, pair: Pair<'t>) {
        if When::has(pair.0) { &mut self.conditions } else { &mut self.rest }.push(pair);
    }

    fn clear(&mut self) {
        self.conditions.clear();
        self.rest.clear();
    }

    /// Reads the section.
    fn read<T: DeserializeOwned>(&self) -> Option<T> {
        read_pairs(self.conditions.iter().chain(&self.rest))
    }

    /// Tells whether the section does not count, and is right: of two hundred, that is nearly every one.
    fn are_aside(&self, counts: &impl Fn(&When) -> bool) -> bool {
        let again = |at: usize, key: &str| self.rest.iter().take(at).any(|(before, _)| *before == key);
        let fits =
            |(at, (key, value)): (usize, &Pair<'_>)| !again(at, key) && Section::fits(key, value).is_ok();
        read_pairs(self.conditions.iter()).is_some_and(|when| !counts(&when))
            && self.rest.iter().enumerate().all(fits)
    }
}

fn read_pairs<'p, 't: 'p, T: DeserializeOwned>(pairs: impl Iterator<Item = &'p Pair<'t>>) -> Option<T> {
    T::deserialize(MapDeserializer::<_, Error>::new(pairs.map(|(key, value)| (*key, value)))).ok()
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
    use crate::policy::Account;

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
        "group = [ ]\n",
        "from = \"192.0.2.0/24\"\n",
        "from = '192.0.2.7/24'\n",
        "expires = \"2027-01-31\"\n",
        "hours = ['Mon-Fri 08:00-18:00']\n",
        "hours = [\n'Mon 08:00-09:00',\n]\n",
        "root = \"/srv/%u\"\n",
        "root = \"/srv/\\u0041\"\n",
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
        "max-file-size = 1000\n",
        "umask = \"027\"\n",
        "umask = 27\n",
        "sync = \"file\"\n",
        "sync = 'often'\n",
        "sync = ['file']\n",
        "pattern = 'x'\n",
        "allow = 'upload'\n",
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

    #[test]
    fn what_is_read_the_short_way_is_what_the_library_reads() {
        let mut state = 0x5eed;
        let (mut read_short, mut read_long, mut plain_forms, mut left_out) = (0, 0, 0, 0);
        for _ in 0..200_000 {
            let count = random(&mut state) % 9;
            let text: String = (0..count).map(|_| LINES[random(&mut state) % LINES.len()]).collect();
            // Every other time the sections are about somebody else.
            let name = if count.is_multiple_of(2) { "bob" } else { "zoe" };
            let account = Account { name: Some(name.into()), ..Account::default() };
            let counts = |when: &When| when.concerns(&account);
            let long = read_all("f", &text, &counts);
            read_long += usize::from(long.is_ok());
            if let Some(short) = read("f", &text, &counts) {
                let heads = text.matches("[[match]]").count();
                left_out += heads.saturating_sub(short.matches.len());
                assert_eq!(long, Ok(short), "{text}");
                read_short += 1;
            }
            let lines: Vec<Line<'_>> =
                text.split_inclusive('\n').map(|text| Cursor { text, at: 0 }.line()).collect();
            if !is_printable(&text) || !lines.iter().all(|line| matches!(line, Line::Empty | Line::Pair(_))) {
                continue;
            }
            let mut pairs = Pairs::default();
            for line in lines {
                if let Line::Pair(pair) = line {
                    pairs.push(pair);
                }
            }
            if let Some(section) = pairs.read::<Section>() {
                let all = read_all("f", &format!("[default]\n{text}"), &counts).unwrap();
                assert_eq!(all.default.unwrap().section, section, "{text}");
                plain_forms += usize::from(count > 1);
            }
        }
        // Whatever is right goes the short way, but for the odd `default = {...}` and `match = []`.
        assert!(read_short * 100 > read_long * 90, "{read_short} of {read_long}");
        assert!(plain_forms > 1000, "{plain_forms}");
        assert!(left_out > 100, "{left_out}");
    }
}
