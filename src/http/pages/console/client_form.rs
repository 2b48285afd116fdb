use crate::clients::{AuthMethod, Client, ClientChange, ConsentRule, GrantType, Registration};
use crate::http::pages::fields::{joined, lines, text, value, web_uri};
use crate::oauth::{Origin, RedirectUri, Resource, Scope, WebUri};
use crate::protocol::{Params, ProtocolError, Services};

/// A client as its form shows it and brings it: texts, not yet believed.
pub(super) struct ClientForm {
    pub(super) client_name: String,
    pub(super) scope: String,
    pub(super) default_scope: String,
    /// Every resource there is, and whether it is the client's.
    pub(super) resources: Vec<(String, bool)>,
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
    /// Whether it is to have no secret; only asked when it is registered.
    pub(super) public: bool,
}

impl ClientForm {
    /// A registered client.
    pub(super) fn of(services: &Services, client: &Client) -> Self {
        let page = |uri: &Option<WebUri>| uri.as_ref().map(ToString::to_string).unwrap_or_default();
        Self {
            client_name: client.client_name.clone(),
            scope: client.scope.to_string(),
            default_scope: client.default_scope.to_string(),
            resources: resources(services, |uri| client.resources.iter().any(|each| each.as_str() == uri)),
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
            public: client.is_public(),
        }
    }

    /// What a form brought, or an empty one.
    pub(super) fn read(services: &Services, params: &Params<'_>) -> Self {
        let text = |name| text(params, name);
        let checked = |name: &str| params.one(name) == Some("yes");
        Self {
            client_name: text("client_name"),
            scope: text("scope"),
            default_scope: text("default_scope"),
            resources: resources(services, |uri| params.all("resource").any(|each| each == uri)),
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
            public: checked("public"),
        }
    }

    /// As a new client. Without a choice of grants it gets the usual ones.
    pub(super) fn registration(&self) -> Result<Registration, ProtocolError> {
        let change = self.change()?;
        Ok(Registration {
            client_name: self.client_name.clone(),
            scope: change.scope.unwrap_or_default(),
            default_scope: change.default_scope.filter(|_| !self.default_scope.is_empty()),
            resources: change.resources.unwrap_or_default(),
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
            token_endpoint_auth_method: if self.public { AuthMethod::None } else { AuthMethod::default() },
            ..Registration::default()
        })
    }

    /// As a change of everything that the form shows.
    pub(super) fn change(&self) -> Result<ClientChange, ProtocolError> {
        let chosen = self.resources.iter().filter(|(_, chosen)| *chosen);
        let chosen = chosen.map(|(uri, _)| value("resource", uri, Resource::parse));
        let grants = GrantType::ALL.into_iter().zip(&self.grants);
        Ok(ClientChange {
            client_name: Some(self.client_name.clone()),
            scope: Some(value("scope", &self.scope, Scope::parse)?),
            default_scope: Some(value("default_scope", &self.default_scope, Scope::parse)?),
            resources: Some(chosen.collect::<Result<_, _>>()?),
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
            ..ClientChange::default()
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
