//! Several keys of one account, through a real sshd: what each may do, and what stands before it in authorized_keys.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use nix::unistd::{User, geteuid};

use crate::sshd::bench::{Outcome, Scratch, run, start, within};
use crate::sshd::server::{binary_for_all, free_port, greets, make_key, openssh_is_tested, program};
use crate::tally;

/// The account, which `tests/run` makes.
const ACCOUNT: &str = "scptest1";

/// Its keys. `ca` signs certificates of `certified`.
const KEYS: [&str; 5] = ["full", "fetch", "stranger", "ca", "certified"];

/// What sshd tells whom it does not let in.
const NOT_LET_IN: &str = "Permission denied (publickey)";

/// A sshd for one account with several keys.
struct Site {
    scratch: Scratch,
    listener: Child,
    port: u16,
}

impl Site {
    fn open(settings: &str) -> Option<Self> {
        if !geteuid().is_root() {
            tally::skipped("only root can serve another account");
            return None;
        }
        let Ok(Some(user)) = User::from_name(ACCOUNT) else {
            tally::skipped("there is no account scptest1");
            return None;
        };
        if program().is_none() || openssh_is_tested() {
            tally::skipped("about the program with a configuration file only, and with a sshd");
            return None;
        }
        let scratch = Scratch::new();
        let dir = scratch.path();
        for key in KEYS.into_iter().chain(["host"]) {
            make_key(dir, key, &["-t", "ed25519"]);
        }
        let root = scratch.dir("root");
        fs::create_dir(root.join("sub")).unwrap();
        scratch.dir("empty");
        fs::write(dir.join("secret"), "secret").unwrap();
        for owned in [root.clone(), root.join("sub")] {
            chown(owned, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        fs::write(dir.join("log"), "").unwrap();
        fs::set_permissions(dir.join("log"), fs::Permissions::from_mode(0o622)).unwrap();
        binary_for_all(&scratch);
        fs::create_dir_all("/run/sshd").unwrap();
        for _ in 0..5 {
            let port = free_port();
            let place = dir.display();
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nHostKey {place}/host\nStrictModes no\nUsePAM no\n\
                 AuthorizedKeysFile {place}/authorized_keys\nPasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\nMaxStartups 100\n{settings}\n"
            );
            fs::write(dir.join("sshd_config"), config).unwrap();
            let mut sshd = Command::new(program().unwrap());
            sshd.args(["-D", "-e", "-f"]).arg(dir.join("sshd_config"));
            let mut listener = start(&mut sshd, Path::new("/dev/null"), &dir.join("sshd.log"));
            let mut ended = false;
            within(Duration::from_secs(60), || {
                ended = listener.try_wait().unwrap().is_some();
                ended || greets(port)
            });
            if !ended {
                return Some(Self { scratch, listener, port });
            }
        }
        panic!("sshd does not start: {:?}", fs::read_to_string(dir.join("sshd.log")));
    }

    /// Writes the configuration file; `ROOT` and names of keys with a dollar before them are put in.
    fn configures(&self, text: &str) -> &Self {
        let mut text = text.replace("ROOT", self.root().to_str().unwrap());
        text = text.replace("EMPTY", self.scratch.path().join("empty").to_str().unwrap());
        for key in KEYS {
            text = text.replace(&format!("${key}"), &self.fingerprint(key));
        }
        fs::write(self.scratch.path().join("scp-server.toml"), text).unwrap();
        self
    }

    /// Writes authorized_keys: each key, what else stands before it, and options of the forced command.
    fn authorizes(&self, lines: &[(&str, &str, &str)]) -> &Self {
        let dir = self.scratch.path().display();
        let line = |(key, more, options): &(&str, &str, &str)| {
            let public = fs::read_to_string(self.scratch.path().join(format!("{key}.pub"))).unwrap();
            let command =
                format!("{dir}/scp-server --config {dir}/scp-server.toml --log {dir}/log {options}");
            format!("{more}restrict,command=\"{command}\" {public}")
        };
        fs::write(self.scratch.path().join("authorized_keys"), lines.iter().map(line).collect::<String>())
            .unwrap();
        self
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    fn fingerprint(&self, key: &str) -> String {
        let printed =
            run(Command::new("ssh-keygen").arg("-lf").arg(self.scratch.path().join(format!("{key}.pub"))));
        printed.out.split(' ').nth(1).unwrap().to_owned()
    }

    /// Has the CA sign a certificate of `certified` for a principal.
    fn certifies(&self, principal: &str, validity: &str) {
        let dir = self.scratch.path();
        let signed = run(Command::new("ssh-keygen")
            .args(["-q", "-s"])
            .arg(dir.join("ca"))
            .args(["-I", "test", "-n", principal, "-V", validity])
            .arg(dir.join("certified.pub")));
        signed.succeeded();
    }

    fn scp(&self, key: &str) -> Command {
        let mut scp = Command::new("scp");
        scp.env_remove("SSH_AUTH_SOCK").arg("-O").args(["-F", "none", "-P", &self.port.to_string()]);
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "LogLevel=ERROR",
        ] {
            scp.args(["-o", option]);
        }
        scp.arg("-i").arg(self.scratch.path().join(key));
        scp
    }

    /// Uploads a file with a key.
    fn puts(&self, key: &str, contents: &str, target: &str) -> Outcome {
        let local = self.scratch.path().join("local");
        fs::write(&local, contents).unwrap();
        run(self.scp(key).arg(local).arg(format!("{ACCOUNT}@127.0.0.1:{target}")))
    }

    /// Fetches a file with a key.
    fn gets(&self, key: &str, source: &str) -> Outcome {
        let back = self.scratch.path().join("back");
        let _ = fs::remove_file(&back);
        let outcome = run(self.scp(key).arg(format!("{ACCOUNT}@127.0.0.1:{source}")).arg(&back));
        assert_eq!(outcome.status == Some(0), back.exists(), "{outcome:?}");
        outcome
    }

    /// Tells of what the log says that there is a line with all of these.
    fn logged(&self, parts: &[&str]) -> bool {
        let log = fs::read_to_string(self.scratch.path().join("log")).unwrap();
        log.lines().any(|line| parts.iter().all(|part| line.contains(part)))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

#[track_caller]
fn is_told(outcome: &Outcome, words: &str) {
    outcome.failed_with(1);
    assert!(outcome.err.contains(words), "{words}: {outcome:?}");
}

const TWO_KEYS: &str = "
[[match]]
user = 'scptest1'
key = '$full'
root = 'ROOT'

[[match]]
user = 'scptest1'
key = ['$fetch']
root = 'ROOT'
read-only = true

[default]
root = 'EMPTY'
";

// covers: peers 124, peers 139, security SSH-01
#[test]
fn two_keys_of_one_account_have_different_rights() {
    let Some(site) = Site::open("ExposeAuthInfo yes") else { return };
    let lines = ["full", "fetch", "stranger"].map(|key| (key, "", ""));
    site.configures(TWO_KEYS).authorizes(&lines);
    site.puts("full", "one", "a").succeeded();
    site.gets("full", "a").succeeded();
    site.gets("fetch", "a").succeeded();
    is_told(&site.puts("fetch", "two", "a"), "uploads are not allowed here");
    is_told(&site.puts("fetch", "two", "b"), "uploads are not allowed here");
    is_told(&site.gets("fetch", "../secret"), "No such file or directory");
    // A key that no section names is in the default's directory.
    is_told(&site.gets("stranger", "a"), "No such file or directory");
    is_told(&site.puts("stranger", "two", "a"), "Permission denied");
    assert_eq!(fs::read_to_string(site.root().join("a")).unwrap(), "one");
    assert!(!site.root().join("b").exists());
    for (key, event, rule) in [("full", "store", ":2"), ("full", "send", ":2"), ("fetch", "send", ":7")] {
        let print = format!("key=\"{}\"", site.fingerprint(key));
        let rule = format!("scp-server.toml{rule}, ");
        assert!(site.logged(&[&print, &format!("event={event} "), "path=\"a\"", &rule]), "{key} {event}");
    }
}

// covers: peers 124
#[test]
fn without_the_word_of_sshd_no_section_about_a_key_holds() {
    let Some(site) = Site::open("ExposeAuthInfo no") else { return };
    site.configures(TWO_KEYS).authorizes(&[("full", "", ""), ("fetch", "", "")]);
    fs::write(site.root().join("a"), "one").unwrap();
    for key in ["full", "fetch"] {
        is_told(&site.gets(key, "a"), "No such file or directory");
        is_told(&site.puts(key, "two", "a"), "Permission denied");
    }
    assert!(!site.logged(&["key="]) && site.logged(&["event=refuse"]));
    assert_eq!(fs::read_to_string(site.root().join("a")).unwrap(), "one");
}

// covers: peers 124, peers 139, peers 140
#[test]
fn the_principal_of_a_certificate_decides() {
    let Some(site) = Site::open("ExposeAuthInfo yes") else { return };
    let text = "
[[match]]
principal = 'deploy-*'
root = 'ROOT'
write-only = true
no-overwrite = true

[[match]]
key = '$certified'
principal = ['audit']
root = 'ROOT'
read-only = true

[default]
root = 'EMPTY'
";
    let authority = "cert-authority,principals=\"deploy-1,audit,other\",";
    site.configures(text).authorizes(&[("ca", authority, ""), ("full", "", "")]);
    // The key alone is no way in.
    is_told(&site.puts("certified", "one", "a"), NOT_LET_IN);

    site.certifies("deploy-1", "-1h:+1h");
    site.puts("certified", "one", "a").succeeded();
    is_told(&site.puts("certified", "two", "a"), "File exists");
    is_told(&site.gets("certified", "a"), "downloads are not allowed here");
    let print = format!("key=\"{}\"", site.fingerprint("certified"));
    assert!(site.logged(&[&print, "event=store", "path=\"a\""]));

    site.certifies("audit", "-1h:+1h");
    site.gets("certified", "a").succeeded();
    is_told(&site.puts("certified", "two", "b"), "uploads are not allowed here");
    // For somebody whom sshd lets in, and no section names.
    site.certifies("other", "-1h:+1h");
    is_told(&site.gets("certified", "a"), "No such file or directory");
    is_told(&site.puts("certified", "two", "b"), "Permission denied");
    // A certificate that is over, one for somebody else, and a plain key, which has no principal.
    for (principal, validity) in [("deploy-1", "-2h:-1h"), ("deploy-2", "-1h:+1h")] {
        site.certifies(principal, validity);
        is_told(&site.puts("certified", "two", "b"), NOT_LET_IN);
    }
    is_told(&site.puts("full", "two", "b"), "Permission denied");
    assert_eq!(fs::read_to_string(site.root().join("a")).unwrap(), "one");
    assert!(!site.root().join("b").exists());
}

// covers: peers 124, peers 127, peers 139, peers 140, security PT-01
#[test]
fn what_stands_before_a_key_takes_away_and_gives_nothing() {
    let Some(site) = Site::open("ExposeAuthInfo yes") else { return };
    let all = "[default]\nroot = 'ROOT'\n";
    let little = "[default]\nroot = 'ROOT'\nread-only = true\n";
    let no_more = "[default]\nroot = 'ROOT'\nno-overwrite = true\nmax-file-size = 10\n";
    let (up, down) = ("uploads are not allowed here", "downloads are not allowed here");
    let outside = "the directory of this account cannot be used: No such file or directory";
    let secret = format!("{}/", site.scratch.path().display());
    let other = format!("--root {secret}");
    // The file, the options, and what becomes of replacing `old`, of 20 bytes as `new`, and of fetching `old`.
    let cases: [(&str, &str, [&str; 3]); 14] = [
        (all, "", ["", "", ""]),
        (all, "--read-only", [up, up, ""]),
        (all, "--write-only", ["", "", down]),
        (all, "--no-overwrite", ["File exists", "", ""]),
        (all, "--max-file-size 10", ["", "is over the limit of", ""]),
        (all, "--root /sub", ["", "", "No such file or directory"]),
        (all, "--root /..", [outside, outside, outside]),
        (all, &other, [outside, outside, outside]),
        (little, "", [up, up, ""]),
        (little, "--write-only", [up, up, down]),
        (little, "--root /sub", [up, up, "No such file or directory"]),
        (no_more, "", ["File exists", "is over the limit of", ""]),
        (no_more, "--max-file-size 1G", ["File exists", "is over the limit of", ""]),
        (no_more, "--atomic always --sandbox off --umask 000", ["File exists", "is over the limit of", ""]),
    ];
    for (file, options, wanted) in cases {
        site.configures(file).authorizes(&[("full", "", options)]);
        for name in ["new", "sub/new", "sub/old"] {
            let _ = fs::remove_file(site.root().join(name));
        }
        fs::write(site.root().join("old"), "old").unwrap();
        let account = User::from_name(ACCOUNT).unwrap().unwrap();
        chown(site.root().join("old"), Some(account.uid.as_raw()), None).unwrap();
        let fetched = site.gets("full", "old");
        let found = [site.puts("full", "three", "old"), site.puts("full", &"x".repeat(20), "new"), fetched];
        for (found, words) in found.iter().zip(wanted) {
            if words.is_empty() {
                found.succeeded();
            } else {
                is_told(found, words);
            }
        }
        let replaced = fs::read_to_string(site.root().join("old")).unwrap() == "three";
        let below = options.contains("/sub");
        assert_eq!(replaced, wanted[0].is_empty() && !below, "{file} {options}");
        assert_eq!(site.root().join("new").exists(), wanted[1].is_empty() && !below, "{file} {options}");
        assert_eq!(site.root().join("sub/new").exists(), wanted[1].is_empty() && below, "{file} {options}");
        assert_eq!(fs::read_to_string(site.scratch.path().join("secret")).unwrap(), "secret");
    }
}
