//! What a session inherits: variables, streams, signals, and a root that may not be there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::mounts::can_mount;
use crate::peer::Peer;
use crate::server::Server;
use crate::sshd::bench::run;
use crate::yard::Yard;

// covers: security ENV-01, security ENV-02, security ENV-03
#[test]
fn the_environment_changes_nothing() {
    let yard = Yard::new();
    yard.file("a", "1");
    for (name, value) in [
        ("HOME", "../../x"),
        ("HOME", ""),
        ("USER", "../../x"),
        ("LOGNAME", "../../x"),
        ("PWD", "/etc"),
        ("TZ", "/etc/shadow"),
        ("TMPDIR", "/nowhere"),
        ("LC_ALL", "xx_YY.UTF-8"),
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "full"),
        ("MALLOC_PERTURB_", "7"),
        ("GLIBC_TUNABLES", "glibc.malloc.check=3"),
        ("BASH_ENV", "/etc/passwd"),
        ("ENV", "/etc/passwd"),
        ("LD_LIBRARY_PATH", "/nowhere"),
        ("SSH_CONNECTION", "evil\nline"),
        ("SSH_CLIENT", ""),
        ("SHELL", "/bin/sh"),
    ] {
        let mut peer = Server::of(&yard).variable(name, value).source("", ["a"]);
        peer.says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
        let mut peer = Server::of(&yard).variable(name, value).sink("", ".");
        peer.hears_ok().stores("C0644 1 b", "1").hangs_up().sees_exit(0);
        yard.holds(["a", "b"]);
    }
}

// covers: security ENV-01
#[test]
fn the_environment_chooses_neither_the_day_nor_the_zone() {
    let Some(yard) = Yard::confined() else { return };
    let day = |zone: Option<&str>, word: &str| {
        let mut date = Command::new("date");
        run(date.envs(zone.map(|zone| ("TZ", zone))).args(["-d", word, "+%F"])).out.trim().to_owned()
    };
    // A day behind the machine's: there, what ended yesterday has not ended yet.
    let behind = "XXX24";
    let yesterday = day(None, "yesterday");
    assert!(yesterday <= day(Some(behind), "now"));
    // Zones of the client's own, of which none is Berlin's.
    let zones = yard.home().join("zones");
    fs::create_dir_all(zones.join("Etc")).unwrap();
    fs::copy("/usr/share/zoneinfo/Etc/UTC", zones.join("Etc/UTC")).unwrap();
    let over = format!("expires = '{yesterday}'");
    let berlin = "expires = '2999-12-31'\nzone = 'Europe/Berlin'".to_owned();
    for (text, name, value, serves) in [
        (&over, "TZ", behind, false),
        (&over, "SCP", "", false),
        (&berlin, "TZDIR", zones.to_str().unwrap(), true),
        (&berlin, "TZ", "/dev/zero", true),
    ] {
        let server = Server::of(&yard).configured(&format!("[[match]]\n{text}\n"));
        let Some(server) = server else { return };
        let mut peer = server.variable(name, value).sink("", ".");
        if serves {
            peer.hears_ok().stores("C0644 1 b", "1").hangs_up().sees_exit(0);
        } else {
            peer.hears_that("this access has expired").sees_exit(1);
        }
    }
}

// covers: security ENV-02, security ENV-03
#[test]
fn an_error_with_every_variable_for_debugging_is_still_one_line() {
    let yard = Yard::new();
    let server = Server::of(&yard).variable("RUST_LOG", "trace").variable("RUST_BACKTRACE", "full");
    let mut peer = server.sink("", ".");
    peer.hears_ok().says("C0644 x a\n");
    assert!(peer.hears_refusal().starts_with("protocol error: "));
    peer.sees_exit(1);
}

// covers: security ENV-04
#[test]
fn a_closed_stream_is_never_taken_for_a_file() {
    let Some(yard) = Yard::ours("not looked at") else {
        return;
    };
    yard.dir("d").file("d/old", "old");
    for closed in ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-"] {
        let mut peer = Server::of(&yard).with_streams(closed).sink("", "d");
        peer.says("C0644 3 new\nabc\0").hangs_up().hears_the_rest();
        peer.sees_stderr();
        peer.sees_whatever_exit();
        if yard.path("d/new").exists() {
            yard.has("d/new", "abc");
        }
        yard.has("d/old", "old");
        let mut peer = Server::of(&yard).with_streams(closed).source("", ["d/old"]);
        peer.says([0; 9]).hangs_up().hears_the_rest();
        peer.sees_stderr();
        peer.sees_whatever_exit();
        yard.has("d/old", "old");
    }
}

// covers: security ENV-05
#[test]
fn what_else_was_open_is_closed() {
    let Some(yard) = Yard::ours("closes nothing") else { return };
    for streams in ["3</etc/passwd 9>/dev/null", "9</etc/passwd", "2>&- 3</etc/passwd"] {
        let mut peer = Server::of(&yard).with_streams(streams).sink("", ".");
        peer.hears_ok();
        let open = peer.open_files();
        peer.hangs_up().sees_exit(0);
        let is_left = |path: &PathBuf| {
            path.starts_with("/etc") || (path.starts_with("/dev/null") && !streams.starts_with("2>&-"))
        };
        assert!(!open.iter().any(is_left), "{streams}: {open:?}");
    }
}

// covers: security ENV-05
#[test]
fn where_there_is_no_proc_a_session_is_served_all_the_same() {
    let Some(yard) = Yard::confined() else { return };
    if !can_mount() {
        return;
    }
    let mut peer = Server::of(&yard).with_mounts("mount -t tmpfs none /proc").sink("", ".");
    peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    yard.has("a", "1");
}

// covers: security ENV-06
#[test]
fn stdin_can_be_a_file_and_stdout_too() {
    let yard = Yard::new();
    yard.dir("d").file("script", "C0644 3 a\nabc\0").file("acks", [0; 9]).file("b", "bbb");
    let server = Server::of(&yard).with_streams("<\"$SCRIPT\" >\"$HEARD\"");
    let server = server.variable("SCRIPT", yard.path("script")).variable("HEARD", yard.path("heard"));
    server.sink("", "d").sees_exit(0);
    yard.has("d/a", "abc");
    yard.has("heard", [0; 3]);
    let server = Server::of(&yard).with_streams("<\"$SCRIPT\" >\"$HEARD\"");
    let server = server.variable("SCRIPT", yard.path("acks")).variable("HEARD", yard.path("heard"));
    server.source("", ["b"]).sees_exit(0);
    yard.has("heard", "C0644 3 b\nbbb\0");
}

// covers: security ENV-08
#[test]
fn signals_that_were_ignored_before_change_nothing() {
    let yard = Yard::new();
    let mut peer = Server::of(&yard).after("trap '' PIPE XFSZ CHLD HUP TERM").sink("", ".");
    peer.hears_ok().stores("C0644 1 a", "1").hangs_up().sees_exit(0);
    yard.has("a", "1");
}

// covers: peers 57
#[test]
fn a_root_that_is_not_there_is_told_without_its_path() {
    let Some(yard) = Yard::confined() else { return };
    std::fs::remove_dir(yard.path("")).unwrap();
    let mut peer = Peer::sink(&yard, "", ".");
    let heard = peer.hears_refusal();
    peer.sees_exit(1);
    assert!(!heard.contains("root") && !heard.contains("scp-yard"), "{heard}");
    std::fs::create_dir(yard.path("")).unwrap();
}
