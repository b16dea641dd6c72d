use crate::tree::{Kind, Node, Tree};
use crate::yard::{CANARY, Yard};

/// A file of each kind; where nothing confines, no way leads out. If it `shares`, the canary has a name inside, too.
pub fn furnished(confined: bool, shares: bool, yard: &Yard) -> Tree {
    let root = Tree::ROOT;
    let mut tree = Tree::new(confined);
    let dir = tree.put(root, b"dir", Node::directory(0o755));
    tree.put(dir, b"inner", Node::file("inner", 0o640));
    tree.put(dir, b"side", Node::link("../file"));
    let file = tree.put(root, b"file", Node::file("old contents", 0o644));
    tree.link(root, b"pair", file);
    tree.put(root, b"ro", Node::directory(0o500));
    tree.put(root, b"drop", Node::directory(0o300));
    tree.put(root, b"shared", Node::directory(0o2755));
    tree.put(root, b"fifo", Node::new(Kind::Fifo, 0o600));
    tree.put(root, b"in", Node::link("dir"));
    tree.put(root, b"alias", Node::link("file"));
    tree.put(root, b"gone", Node::link("nowhere"));
    let ssh = tree.put(root, b".ssh", Node::directory(0o700));
    tree.put(ssh, b"authorized_keys", Node::file("key", 0o600));
    tree.put(root, b"keys", Node::link(".ssh"));
    // What a session that was killed has left, and what only looks like it.
    tree.put(root, STALE[0], Node::file("half", 0o600));
    tree.put(root, STALE[1], Node::file("whole", 0o644));
    let stale = tree.put(dir, STALE[2], Node::directory(0o700));
    tree.put(stale, b"half", Node::file("half", 0o644));
    tree.put(stale, b"away", Node::link("../../.ssh"));
    if confined {
        tree.put(dir, b"up", Node::link(".."));
        tree.put(root, b"up", Node::link(".."));
        tree.put(root, b"out", Node::link("../canary"));
        tree.put(root, b"leaf", Node::link("../canary/secret"));
        tree.put(root, b"abs", Node::link(yard.canary()));
        if shares {
            let hard = tree.put(root, b"hard", Node::file(CANARY, 0o644));
            tree.node_mut(hard).names_outside = 1;
        }
    }
    tree
}

/// Names of files in transfer that are there from the beginning.
pub const STALE: [&[u8]; 3] = [b".scp-00000000000000aa", b".scp-00000000000000bb", b".scp-00000000000000cc"];
