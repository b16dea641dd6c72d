//! Mistakes that are planted, each by itself in a configuration that is right but for it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;

use nix::unistd::{User, geteuid};

use super::{ask, key};
use crate::tally;
use crate::yard::Yard;

/// A configuration in which nothing is wrong, and what is around it.
struct Site {
    yard: Yard,
}

impl Site {
    fn new() -> Option<Self> {
        let yard = Yard::confined()?;
        let account = User::from_name("scptest").unwrap().filter(|_| geteuid().is_root());
        let Some(account) = account else {
            tally::skipped("no right to make files that belong to root, or no user scptest");
            return None;
        };
        let site = Self { yard };
        fs::create_dir(site.at("drop")).unwrap();
        chown(site.at("drop"), Some(account.uid.as_raw()), None).unwrap();
        key(&site.yard, "host_key");
        site.write_sshd("");
        site.write(&site.rules(""));
        Some(site)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.yard.home().join(name)
    }

    fn rules(&self, more: &str) -> String {
        let home = self.yard.home().display();
        let default = "[default]\nroot = '/var/empty'\nread-only = true\n";
        format!("[[match]]\nuser = 'scptest'\nroot = '{home}/drop'\n{more}\n{default}")
    }

    /// Writes the configuration file.
    fn write(&self, text: &str) {
        fs::write(self.at("scp-server.toml"), text).unwrap();
    }

    /// Writes what sshd is asked about; the first value of a keyword counts.
    fn write_sshd(&self, first: &str) {
        let text = format!(
            "{first}\nForceCommand /usr/bin/scp-server\nDisableForwarding yes\nPermitTTY no\nPermitUserRC no\nPermitTunnel no\n\
             ExposeAuthInfo yes\nAuthorizedKeysFile /etc/ssh/authorized_keys.d/%u\nHostKey {}\n",
            self.at("host_key").display()
        );
        fs::write(self.at("sshd_config"), text).unwrap();
    }

    fn check(&self) -> (i32, String) {
        let text = |name| self.at(name).to_str().unwrap().to_owned();
        let (status, out, err) =
            ask(&["check", "--sshd-config", &text("sshd_config"), &text("scp-server.toml")]);
        assert_eq!(err, "");
        (status, out)
    }
}

#[test]
fn in_a_right_configuration_nothing_is_found() {
    let Some(site) = Site::new() else { return };
    fs::create_dir_all("/var/empty").unwrap();
    assert_eq!(site.check(), (0, "errors: 0, warnings: 0\n".to_owned()));
}

#[test]
fn each_planted_mistake_is_found_with_how_to_mend_it() {
    type Plant = fn(&Site);
    fs::create_dir_all("/var/empty").ok();
    const NOBODY: u32 = 65_534;
    let mistakes: &[(&str, Plant, i32, &str)] = &[
        ("no file", |site| fs::remove_file(site.at("scp-server.toml")).unwrap(), 1, "there is no such file"),
        ("no TOML", |site| site.write("[default"), 1, "line 1, column 9"),
        ("an unknown key", |site| site.write(&site.rules("rot = '/x'")), 1, "unknown field `rot`"),
        ("a wrong value", |site| site.write(&site.rules("umask = '8'")), 1, "three octal digits"),
        (
            "somebody else's",
            |site| chown(site.at("scp-server.toml"), Some(NOBODY), None).unwrap(),
            1,
            "chown root",
        ),
        (
            "writable",
            |site| fs::set_permissions(site.at("scp-server.toml"), Permissions::from_mode(0o666)).unwrap(),
            1,
            "chmod go-w",
        ),
        (
            "in a directory that others can write",
            |site| fs::set_permissions(site.yard.home(), Permissions::from_mode(0o777)).unwrap(),
            1,
            "put another configuration in its place",
        ),
        (
            "a link",
            |site| {
                fs::rename(site.at("scp-server.toml"), site.at("other")).unwrap();
                symlink(site.at("other"), site.at("scp-server.toml")).unwrap();
            },
            1,
            "symbolic link",
        ),
        (
            "an include of nothing",
            |site| site.write(&format!("include = ['none.d/*.toml']\n{}", site.rules(""))),
            0,
            "no file is called none.d/*.toml",
        ),
        (
            "no such account",
            |site| site.write(&site.rules("[[match]]\nuser = 'nobody-at-all'")),
            1,
            "no account nobody-at-all",
        ),
        (
            "no such group",
            |site| site.write(&site.rules("[[match]]\ngroup = 'none-of-us'\nread-only = true")),
            1,
            "no group none-of-us",
        ),
        ("no root directory", |site| fs::remove_dir(site.at("drop")).unwrap(), 1, "install -d -o scptest"),
        (
            "a file as the root",
            |site| {
                fs::remove_dir(site.at("drop")).unwrap();
                fs::write(site.at("drop"), "").unwrap();
            },
            1,
            "is no directory",
        ),
        (
            "the root is /",
            |site| site.write("[[match]]\nuser = 'scptest'\nroot = '/'\n[default]\nroot = '/var/empty'"),
            1,
            "confines nobody",
        ),
        (
            "the root holds the home",
            |site| site.write("[[match]]\nuser = 'root'\nroot = '/root'\n[default]\nroot = '/var/empty'"),
            0,
            "home /root lies in the root /root",
        ),
        (
            "a root that everybody can write",
            |site| fs::set_permissions(site.at("drop"), Permissions::from_mode(0o777)).unwrap(),
            0,
            "every account of this machine can write the root",
        ),
        (
            "a root that can be exchanged",
            |site| {
                fs::create_dir_all(site.at("open/drop")).unwrap();
                fs::set_permissions(site.at("open"), Permissions::from_mode(0o777)).unwrap();
                site.write(&site.rules("").replace("/drop'", "/open/drop'"));
            },
            0,
            "put another root in the place of",
        ),
        (
            "a section that never counts",
            |site| {
                site.write(
                    &site.rules("[[match]]\nroot = '/var/empty'\n[[match]]\nuser = 'root'\nroot = '/none'"),
                )
            },
            1,
            "this never counts",
        ),
        (
            "rights that leave nothing",
            |site| site.write(&site.rules("read-only = true\nwrite-only = true")),
            1,
            "read-only and write-only together allow nothing",
        ),
        (
            "a box that nothing can be put into",
            |site| site.write(&site.rules("read-only = true\ndrop-box = true")),
            1,
            "read-only and drop-box together allow nothing",
        ),
        (
            "an access that is over",
            |site| site.write(&site.rules("expires = '2020-01-31'")),
            0,
            "has expired",
        ),
        ("nobody", |site| site.write(&site.rules("key = []")), 1, "key is an empty list"),
        (
            "a group that is not there",
            |site| site.write(&site.rules("force-group = 'none-of-us'")),
            1,
            "groupadd none-of-us",
        ),
        (
            "a group that is not the account's",
            |site| site.write(&site.rules("force-group = 'root'")),
            1,
            "usermod -aG root scptest",
        ),
        (
            "no directory for the log",
            |site| site.write(&site.rules("log = '/none/log'")),
            1,
            "install -d -m 0755 /none",
        ),
        (
            "the log in the root",
            |site| site.write(&site.rules(&format!("log = '{}'", site.at("drop/log").display()))),
            1,
            "where clients can read or replace it",
        ),
        (
            "everybody may write",
            |site| site.write(&site.rules("umask = '000'")),
            0,
            "with this umask every account",
        ),
        (
            "modes for everybody",
            |site| site.write(&site.rules("file-mode = '666'")),
            0,
            "file-mode lets every account",
        ),
        ("no sandbox", |site| site.write(&site.rules("sandbox = 'off'")), 0, "leaves one layer"),
        (
            "a size that is never reached",
            |site| site.write(&site.rules("max-file-size = '2G'\nmax-session-size = '1G'")),
            0,
            "more than a whole session",
        ),
        (
            "nothing for everybody",
            |site| site.write("[[match]]\nuser = 'root'\nroot = '/var/empty'"),
            0,
            "the whole host is open",
        ),
        (
            "rules without a root",
            |site| site.write("[[match]]\nuser = 'scptest'\nnames = ['*.csv']"),
            1,
            "its rules have no meaning without a root",
        ),
        ("a terminal", |site| site.write_sshd("PermitTTY yes"), 1, "PermitTTY no"),
        ("ports", |site| site.write_sshd("DisableForwarding no"), 1, "DisableForwarding yes"),
        ("a network device", |site| site.write_sshd("PermitTunnel yes"), 1, "PermitTunnel no"),
        ("start-up commands", |site| site.write_sshd("PermitUserRC yes"), 1, "PermitUserRC no"),
        ("variables of the client's", |site| site.write_sshd("AcceptEnv LANG LD_*"), 1, "AcceptEnv LD_*"),
        (
            "variables of the account's",
            |site| site.write_sshd("PermitUserEnvironment yes"),
            1,
            "PermitUserEnvironment no",
        ),
        ("no forced command", |site| site.write_sshd("ForceCommand none"), 1, "no ForceCommand"),
        (
            "another forced command",
            |site| site.write_sshd("ForceCommand internal-sftp"),
            1,
            "that is not scp-server",
        ),
        (
            "keys that nobody tells",
            |site| {
                site.write_sshd("ExposeAuthInfo no");
                site.write(&site.rules("key = 'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU'"));
            },
            1,
            "ExposeAuthInfo yes",
        ),
        (
            "keys in the root",
            |site| site.write_sshd(&format!("AuthorizedKeysFile {}/keys", site.at("drop").display())),
            1,
            "an upload could let somebody in",
        ),
        (
            "no sshd_config",
            |site| fs::remove_file(site.at("sshd_config")).unwrap(),
            0,
            "its settings are not known",
        ),
    ];
    let mut found = 0;
    for (mistake, plant, status, words) in mistakes {
        let Some(site) = Site::new() else { return };
        plant(&site);
        let (ended, out) = site.check();
        let line = out.lines().find(|line| line.contains(words));
        let line = line.unwrap_or_else(|| panic!("{mistake}: {out}"));
        assert_eq!(ended, *status, "{mistake}: {out}");
        let weight = if *status == 0 { "warning: " } else { "error: " };
        assert!(line.starts_with(weight) || *mistake == "a section that never counts", "{mistake}: {out}");
        // What, and how to mend it.
        let (_, mend) = line.rsplit_once("; ").unwrap_or_else(|| panic!("{mistake}: {line}"));
        assert!(mend.len() > 5, "{mistake}: {line}");
        found += 1;
    }
    assert!(found >= 15);
    tally::figure(&format!("{found} of {} planted mistakes found", mistakes.len()));
}
