//! `check`: what is wrong in the configuration file and around it, and how to mend it.
//!
//! What a session refuses, it refuses in the same words here, because the same rooms read the file.

mod keys;
mod people;
mod places;
mod sections;
mod sshd;

use std::fmt;
use std::path::Path;

use crate::etc;
use crate::options::Check;
use crate::policy::{Origin, Section};

/// Something that is wrong, or likely to be.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Finding {
    weight: Weight,
    /// File, line and column, or what else it is about.
    place: String,
    what: String,
    mend: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Weight {
    /// Somebody is not served, or can do what is not meant.
    Error,
    /// It may be meant.
    Warning,
}

/// All that was found.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Tells whether there is no error; warnings may be meant.
    pub fn are_harmless(&self) -> bool {
        self.count(Weight::Error) == 0
    }

    fn count(&self, weight: Weight) -> usize {
        self.0.iter().filter(|finding| finding.weight == weight).count()
    }

    fn error(&mut self, place: impl fmt::Display, what: impl fmt::Display, mend: impl fmt::Display) {
        self.add(Weight::Error, place, what, mend);
    }

    fn warning(&mut self, place: impl fmt::Display, what: impl fmt::Display, mend: impl fmt::Display) {
        self.add(Weight::Warning, place, what, mend);
    }

    fn add(
        &mut self,
        weight: Weight,
        place: impl fmt::Display,
        what: impl fmt::Display,
        mend: impl fmt::Display,
    ) {
        let finding =
            Finding { weight, place: place.to_string(), what: what.to_string(), mend: mend.to_string() };
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { weight, place, what, mend } in &self.0 {
            let weight = match weight {
                Weight::Error => "error",
                Weight::Warning => "warning",
            };
            writeln!(f, "{weight}: {place}: {what}; {mend}")?;
        }
        let (errors, warnings) = (self.count(Weight::Error), self.count(Weight::Warning));
        writeln!(f, "errors: {errors}, warnings: {warnings}")
    }
}

/// Looks for what is wrong.
pub fn check(asked: &Check) -> Findings {
    let mut findings = Findings::default();
    let path = asked.file.as_deref().unwrap_or(Path::new(etc::DEFAULT));
    places::file(path, &mut findings);
    match etc::read(asked.file.as_deref(), &Section::default(), None) {
        Err(wrong) => {
            let mend = match wrong.at {
                Some(_) => "scp-server.toml(5) has the keys and their values; until then nobody is served",
                None => "until then nobody is served",
            };
            let place = match wrong.at {
                Some((line, column)) => format!("{}:{line}:{column}", wrong.file),
                None => wrong.file,
            };
            findings.error(place, wrong.why, mend);
        }
        Ok(config) => {
            for (pattern, files) in etc::includes(path) {
                if files.is_empty() {
                    let mend = "put a file there, or take it out of include";
                    let file = path.display().to_string().into();
                    let place = at(&Origin { file, line: 1 }, "include");
                    findings.warning(place, format_args!("no file is called {pattern}"), mend);
                }
                files.iter().for_each(|file| places::file(file, &mut findings));
            }
            let mut people = people::named(&config, &asked.user, &mut findings);
            sshd::ask(&mut people, asked.sshd_config.as_deref(), path, &mut findings);
            let cases = sections::look(&config, path, &people, &mut findings);
            sshd::look(&config, &people, &cases, &mut findings);
        }
    }
    findings
}

/// Returns file, line and column of a key of a section, or, where it is not found, of the section.
fn at(origin: &Origin, key: &str) -> String {
    let Some(text) = etc::text(Path::new(&*origin.file)) else { return origin.to_string() };
    let (line, column) = find(&text, origin.line, key);
    format!("{}:{line}:{column}", origin.file)
}

/// Finds a key in the section that begins in a line.
fn find(text: &str, section: usize, key: &str) -> (usize, usize) {
    let column =
        |line: &str| line.find(|letter: char| !letter.is_whitespace()).unwrap_or(0).saturating_add(1);
    let mut lines = (1..).zip(text.lines()).skip(section.saturating_sub(1)).peekable();
    let head = lines.peek().map_or(1, |&(_, line)| column(line));
    for (number, line) in lines {
        let written = line.trim_start();
        let ends = number > section && (written.starts_with("[[match]]") || written.starts_with("[default]"));
        if ends {
            break;
        }
        let is_here = written.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
        if is_here || written.starts_with(&format!("[[match.{key}]]")) {
            return (number, column(line));
        }
    }
    (section, head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_section_only() {
        let text = "include = []\n\n[[match]]\nroot-x = 1\n  root = '/a'\n\n [[match]]\nuser = 'b'\n\
                    [[match.path]]\npattern = 'x'\n[default]\nroot = '/b'\n";
        for (section, key, place) in [
            (1, "include", (1, 1)),
            (3, "root", (5, 3)),
            (3, "user", (3, 1)),
            (7, "root", (7, 2)),
            (7, "path", (9, 1)),
            (11, "root", (12, 1)),
            (99, "root", (99, 1)),
        ] {
            assert_eq!(find(text, section, key), place, "{section} {key}");
        }
    }
}
