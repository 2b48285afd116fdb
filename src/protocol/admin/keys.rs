//! Looking at the signing keys, rotating, condemning and importing them.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Administrator, audited};
use crate::audit::{Actor, AuditError, AuditLog, Event, EventKind, Origin};
use crate::keys::forecast::Forecast;
use crate::keys::intervene::{Breakage, Refusal};
use crate::keys::schedule::Step;
use crate::keys::{
    Compromised, Imported, KeyEvent, KeyList, KeyRingError, Owed, Rotated, Rotations, SealingEvent,
    SealingKeyId, SealingKeyView, SealingKeys, Unrecorded,
};
use crate::oauth::{Algorithm, ErrorCode, KeyId, Secret};
use crate::protocol::{ProtocolError, Services};
use crate::store::{Patience, patiently_for};

/// What is to be rotated.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationRequest {
    /// This algorithm's key only; every algorithm's if absent.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// At once, though verifiers may not know the key yet: a declared emergency.
    #[serde(default)]
    pub force: bool,
}

/// Why a key is condemned.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompromiseRequest {
    /// For the audit log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A key that is brought in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// The private key: PEM or JWK.
    #[serde(deserialize_with = "secret")]
    pub key: Secret,
    /// With which algorithm it will sign.
    pub algorithm: Algorithm,
}

/// Every key of the service.
#[derive(Debug, Serialize)]
pub struct AllKeys {
    /// Those that sign.
    #[serde(flatten)]
    pub signing: KeyList,
    /// Those that seal.
    pub sealing: Vec<SealingKeyView>,
}

/// Every key and where it stands.
#[must_use]
pub fn list(services: &Services) -> AllKeys {
    AllKeys { signing: services.keys.list(), sealing: services.sealing_keys.list() }
}

/// What will happen to the keys, and when: nothing is changed.
#[must_use]
pub fn plan(services: &Services) -> Forecast {
    services.keys.forecast()
}

/// Lets the waiting key sign as soon as its lead is over.
///
/// # Errors
/// `invalid_request` when the algorithm is not in use.
pub async fn rotate(
    services: &Services,
    administrator: &Administrator,
    request: &RotationRequest,
) -> Result<Rotations, ProtocolError> {
    let mut event = administrator.event(EventKind::KeyRotateRequested).detail("force", request.force);
    if let Some(algorithm) = request.algorithm {
        if !services.keys.policy().algorithms().contains(&algorithm) {
            return Err(KeyRingError::from(Refusal::AlgorithmNotInUse(algorithm)).into());
        }
        event = event.detail("algorithm", algorithm.as_str());
    }
    let (keys, algorithm, force) = (Arc::clone(&services.keys), request.algorithm, request.force);
    let rotation = async move { keys.rotate(algorithm, force).await };
    let changed = audited(services, event, async { Ok(in_time(services, rotation).await?) }).await?;
    for Rotated { algorithm, kid, sign_from, .. } in &changed.rotations {
        let by = &administrator.actor;
        if request.force {
            tracing::warn!(%by, %kid, %algorithm, "a rotation was forced: the key signs at once, whoever knows it");
        } else {
            tracing::info!(%by, %kid, %algorithm, sign_from, "a rotation was asked for");
        }
    }
    record(&services.audit, services.keys.unrecorded()).await?;
    Ok(changed)
}

/// What [`rotate`] would do and break if it were asked now: nothing is changed.
///
/// # Errors
/// As [`rotate`].
pub fn preview_rotation(services: &Services, request: &RotationRequest) -> Result<Rotations, ProtocolError> {
    Ok(services.keys.preview_rotation(request.algorithm, request.force)?)
}

/// Condemns a signing key or a sealing key.
///
/// # Errors
/// `not_found` when there is no such key.
pub async fn compromise(
    services: &Services,
    administrator: &Administrator,
    kid: &str,
    request: &CompromiseRequest,
) -> Result<Compromised, ProtocolError> {
    let unknown = |_| ProtocolError::new(ErrorCode::NotFound, "there is no such key");
    let kid = KeyId::parse(kid).map_err(unknown)?;
    let mut event = administrator.event(EventKind::KeyCompromised).key(&kid);
    if let Some(reason) = &request.reason {
        event = event.detail("reason", reason.as_str());
    }
    let condemned = |answer: &Compromised| {
        let (kid, signs_now) = (&answer.kid, answer.signs_now.as_ref().map_or("", KeyId::as_str));
        let by = &administrator.actor;
        tracing::warn!(%by, %kid, signs_now, "a key was declared compromised: what it signed or sealed counts no more");
    };
    let sealing = &services.sealing_keys;
    if sealing.contains(kid.as_str()) {
        let event = event.detail("use", "sealing");
        let act = async { Ok(compromise_sealing(sealing, kid).await?) };
        let done = audited(services, event, act).await.inspect(condemned)?;
        record_sealing(&services.audit, sealing.unrecorded()).await?;
        return Ok(done);
    }
    if services.keys.preview_compromise(&kid).is_err() {
        // Another node may have made it a moment ago.
        services.keys.tick().await?;
        record(&services.audit, services.keys.unrecorded()).await?;
        services.keys.preview_compromise(&kid)?;
    }
    let keys = Arc::clone(&services.keys);
    let condemnation = async move { keys.compromise(&kid).await };
    let changed = audited(services, event, async { Ok(in_time(services, condemnation).await?) }).await?;
    condemned(&changed);
    record(&services.audit, services.keys.unrecorded()).await?;
    Ok(changed)
}

/// What [`compromise`] would do and break if it were asked now: nothing is changed.
///
/// # Errors
/// As [`compromise`], and `conflict` when the key is compromised already.
pub fn preview_compromise(services: &Services, kid: &str) -> Result<Compromised, ProtocolError> {
    let unknown = |_| ProtocolError::new(ErrorCode::NotFound, "there is no such key");
    let kid = KeyId::parse(kid).map_err(unknown)?;
    if services.sealing_keys.contains(kid.as_str()) {
        return Ok(sealing_compromised(&services.sealing_keys, kid));
    }
    Ok(services.keys.preview_compromise(&kid)?)
}

/// Condemns a sealing key; whoever calls records it.
///
/// # Errors
/// When there is no such key, and as [`SealingKeys::compromise`].
pub async fn compromise_sealing(keys: &SealingKeys, id: SealingKeyId) -> Result<Compromised, KeyRingError> {
    let answer = sealing_compromised(keys, id.clone());
    if keys.compromise(&id).await? { Ok(answer) } else { Err(Refusal::UnknownKey(id).into()) }
}

fn sealing_compromised(keys: &SealingKeys, id: SealingKeyId) -> Compromised {
    let until = keys.opens_until(id.as_str());
    let what = format!(
        "what {id} sealed does not open: its refresh tokens and forms are refused, people sign in anew"
    );
    Compromised { kid: id, signs_now: None, named_until: None, breaks: vec![Breakage { what, until }] }
}

/// Takes a key in; it waits like any other before it signs.
///
/// # Errors
/// `invalid_request` with the reason when it is no good as a key, or was here before.
pub async fn import(
    services: &Services,
    administrator: &Administrator,
    request: &ImportRequest,
) -> Result<Imported, ProtocolError> {
    // What can't be honoured is refused before it is put on record as done.
    let kid = services.keys.preview_import(&request.key, request.algorithm)?.kid;
    let event = administrator.event(EventKind::KeyImported).key(&kid);
    let event = event.detail("algorithm", request.algorithm.as_str());
    let (keys, key, algorithm) = (Arc::clone(&services.keys), request.key.clone(), request.algorithm);
    let import = async move { keys.import(&key, algorithm).await };
    let changed = audited(services, event, async { Ok(in_time(services, import).await?) }).await?;
    let Imported { kid, algorithm, sign_from } = &changed;
    let by = &administrator.actor;
    tracing::info!(%by, %kid, %algorithm, sign_from, "a key from elsewhere was taken in");
    record(&services.audit, services.keys.unrecorded()).await?;
    Ok(changed)
}

/// So many commits, each as slow as a call may be, a request waits for.
const SLOW_COMMITS: u32 = 4;

/// What `change` gives, which is done to the end. It is several commits, the last of which takes turns with other nodes': where these are
/// slow, whoever asked is told before it is done, and it is done all the same.
async fn in_time<T: Send + 'static>(
    services: &Services,
    change: impl Future<Output = Result<T, KeyRingError>> + Send + 'static,
) -> Result<T, KeyRingError> {
    let change = tokio::spawn(Origin::carried(Patience::carried(change)));
    let done = async { change.await.unwrap_or(Err(KeyRingError::Stopping)) };
    patiently_for(SLOW_COMMITS, services.store.as_ref(), done).await
}

/// Records what happened to keys by itself, or as part of what was asked for.
///
/// # Errors
/// When the audit log can't be written; what happened stays so, and is recorded by the next round that can.
pub async fn record(audit: &AuditLog, unrecorded: &Unrecorded<KeyEvent>) -> Result<(), AuditError> {
    let mut recording = unrecorded.recording().await;
    while let Some(Owed { event, origin }) = recording.first() {
        let kind = match event.change {
            Step::Create { .. } => Some(EventKind::KeyGenerated),
            Step::Begin { .. } => Some(EventKind::KeyActivated),
            Step::ErasePrivate { .. } => Some(EventKind::KeyRetired),
            Step::Forget { .. } => Some(EventKind::KeyForgotten),
            // Recorded with whoever asked for it, before it was done, or no more than a date.
            _ => None,
        };
        if let Some(kind) = kind {
            let entry = Event::new(kind, Actor::Service);
            let entry = event.kid.iter().fold(entry, Event::key);
            audit.record_once((origin, entry), recording.pending()).await?;
        }
        recording.is_recorded();
    }
    Ok(())
}

/// Records what happened to sealing keys by itself, or as part of what was asked for.
///
/// # Errors
/// As [`record`].
pub async fn record_sealing(
    audit: &AuditLog,
    unrecorded: &Unrecorded<SealingEvent>,
) -> Result<(), AuditError> {
    let mut recording = unrecorded.recording().await;
    while let Some(Owed { event, origin }) = recording.first() {
        let (kind, id) = match &event {
            SealingEvent::Created(id) => (EventKind::KeyGenerated, id),
            SealingEvent::Forgotten(id) => (EventKind::KeyForgotten, id),
        };
        let entry = Event::new(kind, Actor::Service).key(id).detail("use", "sealing");
        audit.record_once((origin, entry), recording.pending()).await?;
        recording.is_recorded();
    }
    Ok(())
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
