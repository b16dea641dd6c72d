//! Behaviour seen from outside, one module per subject.
