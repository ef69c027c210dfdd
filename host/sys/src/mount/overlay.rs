//! The text of overlay's options: escaping, splitting, and the shorter form of many lower folders.

/// Puts a backslash before what would end an option or a folder in it.
pub(super) fn escape(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for letter in path.chars() {
        if matches!(letter, '\\' | ',' | ':') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// Takes the backslashes away again, as the kernel does: the letter after one stands for itself.
pub(super) fn unescape(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => path.extend(letters.next()),
            letter => path.push(letter),
        }
    }
    path
}

/// The option that names these lower folders, topmost first.
pub(super) fn lower_option(folders: &[&str]) -> String {
    let folders: Vec<String> = folders.iter().map(|folder| escape(folder)).collect();
    format!("lowerdir={}", folders.join(":"))
}

/// The folders in the value of `lowerdir`, escapes undone.
pub(super) fn split_lower(value: &str) -> Vec<String> {
    let mut folders = Vec::new();
    let mut folder = String::new();
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => folder.extend(letters.next()),
            ':' => folders.push(std::mem::take(&mut folder)),
            letter => folder.push(letter),
        }
    }
    folders.push(folder);
    folders
}

/// The longest folder that all of `folders` are in; `None` if that is `/`, one of them itself, or unknown because a path
/// is not absolute.
pub(super) fn common_folder(folders: &[String]) -> Option<&str> {
    let first = folders.first()?;
    let mut length = first.rfind('/')?;
    for folder in folders {
        let shared = first[..length]
            .bytes()
            .zip(folder.bytes())
            .take_while(|(ours, theirs)| ours == theirs)
            .count();
        // A whole name ends here in both, or the common part ends at the slash before.
        let whole = shared == length && folder.as_bytes().get(length) == Some(&b'/');
        if !whole {
            // By bytes: letters that differ may begin alike.
            length = first.as_bytes()[..shared]
                .iter()
                .rposition(|&byte| byte == b'/')?;
        }
    }
    let below = |folder: &String| folder.starts_with('/') && folder.len() > length + 1;
    (length > 0 && folders.iter().all(below)).then(|| &first[..length])
}

/// The single options in comma-joined data; a comma behind a backslash is part of its option.
pub(super) fn split_data(data: &str) -> Vec<&str> {
    let mut options = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, byte) in data.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                options.push(&data[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    options.push(&data[start..]);
    options.retain(|option| !option.is_empty());
    options
}

/// Puts a backslash before the colons of an already escaped path that have none, for its use as a lower folder.
pub(super) fn escape_colons(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                text.push('\\');
                text.extend(letters.next());
            }
            ':' => text.push_str("\\:"),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn what_is_escaped_comes_back() {
        for path in ["/a", "/a:b,c\\d", "\\", ":", ",,", "/ä:\u{1F600}", ""] {
            assert_eq!(unescape(&escape(path)), path);
            let option = lower_option(&[path, "/second", path]);
            assert_eq!(split_data(&format!("{option},next")), [option.as_str(), "next"]);
            let folders = split_lower(option.strip_prefix("lowerdir=").unwrap());
            assert_eq!(folders, [path, "/second", path]);
        }
        // What others wrote without need of it, and a lone backslash at the end, which means nothing.
        assert_eq!(unescape("/a\\b\\"), "/ab");
        assert_eq!(split_lower("/a\\:b:/c\\"), ["/a:b", "/c"]);
        assert_eq!(split_data(",a,,b=\\,c,"), ["a", "b=\\,c"]);
    }

    #[test]
    fn colons_are_escaped_once() {
        assert_eq!(escape_colons("/a:b\\:c\\\\:d"), "/a\\:b\\:c\\\\\\:d");
    }

    #[test]
    fn the_common_folder_is_a_whole_one_above_all() {
        let common = |folders: &[&str]| common_folder(&strings(folders)).map(str::to_owned);
        let is = |folder: &str| Some(folder.to_owned());
        assert_eq!(common(&["/s/1/fs", "/s/2/fs", "/s/10/fs"]), is("/s"));
        assert_eq!(common(&["/s/1/fs", "/s/1/fs"]), is("/s/1"));
        assert_eq!(common(&["/s/1/fs"]), is("/s/1"));
        assert_eq!(common(&["/s/1", "/s/12"]), is("/s"));
        assert_eq!(common(&["/s/12", "/s/1"]), is("/s"));
        assert_eq!(common(&["/s/a/b/c", "/s/ab/c", "/s/a/x"]), is("/s"));
        assert_eq!(common(&["/s/ä/1", "/s/ö/1"]), is("/s"));
        // The root, one of the folders itself, a path from elsewhere, nothing.
        assert_eq!(common(&["/a/1", "/b/1"]), None);
        assert_eq!(common(&["/a", "/b"]), None);
        assert_eq!(common(&["/s/1", "/s"]), None);
        assert_eq!(common(&["/s", "/s/1"]), None);
        assert_eq!(common(&["/s/1", "/s/"]), None);
        assert_eq!(common(&["s/1", "s/2"]), None);
        assert_eq!(common(&["/s/1", ""]), None);
        assert_eq!(common(&[]), None);
    }
}
