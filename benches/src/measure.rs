//! Measures scp-server against the machine's scp, in turn, and prints ratios.

mod least;
mod line;
mod peer;
mod plot;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use least::{Answers, Named};
use line::{Line, succeed};
use peer::{Cost, Script, play};

const SCP: &str = "/usr/bin/scp";

const USAGE: &str = "measure --program FILE [--quick] [--in DIR] [--on-disk DIR] [--only TEXT] [--csv FILE]
measure --plot CSV > SVG";

/// What is measured, and how thoroughly.
struct Plan {
    program: PathBuf,
    /// Where the work files are: in memory, so that no disk is measured.
    area: PathBuf,
    /// Where some of it is measured once more.
    disk: PathBuf,
    csv: Option<PathBuf>,
    /// Only rows with this text in their name.
    only: String,
    quick: bool,
}

/// A program that is measured, and how it is called in a directory.
struct Contender {
    name: &'static str,
    command: Box<dyn Fn(&Path) -> Command>,
}

/// Removes the work files.
struct Area(PathBuf);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let mut plan = Plan {
        program: PathBuf::new(),
        area: PathBuf::from("/dev/shm"),
        disk: std::env::temp_dir(),
        csv: None,
        only: String::new(),
        quick: false,
    };
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| io::Error::other(USAGE));
        match word.to_str() {
            Some("--program") => plan.program = value()?.into(),
            Some("--in") => plan.area = value()?.into(),
            Some("--on-disk") => plan.disk = value()?.into(),
            Some("--only") => plan.only = value()?.to_string_lossy().into_owned(),
            Some("--csv") => plan.csv = Some(value()?.into()),
            Some("--quick") => plan.quick = true,
            // Contenders of ours.
            Some("--least-source") => return least::source(Path::new(&value()?)),
            Some(way @ ("--least" | "--least-renaming")) => {
                let files: usize = value()?.to_str().and_then(|files| files.parse().ok()).unwrap_or(0);
                let named = if way == "--least" { Named::AtOnce } else { Named::WhenWhole };
                return least::sink(if files == 0 { Answers::InTurn } else { Answers::Ahead(files) }, named);
            }
            Some("--plot") => return plot::draw(&fs::read_to_string(value()?)?, &mut io::stdout().lock()),
            _ => return Err(io::Error::other(USAGE)),
        }
    }
    if plan.program.as_os_str().is_empty() {
        return Err(io::Error::other(USAGE));
    }
    println!("load before: {}", fs::read_to_string("/proc/loadavg")?.trim_end());
    let name = format!("scp-server-benches-{}", std::process::id());
    println!("\n| case | program | wall | cpu | peak memory | wall, ratio | cpu, ratio | memory, ratio |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    {
        let area = Area(plan.area.join(&name));
        plan.over_pipes(&area.0, "")?;
    }
    if !plan.quick {
        let area = Area(plan.disk.join(&name));
        plan.over_pipes(&area.0, ", on disk")?;
    }
    let area = Area(plan.area.join(&name));
    plan.over_a_line(&area.0)?;
    println!("\nload after: {}", fs::read_to_string("/proc/loadavg")?.trim_end());
    Ok(())
}

impl Plan {
    /// Everything that is measured over two pipes, at one place.
    fn over_pipes(&self, area: &Path, place: &str) -> io::Result<()> {
        let large: u64 = if self.quick { 128 << 20 } else { 512 << 20 };
        let files = if self.quick { 2_000 } else { 10_000 };
        let rounds = if self.quick { 3 } else { 11 };
        let on_disk = !place.is_empty();
        let (from, root) = (area.join("from"), area.join("root"));
        fs::create_dir_all(&from)?;
        fs::create_dir_all(&root)?;

        let name = format!("send one file of {} MiB{place}", large >> 20);
        if self.wants(&name) {
            write_large(&from.join("large"), large)?;
            let least = least("the least", "--least-source", "large")?;
            let contenders = [self.scp("-f large"), self.ours("ours", "", "-f large"), least];
            compare(&name, rounds, &contenders, &from, Script::Fetch, || Ok(()))?;
            fs::remove_file(from.join("large"))?;
        }
        let name = format!("receive one file of {} MiB{place}", large >> 20);
        if self.wants(&name) {
            let contenders = [self.scp("-t ."), self.ours("ours", "", "-t .")];
            let script = Script::StoreOne { size: large };
            compare(&name, rounds, &contenders, &root, script, || fs::remove_file(root.join("large")))?;
        }
        let name = format!("receive {files} files of 1 KiB{place}");
        let modes = ["--pipeline off", "--pipeline auto", "--pipeline on", "--pipeline on --commit tree"];
        let names = ["ours, off", "ours, auto", "ours, on", "ours, on, --commit tree"];
        let sinks = |flags: &str| {
            let ours = names.iter().zip(modes).map(|(name, mode)| self.ours(name, mode, flags));
            std::iter::once(self.scp(flags)).chain(ours).collect::<Vec<_>>()
        };
        if self.wants(&name) {
            let script = Script::StoreMany { files, size: 1024, times: false };
            let mut contenders = sinks("-r -t .");
            contenders.push(least("the least, lock-step", "--least", "0")?);
            let all = files.to_string();
            contenders.push(least("the least, ahead", "--least", &all)?);
            contenders.push(least("the least, ahead, renaming", "--least-renaming", &all)?);
            compare(&name, rounds, &contenders, &root, script, || fs::remove_dir_all(root.join("d")))?;
        }
        let name = format!("receive {files} files of 1 KiB with -p{place}");
        if self.wants(&name) && !on_disk {
            let script = Script::StoreMany { files, size: 1024, times: true };
            compare(&name, rounds, &sinks("-r -p -t ."), &root, script, || {
                fs::remove_dir_all(root.join("d"))
            })?;
        }
        let name = format!("send {files} files of 1 KiB{place}");
        if self.wants(&name) {
            write_many(&from.join("tree"), files)?;
            let least = least("the least", "--least-source", "tree")?;
            let contenders = [self.scp("-r -f tree"), self.ours("ours", "", "-r -f tree"), least];
            compare(&name, rounds, &contenders, &from, Script::Fetch, || Ok(()))?;
            fs::remove_dir_all(from.join("tree"))?;
        }
        self.promises(&root, place)?;
        let name = "start, confined and sandboxed, to the first reply";
        if self.wants(name) && !on_disk {
            let without = self.ours("ours, --sandbox off", "--sandbox off", "-t .");
            let contenders = [self.scp("-t ."), self.ours("ours", "", "-t ."), without];
            let rounds = if self.quick { 50 } else { 400 };
            compare(name, rounds, &contenders, &root, Script::Look, || Ok(()))?;
        }
        Ok(())
    }

    /// What it costs that no good file is lost, and that what is acknowledged is on the disk: files that are new, and the
    /// same once more in the place of those.
    fn promises(&self, root: &Path, place: &str) -> io::Result<()> {
        let files = if self.quick { 200 } else { 1_000 };
        let rounds = if self.quick { 1 } else { 7 };
        let mut here = self.ours("ours, --atomic off", "--atomic off", "-r -t .");
        let program = self.program.clone();
        here.command = Box::new(move |directory: &Path| {
            let mut command = Command::new(&program);
            command.args(["--atomic", "off", "--sandbox", "off", "-r", "-t", "."]).current_dir(directory);
            command
        });
        let contenders = [
            here,
            self.scp("-r -t ."),
            self.ours("ours", "--sandbox off", "-r -t ."),
            self.ours("ours, --commit tree", "--sandbox off --commit tree", "-r -t ."),
            self.ours("ours, --sync session", "--sandbox off --sync session", "-r -t ."),
            self.ours("ours, --sync file", "--sandbox off --sync file", "-r -t ."),
        ];
        let script = Script::StoreMany { files, size: 1024, times: false };
        let name = format!("promises: {files} new files of 1 KiB{place}");
        if self.wants(&name) {
            compare(&name, rounds, &contenders, root, script, || fs::remove_dir_all(root.join("d")))?;
        }
        let name = format!("promises: {files} files of 1 KiB in the place of others{place}");
        if self.wants(&name) {
            compare(&name, rounds, &contenders, root, script, || Ok(()))?;
            fs::remove_dir_all(root.join("d"))?;
        }
        Ok(())
    }

    /// What is measured through sshd, with the machine's own clients.
    fn over_a_line(&self, area: &Path) -> io::Result<()> {
        let (files, rounds) = if self.quick { (20, 1) } else { (100, 3) };
        let name = format!("upload {files} files of 1 KiB through sshd");
        if !self.wants(&name) {
            return Ok(());
        }
        let (from, root) = (area.join("from"), area.join("root"));
        fs::create_dir_all(&root)?;
        write_many(&from.join("d"), files)?;
        let ours = |mode: &str| {
            let (program, root) = (self.program.display(), root.display());
            format!("{program} --root {root} --pipeline {mode}")
        };
        let least =
            format!("cd {} && {} --least {files}", root.display(), std::env::current_exe()?.display());
        let forced = [("off", ours("off")), ("auto", ours("auto")), ("on", ours("on")), ("least", least)];
        let line = match Line::new(&area.join("sshd"), &forced) {
            Ok(line) => line,
            Err(error) => {
                println!("\nnot measured through sshd: {error}");
                return Ok(());
            }
        };
        let mut csv = String::from("rtt_ms,way,flags,files,seconds\n");
        let delays: &[u64] = if self.quick { &[10] } else { &[0, 2, 10, 25, 50] };
        // scp of the machine first: it is what the others are compared with.
        let ways = [
            ("OpenSSH scp", "plain", "-O"),
            ("off", "off", "-O"),
            ("auto", "auto", "-O"),
            ("on", "on", "-O"),
            ("the least", "least", "-O"),
            ("OpenSSH sftp", "plain", ""),
        ];
        println!(
            "\n| {name} | round trip | flags | wall | OpenSSH's scp is slower by | over an open connection | slower by |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        for &delay in delays {
            let flags: &[&str] = if delay == 25 || self.quick { &["-r", "-rp"] } else { &["-r"] };
            for &flags in flags {
                let mut took = vec![(Vec::new(), Vec::new()); ways.len()];
                for _ in 0..rounds {
                    for ((way, key, protocol), took) in ways.iter().zip(&mut took) {
                        let target = if *key == "plain" { root.display().to_string() } else { "/".into() };
                        let upload = |line: &Line| {
                            let mut client = line.client(SCP, key);
                            client.args([flags, *protocol].iter().filter(|word| !word.is_empty()));
                            client.arg(from.join("d")).arg(format!("127.0.0.1:{target}"));
                            client
                        };
                        line.takes(Duration::from_millis(delay));
                        let seconds = succeed(&mut upload(&line))?.as_secs_f64();
                        check(&from.join("d"), &root.join("d"))?;
                        fs::remove_dir_all(root.join("d"))?;
                        csv += &format!("{},{way},{flags},{files},{seconds:.4}\n", 2 * delay);
                        took.0.push(seconds);
                        if delay == 25 || self.quick {
                            let connection = line.connect(key)?;
                            let mut client = upload(&line);
                            connection.serves(&mut client);
                            // Options that come after the target would be names of files.
                            took.1.push(succeed(&mut reorder(client))?.as_secs_f64());
                            check(&from.join("d"), &root.join("d"))?;
                            fs::remove_dir_all(root.join("d"))?;
                        }
                    }
                }
                let reference = took[0].clone();
                for ((way, ..), (whole, open)) in ways.iter().zip(took) {
                    let open = if open.is_empty() {
                        "| |".to_owned()
                    } else {
                        format!("{:.2} s | {:.1} x |", median(&open), median(&ratios(&reference.1, &open)))
                    };
                    println!(
                        "| {way} | {} ms | {flags} | {:.2} s | {:.1} x | {open}",
                        2 * delay,
                        median(&whole),
                        median(&ratios(&reference.0, &whole)),
                    );
                }
            }
        }
        if let Some(path) = &self.csv {
            fs::write(path, csv)?;
        }
        Ok(())
    }

    fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    /// The machine's scp, which finds the files in its working directory.
    fn scp(&self, words: &str) -> Contender {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let command = move |directory: &Path| {
            let mut command = Command::new(SCP);
            command.args(&words).current_dir(directory);
            command
        };
        Contender { name: "scp", command: Box::new(command) }
    }

    /// Ours, which is confined to that directory.
    fn ours(&self, name: &'static str, options: &str, words: &str) -> Contender {
        let program = self.program.clone();
        let all: Vec<OsString> =
            options.split_whitespace().chain(words.split_whitespace()).map(OsString::from).collect();
        let command = move |directory: &Path| {
            let mut command = Command::new(&program);
            command.arg("--root").arg(directory).args(&all);
            command
        };
        Contender { name, command: Box::new(command) }
    }
}

/// This program as a server that keeps no promise: which, and what it answers ahead or sends.
fn least(name: &'static str, way: &'static str, what: &str) -> io::Result<Contender> {
    let (program, what) = (std::env::current_exe()?, what.to_owned());
    let command = move |directory: &Path| {
        let mut command = Command::new(&program);
        command.args([way, &what]).current_dir(directory);
        command
    };
    Ok(Contender { name, command: Box::new(command) })
}

impl Drop for Area {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Lets the contenders take turns, and prints their medians, and the medians of their ratios to the first one in the
/// same round. The first round warms up and does not count.
fn compare(
    name: &str,
    rounds: usize,
    contenders: &[Contender],
    directory: &Path,
    script: Script,
    clean: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        let mut turns: Vec<_> = contenders.iter().zip(&mut costs).collect();
        // Whoever comes next pays for what the machine has still to do for the one before: that is not always the same.
        turns.rotate_left(round % contenders.len());
        if round % 2 == 1 {
            turns.reverse();
        }
        for (contender, costs) in turns {
            // Least of all for what a disk has.
            Command::new("sync").arg("--file-system").arg(directory).status()?;
            let cost = play(&mut (contender.command)(directory), script)
                .map_err(|error| io::Error::other(format!("{name}, {}: {error}", contender.name)))?;
            clean()?;
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    let wall = |costs: &[Cost]| costs.iter().map(|cost| cost.wall.as_secs_f64()).collect::<Vec<_>>();
    let cpu = |costs: &[Cost]| costs.iter().map(|cost| cost.cpu.as_secs_f64()).collect::<Vec<_>>();
    let peak = |costs: &[Cost]| costs.iter().map(|cost| cost.peak as f64).collect::<Vec<_>>();
    let Some(first) = costs.first() else { return Ok(()) };
    for (contender, costs) in contenders.iter().zip(&costs) {
        println!(
            "| {name} | {} | {:.1} ms | {:.1} ms | {:.0} KiB | {:.2} | {:.2} | {:.2} |",
            contender.name,
            median(&wall(costs)) * 1e3,
            median(&cpu(costs)) * 1e3,
            median(&peak(costs)),
            median(&ratios(&wall(costs), &wall(first))),
            median(&ratios(&cpu(costs), &cpu(first))),
            median(&ratios(&peak(costs), &peak(first))),
        );
    }
    io::stdout().flush()
}

fn ratios(these: &[f64], those: &[f64]) -> Vec<f64> {
    these.iter().zip(those).map(|(this, that)| this / that).collect()
}

fn median(numbers: &[f64]) -> f64 {
    let mut numbers = numbers.to_vec();
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.as_slice() {
        [] => f64::NAN,
        sorted if sorted.len() % 2 == 1 => sorted[middle],
        sorted => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Puts the options before the names; `-o` was added last.
fn reorder(command: Command) -> Command {
    let words: Vec<OsString> = command.get_args().map(OsString::from).collect();
    let mut reordered = Command::new(command.get_program());
    reordered.args(&words[words.len() - 2..]).args(&words[..words.len() - 2]);
    reordered
}

fn write_large(path: &Path, size: u64) -> io::Result<()> {
    let piece = vec![b'x'; 1 << 20];
    let mut file = File::create(path)?;
    for _ in 0..size >> 20 {
        file.write_all(&piece)?;
    }
    Ok(())
}

fn write_many(directory: &Path, files: usize) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for number in 0..files {
        fs::write(directory.join(format!("file-{number:05}")), [b'x'; 1024])?;
    }
    Ok(())
}

/// Sees that all has arrived.
fn check(sent: &Path, stored: &Path) -> io::Result<()> {
    for entry in fs::read_dir(sent)? {
        let entry = entry?;
        if fs::read(entry.path())? != fs::read(stored.join(entry.file_name()))? {
            return Err(io::Error::other(format!("{} has not arrived", entry.path().display())));
        }
    }
    Ok(())
}
