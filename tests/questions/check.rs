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
        let default = "[default]\nroot = '/var/empty'\n";
        format!("[[match]]\nuser = 'scptest'\nroot = '{home}/drop'\n{more}\n{default}")
    }

    /// Writes the configuration file.
    fn write(&self, text: &str) {
        fs::write(self.at("scp-server.toml"), text).unwrap();
    }

    /// Writes what sshd is asked about; the first value of a keyword counts.
    fn write_sshd(&self, first: &str) {
        let text = format!(
            "{first}\nForceCommand /usr/bin/scp-server --config {}\nDisableForwarding yes\nPermitTTY no\nPermitUserRC no\nPermitTunnel no\n\
             ExposeAuthInfo yes\nAuthorizedKeysFile /etc/ssh/authorized_keys.d/%u\nHostKey {}\n",
            self.at("scp-server.toml").display(),
            self.at("host_key").display()
        );
        fs::write(self.at("sshd_config"), text).unwrap();
    }

    fn check(&self) -> (i32, String) {
        self.check_with(&[])
    }

    fn check_with(&self, more: &[&str]) -> (i32, String) {
        let text = |name| self.at(name).to_str().unwrap().to_owned();
        let (sshd, file) = (text("sshd_config"), text("scp-server.toml"));
        let (status, out, err) = ask(&[&["check", "--sshd-config", &sshd][..], more, &[&file]].concat());
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
        ("no TOML", |site| site.write("[default"), 1, "scp-server.toml:1:9: "),
        (
            "an unknown key",
            |site| site.write(&site.rules("rot = '/x'")),
            1,
            "scp-server.toml:4:1: unknown field `rot`",
        ),
        (
            "a wrong value",
            |site| site.write(&site.rules("umask = '8'")),
            1,
            "scp-server.toml:4:9: three octal digits",
        ),
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
            "a name to include that is not there",
            |site| site.write(&format!("include = ['none.toml']\n{}", site.rules(""))),
            1,
            "none.toml: there is no such file",
        ),
        (
            "an include of an include",
            |site| {
                fs::write(site.at("more.toml"), "include = ['*.x']\n").unwrap();
                site.write(&format!("include = ['more.toml']\n{}", site.rules("")));
            },
            1,
            "an included file includes no other",
        ),
        (
            "an included file in a directory that others can write",
            |site| {
                fs::create_dir(site.at("more.d")).unwrap();
                fs::write(site.at("more.d/x.toml"), "").unwrap();
                fs::set_permissions(site.at("more.d"), Permissions::from_mode(0o777)).unwrap();
                site.write(&format!("include = ['more.d/*.toml']\n{}", site.rules("")));
            },
            1,
            "more.d: others can write this directory",
        ),
        (
            "in a directory that a group can write",
            |site| {
                chown(site.yard.home(), None, Some(NOBODY)).unwrap();
                fs::set_permissions(site.yard.home(), Permissions::from_mode(0o775)).unwrap();
            },
            1,
            "put another configuration in its place",
        ),
        ("a file that is too large", |site| site.write(&"#\n".repeat(600_000)), 1, "it is larger than 1 MiB"),
        (
            "no file at all, but a directory",
            |site| {
                fs::remove_file(site.at("scp-server.toml")).unwrap();
                fs::create_dir(site.at("scp-server.toml")).unwrap();
            },
            1,
            "it is no regular file",
        ),
        (
            "no such account",
            |site| site.write(&site.rules("[[match]]\nuser = 'nobody-at-all'")),
            1,
            "scp-server.toml:5:1: there is no account nobody-at-all",
        ),
        (
            "no such group",
            |site| site.write(&site.rules("[[match]]\ngroup = 'none-of-us'\nread-only = true")),
            1,
            "scp-server.toml:5:1: there is no group none-of-us",
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
            "the root /root is the account's home",
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
            0,
            "this never counts",
        ),
        (
            "a section behind a wider one",
            |site| {
                let late = "[[match]]\nuser = 'scptest'\nfrom = '192.0.2.7'\numask = '077'";
                site.write(&site.rules(&format!("umask = '027'\n{late}")));
            },
            0,
            "scp-server.toml:5:1: this never counts",
        ),
        (
            "a rule behind a wider one",
            |site| {
                let rules = "path = [{ pattern = '**', deny = ['upload'] }, { pattern = 'in/**', allow = ['create'] }]";
                site.write(&site.rules(rules));
            },
            0,
            "scp-server.toml:4:1: rule 2 of path never counts",
        ),
        (
            "a root that uploads cannot be written to",
            |site| chown(site.at("drop"), Some(0), None).unwrap(),
            0,
            "scptest may not write in the root",
        ),
        (
            "a box that its senders cannot write to",
            |site| {
                chown(site.at("drop"), Some(0), None).unwrap();
                site.write(&site.rules("drop-box = true"));
            },
            1,
            "nothing gets into the box",
        ),
        (
            "a root that cannot be entered",
            |site| {
                chown(site.at("drop"), Some(0), None).unwrap();
                fs::set_permissions(site.at("drop"), Permissions::from_mode(0o700)).unwrap();
            },
            1,
            "scptest may not enter the root",
        ),
        (
            "a root that cannot be read",
            |site| fs::set_permissions(site.at("drop"), Permissions::from_mode(0o300)).unwrap(),
            0,
            "scptest may not read the root",
        ),
        (
            "the forced command's root is not there",
            |site| {
                site.write_sshd(&format!(
                    "ForceCommand scp-server --root in --config {}",
                    site.at("scp-server.toml").display()
                ))
            },
            1,
            "/drop/in is not there: scptest is not served; make it, or take --root out of it",
        ),
        (
            "the forced command's root is in none of the file's",
            |site| {
                let (drop, config) = (site.at("drop"), site.at("scp-server.toml"));
                let [drop, config] = [drop.display(), config.display()];
                site.write_sshd(&format!("ForceCommand scp-server --root {drop} --config {config}"));
                site.write("[[match]]\nuser = 'scptest'\numask = '027'\n[default]\nroot = '/var/empty'\n");
            },
            1,
            "its --root is looked up in the file's, and /var/empty/",
        ),
        (
            "a directory of a box that is none",
            |site| site.write(&site.rules("drop-box-directory = 'in'")),
            0,
            "scp-server.toml:4:1: drop-box-directory has no meaning",
        ),
        (
            "a directory of a box that is outside",
            |site| site.write(&site.rules("drop-box = true\ndrop-box-directory = 'in/../../x'")),
            1,
            "scp-server.toml:5:1: drop-box-directory goes upwards",
        ),
        (
            "no sessions at all",
            |site| site.write(&site.rules("max-sessions = 0")),
            0,
            "scp-server.toml:4:1: 0 is none at all",
        ),
        (
            "no files at all",
            |site| site.write(&site.rules("max-session-files = 0")),
            0,
            "scp-server.toml:4:1: 0 is none at all",
        ),
        (
            "no names, which are all",
            |site| site.write(&site.rules("names = []")),
            0,
            "scp-server.toml:4:1: with names = [] every name",
        ),
        (
            "rights that leave nothing",
            |site| site.write(&site.rules("read-only = true\nwrite-only = true")),
            1,
            "scp-server.toml:4:1: read-only and write-only together allow nothing",
        ),
        (
            "rights of two sections that leave nothing",
            |site| {
                site.write(
                    &site.rules("write-only = true").replace("[default]", "[default]\nread-only = true"),
                )
            },
            1,
            "scp-server.toml:1:1: for scptest read-only and write-only together allow nothing",
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
            "a log that the account cannot open",
            |site| site.write(&site.rules(&format!("log = '{}'", site.at("log").display()))),
            1,
            "scptest cannot open the log",
        ),
        (
            "a log that is required, and is not there",
            |site| site.write(&site.rules("audit = 'require'")),
            1,
            "scptest is not served: audit = \"require\", and there is no log",
        ),
        (
            "a log that is required, and cannot be opened",
            |site| {
                let log = site.at("log").display().to_string();
                site.write(&site.rules(&format!("log = '{log}'\naudit = 'require'")));
            },
            1,
            "and is not served: Permission denied",
        ),
        (
            "a directory as the log",
            |site| site.write(&site.rules("log = '/var'")),
            1,
            "the log /var is a directory",
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
            "subsystems beside other keys",
            |site| site.write_sshd("ForceCommand none\nSubsystem sftp internal-sftp"),
            1,
            "Subsystem sftp internal-sftp can be reached",
        ),
        (
            "a slip of the pen in the forced command",
            |site| site.write_sshd("ForceCommand scp-server --roof /srv"),
            1,
            "nobody is served",
        ),
        (
            "a question as the forced command",
            |site| site.write_sshd("ForceCommand scp-server check"),
            1,
            "serves nothing",
        ),
        (
            "a forced command that reads another file",
            |site| site.write_sshd("ForceCommand scp-server --config /etc/other.toml"),
            0,
            "the forced command reads /etc/other.toml",
        ),
        (
            "nobody who is named",
            |site| site.write("[[match]]\nuser = '*'\nread-only = true\n[default]\nroot = '/var/empty'"),
            0,
            "no account is named",
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
        assert!(line.starts_with(weight), "{mistake}: {out}");
        assert!(!out.contains("panicked"), "{mistake}: {out}");
        // What, and how to mend it.
        let (_, mend) = line.rsplit_once("; ").unwrap_or_else(|| panic!("{mistake}: {line}"));
        assert!(mend.len() > 5, "{mistake}: {line}");
        found += 1;
    }
    assert!(found >= 15);
    tally::figure(&format!("{found} of {} planted mistakes found", mistakes.len()));
}

#[test]
fn whoever_is_in_a_group_or_asked_about_is_looked_at() {
    let Some(site) = Site::new() else { return };
    let Ok(Some(group)) = nix::unistd::Group::from_name("scptest") else {
        tally::skipped("scptest has no group of its own");
        return;
    };
    site.write_sshd("PermitTTY yes");
    // By its own entry in the user database, as useradd --gid makes it.
    let home = site.yard.home().display();
    site.write(&format!(
        "[[match]]\ngroup = '{}'\nroot = '{home}/%u'\n[default]\nroot = '/var/empty'\n",
        group.name
    ));
    let (status, out) = site.check();
    assert_eq!(status, 1);
    assert!(out.contains(&format!("scp-server.toml:3:1: the root {home}/scptest is not there")), "{out}");
    assert!(out.contains("sshd_config, for scptest: PermitTTY yes"), "{out}");
    site.write(&format!("[[match]]\nuser = 'scptes?'\nroot = '{home}/%u'\n[default]\nroot = '/var/empty'\n"));
    let (_, out) = site.check();
    assert!(out.contains(&format!("scp-server.toml:3:1: the root {home}/scptest is not there")), "{out}");
    site.write("[default]\nroot = '/var/empty'\nread-only = true\n");
    assert!(!site.check().1.contains("scptest"));
    let (status, out) = site.check_with(&["--user", "scptest"]);
    assert!(status == 1 && out.contains("sshd_config, for scptest: PermitTTY yes"), "{out}");
    let (status, out) = site.check_with(&["--user", "nobody-at-all"]);
    assert!(status == 1 && out.contains("error: --user: there is no account nobody-at-all"), "{out}");
}

#[test]
fn the_options_of_the_forced_command_are_thought_of() {
    let Some(site) = Site::new() else { return };
    let (home, config) = (site.yard.home().display(), site.at("scp-server.toml").display().to_string());
    // Who is in no section has what the README gives everybody.
    site.write_sshd(&format!("ForceCommand scp-server --config {config}"));
    site.write("[[match]]\nuser = 'scptest'\numask = '027'\n[default]\nroot = '/var/empty'\n");
    assert_eq!(site.check(), (0, "errors: 0, warnings: 0\n".to_owned()));
    // A root of its own where the file has none; one in the file's where that has one.
    site.write_sshd(&format!("ForceCommand scp-server --root {home}/drop --config {config}"));
    site.write("[[match]]\nuser = 'scptest'\nmax-file-size = '1M'\n");
    assert_eq!(site.check(), (0, "errors: 0, warnings: 0\n".to_owned()));
    site.write_sshd(&format!("ForceCommand scp-server --root /in --read-only --config {config}"));
    fs::create_dir(site.at("drop/in")).unwrap();
    site.write(&site.rules(""));
    assert_eq!(site.check(), (0, "errors: 0, warnings: 0\n".to_owned()));
    // Without --read-only it is about storing, too: the directory is root's.
    site.write_sshd(&format!("ForceCommand scp-server --root /in --config {config}"));
    let (status, out) = site.check();
    assert!(
        status == 0 && out.contains(&format!("scptest may not write in the root {home}/drop/in")),
        "{out}"
    );
}

#[test]
fn keys_with_commands_of_their_own_are_looked_at_one_by_one() {
    let Some(site) = Site::new() else { return };
    let (home, config) = (site.yard.home().display(), site.at("scp-server.toml").display().to_string());
    site.write("[[match]]\nuser = 'scptest'\numask = '027'\n");
    let key = fs::read_to_string(site.at("host_key.pub")).unwrap();
    let command = format!("command=\"/usr/bin/scp-server --root {home}/drop --config {config}\"");
    let keys = site.at("keys").display().to_string();
    let sshd = |more: &str| {
        format!(
            "{more}\nForceCommand none\nPermitTTY yes\nDisableForwarding no\nPermitUserRC yes\nAuthorizedKeysFile {keys}\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        )
    };
    let right = format!("# one\nrestrict,{command} {key}");
    let other = command.replace("/drop", "/none");
    for (lines, more, status, words) in [
        (right.clone(), "", 0, "errors: 0, warnings: 0".to_owned()),
        (format!("{right}{key}"), "", 1, format!("error: {keys}:3:1: this key has no command")),
        (format!("{right}restrict {key}"), "", 1, format!("error: {keys}:3:1: this key has no command")),
        (
            format!("{right}restrict,command=\"id\" {key}"),
            "",
            1,
            format!("{keys}:3:1: this key has no command"),
        ),
        (format!("{command} {key}"), "", 1, format!("error: {keys}:1:1: restrict is missing")),
        (
            format!("restrict,pty,{command} {key}"),
            "",
            1,
            format!("error: {keys}:1:1: pty: this key can be used"),
        ),
        (right.replace("--root", "--roof"), "", 1, "nobody is served".to_owned()),
        (format!("{right}restrict,{other} {key}"), "", 1, format!("the root {home}/none is not there")),
        (
            right.clone(),
            "PasswordAuthentication yes",
            1,
            "PasswordAuthentication lets somebody in".to_owned(),
        ),
        (right.clone(), "PermitTunnel yes", 1, "PermitTunnel no".to_owned()),
        (right.clone(), "AcceptEnv BASH_ENV", 1, "AcceptEnv BASH_ENV".to_owned()),
        (String::new(), "", 1, "no ForceCommand".to_owned()),
    ] {
        fs::write(&keys, &lines).unwrap();
        site.write_sshd(&sshd(more));
        let (ended, out) = site.check();
        assert!(ended == status && out.contains(&words), "{lines}: {words}: {out}");
    }
}
