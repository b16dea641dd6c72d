//! What clients send, byte for byte: those that cannot be run in a test are played here.
//!
//! Each session is what that client's source says: the command it has the server run, when it waits, how it leaves.

mod go;
mod java;
mod libraries;
mod windows;

use crate::peer::Peer;
use crate::yard::Yard;

fn a_yard() -> Yard {
    let yard = Yard::new();
    yard.dir("d").file("a", "hello").dir("t").file("t/f", "contents");
    yard.times("a", 1_600_000_000, 1_600_000_001).times("t/f", 1_600_000_002, 1_600_000_003);
    yard.times("t", 1_600_000_004, 1_600_000_005);
    yard
}

/// Plays a client that leaves by closing the connection: both ways at once.
fn disconnects(peer: &mut Peer) -> &mut Peer {
    peer.stops_listening().hangs_up()
}

/// Sees the end of a session whose client did not wait for it.
#[track_caller]
fn nobody_sees_the_end(yard: &Yard, peer: &mut Peer) {
    if yard.openssh("dies of SIGPIPE when the client leaves at once") {
        peer.sees_any_end();
    } else {
        peer.sees_whatever_exit();
    }
}
