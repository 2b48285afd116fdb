/// `text` as one word of a POSIX shell, which takes it as it is whatever is in it: for what people copy into one. In single quotes
/// (Shell Command Language, section 2.2.2), unless nothing in it could mean anything there. A control character can't be in what
/// is copied by hand; it is left out.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_word_means_anything_to_the_shell() {
        for (text, word) in [
            ("", "''"),
            ("https://a.example:8443/cb", "https://a.example:8443/cb"),
            ("redirect_uri=https://a.example/cb", "'redirect_uri=https://a.example/cb'"),
            ("https://a.example/cb?a=$(id)';id;'", r"'https://a.example/cb?a=$(id)'\'';id;'\'''"),
            ("a b\n\t`id` \"x\" \\ & ; | < > * ~ # !", r#"'a b`id` "x" \ & ; | < > * ~ # !'"#),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        for text in ["", "'", "''", "a'b", "$(id)';id;'", "`id`", "\\'\\", "é'x", "-n", "!!"] {
            let script = format!("printf %s {}", shell_word(text));
            let read = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(read.stdout).unwrap(), text);
        }
    }
}
