//! A day in the life: a thousand transfers by five accounts with two keys each, and what the log says of them.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::unistd::{User, geteuid};

use crate::sshd::bench::{Scratch, noise, run, start, within};
use crate::sshd::server::{binary_for_all, free_port, greets, make_key, program};
use crate::tally;

/// The accounts, which `tests/run` makes, and what the second key of each may not, or only.
const ACCOUNTS: [(&str, &str); 5] = [
    ("scptest1", "read-only = true"),
    ("scptest2", "write-only = true"),
    ("scptest3", "no-overwrite = true"),
    ("scptest4", "no-recursion = true"),
    ("scptest5", "max-file-size = 512"),
];

const KEYS: usize = 2;

/// Transfers of each key.
const TRANSFERS: usize = 100;

/// Larger than any account may send.
const TOO_LARGE: usize = 70_000;

// covers: peers 135, peers 136
#[test]
fn the_log_accounts_for_every_one_of_a_thousand_transfers() {
    let Some(office) = Office::open() else { return };
    let ledgers = thread::scope(|scope| {
        let office = &office;
        let days: Vec<_> = (0..ACCOUNTS.len())
            .map(|account| scope.spawn(move || Day::of(office, account).spend()))
            .collect();
        days.into_iter().map(|day| day.join().unwrap()).collect::<String>()
    });
    let ledger = office.scratch.path().join("ledger");
    fs::write(&ledger, ledgers).unwrap();
    let audit = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/day/accounts.py");
    let outcome = run(Command::new("python3").arg(audit).arg(&ledger).arg(office.log()));
    assert_eq!(outcome.status, Some(0), "{}{}", outcome.out, outcome.err);
    tally::figure(&format!("a day in the life: {}", outcome.out.trim()));
}

/// A sshd, the accounts, their directories, keys and rules, and the log.
struct Office {
    scratch: Scratch,
    port: u16,
    listener: Child,
}

impl Office {
    fn open() -> Option<Self> {
        if !geteuid().is_root() {
            tally::skipped("only root can serve several accounts");
            return None;
        }
        if ACCOUNTS.iter().any(|(name, _)| !User::from_name(name).is_ok_and(|user| user.is_some())) {
            tally::skipped("there are no accounts scptest1 to scptest5");
            return None;
        }
        if program().is_none() || std::env::var_os("SCP_SERVER_TESTED").is_some() {
            tally::skipped("about the program with a configuration file only, and with a sshd");
            return None;
        }
        let scratch = Scratch::new();
        let dir = scratch.path().display().to_string();
        make_key(scratch.path(), "host", &["-t", "ed25519"]);
        scratch.dir("keys");
        let log = scratch.path().join("audit.log");
        fs::write(&log, "").unwrap();
        fs::set_permissions(&log, Permissions::from_mode(0o622)).unwrap();

        let mut config = format!(
            "[default]\nroot = '{dir}/boxes/%u'\nlog = '{dir}/audit.log'\nlog-format = 'json'\n\
             checksum = 'sha256'\nmax-file-size = '64K'\nsandbox = 'require'\n"
        );
        for (name, rule) in ACCOUNTS {
            let mut lines = String::new();
            for key in 0..KEYS {
                make_key(scratch.path(), &format!("{name}.{key}"), &["-t", "ed25519"]);
                lines += &fs::read_to_string(scratch.path().join(format!("{name}.{key}.pub"))).unwrap();
            }
            fs::write(scratch.path().join("keys").join(name), lines).unwrap();
            let print = fingerprint(scratch.path(), &format!("{name}.{}", KEYS - 1));
            write!(config, "\n[[match]]\nuser = '{name}'\nkey = '{print}'\n{rule}\n").unwrap();
            let user = User::from_name(name).unwrap().unwrap();
            let root = scratch.dir(&format!("boxes/{name}"));
            chown(&root, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        fs::write(scratch.path().join("scp-server.toml"), config).unwrap();
        let binary = binary_for_all(&scratch);
        for _ in 0..5 {
            let port = free_port();
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nHostKey {dir}/host\nStrictModes no\nUsePAM no\n\
                 AuthorizedKeysFile {dir}/keys/%u\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 MaxStartups 100\nExposeAuthInfo yes\nDisableForwarding yes\nPermitTTY no\nPermitUserRC no\n\
                 ForceCommand {} --config {dir}/scp-server.toml\n",
                binary.display()
            );
            fs::write(scratch.path().join("sshd_config"), config).unwrap();
            fs::create_dir_all("/run/sshd").unwrap();
            let mut sshd = Command::new(program().unwrap());
            sshd.args(["-D", "-e", "-f"]).arg(scratch.path().join("sshd_config"));
            let mut listener = start(&mut sshd, Path::new("/dev/null"), &scratch.path().join("sshd.log"));
            let mut ended = false;
            within(Duration::from_secs(10), || {
                ended = listener.try_wait().unwrap().is_some();
                ended || greets(port)
            });
            if !ended {
                return Some(Self { scratch, port, listener });
            }
        }
        panic!("sshd does not start: {:?}", fs::read_to_string(scratch.path().join("sshd.log")));
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("audit.log")
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

fn fingerprint(dir: &Path, key: &str) -> String {
    let printed = run(Command::new("ssh-keygen").arg("-lf").arg(dir.join(format!("{key}.pub"))));
    printed.out.split(' ').nth(1).unwrap().to_owned()
}

/// What one account does, one transfer after the other, by turns with either key.
struct Day {
    name: &'static str,
    here: PathBuf,
    lines: Vec<Line>,
    ledger: String,
    /// Files that were stored, and are there to be fetched or replaced.
    stored: Vec<String>,
    /// Trees that were stored.
    trees: Vec<String>,
    seed: u64,
}

/// A connection that the transfers of one key share: without it, most of the day would be spent on key exchanges.
struct Line {
    child: Child,
    socket: PathBuf,
    print: String,
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Day {
    fn of(office: &Office, account: usize) -> Self {
        let (name, _) = ACCOUNTS[account];
        let here = office.scratch.dir(&format!("here.{name}"));
        let lines = (0..KEYS).map(|key| Line::open(office, name, key)).collect();
        Self {
            name,
            here,
            lines,
            ledger: String::new(),
            stored: Vec::new(),
            trees: Vec::new(),
            seed: account as u64 + 1,
        }
    }

    fn spend(mut self) -> String {
        for number in 0..TRANSFERS * KEYS {
            let key = number % KEYS;
            match self.chance(20) {
                0..=7 => self.puts(key, format!("new{number}.csv"), 1 + number * 13 % 4000),
                8..=9 if !self.stored.is_empty() => {
                    let name = self.any_stored();
                    self.puts(key, name, 1 + number * 7 % 400);
                }
                10 => self.puts(key, format!("large{number}.csv"), TOO_LARGE),
                11..=12 => self.puts_tree(key, format!("tree{number}")),
                13 => self.is_cut(key, format!("cut{number}.csv")),
                14 => self.fetches(key, "missing"),
                15 if !self.trees.is_empty() => self.fetches_tree(key),
                _ if !self.stored.is_empty() => {
                    let name = self.any_stored();
                    self.fetches(key, &name);
                }
                _ => self.puts(key, format!("new{number}.csv"), 100),
            }
        }
        self.ledger
    }

    fn puts(&mut self, key: usize, name: String, size: usize) {
        let contents = noise(size, self.chance(u64::MAX));
        let file = self.here.join("out");
        fs::write(&file, contents).unwrap();
        let exit = self.scp(key, &[file.to_str().unwrap(), &format!("host:{name}")], &[]);
        self.notes(key, "put", exit, &[(&name, &file)]);
        if exit == 0 && !self.stored.contains(&name) {
            self.stored.push(name);
        }
    }

    fn puts_tree(&mut self, key: usize, name: String) {
        let top = self.here.join(&name);
        fs::create_dir_all(top.join("sub")).unwrap();
        let inner = ["a", "sub/b", "sub/c"];
        for (number, path) in inner.iter().enumerate() {
            fs::write(top.join(path), noise(100 + number, self.chance(u64::MAX))).unwrap();
        }
        let exit = self.scp(key, &[top.to_str().unwrap(), "host:."], &["-r"]);
        let files: Vec<_> = inner.iter().map(|path| (format!("{name}/{path}"), top.join(path))).collect();
        let files: Vec<_> = files.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect();
        self.notes(key, "put tree", exit, &files);
        if exit == 0 {
            self.trees.push(name);
        }
    }

    /// Sends half of what was announced, and hangs up.
    fn is_cut(&mut self, key: usize, name: String) {
        let half = noise(2000, 7);
        let mut ssh = self.ssh(key);
        let mut child = ssh
            .arg("host")
            .arg(format!("scp -t {name}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut wire = child.stdin.take().unwrap();
        // Whoever may not store is told so and left alone before.
        let _ = wire.write_all(&[format!("C0644 4000 {name}\n").as_bytes(), &half].concat());
        drop(wire);
        let exit = child.wait().unwrap().code().unwrap_or(-1);
        let file = self.here.join("out");
        fs::write(&file, half).unwrap();
        self.notes(key, "cut", exit, &[(&name, &file)]);
    }

    fn fetches(&mut self, key: usize, name: &str) {
        let file = self.here.join("in");
        let _ = fs::remove_file(&file);
        let exit = self.scp(key, &[&format!("host:{name}"), file.to_str().unwrap()], &[]);
        self.notes(key, "get", exit, &[(name, &file)]);
    }

    fn fetches_tree(&mut self, key: usize) {
        let number = self.chance(self.trees.len() as u64) as usize;
        let name = self.trees[number].clone();
        let top = self.here.join("in.tree");
        let _ = fs::remove_dir_all(&top);
        let exit = self.scp(key, &[&format!("host:{name}"), top.to_str().unwrap()], &["-r"]);
        let files: Vec<_> =
            ["a", "sub/b", "sub/c"].iter().map(|path| (format!("{name}/{path}"), top.join(path))).collect();
        let files: Vec<_> = files.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect();
        self.notes(key, "get tree", exit, &files);
    }

    fn scp(&self, key: usize, arguments: &[&str], flags: &[&str]) -> i32 {
        let mut scp = Command::new("scp");
        scp.arg("-O").arg("-q").args(flags).args(self.options(key)).args(arguments);
        run(&mut scp).status.unwrap_or(-1)
    }

    fn ssh(&self, key: usize) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(self.options(key));
        ssh
    }

    fn options(&self, key: usize) -> Vec<String> {
        let socket = self.lines[key].socket.display();
        ["-F", "none", "-o", &format!("ControlPath={socket}"), "-o", "BatchMode=yes"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Writes down what the client knows: how it went, and what the files are.
    fn notes(&mut self, key: usize, what: &str, exit: i32, files: &[(&str, &Path)]) {
        let mut line = format!("{}\t{}\t{what}\t{exit}", self.name, self.lines[key].print);
        for (name, path) in files {
            let sum = run(Command::new("sha256sum").arg(path)).out;
            let sum = sum.split(' ').next().unwrap_or_default();
            let size = fs::metadata(path).map_or(0, |about| about.len());
            write!(line, "\t{name}\t{size}\t{sum}").unwrap();
        }
        self.ledger += &(line + "\n");
    }

    fn any_stored(&mut self) -> String {
        let number = self.chance(self.stored.len() as u64) as usize;
        self.stored[number].clone()
    }

    /// Returns a number below `most`, the same ones on every day.
    fn chance(&mut self, most: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % most
    }
}

impl Line {
    fn open(office: &Office, name: &str, key: usize) -> Self {
        let dir = office.scratch.path();
        let socket = dir.join(format!("{name}.{key}.line"));
        let err = OpenOptions::new().create(true).append(true).open(dir.join("lines.err")).unwrap();
        let child = Command::new("ssh")
            .args(["-F", "none", "-N", "-M", "-S"])
            .arg(&socket)
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "BatchMode=yes",
            ])
            .args(["-o", "IdentitiesOnly=yes", "-o", "HostKeyAlias=host", "-i"])
            .arg(dir.join(format!("{name}.{key}")))
            .args(["-p", &office.port.to_string(), "-l", name, "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(err)
            .spawn()
            .unwrap();
        let line = Self { child, socket, print: fingerprint(dir, &format!("{name}.{key}")) };
        assert!(
            within(Duration::from_secs(30), || line.socket.exists()),
            "{:?}",
            fs::read_to_string(dir.join("lines.err"))
        );
        line
    }
}
