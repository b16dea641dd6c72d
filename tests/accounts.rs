//! Accounts that are not in /etc/passwd: a second database behind it, as a directory service is.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::mounts::can_mount;
use crate::server::Server;
use crate::tally;
use crate::yard::Yard;

/// Looks in /var/lib/extrausers what is not in /etc.
const MODULE: &str = "/usr/lib/libnss_extrausers.so.2";

const POLICY: &str = "\
[default]
root = \"ROOT/nobody\"

[[match]]
user = \"fern\"
group = \"ferns\"
root = \"ROOT/%u\"
force-group = \"mosses\"
";

/// The program as an account that only the second database knows, which is asked or is not.
fn fern<'y>(yard: &'y Yard, asked: bool) -> Option<Server<'y>> {
    let sources = if asked { "files extrausers" } else { "files" };
    let home = yard.home();
    fs::write(home.join("nsswitch.conf"), format!("passwd: {sources}\ngroup: {sources}\n")).unwrap();
    let database = home.join("extrausers");
    fs::create_dir_all(&database).unwrap();
    fs::write(database.join("passwd"), "fern:x:47110:47111::/nonexistent:/bin/sh\n").unwrap();
    fs::write(database.join("group"), "ferns:x:47111:\nmosses:x:47112:fern\n").unwrap();
    let home = home.display();
    let mounts = format!(
        "mount --bind '{home}/nsswitch.conf' /etc/nsswitch.conf && \
         mount --bind '{home}/extrausers' /var/lib/extrausers && \
         exec setpriv --reuid=47110 --regid=47111 --groups=47112 \"$0\" \"$@\""
    );
    let root = yard.path("").display().to_string();
    // Behind the root of the test's own, which would narrow.
    let server = Server::of(yard).without_a_root().configured(&POLICY.replace("ROOT", &root))?;
    Some(server.with_mounts(&mounts))
}

#[test]
fn who_is_only_in_a_directory_has_name_groups_and_the_groups_of_the_policy() {
    let Some(yard) = Yard::confined() else { return };
    if !can_mount() {
        return;
    }
    if !Path::new(MODULE).exists() {
        tally::skipped("no libnss-extrausers, the second user database");
        return;
    }
    yard.dir("fern").dir("nobody");
    for name in ["fern", "nobody"] {
        fs::set_permissions(yard.path(name), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let Some(server) = fern(&yard, true) else { return };
    let mut peer = server.sink("", ".");
    peer.hears_ok().stores("C0644 4 leaf", "leaf").hangs_up().sees_exit(0);
    yard.has("fern/leaf", "leaf");
    let stored = yard.stat("fern/leaf");
    assert_eq!((stored.uid(), stored.gid()), (47110, 47112));

    // The control: where it is not asked, the account has no name, and the rule is not about it.
    let Some(server) = fern(&yard, false) else { return };
    let mut peer = server.sink("", ".");
    peer.hears_ok().stores("C0644 4 leaf", "none").hangs_up().sees_exit(0);
    yard.has("nobody/leaf", "none");
    yard.has("fern/leaf", "leaf");
}
