//! Fills a stopped installation for the scale benchmark and for `tests/faults/run revoked`: `fill STORE CLIENTS REVOCATIONS`, where the
//! store is that of a `data_dir` or a `postgres://` URL, by the service's own rooms, so that what is measured is what a service would
//! have written.

mod filler;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use signet::app::Ground;
use signet::clients::{AuthMethod, Client, ClientSecret, ConsentRule, GrantType, Registrant};
use signet::clock::SystemClock;
use signet::config::{FlagOverrides, Sources, load_for_tables};
use signet::entropy::SystemEntropy;
use signet::keys::Fitness;
use signet::oauth::{ClientId, Resource, Scope, Secret, StatusReference};
use signet::store::typed::TypedTable;
use signet::store::{Batch, Condition, SledStore, Store, StoreError, Table};
use signet::tokens::{ListDates, Revocations, StatusIndexes, StatusLists};

const CLIENTS: TypedTable<Client> = TypedTable::new(Table::mirrored("clients"));

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("fill STORE CLIENTS REVOCATIONS");
    let (place, clients, revocations): (_, usize, usize) = (next()?, next()?.parse()?, next()?.parse()?);
    let clock = SystemClock::shared();
    let store = if place.contains("://") {
        // As many wait as are under way at once below.
        let flags = FlagOverrides::default().set("STORE", "store", Some(place));
        let flags = flags.set("STORE", "postgres.waiting", Some("1000".into()));
        let flags = flags.set("STORE", "postgres.timeout", Some("30s".into()));
        Ground::open(&load_for_tables(&Sources { flags, ..Sources::default() })?).await?.store
    } else {
        SledStore::open(Path::new(&place).join("store"), clock.clone())? as Arc<dyn Store>
    };
    register(store.as_ref(), clients, clock.now()).await?;
    let dates = ListDates { window: 3600, longest_lifetime: 3600, clock_skew: 90 };
    let uri = "http://127.0.0.1:18080/status".to_owned();
    let lists = StatusLists::open(uri, dates, store.clone(), clock.clone(), SystemEntropy::shared()).await?;
    let lists = Arc::new(lists);
    let indexes = StatusIndexes::open(lists.clone(), clock.clone()).await?;
    let fitness = Arc::new(Fitness::new(clock.clone(), Duration::MAX));
    let revoked = Revocations::open(store.clone(), (clock.clone(), fitness), lists, None).await?;
    let revoked = Arc::new(revoked);
    for _ in 0..revocations / 1000 {
        let mut under_way = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            indexes.replenish().await?;
            let place = indexes.take(clock.numeric_date()).ok_or("no list is open")?;
            let status = StatusReference { idx: place.idx, uri: place.uri().to_owned() };
            let claims = filler::claims(place.idx, status, clock.numeric_date())?;
            let revoked = revoked.clone();
            under_way.spawn(async move { revoked.revoke(&claims).await.map_err(|error| error.to_string()) });
        }
        while let Some(done) = under_way.join_next().await {
            done??;
        }
    }
    Ok(())
}

async fn register(store: &dyn Store, count: usize, now: chrono::DateTime<Utc>) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    for number in 0..count {
        let client = client(number, now)?;
        batch = CLIENTS.put(batch, client.client_id.as_str(), Condition::Always, &client)?;
        if number % 1000 == 999 || number + 1 == count {
            let _applied = store.commit(std::mem::take(&mut batch)).await?;
        }
    }
    Ok(())
}

fn client(number: usize, now: chrono::DateTime<Utc>) -> Result<Client, StoreError> {
    let invalid = |_| StoreError::Invalid("a client can't be made");
    let hash = Secret::new(format!("secret-{number}")).hash();
    Ok(Client {
        client_id: ClientId::parse(&format!("filler-{number:08}")).map_err(invalid)?,
        client_name: format!("Filler {number}"),
        secrets: vec![ClientSecret { hash, created_at: now, expires_at: None }],
        grant_types: vec![GrantType::ClientCredentials],
        scope: Scope::parse("read").unwrap_or_default(),
        default_scope: Scope::parse("read").unwrap_or_default(),
        resources: vec![Resource::parse("http://127.0.0.1:9000").map_err(invalid)?],
        audience_of: Vec::new(),
        access_token_lifetime: None,
        access_token_signing_alg: None,
        token_endpoint_auth_method: AuthMethod::ClientSecretBasic,
        redirect_uris: Vec::new(),
        require_pkce: true,
        consent: ConsentRule::Required,
        client_uri: None,
        logo_uri: None,
        policy_uri: None,
        tos_uri: None,
        post_logout_redirect_uris: Vec::new(),
        backchannel_logout_uri: None,
        backchannel_logout_session_required: false,
        id_token_signed_response_alg: None,
        allowed_origins: Vec::new(),
        registrant: Registrant::Administrator,
        created_at: now,
        updated_at: now,
    })
}
