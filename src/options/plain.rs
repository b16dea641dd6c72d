//! A short way to what nearly every command line is: options in full, each once, and a request at the end.
//!
//! Building clap's table of options and reading with it costs as much as all else that we do before the first reply. So
//! the plainest form is read here, and nothing is found wrong here: whatever else there is goes to clap, all of it. What
//! comes of it is the same; a test compares the two.

use std::ffi::{OsStr, OsString};
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use clap::ValueEnum;

use super::line::Line;

/// Reads a command line, the program's name left out; none if clap has to.
pub(super) fn read(mut words: &[OsString]) -> Option<Line> {
    let mut line = Line::default();
    while let [word, rest @ ..] = words {
        let Some(option) = word.as_bytes().strip_prefix(b"--") else {
            // The client may have a part in these, so no option is looked for behind them.
            line.end(word, rest)?;
            break;
        };
        words = line.option(option, rest)?;
    }
    // clap says what is wrong with that.
    (!line.read_only || !line.write_only).then_some(line)
}

impl Line {
    /// Takes an option, its dashes left out, and its value, which may be the next word; returns the words that are left.
    fn option<'w>(&mut self, option: &[u8], words: &'w [OsString]) -> Option<&'w [OsString]> {
        let mut parts = option.splitn(2, |&byte| byte == b'=');
        let (name, attached) = (parts.next()?, parts.next());
        let flag = match name {
            b"allow-start-up-files" => Some(&mut self.allow_start_up_files),
            b"no-overwrite" => Some(&mut self.no_overwrite),
            b"read-only" => Some(&mut self.read_only),
            b"write-only" => Some(&mut self.write_only),
            _ => None,
        };
        if let Some(flag) = flag {
            return (attached.is_none() && !mem::replace(flag, true)).then_some(words);
        }
        let (value, words) = match attached {
            Some(value) => (OsStr::from_bytes(value), words),
            None => words.split_first().map(|(value, rest)| (value.as_os_str(), rest))?,
        };
        if !is_plain(value) {
            return None;
        }
        let is_taken = match name {
            b"atomic" => once(&mut self.atomic, chosen(value)),
            b"audit" => once(&mut self.audit, chosen(value)),
            b"checksum" => once(&mut self.checksum, chosen(value)),
            b"commit" => once(&mut self.commit, chosen(value)),
            b"config" => once(&mut self.config, Some(value.into())),
            b"idle-timeout" => once(&mut self.idle_timeout, parsed(value)),
            b"log" => once(&mut self.log, Some(value.into())),
            b"log-format" => once(&mut self.log_format, chosen(value)),
            b"max-file-size" => once(&mut self.max_file_size, parsed(value)),
            b"metadata" => once(&mut self.metadata, chosen(value)),
            b"pipeline" => once(&mut self.pipeline, chosen(value)),
            b"root" => once(&mut self.root, Some(value.into())),
            b"sandbox" => once(&mut self.sandbox, chosen(value)),
            b"stall-timeout" => once(&mut self.stall_timeout, parsed(value)),
            b"sync" => once(&mut self.sync, chosen(value)),
            b"time-limit" => once(&mut self.time_limit, parsed(value)),
            b"umask" => once(&mut self.umask, parsed(value)),
            _ => false,
        };
        is_taken.then_some(words)
    }

    /// Takes what is behind our options: the command of a login shell and nothing else, or a request's words as they are.
    fn end(&mut self, first: &OsString, rest: &[OsString]) -> Option<()> {
        match (first.as_bytes(), rest) {
            (b"-c", [command]) if is_plain(command) => self.command = Some(command.clone()),
            ([b'-', letters @ ..], _)
                if !letters.is_empty() && letters.iter().all(|byte| LETTERS.contains(byte)) =>
            {
                self.request = std::iter::once(first).chain(rest).cloned().collect();
            }
            _ => return None,
        }
        Some(())
    }
}

/// Tells whether a word is a value for certain: others may be options, and not every option can be empty.
fn is_plain(value: &OsStr) -> bool {
    !value.is_empty() && !value.as_bytes().starts_with(b"-")
}

/// Puts a value that fits into its place, if there is none.
fn once<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    value.is_some() && mem::replace(place, value).is_none()
}

fn parsed<T: FromStr>(value: &OsStr) -> Option<T> {
    value.to_str()?.parse().ok()
}

fn chosen<T: ValueEnum>(value: &OsStr) -> Option<T> {
    T::from_str(value.to_str()?, false).ok()
}

/// Those of scp that a request begins with and that are none of ours.
const LETTERS: &[u8] = b"dfpqrtv";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    /// Values, each of them right for an option or two, or nearly.
    const VALUES: &str = "/srv/%u x a=b = syslog 2G 1.5G 027 8 60 +5 0 00 99999999999999999999 AUTO \u{fc} \
                          - -1 -- -c -t --root --read-only --root=/";

    /// What stands behind the options: requests, and what is nearly one.
    const ENDS: &[&str] = &[
        "-t",
        "-f x",
        "-rpt -- -x",
        "-t --root /",
        "-v -t --read-only -c x",
        "-t --help",
        "-c scp",
        "-c scp --root /",
        "-c scp -t x",
        "-c --root=/",
        "-c -t",
        "-c ",
        "-c",
        "-cx",
        "-c=x",
        "-tc x",
        "-ct x",
        "-t=",
        "-th",
        "-1 -t",
        "-l 8 -t",
        "- -t",
        " -t",
        "-- -t x",
        "-- --root /",
        "--",
        "scp -t x",
        "-h",
        "-V",
        "--help",
        "--version",
        "--sandbox-report",
    ];

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn read_by_clap(words: &[OsString]) -> Option<Line> {
        let name = OsString::from("scp-server");
        Line::try_parse_from(std::iter::once(&name).chain(words)).ok()
    }

    /// Every option that clap knows, in each form with each value, its own and others.
    fn options() -> Vec<Vec<OsString>> {
        let mut options = Vec::new();
        for argument in Line::command().get_arguments() {
            let Some(name) = argument.get_long().map(|name| format!("--{name}")) else { continue };
            options.push(words(&name));
            let own = argument.get_possible_values();
            let own = own.iter().map(|value| value.get_name().into());
            let bytes = OsStr::from_bytes(b"/\xff").to_owned();
            for value in words(VALUES).into_iter().chain(own).chain([OsString::new(), bytes]) {
                let mut attached = OsString::from(format!("{name}="));
                attached.push(&value);
                options.push(vec![attached]);
                options.push(vec![OsString::from(&name), value]);
            }
        }
        options
    }

    /// Of Marsaglia's xorshift: the same numbers each time.
    fn random(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        usize::try_from(*state % 1_000_003).unwrap()
    }

    #[test]
    fn what_is_read_the_short_way_is_what_clap_reads() {
        let options = options();
        let right: Vec<_> = options.iter().filter(|option| read_by_clap(option).is_some()).collect();
        let mut state = 0x5eed;
        let mut lines = options.clone();
        for _ in 0..20_000 {
            let mut line = Vec::new();
            for _ in 0..random(&mut state) % 5 {
                line.extend_from_slice(match random(&mut state) % 8 {
                    0 => &options[random(&mut state) % options.len()],
                    _ => right[random(&mut state) % right.len()],
                });
            }
            if !random(&mut state).is_multiple_of(4) {
                line.extend(words(ENDS[random(&mut state) % ENDS.len()]));
            }
            if random(&mut state).is_multiple_of(8) {
                line.push(OsStr::from_bytes(b"\xff").to_owned());
            }
            lines.push(line);
        }
        let mut count = 0;
        for line in lines {
            if let Some(short) = read(&line) {
                assert_eq!(read_by_clap(&line), Some(short), "{line:?}");
                count += 1;
            }
        }
        assert!(count > 2000, "{count}");
    }

    #[test]
    fn every_option_has_a_short_way() {
        for argument in Line::command().get_arguments() {
            // It is an administrator's question.
            let Some(name) = argument.get_long().filter(|&name| name != "sandbox-report") else { continue };
            if !argument.get_action().takes_values() {
                assert!(read(&words(&format!("--{name}"))).is_some(), "{name}");
                continue;
            }
            let own = argument.get_possible_values();
            let own: Vec<&str> = own.iter().map(|value| value.get_name()).collect();
            for value in if own.is_empty() { &["60"] } else { own.as_slice() } {
                assert!(read(&words(&format!("--{name} {value}"))).is_some(), "{name} {value}");
                assert!(read(&words(&format!("--{name}={value}"))).is_some(), "{name}={value}");
            }
        }
    }

    #[test]
    fn ordinary_lines_go_the_short_way() {
        assert!(read(&[]).is_some());
        for line in [
            "--root /srv/%u",
            "--root /srv -c scp",
            "-c scp",
            "--root=/srv --read-only --log syslog --max-file-size 2G",
            "--config /etc/other.toml -t x",
            "--sandbox require -rpt -- -x",
            "-v -r -f a b",
        ] {
            assert!(read(&words(line)).is_some(), "{line}");
        }
    }

    #[test]
    fn no_word_of_the_client_is_an_option_of_ours() {
        for option in options() {
            let request = [words("-t"), option.clone()].concat();
            let pinned = Line { request: request.clone(), ..Line::default() };
            assert_eq!(read(&request), Some(pinned), "{request:?}");
            // In the one word that a login shell gets, it is the command, or for clap to look at.
            let command = option.join(OsStr::new(" "));
            let line = ["--root=/srv".into(), "-c".into(), command.clone()];
            let served = Line { root: Some("/srv".into()), command: Some(command), ..Line::default() };
            assert!(read(&line).is_none_or(|line| line == served), "{line:?}");
            let behind = [words("-c scp"), option].concat();
            assert_eq!(read(&behind), None, "{behind:?}");
        }
    }
}
