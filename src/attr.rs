//! Attributes of a file that travel with it: permission bits and times.

use filetime::FileTime;

/// Permission, set-id and sticky bits: `0o0000` to `0o7777`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mode(u32);

impl Mode {
    /// The bits that a client may set without further leave: read, write, execute for user, group, others.
    pub const PERMISSIONS: u32 = 0o777;

    /// Takes the low twelve bits; clients send whole `st_mode`s (clients that print the raw mode: `C0100644`).
    pub const fn new(bits: u32) -> Self {
        Self(bits & 0o7777)
    }

    /// Returns the bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns the mode with only those bits that are also in `mask`.
    #[must_use]
    pub const fn only(self, mask: u32) -> Self {
        Self(self.0 & mask)
    }

    /// Returns the mode for a file that did not get the group it was meant for: what that was allowed is not for
    /// another one, which gets no more than everybody.
    #[must_use]
    pub const fn for_another_group(self) -> Self {
        self.only(!0o070 | self.0 << 3)
    }

    /// Returns the mode with the bits of `more` set as well.
    #[must_use]
    pub const fn with(self, more: u32) -> Self {
        Self::new(self.0 | more)
    }
}

/// When the contents were last modified and last read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Times {
    /// Last change of the contents.
    pub modified: FileTime,
    /// Last access.
    pub accessed: FileTime,
}
