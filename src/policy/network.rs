//! Where clients are: addresses and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An address or a network: `192.0.2.7`, `2001:db8::/32`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Network(IpNet);

impl Network {
    /// Reads a text; none if it does not fit.
    #[inline(never)] // Most sections have none, and who calls it needs the registers.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        plain(text).or_else(|| any(str::from_utf8(text).ok()?).ok()).map(Self)
    }

    /// Tells whether an address is in it.
    pub(super) fn holds(&self, address: IpAddr) -> bool {
        // An IPv4 client of a socket that listens to IPv6 as well.
        self.0.contains(&address.to_canonical())
    }

    /// Tells whether the other one is a part of it.
    pub(super) fn includes(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        any(text).map(Self)
    }
}

/// Reads every form, and knows what is wrong.
fn any(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("an address is meant, or a network such as 192.0.2.0/24: {text:?}");
    if !text.contains('/')
        && let Ok(address) = text.parse::<IpAddr>()
    {
        return Ok(address.into());
    }
    let network: IpNet = text.parse().map_err(|_| wrong())?;
    if network.addr() != network.network() {
        return Err(format!("bits are set behind the mask: {text}; {} is meant?", network.trunc()));
    }
    Ok(network)
}

/// Reads the forms that nearly all have, if they are right: a session reads all of a file before its first reply.
fn plain(text: &[u8]) -> Option<IpNet> {
    ipv4(text).map(IpNet::V4).or_else(|| ipv6(text).map(IpNet::V6))
}

/// Reads `192.0.2.0/24`, or `192.0.2.7`.
fn ipv4(text: &[u8]) -> Option<Ipv4Net> {
    let (first, rest) = octet(text, b'.')?;
    let (second, rest) = octet(rest, b'.')?;
    let (third, rest) = octet(rest, b'.')?;
    let (fourth, length) = match octet(rest, b'/') {
        Some((fourth, rest)) => (fourth, number(rest)?),
        None => (number(rest)?, 32),
    };
    let address = Ipv4Addr::new(first, second, third, fourth);
    let behind = address.to_bits().checked_shl(length.into()).unwrap_or_default();
    Ipv4Net::new(address, length).ok().filter(|_| behind == 0)
}

/// Reads `2001:db8::/32`, with up to six groups before the colons.
fn ipv6(text: &[u8]) -> Option<Ipv6Net> {
    let (mut bits, mut rest) = (0_u128, text);
    for groups in 1..=6_u32 {
        let (group, after) = hexadecimal(rest)?;
        bits = bits << 16 | u128::from(group);
        match after {
            [b':', b':', b'/', after @ ..] => {
                let bits = bits.wrapping_shl(groups.wrapping_mul(16).wrapping_neg());
                let length = number(after)?;
                let behind = bits.checked_shl(length.into()).unwrap_or_default();
                return Ipv6Net::new(Ipv6Addr::from_bits(bits), length).ok().filter(|_| behind == 0);
            }
            [b':', after @ ..] => rest = after,
            _ => return None,
        }
    }
    None
}

/// Takes a number from the beginning, and what has to follow it.
fn octet(text: &[u8], follows: u8) -> Option<(u8, &[u8])> {
    match text {
        [a, end, rest @ ..] if *end == follows => Some((number(&[*a])?, rest)),
        [a, b, end, rest @ ..] if *end == follows => Some((number(&[*a, *b])?, rest)),
        [a, b, c, end, rest @ ..] if *end == follows => Some((number(&[*a, *b, *c])?, rest)),
        _ => None,
    }
}

/// Reads a decimal number, without zeros before it.
#[inline(always)] // As it is nearly always known how many digits there are.
fn number(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| Some(byte.wrapping_sub(b'0')).filter(|&digit| digit < 10);
    match *text {
        [a] => digit(a),
        [a @ b'1'..=b'9', b] => Some(digit(a)?.wrapping_mul(10).wrapping_add(digit(b)?)),
        [a @ b'1'..=b'2', b, c] => {
            let tens = digit(a)?.wrapping_mul(10).wrapping_add(digit(b)?);
            tens.checked_mul(10)?.checked_add(digit(c)?)
        }
        _ => None,
    }
}

/// Takes a group of one to four digits from the beginning.
fn hexadecimal(text: &[u8]) -> Option<(u16, &[u8])> {
    let (mut number, mut rest) = (0_u16, text);
    while let [byte, after @ ..] = rest {
        let digit = match byte {
            b'0'..=b'9' => byte & 0xf,
            b'a'..=b'f' | b'A'..=b'F' => (byte & 7).wrapping_add(9),
            _ => break,
        };
        (number, rest) = (number << 4 | u16::from(digit), after);
    }
    let count = text.len().saturating_sub(rest.len());
    (1..=4).contains(&count).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_the_short_way_is_what_is_read_the_long_way() {
        let parts = [
            "0", "00", "1", "01", "9", "10", "010", "99", "100", "192", "255", "256", "299", "300", "1000",
            "", "-1", "+1", "a", "db8", "2001", "ffff", "FFFF", "12345", "00001", "g", ".", ":", "::", "/",
            "/0", "/8", "/24", "/32", "/33", "/032", "/48", "/128", "/129", "/256", " ",
        ];
        // Of Marsaglia's xorshift: the same numbers each time.
        let mut state = 0x5eed_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % 1_000_003).unwrap() % below
        };
        let (mut short, mut wrong) = (0, 0);
        for round in 0..400_000 {
            let (between, count) = if round % 2 == 0 { (".", 4) } else { (":", 1 + random(8)) };
            let mut text = String::new();
            for number in 0..count {
                text.push_str(if number > 0 { between } else { "" });
                // Mostly what can be right.
                let among = if random(8) > 0 { [15, 30][round % 2] } else { parts.len() };
                text.push_str(parts[random(among)]);
            }
            text.push_str(["", "::", "::/", "/"][random(4)]);
            text.push_str(["", "0", "8", "24", "32", "48", "033", "128", "129"][random(9)]);
            let long = any(&text);
            wrong += usize::from(long.is_err());
            if let Some(network) = plain(text.as_bytes()) {
                assert_eq!(long, Ok(network), "{text}");
                short += 1;
            }
        }
        assert!(short > 1000 && wrong > 1000, "{short} {wrong}");
        for text in [
            "192.0.2.0/24",
            "192.0.2.7",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "192.0.2.7/32",
            "2001:db8::/32",
            "2001:DB8:0:7::/64",
        ] {
            assert!(plain(text.as_bytes()).is_some(), "{text}");
        }
    }
}
