//! An event as fields: the schema of the log, which docs/audit.md describes. Formats write fields, and know no events.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::event::Event;
use super::facts::{Session, Transfer};
use crate::attr::Mode;
use crate::policy::Pipeline;
use crate::refusal::{Cause, Refusal, Tally, Trail};
use crate::sandbox::Missing;

/// One value, and what it is called.
pub(super) struct Field<'a> {
    pub(super) key: &'static str,
    pub(super) value: Value<'a>,
}

/// A value, by who has chosen it.
pub(super) enum Value<'a> {
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(u64),
    /// A time that passed, in seconds.
    Seconds(Duration),
    /// Bytes that may be anything.
    Text(Cow<'a, [u8]>),
    /// A word of ours: letters, digits, commas.
    Word(Cow<'a, str>),
}

/// Returns the fields of an event: who, which way, by which rule; which event, what, and how it went.
pub(super) fn of<'a>(event: &'a Event<'_>, session: &'a Session) -> Vec<Field<'a>> {
    let mut fields = Fields(Vec::with_capacity(20));
    fields.word("session", session.id.as_str()).text("user", &session.user);
    if let Some((address, port)) = &session.from {
        fields.text("from", address);
        if let Some(port) = std::str::from_utf8(port).ok().and_then(|port| port.parse::<u16>().ok()) {
            fields.number("port", port.into());
        }
    }
    if let Some(key) = &session.key {
        fields.text("key", key.as_bytes());
    }
    fields.word("protocol", session.protocol);
    if let Some(direction) = session.direction {
        fields.word("direction", direction.word());
    }
    if let Some(rule) = &session.rule {
        fields.text("rule", rule.as_bytes());
    }
    fields.word("event", event.word()).describe(event, session);
    fields.0
}

struct Fields<'a>(Vec<Field<'a>>);

impl<'a> Fields<'a> {
    fn describe(&mut self, event: &'a Event<'_>, session: &Session) {
        match event {
            Event::Aborted(abort) => self.result("failed").reason(abort).last(session),
            Event::Began { request } => {
                self.text("request", *request).word("pipeline", pipeline(session.pipeline))
            }
            Event::Complained(text) => self.result("refused").text("reason", *text),
            Event::Defect(defect) => self.result("failed").reason(defect).last(session),
            Event::Ended(Tally { copied, refused }) => {
                let result = if *refused == 0 { "ok" } else { "partial" };
                self.result(result).number("copied", *copied).number("refused", *refused).last(session)
            }
            Event::Entered(what, _) => self.place(what).result("ok"),
            Event::HomeInside => self.reason(&"the root holds the home of the account"),
            Event::Incomplete(transfer, why) => self.transfer(transfer).result("failed").reason(why),
            Event::Refused(Refusal { what, why: Cause::Outside(errno) }) => {
                let reason = format!("outside the root ({errno:?})");
                self.text("path", what).result("refused").reason(&reason)
            }
            // The client was told that it is not there.
            Event::Refused(Refusal { what, why: Cause::Hidden }) => {
                self.text("path", what).result("refused").reason(&"hidden by a rule")
            }
            Event::Refused(Refusal { what, why }) | Event::Unset(Refusal { what, why }) => {
                self.text("path", what).result("refused").reason(why)
            }
            Event::Renamed { what, name } => self.text("path", what.as_bytes()).text("name", name.as_bytes()),
            Event::Rejected(why) => self.result("refused").reason(why),
            Event::Sent(transfer) | Event::Stored(transfer) => self.transfer(transfer).result("ok"),
            Event::Storage(text) => self.reason(text),
            Event::Unprotected(Missing { layer, why }) => {
                self.word("layer", *layer).result("missing").reason(why)
            }
        };
    }

    fn transfer(&mut self, transfer: &'a Transfer<'_>) -> &mut Self {
        let Transfer { what, passed, began, mode, replaced } = transfer;
        self.place(&what.trail()).number("bytes", passed.bytes).seconds("duration", began.elapsed());
        if let Some(mode) = mode {
            self.word("mode", octal(*mode));
        }
        if let Some(replaced) = replaced {
            self.push("replaced", Value::Flag(*replaced));
        }
        if let Some(sha256) = &passed.sha256 {
            self.word("sha256", hex(sha256));
        }
        self
    }

    /// Says where, as the client wrote it and from the root.
    fn place(&mut self, what: &Trail) -> &mut Self {
        self.text("path", what.as_bytes().to_vec());
        match what.inside() {
            Some([]) => self.text("inside", b"."),
            Some(inside) => self.text("inside", inside.to_vec()),
            None => self,
        }
    }

    /// Says what is only known when a session is over.
    fn last(&mut self, session: &Session) -> &mut Self {
        let layers = if session.layers.is_empty() { "none".to_owned() } else { session.layers.join(",") };
        self.number("bytes", session.bytes())
            .seconds("duration", session.began().elapsed())
            .word("pipeline", pipeline(session.pipeline))
            .word("layers", layers)
    }

    fn result(&mut self, result: &'static str) -> &mut Self {
        self.word("result", result)
    }

    fn reason(&mut self, why: &dyn fmt::Display) -> &mut Self {
        self.push("reason", Value::Text(why.to_string().into_bytes().into()))
    }

    fn number(&mut self, key: &'static str, number: u64) -> &mut Self {
        self.push(key, Value::Number(number))
    }

    fn seconds(&mut self, key: &'static str, time: Duration) -> &mut Self {
        self.push(key, Value::Seconds(time))
    }

    fn text(&mut self, key: &'static str, text: impl Into<Cow<'a, [u8]>>) -> &mut Self {
        self.push(key, Value::Text(text.into()))
    }

    fn word(&mut self, key: &'static str, word: impl Into<Cow<'a, str>>) -> &mut Self {
        self.push(key, Value::Word(word.into()))
    }

    fn push(&mut self, key: &'static str, value: Value<'a>) -> &mut Self {
        self.0.push(Field { key, value });
        self
    }
}

/// Writes bytes as two hexadecimal digits each.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn octal(mode: Mode) -> String {
    format!("{:04o}", mode.bits())
}

fn pipeline(pipeline: Pipeline) -> &'static str {
    match pipeline {
        Pipeline::Auto => "auto",
        Pipeline::Off => "off",
        Pipeline::On => "on",
    }
}
