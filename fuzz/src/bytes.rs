//! Bytes that stand in the input as they are, so that the fuzzer recognises them.

use std::fmt;

use arbitrary::{Arbitrary, Result, Unstructured};

/// A length in one byte, and as many bytes, or as many as there are.
#[derive(Clone)]
pub struct Bytes(pub Vec<u8>);

impl<'a> Arbitrary<'a> for Bytes {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let length = usize::from(u8::arbitrary(input)?).min(input.len());
        Ok(Self(input.bytes(length)?.to_vec()))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
