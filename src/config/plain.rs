//! A short way to what nearly every file is: sections of lines such as `key = "value"`.
//!
//! A session waits for the whole file to be read. With two hundred sections, reading it as TOML in general takes as long as
//! all else that a session does before its first reply. So the plainest form is read here, section by section, and nothing
//! is found wrong here: a section with anything else in it goes to the TOML library, and if that does not take it, or the
//! sections are not those that there should be, the whole file does. What comes of it is the same; a test compares the two.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error, MapDeserializer};

use super::line::{Head, Line, Place, Value};
use super::{Tables, Text, counts};
use crate::policy::{Account, Aside, Entry, Match, Section, When};

/// Reads the text of a file called `file`, and keeps the sections that count; none if the library has to.
pub(super) fn read(file: &str, text: &str, account: Option<&Account>) -> Option<Text> {
    let mut whole = Text::default();
    let mut piece = Piece { head: Head::Preamble, file, line: 1, begin: Place::first(text), aside: None };
    let mut place = Place::first(text);
    for number in 1.. {
        let begin = place;
        let line;
        (line, place) = begin.line();
        match line {
            // A list or a string that is cut through here has lost its end, and is nobody's section.
            Line::Head(head) => {
                whole.take(&piece, piece.begin.up_to(begin), account)?;
                let aside = account.filter(|_| matches!(head, Head::Match)).map(Aside::from);
                piece = Piece { head, line: number, begin, aside, ..piece };
            }
            Line::Foreign => return None,
            Line::Empty => {}
            Line::Odd => piece.aside = None,
            Line::Pair(key, value) => drop(piece.aside.take_if(|aside| !aside.takes(key, &value))),
            Line::Path => drop(piece.aside.take_if(|aside| !aside.takes_path())),
        }
        if place.is_last() {
            break;
        }
    }
    whole.take(&piece, piece.begin.up_to(place), account)?;
    Some(whole)
}

/// Lines of the file that are read together.
struct Piece<'t> {
    head: Head,
    file: &'t str,
    /// The number of the first line.
    line: usize,
    /// Where that begins.
    begin: Place<'t>,
    /// None if it is not for us to tell whether the section is about somebody else.
    aside: Option<Aside<'t>>,
}

impl Text {
    fn take(&mut self, piece: &Piece<'_>, lines: &str, account: Option<&Account>) -> Option<()> {
        match piece.head {
            Head::Preamble => {
                let Preamble { include } = read_pairs(lines).or_else(|| toml::from_str(lines).ok())?;
                self.include = include;
            }
            // Of two hundred sections, that is nearly every one.
            Head::Match if piece.aside.as_ref().is_some_and(Aside::is_settled) => {}
            Head::Match => {
                let one: Match = read_pairs(lines).or_else(|| {
                    let tables: Tables = toml::from_str(lines).ok()?;
                    tables.matches.into_iter().next().map(toml::Spanned::into_inner)
                })?;
                let (when, section) = one.split();
                if counts(&when, account) {
                    self.matches.push(piece.entry(when, section));
                }
            }
            Head::Default if self.default.is_some() => return None,
            Head::Default => {
                let section = read_pairs(lines).or_else(|| {
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

/// Reads a piece that has nothing but plain lines and, maybe, a head.
fn read_pairs<T: DeserializeOwned>(lines: &str) -> Option<T> {
    let mut pairs = Vec::new();
    let mut place = Place::first(lines);
    while !place.is_last() {
        let line;
        (line, place) = place.line();
        match line {
            Line::Pair(key, value) => pairs.push((key, value)),
            Line::Empty | Line::Head(_) => {}
            Line::Odd | Line::Path | Line::Foreign => return None,
        }
    }
    let pairs = pairs.iter().map(|(key, value): &(_, Value<'_>)| (*key, value));
    T::deserialize(MapDeserializer::<_, Error>::new(pairs)).ok()
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
        "user = '/zoe/'\n",
        "user = 'a**'\n",
        "user = [\"zoe\" \"bob\"]\n",
        "group = [ ]\n",
        "group = ['staff', '']\n",
        "principal = 'b*'\n",
        "key = 'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU'\n",
        "key = ['SHA256:47DEQpj8HBSa']\n",
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
        "[[match.path]]\n",
        "[[match.path]] # \u{7f}\n",
        "pattern = 'x'\n",
        "pattern = 'in/*.csv'\n",
        "pattern = 'x//y'\n",
        "allow = 'upload'\n",
        "allow = ['upload']\n",
        "deny = [\"all\", 'some']\n",
        "hide = true\n",
        "path = []\n",
        "names = ['*.csv', \"it's.*\"]\n",
        "names = ['*.csv', 7]\n",
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

    #[test]
    fn what_is_read_the_short_way_is_what_the_library_reads() {
        let mut state = 0x5eed;
        let (mut read_short, mut read_long, mut plain_forms, mut left_out) = (0, 0, 0, 0);
        for _ in 0..300_000 {
            let count = random(&mut state) % 9;
            let text: String = (0..count).map(|_| LINES[random(&mut state) % LINES.len()]).collect();
            // Every other time the sections are about somebody else.
            let name = if count.is_multiple_of(2) { "bob" } else { "zoe" };
            let print = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
            let account = Account {
                name: Some(name.into()),
                address: "192.0.2.1".parse().ok().filter(|_| count.is_multiple_of(3)),
                keys: vec![Key::with(print.into(), vec!["bea".into()])],
                ..Account::default()
            };
            let long = read_all("f", &text, Some(&account));
            read_long += usize::from(long.is_ok());
            if let Some(short) = read("f", &text, Some(&account)) {
                let heads = text.matches("[[match]]").count();
                left_out += heads.saturating_sub(short.matches.len());
                assert_eq!(long, Ok(short), "{text}");
                read_short += 1;
            }
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
}
