//! What has passed of the contents under way: how much, and, where somebody wants to know, what it was.

use sha2::{Digest, Sha256};

/// What has passed of one file's contents.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Passed {
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256, if it is wanted.
    pub sha256: Option<[u8; 32]>,
}

/// Counts, and looks at, what passes.
#[derive(Default)]
pub(super) struct Meter {
    bytes: u64,
    sha256: Option<Sha256>,
}

impl Meter {
    /// From now on looks at contents, too.
    pub(super) fn look(&mut self) {
        self.sha256 = Some(Sha256::new());
    }

    /// Tells whether contents have to be seen, and cannot be moved unseen.
    pub(super) fn looks(&self) -> bool {
        self.sha256.is_some()
    }

    /// Begins with another file.
    pub(super) fn restart(&mut self) {
        self.bytes = 0;
        if let Some(sha256) = &mut self.sha256 {
            sha256.reset();
        }
    }

    /// Counts bytes that pass unseen, or are seen elsewhere.
    pub(super) fn count(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Sees bytes that pass.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    /// Returns what has passed.
    pub(super) fn passed(&self) -> Passed {
        Passed {
            bytes: self.bytes,
            sha256: self.sha256.as_ref().map(|sha256| sha256.clone().finalize().into()),
        }
    }
}
