//! Passwords that no list needs to hold: whoever guesses makes them up by rule, and before most of the list.

use zeroize::Zeroizing;

/// What stands side by side for whoever types or counts, in both directions: letters and digits in order, the rows of the
/// keyboards in use, and the columns of the commonest.
const LINES: [&str; 10] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
];

/// Words that are guessed with any digits and signs around them; the longer ones with few stand in the list themselves.
const WORDS: [&str; 22] = [
    "abc",
    "admin",
    "administrator",
    "changeme",
    "default",
    "geheim",
    "guest",
    "hallo",
    "hello",
    "letmein",
    "login",
    "master",
    "pass",
    "passw",
    "password",
    "passwort",
    "qwerty",
    "root",
    "secret",
    "test",
    "user",
    "welcome",
];

/// A run is at least so long.
const SHORTEST_RUN: usize = 3;
/// So many runs, and nothing else, are a simple password.
const MOST_RUNS: usize = 3;
/// So few different characters are.
const FEWEST_KINDS: usize = 3;

/// Whether `password`, in lower case, is blank, made of hardly any different characters, of runs like `1234` and `asdf`, or of
/// one of the commonest words among digits and signs.
pub(super) fn is_simple(password: &str) -> bool {
    let characters = characters_of(password);
    let core = password.trim_matches(|c: char| !c.is_alphanumeric());
    let no_letter = |c: char| !c.is_alphabetic();
    let word = password.trim_matches(no_letter);
    // A sign that stands for its first letter is one.
    let begun = spelled(password.trim_end_matches(no_letter));
    has_few_kinds(&characters)
        || password.trim().is_empty()
        || is_all_runs(password)
        || is_all_runs(core)
        || WORDS.contains(&word)
        || WORDS.contains(&spelled(word).as_str())
        || WORDS.contains(&begun.trim_start_matches(no_letter))
}

/// What `password` repeats, if it is nothing but that again and again, from its beginning and perhaps cut off at its end:
/// `1234` of `12341234`, `admin` of `adminadminad`.
pub(super) fn repeated(password: &str) -> Option<&str> {
    let characters = characters_of(password);
    let repeats = |length: &usize| characters.iter().zip(&characters[*length..]).all(|(a, b)| a == b);
    let length = (1..=characters.len() / 2).find(repeats)?;
    Some(&password[..characters[..length].iter().map(|c| c.len_utf8()).sum()])
}

fn characters_of(text: &str) -> Zeroizing<Vec<char>> {
    Zeroizing::new(text.chars().collect())
}

fn has_few_kinds(characters: &[char]) -> bool {
    let mut kinds = Zeroizing::new(characters.to_vec());
    kinds.sort_unstable();
    kinds.dedup();
    kinds.len() < FEWEST_KINDS
}

fn is_all_runs(text: &str) -> bool {
    let characters = characters_of(text);
    let (mut rest, mut runs) = (characters.as_slice(), 0);
    while !rest.is_empty() && runs < MOST_RUNS {
        let Some(length) = (SHORTEST_RUN..=rest.len()).rev().find(|length| is_run(&rest[..*length])) else {
            return false;
        };
        (rest, runs) = (&rest[length..], runs + 1);
    }
    rest.is_empty() && runs > 0
}

fn is_run(characters: &[char]) -> bool {
    let lies_on = |line: &&str| {
        line.as_bytes().windows(characters.len()).any(|part| {
            let part = || part.iter().copied().map(char::from);
            part().eq(characters.iter().copied()) || part().rev().eq(characters.iter().copied())
        })
    };
    characters.iter().all(|c| *c == characters[0]) || LINES.iter().any(lies_on)
}

/// The word that is meant where signs stand for letters: `p@ssw0rd`.
fn spelled(word: &str) -> Zeroizing<String> {
    let letter = |c| match c {
        '@' | '4' => 'a',
        '3' => 'e',
        '1' | '!' => 'i',
        '0' => 'o',
        '$' | '5' => 's',
        '7' => 't',
        other => other,
    };
    Zeroizing::new(word.chars().map(letter).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_or_lies_side_by_side_is_simple() {
        for simple in [
            "        ",
            "\u{a0}\u{2003}\t\u{a0}\u{2003}\t\u{3000} ",
            "aaaaaaaa",
            "aabbaabb",
            "10110100",
            "abcdefgh",
            "zyxwvuts",
            "98765432",
            "34567890",
            "qwertyui",
            "poiuytre",
            "asdfghjk",
            "1qaz2wsx",
            "zaq1xsw2",
            "abcd1234",
            "1234qwer",
            "qwer1234asdf",
            "abcdefgh!",
            "#1234567",
            "aaaabbbbcccc",
            "pass@123",
            "p@ssw0rd!",
            "admin2026!",
            "!!!root!!!",
            "password",
            "azertyui",
        ] {
            assert!(is_simple(simple), "{simple:?}");
        }
        for other in [
            "correct horse battery",
            "abcdef and more",
            "qwerz7!nap",
            "securepassword123",
            "passage4",
            "adminsky",
            "12 monkeys",
        ] {
            assert!(!is_simple(other), "{other:?}");
        }
    }

    #[test]
    fn what_is_repeated_is_the_shortest() {
        for (password, unit) in [
            ("12341234", "1234"),
            ("aaaaaaaa", "a"),
            ("adminadmin", "admin"),
            ("12312312", "123"),
            ("ünüünüü", "ünü"),
            ("hunter2hunter2", "hunter2"),
        ] {
            assert_eq!(repeated(password), Some(unit), "{password}");
        }
        for none in ["", "a", "abcdefgh", "hunter2hunter3", "abcabd"] {
            assert_eq!(repeated(none), None, "{none}");
        }
    }
}
