//! The attacks on paths, in every cell of {openat2, none, forbidden} x {sandbox, none} x {root, a user}.
//!
//! One oracle for all: what is outside stays as it is, and no reply holds anything of it. And one control: against
//! OpenSSH's scp, which nothing confines, the same attacks work.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::attacks::{Attack, FILE, outside_paths, plant, share, uploads};
use crate::cell::{self, Cell, Lookup};
use crate::peer::Peer;
use crate::server::Packets;
use crate::tally;
use crate::yard::Yard;

const ABSENT: &str = "No such file or directory";
/// A name outside that no attack mentions: whoever says it has looked.
const UNGUESSED: &str = "the-canary-that-nobody-names";

/// What is in no reply unless it leaked.
const LEAKS: [&str; 5] = ["the secret\n", "the inner secret\n", "C0644 11 secret\n", UNGUESSED, "beside"];

/// What is beside the root and not among the yard's canaries: names, modes, times.
fn beside(yard: &Yard) -> BTreeMap<String, String> {
    let describe = |path: &Path| {
        let stat = path.symlink_metadata().unwrap();
        let contents = if stat.is_file() && stat.size() < 100 { fs::read(path).unwrap() } else { Vec::new() };
        format!("{:o} {} {} {contents:?}", stat.mode(), stat.ino(), stat.mtime())
    };
    let mut all = BTreeMap::from([("..".into(), describe(yard.home()))]);
    for name in ["root10", "root10/a"] {
        all.insert(name.into(), describe(&yard.home().join(name)));
    }
    for entry in fs::read_dir(yard.home()).unwrap() {
        all.insert(entry.unwrap().file_name().into_string().unwrap(), String::new());
    }
    all
}

/// Adds canaries to a yard's, and a directory whose name begins like the root's.
fn furnish(yard: &mut Yard) {
    fs::write(yard.outside(UNGUESSED), "x").unwrap();
    let beside = yard.home().join("root10");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("a"), "beside").unwrap();
    if let Some((uid, gid)) = yard.user() {
        for path in [yard.outside(UNGUESSED), beside.join("a"), beside] {
            std::os::unix::fs::chown(path, Some(uid.as_raw()), Some(gid.as_raw())).unwrap();
        }
    }
    yard.looks_outside_again();
}

/// Asserts that no canary was touched. The look itself is a read, and so the canaries are made to look unread again.
#[track_caller]
fn assert_untouched(yard: &mut Yard, what: &str) {
    assert!(yard.outside_is_unchanged(), "something outside was touched or read: {what}");
    yard.looks_outside_again();
}

fn leaks(heard: &[u8]) -> bool {
    LEAKS.iter().any(|leak| heard.windows(leak.len()).any(|part| part == leak.as_bytes()))
}

/// Says all that a client has to say, and returns all that it hears.
fn converse(mut peer: Peer, says: &[u8]) -> Vec<u8> {
    let mut heard = peer.says(says).hangs_up().hears_the_rest();
    heard.extend(peer.sees_stderr().into_bytes());
    peer.sees_whatever_exit();
    heard
}

/// Returns the yards of the accounts that the tests can run the program as.
fn yards() -> Vec<Yard> {
    let mut yards: Vec<Yard> = Yard::confined().into_iter().collect();
    if yards.first().is_some_and(|yard| yard.user().is_none()) && nix::unistd::geteuid().is_root() {
        yards.extend(Yard::of_a_user());
    } else {
        tally::skipped("not root: one account only");
    }
    yards
}

/// Asserts in all cells of one way to look paths up that no attack succeeds.
fn holds_with(lookup: Lookup) {
    if !cell::is_about_confinement() {
        return;
    }
    let confined = cell::kernel_has_all_layers();
    for yard in &mut yards() {
        furnish(yard);
        for sandbox in ["off", "require"].into_iter().take(if confined { 2 } else { 1 }) {
            let cell = Cell::new(sandbox);
            cell::within_reach(yard, &cell.program);
            lookup.holds_while(|| {
                nothing_gets_out_by_upload(&cell, yard);
                nothing_gets_out_by_download(&cell, yard);
                special_files_are_harmless(&cell, yard);
                a_running_upload_is_no_way_out(&cell, yard);
                the_roots_name_does_not_matter(&cell, yard);
                a_hard_link_is_cut(&cell, yard);
            });
        }
    }
}

fn nothing_gets_out_by_upload(cell: &Cell, yard: &mut Yard) {
    let before = beside(yard);
    plant(yard);
    let planted = yard.listing();
    for attack in share(uploads(yard)) {
        let heard = converse(cell.starts(yard, &[], &attack.words), attack.says.as_bytes());
        let what = format!("{cell:?} {:?} {:?}", attack.words, attack.says);
        assert_untouched(yard, &what);
        assert!(!leaks(&heard), "{what}: {}", heard.escape_ascii());
        assert_eq!(beside(yard), before, "{what}");
        if yard.listing() != planted {
            plant(yard);
        }
    }
    // What stays inside works.
    plant(yard);
    let heard = converse(cell.starts(yard, &[], &["-t", "in-dir/../new"]), b"C0644 3 x\nnew\0");
    assert_eq!(heard, b"\0\0\0", "{cell:?}");
    yard.has("sub/new", "new");
}

fn nothing_gets_out_by_download(cell: &Cell, yard: &mut Yard) {
    plant(yard);
    let paths = outside_paths(yard);
    let flags = ["-r", "-p", "-f", "--", "in-dir/f"];
    let words: Vec<&str> = flags.into_iter().chain(paths.iter().map(String::as_str)).collect();
    let heard = converse(cell.starts(yard, &[], &words), &[0; 200]);
    assert_untouched(yard, &format!("{cell:?}"));
    assert!(!leaks(&heard), "{cell:?}: {}", heard.escape_ascii());
    let heard = String::from_utf8(heard).expect("text");
    let (sent, refused) = heard.split_once("deep\0").expect("what stays inside is sent");
    assert!(sent.starts_with('T') && sent.ends_with("C0644 4 f\n"), "{cell:?}: {sent:?}");
    // Whether it is there or not, the same words.
    let refusals: Vec<&str> = refused.lines().collect();
    assert_eq!(refusals.len(), paths.len(), "{cell:?}: {refusals:?}");
    for (line, path) in refusals.iter().zip(&paths) {
        assert!(line.starts_with("\x01scp: ") && line.ends_with(ABSENT), "{cell:?} {path}: {line}");
    }
    // Patterns, and a tree with all the links in it.
    for line in [
        "scp -r -f */inner abs-*/* up/*/* ../* rel-d*/* {..,../outside}/secret ~/../* hop*/* in-dir/*/*",
        "scp -r -p -f .",
        "scp -r -f /",
        "scp -r -f sub/..",
    ] {
        let heard = converse(cell.asks(yard, line), &[0; 500]);
        assert!(!leaks(&heard), "{cell:?} {line}: {}", heard.escape_ascii());
        assert_untouched(yard, &format!("{cell:?} {line}"));
    }
}

/// PT-19, PT-20: the deadline is the peer's.
fn special_files_are_harmless(cell: &Cell, yard: &mut Yard) {
    plant(yard);
    for name in ["fifo", "socket", "sub"] {
        converse(cell.starts(yard, &[], &["-p", "-t", "."]), format!("C0777 3 {name}\nnew\0").as_bytes());
        converse(cell.starts(yard, &[], &["-t", name]), FILE.as_bytes());
        converse(cell.starts(yard, &[], &["-f", name]), &[0; 9]);
    }
    let listing = yard.listing();
    assert!(listing.contains(&"fifo|".into()) && listing.contains(&"sub/".into()), "{cell:?}");
}

/// PT-25, and PT-14 where the kernel confines: the name of a file under way, and a directory that is moved outside
/// while it is held.
fn a_running_upload_is_no_way_out(cell: &Cell, yard: &mut Yard) {
    plant(yard);
    let mut peer = cell.starts(yard, &[], &["-t", "-r", "."]);
    peer.hears_ok().says_record("D0755 0 sub").hears_ok();
    peer.says_record("C0644 4 file").hears_ok().says("ne").hears_nothing();
    let temporary =
        yard.listing().into_iter().find(|name| name.starts_with("sub/.scp-")).expect("it is there");
    for words in [["-p", "-t", "sub"], ["-p", "-t", temporary.as_str()], ["-r", "-f", temporary.as_str()]] {
        let name = temporary.strip_prefix("sub/").unwrap();
        converse(cell.starts(yard, &[], &words), format!("C0777 3 {name}\nnew\0").as_bytes());
    }
    peer.says("ws\0").hears_ok();
    yard.has("sub/file", "news");
    if cell.sandbox == "require" {
        let moved = yard.home().join("root10/moved");
        fs::rename(yard.path("sub"), &moved).unwrap();
        let stat = moved.metadata().unwrap();
        peer.says_record("C0644 3 outside");
        assert!(peer.hears_refusal().ends_with("Permission denied"), "{cell:?}");
        peer.says_record("D0755 0 outside");
        assert!(peer.hears_refusal().ends_with("Permission denied"), "{cell:?}");
        assert_eq!(fs::read_dir(&moved).unwrap().count(), 4, "{cell:?}");
        assert_eq!(moved.metadata().unwrap().mtime(), stat.mtime(), "{cell:?}");
        fs::rename(&moved, yard.path("sub")).unwrap();
        peer.says_record("E").hears_ok().hangs_up().sees_exit(1);
    } else {
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
    }
}

/// PT-13: the root is opened once.
fn the_roots_name_does_not_matter(cell: &Cell, yard: &mut Yard) {
    plant(yard);
    let (root, aside) = (yard.path(""), yard.home().join("aside"));
    let mut sink = cell.starts(yard, &[], &["-t", "-r", "."]);
    sink.hears_ok();
    let mut source = cell.starts(yard, &[], &["-f", "file", "secret"]);
    source.says_ok().hears_record("C0644 6 file");
    fs::rename(&root, &aside).unwrap();
    symlink(yard.outside(""), &root).unwrap();
    sink.stores("C0644 3 here", "new").says_record("D0755 0 d").hears_ok().stores("C0644 3 empty", "new");
    sink.says_record("E").hears_ok().hangs_up().sees_exit(0);
    source.says_ok().hears_exactly("inside\0").says_ok().hears_that(&format!("secret: {ABSENT}"));
    source.sees_exit(1);
    fs::remove_file(&root).unwrap();
    fs::rename(&aside, &root).unwrap();
    assert_untouched(yard, &format!("{cell:?}"));
    yard.has("here", "new");
}

/// PT-15: a file of the root that has another name outside is replaced and not written to, however files are stored.
fn a_hard_link_is_cut(cell: &Cell, yard: &mut Yard) {
    plant(yard);
    for atomic in ["auto", "always", "off"] {
        yard.hard_link(yard.outside("secret"), "hard");
        let before = yard.outside("secret").metadata().unwrap();
        let words = ["-p", "-t", "hard"];
        let heard = converse(cell.starts(yard, &["--atomic", atomic], &words), FILE.as_bytes());
        assert_eq!(heard, b"\0\0\0\0", "{cell:?} {atomic}");
        let after = yard.outside("secret").metadata().unwrap();
        assert_eq!((after.mode(), after.mtime()), (before.mode(), before.mtime()), "{cell:?} {atomic}");
        assert_eq!(fs::read(yard.outside("secret")).unwrap(), b"the secret\n", "{cell:?} {atomic}");
        yard.has("hard", "new");
        fs::remove_file(yard.path("hard")).unwrap();
    }
    yard.looks_outside_again();
}

// covers: security PT-01, security PT-02, security PT-03, security PT-04, security PT-05, security PT-06,
// covers: security PT-07, security PT-08, security PT-09, security PT-13, security PT-14, security PT-15,
// covers: security PT-17, security PT-18, security PT-19, security PT-20, security PT-23, security PT-25
#[test]
fn no_path_leads_outside_where_the_kernel_looks_paths_up() {
    holds_with(Lookup::Kernel);
}

// covers: security PT-01, security PT-02, security PT-03, security PT-04, security PT-05, security PT-06,
// covers: security PT-07, security PT-08, security PT-09, security PT-13, security PT-14, security PT-15,
// covers: security PT-17, security PT-18, security PT-19, security PT-20, security PT-23, security PT-25
#[test]
fn no_path_leads_outside_where_the_kernel_does_not_know_how_to_look_paths_up() {
    holds_with(Lookup::NoSuchCall);
}

// covers: security PT-01, security PT-02, security PT-03, security PT-04, security PT-05, security PT-06,
// covers: security PT-07, security PT-08, security PT-09, security PT-13, security PT-14, security PT-15,
// covers: security PT-17, security PT-18, security PT-19, security PT-20, security PT-23, security PT-25
#[test]
fn no_path_leads_outside_where_a_container_forbids_to_look_paths_up() {
    holds_with(Lookup::Forbidden);
}

// covers: security SBX-06
#[test]
fn the_kernels_layers_hold_alone_where_paths_are_looked_up_as_if_unconfined() {
    if !cell::is_about_confinement() || !cell::kernel_has_all_layers() {
        return;
    }
    let Some(cell) = Cell::without_resolver() else { return };
    let mut trips = 0;
    for yard in &mut yards() {
        furnish(yard);
        cell::within_reach(yard, &cell.program);
        let before = beside(yard);
        for attack in share(uploads(yard)) {
            plant(yard);
            let heard = converse(cell.starts(yard, &[], &attack.words), attack.says.as_bytes());
            let what = format!("{:?} {:?}: {}", attack.words, attack.says, heard.escape_ascii());
            assert_untouched(yard, &what);
            assert_eq!(beside(yard), before, "{what}");
            trips += usize::from(heard.windows(17).any(|part| part == b"Permission denied"));
        }
        plant(yard);
        let paths = outside_paths(yard);
        let words: Vec<&str> =
            ["-r", "-p", "-f"].into_iter().chain(paths.iter().map(String::as_str)).collect();
        let heard = converse(cell.starts(yard, &[], &words), &[0; 200]);
        assert_untouched(yard, "downloads");
        assert!(!leaks(&heard), "{}", heard.escape_ascii());
    }
    // Not because the paths led nowhere: it was the kernel that said no.
    assert!(trips >= 20, "{trips} times");
}

// covers: security PT-01, security PT-02, security PT-03, security PT-06
#[test]
fn the_same_attacks_get_out_of_a_server_that_nothing_confines() {
    if !cell::is_about_confinement() {
        return;
    }
    if !Path::new("/usr/bin/scp").exists() {
        tally::skipped("there is no scp to be the control");
        return;
    }
    let mut yard = Yard::new();
    furnish(&mut yard);
    let attacks = uploads(&yard);
    let (mut harmful, mut leaked) = (0, 0);
    // Only those that lead into the yard are tried.
    let home = yard.home().to_str().unwrap().to_owned();
    let tame = |attack: &&Attack| {
        let mut words = attack.words.iter();
        words.all(|word| word.len() < 300 && (!word.starts_with('/') || word.starts_with(&home)))
    };
    for attack in attacks.iter().filter(tame).step_by(3) {
        plant(&yard);
        let mut command = Command::new("/usr/bin/scp");
        command.args(&attack.words);
        cell::as_its_user(&mut command, &yard);
        command.current_dir(yard.path(""));
        let mut peer = Peer::start(command, Packets::default());
        peer.says(&attack.says).hangs_up().hears_the_rest();
        peer.sees_stderr();
        peer.sees_any_end();
        if !yard.outside_is_unchanged() {
            harmful += 1;
            yard.gives_up_outside();
            yard = Yard::new();
            furnish(&mut yard);
        }
        if harmful >= 8 {
            break;
        }
    }
    plant(&yard);
    for path in ["rel-file", "up/outside/secret", "../outside/secret", "abs-dir"] {
        let mut command = Command::new("/usr/bin/scp");
        command.args(["-r", "-f", path]);
        cell::as_its_user(&mut command, &yard);
        command.current_dir(yard.path(""));
        let mut peer = Peer::start(command, Packets::default());
        leaked += usize::from(leaks(&peer.says([0; 9]).hangs_up().hears_the_rest()));
        peer.sees_any_end();
    }
    yard.gives_up_outside();
    assert!(harmful >= 8, "the attacks are vacuous: {harmful} got out");
    assert_eq!(leaked, 4, "the attacks are vacuous");
}
