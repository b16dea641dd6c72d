//! A command line as the client wrote it, taken apart into words as a POSIX shell would, without a shell.
//!
//! Quoting is undone: `'...'`, `"..."`, a backslash, and any of them side by side. Whatever would make a shell do
//! more than that (run a second command, redirect, substitute) refuses the whole command.

use std::error::Error;
use std::fmt;

/// Takes a command line apart into its words.
///
/// Only blanks and tabs separate words; every other byte that is not a shell's is a letter, valid UTF-8 or not.
/// Empty words are kept: scp.py sends `''`.
pub fn split(command: &[u8]) -> Result<Vec<Word>, NotWords> {
    if command.len() > COMMAND_MOST {
        return Err(NotWords::TooLong);
    }
    // Not even in quotes: no name can hold it.
    if command.contains(&0) {
        return Err(NotWords::Nul);
    }

    let mut words = Vec::new();
    let mut rest = skip_blanks(command);
    while !rest.is_empty() {
        let (word, after) = word(rest)?;
        words.push(word);
        rest = skip_blanks(after);
    }
    Ok(words)
}

/// A word of a command line, its quoting undone but not forgotten.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Word(pub Vec<Letter>);

impl Word {
    /// Takes `bytes` as a word that was quoted from end to end: an argument that no shell is to look at again.
    pub fn literal(bytes: &[u8]) -> Self {
        let mut word = Self::default();
        word.quote(bytes);
        word
    }

    /// Returns the bytes, quoting forgotten.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().map(|letter| letter.byte).collect()
    }

    /// Adds letters that stand for themselves.
    fn quote(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.iter().map(|&byte| Letter { byte, live: false }));
    }
}

/// One letter of a word, and whether it was quoted: only a live letter can be part of a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Letter {
    /// The byte itself.
    pub byte: u8,
    /// Whether it stood outside all quotes, so that `*`, `{` or `~` mean more than themselves.
    pub live: bool,
}

/// Why a command line cannot be taken apart without a shell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotWords {
    /// A word begins with `#`: a shell would drop the rest of the line.
    Comment,
    /// A NUL byte, quoted or not.
    Nul,
    /// This byte, unquoted, would end, join or redirect commands.
    Operator(u8),
    /// A `$` or a backquote is live.
    Substitution,
    /// More than 256 KiB.
    TooLong,
    /// The last byte is a backslash that quotes nothing.
    TrailingBackslash,
    /// This quotation mark has no partner.
    Unbalanced(u8),
}

impl fmt::Display for NotWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Comment => f.write_str("there is no shell here, and a word begins with an unquoted #"),
            Self::Nul => f.write_str("the command holds a NUL byte"),
            Self::Operator(byte) => {
                write!(f, "there is no shell here, and the command holds an unquoted {}", byte.escape_ascii())
            }
            Self::Substitution => {
                f.write_str("there is no shell here, and the command holds a $ or ` that is not quoted")
            }
            Self::TooLong => f.write_str("the command is longer than 256 KiB"),
            Self::TrailingBackslash => f.write_str("the command ends in a backslash"),
            Self::Unbalanced(mark) => write!(f, "a {} in the command has no partner", char::from(*mark)),
        }
    }
}

impl Error for NotWords {}

/// Passes over what separates words.
fn skip_blanks(mut rest: &[u8]) -> &[u8] {
    // A backslash and a newline are nothing at all, so they begin no word either.
    while let [b' ' | b'\t', after @ ..] | [b'\\', b'\n', after @ ..] = rest {
        rest = after;
    }
    rest
}

/// Reads one word, up to the blank or the end that follows it.
fn word(mut rest: &[u8]) -> Result<(Word, &[u8]), NotWords> {
    if rest.first() == Some(&b'#') {
        return Err(NotWords::Comment);
    }

    let mut word = Word::default();
    loop {
        rest = match rest {
            [] | [b' ' | b'\t', ..] => return Ok((word, rest)),
            [b'\\', b'\n', after @ ..] => after,
            [b'\\', byte, after @ ..] => {
                word.quote(&[*byte]);
                after
            }
            [b'\\'] => return Err(NotWords::TrailingBackslash),
            [b'\'', after @ ..] => single_quoted(&mut word, after)?,
            [b'"', after @ ..] => double_quoted(&mut word, after)?,
            [b'$' | b'`', ..] => return Err(NotWords::Substitution),
            [byte @ (b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' | b'\n' | b'\r'), ..] => {
                return Err(NotWords::Operator(*byte));
            }
            [byte, after @ ..] => {
                word.0.push(Letter { byte: *byte, live: true });
                after
            }
        };
    }
}

/// Reads what follows a `'`, its partner included, and returns the rest.
fn single_quoted<'a>(word: &mut Word, rest: &'a [u8]) -> Result<&'a [u8], NotWords> {
    let mut halves = rest.splitn(2, |&byte| byte == b'\'');
    let (Some(quoted), Some(after)) = (halves.next(), halves.next()) else {
        return Err(NotWords::Unbalanced(b'\''));
    };
    word.quote(quoted);
    Ok(after)
}

/// Reads what follows a `"`, its partner included, and returns the rest.
fn double_quoted<'a>(word: &mut Word, mut rest: &'a [u8]) -> Result<&'a [u8], NotWords> {
    loop {
        rest = match rest {
            [] => return Err(NotWords::Unbalanced(b'"')),
            [b'"', after @ ..] => return Ok(after),
            [b'$' | b'`', ..] => return Err(NotWords::Substitution),
            [b'\\', b'\n', after @ ..] => after,
            // Before any other byte a backslash is itself: Go's %q sends "\t".
            [b'\\', byte @ (b'"' | b'\\' | b'$' | b'`'), after @ ..] | [byte, after @ ..] => {
                word.quote(&[*byte]);
                after
            }
        };
    }
}

/// The longest command that is read; a longer one is refused whole. Twice what Linux passes in one string.
const COMMAND_MOST: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Renders each word between bars, a quoted letter that could mean more behind a backslash.
    fn shown(command: &[u8]) -> String {
        let words = match split(command) {
            Ok(words) => words,
            Err(why) => return format!("{why:?}"),
        };
        let mut shown = String::from("|");
        for word in words {
            for letter in word.0 {
                if !letter.live && letter.byte.is_ascii_punctuation() {
                    shown.push('\\');
                }
                match letter.byte {
                    byte @ b' '..=b'~' => shown.push(char::from(byte)),
                    byte => shown.extend(byte.escape_ascii().map(char::from)),
                }
            }
            shown.push('|');
        }
        shown
    }

    #[test]
    fn quoting_is_undone_as_a_shell_would() {
        for (command, words) in [
            (&b"scp -t d"[..], r"|scp|-t|d|"),
            (b"  scp \t -t  d ", r"|scp|-t|d|"),
            (b"scp\t-t\td", r"|scp|-t|d|"),
            (b"'a b'c", r"|a bc|"),
            (br#""a b"c"#, r"|a bc|"),
            (br"a\ b", r"|a b|"),
            // libssh2 and libssh; scp.py, JSch and asyncssh
            (br"'a'\!'b'", r"|a\!b|"),
            (br#"'a'"'"'b'"#, r"|a\'b|"),
            (br"'a'\''b'", r"|a\'b|"),
            // WinSCP, SSH.NET, Go's %q
            (br#""\"\\\$\`""#, r#"|\"\\\$\`|"#),
            (br#""a\tb\!""#, r"|a\\tb\\\!|"),
            (br#""it's""#, r"|it\'s|"),
            (b"'$(id) `id` ; \" \\'", r#"|\$\(id\) \`id\` \; \" \\|"#),
            (b"'a\nb\rc'", r"|a\nb\rc|"),
            (b"\"a\nb\"", r"|a\nb|"),
            (b"\\;\\\r", r"|\;\r|"),
            // POSIX 2.2.1: removed before the line is taken apart
            (b"a\\\nb \\\n c", r"|ab|c|"),
            (b"\"a\\\nb\"", r"|ab|"),
            (b"a\\\n", r"|a|"),
            (b"a#b '#' \\#", r"|a#b|\#|\#|"),
            (b"!x a=b ~root", r"|!x|a=b|~root|"),
        ] {
            assert_eq!(shown(command), words, "{}", command.escape_ascii());
        }
    }

    #[test]
    fn empty_words_are_kept() {
        for (command, words) in [
            (&b""[..], "|"),
            (b" \t ", "|"),
            (b"\\\n", "|"),
            (b"''", "||"),
            (b"scp -f ''", "|scp|-f||"),
            (b"scp -t \"\" ''\"\"", "|scp|-t|||"),
        ] {
            assert_eq!(shown(command), words, "{}", command.escape_ascii());
        }
    }

    #[test]
    fn only_letters_outside_all_quotes_are_live() {
        assert_eq!(shown(br#"*?[a] '*'? "["a] \*\?\[ {a,'b,c'}"#), r"|*?[a]|\*?|\[a]|\*\?\[|{a,b\,c}|");
        assert!(Word::literal(b"~/*").0.iter().all(|letter| !letter.live));
        assert_eq!(Word::literal(b"~/*").bytes(), b"~/*");
    }

    #[test]
    fn whatever_needs_a_shell_refuses_the_command() {
        use NotWords::{Comment, Operator, Substitution};
        for (command, why) in [
            // CMD-02
            (&b"scp -t d; id"[..], Operator(b';')),
            (b"scp -t d && id", Operator(b'&')),
            (b"scp -t d | id", Operator(b'|')),
            (b"scp -t d & id", Operator(b'&')),
            (b"scp -t d > f", Operator(b'>')),
            (b"scp -t d < f", Operator(b'<')),
            (b"scp -t d\nid", Operator(b'\n')),
            (b"scp -t d\n", Operator(b'\n')),
            (b"scp -t d\r", Operator(b'\r')),
            (b"(scp -t d)", Operator(b'(')),
            (b"scp -t d)", Operator(b')')),
            (b"scp -t 'd';id", Operator(b';')),
            // CMD-03, CVE-2020-15778
            (b"scp -t $(id)", Substitution),
            (b"scp -t `id`", Substitution),
            (b"scp -t ${X}", Substitution),
            (b"scp -t $((1))", Substitution),
            (b"scp -f <(id)", Operator(b'<')),
            (b"scp -t \"$(id)\"", Substitution),
            (b"scp -t \"`id`\"", Substitution),
            (b"scp -t \"${X}\"", Substitution),
            (b"scp -t \"$((1))\"", Substitution),
            (b"scp -t a$ b", Substitution),
            // CMD-09
            (b"scp -t #x", Comment),
        ] {
            assert_eq!(split(command), Err(why), "{}", command.escape_ascii());
        }
    }

    #[test]
    fn unfinished_quoting_refuses_the_command() {
        use NotWords::{TrailingBackslash, Unbalanced};
        for (command, why) in [
            // CMD-04
            (&b"scp -t 'd"[..], Unbalanced(b'\'')),
            (b"scp -t \"d", Unbalanced(b'"')),
            (b"scp -t \"d\\\"", Unbalanced(b'"')),
            (b"scp -t \"d\\", Unbalanced(b'"')),
            (b"scp -t d\\", TrailingBackslash),
            // sshj's idea of a quote within quotes
            (br"scp -t 'a\'b'", Unbalanced(b'\'')),
        ] {
            assert_eq!(split(command), Err(why), "{}", command.escape_ascii());
        }
    }

    #[test]
    fn size_and_odd_bytes_do_no_harm() {
        // CMD-10
        let most = b"a ".repeat(COMMAND_MOST / 2);
        assert_eq!(split(&most).unwrap().len(), COMMAND_MOST / 2);
        assert_eq!(split(&[b'a'; COMMAND_MOST + 1]), Err(NotWords::TooLong));
        assert_eq!(split(&[b' '; 1024 * 1024]), Err(NotWords::TooLong));
        assert_eq!(split(b"a '\0'"), Err(NotWords::Nul));
        assert_eq!(shown(b"\xff\xfe a\xc2\xa0b \x0b\x0c"), r"|\xff\xfe|a\xc2\xa0b|\x0b\x0c|");
    }

    #[test]
    fn each_refusal_is_one_plain_sentence() {
        for (why, sentence) in [
            (NotWords::Comment, "there is no shell here, and a word begins with an unquoted #"),
            (NotWords::Nul, "the command holds a NUL byte"),
            (NotWords::Operator(b'\n'), r"there is no shell here, and the command holds an unquoted \n"),
            (
                NotWords::Substitution,
                "there is no shell here, and the command holds a $ or ` that is not quoted",
            ),
            (NotWords::TooLong, "the command is longer than 256 KiB"),
            (NotWords::TrailingBackslash, "the command ends in a backslash"),
            (NotWords::Unbalanced(b'"'), "a \" in the command has no partner"),
        ] {
            assert_eq!(why.to_string(), sentence);
        }
    }
}
