use std::sync::Arc;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::form::{self, Opened, Purpose};
use super::request::AuthorizationRequest;
use super::step::{Asked, Browser, Present, Step};
use super::{Interrupted, Prompt, Reply};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::clients::{Client, ConsentRule};
use crate::oauth::{ErrorCode, Resource, Scope, Subject, UserId};
use crate::protocol::{Params, ProtocolError, Services};
use crate::store::StoreError;
use crate::tokens::{Grant, IssueError, NewCode};
use crate::users::{Account, Asker, Consent, Session};

/// The question whether a client may.
#[derive(Debug)]
pub struct ConsentForm {
    /// What the answer has to bring back.
    pub state: String,
    /// Who asks.
    pub client: Arc<Client>,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// Who is asked.
    pub account: Account,
    /// Where it counts.
    pub resources: Vec<Resource>,
    /// What is asked for that the person has not allowed there before.
    pub asked: Vec<String>,
    /// What is asked for that they have.
    pub granted: Vec<String>,
}

/// What a consent form carries. Scope, resources and what the client showed itself as are in it so that what is granted is
/// what was shown, whatever the client has become since.
#[derive(Serialize, Deserialize)]
struct Shown {
    /// By what the form is told from any other, so that it is answered once.
    form: String,
    asked: Asked,
    user: UserId,
    scope: Scope,
    resources: Vec<Resource>,
    /// As what the client showed itself ([`Client::shown_as`]).
    guise: Option<String>,
}

/// What comes next for somebody who is signed in: the question, unless the answer is known.
///
/// A client that anybody could pretend to be is asked about every time (RFC 8252, section 8.6).
pub(super) async fn next(
    services: &Services,
    asked: Asked,
    request: AuthorizationRequest,
    present: &Present,
) -> Result<Step, ProtocolError> {
    let user = &present.account.id;
    // Before it is looked what was allowed: whoever withdraws that meanwhile revokes what bears this date.
    let granted_at = date_of_grant(services, &request, user);
    let earlier = earlier(services, &request, user).await?;
    if needs_no_question(&request, earlier.as_ref()) {
        return Ok(Step::Reply(Box::new(issue(services, (&request, present), granted_at?).await?)));
    }
    if request.prompt == Prompt::None {
        return Err(ProtocolError::new(ErrorCode::ConsentRequired, "the person has to be asked"));
    }
    let is_allowed =
        |token: &str| earlier.as_ref().is_some_and(|earlier| earlier.allows(&request.resources, token));
    let (granted, new) = request.scope.iter().map(str::to_owned).partition(|token| is_allowed(token));
    let resources = request.resources.clone();
    let shown = Shown {
        form: services.entropy.token::<16>(),
        asked,
        user: user.clone(),
        scope: request.scope,
        resources: request.resources,
        guise: request.client.shown_as(),
    };
    Ok(Step::Consent(Box::new(ConsentForm {
        state: form::seal(services, Purpose::Consent, &present.cookie, shown)?,
        client: request.client,
        redirect_uri: request.reply_to.redirect_uri,
        account: present.account.clone(),
        resources,
        asked: new,
        granted,
    })))
}

/// Whether the client of `request` may be answered without asking `user`.
pub(super) async fn is_known(
    services: &Services,
    request: &AuthorizationRequest,
    user: &UserId,
) -> Result<bool, StoreError> {
    Ok(needs_no_question(request, earlier(services, request, user).await?.as_ref()))
}

async fn earlier(
    services: &Services,
    request: &AuthorizationRequest,
    user: &UserId,
) -> Result<Option<Consent>, StoreError> {
    let shown_as = request.client.shown_as();
    services.consents.granted(user, asker(&request.client, shown_as.as_deref())).await
}

fn asker<'a>(client: &'a Client, shown_as: Option<&'a str>) -> Asker<'a> {
    Asker { client_id: &client.client_id, registered_at: client.created_at, shown_as }
}

fn needs_no_question(request: &AuthorizationRequest, earlier: Option<&Consent>) -> bool {
    let is_covered = earlier.is_some_and(|earlier| earlier.covers(&request.resources, &request.scope));
    let is_implied = request.client.consent == ConsentRule::Implied && request.client.is_vouched_for();
    let is_known = is_covered || is_implied;
    is_known && !request.prompt.wants_consent() && !request.is_unproven()
}

/// What the person's answer comes to: a code for the client, or `access_denied`. The form must be from the session
/// that answers, and the request still be one that could be made.
///
/// # Errors
/// When the form is none of ours, too old or another session's, or what it asks for may not be had any more.
pub async fn decide(
    services: &Services,
    params: &Params<'_>,
    browser: &Browser,
) -> Result<Reply, Interrupted> {
    let present = Present::find(services, browser.session.as_ref()).await?;
    let holder = present.as_ref().map(|present| &present.cookie);
    let shown: Shown = match form::open(services, Purpose::Consent, holder, params.one("state"))? {
        Opened::Good(shown) => shown,
        Opened::Stale(shown) => return Err(Interrupted::stale(shown.asked.location(services))),
        Opened::Forged => return Err(Interrupted::forged()),
    };
    let Some(present) = present.filter(|present| present.account.id == shown.user) else {
        return Err(Interrupted::stale(shown.asked.location(services)));
    };
    let request = shown.asked.read(services)?;
    request.is_welcome(services).await?;
    let is_as_shown = request.scope == shown.scope
        && request.resources == shown.resources
        && request.client.shown_as() == shown.guise;
    if !is_as_shown {
        return Err(Interrupted::stale(shown.asked.location(services)));
    }
    // Deny by default: whatever is not a yes is a no.
    let allowed = params.one("decision") == Some("allow");
    // Twice as long as the form can count: the clock may be set back, and another node's stand elsewhere.
    let ends_at = services.clock.now() + TimeDelta::seconds(2 * form::LIFETIME);
    // A no counts once too: each is put on record, and nobody shall fill the disk with them.
    if !services.consents.answer_once(&shown.form, ends_at).await.map_err(ProtocolError::from)? {
        return Err(Interrupted::answered(shown.asked.location(services)));
    }
    let decided = decided(services, allowed, (&request, &present)).await;
    decided.map_err(|error| Interrupted::decided(&request.reply_to, &error))
}

async fn decided(
    services: &Services,
    allowed: bool,
    (request, present): (&AuthorizationRequest, &Present),
) -> Result<Reply, ProtocolError> {
    let (user, client) = (&present.account.id, &request.client);
    let resources: Vec<&str> = request.resources.iter().map(Resource::as_str).collect();
    let event = |kind| {
        Event::new(kind, Actor::User(user.clone()))
            .client(&client.client_id)
            .detail("scope", request.scope.as_str())
            .detail("resources", resources.clone())
    };
    if !allowed {
        services.audit.record(event(EventKind::ConsentGiven).outcome(Outcome::Refused)).await?;
        return Err(ProtocolError::new(ErrorCode::AccessDenied, "the person did not allow it"));
    }
    let granted_at = date_of_grant(services, request, user)?;
    services.audit.record(event(EventKind::ConsentGiven)).await?;
    let allowed = (request.resources.as_slice(), &request.scope);
    let shown_as = client.shown_as();
    services.consents.allow(user, asker(client, shown_as.as_deref()), allowed).await?;
    issue(services, (request, present), granted_at).await
}

/// Gives the client its code (RFC 6749, section 4.1.2).
async fn issue(
    services: &Services,
    (request, present): (&AuthorizationRequest, &Present),
    granted_at: i64,
) -> Result<Reply, ProtocolError> {
    let code = services.codes.issue(code_for(request, &present.session, granted_at)).await?;
    Ok(request.reply_to.code(&code))
}

/// The date of what `user` grants now. In the second of a cut-off it lies behind that, as the dates of tokens do: it counts. A node whose
/// clock is off dates nothing: no cut-off reaches as far as that may be ahead.
pub(super) fn date_of_grant(
    services: &Services,
    request: &AuthorizationRequest,
    user: &UserId,
) -> Result<i64, ProtocolError> {
    services.fitness.check()?;
    let dated = services.revocations.date_of_new(&request.client.client_id, &Subject::from(user));
    Ok(dated.map_err(|retry_after| IssueError::ClockSetBack { retry_after })?)
}

/// The code that a client gets for what was asked for in a session.
pub(super) fn code_for(request: &AuthorizationRequest, session: &Session, granted_at: i64) -> NewCode {
    let grant = Grant {
        client_id: request.client.client_id.clone(),
        subject: Subject::from(&session.user),
        scope: request.scope.clone(),
        resources: request.resources.clone(),
        sid: Some(session.sid.clone()),
        auth_time: session.authentication.auth_time,
        acr: request.acr.granted(&session.authentication).map(|acr| acr.as_str().to_owned()),
        amr: session.authentication.amr.clone(),
        nonce: request.nonce.clone(),
        claims: request.claims.clone(),
        granted_at,
    };
    let redirect_uri = request.redirect_uri.clone();
    NewCode { grant, redirect_uri, code_challenge: request.code_challenge.clone() }
}
