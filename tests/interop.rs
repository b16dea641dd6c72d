//! Every client that can be had, through a real sshd: the table of who is served is printed by `tests/run`.

#![allow(
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and works on paths"
)]

mod cases;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cases::{Case, Desk, Keeps, Manner, ODD_ASCII_NAME, ODD_NAME, Parting, Quoting, Way};

use crate::sshd::bench::{Scratch, note, run, skip};
use crate::sshd::server::Sshd;
use crate::tally;

/// A client: how it is called, what it is like, and what it cannot do whatever the server does.
struct Client {
    name: &'static str,
    /// Returns the driver's command, compiled into the directory if need be; nothing if that cannot be done here.
    driver: fn(&Path) -> Option<Vec<OsString>>,
    manner: Manner,
    cannot: &'static [(Case, Option<Way>, &'static str)],
}

impl Client {
    /// Has the client do all that it can, writes the table's lines, and fails with all that went wrong.
    #[track_caller]
    fn is_served(&self) {
        if !Sshd::is_installed() {
            return skip("sshd is not installed");
        }
        let scratch = Scratch::new();
        let Some(driver) = (self.driver)(scratch.path()) else {
            return skip("the client is not installed");
        };
        let desk = Desk::lay(&[]);
        let version = run(desk.driver(&driver).arg("version"));
        if version.status != Some(0) {
            return skip("the client is not installed");
        }
        let mut failures = Vec::new();
        let mut serve = |desk: &Desk, case: Case, title: &str, way: Way| {
            let result = match self.excuse(case, way) {
                Some(reason) => Ok(format!("client cannot: {reason}")),
                None => self.does(desk, &driver, way, case).map(str::to_owned),
            };
            let line = match &result {
                Ok(how) => how.clone(),
                Err(what) => {
                    failures.push(format!("{way:?} {title}: {what} ({})", desk.last_word()));
                    "FAILED".to_owned()
                }
            };
            let way = format!("{way:?}");
            note("matrix.tsv", &[self.name, version.out.trim(), title, &way, &line].join("\t"));
        };
        for case in Case::ALL {
            for way in [Way::Put, Way::Get] {
                // What becomes of a shorter file here is the client's own affair.
                if (case, way) != (Case::Shorter, Way::Get) {
                    serve(&desk, case, case.title(), way);
                }
            }
        }
        // How soon records are acknowledged matters in trees only.
        let modes =
            if self.excuse(Case::Tree, Way::Put).is_none() { &["off", "auto", "on"][..] } else { &[] };
        for mode in modes.iter().filter(|mode| self.manner.patient || **mode != "on") {
            let desk = Desk::lay(&["--pipeline", mode]);
            for case in [Case::Tree, Case::Forest] {
                serve(&desk, case, &format!("{}, {mode}", case.title()), Way::Put);
            }
        }
        assert!(failures.is_empty(), "{}:\n{}", self.name, failures.join("\n"),);
    }

    /// Has the client do one thing. One that leaves without having heard that all has arrived does it again when its own
    /// leaving has cut the line: that is not the server's to mend, that nothing half-done came of it is.
    fn does(&self, desk: &Desk, driver: &[OsString], way: Way, case: Case) -> Result<&'static str, String> {
        let mut done = desk.serve(driver, &self.manner, way, case);
        let mut cuts = 0;
        while done.is_err() && self.manner.parting == Parting::Leaves && desk.line_was_cut() {
            desk.kept_what_was_there(&self.manner, way, case)?;
            cuts += 1;
            if cuts == ATTEMPTS {
                break;
            }
            done = desk.serve(driver, &self.manner, way, case);
        }
        if cuts > 0 {
            tally::figure(&format!(
                "{} left before all of {} had been taken, and reported success: {cuts} times in {}",
                self.name,
                case.title(),
                cuts + usize::from(done.is_ok()),
            ));
        }
        done
    }

    fn excuse(&self, case: Case, way: Way) -> Option<&'static str> {
        if case == Case::Kept && self.manner.keeps[way as usize] == Keeps::Nothing {
            return Some("it has no call for it");
        }
        // Whoever can copy one tree can copy another.
        let case = if case == Case::Forest { Case::Tree } else { case };
        self.cannot
            .iter()
            .find(|(what, which, _)| *what == case && which.is_none_or(|which| which == way))
            .map(|(_, _, reason)| *reason)
    }
}

/// How often a client that cuts the line by leaving may do the same thing: it was 1 in 6 on a busy machine.
const ATTEMPTS: usize = 12;

const NO_TREES: (Case, Option<Way>, &str) = (Case::Tree, None, "it copies files only");

// covers: peers 25
#[test]
fn openssh_scp_is_served() {
    Client {
        name: "OpenSSH scp -O",
        driver: |_| script("sh", "openssh.sh"),
        manner: Manner {
            quoting: Quoting::User,
            globs: true,
            keeps: [Keeps::Both, Keeps::Both],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: true,
        },
        cannot: &[],
    }
    .is_served();
}

// covers: clients 3.8, clients 3.14
#[test]
fn pscp_is_served() {
    Client {
        name: "PuTTY pscp",
        driver: |_| script("sh", "pscp.sh"),
        manner: Manner {
            quoting: Quoting::User,
            globs: true,
            keeps: [Keeps::Both, Keeps::Both],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: false,
        },
        cannot: &[],
    }
    .is_served();
}

// covers: clients 2.10, clients 2.12, clients 3.10, clients 3.11
#[test]
fn curl_is_served() {
    Client {
        name: "curl",
        driver: |_| script("sh", "curl.sh"),
        manner: Manner {
            quoting: Quoting::Client,
            globs: false,
            keeps: [Keeps::Mode, Keeps::Nothing],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: false,
        },
        cannot: &[NO_TREES],
    }
    .is_served();
}

// covers: clients 3.4, clients 3.13
#[test]
fn libssh_is_served() {
    Client {
        name: "libssh",
        driver: |dir| libssh(dir, &[]),
        manner: Manner {
            quoting: Quoting::Client,
            globs: false,
            keeps: [Keeps::Mode, Keeps::Mode],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: false,
        },
        cannot: &[],
    }
    .is_served();
}

/// Its scp is only half an interface: programs that never end it are as common as those that do.
#[test]
fn a_program_with_libssh_that_leaves_at_once_is_served() {
    Client {
        name: "libssh, leaving at once",
        driver: |dir| libssh(dir, &["leaves"]),
        manner: Manner {
            quoting: Quoting::Client,
            globs: false,
            keeps: [Keeps::Mode, Keeps::Mode],
            odd_name: ODD_NAME,
            parting: Parting::Leaves,
            patient: false,
        },
        cannot: &[(Case::Large, Some(Way::Put), "it leaves before sshd has handed a large file over")],
    }
    .is_served();
}

// covers: clients 2.2, clients 2.5, clients 3.1, clients 3.2, clients 3.7
#[test]
fn scp_py_is_served() {
    Client {
        name: "scp.py (paramiko)",
        driver: |_| script(python(), "scp_py.py"),
        manner: Manner {
            quoting: Quoting::Client,
            globs: false,
            keeps: [Keeps::Both, Keeps::Both],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: false,
        },
        cannot: &[],
    }
    .is_served();
}

// covers: peers 25
#[test]
fn asyncssh_is_served() {
    Client {
        name: "asyncssh",
        driver: |_| script(python(), "asyncssh_scp.py"),
        manner: Manner {
            quoting: Quoting::User,
            globs: false,
            keeps: [Keeps::Both, Keeps::Both],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: true,
        },
        cannot: &[],
    }
    .is_served();
}

// covers: clients 2.4, clients 2.6
#[test]
fn net_scp_of_ruby_is_served() {
    Client {
        name: "Ruby net-scp",
        driver: |_| script("/usr/bin/ruby", "net_scp.rb"),
        manner: Manner {
            quoting: Quoting::Client,
            globs: false,
            keeps: [Keeps::Both, Keeps::Both],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: true,
        },
        cannot: &[],
    }
    .is_served();
}

// covers: peers 25
#[test]
fn net_ssh2_of_perl_is_served() {
    Client {
        name: "Perl Net::SSH2",
        driver: |_| script("/usr/bin/perl", "net_ssh2.pl"),
        manner: Manner {
            quoting: Quoting::Client,
            globs: false,
            keeps: [Keeps::Both, Keeps::Mode],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: false,
        },
        cannot: &[NO_TREES],
    }
    .is_served();
}

// covers: clients 2.10
#[test]
fn ssh2_of_php_is_served() {
    Client {
        name: "PHP ssh2",
        driver: |_| script("/usr/bin/php", "ssh2.php"),
        manner: Manner {
            quoting: Quoting::Client,
            globs: false,
            keeps: [Keeps::Mode, Keeps::Nothing],
            odd_name: ODD_NAME,
            parting: Parting::Leaves,
            patient: false,
        },
        cannot: &[NO_TREES],
    }
    .is_served();
}

// covers: peers 25
#[test]
fn phpseclib_is_served() {
    Client {
        name: "phpseclib",
        driver: |_| script("/usr/bin/php", "phpseclib.php"),
        manner: Manner {
            quoting: Quoting::Client,
            globs: false,
            keeps: [Keeps::Nothing, Keeps::Nothing],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: false,
        },
        cannot: &[
            NO_TREES,
            (Case::Small, Some(Way::Get), TAKES_THE_STATUS),
            (Case::Large, Some(Way::Get), TAKES_THE_STATUS),
            (Case::OddName, Some(Way::Get), TAKES_THE_STATUS),
            (Case::Many, Some(Way::Get), TAKES_THE_STATUS),
        ],
    }
    .is_served();
}

// covers: clients 2.6, clients 2.12, clients 3.6
#[test]
fn jsch_is_served() {
    Client {
        name: "JSch (its examples)",
        driver: |dir| java(dir, "Jsch", "jsch", |text| text),
        manner: Manner {
            quoting: Quoting::Client,
            globs: false,
            keeps: [Keeps::Times, Keeps::Nothing],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: false,
        },
        cannot: &[NO_TREES],
    }
    .is_served();
}

// covers: clients 2.9, clients 2.11
#[test]
fn trilead_is_served() {
    Client {
        name: "Trilead SSH2",
        driver: |dir| java(dir, "Trilead", "trilead-ssh2", |text| text),
        manner: Manner {
            quoting: Quoting::User,
            globs: false,
            keeps: [Keeps::Mode, Keeps::Nothing],
            odd_name: ODD_ASCII_NAME,
            parting: Parting::Stays,
            patient: false,
        },
        cannot: &[NO_TREES],
    }
    .is_served();
}

// covers: peers 25
#[test]
fn ganymed_is_served() {
    Client {
        name: "Ganymed SSH-2",
        driver: |dir| {
            java(dir, "Ganymed", "ganymed-ssh2", |text| text).or_else(|| {
                // Up to build 250 it was the same as Trilead.
                let change = |text: String| text.replace("com.trilead.ssh2", "ch.ethz.ssh2");
                java(dir, "Trilead", "ganymed-ssh2", change)
            })
        },
        manner: Manner {
            quoting: Quoting::User,
            globs: false,
            keeps: [Keeps::Mode, Keeps::Nothing],
            odd_name: ODD_ASCII_NAME,
            parting: Parting::Stays,
            patient: false,
        },
        cannot: &[NO_TREES],
    }
    .is_served();
}

// covers: clients 2.3
#[test]
fn tmc_scp_of_go_is_served() {
    Client {
        name: "Go tmc/scp",
        driver: |dir| go(dir, "tmc"),
        manner: Manner {
            quoting: Quoting::Client,
            globs: false,
            keeps: [Keeps::Mode, Keeps::Nothing],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: false,
        },
        cannot: &[
            NO_TREES,
            (Case::Empty, Some(Way::Get), UPLOADS_ONLY),
            (Case::Small, Some(Way::Get), UPLOADS_ONLY),
            (Case::Large, Some(Way::Get), UPLOADS_ONLY),
            (Case::OddName, Some(Way::Get), UPLOADS_ONLY),
            (Case::Many, Some(Way::Get), UPLOADS_ONLY),
            (Case::WrongPath, Some(Way::Get), UPLOADS_ONLY),
        ],
    }
    .is_served();
}

/// It cuts contents off at packets, not at the size; what is in a packet is sshd's choice. OpenSSH's scp fares the same.
const TAKES_THE_STATUS: &str = "it stores the status byte with the contents when they come in one packet";

const UPLOADS_ONLY: &str = "it uploads only";

// covers: clients 2.3, clients 3.1, clients 3.7, clients 3.9
#[test]
fn a_go_client_that_does_not_wait_is_served() {
    Client {
        name: "Go, as go-scp",
        driver: |dir| go(dir, "eager"),
        manner: Manner {
            quoting: Quoting::Client,
            globs: false,
            keeps: [Keeps::Mode, Keeps::Nothing],
            odd_name: ODD_NAME,
            parting: Parting::Stays,
            patient: false,
        },
        cannot: &[NO_TREES],
    }
    .is_served();
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

fn script(interpreter: &str, name: &str) -> Option<Vec<OsString>> {
    let found = !interpreter.starts_with('/') || Path::new(interpreter).exists();
    found.then(|| vec![interpreter.into(), source(name).into()])
}

/// Debian's own Python, which is the one that Debian's modules are for; another one may come first in the path.
fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

/// Runs a compiler; nothing, and its words on stderr, if it does not come to an end that is good.
fn compiled(compiler: &str, prepare: impl FnOnce(&mut Command) -> &mut Command) -> Option<()> {
    let mut command = Command::new(compiler);
    match prepare(&mut command).output() {
        Ok(done) if done.status.success() => Some(()),
        Ok(done) => {
            println!("{}", String::from_utf8_lossy(&done.stderr));
            None
        }
        Err(error) => {
            println!("{compiler}: {error}");
            None
        }
    }
}

fn libssh(dir: &Path, words: &[&str]) -> Option<Vec<OsString>> {
    let program = dir.join("libssh");
    compiled("gcc", |gcc| gcc.arg("-o").arg(&program).arg(source("libssh.c")).arg("-lssh"))?;
    Some([program.into()].into_iter().chain(words.iter().map(OsString::from)).collect())
}

fn java(
    dir: &Path,
    class: &str,
    library: &str,
    change: impl FnOnce(String) -> String,
) -> Option<Vec<OsString>> {
    let file = format!("{class}.java");
    let text = change(fs::read_to_string(source(&file)).unwrap());
    fs::write(dir.join(&file), text).unwrap();
    let jar = format!("/usr/share/java/{library}.jar");
    compiled("javac", |javac| javac.args(["-cp", &jar, "-d"]).arg(dir).arg(dir.join(&file)))?;
    let path = format!("{}:{jar}", dir.display());
    // Short runs: no time is lost on optimising them.
    let words = ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", &path, class];
    Some(words.map(OsString::from).to_vec())
}

fn go(dir: &Path, style: &str) -> Option<Vec<OsString>> {
    let program = dir.join("scp");
    compiled("go", |go| {
        // Debian's packages are sources in a tree of the old kind.
        go.envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode"), ("GOFLAGS", "")])
            .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"))
            .args(["build", "-o"])
            .arg(&program)
            .arg(source("scp.go"))
    })?;
    Some(vec![program.into(), style.into()])
}
