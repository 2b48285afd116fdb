use std::sync::Arc;

use serde_json::Value;

use super::asked_claims::{self, AskedAcr};
use super::redirect::{Reply, ReplyTo, ResponseMode};
use super::{Door, Prompt, target};
use crate::clients::{Client, GrantType};
use crate::oauth::{CodeChallenge, ErrorCode, RedirectUri, Resource, Scope, Subject};
use crate::protocol::welcome::is_welcome;
use crate::protocol::{Params, ProtocolError, Services};

/// The longest `nonce` and `login_hint` that are taken, in bytes.
const LONGEST_TEXT: usize = 512;

/// An authorization request (RFC 6749, section 4.1.1; OpenID Connect Core 1.0, section 3.1.2.1) whose client is
/// registered, whose redirect URI is that client's, and which asks for nothing that the client may not have.
///
/// `display` and `ui_locales` are taken and change nothing: there is one kind of page, in English.
#[derive(Debug)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client: Arc<Client>,
    /// Where the answer goes.
    pub reply_to: ReplyTo,
    /// The redirect URI, if the request named it.
    pub redirect_uri: Option<String>,
    /// What for.
    pub scope: Scope,
    /// For which resources.
    pub resources: Vec<Resource>,
    /// What the code is bound to.
    pub code_challenge: Option<CodeChallenge>,
    /// What the person is to be asked.
    pub prompt: Prompt,
    /// How many seconds ago they may have signed in at most.
    pub max_age: Option<i64>,
    /// Who the client thinks they are, in words.
    pub login_hint: Option<String>,
    /// Who they have to be.
    pub subject: Option<Subject>,
    /// How well they shall have proved it.
    pub acr: AskedAcr,
    /// Given back in the ID token.
    pub nonce: Option<String>,
    /// The claims that are asked for one by one.
    pub claims: Option<Value>,
}

/// A request that is not granted.
#[derive(Debug)]
pub enum Refused {
    /// To be told to the person: there is no place of the client's to tell it to.
    Here(ProtocolError),
    /// To be told to the client, at its redirect URI.
    ToClient(Box<Reply>),
    /// To be told to the person, who may go on to the client with it: nobody vouches for where that leads (RFC 9700,
    /// section 4.11.2).
    ByLink(Box<Reply>),
}

impl From<ProtocolError> for Refused {
    fn from(error: ProtocolError) -> Self {
        Self::Here(error)
    }
}

impl AuthorizationRequest {
    /// Reads a request. Whatever is wrong before the redirect URI is known to be the client's stays here; only then
    /// is the client told (RFC 6749, section 4.1.2.1).
    ///
    /// # Errors
    /// As RFC 6749, section 4.1.2.1, OpenID Connect Core 1.0, section 3.1.2.6 and RFC 8707, section 2 have them.
    pub fn read(services: &Services, door: Door, params: &Params<'_>) -> Result<Self, Refused> {
        let client = client(services, params)?;
        let redirect_uri = redirect_uri(&client, params)?;
        let reply_to = ReplyTo {
            client_name: client.client_name.clone(),
            is_vouched_for: client.is_vouched_for(),
            response_mode: ResponseMode::Query.or_out_of_band(&redirect_uri),
            redirect_uri,
            state: params.one("state").map(str::to_owned),
            issuer: services.issuer.clone(),
        };
        let reply_to = match reply_to.clone().in_mode(params.one("response_mode")) {
            Ok(reply_to) => reply_to,
            Err(error) => return Err(Refused::unasked(&reply_to, &error)),
        };
        Self::rest(services, door, params, (client, reply_to.clone()))
            .map_err(|error| Refused::unasked(&reply_to, &error))
    }

    fn rest(
        services: &Services,
        door: Door,
        params: &Params<'_>,
        (client, reply_to): (Arc<Client>, ReplyTo),
    ) -> Result<Self, ProtocolError> {
        unsupported(params)?;
        if !client.may(GrantType::AuthorizationCode) {
            let reason = "the client is not registered for authorization_code";
            return Err(ProtocolError::new(ErrorCode::UnauthorizedClient, reason));
        }
        if params.required("response_type")? != "code" {
            let reason = "the one response_type is code";
            return Err(ProtocolError::new(ErrorCode::UnsupportedResponseType, reason));
        }
        let claims = asked_claims::read(params)?;
        let (scope, resources) = target::asked(services, &client, params, door.default_scope())?;
        let scope = target::with_claims(&client, &scope, claims.as_ref())?;
        if scope.contains(Scope::OPENID) && matches!(services.id_token_key(&client), Ok(None)) {
            // Before anybody signs in for it.
            return Err(services.no_id_token(&client));
        }
        let prompt = Prompt::read(params)?;
        Ok(Self {
            redirect_uri: params.one("redirect_uri").map(str::to_owned),
            code_challenge: code_challenge(&client, params)?,
            prompt,
            max_age: max_age(params)?,
            login_hint: short(params, "login_hint")?,
            subject: asked_claims::subject(services, &client, params, (prompt, claims.as_ref()))?,
            acr: AskedAcr::read(params, claims.as_ref())?,
            nonce: short(params, "nonce")?,
            claims,
            client,
            reply_to,
            scope,
            resources,
        })
    }

    /// Whether its client may ask people at all, now.
    ///
    /// # Errors
    /// When it may not, or the store fails: both are the person's to know.
    pub(super) async fn is_welcome(&self, services: &Services) -> Result<(), ProtocolError> {
        let reason = "the application is not in use at present";
        let closed = || ProtocolError::new(ErrorCode::UnauthorizedClient, reason);
        if is_welcome(services, &self.client).await? { Ok(()) } else { Err(closed()) }
    }

    /// Whether an ID token is asked for.
    #[must_use]
    pub fn is_openid(&self) -> bool {
        self.scope.contains(Scope::OPENID)
    }

    /// Whether anybody could pretend to be this client: it has no secret, and another app on the same machine could
    /// receive its answer (RFC 8252, section 8.6).
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        self.client.is_public() && !self.reply_to.redirect_uri.starts_with("https://")
    }
}

fn client(services: &Services, params: &Params<'_>) -> Result<Arc<Client>, ProtocolError> {
    let client_id = params.required("client_id")?;
    let unknown = || ProtocolError::invalid_request("client_id names no application that is registered here");
    services.clients.find(client_id).ok_or_else(unknown)
}

/// The redirect URI: compared as text (RFC 9700, section 2.1). It may be left out where the client has only one
/// (RFC 6749, section 3.1.2.3), but not of an OpenID Connect request (Core 1.0, section 3.1.2.1).
fn redirect_uri(client: &Client, params: &Params<'_>) -> Result<String, ProtocolError> {
    let is_openid = params.one("scope").is_some_and(|scope| scope.split(' ').any(|it| it == Scope::OPENID));
    match (params.one("redirect_uri"), client.redirect_uris.as_slice()) {
        (Some(asked), registered) if registered.iter().any(|each| each.admits(asked)) => Ok(asked.to_owned()),
        (Some(_), _) => {
            Err(ProtocolError::invalid_request("redirect_uri is not one that the application has registered"))
        }
        (None, [only]) if !is_openid => Ok(only.as_str().to_owned()),
        (None, _) => Err(ProtocolError::invalid_request("redirect_uri is missing")),
    }
}

impl ResponseMode {
    fn or_out_of_band(self, redirect_uri: &str) -> Self {
        if redirect_uri == RedirectUri::OUT_OF_BAND { Self::OutOfBand } else { self }
    }
}

impl ReplyTo {
    fn in_mode(mut self, asked: Option<&str>) -> Result<Self, ProtocolError> {
        let asked = match asked {
            None | Some("query") => ResponseMode::Query,
            Some("form_post") => ResponseMode::FormPost,
            Some(_) => {
                return Err(ProtocolError::invalid_request("the response_mode must be query or form_post"));
            }
        };
        self.response_mode = asked.or_out_of_band(&self.redirect_uri);
        Ok(self)
    }
}

/// Parameters whose being ignored would change what is asked for (OpenID Connect Core 1.0, section 3.1.2.6).
fn unsupported(params: &Params<'_>) -> Result<(), ProtocolError> {
    let refused = [
        ("request", ErrorCode::RequestNotSupported),
        ("request_uri", ErrorCode::RequestUriNotSupported),
        ("registration", ErrorCode::RegistrationNotSupported),
    ];
    match refused.into_iter().find(|(name, _)| params.one(name).is_some()) {
        Some((name, code)) => Err(ProtocolError::new(code, format!("{name} is not supported"))),
        None => Ok(()),
    }
}

/// RFC 7636, section 4.3; an absent method would mean `plain`, which proves nothing to who reads the request.
fn code_challenge(client: &Client, params: &Params<'_>) -> Result<Option<CodeChallenge>, ProtocolError> {
    let method = params.one("code_challenge_method");
    match params.one("code_challenge") {
        Some(_) if method != Some("S256") => {
            Err(ProtocolError::invalid_request("code_challenge_method must be S256"))
        }
        Some(challenge) => {
            let malformed = |_| ProtocolError::invalid_request("code_challenge is not one of method S256");
            CodeChallenge::parse(challenge).map(Some).map_err(malformed)
        }
        None if method.is_some() || client.require_pkce || client.is_public() => {
            Err(ProtocolError::invalid_request("code_challenge is missing"))
        }
        None => Ok(None),
    }
}

fn max_age(params: &Params<'_>) -> Result<Option<i64>, ProtocolError> {
    let Some(text) = params.one("max_age") else { return Ok(None) };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(seconds) if digits => Ok(Some(seconds)),
        _ => Err(ProtocolError::invalid_request("max_age must be a number of seconds")),
    }
}

fn short(params: &Params<'_>, name: &'static str) -> Result<Option<String>, ProtocolError> {
    match params.one(name) {
        Some(text) if text.len() > LONGEST_TEXT => {
            Err(ProtocolError::invalid_request(format!("{name} is too long")))
        }
        text => Ok(text.map(str::to_owned)),
    }
}
