//! Behaviour seen from outside, one module per subject.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "tests work on paths, and stop where something is not as it should be"
)]

// -- the harness --

/// The client's end of a session: says, hears, sees the end.
mod peer;
/// Which program is tested, and the ways to start it.
mod server;
/// What was skipped, and where OpenSSH does otherwise, written down for the end of the run.
mod tally;
/// A temporary root, what is in it, and canaries beside it.
mod yard;

// -- the scenarios --

/// Accounts that are not in /etc/passwd.
mod accounts;
/// What the log says: every field true, in every format, and with as many sessions as there are.
mod audit;
/// What clients send, byte for byte: those that cannot be run in a test are played here.
mod clients_replayed;
/// The request: as an argument vector, as `SSH_ORIGINAL_COMMAND`, after `-c`.
mod command_line;
/// A directory that is put in its place in one step.
mod commit_tree;
/// Many sessions at once, on the same names.
mod concurrency;
/// The configuration file: who wrote it, what counts, and what becomes of one that is wrong.
mod configuration;
/// A thousand transfers of a day, and what the log says of them.
mod day;
/// How long a client is waited for.
mod deadlines;
/// Records that are wrong in their form or in their place.
mod disorder;
/// What the manual and the README promise.
mod documents;
/// `scp -f`: files to the client, and what the client answers.
mod download;
/// A box that can only be put into, and tells nothing.
mod drop_box;
/// `--sync`: what is on the disk, in which order, before anybody is told.
mod durability;
/// What a session inherits: variables, streams, signals, and a root that may not be there.
mod environment;
/// The root: what leads out of it, and special files in it.
mod escape;
/// Every system call of an upload fails once, at every place.
mod faults;
/// The promise that no good file is lost, on file systems that there really are.
mod file_systems;
/// The program's rooms and what each may know: imports go down, never up, never in a circle.
mod floors;
/// Patterns, braces and `~` in the client's command line, which no shell has seen.
mod globs;
/// Clients that leave: at every byte, and with their ears first.
mod hangup;
/// What the old file and the directory hand on to a new one: modes, groups, access control lists, attributes.
mod inheritance;
/// Sessions killed at random moments.
mod kills;
/// How much a session may store and send.
mod limits;
/// The administrator's log: one line per event that nobody can forge, and no transfer that waits for it.
mod log;
/// What happens meanwhile: trees that change under a session, two sessions at once, signals, limits.
mod meanwhile;
/// Memory is flat: it does not grow with the number of files, nor with a size that somebody claims.
mod memory;
/// Permission bits and times: what is kept, what is never set.
mod modes_and_times;
/// Roots that need mounts of their own: the account's home in the root, other file systems in it.
mod mounts;
/// Defects of ours, injected.
mod panics;
/// Acknowledging ahead, played to the program.
mod pipeline;
/// Acknowledging ahead, explored exhaustively in a model of client, wire and sink.
mod pipeline_model;
/// What the administrator withholds, and options of the administrator's that change how files are stored.
mod policy;
/// What is on a disk in the moment when the power goes.
mod power_cuts;
/// What an administrator asks before anybody tries.
mod questions;
/// How fast contents may move.
mod rates;
/// Little memory, few descriptors, a clock that goes back, endless nesting.
mod resources;
/// What may be done where, as the configuration file says it.
mod rights;
/// How many sessions an account has at once.
mod seats;
/// Small files in directories that the session makes: the short way.
mod small_files;
/// Modes, times and groups that the administrator insists on.
mod storage;
/// Directories and what is in them, both ways.
mod trees;
/// `scp -t`: single files.
mod upload;

// -- the proof of the confinement --

/// What is planted in a root, and the paths that are asked for.
mod attacks;
/// How the program is started for the proof: its lookup faked, layers on or off, as whom.
mod cell;
/// The attacks on paths, in every cell.
mod confinement;
/// The layers of the sandbox: one that is missing, and what a session has when all are there.
mod layers;
/// Somebody exchanges directories and files for links outside, meanwhile.
mod races;
/// What an intruder in the program can do.
mod sandbox;
/// A real sshd with the recommended configuration, as it is in `packaging/`: what else a client asks of it.
mod sshd_attacks;
/// The attackers of the races, and their score.
mod swaps;
/// What the program asks of the kernel, as strace sees it.
mod traces;

// -- real programs --

/// Every client that can be had, through a real sshd.
mod interop;
/// The configurations that the README recommends.
mod recipes;
/// A real sshd and the stock client.
mod sshd;
