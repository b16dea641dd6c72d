//! Which value counts where several sections speak, and files that are included.

use std::fs;
use std::path::PathBuf;

use super::{logging, serves, serves_nobody};
use crate::cell;
use crate::peer::Peer;
use crate::yard::Yard;

/// A yard with files of the administrator's.
fn furnished(files: &[(&str, &str)]) -> Option<(Yard, PathBuf)> {
    if !cell::is_root() {
        return None;
    }
    let yard = Yard::confined()?;
    let etc = yard.home().join("etc");
    for (name, text) in files {
        let path = etc.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("ETC", etc.to_str().unwrap())).unwrap();
    }
    let config = etc.join("main.toml");
    Some((yard, config))
}

fn sink(yard: &Yard, config: &PathBuf) -> Peer {
    logging(yard).option("--config").option(config).asks("scp -t .")
}

/// What is tried, files and their texts, and the limit that counts, in KiB.
type Case = (&'static str, &'static [(&'static str, &'static str)], u32);

const LIMITS: [Case; 11] = [
    (
        "of two sections that hold, the first",
        &[("main.toml", "[[match]]\nmax-file-size = '1K'\n[[match]]\nmax-file-size = '2K'\n")],
        1,
    ),
    (
        "also where the second allows less, or is more special",
        &[("main.toml", "[[match]]\nmax-file-size = '2K'\n[[match]]\nuser = '*'\nmax-file-size = '1K'\n")],
        2,
    ),
    (
        "a section that does not hold does not count",
        &[("main.toml", "[[match]]\nuser = 'x y'\nmax-file-size = '1K'\n[[match]]\nmax-file-size = '2K'\n")],
        2,
    ),
    (
        "all conditions of a section have to hold",
        &[(
            "main.toml",
            "[[match]]\nuser = '*'\nfrom = '192.0.2.1'\nmax-file-size = '1K'\n[default]\nmax-file-size = '3K'\n",
        )],
        3,
    ),
    (
        "the default comes last, wherever it stands",
        &[("main.toml", "[default]\nmax-file-size = '1K'\n[[match]]\nmax-file-size = '2K'\n")],
        2,
    ),
    (
        "what a section does not say, the next one does",
        &[(
            "main.toml",
            "[[match]]\nno-preserve = true\n[[match]]\nmax-depth = 3\n[default]\nmax-file-size = '3K'\n",
        )],
        3,
    ),
    (
        "included sections stand before the file's own",
        &[
            ("main.toml", "include = ['part.toml']\n[[match]]\nmax-file-size = '1K'\n"),
            ("part.toml", "[[match]]\nmax-file-size = '2K'\n"),
        ],
        2,
    ),
    (
        "an included default stands before the file's own, and behind its sections",
        &[
            (
                "main.toml",
                "include = ['part.toml', 'last.toml']\n[[match]]\nmax-depth = 3\n[default]\nmax-file-size = '1K'\n",
            ),
            ("part.toml", "[default]\nmax-file-size = '2K'\n"),
            ("last.toml", "[default]\nmax-file-size = '3K'\n"),
        ],
        2,
    ),
    (
        "what a pattern matches is taken in alphabetical order, and names with a dot in front are not",
        &[
            ("main.toml", "include = ['d/*.toml']\n"),
            ("d/.0.toml", "[[match]]\nmax-file-size = '9K'\n"),
            ("d/10.toml", "[[match]]\nmax-file-size = '1K'\n"),
            ("d/9.toml", "[[match]]\nmax-file-size = '2K'\n"),
            ("d/1.toml~", "[[match]]\nmax-file-size = '3K'\n"),
        ],
        1,
    ),
    (
        "patterns in the order in which they are named, by their whole paths as well",
        &[
            ("main.toml", "include = ['d/z*', 'ETC/d/a.toml', 'nothing/*.toml', 'd/nothing*']\n"),
            ("d/a.toml", "[[match]]\nmax-file-size = '1K'\n"),
            ("d/z.toml", "[[match]]\nmax-file-size = '2K'\n"),
        ],
        2,
    ),
    (
        "an access that is over does not take away what an earlier section gives",
        &[(
            "main.toml",
            "[[match]]\nmax-file-size = '1K'\n[[match]]\nexpires = '2001-01-01'\nmax-file-size = '2K'\n",
        )],
        1,
    ),
];

#[test]
fn the_first_value_counts() {
    for (what, files, wanted) in LIMITS {
        let Some((yard, config)) = furnished(files) else { return };
        let mut peer = sink(&yard, &config);
        peer.hears_ok().says_record("C0644 1048576 large");
        let heard = peer.hears_refusal();
        assert!(heard.contains(&format!(" over the limit of {wanted}.0 KiB ")), "{what}: {heard}");
        peer.hangs_up().sees_exit(1);
    }
}

#[test]
fn lists_and_rules_of_several_sections_are_not_added_up() {
    let text = "
[[match]]
names = ['*.a']
path = [{ pattern = 'x.a', deny = ['all'] }]
[[match]]
names = ['*.b']
path = [{ pattern = '**', deny = ['all'] }]
[default]
names = '*'
";
    let Some((yard, config)) = furnished(&[("main.toml", text)]) else { return };
    let mut peer = sink(&yard, &config);
    peer.hears_ok().stores("C0644 1 1.a", "1");
    peer.says_record("C0644 1 1.b").hears_that("./1.b: this name is not allowed here");
    peer.says_record("C0644 1 x.a").hears_that("./x.a: storing this is not allowed here");
    peer.hangs_up().sees_exit(1);
    yard.holds(["1.a"]);
}

#[test]
fn what_the_default_takes_away_an_earlier_section_has_to_give() {
    let default = "[default]\nread-only = true\n";
    for (section, served) in [("", false), ("[[match]]\n", false), ("[[match]]\nread-only = false\n", true)] {
        let Some((yard, config)) = furnished(&[("main.toml", &format!("{section}{default}"))]) else {
            return;
        };
        let mut peer = sink(&yard, &config);
        if served {
            serves(&yard, &mut peer);
        } else {
            peer.hears_that("uploads are not allowed here").sees_exit(1);
        }
    }
}

#[test]
fn an_access_that_is_over_is_none_though_everybody_has_one() {
    let more = "[[match]]\nuser = '*'\n[default]\nmax-depth = 3\n";
    for (section, words) in [
        ("expires = '2001-01-01'", Some("this access has expired")),
        ("expires = '2001-01-01'\nuser = 'x y'", None),
        ("expires = '2999-01-01'", None),
    ] {
        let Some((yard, config)) = furnished(&[("main.toml", &format!("[[match]]\n{section}\n{more}"))])
        else {
            return;
        };
        let mut peer = sink(&yard, &config);
        match words {
            Some(words) => drop(peer.hears_that(words).sees_exit(1)),
            None => serves(&yard, &mut peer),
        }
    }
}

#[test]
fn what_cannot_be_included_serves_nobody() {
    for (text, part, why) in [
        ("include = ['missing.toml']", "", "ETC/missing.toml: there is no such file"),
        ("include = ['d/missing.toml']", "", "ETC/d/missing.toml: there is no such file"),
        (
            "include = ['part.toml']",
            "include = ['main.toml']",
            "ETC/part.toml: an included file includes no other",
        ),
        ("include = ['main.toml']", "", "ETC/main.toml: an included file includes no other"),
        ("include = ['part.toml']", "[default]\nx = 1", "ETC/part.toml:2:1: unknown field `x`"),
        ("include = ['p*']", "[[match]]\nuser = 'x y'\nx = 1", "ETC/part.toml:3:1: unknown field `x`"),
        ("include = ['p*', '..']", "", "ETC/main.toml: this names no file to include: .."),
        ("include = 'part.toml'", "", "ETC/main.toml:1:11: "),
        // A file of root's that nobody can write, and no TOML.
        ("include = ['/proc/self/environ']", "", "/proc/self/environ:1:"),
    ] {
        let Some((yard, config)) = furnished(&[("main.toml", text), ("part.toml", part)]) else { return };
        let why = why.replace("ETC", config.parent().unwrap().to_str().unwrap());
        serves_nobody(&yard, &mut sink(&yard, &config), &why);
    }
}
