//! As much of DER as a public key needs.

use rustls::pki_types::{AlgorithmIdentifier, alg_id};

use super::keys::Kind;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// The kinds of keys by their identifiers, as `rustls-pki-types` has them.
const KINDS: [(AlgorithmIdentifier, Kind); 5] = [
    (alg_id::RSA_ENCRYPTION, Kind::Rsa),
    (alg_id::ECDSA_P256, Kind::P256),
    (alg_id::ECDSA_P384, Kind::P384),
    (alg_id::ECDSA_P521, Kind::P521),
    (alg_id::ED25519, Kind::Ed25519),
];

/// Kind and bits of a SubjectPublicKeyInfo (RFC 5280, section 4.1). `None` if it is damaged or of another kind.
pub(super) fn public_key(info: &[u8]) -> Option<(Kind, Vec<u8>)> {
    let (info, rest) = value(info, SEQUENCE)?;
    let (algorithm, key) = value(info, SEQUENCE)?;
    let (bits, end) = value(key, BIT_STRING)?;
    let (unused, bits) = bits.split_first()?;
    if !rest.is_empty() || !end.is_empty() || *unused != 0 {
        return None;
    }
    let (_, kind) = KINDS.into_iter().find(|(id, _)| id.as_ref() == algorithm)?;
    Some((kind, bits.to_vec()))
}

/// An RSA key (RFC 8017, appendix A.1.1) of its two numbers, most significant byte first.
pub(super) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let mut numbers = integer(modulus);
    numbers.extend(integer(exponent));
    with_header(SEQUENCE, &numbers)
}

/// A public key with its kind around it.
pub(super) fn info(kind: Kind, bits: &[u8]) -> Vec<u8> {
    let id = KINDS.into_iter().find(|(_, known)| *known == kind);
    let algorithm = id.map(|(id, _)| id.as_ref().to_vec()).unwrap_or_default();
    let mut parts = with_header(SEQUENCE, &algorithm);
    parts.extend(with_header(BIT_STRING, &[&[0], bits].concat()));
    with_header(SEQUENCE, &parts)
}

/// Modulus and exponent of an RSA key, without leading zeros.
pub(super) fn rsa_numbers(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (numbers, _) = value(key, SEQUENCE)?;
    let (modulus, rest) = value(numbers, INTEGER)?;
    let (exponent, _) = value(rest, INTEGER)?;
    Some((unpadded(modulus), unpadded(exponent)))
}

fn unpadded(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

fn integer(number: &[u8]) -> Vec<u8> {
    let number = unpadded(number);
    let negative = number.first().is_none_or(|first| first & 0x80 != 0);
    let padding: &[u8] = if negative { &[0] } else { &[] };
    with_header(INTEGER, &[padding, number].concat())
}

fn with_header(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u64).to_be_bytes();
    let length = unpadded(&length);
    let mut out = vec![tag];
    match value.len() {
        short @ 0..0x80 => out.push(short as u8),
        _ => {
            out.push(0x80 | length.len() as u8);
            out.extend_from_slice(length);
        }
    }
    out.extend_from_slice(value);
    out
}

/// The value of what begins with this tag, and what is after it.
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    if *first != tag {
        return None;
    }
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_and_read() {
        for kind in [Kind::Rsa, Kind::P256, Kind::P384, Kind::P521, Kind::Ed25519] {
            for length in [0, 1, 32, 127, 128, 255, 256, 70_000] {
                let bits = vec![7; length];
                assert_eq!(public_key(&info(kind, &bits)), Some((kind, bits)));
            }
        }
        let key = rsa_key(&[0, 0x80, 1], &[1, 0, 1]);
        assert_eq!(key, [0x30, 10, 2, 3, 0, 0x80, 1, 2, 3, 1, 0, 1]);
        assert_eq!(rsa_numbers(&key), Some((&[0x80, 1][..], &[1, 0, 1][..])));
    }

    #[test]
    fn damaged_keys_are_none() {
        let good = info(Kind::P256, &[4; 65]);
        for length in 0..good.len() {
            assert_eq!(public_key(&good[..length]), None);
        }
        assert_eq!(public_key(&[&good[..], &[0]].concat()), None);
        for byte in 0..10 {
            let mut bad = good.clone();
            bad[byte] ^= 0x40;
            assert_eq!(public_key(&bad), None, "{byte}");
        }
        assert_eq!(public_key(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(public_key(&[0x30, 0x80, 0, 0]), None);
    }
}
