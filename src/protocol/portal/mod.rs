//! What people do with their own accounts: every function acts for whoever is signed in, and on nobody else's things.
//! Every change is audited before it takes effect.

mod api_keys;
mod applications;
mod password;
mod profile;
mod second_factor;

pub use api_keys::{create_api_key, own_api_keys, revoke_api_key};
pub use applications::{
    ApplicationChange, NewApplication, applications, change_application, delete_application,
    find_application, offered_scope, register_application, rotate_application_secret,
};
pub use password::{PasswordChange, change_password};
pub use profile::{ProfileChange, change_email, change_profile};
pub use second_factor::{confirm_second_factor, new_recovery_codes, remove_second_factor};

use super::admin::audited;
use super::authorize::Present;
use super::users::{self, Keeper};
use super::{ProtocolError, Services};
use crate::audit::{Actor, Event, EventKind};
use crate::clients::ResourceServer;
use crate::oauth::{ClientId, ErrorCode, Resource, Scope, SessionId, Subject};
use crate::store::Batch;
use crate::tokens::Whole;
use crate::users::{AccountChange, Consents};

/// Ends one of the person's sessions. What was issued in it without `offline_access` ends with it.
///
/// # Errors
/// `not_found` when the person has no such session.
pub async fn end_session(services: &Services, present: &Present, sid: &str) -> Result<(), ProtocolError> {
    let unknown = || ProtocolError::new(ErrorCode::NotFound, "there is no such session");
    let sid = SessionId::parse(sid).map_err(|_| unknown())?;
    if !services.sessions.of_user(&present.account.id).await?.iter().any(|session| session.sid == sid) {
        return Err(unknown());
    }
    services.audit.record(event(EventKind::SessionEnded, present)).await?;
    // If it has ended meanwhile, that is what was asked for.
    users::end_session(services, &present.account.id, &sid).await?;
    Ok(())
}

/// Ends all of the person's sessions but the present one; says how many.
///
/// # Errors
/// When the store fails: then some may have ended.
pub async fn end_other_sessions(services: &Services, present: &Present) -> Result<usize, ProtocolError> {
    let sessions = services.sessions.of_user(&present.account.id).await?;
    let others: Vec<_> = sessions.iter().filter(|each| each.sid != present.session.sid).collect();
    for other in &others {
        services.audit.record(event(EventKind::SessionEnded, present)).await?;
        users::end_session(services, &present.account.id, &other.sid).await?;
    }
    Ok(others.len())
}

/// Takes back what the person allowed a client: it is asked for anew the next time, nothing can be refreshed, and the access
/// tokens are revoked.
///
/// # Errors
/// `not_found` when nothing was allowed, nor taken back.
pub async fn withdraw_consent(
    services: &Services,
    present: &Present,
    client_id: &str,
) -> Result<(), ProtocolError> {
    let unknown = || ProtocolError::new(ErrorCode::NotFound, "there is no such application");
    let client_id = ClientId::parse(client_id).map_err(|_| unknown())?;
    let granted = Whole::Granted(client_id.clone(), Subject::from(&present.account.id));
    let consents = services.consents.of_user(&present.account.id).await?;
    // Where it is gone already that may be by a request that failed before all of it was revoked: who asks again revokes again.
    if !consents.iter().any(|consent| consent.client_id == client_id)
        && !services.revocations.has_cut_off(&granted).await?
    {
        return Err(unknown());
    }
    let event = event(EventKind::ConsentWithdrawn, present).client(&client_id);
    audited(services, event, async {
        let withdrawn = Consents::withdrawing(Batch::new(), &present.account.id, &client_id);
        services.revocations.revoke_and(&granted, &withdrawn).await?;
        Ok(())
    })
    .await
}

/// What a person's API key may permit: what the resources of the settings let people open.
///
/// # Errors
/// `server_error` when the settings name more than a scope can hold.
pub fn offered_to_keys(services: &Services) -> Result<Scope, ProtocolError> {
    let mut scopes = own_resources(services).map(|server| &server.people_scope);
    scopes.try_fold(Scope::default(), |all, more| all.union(more)).map_err(ProtocolError::server_error)
}

/// A resource that people's API keys can be exchanged for tokens of, as an example.
#[must_use]
pub fn resource_for_keys(services: &Services) -> Option<&Resource> {
    own_resources(services).find(|server| !server.people_scope.is_empty()).map(|server| &server.uri)
}

/// The resources that people may open to programs of their own: those of the settings, not the built-in ones.
fn own_resources(services: &Services) -> impl Iterator<Item = &ResourceServer> {
    let built_in = [&services.resources.users().uri, &services.resources.admin().uri];
    services.resources.all().iter().filter(move |server| !built_in.contains(&&server.uri))
}

/// Changes the person's own account.
async fn change_own(
    services: &Services,
    present: &Present,
    change: AccountChange,
) -> Result<crate::users::Account, ProtocolError> {
    let keeper = Keeper { actor: actor(present), of_administrators: true };
    users::change(services, &keeper, present.account.id.as_str(), change).await
}

fn actor(present: &Present) -> Actor {
    Actor::User(present.account.id.clone())
}

/// Something the person does with their own account, for the record.
fn event(kind: EventKind, present: &Present) -> Event {
    Event::new(kind, actor(present)).subject(&Subject::from(&present.account.id))
}
