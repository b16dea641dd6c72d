//! When something holds: times of the week, a last day, and the zone that they are meant in.

use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use serde::{Deserialize, Deserializer};

use super::choice::parsed;
use crate::zones;

/// Days and times of the week: `Mon-Fri 08:00-18:00`, `22:00-06:00`, `Sat`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hours {
    days: Days,
    from: Time,
    to: Time,
}

impl Hours {
    /// Tells whether it is one of them. What goes past midnight belongs to the day on which it began.
    pub(super) fn hold(&self, now: &ZonedDateTime) -> bool {
        let (time, today) = (now.time(), now.weekday());
        let days = self.days;
        if self.from < self.to {
            return days.have(today) && self.from <= time && time < self.to;
        }
        days.have(today) && self.from <= time || days.have(today.previous()) && time < self.to
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
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        Self::first(text.trim_ascii()).filter(|(_, rest)| rest.is_empty()).map(|(hours, _)| hours)
    }

    /// Takes days, times or both from the beginning of a text.
    #[inline(never)] // Most sections have none, and who calls it needs the registers.
    pub(super) fn first(text: &[u8]) -> Option<(Self, &[u8])> {
        let (days, after) = match text.first() {
            Some(b'A'..=b'Z' | b'a'..=b'z') => Days::first(text)?,
            _ => (Days::ALL, text),
        };
        let times = after.trim_ascii_start();
        let are_apart = after.len() == text.len() || times.len() < after.len();
        match *times {
            [a, b, c, d, e, b'-', v, w, x, y, z, ref rest @ ..] if are_apart => {
                let (from, to) = (clock([a, b, c, d, e])?, clock([v, w, x, y, z])?);
                // Nothing begins at the end of a day.
                ((a, b) != (b'2', b'4')).then_some((Self { days, from, to }, rest))
            }
            _ => Some((Self { days, from: Time::midnight(), to: Time::midnight() }, after)),
        }
    }
}

/// Days of the week, a bit for each: Monday's is the lowest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Days(u8);

impl Days {
    const ALL: Self = Self(0b111_1111);

    /// Takes `Mon-Fri,Sun` from the beginning of a text.
    fn first(text: &[u8]) -> Option<(Self, &[u8])> {
        let (mut days, mut next) = (Self(0), text);
        loop {
            let (first, after) = day(next)?;
            let (last, after) = match after {
                [b'-', after @ ..] => day(after)?,
                _ => (first, after),
            };
            days.0 |= Self::between(first, last).0;
            match after {
                [b',', after @ ..] => next = after,
                _ => return Some((days, after)),
            }
        }
    }

    /// Returns those from one to another, which may be in the next week.
    fn between(first: Weekday, last: Weekday) -> Self {
        let before = |day| Self::of(day).0.wrapping_sub(1);
        let (from, up_to) = (!before(first), Self::of(last).0 | before(last));
        let is_of_one_week = first.to_monday_zero_offset() <= last.to_monday_zero_offset();
        Self(Self::ALL.0 & if is_of_one_week { from & up_to } else { from | up_to })
    }

    fn of(day: Weekday) -> Self {
        Self(1_u8.wrapping_shl(day.to_monday_zero_offset().unsigned_abs().into()))
    }

    fn have(self, day: Weekday) -> bool {
        self.0 & Self::of(day).0 != 0
    }
}

/// Takes `Mon` from the beginning of a text.
fn day(text: &[u8]) -> Option<(Weekday, &[u8])> {
    let (name, rest) = text.split_first_chunk()?;
    let day = match name {
        b"Mon" => Weekday::Monday,
        b"Tue" => Weekday::Tuesday,
        b"Wed" => Weekday::Wednesday,
        b"Thu" => Weekday::Thursday,
        b"Fri" => Weekday::Friday,
        b"Sat" => Weekday::Saturday,
        b"Sun" => Weekday::Sunday,
        _ => return None,
    };
    Some((day, rest))
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
    let are_digits = tens.is_ascii_digit() && ones.is_ascii_digit();
    let number = (tens & 0xf).wrapping_mul(10).wrapping_add(ones & 0xf);
    i8::try_from(number).ok().filter(|_| are_digits)
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
        zones::called(text).map(Self).ok_or_else(|| format!("no time zone of this system is called {text:?}"))
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
            ("Tue-Mon", "2026-11-24T00:00:00Z", true),
            ("Sun-Sun", "2026-11-28T00:00:00Z", false),
            (" Mon-Wed,Fri \t08:00-18:00 ", "2026-11-27T08:00:00Z", true),
            (" Mon-Wed,Fri \t08:00-18:00 ", "2026-11-26T08:00:00Z", false),
            ("", "2026-11-26T08:00:00Z", true),
            ("18:00-24:00", "2026-11-25T23:59:59Z", true),
        ] {
            let hours: Hours = hours.parse().unwrap();
            assert_eq!(hours.hold(&at(now).to_zoned_datetime(TimeZone::UTC)), hold, "{hours:?} {now}");
        }
        for wrong in [
            "8-18",
            "Mon-",
            "Mon,",
            "Mon 08:00",
            "Mon,08:00-18:00",
            "MonTue",
            "Mon08:00-18:00",
            "25:00-26:00",
            "24:01-24:00",
            "24:00-08:00",
            "0x:00-18:00",
            "mon 08:00-18:00",
            "08:00-18:00 Mon",
            "08:00-18:00-20:00",
            "Mon 08:00-18:00, 20:00-22:00",
        ] {
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
