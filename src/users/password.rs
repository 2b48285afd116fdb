//! Which passwords are taken: NIST SP 800-63B-4, section 3.1.1.2. Long enough, none of the commonest nor of those that
//! whoever guesses makes up first, not the person's own name; no rule about the kinds of characters.

use zeroize::Zeroizing;

use super::Account;
use super::{common_passwords, simple_passwords};
use crate::oauth::Secret;

/// In characters.
const SHORTEST: usize = 8;
const LONGEST: usize = 128;

/// The password is not good enough. No text tells the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefusal {
    /// It would be guessed by trying all.
    #[error("the password must have at least 8 characters; 15 or more are advised")]
    TooShort,
    /// It would only make work.
    #[error("the password must have at most 128 characters")]
    TooLong,
    /// It would be guessed first.
    #[error("the password is one of the commonest; choose another, such as several words in a row")]
    Common,
    /// It would be made up by whoever guesses.
    #[error(
        "the password only repeats or counts something, or is a very common word; choose another, such as several words in a row"
    )]
    Simple,
    /// It would be guessed second.
    #[error("the password must not be your name or address, nor the service's name")]
    Personal,
}

/// Refuses a password that is not good enough for this account.
pub(super) fn check(password: &Secret, account: &Account) -> Result<(), PasswordRefusal> {
    let text = password.expose();
    match text.chars().count() {
        length if length < SHORTEST => return Err(PasswordRefusal::TooShort),
        length if length > LONGEST => return Err(PasswordRefusal::TooLong),
        _ => {}
    }
    let lower = Zeroizing::new(text.to_lowercase());
    // Signs in between are what whoever guesses tries next: `admin@123`.
    let without_signs: Zeroizing<String> =
        Zeroizing::new(lower.chars().filter(|c| c.is_alphanumeric()).collect());
    if common_passwords::contains(&lower) || common_passwords::contains(&without_signs) {
        return Err(PasswordRefusal::Common);
    }
    // What is repeated has to be good enough by itself.
    let unit = simple_passwords::repeated(&lower);
    if unit.is_some_and(|unit| unit.chars().count() < SHORTEST || common_passwords::contains(unit))
        || simple_passwords::is_simple(unit.unwrap_or(&lower))
    {
        return Err(PasswordRefusal::Simple);
    }
    // `alice1985!` is `alice` to whoever guesses.
    let bare = lower.trim_matches(|c: char| !c.is_alphabetic());
    let email = &account.email;
    let own = [email.normalized(), email.as_str().to_lowercase(), email.local_part().to_lowercase()];
    let own = own.into_iter().chain(["signet".to_owned()]);
    let username = account.preferred_username.as_ref().map(super::Username::normalized);
    let name = account.name.to_lowercase();
    let words = name.split_whitespace().map(str::to_owned).chain([name.replace(char::is_whitespace, "")]);
    let mut known = own.chain(username).chain([name.clone()]).chain(words);
    let whole = unit.unwrap_or(&lower);
    if known.any(|word| !word.is_empty() && (word == *lower || word == whole || word == bare)) {
        return Err(PasswordRefusal::Personal);
    }
    Ok(())
}
