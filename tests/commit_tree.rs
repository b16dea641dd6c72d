//! `--commit tree`: a directory is put in its place in one step, with all that is in it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::cell;
use crate::peer::Peer;
use crate::server::{Packets, Server};
use crate::tally;
use crate::yard::Yard;

/// A tree of 10 files, each with the generation in it.
fn session(generation: u32) -> String {
    let files = (0..10).map(|file| format!("C0644 8 f{file}\n{generation:08}\0"));
    format!("D0750 0 site\n{}E\n", files.collect::<String>())
}

fn upload(yard: &Yard, script: &str, exit: i32) {
    let mut peer = Server::of(yard).option("--commit").option("tree").sink("-r", ".");
    peer.says(script).hangs_up();
    peer.hears_the_rest();
    peer.sees_exit(exit);
}

/// Nothing but the site is in the root.
fn only_the_site_is_there(yard: &Yard) {
    let names: Vec<_> =
        fs::read_dir(yard.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["site"]);
}

#[test]
fn who_lists_the_target_sees_the_old_tree_or_the_new_one_and_never_a_mixture() {
    let Some(yard) = Yard::confined() else { return };
    upload(&yard, &session(0), 0);
    let swaps = 200;
    let done = AtomicBool::new(false);
    let looks = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0_u64;
            while !done.load(Ordering::Relaxed) {
                // The directory is pinned first, as a program would do that serves it.
                let site = fs::File::open(yard.path("site")).expect("the target is never absent");
                let pinned =
                    PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&site)));
                let Ok(names) = fs::read_dir(&pinned) else { continue };
                let read = |name: std::ffi::OsString| fs::read_to_string(pinned.join(name)).ok();
                let contents: Vec<Option<String>> =
                    names.map(|name| read(name.unwrap().file_name())).collect();
                // A tree that is being removed is nobody's target any more.
                let current = fs::metadata(&pinned).ok().zip(fs::metadata(yard.path("site")).ok());
                let same = |(a, b): (fs::Metadata, fs::Metadata)| {
                    std::os::unix::fs::MetadataExt::ino(&a) == std::os::unix::fs::MetadataExt::ino(&b)
                };
                if !current.is_some_and(same) {
                    continue;
                }
                assert_eq!(contents.len(), 10, "{contents:?}");
                assert!(contents.iter().all(|content| *content == contents[0]), "{contents:?}");
                looks += 1;
            }
            looks
        });
        for generation in 1..=swaps {
            upload(&yard, &session(generation), 0);
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(looks > 0);
    yard.has("site/f9", format!("{swaps:08}"));
    only_the_site_is_there(&yard);
    tally::figure(&format!(
        "{swaps} trees swapped, {looks} looks at the target: never a mixture, never absent"
    ));
}

#[test]
fn what_is_not_in_the_new_tree_is_gone_and_the_mode_of_the_old_one_stays() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("site").file("site/obsolete", "x").dir("site/sub").file("site/sub/deep", "x");
    yard.link("site/link", "../../outside/canary").chmod("site/sub", 0o500).chmod("site", 0o711);
    upload(&yard, &session(1), 0);
    let mut names: Vec<_> =
        fs::read_dir(yard.path("site")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, (0..10).map(|file| std::ffi::OsString::from(format!("f{file}"))).collect::<Vec<_>>());
    assert_eq!(yard.mode("site"), 0o711);
    only_the_site_is_there(&yard);
}

#[test]
fn a_tree_that_is_not_complete_leaves_the_old_one() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("site").file("site/old", "x");
    let whole = session(1);
    for script in [
        // Cut in a file, between two, before the last E; a file that the sender could not read; one that is refused; a
        // complaint of the sender's; the sender gives up.
        &whole[..60],
        &whole[..13],
        whole.strip_suffix("E\n").unwrap(),
        "D0755 0 site\nC0644 1 a\nx\x01cannot read\nE\n",
        "D0755 0 site\nC0644 1 .scp-0123456789abcdef\nE\n",
        "D0755 0 site\n\x01scp: a: gone\nE\n",
        "D0755 0 site\n\x02\n",
    ] {
        upload(&yard, script, 1);
        yard.has("site/old", "x");
        only_the_site_is_there(&yard);
    }
}

#[test]
fn a_file_or_a_link_is_not_taken_for_a_tree() {
    let Some(yard) = Yard::confined() else { return };
    yard.file("site", "a file");
    upload(&yard, "D0755 0 site\n", 1);
    yard.has("site", "a file");
}

/// Uploads under strace, which makes some calls fail, and returns the log.
fn upload_with(yard: &Yard, faults: &[&str], script: &str) -> String {
    let log = yard.home().join("log");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null"]).args(faults.iter().flat_map(|fault| ["-e", fault]));
    command.arg(env!("CARGO_BIN_EXE_scp-server")).arg("--root").arg(yard.path(""));
    command.args(["--commit", "tree", "--log"]).arg(&log).args(["-r", "-t", "."]);
    let mut peer = Peer::start(command, Packets::default());
    peer.says(script).hangs_up().hears_the_rest();
    peer.sees_any_end();
    let lines = fs::read_to_string(&log).unwrap();
    fs::remove_file(log).unwrap();
    lines
}

const NO_EXCHANGE: &str = "inject=renameat2:error=EINVAL";

#[test]
fn where_two_names_cannot_be_exchanged_there_are_two_steps_and_one_line_in_the_log() {
    let Some(yard) = Yard::confined() else { return };
    if !cell::there_is_strace() {
        return;
    }
    for generation in 1..=3 {
        let twice = [session(generation), session(generation).replace("site", "other")].concat();
        let log = upload_with(&yard, &[NO_EXCHANGE], &twice);
        assert_eq!(log.matches("event=storage").count(), 1, "{log}");
        for site in ["site", "other"] {
            yard.has(format!("{site}/f9"), format!("{generation:08}"));
            fs::remove_dir_all(yard.path(site)).unwrap_or_default();
        }
        assert_eq!(fs::read_dir(yard.path("")).unwrap().count(), 0);
        if generation == 2 {
            yard.dir("site").file("site/obsolete", "x");
        }
    }
}

#[test]
fn who_is_killed_between_the_two_steps_has_not_lost_the_old_tree() {
    let Some(yard) = Yard::confined() else { return };
    if !cell::there_is_strace() {
        return;
    }
    yard.dir("site").file("site/old", "precious");
    // The first file, the old tree, and the new one.
    upload_with(&yard, &[NO_EXCHANGE, "inject=renameat:signal=KILL:when=3"], &session(1));
    assert!(!yard.path("site").exists(), "it was killed in the moment when there is neither tree");
    // Long after, another session clears away what is of no use.
    let names = || fs::read_dir(yard.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    for name in names() {
        yard.times(name, 1_000_000_000, 1_000_000_000);
    }
    upload(&yard, "C0644 1 x\n1\0", 0);
    let names: Vec<_> = names().collect();
    let set_aside = names.iter().find(|name| name.as_encoded_bytes().starts_with(b".scp-old-"));
    let set_aside = set_aside.unwrap_or_else(|| panic!("{names:?}"));
    yard.has(std::path::Path::new(set_aside).join("old"), "precious");
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn what_has_taken_the_place_of_the_old_tree_meanwhile_is_not_lost() {
    let Some(yard) = Yard::confined() else { return };
    if !cell::there_is_strace() {
        return;
    }
    for faults in [&[][..], &[NO_EXCHANGE]] {
        yard.dir("site");
        let log = yard.home().join("log");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null"]).args(faults.iter().flat_map(|fault| ["-e", fault]));
        command.arg(env!("CARGO_BIN_EXE_scp-server")).arg("--root").arg(yard.path(""));
        command.args(["--commit", "tree", "--log"]).arg(&log).args(["-r", "-t", "."]);
        let mut peer = Peer::start(command, Packets::default());
        peer.hears_ok().says_record("D0755 0 site").hears_ok().stores("C0644 1 a", "1");
        fs::remove_dir(yard.path("site")).unwrap();
        yard.file("site", "somebody's");
        peer.says_record("E").hears_that("./site: Not a directory").hangs_up().sees_exit(1);
        yard.has("site", "somebody's");
        only_the_site_is_there(&yard);
        fs::remove_file(yard.path("site")).unwrap();
    }
}

#[test]
fn a_tree_without_its_mode_is_stored_where_modes_do_not_matter_and_not_where_they_do() {
    let Some(yard) = Yard::confined() else { return };
    if !cell::there_is_strace() {
        return;
    }
    for (metadata, stored) in [("strict", false), ("warn", true), ("ignore", true)] {
        yard.dir("site").file("site/old", "old");
        let mut command = Command::new("strace");
        // The second is the directory's.
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=fchmod:error=EPERM:when=2"]);
        command.arg(env!("CARGO_BIN_EXE_scp-server")).arg("--root").arg(yard.path(""));
        command.args(["--commit", "tree", "--metadata", metadata, "-r", "-t", "."]);
        let mut peer = Peer::start(command, Packets::default());
        peer.hears_ok().says_record("D0755 0 site").hears_ok().stores("C0644 1 a", "1").says_record("E");
        if stored {
            peer.hears_ok();
        } else {
            peer.hears_that("./site: set mode: Operation not permitted");
        }
        peer.hangs_up().sees_exit(i32::from(!stored));
        assert_eq!(yard.path("site/a").exists(), stored, "{metadata}");
        assert_eq!(yard.path("site/old").exists(), !stored, "{metadata}");
        only_the_site_is_there(&yard);
        fs::remove_dir_all(yard.path("site")).unwrap();
    }
}

#[test]
fn an_old_tree_that_cannot_be_put_back_is_kept_and_the_log_says_where() {
    let Some(yard) = Yard::confined() else { return };
    if !cell::there_is_strace() {
        return;
    }
    yard.dir("site").file("site/old", "precious");
    // The files have got their names, and the old tree is out of the way.
    let log = upload_with(&yard, &[NO_EXCHANGE, "inject=renameat:error=EIO:when=3+"], &session(1));
    let names: Vec<_> =
        fs::read_dir(yard.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let [aside] = names.as_slice() else { panic!("{names:?}") };
    yard.has(std::path::Path::new(aside).join("old"), "precious");
    let aside = aside.to_str().unwrap();
    assert!(aside.starts_with(".scp-old-") && log.contains(&format!("is called {aside} now")), "{log}");
}

/// A site that a web server's group may read, and whose new files are that group's.
#[test]
fn the_new_tree_belongs_to_the_group_of_the_old_one_and_has_its_lists() {
    let Some(yard) = Yard::confined() else { return };
    let group = nix::unistd::Gid::from_raw(1);
    yard.dir("site").file("site/old", "old");
    let site = yard.path("site");
    let set = |words: &[&str]| {
        Command::new(words[0]).args(&words[1..]).arg(&site).status().is_ok_and(|status| status.success())
    };
    let listed = nix::unistd::chown(&site, None, Some(group)).is_ok()
        && set(&["setfacl", "-m", "u:2:rx,d:u::rwx,d:u:2:rwx,d:g::rx,d:m::rwx,d:o::-"])
        && set(&["setfattr", "-n", "user.origin", "-v", "here"]);
    if !listed {
        return tally::skipped("no right to give files away, or no access control lists");
    }
    yard.chmod("site", 0o2750);
    for flags in ["-r", "-r -p"] {
        let mut peer = Server::of(&yard).option("--commit").option("tree").sink(flags, ".");
        peer.hears_ok().says_record("D0750 0 site").hears_ok().stores("C0644 3 f", "new");
        peer.says_record("D0755 0 sub").hears_ok().says_record("E").hears_ok();
        peer.says_record("E").hears_ok().hangs_up().sees_exit(0);
        assert!(!yard.path("site/old").exists());
        let gid = |name: &str| std::os::unix::fs::MetadataExt::gid(&yard.stat(name));
        for name in ["site", "site/f", "site/sub"] {
            assert_eq!(gid(name), group.as_raw(), "{name} with {flags}");
        }
        assert_eq!((yard.mode("site"), yard.mode("site/sub") & 0o2000), (0o2750, 0o2000), "{flags}");
        let said = |program: &str, words: &[&str], name: &str| {
            let output = Command::new(program).args(words).arg(yard.path(name)).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let list = said("getfacl", &["-cnpE"], "site");
        assert!(
            list.contains("\nuser:2:r-x\n") && list.contains("\ndefault:user:2:rwx\n"),
            "{flags}: {list}"
        );
        let list = said("getfacl", &["-cnpE"], "site/f");
        assert!(list.contains("\nuser:2:rwx\n"), "{flags}: {list}");
        assert_eq!(said("getfattr", &["--only-values", "-n", "user.origin"], "site"), "here", "{flags}");
    }
    assert_eq!(yard.mode("site/f"), 0o644, "with -p");
}

#[test]
fn a_tree_that_cannot_have_the_group_of_the_old_one_gives_no_other_what_that_could_do() {
    if Yard::confined().is_none() {
        return;
    }
    let Some(yard) = Yard::of_a_user() else { return };
    yard.dir("site");
    if nix::unistd::chown(&yard.path("site"), None, Some(nix::unistd::Gid::from_raw(1))).is_err() {
        return tally::skipped("no right to give files away");
    }
    yard.chmod("site", 0o2770);
    upload(&yard, &session(1), 0);
    assert_eq!(yard.mode("site"), 0o700);
    yard.has("site/f9", format!("{:08}", 1));
}
