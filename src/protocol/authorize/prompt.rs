use crate::protocol::{Params, ProtocolError};

/// What the person is to be asked (OpenID Connect Core 1.0, section 3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Nothing at all: answer at once, or refuse.
    pub none: bool,
    /// To prove anew who they are.
    pub login: bool,
    /// To allow the request, even if they did before.
    pub consent: bool,
    /// Which account to use.
    pub select_account: bool,
}

impl Prompt {
    /// The values of `prompt` that are understood.
    pub const VALUES: [&'static str; 4] = ["none", "login", "consent", "select_account"];

    /// Reads `prompt`, and `force_login` of an older document, where every value but a true one is none.
    pub(super) fn read(params: &Params<'_>) -> Result<Self, ProtocolError> {
        let mut prompt = Self::default();
        for value in params.one("prompt").unwrap_or_default().split(' ').filter(|value| !value.is_empty()) {
            match value {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "consent" => prompt.consent = true,
                "select_account" => prompt.select_account = true,
                _ => return Err(ProtocolError::invalid_request("the prompt is not one that is known here")),
            }
        }
        let forced = params.one("force_login");
        prompt.login |= forced.is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1");
        if prompt.none && prompt != (Self { none: true, ..Self::default() }) {
            return Err(ProtocolError::invalid_request("prompt=none allows nothing besides it"));
        }
        Ok(prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &'static str) -> Option<Prompt> {
        Prompt::read(&Params::new([(name.into(), value.into())]).unwrap()).ok()
    }

    #[test]
    fn values_are_separated_by_spaces_and_known() {
        let both = Prompt { login: true, consent: true, ..Prompt::default() };
        assert_eq!(read("prompt", "login consent"), Some(both));
        assert_eq!(read("prompt", ""), Some(Prompt::default()));
        for wrong in ["none login", "create", "Login", "login,consent"] {
            assert_eq!(read("prompt", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn force_login_counts_only_when_it_is_true() {
        for value in ["true", "True", "1"] {
            assert!(read("force_login", value).unwrap().login, "{value}");
        }
        for value in ["False", "false", "None", "0", ""] {
            assert_eq!(read("force_login", value), Some(Prompt::default()), "{value}");
        }
    }
}
