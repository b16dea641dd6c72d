//! What one section of the file, or the command line, says: each key may be there or not.

use std::ffi::OsString;

use serde::{Deserialize, Deserializer};

use super::choice::{
    Audit, Bytes, Checksum, Destination, DotFiles, Format, Leave, Metadata, Octal, Pipeline, Rate,
    Replacement, Root, Sandbox, Several, Sync, Unit,
};
use super::glob::Glob;
use super::grant::{Collision, DropBox, Grant, Journal, Limits, Manners, Patience, Rights, Storage};
use super::network::Network;
use super::paths::PathRules;
use super::times::{Expiry, Hours, Zone};
use super::when::{Fingerprint, When};

/// Seconds that a record is waited for, unless somebody says otherwise.
const IDLE: u64 = 3600;

/// Seconds in which contents have to move on, unless somebody says otherwise.
const STALL: u64 = 900;

/// Writes the keys down once: the structs, what they are called in the file, and how a narrower word meets a wider one.
macro_rules! keys {
    (
        when { $($(#[$about:meta])* $condition:ident: $kind:ty,)* }
        section { $($(#[$doc:meta])* $key:ident: $type:ty => $narrow:ident,)* }
    ) => {
        /// What a section says of an account that it is about.
        #[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub struct Section {
            $($(#[$doc])* pub $key: Option<$type>,)*
        }

        /// A `[[match]]` as it is written: conditions, and what holds where they do.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub struct Match {
            $($(#[$about])* $condition: Option<$kind>,)*
            $($(#[$doc])* $key: Option<$type>,)*
        }

        /// A key of a `[[match]]`.
        #[derive(Clone, Copy, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[expect(non_camel_case_types, reason = "called as the fields are")]
        pub enum Keyword {
            $($condition,)*
            $($key,)*
        }

        impl Keyword {
            /// Reads a value as that of the key, for a section of which nothing is kept.
            pub(super) fn fits<'de, D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
                match self {
                    $(Self::$condition => <$kind>::deserialize(value).map(drop),)*
                    $(Self::$key => <$type>::deserialize(value).map(drop),)*
                }
            }
        }

        impl Match {
            /// Takes the conditions and what holds where they do apart.
            pub fn split(self) -> (When, Section) {
                let Self { $($condition,)* $($key,)* } = self;
                (When { $($condition,)* }, Section { $($key,)* })
            }
        }

        impl Section {
            /// Fills in from a later section what this one does not say.
            pub fn or(self, later: &Self) -> Self {
                Self { $($key: self.$key.or_else(|| later.$key.clone()),)* }
            }

            /// Lets `line` take away of what this section gives, and give nothing.
            pub fn narrowed_by(self, line: &Self) -> Self {
                Self { $($key: $narrow(self.$key, line.$key.clone()),)* }
            }
        }

        /// The keys of the file that are conditions, as identifiers.
        pub const CONDITIONS: &[&str] = &[$(stringify!($condition),)*];

        /// The keys of the file as identifiers, conditions first.
        pub const KEYS: &[&str] = &[$(stringify!($condition),)* $(stringify!($key),)*];
    };
}

keys! {
    when {
        /// Account names.
        user: Several<Glob>,
        /// Groups that the account is in.
        group: Several<Glob>,
        /// Fingerprints of keys.
        key: Several<Fingerprint>,
        /// Principals of certificates.
        principal: Several<Glob>,
        /// Networks that the client is in.
        from: Several<Network>,
        /// Times of the week.
        hours: Several<Hours>,
        /// The zone for times and dates.
        zone: Zone,
        /// The last day, or the moment from which on no more.
        expires: Expiry,
    }
    section {
        /// The directory that confines, its tokens not yet expanded.
        root: Root => apart,
        /// Downloads only.
        read_only: bool => either,
        /// Uploads only.
        write_only: bool => either,
        /// No file takes the place of another.
        no_overwrite: bool => either,
        /// No directories.
        no_recursion: bool => either,
        /// No `-p`.
        no_preserve: bool => either,
        /// Uploads that tell nothing of what is there.
        drop_box: bool => either,
        /// The box in the root, its tokens not yet expanded.
        drop_box_directory: String => first,
        /// Names that would become access or code may be stored.
        allow_start_up_files: bool => both,
        /// Set-id bits are kept with `-p`.
        allow_set_id: bool => both,
        /// Names may hold control characters.
        allow_control_characters: bool => both,
        /// Names that begin with a dot.
        dot_files: DotFiles => stricter,
        /// What names of stored files have to match, one of them.
        names: Several<Glob> => first,
        /// What may be done with which path.
        path: PathRules => first,
        /// The largest file that is stored.
        max_file_size: Bytes => smaller,
        /// Bytes that a session stores, and bytes that it sends.
        max_session_size: Bytes => smaller,
        /// Files that a session stores, and files that it sends.
        max_session_files: u64 => smaller,
        /// Directories in each other.
        max_depth: u64 => smaller,
        /// Sessions of the account at the same time.
        max_sessions: u64 => smaller,
        /// Bytes that are stored in a second.
        max_upload_rate: Rate => smaller,
        /// Bytes that are sent in a second.
        max_download_rate: Rate => smaller,
        /// Bytes that have to stay free.
        min_free_space: Bytes => stricter,
        /// Permission bits that are not given without `-p`.
        umask: Octal => all_bits,
        /// The mode of every file.
        file_mode: Octal => first,
        /// The mode of every directory.
        directory_mode: Octal => first,
        /// The group of every file and directory.
        force_group: String => first,
        /// The client's modes do not count.
        ignore_modes: bool => either,
        /// The client's times do not count.
        ignore_times: bool => either,
        /// How a file takes the place of another.
        atomic: Replacement => first,
        /// What gets its name in one step.
        commit: Unit => first,
        /// What it means that a mode or times cannot be set.
        metadata: Metadata => first,
        /// What is made durable before it is acknowledged.
        sync: Sync => first,
        /// Whether records are acknowledged ahead.
        pipeline: Pipeline => first,
        /// Seconds that a record is waited for; 0 for ever.
        idle_timeout: u64 => sooner_than_idle,
        /// Seconds in which contents have to move on; 0 for ever.
        stall_timeout: u64 => sooner_than_stall,
        /// Seconds for the whole session; 0 for ever.
        time_limit: u64 => sooner,
        /// What the kernel is to enforce.
        sandbox: Sandbox => stricter,
        /// Where the administrator's lines go.
        log: Destination => first,
        /// How an event is written.
        log_format: Format => first,
        /// What it means that it cannot be.
        audit: Audit => stricter,
        /// Which checksum of contents is logged.
        checksum: Checksum => stricter,
    }
}

impl Keyword {
    /// Returns which key it is.
    #[expect(clippy::as_conversions, reason = "the number that the compiler gives it")]
    pub(super) fn number(self) -> u32 {
        self as u32
    }
}

impl Section {
    /// Returns how soon records are acknowledged if nothing is said of it.
    fn pace(&self) -> Pipeline {
        // Without a root we are in the place of OpenSSH's scp, which does nothing early.
        let like_scp = self.root.is_none();
        // Here an acknowledgement is a promise.
        let promised = self.sync == Some(Sync::File) || self.audit == Some(Audit::Require);
        if like_scp || promised { Pipeline::Off } else { Pipeline::Auto }
    }

    /// Turns what is said, and the defaults for what is not, into a grant, but for places.
    pub fn grant(&self) -> Grant {
        let yes = |key: Option<bool>| key == Some(true);
        let bytes = |key: Option<Bytes>| key.map(|Bytes(bytes)| bytes);
        let rate = |key: Option<Rate>| key.map(|Rate(rate)| rate);
        let octal = |key: Option<Octal>| key.map(|Octal(bits)| bits);
        let some = |seconds: u64| (seconds > 0).then_some(seconds);
        let drop_box = yes(self.drop_box);
        let rights = Rights {
            fetching: Leave::unless(yes(self.write_only) || drop_box),
            storing: Leave::unless(yes(self.read_only)),
            collision: match (drop_box, yes(self.no_overwrite)) {
                (true, _) => Collision::Rename,
                (false, true) => Collision::Refuse,
                (false, false) => Collision::Replace,
            },
            recursion: Leave::unless(yes(self.no_recursion)),
            preserving: Leave::unless(yes(self.no_preserve)),
            start_up_files: Leave::only_if(yes(self.allow_start_up_files)),
            set_id: Leave::only_if(yes(self.allow_set_id)),
            control_characters: Leave::only_if(yes(self.allow_control_characters)),
            dot_files: self.dot_files.unwrap_or_default(),
            names: self.names.clone().map(|names| names.0).unwrap_or_default(),
            paths: self.path.clone().unwrap_or_default(),
            drop_box: drop_box.then(DropBox::default),
        };
        let limits = Limits {
            file_size: bytes(self.max_file_size),
            session_size: bytes(self.max_session_size),
            session_files: self.max_session_files,
            free_space: bytes(self.min_free_space),
            depth: self.max_depth,
            sessions: self.max_sessions,
            upload_rate: rate(self.max_upload_rate),
            download_rate: rate(self.max_download_rate),
        };
        let storage = Storage {
            umask: octal(self.umask),
            file_mode: octal(self.file_mode),
            directory_mode: octal(self.directory_mode),
            group: self.force_group.clone().map(OsString::from),
            group_id: None,
            modes: Leave::unless(yes(self.ignore_modes)),
            times: Leave::unless(yes(self.ignore_times) || yes(self.no_preserve)),
            replacement: self.atomic.unwrap_or_default(),
            sync: self.sync.unwrap_or_default(),
            unit: self.commit.unwrap_or_default(),
        };
        let patience = Patience {
            idle: some(self.idle_timeout.unwrap_or(IDLE)),
            stall: some(self.stall_timeout.unwrap_or(STALL)),
            total: self.time_limit.and_then(some),
        };
        let manners = Manners {
            pipeline: self.pipeline.unwrap_or_else(|| self.pace()),
            metadata: self.metadata.unwrap_or_default(),
        };
        Grant {
            rights,
            limits,
            storage,
            sandbox: self.sandbox.unwrap_or_default(),
            patience,
            manners,
            journal: Journal {
                destination: self.log.clone(),
                format: self.log_format.unwrap_or_default(),
                audit: self.audit.unwrap_or_default(),
                checksum: self.checksum.unwrap_or_default(),
            },
            ..Grant::default()
        }
    }
}

/// The file's word counts; where it has none, the line's.
fn first<T>(file: Option<T>, line: Option<T>) -> Option<T> {
    file.or(line)
}

/// Each is for itself: see `Terms`.
fn apart<T>(file: Option<T>, _: Option<T>) -> Option<T> {
    file
}

/// What takes away, takes away whoever says it.
fn either(file: Option<bool>, line: Option<bool>) -> Option<bool> {
    file.max(line)
}

/// What gives has to be said by the file; the line has no need to say it again.
fn both(file: Option<bool>, _: Option<bool>) -> Option<bool> {
    file
}

fn smaller<T: Ord>(file: Option<T>, line: Option<T>) -> Option<T> {
    match (file, line) {
        (Some(file), Some(line)) => Some(file.min(line)),
        (file, line) => file.or(line),
    }
}

/// Compared with what holds where the file says nothing.
fn stricter<T: Default + Ord>(file: Option<T>, line: Option<T>) -> Option<T> {
    match (file, line) {
        (Some(file), Some(line)) => Some(file.max(line)),
        (None, Some(line)) => Some(line.max(T::default())),
        (file, None) => file,
    }
}

fn all_bits(file: Option<Octal>, line: Option<Octal>) -> Option<Octal> {
    match (file, line) {
        (Some(file), Some(line)) => Some(Octal(file.0 | line.0)),
        (file, line) => file.or(line),
    }
}

/// Of two times, the one that ends first; 0 never ends.
fn sooner(file: Option<u64>, line: Option<u64>) -> Option<u64> {
    match (file, line) {
        (Some(0), line) => line,
        (file, Some(0)) => file,
        (file, line) => smaller(file, line),
    }
}

fn sooner_than_idle(file: Option<u64>, line: Option<u64>) -> Option<u64> {
    sooner(file.or(Some(IDLE)), line)
}

fn sooner_than_stall(file: Option<u64>, line: Option<u64>) -> Option<u64> {
    sooner(file.or(Some(STALL)), line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_early_where_nothing_is_promised_with_it() {
        for (text, pipeline) in [
            ("", Pipeline::Off),
            ("root = '/srv'", Pipeline::Auto),
            ("root = '/srv'\nsync = 'session'\naudit = 'try'", Pipeline::Auto),
            ("root = '/srv'\nsync = 'file'", Pipeline::Off),
            ("root = '/srv'\naudit = 'require'", Pipeline::Off),
            ("root = '/srv'\nsync = 'file'\npipeline = 'auto'", Pipeline::Auto),
            ("pipeline = 'on'", Pipeline::On),
        ] {
            let section: Section = toml::from_str(text).unwrap();
            assert_eq!(section.grant().manners.pipeline, pipeline, "{text}");
        }
    }

    #[test]
    fn the_line_takes_away_and_gives_nothing() {
        let file: Section = toml::from_str(
            "read-only = true\nmax-file-size = '2M'\nsandbox = 'require'\numask = '022'\nsync = 'file'",
        )
        .unwrap();
        let line: Section = toml::from_str(
            "read-only = false\nno-overwrite = true\nmax-file-size = '3M'\nmax-depth = 2\nsandbox = 'off'
             umask = '007'\nallow-start-up-files = true\nsync = 'none'\nidle-timeout = 7200\nstall-timeout = 60
             time-limit = 5",
        )
        .unwrap();
        let narrowed = file.narrowed_by(&line);
        let wanted: Section = toml::from_str(
            "read-only = true\nno-overwrite = true\nmax-file-size = '2M'\nmax-depth = 2\nsandbox = 'require'
             umask = '027'\nsync = 'file'\nidle-timeout = 3600\nstall-timeout = 60\ntime-limit = 5",
        )
        .unwrap();
        assert_eq!(narrowed, wanted);
        let off: Section = toml::from_str("sandbox = 'off'").unwrap();
        assert_eq!(Section::default().narrowed_by(&off).sandbox, Some(Sandbox::Try));
    }

    #[test]
    fn an_earlier_section_counts_more() {
        let first: Section = toml::from_str("read-only = false\nroot = '/a'").unwrap();
        let later: Section = toml::from_str("read-only = true\nroot = '/b'\numask = '077'").unwrap();
        let both = first.or(&later);
        assert_eq!(both.read_only, Some(false));
        assert_eq!(both.root, Some(Root("/a".into())));
        assert_eq!(both.umask, Some(Octal(0o077)));
    }
}
