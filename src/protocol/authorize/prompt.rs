use crate::protocol::{Params, ProtocolError};

/// What the person is to be asked (OpenID Connect Core 1.0, section 3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Nothing at all: the request is answered at once, or refused.
    None,
    /// Whatever is needed, and this in any case.
    Ask {
        /// To prove anew who they are.
        login: bool,
        /// To allow the request, even if they did before.
        consent: bool,
        /// Which account to use.
        select_account: bool,
    },
}

impl Prompt {
    /// The values of `prompt` that are understood.
    pub const VALUES: [&'static str; 4] = ["none", "login", "consent", "select_account"];

    /// Reads `prompt`, and `force_login` of an older document, where every value but a true one is none.
    pub(super) fn read(params: &Params<'_>) -> Result<Self, ProtocolError> {
        let values: Vec<&str> = params.one("prompt").unwrap_or_default().split(' ').collect();
        let known = |value: &&str| value.is_empty() || Self::VALUES.contains(value);
        if !values.iter().all(known) {
            return Err(ProtocolError::invalid_request("the prompt is not one that is known here"));
        }
        let has = |value| values.contains(&value);
        let forced = params.one("force_login");
        let login =
            has("login") || forced.is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1");
        let (consent, select_account) = (has("consent"), has("select_account"));
        match has("none") {
            true if login || consent || select_account => {
                Err(ProtocolError::invalid_request("prompt=none allows nothing besides it"))
            }
            true => Ok(Self::None),
            false => Ok(Self::Ask { login, consent, select_account }),
        }
    }

    /// Whether the person must prove anew who they are.
    pub(super) fn wants_login(self) -> bool {
        matches!(self, Self::Ask { login: true, .. })
    }

    /// Whether they must be asked even if the answer is known.
    pub(super) fn wants_consent(self) -> bool {
        matches!(self, Self::Ask { consent: true, .. })
    }

    /// Whether they must be asked which account to use.
    pub(super) fn wants_account(self) -> bool {
        matches!(self, Self::Ask { select_account: true, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Prompt = Prompt::Ask { login: false, consent: false, select_account: false };

    fn read(name: &'static str, value: &'static str) -> Option<Prompt> {
        Prompt::read(&Params::new([(name.into(), value.into())]).unwrap()).ok()
    }

    #[test]
    fn values_are_separated_by_spaces_and_known() {
        let both = Prompt::Ask { login: true, consent: true, select_account: false };
        assert_eq!(read("prompt", "login consent"), Some(both));
        assert_eq!(read("prompt", ""), Some(NOTHING));
        assert_eq!(read("prompt", "none"), Some(Prompt::None));
        for wrong in ["none login", "create", "Login", "login,consent"] {
            assert_eq!(read("prompt", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn force_login_counts_only_when_it_is_true() {
        for value in ["true", "True", "1"] {
            assert!(read("force_login", value).unwrap().wants_login(), "{value}");
        }
        for value in ["False", "false", "None", "0", ""] {
            assert_eq!(read("force_login", value), Some(NOTHING), "{value}");
        }
    }
}
