use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::chain::digest;
use super::{Difference, Origin};
use crate::oauth::{ApiKeyId, ClientId, KeyId, Subject, TokenId, UserId};

/// No text in an entry is longer, in characters; of the rest there is a digest, so that two texts don't look the same.
const LONGEST_TEXT: usize = 512;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $($(#[$doc])* $name,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in the log.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// The service began to serve.
    ServiceStarted = "service.started",
    /// The service ended in order.
    ServiceStopped = "service.stopped",
    /// Somebody began to copy the installation, to move one here or to put an earlier state back; how that ended, one of the
    /// next three says.
    InstallationCopyBegun = "installation.copy_begun",
    /// The installation was copied into a file.
    InstallationExported = "installation.exported",
    /// An installation was moved here.
    InstallationImported = "installation.imported",
    /// An earlier state was put back, and nothing that was issued until then counts any more.
    InstallationRestored = "installation.restored",
    /// Somebody said that no earlier state was put back, although it looked so.
    InstallationFalseAlarm = "installation.false_alarm",
    /// Somebody gave the installation another issuer.
    InstallationIssuerChanged = "installation.issuer_changed",
    /// The log ended in the middle of a line, which was cut off.
    AuditTailCut = "audit.tail_cut",
    /// The log before this entry ends before an entry that the store knows of: it was moved away, or its end was cut off.
    AuditBegunAnew = "audit.begun_anew",
    /// The log does not agree with itself before this entry, behind which it goes on.
    AuditDamaged = "audit.damaged",
    /// After events that could not be recorded, the log can be written again.
    AuditResumed = "audit.resumed",
    /// A key was made, and is published or will be.
    KeyGenerated = "key.generated",
    /// A key began to sign.
    KeyActivated = "key.activated",
    /// A key's successor took over; it is still published.
    KeyRetired = "key.retired",
    /// A key is no longer published.
    KeyForgotten = "key.forgotten",
    /// Somebody asked that the waiting key take over.
    KeyRotateRequested = "key.rotate_requested",
    /// A rotation was due and failed; the old keys go on.
    KeyRotationFailed = "key.rotation_failed",
    /// Somebody declared a key compromised.
    KeyCompromised = "key.compromised",
    /// A key from elsewhere was taken in.
    KeyImported = "key.imported",
    /// The keys were sealed with another key-encryption key.
    KeysRekeyed = "keys.rekeyed",
    /// A client was registered.
    ClientRegistered = "client.registered",
    /// A client's registration was changed.
    ClientChanged = "client.changed",
    /// A client was given a new secret.
    ClientSecretRotated = "client.secret_rotated",
    /// A client was removed.
    ClientDeleted = "client.deleted",
    /// An account was made.
    UserRegistered = "user.registered",
    /// An account was changed; which members, says the detail. A new password or disabling it signs the person out
    /// everywhere.
    UserChanged = "user.changed",
    /// An account was removed.
    UserDeleted = "user.deleted",
    /// The users API refused a call.
    UsersRefused = "users.refused",
    /// A person signed in.
    SessionStarted = "session.started",
    /// A person signed out.
    SessionEnded = "session.ended",
    /// A client could not be told that a session it took part in has ended, and is not told any more.
    LogoutUndelivered = "logout.undelivered",
    /// Somebody failed to sign in.
    SignInFailed = "sign_in.failed",
    /// A person was asked whether a client may, and said yes or no.
    ConsentGiven = "consent.given",
    /// A person took back what a client was allowed.
    ConsentWithdrawn = "consent.withdrawn",
    /// A person's second factor came into use.
    SecondFactorAdded = "second_factor.added",
    /// A person's second factor was removed.
    SecondFactorRemoved = "second_factor.removed",
    /// A person was given new recovery codes.
    RecoveryCodesRenewed = "recovery_codes.renewed",
    /// An API key was made.
    ApiKeyCreated = "api_key.created",
    /// An API key was revoked.
    ApiKeyRevoked = "api_key.revoked",
    /// A code was presented again by whoever had all that it is bound to; what it produced was revoked.
    CodeReplayed = "code.replayed",
    /// A refresh token was presented again after it was spent; its family was revoked.
    RefreshTokenReused = "refresh_token.reused",
    /// One token was revoked.
    TokenRevoked = "token.revoked",
    /// Everything issued before a time was revoked, to a client or for a subject.
    TokensRevokedBefore = "tokens.revoked_before",
    /// The admin API refused a call.
    AdminRefused = "admin.refused",
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done, or is about to be: admin acts are recorded first.
    Success,
    /// It was not allowed.
    Refused,
    /// It was allowed and did not work.
    Failed,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "id", rename_all = "lowercase")]
pub enum Actor {
    /// Signet itself, on schedule.
    Service,
    /// Whoever ran the command line on the machine itself, by user name.
    Operator(String),
    /// An authenticated client.
    Client(ClientId),
    /// A person, signed in or with the right password.
    User(UserId),
    /// Whoever holds this API key.
    #[serde(rename = "api_key")]
    ApiKey(ApiKeyId),
    /// Somebody who did not say, or could not prove, who they are.
    Anonymous,
}

impl fmt::Display for Actor {
    /// For the service's own log; a name that the environment gave can't begin a line there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.write_str("the service"),
            Self::Operator(name) => write!(f, "operator {}", name.escape_debug()),
            Self::Client(id) => write!(f, "client {id}"),
            Self::User(id) => write!(f, "user {id}"),
            Self::ApiKey(id) => write!(f, "API key {id}"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// Something to record. Secrets have no way in: details are plain values, and [`crate::oauth::Secret`] is none.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    #[serde(rename = "event")]
    kind: EventKind,
    outcome: Outcome,
    actor: Actor,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Subject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    detail: BTreeMap<&'static str, Value>,
}

impl Event {
    /// `actor` did it, with success.
    #[must_use]
    pub fn new(kind: EventKind, actor: Actor) -> Self {
        let actor = match actor {
            Actor::Operator(name) => Actor::Operator(clipped(&name)),
            actor => actor,
        };
        Self {
            kind,
            outcome: Outcome::Success,
            actor,
            subject: None,
            client_id: None,
            kid: None,
            jti: None,
            source_ip: None,
            request_id: None,
            detail: BTreeMap::new(),
        }
    }

    /// What kind of event it is.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// It ended otherwise than with success.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// It was done to this subject.
    #[must_use]
    pub fn subject(mut self, subject: &Subject) -> Self {
        self.subject = Some(subject.clone());
        self
    }

    /// It was done to this client.
    #[must_use]
    pub fn client(mut self, client_id: &ClientId) -> Self {
        self.client_id = Some(client_id.clone());
        self
    }

    /// It was done to this key.
    #[must_use]
    pub fn key(mut self, kid: &KeyId) -> Self {
        self.kid = Some(kid.clone());
        self
    }

    /// It was done to this token.
    #[must_use]
    pub fn token(mut self, jti: &TokenId) -> Self {
        self.jti = Some(jti.clone());
        self
    }

    /// It was done for this request.
    pub(super) fn caused_by(mut self, origin: &Origin) -> Self {
        self.source_ip = origin.address.map(|address| address.to_canonical());
        self.request_id = Some(origin.request_id.to_string());
        self
    }

    /// More about it, for people. Must not be a secret; texts are cut at 512 characters, and end with a digest of the whole then.
    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.detail.insert(name, bounded(value.into()));
        self
    }

    /// What was changed.
    #[must_use]
    pub fn difference(self, difference: &Difference) -> Self {
        let event = self.detail("members", difference.members.clone());
        if difference.changes.is_empty() {
            return event;
        }
        event.detail("changes", serde_json::json!(difference.changes))
    }
}

fn bounded(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clipped(&text)),
        Value::Array(values) => values.into_iter().map(bounded).collect(),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (clipped(&name), bounded(value))).collect())
        }
        value => value,
    }
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}… sha256 {}", &text[..end], digest(text.as_bytes())),
        None => text.to_owned(),
    }
}
