//! `check`: what is wrong in the configuration file and around it, and how to mend it.
//!
//! What a session refuses, it refuses in the same words here, because the same rooms read the file.

mod places;
mod sections;
mod sshd;

use std::fmt;
use std::path::Path;

use crate::etc;
use crate::options::Check;
use crate::policy::Section;

/// Something that is wrong, or likely to be.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Finding {
    weight: Weight,
    /// The file and the line, or what else it is about.
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
    match etc::read(Some(path), &Section::default(), |_| true) {
        Err(wrong) => {
            let mend = match wrong.at {
                Some(_) => "scp-server.toml(5) has the keys and their values; until then nobody is served",
                None => "until then nobody is served",
            };
            findings.error(&wrong.file, place_in_words(&wrong), mend);
        }
        Ok(config) => {
            for pattern in etc::without_a_file(path) {
                let mend = "put a file there, or take it out of include";
                findings.warning(path.display(), format_args!("no file is called {pattern}"), mend);
            }
            sections::look(&config, path, &mut findings);
            sshd::look(&config, asked.sshd_config.as_deref(), &mut findings);
        }
    }
    findings
}

fn place_in_words(wrong: &crate::config::Wrong) -> String {
    match wrong.at {
        Some((line, column)) => format!("line {line}, column {column}: {}", wrong.why),
        None => wrong.why.clone(),
    }
}
