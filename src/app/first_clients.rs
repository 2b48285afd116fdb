use std::sync::Arc;

use super::{App, StartError};
use crate::audit::{Actor, Event, EventKind};
use crate::backup::INSTALLATION;
use crate::clients::{ADMIN_SCOPE, Client, Registered, Registration};
use crate::oauth::{ClientId, Scope, Secret};
use crate::store::{Batch, Committed, Condition, Put};

/// The row that says that the first clients were asked for. Its value says nothing.
const FIRST_CLIENTS: &[u8] = b"first_clients";

/// The clients of a fresh installation.
#[derive(Debug)]
pub struct FirstClients {
    /// May administer everything.
    pub admin: FirstClient,
    /// May ask tokens for the first resource of the settings, if there is one.
    pub demo: Option<FirstClient>,
}

/// A client of a fresh installation, and its secret.
#[derive(Debug)]
pub struct FirstClient {
    /// The client.
    pub client: Arc<Client>,
    /// Its secret: the only time it can be seen.
    pub client_secret: Secret,
}

impl From<Registered> for FirstClient {
    #[expect(clippy::expect_used, reason = "neither of the first clients is registered as a public one")]
    fn from(registered: Registered) -> Self {
        let client_secret = registered.client_secret.expect("a client with a secret");
        Self { client: registered.client, client_secret }
    }
}

impl App {
    /// Registers an administrator and, where the demonstration resource is served, a demo client for it: once in the life of an
    /// installation and only if there is no client; their secrets can be seen only now.
    ///
    /// An installation whose clients were all deleted gets no new administrator by being started again:
    /// whoever may write its data registers one offline.
    ///
    /// # Errors
    /// When they can't be recorded or stored.
    pub async fn first_clients(&self) -> Result<Option<FirstClients>, StartError> {
        // The mark first: of nodes that start together, one makes them.
        if !self.is_fresh().await? || !self.mark_first_clients(Condition::Absent).await? {
            return Ok(None);
        }
        let services = &self.state.services;
        let ids = [services.clients.new_id(), services.clients.new_id()];
        match self.make_first_clients(&ids).await {
            Err(error) => {
                // Nobody has seen a secret: the next start tries again.
                if let Err(left) = self.take_back(&ids).await {
                    tracing::error!(
                        error = %left,
                        "the first clients could not be taken back; if the next start shows none, delete them and \
                         register an administrator by `signet clients register --offline`"
                    );
                }
                Err(error)
            }
            made => made.map(Some),
        }
    }

    async fn make_first_clients(
        &self,
        [admin_id, demo_id]: &[ClientId; 2],
    ) -> Result<FirstClients, StartError> {
        let services = &self.state.services;
        let administered = services.resources.admin().uri.clone();
        let admin = Registration {
            client_id: Some(admin_id.clone()),
            client_name: "First administrator".into(),
            scope: Scope::parse(ADMIN_SCOPE).unwrap_or_default(),
            resources: vec![administered],
            ..Registration::default()
        };
        let demo = self.demo_resource.as_ref().map(|(resource, scope)| Registration {
            client_id: Some(demo_id.clone()),
            client_name: "Demo".into(),
            scope: scope.clone(),
            audience_of: vec![resource.clone()],
            resources: vec![resource.clone()],
            ..Registration::default()
        });
        for registration in [&admin].into_iter().chain(&demo) {
            let mut event = Event::new(EventKind::ClientRegistered, Actor::Service);
            if let Some(client_id) = &registration.client_id {
                event = event.client(client_id);
            }
            services.audit.record(event).await?;
        }
        let admin = services.clients.register(admin).await?.into();
        let demo = match demo {
            Some(demo) => Some(services.clients.register(demo).await?.into()),
            None => None,
        };
        Ok(FirstClients { admin, demo })
    }

    /// Whether first clients are still to be made.
    async fn is_fresh(&self) -> Result<bool, StartError> {
        let services = &self.state.services;
        let marked = services.store.get(INSTALLATION, FIRST_CLIENTS).await?.is_some();
        match (marked, services.clients.count()) {
            (false, 0) => return Ok(true),
            (false, _) => _ = self.mark_first_clients(Condition::Always).await?,
            (true, 0) => {
                tracing::warn!("there is no client; `signet clients register --offline` registers one");
            }
            (true, _) if !self.has_administrator() => {
                let admin = &services.resources.admin().uri;
                tracing::warn!(
                    "no client may administer {admin}; if the issuer has changed, stop the service and run `signet clients \
                     change ADMIN_ID --offline --resource {admin}`"
                );
            }
            (true, _) => {}
        }
        Ok(false)
    }

    fn has_administrator(&self) -> bool {
        let services = &self.state.services;
        let admin = &services.resources.admin().uri;
        let all = services.clients.list(None, usize::MAX);
        all.iter().any(|client| client.resources.contains(admin) && client.scope.contains("signet:clients"))
    }

    /// Says whether the condition held.
    async fn mark_first_clients(&self, condition: Condition) -> Result<bool, StartError> {
        let batch = Batch::new().put(INSTALLATION, FIRST_CLIENTS, condition, Put::lasting(b"1".to_vec()));
        Ok(self.state.services.store.commit(batch).await? == Committed::Applied)
    }

    /// Leaves nothing of what could not be made as a whole.
    async fn take_back(&self, ids: &[ClientId]) -> Result<(), StartError> {
        let clients = &self.state.services.clients;
        // From the store: one may be there although the answer was lost.
        clients.reload().await?;
        for made in ids.iter().filter_map(|id| clients.find(id.as_str())) {
            clients.delete(&made).await?;
        }
        let batch = Batch::new().delete(INSTALLATION, FIRST_CLIENTS, Condition::Always);
        let _applied = self.state.services.store.commit(batch).await?;
        Ok(())
    }
}
