//! Changes to an input: of bits, of pieces, of a tar header's fields with the checksum put right again.

use crate::seeds::NAMES;

/// Numbers from a seed, the same ones each time (splitmix64, by Sebastiano Vigna).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins a sequence.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end.max(1) as u64).unwrap_or(0)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// The longest input made, in bytes.
const INPUT_MAX: usize = 256 << 10;

/// Texts that formats give a meaning to.
const WORDS: [&[u8]; 22] = [
    b"30 mtime=1600000000.123456789\n",
    b"11 path=up\n",
    b"21 GNU.sparse.major=1\n",
    b"GNU.sparse.map=",
    b"SCHILY.xattr.user.a=",
    b"18 size=9999999\n",
    b"././@LongLink",
    b"\"size\":-1",
    b"\"layers\":[]",
    b"\"mediaType\":\"",
    b"sha256:",
    b"sha512:",
    b"\"urls\":[\"\"]",
    b"../",
    b".wh.",
    b"9223372036854775807",
    b"18446744073709551616",
    b"\x1f\x8b\x08",
    b"\x28\xb5\x2f\xfd",
    b"\x50\x2a\x4d\x18",
    b"\0asm\x0d\0\x01\0",
    b"[limits]\n",
];

/// Changes `input` in one to eight places; `other` lends pieces.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(8) {
        match random.below(12) {
            0..3 if input.len() >= 513 => header_field(input, random),
            0..5 => change_byte(input, random),
            5 => insert_word(input, random),
            6 => remove_piece(input, random),
            7 => repeat_piece(input, random),
            8 => splice(input, other, random),
            9 => blocks(input, random),
            10 => number_in_text(input, random),
            _ => {
                let end = random.below(input.len() + 1);
                // Most of what is cut off at random says only that it was cut off.
                if random.below(4) == 0 {
                    input.truncate(end);
                }
            }
        }
    }
    input.truncate(INPUT_MAX);
}

fn change_byte(input: &mut [u8], random: &mut Random) {
    let (at, bit) = (random.below(input.len()), random.below(8));
    let value = *random.one_of(&[0, 1, 0x7f, 0x80, 0xff, b'0', b'/', b'.', b':', b'"', b'\n']);
    if let Some(byte) = input.get_mut(at) {
        *byte = if random.below(2) == 0 {
            *byte ^ (1 << bit)
        } else {
            value
        };
    }
}

fn insert_word(input: &mut Vec<u8>, random: &mut Random) {
    let word = *random.one_of(&WORDS);
    let at = random.below(input.len() + 1);
    // Over what is there as often as before it, for most formats count bytes.
    let over = if random.below(2) == 0 {
        word.len().min(input.len() - at)
    } else {
        0
    };
    input.splice(at..at + over, word.iter().copied());
}

fn piece(input: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let start = random.below(input.len());
    let most = *random.one_of(&[1, 4, 16, 512, 4096]);
    let length = 1 + random.below(most);
    start..(start + length).min(input.len())
}

fn remove_piece(input: &mut Vec<u8>, random: &mut Random) {
    let range = piece(input, random);
    input.drain(range);
}

fn repeat_piece(input: &mut Vec<u8>, random: &mut Random) {
    let range = piece(input, random);
    let copy = input[range.clone()].repeat(1 + random.below(20));
    input.splice(range.end..range.end, copy);
}

fn splice(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let (range, at) = (piece(other, random), random.below(input.len() + 1));
    if random.below(4) == 0 {
        input.truncate(at);
        input.extend_from_slice(&other[range.start..]);
    } else {
        input.splice(at..at, other[range].iter().copied());
    }
}

/// Moves, doubles or removes whole blocks of a tar. Inputs may have a byte or two before it.
fn blocks(input: &mut Vec<u8>, random: &mut Random) {
    let before = input.len() % 512;
    let count = input.len() / 512;
    if count < 2 {
        return;
    }
    let place = |random: &mut Random| before + 512 * random.below(count);
    let (from, to) = (place(random), place(random));
    let block = input[from..from + 512].to_vec();
    match random.below(3) {
        0 => input[to..to + 512].copy_from_slice(&block),
        1 => drop(input.drain(from..from + 512)),
        _ => drop(input.splice(to..to, block)),
    }
}

/// Replaces a run of digits.
fn number_in_text(input: &mut Vec<u8>, random: &mut Random) {
    let start = random.below(input.len());
    let Some(at) = input[start..].iter().position(u8::is_ascii_digit) else {
        return;
    };
    let start = start + at;
    let length = input[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let number = number(random).to_string();
    input.splice(start..start + length, number.bytes());
}

fn number(random: &mut Random) -> u64 {
    let shift = random.below(64);
    *random.one_of(&[
        0,
        1,
        7,
        511,
        512,
        513,
        1 << 20,
        u64::MAX,
        i64::MAX as u64,
        1 << shift,
        (1 << shift) - 1,
    ])
}

/// The fields of a tar header: where they begin and how long they are.
const FIELDS: [(usize, usize); 17] = [
    (0, 100),
    (100, 8),
    (108, 8),
    (116, 8),
    (124, 12),
    (136, 12),
    (156, 1),
    (157, 100),
    (257, 8),
    (329, 8),
    (337, 8),
    (345, 155),
    (386, 12),
    (398, 12),
    (482, 1),
    (483, 12),
    (124, 12),
];
/// Where names are.
const NAME_FIELDS: [usize; 3] = [0, 157, 345];

/// Writes something with a meaning into a field of a header, and puts the checksum right.
fn header_field(input: &mut [u8], random: &mut Random) {
    let before = input.len() % 512;
    let at = before + 512 * random.below(input.len() / 512);
    let Some(header) = input.get_mut(at..at + 512) else {
        return;
    };
    let (start, length) = *random.one_of(&FIELDS);
    let field = &mut header[start..start + length];
    if NAME_FIELDS.contains(&start) {
        let name = random.one_of(&NAMES).as_bytes();
        let end = if random.below(8) == 0 { b'x' } else { 0 };
        field.fill(end);
        field[..name.len()].copy_from_slice(name);
    } else if length == 1 {
        field[0] = *random.one_of(b"0123456 7LKxgSDNVMA\0\x01");
    } else {
        numeric_field(field, random);
    }
    if random.below(16) != 0 {
        put_checksum_right(header);
    }
}

fn numeric_field(field: &mut [u8], random: &mut Random) {
    let (value, width) = (number(random), field.len());
    match random.below(4) {
        0 => {
            // Base 256: the first bit says so, the second is the sign.
            let bytes = u128::from(value).to_be_bytes();
            field.copy_from_slice(&bytes[16 - width.min(16)..][..width.min(16)]);
            field[0] |= *random.one_of(&[0x80, 0xc0, 0xff]);
        }
        1 => field.fill(*random.one_of(b" \x007x-")),
        _ => {
            let digits = format!("{value:0width$o}");
            let digits = &digits.as_bytes()[digits.len() - width..];
            field.copy_from_slice(digits);
        }
    }
}

fn put_checksum_right(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_again() {
        let make = |seed| {
            let (mut random, mut input) = (Random::new(seed), vec![b'7'; 5000]);
            for _ in 0..200 {
                mutate(&mut input, b"other", &mut random);
            }
            input
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }

    #[test]
    fn any_length_can_be_changed() {
        let mut random = Random::new(7);
        for length in 0..1100 {
            let mut input = vec![b'1'; length];
            mutate(&mut input, &[], &mut random);
            mutate(&mut input, &[0; 600], &mut random);
        }
    }

    #[test]
    fn headers_get_sums_that_a_reader_takes() {
        let mut header = [7; 512];
        put_checksum_right(&mut header);
        let parsed = tar::Header::from_byte_slice(&header);
        let mut again = parsed.clone();
        again.set_cksum();
        assert_eq!(parsed.cksum().unwrap(), again.cksum().unwrap());
    }
}
