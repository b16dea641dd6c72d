//! The configuration file: who may have written it, what it means when several speak, and what becomes of one that is wrong.

mod effects;
mod keys;
mod malformed;
mod narrowing;
mod order;
mod trust;

use std::fs;

use crate::peer::Peer;
use crate::server::Server;
use crate::yard::Yard;

/// What a client hears where the configuration cannot be used: no path, no reason.
const NOT_SET_UP: &[u8] = b"\x01scp: this server is not set up as it has to be\n";

/// Returns where the log of a yard is.
fn log_of(yard: &Yard) -> std::path::PathBuf {
    yard.home().join("log")
}

/// The program with a log, which every account can write.
fn logging(yard: &Yard) -> Server<'_> {
    let log = log_of(yard);
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o622)).unwrap();
    Server::of(yard).option("--log").option(log)
}

/// Sees that nobody is served, that the client hears one sentence, and that the log has the reason.
#[track_caller]
fn serves_nobody(yard: &Yard, peer: &mut Peer, why: &str) {
    peer.says_without_listening("C0644 1 new\n1\0").hangs_up();
    let heard = peer.hears_the_rest();
    assert_eq!(heard.escape_ascii().to_string(), NOT_SET_UP.escape_ascii().to_string(), "{why}");
    peer.sees_exit(1);
    let log = fs::read_to_string(log_of(yard)).unwrap();
    let reason = format!("the configuration cannot be used: {why}");
    assert!(log.contains(&reason.replace('"', "\\\"")), "{reason}: {log}");
    assert!(!yard.path("new").exists());
}

/// Sees that the account is served.
#[track_caller]
fn serves(yard: &Yard, peer: &mut Peer) {
    peer.hears_ok().stores("C0644 1 new", "1").hangs_up().sees_exit(0);
    fs::remove_file(yard.path("new")).unwrap();
}
