//! The settings of each part of the service, as [`Config`](super::Config) holds them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::KekSource;
use crate::oauth::{Algorithm, Resource, Scope};

/// How the service logs.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A filter in the syntax of `tracing-subscriber`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// The signing keys' settings; the symbols are those of `docs/keys.md`.
#[derive(Clone, Debug)]
pub struct KeysConfig {
    /// Whether the sealed keys live in a directory or in the store.
    pub vault: VaultPlace,
    /// Where the sealed keys live, if it is a directory.
    pub dir: PathBuf,
    /// Where the key-encryption key comes from.
    pub kek: KekSource,
    /// Algorithms in use; the first is the default.
    pub algorithms: Vec<Algorithm>,
    /// M: for how long a JWKS may be cached.
    pub jwks_max_age: Duration,
    /// P: within what time every node loads a change.
    pub propagation: Duration,
    /// S: clock skew between nodes plus verifiers' leeway.
    pub clock_skew: Duration,
    /// How long a key is published before it signs.
    pub lead: Duration,
    /// How long a key stays published after it signed.
    pub hold: Duration,
    /// How long a key signs.
    pub rotation_period: Duration,
    /// How long a sealing key seals.
    pub sealing_period: Duration,
}

/// Where the sealed keys live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultPlace {
    /// Each in a file of `keys.dir`.
    Directory,
    /// Each in a row of the store.
    Store,
}

impl std::str::FromStr for VaultPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "directory" => Ok(Self::Directory),
            "store" => Ok(Self::Store),
            _ => Err("must be directory or store"),
        }
    }
}

/// The tokens' settings.
#[derive(Clone, Debug)]
pub struct TokensConfig {
    /// How long an access token lives unless its resource or client says otherwise.
    pub lifetime: Duration,
    /// T: no token may live longer, whatever a resource or a client says.
    pub longest_lifetime: Duration,
    /// For how long a status list may be cached: how soon a revocation is seen.
    pub status_list_ttl: Duration,
}

/// The authorization codes' settings.
#[derive(Clone, Copy, Debug)]
pub struct CodesConfig {
    /// Within what time a code must be redeemed.
    pub lifetime: Duration,
}

impl CodesConfig {
    /// The longest that may be set: no code should live longer (RFC 6749, section 4.1.2).
    pub const LONGEST: Duration = Duration::from_mins(10);
}

/// The refresh tokens' settings.
#[derive(Clone, Copy, Debug)]
pub struct RefreshTokensConfig {
    /// How long a grant can be refreshed.
    pub lifetime: Duration,
    /// How long a refresh token may lie unused.
    pub idle: Duration,
}

impl RefreshTokensConfig {
    /// The longest that may be set.
    pub const LONGEST: Duration = Duration::from_hours(2 * 365 * 24);
}

/// A resource server.
#[derive(Clone, Debug)]
pub struct ResourceConfig {
    /// Its identifier: the value of `resource` and `aud`.
    pub uri: Resource,
    /// The scope tokens that mean something to it.
    pub scope: Scope,
    /// The part of it that people may open to API keys and applications of their own.
    pub people_scope: Scope,
    /// How long tokens for it live, instead of the default.
    pub lifetime: Option<Duration>,
    /// With which algorithm tokens for it are signed, instead of the default.
    pub algorithm: Option<Algorithm>,
}

/// How passwords are hashed.
#[derive(Clone, Debug)]
pub struct PasswordsConfig {
    /// How many are hashed at once.
    pub hashing_permits: usize,
    /// What one hash costs. Not a setting: only tests have reason to ask for less.
    pub cost: HashingCost,
}

/// What Argon2id takes for one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl HashingCost {
    /// 19 MiB and two passes: OWASP's first choice for servers.
    pub const ADVISED: Self = Self { memory_kib: 19 * 1024, passes: 2 };

    /// As little as there can be, for tests. **Never for service.**
    pub const LEAST: Self = Self { memory_kib: 8, passes: 1 };
}

/// How long people stay signed in.
#[derive(Clone, Debug)]
pub struct SessionsConfig {
    /// A session that was not used for so long ends.
    pub idle: Duration,
    /// A session as old as this ends, however much it is used.
    pub absolute: Duration,
}

/// The pages that people see.
#[derive(Clone, Debug)]
pub struct PagesConfig {
    /// What the service calls itself.
    pub service_name: String,
    /// What scope tokens mean in words, where the usual words don't fit.
    pub scope_descriptions: BTreeMap<String, String>,
}

/// The admin API.
#[derive(Clone, Copy, Debug)]
pub struct AdminConfig {
    /// Where it is served.
    pub listener: AdminListener,
    /// Whether it may be served where access tokens come in plaintext from other machines.
    pub allow_plaintext: bool,
}

/// Where the admin API is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminListener {
    /// Beside everything else.
    Public,
    /// Beside metrics and health, and nowhere else.
    Management,
}

impl std::str::FromStr for AdminListener {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "public" => Ok(Self::Public),
            "management" => Ok(Self::Management),
            _ => Err("must be public or management"),
        }
    }
}

/// What old documents' clients need beyond the standard.
#[derive(Clone, Debug)]
pub struct DialectsConfig {
    /// Whether `GET /oauth/token` issues, as one document's prose (not its code) has it.
    pub oauth_token_get: bool,
    /// Whether anybody may register an application at `/api/v1/apps`.
    pub apps: bool,
    /// What such an application may register for.
    pub apps_scope: Scope,
    /// How many of them there may be.
    pub most_apps: usize,
}

/// How many requests are let through in any 60 seconds; 0 means that there is no such limit.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// Token requests of one client that has authenticated, with an API key too.
    pub token_per_client: u32,
    /// Token and revocation requests from one address in which no client authenticates, and no API key is good.
    pub token_per_address: u32,
    /// Revocations by one client.
    pub revocation_per_client: u32,
    /// Requests from one address with wrong credentials, or without the permission that they need.
    pub refused_per_address: u32,
    /// Authorization requests from one address.
    pub authorize_per_address: u32,
    /// Sign-ins from one address.
    pub login_per_address: u32,
    /// Sign-ins to one account by whoever has signed in to it before.
    pub login_per_account: u32,
    /// Registrations from one address; counted apart, as many questions with one token which application it is of.
    pub registration_per_address: u32,
    /// What one person changes on the pages of the portal and the console.
    pub acts_per_person: u32,
    /// Requests with one API key.
    pub api_key: u32,
}

/// API keys.
#[derive(Clone, Debug)]
pub struct ApiKeysConfig {
    /// Whether they are taken in the query too, where they end up in logs.
    pub in_query: bool,
}

/// What people may do with their own accounts.
#[derive(Clone, Debug)]
pub struct PeopleConfig {
    /// Whether they may change their e-mail address.
    pub change_email: bool,
    /// Whether their applications get tokens of their own too.
    pub client_credentials: bool,
    /// How many applications and API keys one person may make in any 24 hours.
    pub made_per_day: usize,
}

/// Requests that the service itself makes.
#[derive(Clone, Debug)]
pub struct OutgoingConfig {
    /// Networks that they may reach although they are not public.
    pub allowed_networks: Vec<IpNet>,
    /// Certificates in PEM to trust instead of Mozilla's list.
    pub ca_bundle: Option<PathBuf>,
    /// How long one may take in all.
    pub timeout: Duration,
}
