//! What may be done where, as the configuration file says it.

use crate::server::Server;
use crate::yard::Yard;

/// The file's root is the yard's, and the command line has one of its own.
fn within<'y>(yard: &'y Yard, own: &str) -> Option<Server<'y>> {
    let text = format!("[default]\nroot = {:?}\n", yard.path(""));
    Some(Server::of(yard).without_a_root().configured(&text)?.option("--root").option(own))
}

// covers: security PT-01, security PT-17
#[test]
fn the_command_lines_root_is_looked_up_in_the_files() {
    let Some(yard) = Yard::confined() else { return };
    yard.dir("in").dir("in/bob").file("in/bob/a", "1").link("short", "in/bob").file("a", "not this");
    for own in ["/in/bob", "in/bob/", "/short", "in/../in/bob"] {
        let Some(server) = within(&yard, own) else { return };
        server.source("", ["a"]).says_ok().hears_file("C0644 1 a", "1").sees_exit(0);
        for outside in ["../../a", "/../a"] {
            let mut peer = within(&yard, own).unwrap().source("", [outside]);
            peer.says_ok().hears_that(&format!("{outside}: No such file or directory")).sees_exit(1);
        }
    }
    // The client may know the place by its whole name.
    let whole = format!("{}/in/bob/b", yard.path("").display());
    let mut peer = within(&yard, "/in/bob/").unwrap().sink("", &whole);
    peer.hears_ok().stores("C0644 1 b", "1").hangs_up().sees_exit(0);
    yard.has("in/bob/b", "1");
}

// covers: security PT-03
#[test]
fn the_command_lines_root_never_leads_out_of_the_files() {
    let Some(yard) = Yard::confined() else { return };
    yard.link("out", "../outside/d").link("absolute", yard.outside("d").to_str().unwrap()).file("file", "1");
    let whole = yard.outside("d");
    for own in ["..", "../outside/d", "/../outside", "out", "absolute", whole.to_str().unwrap(), "nothing"] {
        let Some(server) = within(&yard, own) else { return };
        let mut peer = server.source("", ["inner"]);
        peer.hears_that("the directory of this account cannot be used: No such file or directory");
        peer.sees_exit(1);
    }
    let mut peer = within(&yard, "file").unwrap().sink("", ".");
    peer.hears_that("the directory of this account cannot be used: Not a directory").sees_exit(1);
}
