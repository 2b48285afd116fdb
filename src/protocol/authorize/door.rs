use serde::{Deserialize, Serialize};

/// A path by which authorization requests come in. It decides what an absent `scope` means, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// `/oauth2/authorize`.
    Standard,
    /// `/oauth/authorize`, whose document gives a default.
    OAuth,
    /// `/api/authorize.php`, whose document knows no scope: its clients want to know who somebody is.
    Php,
}

impl Door {
    /// The path.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Standard => "/oauth2/authorize",
            Self::OAuth => "/oauth/authorize",
            Self::Php => "/api/authorize.php",
        }
    }

    /// What an absent `scope` asks for, as far as the client may have it; the client's own default otherwise.
    pub(super) fn default_scope(self) -> &'static [&'static str] {
        match self {
            Self::Standard => &[],
            Self::OAuth => &["read"],
            Self::Php => &["openid", "profile", "email"],
        }
    }
}
