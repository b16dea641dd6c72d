//! The administrator's files under /etc: read only if nobody else can have written them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::config::{self, Text, Wrong};
use crate::pattern::Pattern;
use crate::policy::{Account, Config, Section};
use crate::words::Letter;

/// The file that is read where the command line names none.
pub const DEFAULT: &str = "/etc/scp-server.toml";

/// The largest file: about ten thousand sections.
const SIZE: u64 = 1024 * 1024;

/// Bytes of it that are seen at a time: forty sections. The accounts were read with as many, so that the memory is touched.
const WINDOW: usize = 8 * 1024;

/// Returns the directory of the file that is read, whether the file is there or not.
pub fn directory(named: Option<&Path>) -> &Path {
    let parent = named.unwrap_or(Path::new(DEFAULT)).parent();
    parent.map_or(Path::new("/"), |parent| if parent == Path::new("") { Path::new(".") } else { parent })
}

/// Reads the file, and what it includes, if there is one; the one that the command line names has to be there. With an
/// account, sections that cannot be about it are left out.
///
/// # Errors
/// It is wrong, or others could have written it: then nobody is served.
pub fn read(named: Option<&Path>, line: &Section, account: Option<&Account>) -> Result<Config, Wrong> {
    let path = named.unwrap_or(Path::new(DEFAULT));
    let mut config = Config::of_line(line.clone());
    let file = match open(path) {
        Ok(file) => file,
        Err(Unread::Absent) if named.is_none() => return Ok(config),
        Err(unread) => return Err(wrong(path, &unread)),
    };
    let Text { include, matches, default } = read_file(path, file, account)?;
    for pattern in &include {
        for path in included(path, pattern)? {
            let file = open(&path).map_err(|unread| wrong(&path, &unread))?;
            let text = read_file(&path, file, account)?;
            if !text.include.is_empty() {
                return Err(refuse(&path, "an included file includes no other".into()));
            }
            config.matches.extend(text.matches);
            config.default.extend(text.default.map(|entry| *entry));
        }
    }
    config.matches.extend(matches);
    config.default.extend(default.map(|entry| *entry));
    Ok(config)
}

/// Reads the sections of a file.
fn read_file(path: &Path, mut file: File, account: Option<&Account>) -> Result<Text, Wrong> {
    let name = path.to_string_lossy();
    let unread = |error| wrong(path, &Unread::Failed(error));
    let mut limited = (&file).take(SIZE.saturating_add(1));
    let text = config::read_in_parts(&name, &mut limited, WINDOW, account).map_err(unread)?;
    // One that is too large was cut off.
    if let Some(text) = text.filter(|_| limited.limit() > 0) {
        return Ok(text);
    }
    file.rewind().map_err(unread)?;
    let text = read_whole(file).map_err(|unread| wrong(path, &unread))?;
    config::read(&name, &text, account)
}

/// Returns the patterns of `include`, each with the files that it stands for. Of a file that cannot be read there are none.
pub fn includes(path: &Path) -> Vec<(String, Vec<PathBuf>)> {
    let text = open(path).ok().and_then(|file| read_file(path, file, None).ok());
    let patterns = text.map(|text| text.include).unwrap_or_default();
    let found = |pattern: String| included(path, &pattern).ok().map(|files| (pattern, files));
    patterns.into_iter().filter_map(found).collect()
}

/// Returns the text of a file that a session would read.
pub fn text(path: &Path) -> Option<String> {
    open(path).and_then(read_whole).ok()
}

/// Why a file was not read.
enum Unread {
    Absent,
    Failed(io::Error),
    /// Others could have written it, or it is no file.
    Untrusted(&'static str),
}

fn wrong(path: &Path, unread: &Unread) -> Wrong {
    refuse(
        path,
        match unread {
            Unread::Absent => "there is no such file".into(),
            Unread::Failed(error) => error.to_string(),
            Unread::Untrusted(why) => (*why).into(),
        },
    )
}

fn refuse(path: &Path, why: String) -> Wrong {
    Wrong { file: path.display().to_string(), at: None, why }
}

#[expect(clippy::disallowed_methods, reason = "the administrator's path, not the client's")]
fn open(path: &Path) -> Result<File, Unread> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Unread::Absent,
        _ => Unread::Failed(error),
    })?;
    trust(&file)?;
    Ok(file)
}

fn read_whole(file: File) -> Result<String, Unread> {
    let mut text = String::new();
    file.take(SIZE.saturating_add(1)).read_to_string(&mut text).map_err(Unread::Failed)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > SIZE) {
        Err(Unread::Untrusted("it is larger than 1 MiB"))
    } else {
        Ok(text)
    }
}

/// Asks about the open file, so that it cannot be another one meanwhile.
fn trust(file: &File) -> Result<(), Unread> {
    let metadata = file.metadata().map_err(Unread::Failed)?;
    if !metadata.is_file() {
        return Err(Unread::Untrusted("it is no regular file"));
    }
    if metadata.uid() != 0 {
        return Err(Unread::Untrusted("it does not belong to root: chown root"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(Unread::Untrusted("others can write it: chmod go-w"));
    }
    Ok(())
}

/// Finds the files of a directory whose names match, in their alphabetical order.
#[expect(clippy::disallowed_methods, reason = "the administrator's path, not the client's")]
fn included(from: &Path, pattern: &str) -> Result<Vec<PathBuf>, Wrong> {
    let whole = from.parent().unwrap_or(Path::new("/")).join(pattern);
    let (Some(directory), Some(name)) = (whole.parent(), whole.file_name()) else {
        return Err(refuse(from, format!("this names no file to include: {pattern}")));
    };
    let letters: Vec<Letter> =
        name.as_encoded_bytes().iter().map(|&byte| Letter { byte, live: true }).collect();
    let Some(names) = Pattern::new(&letters) else { return Ok(vec![whole]) };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // As sshd: a pattern that matches nothing includes nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(refuse(directory, error.to_string())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| refuse(directory, error.to_string()))?.file_name();
        if names.matches(name.as_encoded_bytes()) {
            found.push(directory.join(name));
        }
    }
    found.sort();
    Ok(found)
}
