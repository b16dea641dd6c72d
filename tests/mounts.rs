//! Roots that need mounts of their own: the account's home in the root, other file systems in it.

use std::process::Command;

use crate::peer::Peer;
use crate::server::Server;
use crate::tally;
use crate::yard::Yard;

/// Tells whether this machine lets us mount in a namespace of our own.
pub fn can_mount() -> bool {
    let works = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    let works = works.is_ok_and(|output| output.status.success());
    if !works {
        tally::skipped("no right to mount");
    }
    works
}

/// The program in a session whose account has the root of the yard for its home.
fn at_home<'y>(yard: &'y Yard) -> Server<'y> {
    let home = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().dir;
    let (root, home) = (yard.path(""), home.display().to_string());
    Server::of(yard).with_mounts(&format!("mount --bind '{}' '{home}'", root.display()))
}

fn says_protected(heard: &str) -> bool {
    heard.ends_with("start-up and access files of the account are not replaced here")
}

// covers: security PT-24
#[test]
fn files_that_are_code_or_access_are_refused_where_the_home_is_in_the_root() {
    let Some(yard) = Yard::confined() else { return };
    if !can_mount() {
        return;
    }
    yard.dir(".ssh").file(".ssh/authorized_keys", "mine").dir("d").dir(".config").link("keys", ".ssh");
    let mut peer = at_home(&yard).sink("-r", ".");
    peer.hears_ok();
    for name in
        [".bashrc", ".zshenv", ".pam_environment", ".k5login", ".profile", ".rhosts", ".forward", ".ssh"]
    {
        peer.says_record(format!("C0644 4 {name}"));
        let heard = peer.hears_refusal();
        assert!(says_protected(&heard), "{name}: {heard}");
    }
    peer.says_record("D0755 0 .ssh");
    let heard = peer.hears_refusal();
    assert!(says_protected(&heard), "{heard}");
    peer.stores("C0644 1 bashrc", "1").says_record("D0755 0 d").hears_ok().stores("C0644 1 .bashrc", "1");
    peer.says_record("E").hears_ok().hangs_up().sees_exit(1);
    for target in
        [".ssh", ".ssh/authorized_keys", "keys", "keys/authorized_keys", ".bashrc", "d/../.ssh/rc", ".ssh/"]
    {
        let mut peer = at_home(&yard).sink("", target);
        peer.hears_ok().says_record("C0644 4 authorized_keys");
        let heard = peer.hears_refusal();
        assert!(says_protected(&heard), "{target}: {heard}");
        peer.hangs_up().sees_exit(1);
    }
    yard.has(".ssh/authorized_keys", "mine");
    assert!(!yard.path(".bashrc").exists());
    yard.has("d/.bashrc", "1");
}

// covers: security PT-24
#[test]
fn the_administrator_can_allow_them_and_elsewhere_they_are_names_like_any_other() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = Peer::sink(&yard, "-r", ".");
    peer.hears_ok().stores("C0644 1 .bashrc", "1").says_record("D0700 0 .ssh").hears_ok();
    peer.stores("C0600 1 authorized_keys", "1").says_record("E").hears_ok().hangs_up().sees_exit(0);
    if !can_mount() {
        return;
    }
    let mut peer = at_home(&yard).option("--allow-start-up-files").sink("", ".");
    peer.hears_ok().stores("C0644 1 .bashrc", "2").hangs_up().sees_exit(0);
    yard.has(".bashrc", "2");
}

// covers: security PT-16
#[test]
fn what_is_mounted_in_the_root_is_in_it_but_for_what_only_looks_like_files() {
    let Some(mut yard) = Yard::confined() else { return };
    if !can_mount() {
        return;
    }
    yard.dir("mnt").dir("proc").dir("sys");
    let (root, outside) = (yard.path("").display().to_string(), yard.outside("d").display().to_string());
    let server = || {
        let mounts = [
            format!("mount --bind '{outside}' '{root}/mnt'"),
            format!("mount -t proc proc '{root}/proc'"),
            format!("mount --rbind /sys '{root}/sys'"),
        ];
        Server::of(&yard).with_mounts(&mounts.join(" && "))
    };
    let mut peer = server().source("-r", ["mnt"]);
    peer.says_ok().hears_record("D0750 0 mnt").says_ok().hears_file("C0640 17 inner", "the inner secret\n");
    peer.hears_record("E").says_ok().sees_exit(0);
    for path in ["proc/version", "proc/self/environ", "proc", "sys/kernel", "sys", "proc/self/cwd/secret"] {
        let mut peer = server().source("-r", [path]);
        peer.says_ok();
        let heard = peer.hears_refusal();
        assert!(heard.starts_with(path), "{heard}");
        peer.sees_exit(1);
    }
    let mut peer = server().sink("-r", "proc/sys/kernel");
    peer.says("C0644 1 hostname\nx\0").hangs_up();
    let heard = peer.hears_the_rest();
    peer.sees_exit(1);
    assert!(heard.windows(6).any(|part| part == b"\x01scp: "), "{}", heard.escape_ascii());
    yard.gives_up_outside();
}
