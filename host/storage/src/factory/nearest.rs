//! What was meant by a name that nothing has.

/// Mistakes up to which a name is taken for another.
const MISTAKES: usize = 3;

/// Text that names what was probably meant, or all there is.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().map(|other| (mistakes(name, other), *other)).min();
    match near {
        Some((mistakes, other)) if mistakes <= MISTAKES.min(name.len() / 2) => {
            format!("did you mean {other:?}?")
        }
        _ if known.is_empty() => "it has none".to_owned(),
        _ => format!("there are: {}", known.join(", ")),
    }
}

/// Letters to change, add, or take away until one name is the other.
fn mistakes(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for column in 0..b.len() {
            let replace = diagonal + usize::from(b[column] != letter);
            diagonal = row[column + 1];
            row[column + 1] = replace.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word() {
        let known = ["bucket", "region", "rootdirectory"];
        let text = |name| nearest(name, known.into_iter());
        assert_eq!(text("bukcet"), "did you mean \"bucket\"?");
        assert_eq!(text("rootdir"), "there are: bucket, region, rootdirectory");
        assert_eq!(text("root_directory"), "did you mean \"rootdirectory\"?");
        assert_eq!(text("x"), "there are: bucket, region, rootdirectory");
        assert_eq!(nearest("x", [].into_iter()), "it has none");
        assert_eq!(mistakes("kitten", "sitting"), 3);
    }
}
