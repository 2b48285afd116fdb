//! Signing out at a client's wish (OpenID Connect RP-Initiated Logout 1.0).

use serde::{Deserialize, Serialize};

use super::authorize::form::{self, Opened, Purpose};
use super::authorize::{Browser, Present, with_query};
use super::{IdTokenHint, Params, ProtocolError, Services, users};
use crate::audit::{Actor, Event, EventKind};
use crate::clients::Client;
use crate::oauth::{ClientId, SessionId, Subject};

/// What a request to sign out comes to.
#[derive(Debug)]
pub enum SignOut {
    /// The person has to be asked: another site could have sent them.
    Ask(SignOutForm),
    /// Nobody is signed in any more. The browser goes back to the client, if that said where.
    Done {
        /// Where.
        location: Option<String>,
    },
    /// The person wants to stay.
    Stayed,
}

/// The question whether to sign out.
#[derive(Debug)]
pub struct SignOutForm {
    /// What the answer has to bring back.
    pub state: String,
    /// Who is signed in.
    pub account_name: String,
    /// Where the browser goes then.
    pub location: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Shown {
    sid: SessionId,
    location: Option<String>,
}

/// Reads a request to sign out (section 2). Without a question only by the hint of an ID token of whoever is signed
/// in; back to a client only where that has registered the place (section 3).
///
/// # Errors
/// `invalid_request` when the place is not registered, or hint and client do not fit; the store's.
pub async fn logout(
    services: &Services,
    params: &Params<'_>,
    browser: &Browser,
) -> Result<SignOut, ProtocolError> {
    let hint = params.one("id_token_hint").and_then(|hint| services.id_token_hint(hint));
    let location = location(services, params, hint.as_ref())?;
    let Some(present) = Present::find(services, browser.session.as_ref()).await? else {
        return Ok(SignOut::Done { location });
    };
    let is_meant = hint.is_some_and(|hint| {
        let same_session = hint.sid.is_none_or(|sid| sid == present.session.sid);
        same_session && hint.sub == Subject::from(&present.account.id)
    });
    if is_meant {
        end(services, &present).await?;
        return Ok(SignOut::Done { location });
    }
    let shown = Shown { sid: present.session.sid.clone(), location: location.clone() };
    let state = form::seal(services, Purpose::SignOut, &present.cookie, shown)?;
    Ok(SignOut::Ask(SignOutForm { state, account_name: present.account.name, location }))
}

/// What the person's answer comes to.
///
/// # Errors
/// `invalid_request` when the form is not one that was made for their session a short while ago; the store's.
pub async fn sign_out(
    services: &Services,
    params: &Params<'_>,
    browser: &Browser,
) -> Result<SignOut, ProtocolError> {
    let present = Present::find(services, browser.session.as_ref()).await?;
    let holder = present.as_ref().map(|present| &present.cookie);
    let shown: Shown = match form::open(services, Purpose::SignOut, holder, params.one("state"))? {
        Opened::Good(shown) => shown,
        // Whoever signed out in another window meanwhile has what they wanted.
        Opened::Stale(Shown { location, .. }) if present.is_none() => return Ok(SignOut::Done { location }),
        Opened::Stale(_) | Opened::Forged => {
            let reason = "the form was open for too long, or was not made for this session";
            return Err(ProtocolError::invalid_request(reason));
        }
    };
    match present {
        Some(present) if params.one("decision") == Some("sign-out") => {
            end(services, &present).await?;
            Ok(SignOut::Done { location: shown.location })
        }
        _ => Ok(SignOut::Stayed),
    }
}

async fn end(services: &Services, present: &Present) -> Result<(), ProtocolError> {
    let user = &present.account.id;
    services.audit.record(Event::new(EventKind::SessionEnded, Actor::User(user.clone()))).await?;
    users::end_session(services, user, &present.session.sid).await?;
    Ok(())
}

/// Where the browser goes afterwards: a place that the client has registered, letter for letter. Nowhere, if only a hint
/// says whose place it is and can't be read, being older than what is remembered: that is no fault of the person's, who
/// is asked, nor of the client's (section 4 has no error for it).
fn location(
    services: &Services,
    params: &Params<'_>,
    hint: Option<&IdTokenHint>,
) -> Result<Option<String>, ProtocolError> {
    let refuse = |reason: &'static str| ProtocolError::invalid_request(reason);
    let hinted = hint.and_then(IdTokenHint::client).map(ClientId::as_str);
    let client_id = match (params.one("client_id"), hinted) {
        (Some(named), Some(hinted)) if named != hinted => {
            return Err(refuse("client_id is not the client of id_token_hint"));
        }
        (named, hinted) => named.or(hinted),
    };
    let Some(uri) = params.one("post_logout_redirect_uri") else { return Ok(None) };
    let is_unreadable = hint.is_none() && params.one("id_token_hint").is_some();
    if client_id.is_none() && is_unreadable {
        return Ok(None);
    }
    let client = client_id.and_then(|client_id| services.clients.find(client_id));
    let client =
        client.ok_or_else(|| refuse("client_id or id_token_hint has to say whose redirect URI it is"))?;
    if !is_registered(&client, uri) {
        return Err(refuse("post_logout_redirect_uri is not one that the application has registered"));
    }
    let state = params.one("state").map(|state| ("state", state.to_owned()));
    Ok(Some(state.map_or_else(|| uri.to_owned(), |state| with_query(uri, &[state]))))
}

fn is_registered(client: &Client, uri: &str) -> bool {
    client.post_logout_redirect_uris.iter().any(|each| !each.is_out_of_band() && each.admits(uri))
}
