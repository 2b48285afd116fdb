/// What is seen of a text says nothing of these: they steer, separate, or show nothing. Unicode's general categories Cf, Zl and Zp
/// but for the joiners, and the fillers, which are letters that show nothing.
const UNSEEN: [(char, char); 27] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200b}'),
    ('\u{200e}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e007f}'),
    ('\u{e0080}', '\u{e00ff}'),
];

/// Whether people see all that `text` says: no control character and none that only steers or separates, among them those that
/// turn the direction of writing, so that no two texts look alike for what can't be seen. The joiners U+200C and U+200D are
/// part of the spelling of many languages, and of emoji: behind a character of those, and only there, they may stand.
///
/// That two different letters look alike is not noticed.
#[must_use]
pub fn is_all_seen(text: &str) -> bool {
    let is_unseen =
        |c: char| c.is_control() || UNSEEN.iter().any(|(first, last)| (*first..=*last).contains(&c));
    let is_joiner = |c: char| matches!(c, '\u{200c}' | '\u{200d}');
    let mut before = ' ';
    text.chars().all(|c| {
        let stray = is_joiner(c) && (before.is_ascii() || before.is_whitespace() || is_joiner(before));
        before = c;
        !stray && !is_unseen(c)
    })
}

/// Whether `text` can be the name of somebody or something, in at most `longest` characters: it says something, nothing stands
/// around it, and people see all of it.
#[must_use]
pub fn is_name(text: &str, longest: usize) -> bool {
    !text.is_empty() && text.trim() == text && text.chars().count() <= longest && is_all_seen(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_everywhere_are_names() {
        for name in [
            "Alice Wonderland",
            "李",
            "X Æ A-12",
            "نرگس\u{200c}زاده",
            "ශ්\u{200d}රී ලංකා",
            "👩\u{200d}🔬",
            "O\u{2019}Brien",
            "Zoe\u{308}",
            "葛\u{e0100}飾",
        ] {
            assert!(is_name(name, 120), "{name:?}");
        }
    }

    #[test]
    fn what_is_not_seen_is_no_part_of_a_name() {
        for c in "\u{0}\t\n\u{7f}\u{85}\u{ad}\u{61c}\u{180e}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}\u{fff9}\u{3164}\u{2800}\u{e0041}\u{200c}\u{200d}".chars() {
            for name in [format!("Shop{c}"), format!("{c}Shop"), format!("Sh{c}op"), c.to_string()] {
                assert!(!is_name(&name, 120), "{name:?}");
            }
        }
        for name in ["", " ", " a", "a ", "\u{3000}a", "é\u{200d}\u{200d}a", &"a".repeat(121)] {
            assert!(!is_name(name, 120), "{name:?}");
        }
    }
}
