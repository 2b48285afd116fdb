use std::fmt::Display;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::act::{Act, Revocation, Target};
use super::args::NodesArgs;
use super::backup::{assured, or_recorded, refuse_running_nodes};
use super::error::CliError;
use super::note;
use super::print::Printer;
use crate::app::{self, App, Ground, Witness};
use crate::audit::{Actor, AuditLog, Event, EventKind};
use crate::backup;
use crate::config::{Config, KekSource, ModuleKeyConfig, PinSource, lies_in};
use crate::entropy::SharedEntropy;
use crate::keys::{
    self, Kek, KeyRing, KeyRingError, KeyRingParts, ModuleError, Rekey, SealingKeys, SealingParts,
};
use crate::oauth::{ClientId, KeyId, unreadable};
use crate::protocol::admin::clients::{PageRequest, SecretRotation};
use crate::protocol::admin::keys::{AllKeys, CompromiseRequest, ImportRequest, RotationRequest};
use crate::protocol::admin::{self, Administrator, revocations::RevocationRequest};
use crate::protocol::{ProtocolError, Services};

/// The data of a stopped service, worked on by the same functions as the admin API. Holds the lock of a store in a directory: a
/// service can't start meanwhile.
pub struct Stopped {
    runtime: tokio::runtime::Runtime,
    app: App,
}

impl Stopped {
    /// Opens the data.
    ///
    /// # Errors
    /// When a service is running on it, or it can't be read.
    pub fn open(config: &Config) -> Result<Self, CliError> {
        let runtime = runtime()?;
        let app = runtime.block_on(async { App::open(config, Ground::of_installation(config).await?).await });
        let app = app.map_err(failed)?;
        tell_damage(&app.state.services.audit);
        for evidence in &app.evidence {
            note(&app::warning(evidence));
        }
        Ok(Self { runtime, app })
    }
}

impl Target for Stopped {
    fn perform(&self, act: &Act) -> Result<Value, CliError> {
        self.runtime.block_on(perform(&self.app.state.services, act))
    }
}

async fn perform(services: &Services, act: &Act) -> Result<Value, CliError> {
    let admin = Administrator::operator(operator_name());
    match act {
        Act::ListKeys => value(Ok(admin::keys::list(services))),
        Act::PlanKeys => value(Ok(admin::keys::plan(services))),
        Act::RotateKeys { algorithm, force } => {
            let request = RotationRequest { algorithm: *algorithm, force: *force };
            value(admin::keys::rotate(services, &admin, &request).await)
        }
        Act::CompromiseKey { kid, reason } => {
            let request = CompromiseRequest { reason: reason.clone() };
            value(admin::keys::compromise(services, &admin, kid.as_str(), &request).await)
        }
        Act::ImportKey { key, algorithm } => {
            let request = ImportRequest { key: key.clone(), algorithm: *algorithm };
            value(admin::keys::import(services, &admin, &request).await)
        }
        Act::ListClients { after, limit } => {
            let after = after.as_ref().map(ClientId::to_string);
            let page = PageRequest { after, limit: Some(usize::from(*limit)) };
            value(Ok(admin::clients::list(services, &page)))
        }
        Act::ShowClient(id) => value(admin::clients::show(services, id.as_str()).await),
        Act::RegisterClient(members) => {
            value(admin::clients::register(services, &admin, parse(members)?).await)
        }
        Act::ChangeClient(id, members) => {
            value(admin::clients::change(services, &admin, id.as_str(), parse(members)?).await)
        }
        Act::RotateSecret { client_id, overlap } => {
            let rotation = SecretRotation { overlap_seconds: overlap.as_secs() };
            value(admin::clients::rotate_secret(services, &admin, client_id.as_str(), &rotation).await)
        }
        Act::DeleteClient(id) => {
            value(admin::clients::delete(services, &admin, id.as_str()).await.map(|()| json!({})))
        }
        Act::User(act) => act.perform(services, &admin).await,
        Act::ApiKey(act) => act.perform(services, &admin).await,
        Act::Revoke(what) => {
            let request: RevocationRequest = match what {
                Revocation::Client(id) => RevocationRequest::client(id.clone()),
                Revocation::Subject(subject) => RevocationRequest::subject(subject.clone()),
                Revocation::Token(token) => RevocationRequest::token(token.expose()),
            };
            value(admin::revocations::revoke(services, &admin, request).await)
        }
    }
}

/// The keys of a stopped service as they stand: nothing that is due is done, and no private half of one that signs
/// has to open. The key-encryption key is needed: it opens what the store has of those that seal.
pub(super) fn list_keys(config: &Config) -> Result<Value, CliError> {
    runtime()?.block_on(async {
        let ground = own_installation(config).await?;
        let parts = app::key_ring_parts(config, &ground).map_err(failed)?;
        let sealing = sealing_keys(config, &parts, ground.entropy).await.map_err(failed)?.list();
        let signing = KeyRing::look(parts).await.map_err(failed)?.list();
        value(Ok(AllKeys { signing, sealing }))
    })
}

async fn sealing_keys(
    config: &Config,
    parts: &KeyRingParts,
    entropy: SharedEntropy,
) -> Result<Arc<SealingKeys>, KeyRingError> {
    let KeyRingParts { store, kek, clock, fitness, .. } = parts.clone();
    let sealing = SealingParts { store, kek, clock, entropy, fitness };
    let times = (config.keys.sealing_period, config.refresh_tokens.lifetime);
    SealingKeys::look(sealing, &parts.policy, times).await
}

/// What will happen to the keys of a stopped service once it runs again: nothing is changed.
pub(super) fn plan_keys(config: &Config) -> Result<Value, CliError> {
    runtime()?.block_on(async {
        let parts = app::key_ring_parts(config, &own_installation(config).await?).map_err(failed)?;
        value(Ok(KeyRing::look(parts).await.map_err(failed)?.forecast()))
    })
}

/// Condemns a key of a stopped service, one that signs or one that seals, whether a private half can be read or not.
pub(super) fn compromise(config: &Config, kid: &KeyId, reason: Option<&str>) -> Result<Value, CliError> {
    runtime()?.block_on(async {
        let ground = own_installation(config).await?;
        let audit = audit_log(config, &ground).await?;
        let parts = app::key_ring_parts(config, &ground).map_err(failed)?;
        parts.fitness.compare_with(ground.store.as_ref()).await.map_err(failed)?;
        let event = Event::new(EventKind::KeyCompromised, Actor::Operator(operator_name())).key(kid);
        let event = match reason {
            Some(reason) => event.detail("reason", reason),
            None => event,
        };
        let sealing = sealing_keys(config, &parts, ground.entropy).await;
        // Those that can't be read keep nobody from condemning one that signs.
        let sealing = sealing.inspect_err(|error| {
            note(&format!(
                "{kid} is looked for among the keys that sign only: those that seal can't be read: {error}"
            ));
        });
        if let Some(sealing) = sealing.ok().filter(|keys| keys.contains(kid.as_str())) {
            let act = admin::keys::compromise_sealing(&sealing, kid.clone());
            let condemned = audited(&audit, event.detail("use", "sealing"), act).await;
            admin::keys::record_sealing(&audit, sealing.unrecorded()).await.map_err(failed)?;
            return value(Ok(condemned?));
        }
        let keys = KeyRing::unopened(parts);
        let condemned = audited(&audit, event, keys.compromise(kid)).await;
        // Also where something failed afterwards: there is no later round.
        admin::keys::record(&audit, keys.unrecorded()).await.map_err(failed)?;
        serde_json::to_value(condemned?).map_err(failed)
    })
}

/// Gives the installation the issuer of the settings. Where it has that already nothing is done, nor recorded.
pub(super) fn change_issuer(
    config: &Config,
    from: &str,
    nodes: NodesArgs,
    printer: &Printer,
) -> Result<(), CliError> {
    let to = config.issuer.as_str();
    let is_changed = runtime()?.block_on(async {
        let ground = installation(config).await?;
        // What else the store may answer is for the act itself to tell.
        if app::refuse_other_issuer(ground.store.as_ref(), to).await.is_ok() {
            return Ok(false);
        }
        let audit = audit_log(config, &ground).await?;
        let event = Event::new(EventKind::InstallationIssuerChanged, Actor::Operator(operator_name()));
        let event = event.detail("from", from).detail("to", to);
        let change = app::change_issuer(ground.store.as_ref(), (from, to), assured(nodes));
        audited(&audit, event, change).await?;
        Ok::<_, CliError>(true)
    })?;
    if !is_changed {
        return printer.show(&json!({ "issuer": to, "changed": false }), &[]);
    }
    let next = "start the service; clients that administer: `signet clients change ID --offline --resource ISSUER/admin`";
    printer.show(&json!({ "issuer": to, "changed": true, "former": from, "next": next }), &[])
}

/// Seals the keys of a stopped service with the key-encryption key that `new` names; says how many there are.
pub(super) fn rekey(
    config: &Config,
    new: &KekSource,
    nodes: NodesArgs,
    printer: &Printer,
) -> Result<(), CliError> {
    let (flag, path, next) = match new {
        KekSource::Module(key) => {
            let path = if let PinSource::File(path) = &key.pin { Some(path) } else { None };
            (
                "--pkcs11-pin-file",
                path,
                "start the service with keys.pkcs11.* naming the new key-encryption key",
            )
        }
        KekSource::File(path) => (
            "--new-kek-file",
            Some(path),
            "start the service with keys.kek_file naming the new key-encryption key",
        ),
        KekSource::Value(_) | KekSource::Developer => {
            return Err(CliError::Usage("name the new key-encryption key".into()));
        }
    };
    // The next start would refuse it.
    if let Some(path) = path.filter(|path| lies_in(path, &config.keys.dir)) {
        return Err(CliError::Usage(format!(
            "{flag} {} must not lie beside the keys that it seals: who reads one reads both; keep it outside {}",
            path.display(),
            config.keys.dir.display()
        )));
    }
    let rekeyed = runtime()?.block_on(async {
        let ground = own_installation(config).await?;
        // They have the former key-encryption key, and could read the ring no more.
        refuse_running_nodes(&ground, nodes).await?;
        let audit = audit_log(config, &ground).await?;
        let entropy = ground.entropy.clone();
        let old = Kek::load(&config.keys.kek, &config.keys.dir, entropy.as_ref()).map_err(failed)?;
        let new = Kek::load(new, &config.keys.dir, entropy.as_ref());
        let rekey = Rekey { old: Arc::new(old), new: Arc::new(new.map_err(failed)?) };
        let vault = ground.vault(config, rekey.new.clone()).map_err(failed)?;
        let event = Event::new(EventKind::KeysRekeyed, Actor::Operator(operator_name()));
        audited(&audit, event, keys::rekey(ground.store.as_ref(), vault, &rekey, entropy)).await
    })?;
    let mut answer = serde_json::to_value(rekeyed).map_err(failed)?;
    answer["next"] = json!(next);
    printer.show(&answer, &[])
}

/// Makes a key-encryption key in a module; says what it is called.
pub(super) fn make_module_key(key: &ModuleKeyConfig, printer: &Printer) -> Result<(), CliError> {
    let made = keys::make_module_key(key);
    let kek = made.map_err(|error| {
        // Nobody can end the call.
        let silent = matches!(error, ModuleError::Silent { .. });
        let then = if silent { "; it may have made the key all the same" } else { "" };
        CliError::Failed(format!("{}: {error}{then}", key.module.display()))
    })?;
    let next = "before the first start set keys.pkcs11.* to it; where there are keys, run `signet keys rekey` with the same flags";
    printer.show(&json!({ "kek": kek, "token": key.token, "key": key.key, "next": next }), &[])
}

/// What the settings name, unless it is half of an installation or was moved: as a service would refuse it. What is done to the
/// keys of such a one is lost, or reaches into the installation that was made of it.
async fn installation(config: &Config) -> Result<Ground, CliError> {
    let ground = Ground::of_installation(config).await.map_err(failed)?;
    backup::refuse_unfinished(ground.store.as_ref()).await.map_err(failed)?;
    Ok(ground)
}

/// The same, of the issuer that the settings name, as for every act that opens all of it.
async fn own_installation(config: &Config) -> Result<Ground, CliError> {
    let ground = installation(config).await?;
    app::refuse_other_issuer(ground.store.as_ref(), &config.issuer).await.map_err(failed)?;
    Ok(ground)
}

/// The audit log, to be written to. What shows that the store was put back is told, and stays; if nothing does, the store is
/// in use now, as the log will say.
pub(super) async fn audit_log(config: &Config, ground: &Ground) -> Result<Arc<AuditLog>, CliError> {
    let audit = AuditLog::open_of_node(&config.audit_path(), ground.clock.clone(), &config.node);
    let audit = audit.map_err(failed)?;
    tell_damage(&audit);
    let witness = Witness { node: &config.node, audit: &audit, clock: ground.clock.as_ref() };
    for evidence in witness.look(ground.store.as_ref()).await.map_err(failed)? {
        note(&app::warning(&evidence));
    }
    Ok(audit)
}

fn tell_damage(audit: &AuditLog) {
    if !audit.was_intact() {
        note(
            "the audit log is damaged: entries are missing or are not what was written; see `signet audit verify`",
        );
    }
}

/// Records `event`, then does `act`; if that fails, records that too, as the admin API does.
async fn audited<T, E: Display>(
    audit: &AuditLog,
    event: Event,
    act: impl Future<Output = Result<T, E>>,
) -> Result<T, CliError> {
    audit.record(event.clone()).await.map_err(failed)?;
    or_recorded(audit, &event, act.await).await
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| CliError::Failed(error.to_string()))
}

/// Whoever runs this command: the user as the kernel knows it, and the name, which the environment may claim
/// falsely.
pub(super) fn operator_name() -> String {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let uid = rustix::process::getuid();
    format!("uid {uid} ({})", name.as_deref().unwrap_or("unknown"))
}

pub(super) fn parse<T: DeserializeOwned>(members: &Map<String, Value>) -> Result<T, CliError> {
    serde_json::from_value(Value::Object(members.clone()))
        .map_err(|error| CliError::Usage(unreadable(&error)))
}

pub(super) fn value<T: Serialize>(answer: Result<T, ProtocolError>) -> Result<Value, CliError> {
    let answer = answer.map_err(|error| match &error.cause {
        Some(cause) => CliError::Failed(format!("{}: {cause}", error.description)),
        None => CliError::Failed(error.description.into_owned()),
    })?;
    serde_json::to_value(answer).map_err(|error| CliError::Failed(error.to_string()))
}

pub(super) fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}
