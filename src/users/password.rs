//! Which passwords are taken: NIST SP 800-63B-4, section 3.1.1.2. Long enough, none of the commonest, not the
//! person's own name; no rule about the kinds of characters.

use super::Account;
use super::common_passwords;
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
    let lower = zeroize::Zeroizing::new(text.to_lowercase());
    if common_passwords::contains(&lower) {
        return Err(PasswordRefusal::Common);
    }
    // `alice1985!` is `alice` to whoever guesses.
    let bare = lower.trim_matches(|c: char| !c.is_alphabetic());
    let own = [account.email.normalized(), account.email.local_part().to_lowercase(), "signet".to_owned()];
    let username = account.preferred_username.as_ref().map(super::Username::normalized);
    let name = account.name.to_lowercase();
    let words = name.split_whitespace().map(str::to_owned).chain([name.replace(char::is_whitespace, "")]);
    let mut known = own.into_iter().chain(username).chain([name.clone()]).chain(words);
    if known.any(|word| !word.is_empty() && (word == *lower || word == bare)) {
        return Err(PasswordRefusal::Personal);
    }
    Ok(())
}
