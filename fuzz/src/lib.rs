//! What the fuzzer runs, one module per target: each takes bytes and stops where something is not as it should be.
//!
//! The same functions are run by `tests/corpus.rs` over the seeds and the regressions, without a fuzzer.

#![allow(
    clippy::disallowed_methods,
    reason = "made to stop where something is wrong, and to look at the tree by its paths"
)]

/// Bytes as the fuzzer writes them.
pub mod bytes;
/// The configuration file, against the TOML library.
pub mod config;
/// What is in the root when a session begins.
pub mod furniture;
/// How much memory this thread holds, and held at most.
pub mod memory;
/// A second reading of the protocol's records, naive and slow.
pub mod naive;
/// Shell patterns and braces, against a second matcher.
pub mod pattern;
/// Command lines: what is accepted holds only what is allowed.
pub mod request;
/// The whole sink, against a model of it.
pub mod sink;
/// The whole source, against a model of who receives.
pub mod source;
/// A tree in memory.
pub mod tree;
/// Records and complaints.
pub mod wire;
/// Quoting, against a second reading of it.
pub mod words;
/// A root with a canary beside it, and the two ends of the wire.
pub mod yard;
