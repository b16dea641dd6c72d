//! What is asked of this invocation: words of a command line to a `Request`.
//!
//! scp's letters are a list of what is allowed, never of what is not: every restricted shell that filtered was
//! talked round by the next letter (CVE-2004-1161, CVE-2005-4533, CVE-2019-1000018).

use crate::words::Word;
use std::error::Error;
use std::fmt;

/// Reads a whole command, the program's name first: a client's.
pub fn parse(words: &[Word]) -> Result<Request, Usage> {
    let Some((program, rest)) = words.split_first() else {
        return Err(Usage::NoCommand);
    };
    let program = program.bytes();
    match program.as_slice() {
        b"scp" | b"/usr/bin/scp" => arguments(rest),
        b"" => Err(Usage::NoCommand),
        b"internal-sftp" | b"sftp-server" => Err(Usage::Sftp),
        path if path.ends_with(b"/sftp-server") => Err(Usage::Sftp),
        _ => Err(Usage::NotScp(program)),
    }
}

/// Reads what follows the program's name.
///
/// Options end at the first word that is none, as for BSD's getopt: no path is ever taken for an option.
pub fn arguments(words: &[Word]) -> Result<Request, Usage> {
    let mut options = Options::default();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        let word = word.bytes();
        match word.as_slice() {
            b"--" => {
                rest = after;
                break;
            }
            [b'-', b'-', ..] => return Err(Usage::LongOption(word)),
            [b'-', cluster @ ..] if !cluster.is_empty() => rest = options.read(cluster, after)?,
            _ => break,
        }
    }
    options.request(rest)
}

/// What the client asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// `scp -f`: send files to the client.
    Fetch(Fetch),
    /// `scp -t`: store what the client sends.
    Store(Store),
}

impl Request {
    /// Tells whether the client wants to be told what goes on.
    pub fn chatter(&self) -> Chatter {
        match self {
            Self::Fetch(fetch) => fetch.chatter,
            Self::Store(store) => store.chatter,
        }
    }
}

/// `scp -f`: be the source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fetch {
    /// What to send, patterns included, in the client's order; at least one.
    pub sources: Vec<Word>,
    /// `-r`
    pub depth: Depth,
    /// `-p`
    pub keep: Keep,
    /// `-v`
    pub chatter: Chatter,
}

/// `scp -t`: be the sink.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Store {
    /// Where to store: exactly one is meant, but `scp -t a b` is answered on the wire ("ambiguous target").
    pub targets: Vec<Word>,
    /// `-r`
    pub depth: Depth,
    /// `-p`
    pub keep: Keep,
    /// `-d`
    pub kind: TargetKind,
    /// `-v`
    pub chatter: Chatter,
}

/// Whether directories are copied: `-r`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// Files only.
    Flat,
    /// Directories and what is in them.
    Tree,
}

/// What is kept of a file's attributes: `-p`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keep {
    /// The contents; the mode is subject to the umask.
    Contents,
    /// Exact permission bits and times as well.
    Attributes,
}

/// What the target of an upload has to be: `-d`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TargetKind {
    /// A directory to store into, or a file's new name.
    Any,
    /// An existing directory.
    Directory,
}

/// Whether the client wants to be told what goes on: `-v`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chatter {
    /// Errors only.
    Quiet,
    /// Every record, on stderr.
    Verbose,
}

/// Why the words are no request of ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Usage {
    /// Both `-t` and `-f`.
    BothWays,
    /// Neither `-t` nor `-f`: a client's half is wanted.
    Client,
    /// `--anything`, which scp does not have.
    LongOption(Vec<u8>),
    /// There is no program's name.
    NoCommand,
    /// `-f`, but of what?
    NoSource,
    /// This program is wanted, and it is not scp.
    NotScp(Vec<u8>),
    /// An option outside the list of those that are allowed.
    Option(u8),
    /// `-l` without a number.
    Rate,
    /// A server of the SFTP protocol is wanted.
    Sftp,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BothWays => f.write_str("scp cannot store (-t) and send (-f) at once"),
            Self::Client => f.write_str("only the server's half of scp is here, and it needs -t or -f"),
            Self::LongOption(word) => write!(f, "scp's server half has no option {}", Excerpt(word)),
            Self::NoCommand => f.write_str("there is no shell here: files are copied with scp"),
            Self::NoSource => f.write_str("scp -f needs the path of a file to send"),
            Self::NotScp(program) => write!(f, "only scp is served here, not {}", Excerpt(program)),
            Self::Option(letter) => {
                write!(f, "scp's option -{} is not allowed here", letter.escape_ascii())
            }
            Self::Rate => f.write_str("scp's option -l needs a number"),
            Self::Sftp => f.write_str("this account takes the SCP protocol only: scp -O selects it"),
        }
    }
}

impl Error for Usage {}

/// The beginning of a word, fit for a screen.
struct Excerpt<'a>(&'a [u8]);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..EXCERPT_MOST) {
            Some(beginning) if beginning != self.0 => write!(f, "{}...", beginning.escape_ascii()),
            _ => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

/// What the options read so far have said.
struct Options {
    way: Option<Way>,
    depth: Depth,
    keep: Keep,
    kind: TargetKind,
    chatter: Chatter,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Way {
    Fetch,
    Store,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            way: None,
            depth: Depth::Flat,
            keep: Keep::Contents,
            kind: TargetKind::Any,
            chatter: Chatter::Quiet,
        }
    }
}

impl Options {
    /// Reads the letters of one word, and the following word if it belongs to them; returns the words that are left.
    fn read<'a>(&mut self, mut cluster: &[u8], words: &'a [Word]) -> Result<&'a [Word], Usage> {
        while let Some((&letter, after)) = cluster.split_first() {
            match letter {
                b'd' => self.kind = TargetKind::Directory,
                b'f' => self.turn(Way::Fetch)?,
                b'l' => return skip_rate(after, words),
                b'p' => self.keep = Keep::Attributes,
                b'r' => self.depth = Depth::Tree,
                b't' => self.turn(Way::Store)?,
                b'v' => self.chatter = Chatter::Verbose,
                // WinSCP sends -1, Ant -C, sshj and Go clients -q; a client's own business, all of them.
                b'1' | b'2' | b'3' | b'4' | b'6' | b'A' | b'B' | b'C' | b'O' | b'T' | b'q' | b's' => {}
                _ => return Err(Usage::Option(letter)),
            }
            cluster = after;
        }
        Ok(words)
    }

    fn turn(&mut self, way: Way) -> Result<(), Usage> {
        match self.way.replace(way) {
            Some(before) if before != way => Err(Usage::BothWays),
            _ => Ok(()),
        }
    }

    /// Puts paths to the options.
    fn request(self, paths: &[Word]) -> Result<Request, Usage> {
        let Self { way, depth, keep, kind, chatter } = self;
        let paths = paths.to_vec();
        match way {
            None => Err(Usage::Client),
            Some(Way::Fetch) if paths.is_empty() => Err(Usage::NoSource),
            Some(Way::Fetch) => Ok(Request::Fetch(Fetch { sources: paths, depth, keep, chatter })),
            Some(Way::Store) => Ok(Request::Store(Store { targets: paths, depth, keep, kind, chatter })),
        }
    }
}

/// Passes over the number of `-l8` or `-l 8`: it limits the client, which does not count on us.
fn skip_rate<'a>(cluster: &[u8], words: &'a [Word]) -> Result<&'a [Word], Usage> {
    let (rate, rest) = match (cluster, words) {
        ([], []) => return Err(Usage::Rate),
        ([], [word, rest @ ..]) => (word.bytes(), rest),
        (digits, rest) => (digits.to_vec(), rest),
    };
    let is_number = !rate.is_empty() && rate.iter().all(u8::is_ascii_digit);
    is_number.then_some(rest).ok_or(Usage::Rate)
}

/// The most bytes of a client's word that a sentence repeats; of a longer one it shows the beginning.
const EXCERPT_MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Component, braces, components, tilde};
    use crate::words::split;

    fn ask(command: &str) -> Result<Request, Usage> {
        parse(&split(command.as_bytes()).unwrap())
    }

    fn paths(request: &Request) -> &[Word] {
        match request {
            Request::Fetch(fetch) => &fetch.sources,
            Request::Store(store) => &store.targets,
        }
    }

    /// Renders a request as what it does, its options in alphabetical order, and each path behind a bar.
    fn shown(request: &Request) -> String {
        let (mut shown, depth, keep, kind, chatter) = match request {
            Request::Fetch(ask) => ("fetch ".to_owned(), ask.depth, ask.keep, TargetKind::Any, ask.chatter),
            Request::Store(ask) => ("store ".to_owned(), ask.depth, ask.keep, ask.kind, ask.chatter),
        };
        for (letter, said) in [
            ('d', kind == TargetKind::Directory),
            ('p', keep == Keep::Attributes),
            ('r', depth == Depth::Tree),
            ('v', chatter == Chatter::Verbose),
        ] {
            shown.extend(said.then_some(letter));
        }
        for path in paths(request) {
            shown = format!("{shown}|{}", String::from_utf8(path.bytes()).unwrap());
        }
        shown
    }

    fn assert_understood(command: &str, request: &str) {
        let asked = ask(command).map(|request| shown(&request));
        assert_eq!(asked.as_deref(), Ok(request), "{command}");
    }

    // as read from each client's source, or seen live
    #[test]
    fn every_client_is_understood() {
        for (client, command, request) in [
            ("OpenSSH put", "scp -t d", "store |d"),
            ("OpenSSH put, all", "scp -v -r -p -d -t -- -x", "store dprv|-x"),
            ("OpenSSH get", "scp -f a*.{c,h}", "fetch |a*.{c,h}"),
            ("OpenSSH get, all", "scp -v -r -p -d -f -- -x", "fetch prv|-x"),
            ("OpenSSH, a name with blanks", "scp -f a b", "fetch |a|b"),
            ("dropbear", "scp -r -p -t d", "store pr|d"),
            ("pscp put", "scp -v -r -p -t .", "store prv|."),
            ("pscp get", "scp -f x", "fetch |x"),
            ("WinSCP put", "scp -r -p -1 -d -t \"a b\"", "store dpr|a b"),
            ("WinSCP get", "scp -r  -d -f \"./-x\\$\"", "fetch r|./-x$"),
            ("libssh2 put", "scp -t 'it'\"'\"'s'\\!''", "store |it's!"),
            ("libssh2 put with times", "scp -pt 'd'", "store p|d"),
            ("libssh2 get", "scp -pf 'a'\\!'b'", "fetch p|a!b"),
            ("libssh2 get without stat", "scp -f 'x'", "fetch |x"),
            ("libssh put", "scp -t  'd'", "store |d"),
            ("libssh put, tree", "scp -t -r 'd'", "store r|d"),
            ("libssh get", "scp -f  'x'", "fetch |x"),
            ("libssh get, tree", "scp -f -r 'x'", "fetch r|x"),
            ("scp.py put", "scp -l 100 -r -t d", "store r|d"),
            ("scp.py put, empty path", "scp -t ", "store "),
            ("scp.py get", "scp -l 100 -r -p -f a 'b c' ''", "fetch pr|a|b c|"),
            ("asyncssh put", "scp -t -d -p -r d", "store dpr|d"),
            ("asyncssh get", "scp -f -d -p -r x", "fetch pr|x"),
            ("JSch put", "scp -p -t 'it'\"'\"'s'", "store p|it's"),
            ("JSch put, old", "scp  -t d", "store |d"),
            ("JSch get", "scp -f 'x'", "fetch |x"),
            ("Ant put", "scp -r -d -t -p -C d", "store dpr|d"),
            ("Ant get", "scp -f -r -C x", "fetch r|x"),
            ("wagon put", "scp -p -t \"a b\"", "store p|a b"),
            ("wagon get", "scp -p -f \"a b\"", "fetch p|a b"),
            ("camel", "scp -r -t d", "store r|d"),
            ("sshj put", "scp -t -r -l8 -p 'd'", "store pr|d"),
            ("sshj get", "scp -f -q -p -r -l8 x", "fetch pr|x"),
            ("mina put", "scp -d -r -p -t -- d", "store dpr|d"),
            ("mina get", "scp -r -p -f -- x", "fetch pr|x"),
            ("trilead put", "scp -t -d d", "store d|d"),
            ("trilead get", "scp -f a b", "fetch |a|b"),
            ("net-scp put", "scp -t -v -r -p a\\ b", "store prv|a b"),
            ("net-scp get", "scp -f -v -r -p a\\*", "fetch prv|a*"),
            ("SSH.NET put", "scp -t -d \"d\"", "store d|d"),
            ("SSH.NET put, tree", "scp -r -p -d -t \"d\"", "store dpr|d"),
            ("SSH.NET get", "scp -pf \"a\\\"b\"", "fetch p|a\"b"),
            ("SSH.NET get, tree", "scp -prf \"x\"", "fetch pr|x"),
            ("SSH.NET 2016.1 put, tree", "scp -rt \"d\"", "store r|d"),
            ("go-scp put", "scp -qt \"a b\"", "store |a b"),
            ("go-scp get", "scp -pf \"a\\tb\"", "fetch p|a\\tb"),
            ("povsister put", "scp -q -t -r -v 'd'", "store rv|d"),
            ("povsister get", "scp -q -f -r -p -v 'x'", "fetch prv|x"),
            ("hnakamur put", "scp -tprd 'it'\\''s'", "store dpr|it's"),
            ("hnakamur get", "scp -fprd 'x'", "fetch pr|x"),
            ("dtylman", "scp -t d", "store |d"),
            ("tmc", "scp -t a\\ b", "store |a b"),
            ("packer put", "scp -rvt a\\ b", "store rv|a b"),
            ("packer get", "scp -vrf \"a b\"", "fetch rv|a b"),
            ("terraform", "scp -vt 'C:\\x'", "store v|C:\\x"),
            ("groovy-ssh put", "scp -tr d", "store r|d"),
            ("groovy-ssh get", "scp -f -r x", "fetch r|x"),
            ("ssh-rs put", "scp -t -q -r -p d", "store pr|d"),
            ("ssh-rs get", "scp -f -q -r -p x", "fetch pr|x"),
        ] {
            let asked = ask(command).map(|request| shown(&request));
            assert_eq!(asked.as_deref(), Ok(request), "{client}: {command}");
        }
    }

    #[test]
    fn options_come_in_any_order_and_number() {
        let thousand = format!("scp {}-t d", "-v ".repeat(1000));
        for (command, request) in [
            // CMD-11
            (thousand.as_str(), "store v|d"),
            ("scp -rrpp -tt d", "store pr|d"),
            ("scp -prt d", "store pr|d"),
            ("scp -pt d", "store p|d"),
            ("scp -p -r -d -t d", "store dpr|d"),
            ("scp -l 8 -t d", "store |d"),
            ("scp -l8 -t d", "store |d"),
            ("scp -tvl8 d", "store v|d"),
            ("scp -tvl 8 d", "store v|d"),
            ("scp -l 99999999999999999999999 -t d", "store |d"),
            ("scp -C -1 -BT2346OsA -t d", "store |d"),
            ("/usr/bin/scp -t d", "store |d"),
            // CMD-08: a shell would run the same
            ("s''cp \\-t d", "store |d"),
            ("\\scp\t-t d", "store |d"),
        ] {
            assert_understood(command, request);
        }
    }

    #[test]
    fn after_the_first_path_every_word_is_a_path() {
        for (command, request) in [
            // CMD-06, CMD-07, CVE-2005-4533
            ("scp -t d -S x", "store |d|-S|x"),
            ("scp -f a -oProxyCommand=x", "fetch |a|-oProxyCommand=x"),
            ("scp -f a -t", "fetch |a|-t"),
            ("scp -f a --", "fetch |a|--"),
            ("scp -t -", "store |-"),
            ("scp -f - -r", "fetch |-|-r"),
            ("scp -f '' -r", "fetch ||-r"),
            ("scp -t -- -rf", "store |-rf"),
            ("scp -t -- --", "store |--"),
            ("scp -t --", "store "),
            ("scp -t a b", "store |a|b"),
        ] {
            assert_understood(command, request);
        }
    }

    #[test]
    fn a_path_keeps_its_quoting() {
        let Ok(Request::Fetch(fetch)) = ask("scp -f *'*'") else {
            panic!("a fetch");
        };
        let live: Vec<_> = fetch.sources[0].0.iter().map(|letter| letter.live).collect();
        assert_eq!(live, [true, false]);
    }

    #[test]
    fn what_is_not_on_the_list_is_refused() {
        use Usage::{BothWays, Client, LongOption, NoSource, Rate};
        let option = |letter| Usage::Option(letter);
        let long = |word: &str| LongOption(word.as_bytes().to_vec());
        for (command, why) in [
            // CMD-05
            ("scp -S prog -t d", option(b'S')),
            ("scp -Sprog -t d", option(b'S')),
            ("scp -rSprog -t d", option(b'S')),
            ("scp -tS d", option(b'S')),
            ("scp -t -o X d", option(b'o')),
            ("scp -t -oProxyCommand=x d", option(b'o')),
            ("scp -t -F f d", option(b'F')),
            ("scp -t -J h d", option(b'J')),
            ("scp -t -i k d", option(b'i')),
            ("scp -t -c x d", option(b'c')),
            ("scp -t -D x d", option(b'D')),
            ("scp -t -X x d", option(b'X')),
            ("scp -t -P 1 d", option(b'P')),
            ("scp -t -R d", option(b'R')),
            ("scp -t -M d", option(b'M')),
            ("scp -t --rsh=x d", long("--rsh=x")),
            ("scp -t --root=/ d", long("--root=/")),
            ("scp --help", long("--help")),
            ("scp --version", long("--version")),
            ("scp -t '-*' d", option(b'*')),
            ("scp -t-d", option(b'-')),
            ("scp -t -\u{e9} d", option(0xc3)),
            ("scp -t -l", Rate),
            ("scp -t -l x d", Rate),
            ("scp -t -l -1 d", Rate),
            ("scp -t -l +1 d", Rate),
            ("scp -t -l '' d", Rate),
            ("scp -t -l8k d", Rate),
            // CMD-06
            ("scp -t -f d", BothWays),
            ("scp -ft d", BothWays),
            ("scp -ftf d", BothWays),
            ("scp a host:b", Client),
            ("scp -r -p a host:b", Client),
            ("scp -", Client),
            ("scp --", Client),
            ("scp -- -t d", Client),
            ("scp", Client),
            ("scp {-t,d}", Client),
            ("scp -f", NoSource),
            ("scp -rf --", NoSource),
        ] {
            assert_eq!(ask(command), Err(why), "{command}");
        }
    }

    #[test]
    fn no_other_command_is_served() {
        use Usage::{NoCommand, Sftp};
        let not_scp = |program: &str| Usage::NotScp(program.as_bytes().to_vec());
        for (command, why) in [
            // CMD-01
            ("", NoCommand),
            (" \t ", NoCommand),
            ("''", NoCommand),
            // CMD-08
            ("A=b scp -t d", not_scp("A=b")),
            ("env scp -t d", not_scp("env")),
            ("exec scp -t d", not_scp("exec")),
            ("sudo scp -t d", not_scp("sudo")),
            ("./scp -t d", not_scp("./scp")),
            ("/opt/scp -t d", not_scp("/opt/scp")),
            ("/usr/bin//scp -t d", not_scp("/usr/bin//scp")),
            ("SCP -t d", not_scp("SCP")),
            ("scp\\t-t d", not_scp("scpt-t")),
            ("'scp -t d'", not_scp("scp -t d")),
            ("sc[p] -t d", not_scp("sc[p]")),
            ("rsync --server . d", not_scp("rsync")),
            ("sh -c 'scp -t d'", not_scp("sh")),
            ("/bin/sh /home/u/.ssh/rc", not_scp("/bin/sh")),
            ("ls -la '.'", not_scp("ls")),
            ("internal-sftp", Sftp),
            ("sftp-server -l INFO", Sftp),
            ("/usr/lib/openssh/sftp-server", Sftp),
        ] {
            assert_eq!(ask(command), Err(why), "{command}");
        }
        assert_eq!(parse(&[]), Err(NoCommand));
    }

    #[test]
    fn each_refusal_is_one_short_sentence() {
        for (command, sentence) in [
            ("scp -tf d", "scp cannot store (-t) and send (-f) at once"),
            ("scp a h:b", "only the server's half of scp is here, and it needs -t or -f"),
            ("scp -t --rsh=x", "scp's server half has no option --rsh=x"),
            ("", "there is no shell here: files are copied with scp"),
            ("scp -f", "scp -f needs the path of a file to send"),
            ("rsync --server", "only scp is served here, not rsync"),
            ("'\u{1b}[2J' x", r"only scp is served here, not \x1b[2J"),
            ("scp -S x", "scp's option -S is not allowed here"),
            ("scp -'\n'", r"scp's option -\n is not allowed here"),
            ("scp -tl x", "scp's option -l needs a number"),
            ("sftp-server", "this account takes the SCP protocol only: scp -O selects it"),
        ] {
            assert_eq!(ask(command).unwrap_err().to_string(), sentence, "{command}");
        }
        let exact = Usage::NotScp(vec![b'a'; EXCERPT_MOST]).to_string();
        assert!(exact.ends_with("aaa"));
        let long = Usage::NotScp(vec![b'\n'; 1024 * 1024]).to_string();
        assert!(long.len() < 200 && long.ends_with(r"\n..."));
    }

    // CMD-10
    #[test]
    fn twenty_thousand_paths_are_a_request() {
        let request = ask(&format!("scp -f{}", " a/b".repeat(20_000))).unwrap();
        assert_eq!(paths(&request).len(), 20_000);
    }

    // CMD-10, for every room that reads what a client wrote
    #[test]
    fn nothing_that_a_client_writes_gets_an_option_through() {
        let bits = r#"scp /usr/bin/scp -t -t -f -f -r -pv -l 8 -l8 -C -- - S o -S --x = a { , } {a,b} * ? [ ] [:alpha:]
            ! . / ~ ' " \ $ ; # ü"#;
        let bits: Vec<_> = bits.split_whitespace().collect();
        let mut state: u64 = 0x2545_f491_4f6c_dd1d;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
        };
        let mut accepted = 0;
        for round in 0..100_000 {
            let mut command = if round % 4 == 0 { Vec::new() } else { b"scp ".to_vec() };
            for _ in 0..random(16) {
                match random(32) {
                    0 => command.push(u8::try_from(random(256)).unwrap()),
                    1..=12 => command.push(b' '),
                    _ => command.extend(bits[random(bits.len())].bytes()),
                }
            }
            let Ok(words) = split(&command) else { continue };
            for word in words.iter().flat_map(|word| braces(word).unwrap()) {
                for component in components(&tilde(&word).unwrap_or(word)) {
                    if let Component::Pattern(pattern) = component {
                        pattern.matches(&command);
                    }
                }
            }
            match parse(&words) {
                Ok(request) => {
                    accepted += 1;
                    let (options, rest) = words.split_at(words.len() - paths(&request).len());
                    assert_eq!(rest, paths(&request));
                    assert_allowed(&options[1..]);
                }
                Err(why) => assert!(why.to_string().bytes().all(|byte| matches!(byte, b' '..=b'~'))),
            }
        }
        assert!(accepted > 1000, "{accepted}");
    }

    fn assert_allowed(options: &[Word]) {
        let mut is_rate = false;
        for option in options {
            let option = String::from_utf8(option.bytes()).unwrap();
            let (letters, rate) = match is_rate {
                true => ("", Some(option.as_str())),
                false => match option.strip_prefix('-').unwrap().split_once('l') {
                    Some((letters, rate)) => (letters, Some(rate)),
                    None => (option.as_str(), None),
                },
            };
            is_rate = rate == Some("");
            assert!(letters.chars().all(|letter| "-tfrpdvqCBT12346OsA".contains(letter)), "{option}");
            assert!(rate.is_none_or(|rate| rate.chars().all(|digit| digit.is_ascii_digit())), "{option}");
        }
        assert!(!is_rate);
    }
}
