//! Seccomp programs, made by the compiler: nothing is left to be done at start but to hand one over.
//!
//! What a program costs is its length, and the steps that a number takes: the kernel translates the one, and tries all
//! numbers when it gets a program (`seccomp_cache_prepare`), so that it need not run it for calls that are allowed
//! whatever their arguments. It knows only loads of number and architecture, comparisons and answers then, and nothing
//! else is used here.
//!
//! So the numbers are divided into stretches that mostly mean the same. Comparisons in a tree find the stretch, and in
//! it each number that means something else is compared for itself. That takes a third less than a tree down to the
//! single number.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "runs in the compiler alone, which stops where a number is out of range"
)]

use nix::libc;
use seccompiler::sock_filter;

/// A place in a program, counted from its end, where it is built from: jumps lead forward, to what is there already.
#[derive(Clone, Copy)]
pub(super) struct Place(usize);

/// The process is killed: only an intruder calls so.
pub(super) const DEADLY: Place = Place(1);
/// It fails, as if there were no such call.
pub(super) const UNKNOWN: Place = Place(2);
/// The call is made.
pub(super) const ALLOWED: Place = Place(3);

/// How many answers there are, at the end of every program.
const ANSWERS: usize = 3;

/// Numbers that have a place of their own; those beyond mean what the last one does.
const NUMBERS: usize = 512;

/// In a stretch so many numbers may mean something else: comparisons that a number takes at most, once it is found.
const EXCEPTIONS: usize = 6;

/// As far as a jump leads; no program comes near it.
const ROOM: usize = 256;

/// What becomes of a call, by its number.
pub(super) struct Calls([Place; NUMBERS]);

impl Calls {
    pub(super) const ALL_UNKNOWN: Self = Self([UNKNOWN; NUMBERS]);

    /// Lists calls that have none of the answers yet.
    pub(super) const fn mean(mut self, what: Place, calls: &[i64]) -> Self {
        let mut index = 0;
        while index < calls.len() && ARCHITECTURE.is_some() {
            let number = calls[index] as usize;
            // The last number stands for all beyond.
            assert!(
                number < NUMBERS - 1 && self.0[number].0 == UNKNOWN.0,
                "a number out of range, or listed twice"
            );
            self.0[number] = what;
            index += 1;
        }
        self
    }
}

/// A program, or the end of one.
pub(super) struct Program {
    steps: [sock_filter; ROOM],
    length: usize,
}

impl Program {
    /// The answers alone.
    pub(super) const EMPTY: Self = {
        let steps = [const { statement(ANSWER, libc::SECCOMP_RET_KILL_PROCESS) }; ROOM];
        let mut empty = Self { steps, length: 0 };
        empty.prepend(statement(ANSWER, libc::SECCOMP_RET_KILL_PROCESS));
        // ENOSYS and not EPERM: the C library knows what to do without a call.
        empty.prepend(statement(ANSWER, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32));
        empty.prepend(statement(ANSWER, libc::SECCOMP_RET_ALLOW));
        empty
    };

    /// Returns the instructions, unless the processor's numbers are unknown.
    pub(super) fn steps(&self) -> Option<&[sock_filter]> {
        ARCHITECTURE?;
        self.steps.get(ROOM.checked_sub(self.length)?..)
    }

    /// Adds what allows a call if none of the bits are set in an argument.
    pub(super) const fn without(&mut self, argument: u32, bits: i32) -> Place {
        self.compare(IF_ANY_BIT, bits as u32, UNKNOWN, ALLOWED);
        self.prepend(statement(LOAD, lower_half(argument)))
    }

    /// Adds what allows a call if the lower half of an argument, all that counts of it, is this.
    pub(super) const fn half(&mut self, argument: u32, half: u32) -> Place {
        self.compare(IF_EQUAL, half, ALLOWED, UNKNOWN);
        self.prepend(statement(LOAD, lower_half(argument)))
    }

    /// Adds what allows a call if an argument is a null pointer.
    pub(super) const fn null(&mut self, argument: u32) -> Place {
        self.compare(IF_EQUAL, 0, ALLOWED, UNKNOWN);
        let upper = self.prepend(statement(LOAD, lower_half(argument) + 4));
        self.compare(IF_EQUAL, 0, upper, UNKNOWN);
        self.prepend(statement(LOAD, lower_half(argument)))
    }

    /// Completes a program with the way from a call's number to its place.
    pub(super) const fn decide(mut self, calls: Calls) -> Self {
        let stretches = Stretches::fewest(&calls);
        self.grow(&calls, &stretches, 0, stretches.count);
        let native = self.prepend(statement(LOAD, NUMBER));
        // Another architecture's numbers mean other calls.
        let known = match ARCHITECTURE {
            Some(known) => known,
            None => 0,
        };
        self.compare(IF_EQUAL, known, native, DEADLY);
        self.prepend(statement(LOAD, PROCESSOR));
        self
    }

    /// Adds what tells numbers of these stretches apart, in as few steps as there can be for most of them.
    const fn grow(&mut self, calls: &Calls, stretches: &Stretches, from: usize, to: usize) -> Place {
        let (first, end) = (stretches.ends[from], stretches.ends[to]);
        if to - from == 1 {
            return self.pick(calls, first, end);
        }
        let mut middle = from + 1;
        while middle + 1 < to
            && stretches.unevenness(first, middle + 1, end) < stretches.unevenness(first, middle, end)
        {
            middle += 1;
        }
        let with = stretches.ends[middle] as u32;
        // What is met if the comparison fails stands right behind it: a jump less for the kernel to translate.
        let yes = self.grow(calls, stretches, middle, to);
        let no = self.grow(calls, stretches, from, middle);
        self.compare(IF_AT_LEAST, with, yes, no)
    }

    /// Adds what finds the numbers of one stretch that do not mean what most of it does.
    const fn pick(&mut self, calls: &Calls, first: usize, end: usize) -> Place {
        let mut tally = Tally::NONE;
        let mut number = first;
        while number < end {
            tally.count(calls.0[number]);
            number += 1;
        }
        let most = tally.most();
        assert!(end < NUMBERS || most.0 == UNKNOWN.0, "numbers beyond the last one would mean something");
        let mut next = most;
        while number > first {
            number -= 1;
            if calls.0[number].0 != most.0 {
                next = self.compare(IF_EQUAL, number as u32, calls.0[number], next);
            }
        }
        next
    }

    const fn compare(&mut self, code: u16, with: u32, yes: Place, no: Place) -> Place {
        let (jt, jf) = (self.distance(yes), self.distance(no));
        self.prepend(sock_filter { code, jt, jf, k: with })
    }

    /// A jump counts from the instruction behind it.
    const fn distance(&self, to: Place) -> u8 {
        let distance = self.length - to.0;
        assert!(distance < 256, "too far for a jump");
        distance as u8
    }

    const fn prepend(&mut self, step: sock_filter) -> Place {
        self.length += 1;
        self.steps[ROOM - self.length] = step;
        Place(self.length)
    }
}

/// The numbers in stretches, each from one end to the next.
struct Stretches {
    ends: [usize; NUMBERS + 1],
    count: usize,
}

impl Stretches {
    /// Divides the numbers so that the program is as short as it can be.
    const fn fewest(calls: &Calls) -> Self {
        // By where a stretch ends: the instructions up to there, and where the last stretch begins.
        let mut lengths = [0; NUMBERS + 1];
        let mut begins = [0; NUMBERS + 1];
        let mut end = 1;
        while end <= NUMBERS {
            lengths[end] = usize::MAX;
            let mut tally = Tally::NONE;
            let mut begin = end;
            while begin > 0 {
                begin -= 1;
                tally.count(calls.0[begin]);
                if tally.exceptions() > EXCEPTIONS {
                    break;
                }
                // One comparison finds the stretch, and one each exception in it.
                let length = lengths[begin] + 1 + tally.exceptions();
                if length < lengths[end] {
                    (lengths[end], begins[end]) = (length, begin);
                }
            }
            end += 1;
        }

        let mut count = 0;
        let mut end = NUMBERS;
        while end > 0 {
            end = begins[end];
            count += 1;
        }
        let mut ends = [NUMBERS; NUMBERS + 1];
        let mut index = count;
        while index > 0 {
            ends[index - 1] = begins[ends[index]];
            index -= 1;
        }
        Self { ends, count }
    }

    /// How far from its middle a border divides the numbers from one to another.
    const fn unevenness(&self, first: usize, border: usize, end: usize) -> usize {
        (first + end).abs_diff(self.ends[border] * 2)
    }
}

/// How often each answer is given in a stretch.
struct Tally {
    answers: [usize; ANSWERS],
    numbers: usize,
}

impl Tally {
    const NONE: Self = Self { answers: [0; ANSWERS], numbers: 0 };

    const fn count(&mut self, place: Place) {
        self.numbers += 1;
        // What depends on an argument is an exception wherever it stands.
        if place.0 <= ANSWERS {
            self.answers[place.0 - 1] += 1;
        }
    }

    const fn most(&self) -> Place {
        let mut most = 0;
        let mut answer = 0;
        while answer < ANSWERS {
            if self.answers[answer] > self.answers[most] {
                most = answer;
            }
            answer += 1;
        }
        Place(most + 1)
    }

    const fn exceptions(&self) -> usize {
        self.numbers - self.answers[self.most().0 - 1]
    }
}

/// Instructions, from linux/bpf_common.h: a word of the call's description is loaded, compared, and an answer given.
pub(super) const LOAD: u16 = 0x20;
pub(super) const ANSWER: u16 = 0x06;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_AT_LEAST: u16 = 0x35;
pub(super) const IF_ANY_BIT: u16 = 0x45;

/// Where things are in `struct seccomp_data`, from linux/seccomp.h.
pub(super) const NUMBER: u32 = 0;
pub(super) const PROCESSOR: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

/// This processor's number, from linux/audit.h. All of these are little-endian, which places of halves rely on.
pub(super) const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

const fn lower_half(argument: u32) -> u32 {
    ARGUMENTS + argument * 8
}

const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}
