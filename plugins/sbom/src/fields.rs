//! Blocks of `Key: value` lines with an empty line between two blocks, as Debian, Python and others write them.

/// One block.
pub(crate) struct Block<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Block<'a> {
    /// The first value of a key, in any case of letters. Lines that go on are left out: nothing that is asked for has any.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        let mut fields = self.0.iter();
        let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        Some(value).copied().filter(|value| !value.is_empty())
    }
}

/// The blocks of a text.
pub(crate) fn blocks(text: &str) -> impl Iterator<Item = Block<'_>> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        while lines.next_if(|line| line.trim().is_empty()).is_some() {}
        lines.peek()?;
        let mut block = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.trim().is_empty()) {
            if let Some((key, value)) = line.split_once(':').filter(|_| !line.starts_with([' ', '\t'])) {
                block.push((key.trim(), value.trim()));
            }
        }
        Some(Block(block))
    })
}
