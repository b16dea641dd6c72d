//! What the old file and the directory hand on to a new one: mode, group, access control list, attributes; beside the
//! machine's own scp, for every umask, flag, parent and default list.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::thread;

use nix::unistd::{Gid, chown, geteuid};

use crate::cell;
use crate::peer::Peer;
use crate::server::Packets;
use crate::tally;
use crate::yard::Yard;

/// Runs a program of the machine's and returns what it says; nothing where it cannot be run, or fails.
fn ask(program: &str, words: &[&str], path: &Path) -> Option<String> {
    let output = Command::new(program).args(words).arg(path).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// The access control list, numbers for names, without what the mode says too.
fn list(path: &Path) -> String {
    let all = ask("getfacl", &["-cnpE"], path).expect("getfacl works");
    all.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(",")
}

fn attribute(path: &Path, name: &str) -> Option<String> {
    ask("getfattr", &["--only-values", "-n", name], path)
}

/// Makes a file of the yard one with a list in which its group has less than its mode says, and with an attribute; tells
/// whether that could be done.
fn is_listed(yard: &Yard, name: &str) -> bool {
    let path = yard.path(name);
    let made = ask("setfacl", &["-m", "u:1:rw,g::-,m::rw"], &path).is_some()
        && ask("setfattr", &["-n", "user.origin", "-v", "here"], &path).is_some();
    if !made {
        tally::skipped("no access control lists or attributes here");
    }
    made
}

const LIST: &str = "user::rw-,user:1:rw-,group::---,mask::rw-,other::r--";

// covers: peers H-x
#[test]
fn a_file_that_takes_the_place_of_another_has_its_list_and_its_attributes() {
    for root in [true, false] {
        let Some(yard) = (if root { Some(Yard::new()) } else { Yard::of_a_user() }) else { return };
        for (flags, mode, mask) in [("", 0o664, "rw-"), ("-p", 0o640, "r--")] {
            yard.file("old", "old");
            if !is_listed(&yard, "old") {
                return;
            }
            let mut peer = Peer::sink(&yard, flags, ".");
            peer.hears_ok().stores("C0640 3 old", "new").stores("C0640 3 new", "new").hangs_up().sees_exit(0);
            yard.has("old", "new");
            assert_eq!(yard.mode("old"), mode);
            let wanted = match mask {
                "rw-" => LIST.to_owned(),
                _ => format!("user::rw-,user:1:rw-,group::---,mask::{mask},other::---"),
            };
            assert_eq!(list(&yard.path("old")), wanted, "{flags}");
            assert_eq!(attribute(&yard.path("old"), "user.origin").as_deref(), Some("here"), "{flags}");
            assert_eq!(attribute(&yard.path("new"), "user.origin"), None);
            for name in ["old", "new"] {
                fs::remove_file(yard.path(name)).unwrap();
            }
        }
    }
}

#[test]
fn what_gives_the_contents_rights_is_not_handed_on_and_what_is_too_much_is_left() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("old", "old");
    if !is_listed(&yard, "old") {
        return;
    }
    let path = yard.path("old");
    // More than is taken over, where the file system keeps as much: the rest is.
    let large = "x".repeat(60_000);
    let is_large =
        ["user.a", "user.b"].iter().all(|name| ask("setfattr", &["-n", name, "-v", &large], &path).is_some());
    let capable = "0x0100000200040000000000000000000000000000";
    let is_capable = ask("setfattr", &["-n", "security.capability", "-v", capable], &path).is_some();
    if geteuid().is_root() {
        assert!(is_capable, "root can give a program rights");
    }
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().stores("C0640 3 old", "new").hangs_up().sees_exit(0);
    assert_eq!(list(&path), LIST);
    assert_eq!(attribute(&path, "user.origin").as_deref(), Some("here"));
    assert_eq!(attribute(&path, "security.capability"), None);
    if is_large {
        let kept = ["user.a", "user.b"].map(|name| attribute(&path, name).is_some());
        assert_eq!(kept.iter().filter(|&&kept| kept).count(), 1, "{kept:?}");
    }
}

/// It cannot be opened for that: its permission bits are all that is known.
#[test]
fn of_a_file_that_is_read_only_the_mode_is_kept() {
    if Yard::confined().is_none() {
        return;
    }
    let Some(yard) = Yard::of_a_user() else { return };
    if yard.user().is_none() && geteuid().is_root() {
        return tally::skipped("permission bits do not count for root");
    }
    yard.file("old", "old");
    if !is_listed(&yard, "old") {
        return;
    }
    yard.chmod("old", 0o444);
    let mut peer = Peer::sink(&yard, "", ".");
    peer.hears_ok().stores("C0640 3 old", "new").hangs_up().sees_exit(0);
    assert_eq!(
        (yard.mode("old"), list(&yard.path("old"))),
        (0o444, "user::r--,group::r--,other::r--".into())
    );
}

#[test]
fn a_list_or_an_attribute_that_cannot_be_set_is_told_and_nobody_gets_more_than_before() {
    let Some(yard) = Yard::confined() else { return };
    if !cell::there_is_strace() {
        return;
    }
    for (fault, metadata, told, mode) in [
        // First the attribute is set, then the list.
        (
            "fsetxattr:error=ENOSPC:when=1",
            "strict",
            Some("access control list: No space left on device"),
            0o644,
        ),
        ("fsetxattr:error=EOPNOTSUPP:when=1", "warn", None, 0o644),
        ("fsetxattr:error=EDQUOT:when=2", "strict", Some("attributes: Quota exceeded"), 0o664),
        ("fsetxattr:error=EPERM:when=2", "ignore", None, 0o664),
        ("flistxattr:error=EIO", "strict", None, 0o664),
        ("fgetxattr:error=EIO", "strict", None, 0o664),
    ] {
        yard.file("old", "old");
        if !is_listed(&yard, "old") {
            return;
        }
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("inject={fault}"));
        command.arg(env!("CARGO_BIN_EXE_scp-server")).arg("--root").arg(yard.path(""));
        let mut peer = Peer::start(
            {
                command.args(["--metadata", metadata, "-t", "."]);
                command
            },
            Packets::default(),
        );
        peer.hears_ok().says_record("C0640 3 old").hears_ok().says("new\0");
        match told {
            Some(told) => peer.hears_that(&format!("./old: set {told}")),
            None => peer.hears_ok(),
        };
        peer.hangs_up().sees_exit(i32::from(told.is_some()));
        yard.has("old", "new");
        assert_eq!(yard.mode("old"), mode, "{fault}");
        fs::remove_file(yard.path("old")).unwrap();
    }
}

/// What a program that stores a file or a directory meets.
#[derive(Clone, Copy, Debug)]
struct Scene {
    umask: &'static str,
    flags: &'static str,
    record: &'static str,
    /// The mode of what is there, if anything is.
    old: Option<u32>,
    parent: u32,
    /// The directory's default list, and what it allows to a file of mode 0777.
    default: Option<(&'static str, u32)>,
}

/// What is seen afterwards.
#[derive(Debug, Eq, PartialEq)]
struct Seen {
    mode: u32,
    group: u32,
    list: String,
    default: bool,
}

impl Scene {
    /// Plays it with a program, in a directory of its own.
    fn plays(&self, yard: &Yard, number: usize, program: &[&str]) -> Option<Seen> {
        let (name, letter) = (format!("d{number}-{}", program.len()), &self.record[..1]);
        yard.dir(&name).chmod(&name, self.parent);
        let _ = chown(&yard.path(&name), None, Some(Gid::from_raw(1)));
        // The change of group takes the bit away.
        yard.chmod(&name, self.parent);
        let path = yard.path(&name).join("x");
        if let Some(mode) = self.old {
            if letter == "C" { fs::write(&path, "old") } else { fs::create_dir(&path) }.unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        if let Some((default, _)) = self.default {
            ask("setfacl", &["-d", "-m", default], &yard.path(&name))?;
        }
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("umask {}; exec \"$@\"", self.umask)).arg("sh").args(program);
        command.args(self.flags.split_whitespace()).arg("-t").arg(&name).current_dir(yard.path(""));
        let mut peer = Peer::start(command, Packets::default());
        peer.hears_ok();
        if letter == "C" {
            peer.stores(self.record, "1");
        } else {
            peer.says_record(self.record).hears_ok().says_record("E").hears_ok();
        }
        peer.hangs_up().sees_exit(0);
        let stat = fs::metadata(&path).unwrap();
        Some(Seen {
            mode: stat.mode() & 0o7777,
            group: stat.gid(),
            list: list(&path).split(",default:").next().unwrap().to_owned(),
            default: list(&path).contains("default:"),
        })
    }

    /// Says why OpenSSH's scp leaves something else behind, where that is meant.
    fn difference(&self, ours: &Seen, theirs: &Seen) -> Option<&'static str> {
        let is_directory = self.record.starts_with('D');
        let mode = u32::from_str_radix(&self.record[1..5], 8).unwrap();
        let allowed = self.default.map(|(_, allowed)| allowed);
        if is_directory && ours.mode == theirs.mode | 0o2000 && ours.list == theirs.list {
            return Some("takes the inherited set-group-id bit from a directory");
        }
        let (Some(allowed), None) = (allowed, self.old) else { return None };
        let inherited = if is_directory { self.parent & 0o2000 } else { 0 };
        if !self.flags.contains("-p") {
            let umask = u32::from_str_radix(self.umask, 8).unwrap();
            let as_allowed = ours.mode == mode & allowed & !umask | inherited;
            return (as_allowed && (is_directory || mode & 0o200 == 0) && ours.list != theirs.list).then_some(
                "goes beyond the default list of the directory, for a directory and for a file that is read-only",
            );
        }
        let as_sent = ours.mode == mode && theirs.mode == mode & allowed;
        (as_sent && !is_directory).then_some(
            "with -p, does not set the mode of a new file where the default list of the directory forbids it",
        )
    }
}

// covers: security ENV-07, security CR-19, peers H-j, peers H-u
#[test]
fn modes_groups_and_lists_come_out_as_with_the_machines_own_scp() {
    if !Path::new("/usr/bin/scp").exists() {
        return tally::skipped("no scp here");
    }
    let name = thread::current().name().unwrap_or_default().to_owned();
    let compared = thread::scope(|scope| {
        let compare = |umask| {
            let comparing = thread::Builder::new().name(name.clone());
            comparing.spawn_scoped(scope, move || compares(umask)).unwrap()
        };
        ["000", "022", "077"]
            .map(compare)
            .map(|comparing| comparing.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let mut scenes = 0;
    let mut differences = BTreeMap::<&str, usize>::new();
    let mut wrong = Vec::new();
    for compared in compared {
        let Some(compared) = compared else { return };
        scenes += compared.scenes;
        for (why, count) in compared.differences {
            *differences.entry(why).or_default() += count;
        }
        wrong.extend(compared.wrong);
    }
    for why in differences.keys() {
        tally::difference(why);
    }
    assert!(wrong.is_empty(), "{} of {scenes}:\n{}", wrong.len(), wrong.join("\n"));
    tally::figure(&format!(
        "{scenes} scenes of modes, groups and lists beside the machine's own scp, {differences:?}"
    ));
}

/// What came of all scenes with one umask.
#[derive(Default)]
struct Compared {
    scenes: usize,
    differences: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

fn compares(umask: &'static str) -> Option<Compared> {
    let yard = Yard::confined()?;
    let root = yard.path("").display().to_string();
    let ours = [env!("CARGO_BIN_EXE_scp-server"), "--root", &root];
    let mut compared = Compared::default();
    for flags in ["-r", "-r -p"] {
        for (record, old) in [
            ("C0644 1 x", None),
            ("C0666 1 x", None),
            ("C0755 1 x", None),
            ("C0600 1 x", None),
            ("C0444 1 x", None),
            ("C0640 1 x", Some(0o604)),
            ("C0777 1 x", Some(0o660)),
            ("D0755 0 x", None),
            ("D0777 0 x", None),
            ("D0700 0 x", None),
            ("D0750 0 x", Some(0o705)),
        ] {
            for parent in [0o755, 0o2775] {
                for default in [
                    None,
                    Some(("u::rwx,g::r-x,o::---", 0o750)),
                    Some(("u::rwx,u:1:rwx,g::rwx,m::rwx,o::---", 0o770)),
                    Some(("u::rwx,u:1:r-x,g::r-x,m::r-x,o::r-x", 0o755)),
                ] {
                    let scene = Scene { umask, flags, record, old, parent, default };
                    let number = compared.scenes;
                    let (Some(own), Some(other)) =
                        (scene.plays(&yard, number, &ours), scene.plays(&yard, number, &["/usr/bin/scp"]))
                    else {
                        tally::skipped("no default lists here");
                        return None;
                    };
                    compared.scenes += 1;
                    if own == other {
                        continue;
                    }
                    match scene.difference(&own, &other) {
                        Some(why) => *compared.differences.entry(why).or_default() += 1,
                        None => compared.wrong.push(format!("{scene:?}\n  {own:?}\n  {other:?}")),
                    }
                }
            }
        }
    }
    Some(compared)
}
