//! Where clients are: addresses and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An address or a network: `192.0.2.7`, `2001:db8::/32`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Network(IpNet);

impl Network {
    /// Reads a text; none if it does not fit.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        plain(text).or_else(|| any(str::from_utf8(text).ok()?).ok()).map(Self)
    }

    /// Takes a network of the plainest form from the beginning of a text, and tells whether the address is in it.
    #[inline(never)] // Most sections have none, and who calls it needs the registers.
    pub(super) fn first(text: &[u8], address: Option<IpAddr>) -> Option<(bool, &[u8])> {
        let Some((network, rest)) = ipv4(text) else { return Self::first_ipv6(text, address) };
        let holds =
            |address: IpAddr| matches!(address.to_canonical(), IpAddr::V4(own) if network.contains(&own));
        Some((address.is_some_and(holds), rest))
    }

    #[inline(never)] // As above.
    fn first_ipv6(text: &[u8], address: Option<IpAddr>) -> Option<(bool, &[u8])> {
        let (network, rest) = ipv6(text)?;
        let holds =
            |address: IpAddr| matches!(address.to_canonical(), IpAddr::V6(own) if network.contains(&own));
        Some((address.is_some_and(holds), rest))
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
        return Ok(address.to_canonical().into());
    }
    let network: IpNet = text.parse().map_err(|_| wrong())?;
    if network.addr() != network.network() {
        return Err(format!("bits are set behind the mask: {text}; {} is meant?", network.trunc()));
    }
    Ok(ipv4_mapped(network).unwrap_or(network))
}

/// Returns `192.0.2.0/24` for `::ffff:192.0.2.0/120`: clients in it are taken for what they are, too.
fn ipv4_mapped(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(network) = network else { return None };
    let address = network.addr().to_ipv4_mapped()?;
    let length = network.prefix_len().checked_sub(96)?;
    Ipv4Net::new(address, length).map(IpNet::V4).ok()
}

/// Reads the forms that nearly all have, if they are right: a session reads all of a file before its first reply.
fn plain(text: &[u8]) -> Option<IpNet> {
    let ipv4 = ipv4(text).map(|(network, rest)| (IpNet::V4(network), rest));
    let either = ipv4.or_else(|| ipv6(text).map(|(network, rest)| (IpNet::V6(network), rest)));
    either.filter(|(_, rest)| rest.is_empty()).map(|(network, _)| network)
}

/// Takes `192.0.2.0/24`, or `192.0.2.7`, from the beginning.
#[inline(always)] // As above.
fn ipv4(text: &[u8]) -> Option<(Ipv4Net, &[u8])> {
    let (first, rest) = number(text)?;
    let (second, rest) = number(after(rest, b'.')?)?;
    let (third, rest) = number(after(rest, b'.')?)?;
    let (fourth, rest) = number(after(rest, b'.')?)?;
    let (length, rest) = after(rest, b'/').map_or(Some((32, rest)), number)?;
    let address = Ipv4Addr::new(first, second, third, fourth);
    let behind = address.to_bits().checked_shl(length.into()).unwrap_or_default();
    Some((Ipv4Net::new(address, length).ok().filter(|_| behind == 0)?, rest))
}

/// Takes `2001:db8::/32`, with up to six groups before the colons, from the beginning.
fn ipv6(text: &[u8]) -> Option<(Ipv6Net, &[u8])> {
    let (mut bits, mut rest) = (0_u128, text);
    for groups in 1..=6_u32 {
        let (group, after) = hexadecimal(rest)?;
        bits = bits << 16 | u128::from(group);
        match after {
            [b':', b':', b'/', after @ ..] => {
                let bits = bits.wrapping_shl(groups.wrapping_mul(16).wrapping_neg());
                let (length, rest) = number(after)?;
                let behind = bits.checked_shl(length.into()).unwrap_or_default();
                let address = Ipv6Addr::from_bits(bits);
                let is_plain = behind == 0 && address.to_ipv4_mapped().is_none();
                return Some((Ipv6Net::new(address, length).ok().filter(|_| is_plain)?, rest));
            }
            [b':', after @ ..] => rest = after,
            _ => return None,
        }
    }
    None
}

/// Takes a decimal number without zeros before it from the beginning.
#[inline(always)] // It is nearly as short as what a call costs.
fn number(text: &[u8]) -> Option<(u8, &[u8])> {
    let tens = |tens: u8, ones: u8| (tens & 0xf).wrapping_mul(10).wrapping_add(ones & 0xf);
    match text {
        [a @ b'1'..=b'2', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
            Some((tens(*a, *b).checked_mul(10)?.checked_add(c & 0xf)?, rest))
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', rest @ ..] => Some((tens(*a, *b), rest)),
        [a @ b'0'..=b'9', rest @ ..] => Some((a & 0xf, rest)),
        _ => None,
    }
}

/// Goes past a byte that has to be here.
fn after(text: &[u8], byte: u8) -> Option<&[u8]> {
    text.split_first().filter(|(first, _)| **first == byte).map(|(_, rest)| rest)
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
        for (mapped, meant) in [
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("0:0:0:0:0:ffff::/96", "0.0.0.0/0"),
        ] {
            let [mapped, meant] = [mapped, meant].map(|text| Network::read(text.as_bytes()).unwrap());
            assert_eq!(mapped, meant);
        }
        assert!(plain(b"0:0:0:0:0:ffff::/96").is_none());
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
