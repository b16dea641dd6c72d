//! How fast contents may move: a bucket of time, in which nothing is saved up for long.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::contents::{MOVED, to_u64};

/// What a pause, or a client that was slow for a while, may leave to be made up for.
const CREDIT: Duration = Duration::from_millis(100);

/// Pieces in a second: none is so large that the pauses between them would be noticed.
const PIECES: u64 = 16;

/// Bytes in a second, and when the next ones may move.
pub(super) struct Pace {
    rate: NonZeroU64,
    /// When all that has moved would have moved at the rate.
    paid: Instant,
}

impl Pace {
    pub(super) fn new(rate: NonZeroU64, now: Instant) -> Self {
        Self { rate, paid: now }
    }

    /// Returns when the next piece may move.
    pub(super) fn turn(&self) -> Instant {
        self.paid
    }

    /// Returns how much of the `left` bytes moves in one piece.
    pub(super) fn piece(&self, left: u64) -> u64 {
        left.min(self.rate.get().div_ceil(PIECES)).min(to_u64(MOVED))
    }

    /// Counts what has moved.
    pub(super) fn count(&mut self, bytes: u64, now: Instant) {
        let from = now.checked_sub(CREDIT).map_or(self.paid, |oldest| self.paid.max(oldest));
        let nanoseconds = bytes.saturating_mul(1_000_000_000).div_ceil(self.rate.get());
        self.paid = from.checked_add(Duration::from_nanos(nanoseconds)).unwrap_or(from);
    }
}

#[cfg(test)]
#[expect(clippy::as_conversions, clippy::arithmetic_side_effects, reason = "tests reckon in fractions")]
mod tests {
    use super::*;

    /// Moves contents for `length`, each piece `late` behind its turn, and returns how much has moved at each moment.
    fn moved(rate: u64, length: Duration, late: impl Fn(u64) -> Duration) -> Vec<(Duration, u64)> {
        let begin = Instant::now();
        let mut pace = Pace::new(NonZeroU64::new(rate).unwrap(), begin);
        let (mut now, mut moments) = (begin, Vec::new());
        while now - begin < length {
            now = now.max(pace.turn()) + late(moments.len() as u64);
            let piece = pace.piece(u64::MAX);
            pace.count(piece, now);
            moments.push((now - begin, piece));
        }
        moments
    }

    #[test]
    fn in_no_span_of_time_does_more_move_than_the_rate_and_a_little() {
        for rate in [1, 7, 1000, 4096, 1_000_000, 300_000_000, 1 << 40] {
            let length =
                if rate > 100_000_000 { Duration::from_millis(200) } else { Duration::from_secs(10) };
            for late in [0, 1, 3, 50] {
                // Late now and then, and at one place so late that something is saved up.
                let late = |number: u64| match number {
                    7 => Duration::from_secs(2),
                    number if number % 3 == 0 => Duration::from_millis(late),
                    _ => Duration::ZERO,
                };
                let moments = moved(rate, length + Duration::from_secs(2), late);
                let piece = moments[0].1;
                for first in [0, 1, 5, 8, moments.len() / 2] {
                    let mut sum = 0;
                    for (at, bytes) in moments.iter().skip(first) {
                        sum += bytes;
                        let span = (*at - moments[first].0 + CREDIT).as_secs_f64();
                        let most = span * rate as f64 + 2.0 * piece as f64;
                        assert!(sum as f64 <= most, "{sum} in {span} s at {rate}");
                    }
                }
            }
        }
    }

    #[test]
    fn who_is_always_ready_has_all_of_the_rate() {
        for rate in [7, 1000, 1_000_000, 50_000_000] {
            // A poll wakes up to a millisecond late.
            let moments = moved(rate, Duration::from_secs(10), |number| Duration::from_micros(number % 1000));
            let sum: u64 = moments.iter().map(|(_, bytes)| bytes).sum();
            let part = sum as f64 / (10.0 * rate as f64);
            assert!((0.98..1.05).contains(&part), "{part} of {rate}");
        }
    }

    #[test]
    fn a_piece_is_a_fraction_of_a_second_and_at_least_a_byte() {
        let piece = |rate, left| Pace::new(NonZeroU64::new(rate).unwrap(), Instant::now()).piece(left);
        for (rate, left, wanted) in [
            (1, 5, 1),
            (16, 5, 1),
            (17, 5, 2),
            (1600, 1000, 100),
            (1600, 10, 10),
            (u64::MAX, u64::MAX, 1024 * 1024),
        ] {
            assert_eq!(piece(rate, left), wanted, "{rate} {left}");
        }
    }
}
