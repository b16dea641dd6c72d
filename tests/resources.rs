//! Little memory, few descriptors, a clock that goes back, endless nesting: refused in step, or served all the same.

use std::fs;

use crate::cell;
use crate::cell::that_loads_libraries;
use crate::sandbox::intruder;
use crate::server::Server;
use crate::yard::Yard;

/// What the sink makes of directories in directories.
const DEPTH: usize = 256;

// covers: security RES-01
#[test]
fn ten_thousand_directories_in_one_another_get_ten_thousand_answers_and_no_more_memory() {
    let Some(yard) = Yard::confined() else { return };
    let mut peer = Server::of(&yard).sink("-r", ".");
    peer.hears_ok().says_record("D0755 0 d").hears_ok();
    let before = peer.peak_memory();
    let mut made = 1;
    for _ in 1..10_000 {
        peer.says_record("D0755 0 d");
        if peer.hears_whether_ok() {
            made += 1;
        } else {
            assert!(peer.hears_refusal().contains("deep"), "after {made}");
        }
    }
    assert_eq!(made, DEPTH);
    let after = peer.peak_memory();
    assert!(after <= before + 1000, "{before} KiB for one directory, {after} KiB for ten thousand");
    // What comes then is still in the deepest one.
    peer.stores("C0644 1 f", "1").hangs_up();
    peer.hears_that("protocol error: the connection ended in the middle").sees_exit(1);
    assert_eq!(yard.listing().len(), DEPTH + 1);
    assert!(yard.path("d/".repeat(DEPTH) + "f").exists());
}

// covers: security RES-02
#[test]
fn with_few_descriptors_a_deep_tree_is_refused_in_step_and_a_flat_one_is_served() {
    let Some(yard) = Yard::confined() else { return };
    for sandbox in ["require", "off"] {
        if sandbox == "require" && !cell::kernel_has_all_layers() {
            continue;
        }
        let few = |limit: &str| Server::of(&yard).after(limit).option("--sandbox").option(sandbox);
        let limit = "ulimit -n 16";
        let mut peer = few(limit).sink("-r", ".");
        peer.hears_ok();
        let mut depth = 0;
        let heard = loop {
            peer.says_record("D0755 0 d");
            match peer.hears_whether_ok() {
                true => depth += 1,
                false => break peer.hears_refusal(),
            }
            assert!(depth < 20, "sixteen descriptors were enough");
        };
        assert!(heard.ends_with("Too many open files") && depth >= 2, "after {depth}: {heard}");
        // Its own contents are refused as well, or land beside it: whatever it is, it is one answer each.
        for record in ["C0644 1 f", "C0644 1 g"] {
            peer.says_record(record);
            if peer.hears_whether_ok() {
                peer.says("1\0");
                if peer.hears_whether_ok() {
                    continue;
                }
            }
            assert!(peer.hears_refusal().ends_with("Too many open files"));
        }
        peer.says("E\n".repeat(depth)).hears_oks(depth).stores("C0644 1 top", "1").hangs_up().sees_exit(1);
        yard.has("top", "1");

        fs::remove_dir_all(yard.path("d")).unwrap();
        let deep = yard.path("d/".repeat(20));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f"), "1").unwrap();
        let mut peer = few(limit).source("-r", ["d", "top"]);
        let heard = peer.says([0; 100]).hears_the_rest();
        peer.sees_exit(1);
        let heard = heard.escape_ascii().to_string();
        let levels = heard.matches("D0755 0 d\\n").count();
        assert_eq!(heard.matches("E\\n").count(), levels, "{heard}");
        assert!(levels >= 2 && heard.contains("Too many open files\\n"), "{heard}");
        assert!(heard.ends_with("C0644 1 top\\n1\\x00"), "{heard}");
        fs::remove_dir_all(yard.path("d")).unwrap();

        // With one too few for anything, it is an end and not a hang.
        for limit in ["ulimit -n 3", "ulimit -n 4", "ulimit -n 5", "ulimit -n 6", "ulimit -n 7"] {
            for flags in ["-t", "-f"] {
                let mut peer = few(limit).runs([flags, "top"]);
                peer.says([0; 9]).hangs_up().hears_the_rest();
                peer.sees_stderr();
                peer.sees_any_end();
            }
        }
        yard.has("top", "1");
    }
}

// covers: security RES-08
#[test]
fn in_sixty_four_megabytes_of_address_space_everything_is_served() {
    let Some(yard) = Yard::confined() else { return };
    let little = || Server::of(&yard).after("ulimit -v 65536");
    let large = vec![b'x'; 5_000_000];
    let mut peer = little().sink("-r -p", ".");
    peer.hears_ok().stores("C0644 5000000 large", &large);
    for level in 0..100 {
        peer.says_record(format!("D0755 0 d{level}")).hears_ok().stores("C0644 1 f", "1");
    }
    peer.says("E\n".repeat(100)).hears_oks(100).hangs_up().sees_exit(0);
    let mut peer = little().source("-r -p", ["large", "d0"]);
    let heard = peer.says(vec![0; 1000]).hears_the_rest();
    peer.sees_exit(0);
    assert!(heard.len() > 5_000_000 && heard.ends_with(b"E\n"));
    for number in 0..3000 {
        yard.hard_link(yard.path("d0/f"), format!("n{number}"));
    }
    let mut peer = little().asks("scp -f n*");
    let heard = peer.says(vec![0; 10_000]).hears_the_rest();
    peer.sees_exit(0);
    assert_eq!(heard.windows(6).filter(|part| *part == b"C0644 ").count(), 3000);
    // A claim or a line takes no more than it is.
    let mut peer = little().sink("", ".");
    peer.hears_ok().says([b'C'; 1_000_000]).hears_refusal();
    peer.sees_exit(1);
}

// covers: security RES-11
#[test]
fn a_clock_that_goes_back_cuts_nobody_off_and_keeps_nobody_waiting() {
    let Some(yard) = Yard::confined() else { return };
    let (Some(library), Some(program)) = (intruder(), that_loads_libraries()) else { return };
    let log = yard.home().join("log");
    let server = || {
        let server =
            Server::of(&yard).option("--idle-timeout").option("1").option("--stall-timeout").option("1");
        let server = server.built_as(program.clone()).option("--log").option(&log);
        server.variable("LD_PRELOAD", &library).variable("INTRUDER_CLOCK", "back")
    };
    let mut peer = server().sink("", ".");
    peer.hears_ok();
    for name in ["a", "b", "c"] {
        std::thread::sleep(std::time::Duration::from_millis(400));
        peer.stores(format!("C0644 1 {name}"), "1");
    }
    // And then nothing more: within the peer's deadline the session is over.
    peer.sees_exit(1);
    server().source("", ["a"]).sees_exit(1);
    // The control: it did go back, years at a time.
    let log = fs::read_to_string(&log).unwrap();
    let years: Vec<&str> = log.lines().map(|line| line.split('-').next().unwrap()).collect();
    assert!(years.len() >= 5 && years.windows(2).any(|pair| pair[1] < pair[0]), "{log}");
}
