//! Lines of authorized_keys, in front of a real sshd.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use super::{PROGRAM, ask};
use crate::sshd::bench::{Scratch, run, skip, start, within, write};
use crate::sshd::server::{binary_for_all, free_port, greets, make_key, me, program};
use crate::yard::Yard;

/// A sshd without a forced command: the lines of authorized_keys say what each key is for.
struct Door {
    home: Scratch,
    listener: Child,
}

impl Door {
    fn open() -> Option<Self> {
        let Some(sshd) = program() else {
            skip("sshd is not installed");
            return None;
        };
        let home = Scratch::new();
        for key in ["host", "one", "two"] {
            make_key(home.path(), key, &["-t", "ed25519"]);
        }
        let dir = home.path().display();
        if nix::unistd::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        for _ in 0..5 {
            let port = free_port();
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nHostKey {dir}/host\nStrictModes no\nUsePAM no\n\
                 AuthorizedKeysFile {dir}/authorized_keys\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\nSetEnv SHLVL=2\nSubsystem sftp internal-sftp\n"
            );
            fs::write(home.path().join("sshd_config"), config).unwrap();
            let mut command = Command::new(sshd);
            command.args(["-D", "-e", "-f"]).arg(home.path().join("sshd_config"));
            let mut listener = start(&mut command, Path::new("/dev/null"), &home.path().join("log"));
            let mut ended = false;
            let listens = within(Duration::from_secs(60), || {
                ended = listener.try_wait().unwrap().is_some();
                ended || greets(port)
            });
            if listens && !ended {
                let host = fs::read_to_string(home.path().join("host.pub")).unwrap();
                fs::write(home.path().join("known_hosts"), format!("[127.0.0.1]:{port} {host}")).unwrap();
                let client = format!(
                    "Host host\n HostName 127.0.0.1\n Port {port}\n User {}\n IdentitiesOnly yes\n \
                     UserKnownHostsFile {dir}/known_hosts\n GlobalKnownHostsFile /dev/null\n BatchMode yes\n LogLevel ERROR\n",
                    me()
                );
                fs::write(home.path().join("ssh_config"), client).unwrap();
                return Some(Self { home, listener });
            }
            let _ = listener.kill();
            let _ = listener.wait();
        }
        panic!("sshd does not start: {}", fs::read_to_string(home.path().join("log")).unwrap());
    }

    /// Prepares a client that comes with a key.
    fn client(&self, program: &str, key: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.home.path().join("ssh_config"));
        command.arg("-i").arg(self.home.path().join(key)).env_remove("SSH_AUTH_SOCK");
        command
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

// covers: security SSH-02
#[test]
fn each_key_gets_what_its_line_gives_and_nothing_else_from_a_real_sshd() {
    let Some(yard) = Yard::confined() else { return };
    let Some(door) = Door::open() else { return };
    // Whatever the shell, and sshd's parser, could take for something else.
    let name = "a \"b\" it's $(touch pwned) `id` \\ \\\" #;& ü";
    yard.dir(name).file(Path::new(name).join("there"), "there");
    let root = yard.path(name);
    let root = root.to_str().unwrap();
    // Where every account can run it: what the line names is the program that wrote it.
    let binary = binary_for_all(&door.home);
    let mut lines = String::new();
    for (key, more) in [("one", "--no-overwrite"), ("two", "--read-only")] {
        let public = door.home.path().join(format!("{key}.pub"));
        let mut command = Command::new(&binary);
        let output = command.args(["authorized-key", "--root", root, more]).arg(public).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        lines += std::str::from_utf8(&output.stdout).unwrap();
    }
    assert_eq!(lines.lines().count(), 2);
    fs::write(door.home.path().join("authorized_keys"), lines).unwrap();

    let (new, back) = (door.home.path().join("new"), door.home.dir("back"));
    write(&new, "new", 0o644, 1_000_000_000);
    let put =
        |key: &str, to: &str| run(door.client("scp", key).arg("-O").arg(&new).arg(format!("host:{to}")));
    put("one", "new").succeeded();
    let taken = put("one", "there");
    taken.failed_with(1);
    assert!(taken.err.contains("there: File exists"), "{taken:?}");
    let refused = put("two", "other");
    refused.failed_with(1);
    assert!(refused.err.contains("uploads are not allowed here"), "{refused:?}");
    for key in ["one", "two"] {
        run(door.client("scp", key).arg("-O").arg("host:there").arg(&back)).succeeded();
        let shell = run(door.client("ssh", key).args(["host", "id"]));
        shell.failed_with(1);
        assert!(!shell.out.contains("uid="), "{shell:?}");
        run(door.client("sftp", key).args(["-b", "/dev/null", "host"])).failed_with(255);
        let terminal = run(door.client("ssh", key).args(["-tt", "host", "scp -f there"]));
        assert_ne!(terminal.status, Some(0), "{terminal:?}");
        let tunnel = run(door.client("ssh", key).args([
            "-o",
            "ExitOnForwardFailure=yes",
            "-W",
            "127.0.0.1:22",
            "host",
        ]));
        assert!(tunnel.status != Some(0) && !tunnel.out.contains("SSH-"), "{tunnel:?}");
    }
    yard.has(Path::new(name).join("new"), "new");
    yard.has(Path::new(name).join("there"), "there");
    assert_eq!(yard.listing().len(), 3, "{:?}", yard.listing());
    // The same sshd does give a shell to a key whose line says nothing.
    let plain = fs::read_to_string(door.home.path().join("one.pub")).unwrap();
    fs::write(door.home.path().join("authorized_keys"), plain).unwrap();
    let shell = run(door.client("ssh", "one").args(["host", "id"]));
    assert!(shell.out.contains("uid="), "{shell:?}");
}

#[test]
fn keys_of_every_kind_are_taken() {
    let home = Scratch::new();
    for kind in [&["-t", "ed25519"][..], &["-t", "rsa", "-b", "2048"], &["-t", "ecdsa", "-b", "521"]] {
        make_key(home.path(), kind[1], kind);
        let public = home.path().join(format!("{}.pub", kind[1]));
        let (status, out, err) = ask(&["authorized-key", "--root", "/srv/x", public.to_str().unwrap()]);
        assert_eq!((status, err.as_str()), (0, ""), "{kind:?}");
        let key = fs::read_to_string(public).unwrap();
        assert_eq!(out, format!("restrict,command=\"{PROGRAM} --root /srv/x\" {key}"), "{kind:?}");
    }
}
