/// How well a person proved who they are: the authentication context classes that there are (OpenID Connect Core 1.0,
/// section 2). Each is more than the one before it, and whoever met it met that one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acr {
    /// By a password.
    Password,
    /// By a password and a second factor.
    MultiFactor,
}

impl Acr {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Password, Self::MultiFactor];

    /// As it stands in `acr`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "urn:signet:acr:password",
            Self::MultiFactor => "urn:signet:acr:mfa",
        }
    }

    /// The class of this name, if there is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|acr| acr.as_str() == name)
    }

    /// What these methods (RFC 8176) come to; none of those that are known come to none.
    #[must_use]
    pub fn of(amr: &[String]) -> Option<Self> {
        let by = |method: &str| amr.iter().any(|each| each == method);
        match (by("pwd"), by("mfa")) {
            (true, true) => Some(Self::MultiFactor),
            (true, false) => Some(Self::Password),
            (false, _) => None,
        }
    }
}
