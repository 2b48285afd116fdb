use std::collections::BTreeMap;
use std::sync::Arc;

use super::looks::Looks;
use super::pages::{Cookies, Frame};
use super::publish::Published;
use super::request_id::RequestIds;
use crate::config::{AdminListener, Config};
use crate::limits::TrustedProxies;
use crate::protocol::{Health, Services};
use crate::telemetry::Metrics;

/// What every handler works with.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct State {
    /// The protocol's side.
    pub services: Arc<Services>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How the service is, for all who ask at a time.
    pub(super) looks: Looks<Health>,
    /// Documents that never change while the service runs.
    pub(super) published: Published,
    /// Whose word is believed about where a request comes from.
    pub(super) proxies: TrustedProxies,
    /// Whether they say what a request is called.
    pub(super) believe_request_id: bool,
    /// What requests are called otherwise.
    pub(super) request_ids: RequestIds,
    /// How cookies are written.
    pub(super) cookies: Cookies,
    /// What surrounds every page.
    pub(super) frame: Frame,
    /// What scope tokens mean in words, where the usual words don't fit.
    pub(super) scope_descriptions: BTreeMap<String, String>,
    /// Whether API keys are taken in the query too.
    pub(super) api_keys_in_query: bool,
    /// Whether people may change their e-mail address.
    pub(super) change_email: bool,
    /// Whether people's applications get tokens of their own too.
    pub(super) client_credentials: bool,
    /// Which listener serves the admin API.
    pub(super) admin_listener: AdminListener,
    /// Whether anybody may register an application.
    pub(super) apps: bool,
    /// Whether `GET /oauth/token` issues.
    pub(super) oauth_token_get: bool,
}

impl State {
    /// The state of a service; built once, shared by all workers.
    #[must_use]
    pub fn new(services: Arc<Services>, metrics: Arc<Metrics>, config: &Config) -> Self {
        let published = Published::new(&services);
        let request_ids = RequestIds::new(services.entropy.as_ref());
        Self {
            services,
            metrics,
            looks: Looks::default(),
            published,
            proxies: TrustedProxies::new(config),
            believe_request_id: config.believe_request_id,
            request_ids,
            cookies: Cookies::of(&config.issuer),
            frame: Frame::new(&config.issuer, &config.pages.service_name),
            scope_descriptions: config.pages.scope_descriptions.clone(),
            api_keys_in_query: config.api_keys.in_query,
            change_email: config.people.change_email,
            client_credentials: config.people.client_credentials,
            admin_listener: config.admin.listener,
            apps: config.dialects.apps,
            oauth_token_get: config.dialects.oauth_token_get,
        }
    }
}
