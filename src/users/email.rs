use std::fmt;

use serde::{Deserialize, Serialize};

/// The text is no e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("email must be an address such as alice@example.com, 254 characters at most")]
pub struct InvalidEmail;

/// The text is no user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "preferred_username must be 2 to 64 letters, digits and any of . _ - and begin with a letter or a digit"
)]
pub struct InvalidUsername;

/// An e-mail address, as it was written. Whether it reaches anybody is not known.
///
/// ```
/// use signet::users::Email;
///
/// let email = Email::parse("Alice@Example.com")?;
/// assert_eq!(email.as_str(), "Alice@Example.com");
/// assert_eq!(email.normalized(), "alice@example.com");
/// assert_eq!(Email::parse("x@bücher.example")?.normalized(), "x@xn--bcher-kva.example");
/// # Ok::<(), signet::users::InvalidEmail>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

impl Email {
    /// Longest address that mail can be sent to (RFC 5321, section 4.5.3.1.3, less the brackets).
    const LONGEST: usize = 254;
    /// RFC 5321, section 4.5.3.1.1.
    const LONGEST_LOCAL_PART: usize = 64;

    /// Takes an address in the form that people write: no quoted local part, no comment, no address literal.
    ///
    /// # Errors
    /// When it is no such address.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        // What it is found by is an address, too, and itself found by that.
        let is_found = |folded: String| {
            Self::is_address(&folded) && folded_of(&folded).is_some_and(|again| again == folded)
        };
        if Self::is_address(text) && folded_of(text).is_some_and(is_found) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidEmail)
        }
    }

    fn is_address(text: &str) -> bool {
        let Some((local, domain)) = text.split_once('@') else { return false };
        let short = text.len() <= Self::LONGEST && local.len() <= Self::LONGEST_LOCAL_PART;
        let dotted = local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext));
        short && dotted && is_domain(domain)
    }

    /// The address as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Two addresses are one account's that differ in the case of letters only, or in how the domain is written: in its own
    /// letters, as people do, or as DNS has it (RFC 5890, section 2.3.2.1), as browsers send what was typed into a form.
    #[must_use]
    pub fn normalized(&self) -> String {
        folded_of(&self.0).unwrap_or_else(|| self.0.to_lowercase())
    }

    /// What stands before the `@`.
    pub(super) fn local_part(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }
}

/// The address in small letters, with the domain as DNS has it (UTS #46, as the URL standard applies it). None if the domain has
/// no such form.
fn folded_of(text: &str) -> Option<String> {
    let (local, domain) = text.split_once('@')?;
    Some(format!("{}@{}", local.to_lowercase(), idna::domain_to_ascii(domain).ok()?))
}

/// `atext` of RFC 5322, section 3.2.3, and letters and digits beyond ASCII (RFC 6531).
fn is_atext(c: char) -> bool {
    c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

fn is_domain(domain: &str) -> bool {
    let plain = domain.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.'));
    let labels = || domain.split('.');
    plain && labels().all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
}

/// A name to sign in with besides the e-mail address: `preferred_username` (OpenID Connect Core, section 5.1).
/// It holds no `@`, so that no name is another account's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

impl Username {
    /// Takes 2 to 64 letters, digits, dots, hyphens and underscores.
    ///
    /// # Errors
    /// When it is something else, or does not begin with a letter or a digit.
    pub fn parse(text: &str) -> Result<Self, InvalidUsername> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if (2..=64).contains(&text.len()) && begins && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidUsername)
        }
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Two names that differ in the case of letters only are one account's.
    #[must_use]
    pub fn normalized(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

macro_rules! text {
    ($name:ident, $error:ident) => {
        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(Email, InvalidEmail);
text!(Username, InvalidUsername);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them_are_taken() {
        for text in [
            "a@b",
            "alice.w+tag@mail.example.com",
            "o'neil@example.com",
            "josé@exämple.de",
            "A_B-c@x-y.example",
        ] {
            assert!(Email::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        let longer = format!("a@{}.com", "b".repeat(250));
        // Short as it is written, too long as it is sent.
        let wide = format!("a@{}com", "ü.".repeat(80));
        for text in [
            "",
            "@",
            "a",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a@b c",
            ".a@b",
            "a.@b",
            "a..b@c",
            "a@.b",
            "a@b.",
            "a@-b",
            "a@b-",
            "a@b..c",
            "a\n@b",
            "a@b\n",
            "\"a\"@b",
            "a@[127.0.0.1]",
            "<a@b>",
            "a@b,c@d",
            // No letter of any language, no domain by itself, and none in the form of DNS.
            "a@xn--.example",
            "a@xn--a.example",
            "a@a\u{200d}b.example",
            "a@\u{2488}com",
            &wide,
            "a\0@b",
            &long,
            &longer,
        ] {
            assert_eq!(Email::parse(text), Err(InvalidEmail), "{text:?}");
        }
    }

    #[test]
    fn letter_case_does_not_make_another_address() {
        let forms =
            ["JOSÉ@Example.COM", "josé@example.com"].map(|text| Email::parse(text).unwrap().normalized());
        assert_eq!(forms[0], forms[1]);
    }

    #[test]
    fn a_domain_is_the_same_in_its_own_letters_and_as_dns_has_it() {
        for (text, folded) in [
            ("x@bücher.example", "x@xn--bcher-kva.example"),
            ("X@BÜCHER.example", "x@xn--bcher-kva.example"),
            ("x@XN--BCHER-KVA.example", "x@xn--bcher-kva.example"),
            ("jörg@Straße.example", "jörg@xn--strae-oqa.example"),
            ("x@ｅｘａｍｐｌｅ.com", "x@example.com"),
            ("x@127.0.0.1", "x@127.0.0.1"),
            ("x@ab--cd.example", "x@ab--cd.example"),
        ] {
            let email = Email::parse(text).unwrap();
            assert_eq!((email.as_str(), email.normalized().as_str()), (text, folded));
            assert_eq!(Email::parse(folded).unwrap().normalized(), folded, "normal is normal");
        }
    }

    #[test]
    fn a_username_is_never_an_address() {
        assert!(Username::parse("alice.w_1-x").is_ok());
        for text in ["", "a", "a@b", "-a", ".a", "a b", "é1", &"a".repeat(65)] {
            assert_eq!(Username::parse(text), Err(InvalidUsername), "{text:?}");
        }
    }
}
