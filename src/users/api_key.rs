use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::oauth::{ApiKeyId, ClientId, Resource, Scope, Secret, SecretHash, Subject, UserId};

/// Whose an API key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiKeyOwner {
    /// A person.
    User(UserId),
    /// A client.
    Client(ClientId),
}

impl ApiKeyOwner {
    /// The owner's identifier: no client has one that a person could have.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::User(user) => user.as_str(),
            Self::Client(client) => client.as_str(),
        }
    }

    /// For whom the key speaks.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::User(user) => Subject::from(user),
            Self::Client(client) => Subject::from(client),
        }
    }
}

/// An API key: a long-lived secret for programs, which stands for its owner within a scope.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its identifier, which is no secret.
    pub id: ApiKeyId,
    /// What its owner calls it.
    pub name: String,
    /// Whose it is.
    pub owner: ApiKeyOwner,
    /// What it permits.
    pub scope: Scope,
    /// Where it permits it; at least one.
    pub resources: Vec<Resource>,
    /// Of 256 random bits, so that no slow hash is needed.
    pub hash: SecretHash,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it does not exist any more; never if absent.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    #[serde(default)]
    pub last_used_at: Option<DateTime<Utc>>,
}

/// What is asked for when a key is made.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// 1 to 120 characters, no control characters.
    pub name: String,
    /// Whose it is to be. Whether there is such a person or client is not asked.
    pub owner: ApiKeyOwner,
    /// What it is to permit. Whether the owner may do so much is not asked.
    pub scope: Scope,
    /// Where.
    pub resources: Vec<Resource>,
    /// When it is to end.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key and the secret that was just made for it: the only time it can be seen.
#[derive(Debug)]
pub struct CreatedApiKey {
    /// The key.
    pub key: ApiKey,
    /// `sk_` and 43 characters.
    pub secret: Secret,
}
