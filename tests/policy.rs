//! What the administrator withholds, and options of the administrator's that change how files are stored.

use std::fs;

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

fn with<'y>(yard: &'y Yard, options: &str) -> Server<'y> {
    options.split_whitespace().fold(Server::of(yard), Server::option)
}

// covers: peers 139, peers 125
#[test]
fn who_may_only_fetch_is_told_so_before_anything_is_stored() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", "1");
    for flags in ["", "-r -p", "-d"] {
        with(&yard, "--read-only").sink(flags, ".").hears_that("uploads are not allowed here").sees_exit(1);
    }
    with(&yard, "--read-only").asks("scp -t a").hears_that("uploads are not allowed here").sees_exit(1);
    with(&yard, "--read-only").source("", ["a"]).says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
}

// covers: peers 139, peers 125, peers 141
#[test]
fn who_may_only_store_learns_nothing_of_what_is_there() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("d").file("d/a", "1");
    for line in ["scp -f d/a", "scp -f d/nothing", "scp -r -f d", "scp -f d/*", "scp -f *", "scp -r -p -f ."]
    {
        let mut peer = with(&yard, "--write-only").asks(line);
        peer.hears_that("downloads are not allowed here").sees_exit(1);
    }
    let mut peer = with(&yard, "--write-only").sink("", "d");
    peer.hears_ok().stores("C0644 1 b", "1").hangs_up().sees_exit(0);
    // A pattern would tell what is there, if it matched.
    let mut peer = with(&yard, "--write-only").asks("scp -t d*");
    peer.hears_ok().stores("C0644 1 c", "1").hangs_up().sees_exit(0);
    yard.holds(["d/", "d/a", "d/b", "d*"]);
}

// covers: peers 124
#[test]
fn who_is_given_neither_direction_has_nothing_and_others_have_what_they_had() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("a", "1");
    let me = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    let nothing = "read-only = true\nwrite-only = true\n";
    for (text, served) in [
        (format!("[default]\n{nothing}"), false),
        (format!("[[match]]\nuser = '{me}'\n{nothing}[default]\n"), false),
        (format!("[[match]]\nuser = 'not-{me}'\n{nothing}[default]\n"), true),
    ] {
        let start = || Server::of(&yard).configured(&text);
        let Some(server) = start() else { return };
        let mut peer = server.source("", ["a"]);
        if served {
            peer.says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
            start().unwrap().sink("", ".").hears_ok().hangs_up().sees_exit(0);
        } else {
            peer.hears_that("downloads are not allowed here").sees_exit(1);
            start().unwrap().sink("", ".").hears_that("uploads are not allowed here").sees_exit(1);
        }
    }
    yard.holds(["a"]);
}

// covers: peers 140, peers 125, clients 3.10
#[test]
fn without_the_right_to_overwrite_an_old_file_is_refused_with_the_header() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("old", "old").dir("d").file("d/old", "old").link("link", "nowhere");
    let mut peer = with(&yard, "--no-overwrite").sink("-r", ".");
    peer.hears_ok();
    for name in ["old", "link"] {
        peer.says_record(format!("C0644 3 {name}"));
        assert!(peer.hears_refusal().ends_with(&format!("{name}: File exists")));
    }
    peer.says_record("D0755 0 d").hears_ok().says_record("C0644 3 old");
    assert!(peer.hears_refusal().ends_with("d/old: File exists"));
    peer.stores("C0644 3 new", "new").says_record("C0644 5 new");
    assert!(peer.hears_refusal().ends_with("d/new: File exists"));
    peer.says_record("E").hears_ok().hangs_up().sees_exit(1);
    yard.holds(["d/", "d/new", "d/old", "link -> nowhere", "old"]);
    yard.has("d/new", "new");
    yard.has("old", "old");
}

// covers: peers 140
#[test]
fn without_the_right_to_overwrite_a_file_that_appears_meanwhile_stays() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = with(&yard, "--no-overwrite").sink("", ".");
    peer.hears_ok().says_record("C0644 4 a").hears_ok().says("late");
    yard.file("a", "first");
    peer.says_ok();
    assert!(peer.hears_refusal().ends_with("a: File exists"));
    peer.stores("C0644 1 b", "1").hangs_up().sees_exit(1);
    yard.holds(["a", "b"]);
    yard.has("a", "first");
}

// covers: peers 127, clients 3.10
#[test]
fn a_file_over_the_limit_is_refused_with_its_header_and_the_session_goes_on() {
    let Some(yard) = Yard::confined() else { return };
    for (limit, most) in [("3", 3_u64), ("1K", 1024), ("2k", 2048)] {
        let mut peer = with(&yard, &format!("--max-file-size {limit}")).sink("-r", ".");
        peer.hears_ok();
        for size in [most + 1, 1 << 40, u64::MAX / 2] {
            peer.says_record(format!("C0644 {size} large"));
            let heard = peer.hears_refusal();
            assert!(heard.contains("large: ") && heard.contains("is over the limit of"), "{heard}");
        }
        peer.stores(format!("C0644 {most} a"), vec![b'x'; most as usize]).hangs_up().sees_exit(1);
        yard.holds(["a"]);
    }
    yard.file("large", "larger than three");
    let mut peer = with(&yard, "--max-file-size 3").source("", ["large"]);
    peer.says_ok().hears_file("C0644 17 large", "larger than three").sees_exit(0);
}

// covers: security ENV-07
#[test]
fn the_administrators_umask_counts_more_than_the_inherited_one() {
    let Some(yard) = Yard::confined() else { return };
    for (flags, wanted) in [("-r", 0o750), ("-r -p", 0o777)] {
        let mut peer = with(&yard, "--umask 027").umask("000").sink(flags, ".");
        peer.hears_ok().says_record("D0777 0 d").hears_ok().stores("C0777 1 a", "1");
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
        assert_eq!((yard.mode("d"), yard.mode("d/a")), (wanted, wanted), "{flags}");
        fs::remove_dir_all(yard.path("d")).unwrap();
    }
}

// covers: security ENV-03
#[test]
fn tokens_in_the_root_stand_for_the_account_and_not_for_the_environment() {
    let Some(yard) = Yard::confined() else { return };
    let uid = nix::unistd::getuid();
    let name = nix::unistd::User::from_uid(uid).unwrap().unwrap().name;
    for (token, directory) in [("%U", uid.to_string()), ("%u", name), ("100%%", "100%".to_owned())] {
        yard.dir(&directory);
        let root = yard.path("").join(token);
        let server = Server::of(&yard).without_a_root().option("--root").option(root);
        let mut peer = server.variable("USER", "../../outside").variable("HOME", "/").sink("", "/");
        peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
        yard.has(format!("{directory}/a"), "1");
        fs::remove_dir_all(yard.path(&directory)).unwrap();
    }
    let root = yard.path("").join("%z");
    let mut peer = Server::of(&yard).without_a_root().option("--root").option(root).sink("", ".");
    let heard = peer.hears_refusal();
    peer.sees_exit(1);
    assert!(heard.contains("unknown token %z"), "{heard}");
}

// covers: peers 57
#[test]
fn an_option_that_is_wrong_is_told_to_the_administrator_and_serves_nobody() {
    let Some(yard) = Yard::confined() else { return };
    for options in [
        "--roof /x",
        "--read-only --write-only",
        "--max-file-size -1",
        "--max-file-size x",
        "--umask 8",
        "--umask 01777",
        "--atomic maybe",
        "--sync always",
        "--sandbox perhaps",
        "--no-overwrite=yes",
        "--umask",
    ] {
        let mut peer = with(&yard, options).sink("", ".");
        let text = peer.hangs_up().sees_stderr();
        peer.sees_exit(1);
        assert!(text.starts_with("scp-server: "), "{options}: {text}");
    }
    yard.holds([]);
}

// covers: security SBX-03
#[test]
fn whichever_way_files_are_stored_and_confined_they_are_there() {
    let Some(yard) = Yard::confined() else { return };
    for options in [
        "--atomic auto",
        "--atomic always",
        "--atomic off",
        "--sync none",
        "--sync file",
        "--sync session",
        "--sandbox off",
        "--sandbox try",
        "--atomic always --sync session --umask 022 --no-overwrite --write-only",
    ] {
        let mut peer = with(&yard, options).sink("-r -p", ".");
        peer.hears_ok().says_record("T5 0 6 0").hears_ok().says_record("D0750 0 d").hears_ok();
        peer.says_record("T7 0 8 0").hears_ok().stores("C0640 5 a", "hello");
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
        assert_eq!((yard.stamps("d/a"), yard.mode("d/a")), ((7, 8), 0o640), "{options}");
        assert_eq!((yard.stamps("d").0, yard.mode("d")), (5, 0o750), "{options}");
        yard.has("d/a", "hello");
        fs::remove_dir_all(yard.path("d")).unwrap();
    }
}

// covers: security SBX-06, security PT-01, security PT-03
#[test]
fn the_root_holds_without_the_sandbox_too() {
    let Some(yard) = Yard::confined() else { return };
    yard.link("out", "../outside/d").link("secret", "../outside/secret");
    for path in ["out/inner", "secret", "../outside/secret"] {
        let mut peer = with(&yard, "--sandbox off").source("-r", [path]);
        peer.says_ok().hears_that(&format!("{path}: No such file or directory")).sees_exit(1);
        let mut peer = with(&yard, "--sandbox off").sink("-r", ".");
        peer.hears_ok().says_record("D0777 0 out");
        assert!(peer.hears_refusal().ends_with("out: No such file or directory"));
        peer.hangs_up().sees_exit(1);
    }
    let mut peer: Peer = with(&yard, "--sandbox off").sink("", ".");
    peer.hears_ok().stores("C0644 3 secret", "new").hangs_up().sees_exit(0);
    yard.has("secret", "new");
}
