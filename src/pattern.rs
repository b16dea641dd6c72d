//! Shell patterns and braces: which words does a word stand for, and does a name match.
//!
//! No shell and no glob(3) is at work, and nothing is looked up here: the jail walks its own directories and asks
//! about one name at a time. As in a shell, braces come first, then the tilde, then the patterns; only a letter
//! that was not quoted means more than itself.

use crate::words::{Letter, Word};
use std::error::Error;
use std::fmt;

/// Writes out the braces of a word, `a{b,c}` as `ab` and `ac`, in bash's order.
///
/// Braces pair as parentheses do; `{}`, `{a}`, `{1..3}` and a brace that has no partner are themselves, and a word
/// that holds no others is returned as it is. Of the words written, empty ones are left out, as a shell does: of
/// `{,}` nothing is left.
pub fn braces(word: &Word) -> Result<Vec<Word>, TooMany> {
    let marks = marks(&word.0);
    if !marks.iter().any(|mark| matches!(mark, Mark::Choice(_))) {
        return Ok(vec![word.clone()]);
    }

    let mut words = Vec::new();
    let mut word_count: usize = 1;
    let mut letters_left = BRACED_LETTERS_MOST;
    // Positions yet to be gone on from, each with what has been written before it: the first one last.
    let mut pending = vec![(0, Vec::new())];
    while let Some((mut at, mut written)) = pending.pop() {
        while let (Some(mark), Some(letter)) = (marks.get(at), word.0.get(at)) {
            match mark {
                Mark::Choice(starts) => {
                    let Some((first, others)) = starts.split_first() else {
                        break;
                    };
                    let copied = others.len().saturating_mul(written.len());
                    letters_left = letters_left.checked_sub(copied).ok_or(TooMany)?;
                    word_count = word_count.saturating_add(others.len());
                    if word_count > BRACED_WORDS_MOST {
                        return Err(TooMany);
                    }
                    pending.extend(others.iter().rev().map(|&start| (start, written.clone())));
                    at = *first;
                }
                Mark::Itself => {
                    letters_left = letters_left.checked_sub(1).ok_or(TooMany)?;
                    written.push(*letter);
                    at = at.saturating_add(1);
                }
                Mark::Onwards(after) => at = *after,
            }
        }
        if !written.is_empty() {
            words.push(Word(written));
        }
    }
    Ok(words)
}

/// The braces of a word stand for more than 4096 words, or for more than 1 MiB of them: the word is best left as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooMany;

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the braces stand for too many names")
    }
}

impl Error for TooMany {}

/// Takes the tilde off a word that begins in the home directory, `~` or `~/x`, and returns what follows, relative.
///
/// `~user` is a name like any other: whose home it would be is nobody's business.
pub fn tilde(word: &Word) -> Option<Word> {
    let live = |byte| Letter { byte, live: true };
    let (&first, rest) = word.0.split_first()?;
    let at_home = first == live(b'~') && rest.first().is_none_or(|&letter| letter == live(b'/'));
    // Every slash: `~//x` is not `/x`.
    at_home.then(|| {
        let below = rest.iter().skip_while(|letter| letter.byte == b'/');
        Word(below.copied().collect())
    })
}

/// Takes a word apart at its slashes, quoted or not.
///
/// What stands before a leading slash, after a trailing one and between two in a row is an empty literal, so that
/// literals joined by slashes are the word again.
pub fn components(word: &Word) -> Vec<Component> {
    word.0
        .split(|letter| letter.byte == b'/')
        .map(|letters| match Pattern::new(letters) {
            Some(pattern) => Component::Pattern(pattern),
            None => Component::Literal(bytes(letters)),
        })
        .collect()
}

/// What stands between two slashes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Component {
    /// A name as it is; it may be empty, `.` or `..`.
    Literal(Vec<u8>),
    /// Whatever names match.
    Pattern(Pattern),
}

impl Component {
    /// Tells whether a directory has to be read to know what is meant.
    pub fn is_pattern(&self) -> bool {
        matches!(self, Self::Pattern(_))
    }
}

/// One component of a path in which at least one `*`, `?` or `[...]` is live.
///
/// `?` and `[...]` match one character where the name is UTF-8 and one byte where it is not, whatever the locale.
/// Ranges go by code point, classes such as `[:alpha:]` are ASCII's, an unknown class holds nothing, and an
/// unclosed `[` is itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern(Vec<Piece>);

impl Pattern {
    /// Takes letters as a pattern, or nothing if they only mean themselves.
    pub fn new(letters: &[Letter]) -> Option<Self> {
        if letters.len() > PATTERN_MOST {
            return None;
        }
        let signs = signs(letters);
        let mut rest = signs.as_slice();
        let mut pieces = Vec::new();
        while let Some((piece, after)) = piece(rest) {
            pieces.push(piece);
            rest = after;
        }
        let is_pattern = pieces.iter().any(|piece| !matches!(piece, Piece::Only(_)));
        is_pattern.then_some(Self(pieces))
    }

    /// Tells whether a name matches. A dot at its beginning has to be written out, and `.` and `..` never match.
    pub fn matches(&self, name: &[u8]) -> bool {
        let says_dot = self.0.first() == Some(&Piece::Only(Symbol::Char('.')));
        if matches!(name, b"." | b"..") || (name.starts_with(b".") && !says_dot) {
            return false;
        }
        self.covers(name)
    }

    /// Tells whether a name matches, a dot at its beginning being a letter like any other.
    pub fn covers(&self, name: &[u8]) -> bool {
        let name: Vec<Symbol> = symbols(name).map(|(symbol, _)| symbol).collect();
        let (mut pieces, mut rest) = (self.0.as_slice(), name.as_slice());
        // Where the latest star stands, and the first symbol it has not swallowed. Earlier stars need no second
        // try: whatever they could do for the rest, the latest can.
        let mut latest = None;
        loop {
            match (pieces, rest) {
                ([], []) => return true,
                ([Piece::Many, after @ ..], _) => {
                    latest = Some((after, rest));
                    pieces = after;
                }
                ([piece, after @ ..], [symbol, further @ ..]) if piece.takes(*symbol) => {
                    (pieces, rest) = (after, further);
                }
                _ => {
                    let Some((after, [_, further @ ..])) = latest else {
                        return false;
                    };
                    latest = Some((after, further));
                    (pieces, rest) = (after, further);
                }
            }
        }
    }
}

/// What one place of a pattern matches.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    /// `?`
    Any,
    /// `[...]`
    In(Vec<Range>),
    /// `*`
    Many,
    /// `[!...]`
    NotIn(Vec<Range>),
    /// This and nothing else.
    Only(Symbol),
}

impl Piece {
    fn takes(&self, symbol: Symbol) -> bool {
        match self {
            Self::Any => true,
            Self::In(ranges) => holds(ranges, symbol),
            Self::Many => false,
            Self::NotIn(ranges) => !holds(ranges, symbol),
            Self::Only(only) => *only == symbol,
        }
    }
}

/// The first and the last symbol of a range; backwards, it holds none.
type Range = (Symbol, Symbol);

fn holds(ranges: &[Range], symbol: Symbol) -> bool {
    ranges.iter().any(|&(first, last)| first <= symbol && symbol <= last)
}

/// What a pattern compares: a character, or a byte that is part of none.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Symbol {
    Char(char),
    Stray(u8),
}

/// Reads bytes as symbols, each with its width in bytes.
fn symbols(bytes: &[u8]) -> impl Iterator<Item = (Symbol, usize)> {
    bytes.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(|c| (Symbol::Char(c), c.len_utf8()));
        let stray = chunk.invalid().iter().map(|&byte| (Symbol::Stray(byte), 1));
        valid.chain(stray)
    })
}

/// A symbol of a pattern, and whether it may mean more than itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sign {
    Live(char),
    Quoted(Symbol),
}

impl Sign {
    fn symbol(self) -> Symbol {
        match self {
            Self::Live(char) => Symbol::Char(char),
            Self::Quoted(symbol) => symbol,
        }
    }

    fn char(self) -> Option<char> {
        match self.symbol() {
            Symbol::Char(char) => Some(char),
            Symbol::Stray(_) => None,
        }
    }
}

/// Reads letters as signs.
fn signs(letters: &[Letter]) -> Vec<Sign> {
    let bytes = bytes(letters);
    let mut letters = letters.iter();
    symbols(&bytes)
        .map(|(symbol, width)| {
            // What means more than itself is one byte wide, so the last letter speaks for all.
            let last = letters.nth(width.saturating_sub(1));
            match symbol {
                Symbol::Char(char) if last.is_some_and(|letter| letter.live) => Sign::Live(char),
                _ => Sign::Quoted(symbol),
            }
        })
        .collect()
}

/// Reads one piece of a pattern; there is none at its end.
fn piece(signs: &[Sign]) -> Option<(Piece, &[Sign])> {
    match signs {
        [Sign::Live('*'), rest @ ..] => Some((Piece::Many, rest)),
        [Sign::Live('?'), rest @ ..] => Some((Piece::Any, rest)),
        [Sign::Live('['), rest @ ..] => bracket(rest).or(Some((Piece::Only(Symbol::Char('[')), rest))),
        [sign, rest @ ..] => Some((Piece::Only(sign.symbol()), rest)),
        [] => None,
    }
}

/// Reads what follows a `[`, its `]` included; nothing if there is no `]`.
fn bracket(signs: &[Sign]) -> Option<(Piece, &[Sign])> {
    let (piece, mut rest): (fn(Vec<Range>) -> Piece, _) = match signs {
        [Sign::Live('!' | '^'), rest @ ..] => (Piece::NotIn, rest),
        _ => (Piece::In, signs),
    };
    let mut ranges = Vec::new();
    // The first sign is never the end: `[]a]`.
    let mut is_first = true;
    loop {
        rest = match rest {
            [] => return None,
            [Sign::Live(']'), after @ ..] if !is_first => {
                return Some((piece(ranges), after));
            }
            _ => {
                let (more, after) = class(rest).or_else(|| range(rest))?;
                ranges.extend(more);
                after
            }
        };
        is_first = false;
    }
}

/// Reads `[:alpha:]` within brackets, as ranges.
fn class(signs: &[Sign]) -> Option<(Vec<Range>, &[Sign])> {
    let [Sign::Live('['), Sign::Live(':'), named @ ..] = signs else {
        return None;
    };
    let end = named.iter().position(|&sign| sign == Sign::Live(':'))?;
    let (name, [_, Sign::Live(']'), rest @ ..]) = named.split_at(end) else {
        return None;
    };
    let name: Option<String> = name.iter().map(|sign| sign.char()).collect();
    let ranges = name.map_or(&[][..], |name| class_ranges(&name));
    let ranges = ranges.iter().map(|&(from, to)| (Symbol::Char(from), Symbol::Char(to)));
    Some((ranges.collect(), rest))
}

/// Returns what a POSIX class holds in ASCII.
fn class_ranges(name: &str) -> &'static [(char, char)] {
    match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => &[],
    }
}

/// Reads `a-z`, or one sign, within brackets.
fn range(signs: &[Sign]) -> Option<(Vec<Range>, &[Sign])> {
    match signs {
        [from, Sign::Live('-'), to, rest @ ..] if *to != Sign::Live(']') => {
            Some((vec![(from.symbol(), to.symbol())], rest))
        }
        [one, rest @ ..] => Some((vec![(one.symbol(), one.symbol())], rest)),
        [] => None,
    }
}

/// What braces do to the letter in the same place.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Mark {
    /// The `{`: alternatives begin at these places.
    Choice(Vec<usize>),
    /// The letter is written.
    Itself,
    /// A `,` or the `}`, the end of an alternative: what follows the braces begins at this place.
    Onwards(usize),
}

/// Finds the braces that belong together and hold a comma of their own.
fn marks(letters: &[Letter]) -> Vec<Mark> {
    let mut marks = vec![Mark::Itself; letters.len()];
    // The braces that are open, the innermost last, each with where its alternatives begin.
    let mut open: Vec<(usize, Vec<usize>)> = Vec::new();
    for (at, letter) in letters.iter().enumerate() {
        let after = at.saturating_add(1);
        match letter.byte {
            b'{' if letter.live => open.push((at, vec![after])),
            b',' if letter.live => {
                if let Some((_, starts)) = open.last_mut() {
                    starts.push(after);
                }
            }
            b'}' if letter.live => {
                if let Some((brace, starts)) = open.pop()
                    && starts.len() > 1
                {
                    // The letter before each further alternative is its comma; `}` is as if before one more.
                    for start in starts.iter().skip(1).chain([&after]) {
                        if let Some(mark) = marks.get_mut(start.saturating_sub(1)) {
                            *mark = Mark::Onwards(after);
                        }
                    }
                    if let Some(mark) = marks.get_mut(brace) {
                        *mark = Mark::Choice(starts);
                    }
                }
            }
            _ => {}
        }
    }
    marks
}

/// Returns the bytes of some letters.
fn bytes(letters: &[Letter]) -> Vec<u8> {
    letters.iter().map(|letter| letter.byte).collect()
}

/// The most words that the braces of one word stand for; with more, all of them are refused.
const BRACED_WORDS_MOST: usize = 4096;

/// The most letters in all of these words; with more, all of them are refused.
const BRACED_LETTERS_MOST: usize = 1024 * 1024;

/// The longest component that is a pattern, four times the longest name; a longer one means itself.
const PATTERN_MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::split;

    fn word(text: &str) -> Word {
        split(text.as_bytes()).unwrap().pop().unwrap_or_default()
    }

    fn text(word: &Word) -> String {
        word.bytes().escape_ascii().to_string()
    }

    fn matches(pattern: &str, name: &[u8]) -> bool {
        Pattern::new(&word(pattern).0).unwrap().matches(name)
    }

    #[test]
    fn braces_are_written_out_in_the_order_of_bash() {
        for (braced, words) in [
            ("a{b,c}d", "abd acd"),
            ("a{b,c}d{e,f}", "abde abdf acde acdf"),
            ("{a,{b,c}d,e}", "a bd cd e"),
            ("x{,y}", "x xy"),
            ("{,a}", "a"),
            ("{,}", ""),
            ("{a,{b}}", "a {b}"),
            ("{{a,b}}", "{a} {b}"),
            ("{a,{b,c}", "{a,b {a,c"),
            ("{a,b}}", "a} b}"),
            ("}{a,b}", "}a }b"),
            ("a,b{c,d},e", "a,bc,e a,bd,e"),
            ("~/{x,y}", "~/x ~/y"),
            ("{a,b}{1..3}", "a{1..3} b{1..3}"),
        ] {
            let written: Vec<_> = braces(&word(braced)).unwrap().iter().map(text).collect();
            assert_eq!(written.join(" "), words, "{braced}");
        }
    }

    #[test]
    fn other_braces_are_themselves() {
        for plain in [
            "''", "a", "{}", "a{}b", "{a}", "{a,b", "a,b}", "}a,b{", "{1..3}", r"\{a,b}", r"{a\,b}",
            "{a,b'}'", "'{a,b}'",
        ] {
            assert_eq!(braces(&word(plain)), Ok(vec![word(plain)]), "{plain}");
        }
    }

    #[test]
    fn letters_keep_their_quoting_through_braces() {
        let written = braces(&word("{'*',*}")).unwrap();
        assert_eq!(written, [word("'*'"), word("*")]);
    }

    #[test]
    fn braces_that_stand_for_too_much_are_refused_at_once() {
        let most = braces(&word(&"{a,b}".repeat(12))).unwrap();
        assert_eq!(most.len(), BRACED_WORDS_MOST);
        for bomb in [
            "{a,b}".repeat(13),
            "{a,b}".repeat(1000),
            "{a,".repeat(60_000) + &"}".repeat(60_000),
            "{".repeat(50_000) + &",b}".repeat(50_000),
            format!("{{a{}}}", ",".repeat(200_000)),
            format!("{}{{{}}}", "a".repeat(200_000), ",".repeat(50_000)),
            "a".repeat(200_000) + &"{,b}".repeat(4),
        ] {
            assert_eq!(braces(&word(&bomb)), Err(TooMany));
        }
        for plain in ["{".repeat(250_000), "{}".repeat(100_000), "{a,".repeat(80_000), ",}".repeat(100_000)] {
            assert_eq!(braces(&word(&plain)).unwrap().len(), 1);
        }
        assert_eq!(TooMany.to_string(), "the braces stand for too many names");
    }

    #[test]
    fn a_pattern_matches_as_in_a_shell() {
        for (pattern, yes, no) in [
            ("*", &["a", "-rf", "a.b"][..], &[".a", ".", ".."][..]),
            ("a*", &["a", "ab"], &["ba", ""]),
            ("*.txt", &["a.txt"], &[".txt", "a.txt~"]),
            ("**a**", &["a", "bab"], &["b"]),
            ("*a*b", &["ab", "aab", "a1b2b"], &["ba", "abc"]),
            ("?", &["a", "ü", "文"], &["", "ab", "."]),
            ("?a", &["aa"], &[".a"]),
            (".*", &[".a", ".a.b"], &["a", ".", ".."]),
            (".?", &[".a"], &[".."]),
            ("[.]a", &[], &[".a"]),
            ("[!a]b", &["bb"], &["ab", ".b"]),
            ("[^a]b", &["bb"], &["ab"]),
            ("[a-c]", &["a", "b", "c"], &["d", "-", "A"]),
            ("[a-cb-f]", &["e"], &["g"]),
            ("[c-a]", &[], &["a", "b", "c"]),
            ("[]a]", &["]", "a"], &["b"]),
            ("[!]a]", &["b"], &["]", "a"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[-a]", &["a", "-"], &["b"]),
            ("[[:alpha:]_]x", &["ax", "_x"], &["1x", "üx"]),
            ("[![:digit:]]", &["a"], &["1"]),
            ("[[:space:][:upper:]]", &[" ", "\n", "Q"], &["q"]),
            ("[[:xdigit:]-]", &["f", "-"], &["g", ":"]),
            ("[[:moon:]]", &[], &["m", ":"]),
            ("[[:alpha]", &["[", ":", "l"], &["]"]),
            ("[ä-ü]", &["ö"], &["a", "ÿ"]),
            ("[a*", &["[a", "[ab"], &["a"]),
            ("a]*", &["a]"], &["a"]),
            (r"\**", &["*", "*a"], &["a"]),
            ("'[a]'*", &["[a]"], &["a"]),
            ("[a'-'c]", &["a", "-", "c"], &["b"]),
            ("['!'a]", &["!", "a"], &["b"]),
            ("[a']'b]", &["]", "b"], &["c"]),
            (r"\ü*", &["ü", "üx"], &["u"]),
            ("*ü", &["ü", "aü"], &["u"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name.as_bytes()), "{pattern} {name}");
            }
            for name in no {
                assert!(!matches(pattern, name.as_bytes()), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn a_byte_that_is_no_character_counts_as_one() {
        assert!(matches("?", b"\xff"));
        assert!(matches("[!a]?", b"\xfc\xc3"));
        assert!(matches("gr?n*", b"gr\xfcn"));
        assert!(matches("gr?n*", "grün".as_bytes()));
        assert!(!matches("?", b"\xff\xff"));
        assert!(!matches("[a-z]", b"\xff"));
    }

    #[test]
    fn letters_that_only_mean_themselves_are_no_pattern() {
        for plain in ["''", "a", r"\*", "'?'", "'[a]'", "[", "[a", "[]", "[!]", "[a']'", "]", "{a}", "~"] {
            assert_eq!(Pattern::new(&word(plain).0), None, "{plain}");
        }
        assert_eq!(Pattern::new(&word(&"*".repeat(PATTERN_MOST + 1)).0), None);
    }

    #[test]
    fn no_pattern_takes_long() {
        let name = vec![b'a'; 255];
        let longest = |text: &str| text.repeat(PATTERN_MOST / text.len());
        for hopeless in [
            "*a".repeat(500) + "b",
            longest("*?"),
            "[".repeat(PATTERN_MOST - 1) + "*",
            format!("*{}b", "[[:alpha:]".repeat(100)),
            longest("[[:alpha:]]"),
            format!("*[{}]b", "b-za".repeat(250)),
            format!("*{}c", "[b-za]".repeat(170)),
        ] {
            assert!(!matches(&hopeless, &name));
        }
    }

    #[test]
    fn a_word_is_taken_apart_so_that_it_can_be_put_together() {
        let shown = |path: &str| -> Vec<_> {
            components(&word(path))
                .into_iter()
                .map(|component| match component {
                    Component::Literal(name) => name.escape_ascii().to_string(),
                    Component::Pattern(_) => "<pattern>".to_owned(),
                })
                .collect()
        };
        for (path, parts) in [
            ("''", &[""][..]),
            ("/", &["", ""]),
            ("a", &["a"]),
            ("/a//b/", &["", "a", "", "b", ""]),
            ("../*", &["..", "<pattern>"]),
            ("/etc/*/x", &["", "etc", "<pattern>", "x"]),
            ("'a/*'/?", &["a", "*", "<pattern>"]),
            ("[a/b]", &["[a", "b]"]),
            ("*/./*", &["<pattern>", ".", "<pattern>"]),
        ] {
            assert_eq!(shown(path), parts, "{path}");
        }
        assert!(components(&word("a/*")).iter().any(Component::is_pattern));
        assert!(!components(&word("a/'*'")).iter().any(Component::is_pattern));
    }

    #[test]
    fn a_tilde_is_the_home_only_when_it_stands_alone() {
        for (home, rest) in [("~", "''"), ("~/", "''"), ("~/x", "x"), ("~/*/x", "*/x"), ("~//x", "x")] {
            assert_eq!(tilde(&word(home)), Some(word(rest)), "{home}");
        }
        for plain in
            ["''", "a", "a~", "/~", "~root", "~root/x", "~~", r"\~", r"\~/x", "'~/x'", "~'/x'", "./~"]
        {
            assert_eq!(tilde(&word(plain)), None, "{plain}");
        }
    }
}
