//! Small files in directories that the session makes: stored in one go, and as safe as all others.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cell;
use crate::peer::Peer;
use crate::server::{Packets, Server, Tested};
use crate::yard::Yard;

/// The first file of a session shows what the file system is; from the second on, there is a shorter way.
fn in_a_new_directory<'y>(server: Server<'y>, flags: &str) -> Peer {
    let mut peer = server.sink(flags, ".");
    peer.hears_ok().says_record("D0755 0 d").hears_ok().stores("C0644 1 first", "1");
    peer
}

/// What a file of the directory is called until it has its name.
fn temporaries(yard: &Yard) -> Vec<PathBuf> {
    let entries = fs::read_dir(yard.path("d")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().as_encoded_bytes().starts_with(b".scp-")).collect()
}

/// Ends the directory and the session.
fn ends(peer: &mut Peer, code: i32) {
    peer.says_record("E").hears_ok().hangs_up().sees_exit(code);
}

fn letters(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}

#[test]
fn files_of_every_size_come_whole_however_they_are_cut() {
    let sizes =
        [0, 1, 2, 1024, 4000, 4093, 4094, 4095, 4096, 4097, 8192, 32_767, 32_768, 32_769, 65_536, 70_000];
    let confined = Yard::new().tested() == Tested::Confined;
    // Others know no such option, and go step by step.
    let pipelines: &[&[&str]] = if confined { &[&["off"], &["auto"], &["on"]] } else { &[&[]] };
    for &pipeline in pipelines {
        for piece in [1, 7, 4096, 1 << 20] {
            let yard = Yard::new();
            let server = pipeline
                .iter()
                .fold(Server::of(&yard), |server, mode| server.option("--pipeline").option(mode));
            let mut peer = server.sink("-r", ".");
            let mut said = b"D0755 0 d\n".to_vec();
            for (number, &size) in sizes.iter().enumerate().filter(|&(_, &size)| piece > 1 || size < 5000) {
                said.extend(format!("C0644 {size} {number}\n").into_bytes());
                said.extend(letters(size));
                said.push(0);
            }
            said.extend(b"E\n");
            peer.says_in_pieces(said, piece).hangs_up();
            let heard = peer.hears_the_rest();
            assert!(heard.iter().all(|&byte| byte == 0), "{pipeline:?} {piece}");
            peer.sees_exit(0);
            for (number, &size) in sizes.iter().enumerate().filter(|&(_, &size)| piece > 1 || size < 5000) {
                yard.has(format!("d/{number}"), letters(size));
            }
            assert!(temporaries(&yard).is_empty(), "{pipeline:?} {piece}");
        }
    }
}

#[test]
fn a_small_file_has_its_mode_and_its_times() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = in_a_new_directory(Server::of(&yard).umask("027"), "-r");
    for mode in ["0777", "0644", "0600", "0444", "0000", "4755", "2755"] {
        peer.stores(format!("C{mode} 1 m{mode}"), "1");
    }
    ends(&mut peer, 0);
    let modes =
        ["0777", "0644", "0600", "0444", "0000", "4755", "2755"].map(|mode| yard.mode(format!("d/m{mode}")));
    assert_eq!(modes, [0o750, 0o640, 0o600, 0o440, 0, 0o750, 0o750]);

    fs::remove_dir_all(yard.path("d")).unwrap();
    let mut peer = in_a_new_directory(Server::of(&yard).umask("027"), "-r -p");
    for mode in ["0777", "0644", "0000", "4755"] {
        peer.says_record("T1000000000 0 1100000000 0").hears_ok().stores(format!("C{mode} 1 m{mode}"), "1");
    }
    ends(&mut peer, 0);
    let modes = ["0777", "0644", "0000", "4755"].map(|mode| yard.mode(format!("d/m{mode}")));
    assert_eq!(modes, [0o777, 0o644, 0, 0o755]);
    assert_eq!(yard.stamps("d/m0644"), (1_000_000_000, 1_100_000_000));
}

#[test]
fn what_has_got_the_name_meanwhile_is_replaced_or_said_to_be_there() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = in_a_new_directory(Server::of(&yard), "-r");
    peer.says_record("C0644 3 a").hears_ok();
    yard.file("d/a", "somebody else's").chmod("d/a", 0o640);
    peer.says("new\0").hears_ok();
    yard.has("d/a", "new");
    // As with every file that is replaced.
    assert_eq!(yard.mode("d/a"), 0o640);
    ends(&mut peer, 0);

    fs::remove_dir_all(yard.path("d")).unwrap();
    let mut peer = in_a_new_directory(Server::of(&yard), "-r");
    peer.says_record("C0644 3 b").hears_ok();
    yard.dir("d/b").file("d/b/good", "good");
    peer.says("new\0").hears_that("./d/b: Is a directory");
    peer.stores("C0644 1 c", "1").stores("C0644 1 c", "2");
    ends(&mut peer, 1);
    yard.holds(["d/", "d/b/", "d/b/good", "d/c", "d/first"]);
    yard.has("d/c", "2");

    fs::remove_dir_all(yard.path("d")).unwrap();
    yard.link("elsewhere", "d/first");
    let mut peer = in_a_new_directory(Server::of(&yard), "-r");
    peer.says_record("C0644 3 b").hears_ok();
    yard.link("d/b", "first");
    peer.says("new\0").hears_ok();
    ends(&mut peer, 0);
    // A link is a name like any other.
    yard.has("d/first", "1");
    assert!(yard.stat("d/b").is_file());
}

#[test]
fn a_name_that_may_not_be_taken_twice_is_refused_before_the_contents_come() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = in_a_new_directory(Server::of(&yard).option("--no-overwrite"), "-r");
    peer.stores("C0644 1 a", "1").says_record("C0644 1 a").hears_that("./d/a: File exists");
    ends(&mut peer, 1);
    yard.has("d/a", "1");
}

#[test]
fn a_file_whose_temporary_somebody_has_taken_for_stale_is_stored_all_the_same() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = in_a_new_directory(Server::of(&yard), "-r");
    peer.says_record("C0644 3 a").hears_ok().says("n");
    // It is made while the client is about to send, so that it may be a moment until it is there.
    let temporary = loop {
        if let [temporary] = temporaries(&yard).as_slice() {
            break temporary.clone();
        }
    };
    // Another session that finds the directory does it so: nobody holds the lock.
    let mut other = Server::of(&yard).sink("", "d");
    other.hears_ok().stores("C0644 1 other", "1").hangs_up().sees_exit(0);
    assert!(!temporary.exists(), "it was taken for stale");
    peer.says("ew\0").hears_ok().stores("C0644 1 b", "1");
    ends(&mut peer, 0);
    yard.has("d/a", "new");
    yard.holds(["d/", "d/a", "d/b", "d/first", "d/other"]);
}

#[test]
fn a_file_that_does_not_come_whole_is_not_there() {
    let Some(yard) = Yard::ours("OpenSSH's scp keeps what has come") else { return };
    for (said, code) in
        [("", 1), ("ne", 1), ("new\u{1}cannot be read\n", 1), ("new", 0), ("new\u{2}", 1), ("new\u{7}", 1)]
    {
        let mut peer = in_a_new_directory(Server::of(&yard), "-r");
        peer.says_record("C0644 3 a").hears_ok().says(said).hangs_up().hears_the_rest();
        let ended = peer.sees_whatever_exit();
        // libssh2 never says that it is done.
        assert_eq!(yard.path("d/a").exists(), said == "new", "{said:?}");
        assert!(ended == code || said == "new", "{said:?}: {ended}");
        assert!(temporaries(&yard).is_empty(), "{said:?}");
        fs::remove_dir_all(yard.path("d")).unwrap();
    }
    let mut peer = in_a_new_directory(Server::of(&yard), "-r");
    peer.says_record("C0644 3 a").hears_ok().says("new\u{1}cannot be read\n").hears_refusal();
    peer.stores("C0644 1 b", "1");
    ends(&mut peer, 1);
    yard.holds(["d/", "d/b", "d/first"]);
}

#[test]
fn where_a_call_of_the_short_way_fails_the_file_goes_the_other_way() {
    let Some(yard) = Yard::confined() else { return };
    if !cell::there_is_strace() {
        return;
    }
    // The first file takes openat, write and fchmod once each; renameat2 is of the short way alone.
    for fault in
        ["inject=renameat2:error=EINVAL", "inject=renameat2:error=EIO", "inject=fchmod:error=EPERM:when=2"]
    {
        let trace = yard.home().join("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", fault, "-o"]).arg(&trace);
        command.arg(env!("CARGO_BIN_EXE_scp-server")).arg("--root").arg(yard.path(""));
        command.args(["-r", "-t", "."]);
        let mut peer = Peer::start(command, Packets::default());
        peer.hears_ok().says_record("D0755 0 d").hears_ok();
        for name in ["first", "second", "third"] {
            peer.stores(format!("C0640 5 {name}"), name.get(..5).unwrap());
        }
        ends(&mut peer, 0);
        let trace = fs::read_to_string(trace).unwrap();
        assert!(trace.contains("(INJECTED)"), "{fault}: no file has gone the short way");
        yard.holds(["d/", "d/first", "d/second", "d/third"]);
        yard.has("d/second", "secon");
        assert_eq!(["d/first", "d/second", "d/third"].map(|name| yard.mode(name)), [0o640; 3], "{fault}");
        fs::remove_dir_all(yard.path("d")).unwrap();
    }
}
