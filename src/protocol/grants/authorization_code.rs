use super::person::{Plan, Wish, in_session, invalid_grant, is_refreshable, not_revoked, while_in_session};
use super::{Defaults, Granted, replayed};
use crate::audit::{Actor, Event, EventKind};
use crate::clients::{AuthenticatedClient, Client, GrantType};
use crate::oauth::{CodeVerifier, FamilyId, Secret};
use crate::protocol::welcome::welcome;
use crate::protocol::{Params, ProtocolError, Services};
use crate::store::{Batch, StoreError};
use crate::tokens::{FoundCode, FreshCode, Grant, LiveToken, Presented, PresentedRedirectUri, Replayed};
use crate::users::Account;

/// How often a code is tried anew whose session was changed meanwhile: a person may open many applications at once.
const ATTEMPTS: usize = 100;

/// A request to redeem a code (RFC 6749, section 4.1.3).
#[derive(Debug)]
pub(super) struct CodeRequest {
    client: AuthenticatedClient,
    code: Secret,
    redirect_uri: Option<String>,
    without_redirect_uri: bool,
    code_verifier: Option<CodeVerifier>,
    resources: Vec<String>,
}

impl CodeRequest {
    pub(super) fn read(
        client: AuthenticatedClient,
        params: &Params<'_>,
        defaults: &Defaults,
    ) -> Result<Self, ProtocolError> {
        let malformed = |_| ProtocolError::invalid_request("code_verifier is malformed");
        Ok(Self {
            client,
            code: Secret::new(params.required("code")?.to_owned()),
            redirect_uri: params.one("redirect_uri").map(str::to_owned),
            without_redirect_uri: defaults.without_redirect_uri,
            code_verifier: params
                .one("code_verifier")
                .map(CodeVerifier::parse)
                .transpose()
                .map_err(malformed)?,
            resources: params.all("resource").map(str::to_owned).collect(),
        })
    }

    fn presented(&self) -> Presented<'_> {
        let redirect_uri = match &self.redirect_uri {
            Some(uri) => PresentedRedirectUri::Named(uri),
            None if self.without_redirect_uri => PresentedRedirectUri::NotAsked,
            None => PresentedRedirectUri::Absent,
        };
        let code_verifier = self.code_verifier.clone();
        Presented { client_id: &self.client.client_id, redirect_uri, code_verifier }
    }
}

/// Redeems a code: spent in one commit before anything is issued. Whoever presents it again, with all that it is
/// bound to, ends what it produced (RFC 6749, section 4.1.2); whoever lacks any of that changes nothing.
pub(super) async fn redeem(services: &Services, request: CodeRequest) -> Result<Granted, ProtocolError> {
    let client = &request.client;
    welcome(services, client).await?;
    let fresh = find(services, &request).await?;
    if client.require_pkce && !fresh.has_challenge {
        return Err(bad_code());
    }
    in_session(services, &fresh.grant, bad_code).await?;
    let wish = Wish { scope: None, resources: request.resources.clone(), needs_id_token: true };
    let plan = Plan::new(services, client, &fresh.grant, &wish)?;
    let (prepared, account) = plan.prepare(services, bad_code).await?;
    if plan.names_the_person() {
        join(services, client, (&fresh.grant, &account)).await?;
    }
    let family = services.codes.new_family(&fresh.grant);
    let refresh = is_refreshable(client, &fresh.grant).then(|| {
        // The nonce is for the first ID token alone.
        let grant = Grant { nonce: None, ..fresh.grant.clone() };
        services.refresh_tokens.first(family.clone(), grant)
    });
    let refresh_token = refresh.as_ref().map(|token| services.refresh_tokens.seal(token)).transpose()?;
    let end = refresh.map_or(0, |token| token.family_ends_at);
    spend(services, &request, &fresh, (&family, &prepared.live(), end)).await?;
    not_revoked(services, &fresh.grant, bad_code)?;
    plan.issue(services, &prepared, (GrantType::AuthorizationCode, refresh_token), &account)
}

/// Spends the code while the session lives.
async fn spend(
    services: &Services,
    request: &CodeRequest,
    fresh: &FreshCode,
    (family, token, end): (&FamilyId, &LiveToken, i64),
) -> Result<(), ProtocolError> {
    for _ in 0..ATTEMPTS {
        let batch = while_in_session(services, &fresh.grant, Batch::new()).await?.ok_or_else(bad_code)?;
        if services.codes.redeem(batch, fresh, family, (token, end)).await? {
            return Ok(());
        }
        // The session was used meanwhile, and the code is as it was. Or somebody was faster: this is a second request, and
        // the code is found spent now.
        find(services, request).await?;
    }
    Err(StoreError::Unavailable("a session is changed by too many at once".into()).into())
}

/// A client that wants to be told when the session is ended takes part in it before it learns who signed in. It may have
/// ended since [`in_session`] looked: then there would be nothing left to tell.
async fn join(
    services: &Services,
    client: &Client,
    (grant, account): (&Grant, &Account),
) -> Result<(), ProtocolError> {
    let (Some(sid), Some(_)) = (&grant.sid, &client.backchannel_logout_uri) else { return Ok(()) };
    let party = (&client.client_id, client.created_at);
    if services.sessions.join(&account.id, sid, party).await? { Ok(()) } else { Err(bad_code()) }
}

/// The code, if it can be redeemed. A spent one ends its family.
async fn find(services: &Services, request: &CodeRequest) -> Result<Box<FreshCode>, ProtocolError> {
    match services.codes.find(request.code.expose(), &request.presented()).await? {
        Some(FoundCode::Fresh(fresh)) => Ok(fresh),
        Some(FoundCode::Spent { family, end }) => {
            let client_id = &request.client.client_id;
            let event = Event::new(EventKind::CodeReplayed, Actor::Client(client_id.clone()));
            replayed(services, Replayed::Code, (&family, end), event.client(client_id)).await?;
            Err(bad_code())
        }
        None => Err(bad_code()),
    }
}

fn bad_code() -> ProtocolError {
    invalid_grant("The authorization code is invalid or expired")
}
