//! Typed settings. Every invalid combination is refused here, once, naming file, key and remedy.
//!
//! Layers, each over the one before: the defaults, the settings file, the environment, the flags.
//! [`load`] reports everything that is wrong together, not only the first thing.
//!
//! The files: `sections` are the types of the settings, `setting` is the table of all settings, `closest` finds one by its name, `layers` merges where they come from, `reader`
//! takes them out one by one, `leaf` turns each into its type, `store` and `tls` read what has rules of its own, `check` holds the rules between settings.

mod check;
mod closest;
mod error;
mod exposure;
mod forwarded_header;
mod kek;
mod layers;
mod leaf;
mod load;
mod reader;
mod sections;
mod setting;
mod store;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::oauth::Algorithm;

pub use check::lies_in;
pub use error::{ConfigError, Problem, Refusal};
pub use exposure::exposed;
pub use forwarded_header::ForwardedHeader;
pub use kek::{KekSource, ModuleKeyConfig, PinSource};
pub(crate) use layers::PIN_VARIABLE;
pub use layers::{FlagOverrides, Sources};
pub use load::{load, load_for_tables, load_with};
pub use sections::{
    AdminConfig, AdminListener, ApiKeysConfig, CodesConfig, DialectsConfig, HashingCost, KeysConfig,
    LimitsConfig, LogConfig, OutgoingConfig, PagesConfig, PasswordsConfig, PeopleConfig, RefreshTokensConfig,
    ResourceConfig, SessionsConfig, TokensConfig, VaultPlace,
};
pub use setting::{SETTINGS, Setting};
pub use store::{PasswordSource, PostgresConfig, StoreConfig};
pub use tls::{TlsConfig, TransportPolicy};

/// All settings of a running service, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The issuer's identifier (RFC 8414, section 2): the origin of every URL that Signet publishes.
    /// No trailing slash.
    pub issuer: String,
    /// Where the public listener binds.
    pub listen: SocketAddr,
    /// With what it speaks TLS, unless it is left to a proxy.
    pub tls: Option<TlsConfig>,
    /// Where metrics and health are served.
    pub management_listen: SocketAddr,
    /// The admin API.
    pub admin: AdminConfig,
    /// What this node is called in the log, the metrics and the audit log.
    pub node: String,
    /// Worker threads of the public listener.
    pub workers: usize,
    /// Where sled, the audit log and nothing else live.
    pub data_dir: PathBuf,
    /// Where what must be remembered is kept.
    pub store: StoreConfig,
    /// Logging.
    pub log: LogConfig,
    /// Keys.
    pub keys: KeysConfig,
    /// Tokens.
    pub tokens: TokensConfig,
    /// Authorization codes.
    pub codes: CodesConfig,
    /// Refresh tokens.
    pub refresh_tokens: RefreshTokensConfig,
    /// Resource servers, besides the built-in users API and admin API.
    pub resources: Vec<ResourceConfig>,
    /// Passwords.
    pub passwords: PasswordsConfig,
    /// Sign-in sessions.
    pub sessions: SessionsConfig,
    /// The pages that people see.
    pub pages: PagesConfig,
    /// What old documents' clients need beyond the standard.
    pub dialects: DialectsConfig,
    /// The networks of the proxies in front of the service.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they say for whom they ask.
    pub forwarded_header: ForwardedHeader,
    /// Whether they say in `X-Request-Id` what a request is called.
    pub believe_request_id: bool,
    /// How many requests are let through.
    pub limits: LimitsConfig,
    /// API keys.
    pub api_keys: ApiKeysConfig,
    /// What people may do with their own accounts.
    pub people: PeopleConfig,
    /// Requests that the service itself makes.
    pub outgoing: OutgoingConfig,
}

impl Config {
    /// The identifier of the built-in admin API as a resource: the value of `resource` and `aud`.
    #[must_use]
    pub fn admin_resource(&self) -> String {
        format!("{}/admin", self.issuer)
    }

    /// The issuer's host: what people know the service by.
    #[must_use]
    pub fn issuer_host(&self) -> String {
        let url = url::Url::parse(&self.issuer).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| self.issuer.clone())
    }

    /// The identifier of the built-in users API as a resource.
    #[must_use]
    pub fn users_resource(&self) -> String {
        format!("{}/users", self.issuer)
    }

    /// The resource that is served while none is named.
    #[must_use]
    pub fn demo_resource(&self) -> Option<&ResourceConfig> {
        let [(_, demo), ..] = setting::DEMO_RESOURCE;
        self.resources.iter().find(|resource| resource.uri.as_str() == demo)
    }

    /// Where sled keeps what must be remembered.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// Where the audit log is written.
    #[must_use]
    pub fn audit_path(&self) -> PathBuf {
        self.data_dir.join("audit.jsonl")
    }

    /// The default settings with everything under `dir` and free ports: for tests. Not checked.
    #[must_use]
    pub fn for_tests(dir: &Path) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = load::defaults();
        config.listen = anywhere;
        config.management_listen = anywhere;
        config.node = "node-1".into();
        config.workers = 1;
        config.data_dir = dir.join("data");
        config.keys.dir = dir.join("keys");
        // RSA keys take long to make.
        config.keys.algorithms = vec![Algorithm::ES256];
        config.passwords.cost = HashingCost::LEAST;
        config
    }
}
