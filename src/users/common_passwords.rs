//! The commonest passwords of at least 8 characters, which are refused.

/// One a line, in lower case, sorted; `common_passwords.md` says where it is from.
const SORTED: &str = include_str!("common_passwords.txt");

/// Whether `password`, in lower case, is among them.
pub(super) fn contains(password: &str) -> bool {
    let mut rest = SORTED;
    // Binary search over lines: the middle of the text, up to the line that it is in.
    while !rest.is_empty() {
        let middle = rest.floor_char_boundary(rest.len() / 2);
        let start = rest[..middle].rfind('\n').map_or(0, |at| at + 1);
        let end = rest[start..].find('\n').map_or(rest.len(), |at| start + at);
        match password.cmp(&rest[start..end]) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => rest = &rest[..start],
            std::cmp::Ordering::Greater => rest = rest.get(end + 1..).unwrap_or_default(),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_and_nothing_else() {
        for line in SORTED.lines() {
            assert!(contains(line), "{line}");
            assert!(!contains(&format!("{line}~~")), "{line}~~");
        }
        for absent in ["", "\n", "a", "zzzzzzzzzzzzzzzzzzzzz", "securepassword123", "password\npassword1"] {
            assert!(!contains(absent), "{absent:?}");
        }
    }

    #[test]
    fn the_list_is_sorted_long_enough_and_in_lower_case() {
        let lines: Vec<&str> = SORTED.lines().collect();
        assert!(lines.len() >= 14_000);
        assert!(lines.is_sorted() && lines.contains(&"password1"));
        assert!(lines.iter().all(|line| line.chars().count() >= 8 && line.to_lowercase() == *line));
    }
}
