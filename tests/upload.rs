//! `scp -t`: single files.

use crate::peer::Peer;
use crate::yard::Yard;

// covers: peers 1
#[test]
fn a_file_is_stored_under_a_new_name() {
    let yard = Yard::new();
    let mut peer = Peer::sink(&yard, "", "new");
    peer.hears_ok().stores("C0644 5 whatever", "hello");
    peer.hangs_up().sees_exit(0);
    yard.holds(["new"]);
    yard.has("new", "hello");
}
