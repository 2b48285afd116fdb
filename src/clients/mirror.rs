//! The clients as this node keeps them in memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Client;
use crate::oauth::{Algorithm, ClientId, Origin};
use crate::store::typed::Record;

/// A client, and the version of its row.
#[derive(Clone)]
pub(super) struct Mirrored {
    pub(super) version: u64,
    pub(super) client: Arc<Client>,
    /// The newest reading of all clients that had begun when it was last seen in the store.
    seen_in: u64,
}

impl From<Record<Client>> for Mirrored {
    fn from(record: Record<Client>) -> Self {
        Self { version: record.version, client: Arc::new(record.value), seen_in: 0 }
    }
}

/// Every client by its identifier, and how many of them name an origin: every request of a script asks for that, whoever sends it.
/// And which of them are registered for an algorithm that is not in use: every look at the service's health asks for that.
#[derive(Default)]
pub(super) struct Mirror {
    clients: HashMap<ClientId, Mirrored>,
    origins: HashMap<Origin, usize>,
    algorithms: Vec<Algorithm>,
    stranded: BTreeSet<ClientId>,
    /// How often it was begun to read all anew.
    readings: u64,
}

impl Mirror {
    /// One of no clients, where `algorithms` are in use.
    pub(super) fn new(algorithms: &[Algorithm]) -> Self {
        Self { algorithms: algorithms.to_vec(), ..Self::default() }
    }

    pub(super) fn stranded(&self) -> &BTreeSet<ClientId> {
        &self.stranded
    }

    pub(super) fn get(&self, client_id: &str) -> Option<&Mirrored> {
        self.clients.get(client_id)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Mirrored> {
        self.clients.values()
    }

    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether some client names `origin`, compared as text.
    pub(super) fn admits(&self, origin: &str) -> bool {
        self.origins.contains_key(origin)
    }

    /// All clients are read anew from here on; gives which reading that is.
    pub(super) fn begin_anew(&mut self) -> u64 {
        self.readings += 1;
        self.readings
    }

    /// All were read since this reading began: those that have not come by are gone.
    pub(super) fn end_anew(&mut self, reading: u64) {
        let gone = self.clients.values().filter(|mirrored| mirrored.seen_in < reading);
        let gone: Vec<_> = gone.map(|mirrored| mirrored.client.client_id.clone()).collect();
        for client_id in &gone {
            self.remove(client_id);
        }
    }

    /// Adds a client, or puts it in place of what it was.
    pub(super) fn insert(&mut self, mirrored: Mirrored) {
        let mirrored = Mirrored { seen_in: self.readings, ..mirrored };
        for origin in &mirrored.client.allowed_origins {
            *self.origins.entry(origin.clone()).or_default() += 1;
        }
        let client_id = &mirrored.client.client_id;
        if mirrored.client.algorithms().all(|(_, algorithm)| self.algorithms.contains(&algorithm)) {
            self.stranded.remove(client_id);
        } else {
            self.stranded.insert(client_id.clone());
        }
        let before = self.clients.insert(mirrored.client.client_id.clone(), mirrored);
        self.let_go(before.as_ref());
    }

    pub(super) fn remove(&mut self, client_id: &ClientId) {
        self.stranded.remove(client_id);
        let before = self.clients.remove(client_id);
        self.let_go(before.as_ref());
    }

    /// Counts the origins of a client that is gone.
    fn let_go(&mut self, before: Option<&Mirrored>) {
        for origin in before.into_iter().flat_map(|mirrored| &mirrored.client.allowed_origins) {
            if let Some(count) = self.origins.get_mut(origin) {
                *count -= 1;
                if *count == 0 {
                    self.origins.remove(origin);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client(id: &str, origins: &[&str]) -> Mirrored {
        let client = json!({
            "client_id": id, "client_name": id, "secrets": [], "grant_types": [], "scope": "", "default_scope": "",
            "resources": [], "allowed_origins": origins,
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        });
        Mirrored { version: 1, client: Arc::new(serde_json::from_value(client).unwrap()), seen_in: 0 }
    }

    #[test]
    fn a_client_is_stranded_for_as_long_as_it_names_an_algorithm_that_is_not_in_use() {
        let mut mirror = Mirror::new(&[Algorithm::ES256]);
        let mut of = |id: &str, change: fn(&mut Client)| {
            let mut changed = Client::clone(&client(id, &[]).client);
            change(&mut changed);
            mirror.insert(Mirrored { version: 2, client: Arc::new(changed), seen_in: 0 });
            mirror.stranded().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("none", |_| {}), "");
        assert_eq!(of("kept", |client| client.access_token_signing_alg = Some(Algorithm::ES256)), "");
        assert_eq!(of("b", |client| client.access_token_signing_alg = Some(Algorithm::EdDSA)), "b");
        assert_eq!(of("a", |client| client.id_token_signed_response_alg = Some(Algorithm::RS256)), "a b");
        assert_eq!(of("b", |client| client.access_token_signing_alg = Some(Algorithm::ES256)), "a");
        mirror.remove(&ClientId::parse("a").unwrap());
        assert!(mirror.stranded().is_empty());
    }

    #[test]
    fn of_those_that_were_known_only_what_comes_by_again_stays() {
        let mut mirror = Mirror::default();
        for id in ["read", "changed", "gone"] {
            mirror.insert(client(id, &["https://a.example"]));
        }
        let reading = mirror.begin_anew();
        for id in ["read", "changed", "new"] {
            mirror.insert(client(id, &["https://b.example"]));
        }
        let known = |mirror: &Mirror, id: &str| mirror.get(id).is_some();
        assert!(known(&mirror, "gone"), "nobody knows yet");
        // Another one that has just begun, or is never ended, takes nothing away.
        mirror.begin_anew();
        mirror.end_anew(reading);
        assert!(["read", "changed", "new"].iter().all(|id| known(&mirror, id)));
        assert!(!known(&mirror, "gone") && !mirror.admits("https://a.example"));
    }

    #[test]
    fn an_origin_is_admitted_for_as_long_as_some_client_names_it() {
        let [a, b, c] = ["https://a.example", "https://b.example", "https://c.example"];
        let mut mirror = Mirror::default();
        let admitted = |mirror: &Mirror| [a, b, c].map(|origin| mirror.admits(origin));
        mirror.insert(client("one", &[a, b, b]));
        mirror.insert(client("two", &[b]));
        assert_eq!(admitted(&mirror), [true, true, false]);
        mirror.insert(client("one", &[c]));
        assert_eq!(admitted(&mirror), [false, true, true]);
        mirror.insert(client("one", &[c]));
        mirror.remove(&ClientId::parse("two").unwrap());
        mirror.remove(&ClientId::parse("nobody").unwrap());
        assert_eq!(admitted(&mirror), [false, false, true]);
        mirror.remove(&ClientId::parse("one").unwrap());
        assert_eq!(admitted(&mirror), [false; 3]);
        assert!(mirror.origins.is_empty());
    }
}
