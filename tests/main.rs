//! Behaviour seen from outside, one module per subject.

// A real sshd and the stock client.
mod sshd;

// Every client that can be had.
mod interop;
