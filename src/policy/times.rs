//! When something holds: times of the week, a last day, and the zone that they are meant in.

use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use serde::{Deserialize, Deserializer};

use super::choice::parsed;

/// Days and times of the week: `Mon-Fri 08:00-18:00`, `22:00-06:00`, `Sat`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hours {
    days: [bool; 7],
    from: Time,
    to: Time,
}

impl Hours {
    /// Tells whether it is one of them. What goes past midnight belongs to the day on which it began.
    pub(super) fn hold(&self, now: &ZonedDateTime) -> bool {
        let (time, today) = (now.time(), now.weekday());
        let on = |day: Weekday| self.days.get(index(day)).copied().unwrap_or_default();
        if self.from < self.to {
            return on(today) && self.from <= time && time < self.to;
        }
        on(today) && self.from <= time || on(today.previous()) && time < self.to
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("days and times are meant, such as Mon-Fri 08:00-18:00: {text:?}");
        Self::read(text.as_bytes()).ok_or_else(wrong)
    }
}

impl Hours {
    /// Reads a text; none if it does not fit.
    #[inline(never)] // Most sections have none, and who calls it needs the registers.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let (days, times) = match text.split_at_checked(end)? {
            (word @ [b'A'..=b'Z' | b'a'..=b'z', ..], times) => (days(word)?, times.trim_ascii_start()),
            _ => ([true; 7], text),
        };
        let (from, to) = match *times {
            [] => (Time::midnight(), Time::midnight()),
            [a, b, c, d, e, b'-', v, w, x, y, z] => (clock([a, b, c, d, e])?, clock([v, w, x, y, z])?),
            _ => return None,
        };
        Some(Self { days, from, to })
    }
}

/// Reads `Mon-Fri,Sun`.
fn days(word: &[u8]) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in word.split(|&byte| byte == b',') {
        let (first, last) = match *part {
            [a, b, c] => ([a, b, c], [a, b, c]),
            [a, b, c, b'-', x, y, z] => ([a, b, c], [x, y, z]),
            _ => return None,
        };
        let (first, last) = (day(first)?, day(last)?);
        for weekday in first.cycle_forward().take(7) {
            if let Some(on) = days.get_mut(index(weekday)) {
                *on = true;
            }
            if weekday == last {
                break;
            }
        }
    }
    Some(days)
}

fn index(day: Weekday) -> usize {
    usize::try_from(day.to_monday_zero_offset()).unwrap_or_default()
}

fn day(name: [u8; 3]) -> Option<Weekday> {
    Some(match &name {
        b"Mon" => Weekday::Monday,
        b"Tue" => Weekday::Tuesday,
        b"Wed" => Weekday::Wednesday,
        b"Thu" => Weekday::Thursday,
        b"Fri" => Weekday::Friday,
        b"Sat" => Weekday::Saturday,
        b"Sun" => Weekday::Sunday,
        _ => return None,
    })
}

/// Reads `08:00`; `24:00` is the midnight at the end of the day.
fn clock(text: [u8; 5]) -> Option<Time> {
    let [tens, ones, b':', ten_minutes, minutes] = text else { return None };
    match (two_digits(tens, ones)?, two_digits(ten_minutes, minutes)?) {
        (24, 0) => Some(Time::midnight()),
        (hour, minute) => Time::new(hour, minute, 0, 0).ok(),
    }
}

fn two_digits(tens: u8, ones: u8) -> Option<i8> {
    let digit = |byte: u8| i8::try_from(char::from(byte).to_digit(10)?).ok();
    digit(tens)?.checked_mul(10)?.checked_add(digit(ones)?)
}

/// The last day that a section holds, or the moment from which on it does not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expiry {
    /// Until the end of this day.
    Day(Date),
    /// Until this moment.
    Moment(Timestamp),
}

impl Expiry {
    pub(super) fn is_over(&self, now: Timestamp, zone: &TimeZone) -> bool {
        match self {
            Self::Day(last) => now.to_zoned_datetime(zone.clone()).date() > *last,
            Self::Moment(moment) => now >= *moment,
        }
    }
}

impl Expiry {
    /// Takes a day from the beginning of a text.
    #[inline(never)]
    pub(super) fn first(text: &[u8]) -> Option<&[u8]> {
        let (day, rest) = text.split_at_checked("2027-01-31".len())?;
        Self::day(day).map(|_| rest)
    }

    /// Reads a day; none if it is none, or a moment.
    pub(super) fn day(text: &[u8]) -> Option<Self> {
        let [a, b, c, d, b'-', e, f, b'-', g, h] = *text else { return None };
        let year = i16::from(two_digits(a, b)?).checked_mul(100)?.checked_add(two_digits(c, d)?.into())?;
        Date::new(year, two_digits(e, f)?, two_digits(g, h)?).ok().map(Self::Day)
    }
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::day(text.as_bytes()).or_else(|| text.parse().map(Self::Moment).ok()).ok_or_else(|| {
            format!("a day is meant, such as 2027-01-31, or a moment, such as 2027-01-31T18:00:00Z: {text:?}")
        })
    }
}

/// A time zone by its name: `Europe/Berlin`, `UTC`.
#[derive(Clone, Debug, Eq)]
pub struct Zone(pub(super) TimeZone);

impl PartialEq for Zone {
    /// Compares the names. The library would look up which ones mean the same, in a table of pointers that every start of the
    /// program would relocate.
    fn eq(&self, other: &Self) -> bool {
        self.0.iana_name() == other.0.iana_name()
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = TimeZone::get(text).map(Self);
        found.map_err(|_| format!("no time zone of this system is called {text:?}"))
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        parsed(source)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        parsed(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn hours_are_of_the_week_and_go_past_midnight() {
        for (hours, now, hold) in [
            ("Mon-Fri 08:00-18:00", "2026-11-25T08:00:00Z", true),
            ("Mon-Fri 08:00-18:00", "2026-11-25T18:00:00Z", false),
            ("Mon-Fri 08:00-18:00", "2026-11-28T12:00:00Z", false),
            ("22:00-06:00", "2026-11-25T23:00:00Z", true),
            ("22:00-06:00", "2026-11-25T05:59:59Z", true),
            ("22:00-06:00", "2026-11-25T06:00:00Z", false),
            // From Friday evening to Saturday morning.
            ("Fri 22:00-06:00", "2026-11-28T05:00:00Z", true),
            ("Fri 22:00-06:00", "2026-11-27T05:00:00Z", false),
            ("Sat-Mon,Wed", "2026-11-25T00:00:00Z", true),
            ("Sat-Mon", "2026-11-24T00:00:00Z", false),
            ("18:00-24:00", "2026-11-25T23:59:59Z", true),
        ] {
            let hours: Hours = hours.parse().unwrap();
            assert_eq!(hours.hold(&at(now).to_zoned_datetime(TimeZone::UTC)), hold, "{hours:?} {now}");
        }
        for wrong in ["8-18", "Mon-", "Mon 08:00", "25:00-26:00", "mon 08:00-18:00", "08:00-18:00 Mon"] {
            assert!(wrong.parse::<Hours>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn zones_are_the_same_if_their_names_are() {
        let zone = |name: &str| -> Zone { name.parse().unwrap() };
        assert_eq!(zone("Europe/Berlin"), zone("europe/berlin"));
        assert_ne!(zone("Europe/Berlin"), zone("Europe/Paris"));
        assert_eq!(zone("UTC"), zone("utc"));
    }
}
