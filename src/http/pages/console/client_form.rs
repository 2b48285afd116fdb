use std::fmt::Display;
use std::str::FromStr;

use crate::clients::{AuthMethod, Client, ClientChange, ConsentRule, GrantType, Registration};
use crate::http::pages::fields::{joined, lines, of_version, optional, text, value, version, web_uri};
use crate::oauth::{Algorithm, ClientId, Origin, RedirectUri, Resource, Scope, WebUri};
use crate::protocol::{Params, ProtocolError, Services};

/// A client as its form shows it and brings it: texts, not yet believed.
pub(super) struct ClientForm {
    /// Of which version of the client; empty for a new one.
    pub(super) version: String,
    /// Only asked when it is registered; one is made up if it is empty.
    pub(super) client_id: String,
    pub(super) client_name: String,
    /// Every way to prove itself, and whether it is the client's.
    pub(super) auth_methods: Options,
    pub(super) scope: String,
    pub(super) default_scope: String,
    /// Every resource there is, and whether it is the client's.
    pub(super) resources: Vec<(String, bool)>,
    /// The same for those that it speaks for.
    pub(super) audience_of: Vec<(String, bool)>,
    /// In seconds; the resource's own if empty.
    pub(super) access_token_lifetime: String,
    /// Every algorithm in use, and whether its access tokens, and its ID tokens, are signed with it.
    pub(super) access_token_algs: Options,
    pub(super) id_token_algs: Options,
    /// Every grant there is, and whether it is the client's.
    pub(super) grants: Vec<(&'static str, bool)>,
    pub(super) redirect_uris: String,
    pub(super) post_logout_redirect_uris: String,
    pub(super) backchannel_logout_uri: String,
    pub(super) backchannel_logout_session_required: bool,
    pub(super) allowed_origins: String,
    pub(super) client_uri: String,
    pub(super) logo_uri: String,
    pub(super) policy_uri: String,
    pub(super) tos_uri: String,
    /// Whether people are not asked.
    pub(super) implied: bool,
    /// Whether it need not bind its codes.
    pub(super) without_pkce: bool,
}

impl ClientForm {
    /// A registered client.
    pub(super) fn of(services: &Services, client: &Client) -> Self {
        let page = |uri: &Option<WebUri>| uri.as_ref().map(ToString::to_string).unwrap_or_default();
        let method = client.token_endpoint_auth_method;
        Self {
            version: version(client.updated_at),
            client_id: client.client_id.to_string(),
            client_name: client.client_name.clone(),
            auth_methods: options(AuthMethod::ALL.map(AuthMethod::as_str), Some(method.as_str())),
            scope: client.scope.to_string(),
            default_scope: client.default_scope.to_string(),
            resources: resources(services, |uri| client.resources.iter().any(|each| each.as_str() == uri)),
            audience_of: resources(services, |uri| {
                client.audience_of.iter().any(|each| each.as_str() == uri)
            }),
            access_token_lifetime: client
                .access_token_lifetime
                .map(|seconds| seconds.to_string())
                .unwrap_or_default(),
            access_token_algs: algorithms(services, client.access_token_signing_alg.map(Algorithm::as_str)),
            id_token_algs: algorithms(services, client.id_token_signed_response_alg.map(Algorithm::as_str)),
            grants: GrantType::ALL.map(|grant| (grant.as_str(), client.may(grant))).to_vec(),
            redirect_uris: joined(&client.redirect_uris),
            post_logout_redirect_uris: joined(&client.post_logout_redirect_uris),
            backchannel_logout_uri: page(&client.backchannel_logout_uri),
            backchannel_logout_session_required: client.backchannel_logout_session_required,
            allowed_origins: joined(&client.allowed_origins),
            client_uri: page(&client.client_uri),
            logo_uri: page(&client.logo_uri),
            policy_uri: page(&client.policy_uri),
            tos_uri: page(&client.tos_uri),
            implied: client.consent == ConsentRule::Implied,
            without_pkce: !client.require_pkce,
        }
    }

    /// What a form brought, or an empty one.
    pub(super) fn read(services: &Services, params: &Params<'_>) -> Self {
        let text = |name| text(params, name);
        let checked = |name: &str| params.one(name) == Some("yes");
        let method = params.one("token_endpoint_auth_method");
        Self {
            version: text("version"),
            client_id: text("client_id"),
            client_name: text("client_name"),
            auth_methods: options(AuthMethod::ALL.map(AuthMethod::as_str), method),
            scope: text("scope"),
            default_scope: text("default_scope"),
            resources: resources(services, |uri| params.all("resource").any(|each| each == uri)),
            audience_of: resources(services, |uri| checked(&format!("audience_of:{uri}"))),
            access_token_lifetime: text("access_token_lifetime"),
            access_token_algs: algorithms(services, params.one("access_token_signing_alg")),
            id_token_algs: algorithms(services, params.one("id_token_signed_response_alg")),
            grants: GrantType::ALL.map(|grant| (grant.as_str(), checked(grant.as_str()))).to_vec(),
            redirect_uris: text("redirect_uris"),
            post_logout_redirect_uris: text("post_logout_redirect_uris"),
            backchannel_logout_uri: text("backchannel_logout_uri"),
            backchannel_logout_session_required: checked("backchannel_logout_session_required"),
            allowed_origins: text("allowed_origins"),
            client_uri: text("client_uri"),
            logo_uri: text("logo_uri"),
            policy_uri: text("policy_uri"),
            tos_uri: text("tos_uri"),
            implied: checked("implied"),
            without_pkce: checked("without_pkce"),
        }
    }

    /// As a new client. Without a choice of grants it gets the usual ones.
    pub(super) fn registration(&self) -> Result<Registration, ProtocolError> {
        let change = self.members()?;
        let client_id = self.client_id.as_str();
        Ok(Registration {
            client_id: optional("client_id", client_id, ClientId::parse)?,
            client_name: self.client_name.clone(),
            scope: change.scope.unwrap_or_default(),
            default_scope: change.default_scope.filter(|_| !self.default_scope.is_empty()),
            resources: change.resources.unwrap_or_default(),
            audience_of: change.audience_of.unwrap_or_default(),
            access_token_lifetime: change.access_token_lifetime.flatten(),
            access_token_signing_alg: change.access_token_signing_alg.flatten(),
            id_token_signed_response_alg: change.id_token_signed_response_alg.flatten(),
            grant_types: change.grant_types.filter(|grants| !grants.is_empty()),
            redirect_uris: change.redirect_uris.unwrap_or_default(),
            post_logout_redirect_uris: change.post_logout_redirect_uris.unwrap_or_default(),
            backchannel_logout_uri: change.backchannel_logout_uri.flatten(),
            backchannel_logout_session_required: self.backchannel_logout_session_required,
            allowed_origins: change.allowed_origins.unwrap_or_default(),
            client_uri: change.client_uri.flatten(),
            logo_uri: change.logo_uri.flatten(),
            policy_uri: change.policy_uri.flatten(),
            tos_uri: change.tos_uri.flatten(),
            consent: self.consent(),
            require_pkce: change.require_pkce,
            token_endpoint_auth_method: change.token_endpoint_auth_method.unwrap_or_default(),
            ..Registration::default()
        })
    }

    /// As a change of everything that the form shows, of the version that it shows: what was changed meanwhile is not
    /// undone.
    pub(super) fn change(&self) -> Result<ClientChange, ProtocolError> {
        Ok(ClientChange { of_version: Some(of_version(&self.version)?), ..self.members()? })
    }

    /// Whether it shows the client as it is now.
    pub(super) fn is_of(&self, client: &Client) -> bool {
        self.version == version(client.updated_at)
    }

    fn members(&self) -> Result<ClientChange, ProtocolError> {
        let grants = GrantType::ALL.into_iter().zip(&self.grants);
        Ok(ClientChange {
            client_name: Some(self.client_name.clone()),
            scope: Some(value("scope", &self.scope, Scope::parse)?),
            default_scope: Some(value("default_scope", &self.default_scope, Scope::parse)?),
            token_endpoint_auth_method: chosen("token_endpoint_auth_method", &self.auth_methods)?,
            resources: Some(chosen_resources("resource", &self.resources)?),
            audience_of: Some(chosen_resources("audience_of", &self.audience_of)?),
            access_token_lifetime: Some(optional(
                "access_token_lifetime",
                &self.access_token_lifetime,
                seconds,
            )?),
            access_token_signing_alg: Some(chosen("access_token_signing_alg", &self.access_token_algs)?),
            id_token_signed_response_alg: Some(chosen("id_token_signed_response_alg", &self.id_token_algs)?),
            grant_types: Some(grants.filter(|(_, (_, chosen))| *chosen).map(|(grant, _)| grant).collect()),
            redirect_uris: Some(lines("redirect_uris", &self.redirect_uris, RedirectUri::parse)?),
            post_logout_redirect_uris: Some(lines(
                "post_logout_redirect_uris",
                &self.post_logout_redirect_uris,
                RedirectUri::parse,
            )?),
            backchannel_logout_uri: Some(web_uri("backchannel_logout_uri", &self.backchannel_logout_uri)?),
            backchannel_logout_session_required: Some(self.backchannel_logout_session_required),
            allowed_origins: Some(lines("allowed_origins", &self.allowed_origins, Origin::parse)?),
            client_uri: Some(web_uri("client_uri", &self.client_uri)?),
            logo_uri: Some(web_uri("logo_uri", &self.logo_uri)?),
            policy_uri: Some(web_uri("policy_uri", &self.policy_uri)?),
            tos_uri: Some(web_uri("tos_uri", &self.tos_uri)?),
            consent: Some(self.consent()),
            require_pkce: Some(!self.without_pkce),
            of_version: None,
        })
    }

    fn consent(&self) -> ConsentRule {
        if self.implied { ConsentRule::Implied } else { ConsentRule::Required }
    }
}

fn resources(services: &Services, chosen: impl Fn(&str) -> bool) -> Vec<(String, bool)> {
    let all = services.resources.all().iter().map(|server| server.uri.to_string());
    all.map(|uri| (uri.clone(), chosen(&uri))).collect()
}

fn chosen_resources(name: &str, all: &[(String, bool)]) -> Result<Vec<Resource>, ProtocolError> {
    let chosen = all.iter().filter(|(_, chosen)| *chosen);
    chosen.map(|(uri, _)| value(name, uri, Resource::parse)).collect()
}

/// What can be chosen, and whether it is.
type Options = Vec<(String, bool)>;

/// Those that are `known`, and what was chosen though it is not: it is refused where it is read, and not forgotten.
fn options(known: impl IntoIterator<Item = &'static str>, chosen: Option<&str>) -> Options {
    let chosen = chosen.filter(|chosen| !chosen.is_empty());
    let mut options: Options =
        known.into_iter().map(|each| (each.to_owned(), chosen == Some(each))).collect();
    if let Some(chosen) = chosen.filter(|_| !options.iter().any(|(_, chosen)| *chosen)) {
        options.push((chosen.to_owned(), true));
    }
    options
}

fn chosen<T: FromStr<Err: Display>>(name: &str, options: &Options) -> Result<Option<T>, ProtocolError> {
    options.iter().find(|(_, chosen)| *chosen).map(|(word, _)| value(name, word, str::parse)).transpose()
}

/// The algorithms in use: nothing is signed with another.
fn algorithms(services: &Services, chosen: Option<&str>) -> Options {
    options(services.keys.policy().algorithms().iter().map(|each| each.as_str()), chosen)
}

fn seconds(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "must be a number of seconds")
}
