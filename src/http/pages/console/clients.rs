//! The clients: looked at, registered, changed, given new secrets and deleted.

use actix_web::{HttpRequest, web};
use askama::Template;

use super::client_form::ClientForm;
use super::{administrator, words};
use crate::clients::{Client, ClientSecret};
use crate::http::pages::answers::curable;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::http::{State, body};
use crate::protocol::admin::clients::{PageRequest, SecretRotation, find};
use crate::protocol::{ProtocolError, admin};

const PLACE: &str = "/console/clients";

/// How many clients are on a page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "console/clients.html")]
struct ClientsPage<'a> {
    shell: Shell<'a>,
    clients: Vec<ClientRow>,
    next: Option<String>,
}

struct ClientRow {
    client_id: String,
    name: String,
    scope: String,
    created: String,
}

#[derive(Template)]
#[template(path = "console/new_client.html")]
struct NewClient<'a> {
    shell: Shell<'a>,
    form: ClientForm,
    registering: bool,
}

#[derive(Template)]
#[template(path = "console/client.html")]
struct ShownClient<'a> {
    shell: Shell<'a>,
    client_id: &'a str,
    name: &'a str,
    public: bool,
    registered_by: &'static str,
    owner: Option<&'a str>,
    created: String,
    updated: String,
    secrets: Vec<SecretRow>,
    form: ClientForm,
    registering: bool,
}

struct SecretRow {
    made: String,
    ends: String,
}

impl From<&ClientSecret> for SecretRow {
    fn from(secret: &ClientSecret) -> Self {
        let ends = secret.expires_at.map_or_else(|| "counts until it is replaced".into(), words::date);
        Self { made: words::date(secret.created_at), ends }
    }
}

/// A page of the clients.
pub(in crate::http) async fn list(
    state: web::Data<State>,
    visitor: Visitor,
    request: HttpRequest,
) -> Answered {
    let params = body::form(request.query_string().as_bytes())?;
    let asked = PageRequest { after: params.one("after").map(str::to_owned), limit: Some(PAGE) };
    let (clients, next) = admin::clients::page(&state.services, &asked);
    let row = |client: &std::sync::Arc<Client>| ClientRow {
        client_id: client.client_id.to_string(),
        name: client.client_name.clone(),
        scope: client.scope.to_string(),
        created: words::date(client.created_at),
    };
    let template = ClientsPage {
        shell: Shell::new(&state, &visitor, PLACE),
        next: next.map(|client_id| client_id.to_string()),
        clients: clients.iter().map(row).collect(),
    };
    Ok(show(None, &template))
}

/// The form of a new client.
pub(in crate::http) async fn new(state: web::Data<State>, visitor: Visitor) -> Answered {
    let empty = ClientForm::read(&state.services, &crate::protocol::Params::default());
    let template = NewClient { shell: Shell::new(&state, &visitor, PLACE), form: empty, registering: true };
    Ok(show(None, &template))
}

/// Registers a client.
pub(in crate::http) async fn register(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let services = &state.services;
    let brought = ClientForm::read(services, &form);
    let registered = match brought.registration() {
        Ok(registration) => admin::clients::register(services, &administrator(&visitor), registration).await,
        Err(error) => Err(error),
    };
    match registered {
        Ok(registered) => {
            let path = format!("{PLACE}/{}", registered.client_id());
            let notice = Notice::done("The client is registered.");
            let notice = match registered.client_secret() {
                Some(secret) => notice.with_secrets("This is its secret.", [secret.clone()]),
                None => notice,
            };
            after(&state, &visitor, (&path, notice))
        }
        Err(error) => {
            let problem = curable(error)?;
            let shell = Shell::new(&state, &visitor, PLACE).with_problem(Some(&problem));
            Ok(show(Some(&problem), &NewClient { shell, form: brought, registering: true }))
        }
    }
}

/// One client.
pub(in crate::http) async fn one(
    state: web::Data<State>,
    visitor: Visitor,
    client_id: web::Path<String>,
) -> Answered {
    let client = find(&state.services, &client_id).await?;
    let form = ClientForm::of(&state.services, &client);
    Ok(client_page(&state, &visitor, (&client, form), None))
}

/// Changes a client, gives it a new secret, or deletes it.
pub(in crate::http) async fn act(
    state: web::Data<State>,
    visitor: Visitor,
    (client_id, form): (web::Path<String>, Form),
) -> Answered {
    let (services, administrator) = (&state.services, administrator(&visitor));
    let client = find(services, &client_id).await?;
    let path = format!("{PLACE}/{}", client.client_id);
    match form.one("act") {
        Some("change") => {
            let brought = ClientForm::read(services, &form);
            let changed = match brought.change() {
                Ok(change) => {
                    admin::clients::change(services, &administrator, &client_id, change).await.map(drop)
                }
                Err(error) => Err(error),
            };
            match changed {
                Ok(()) => after(&state, &visitor, (&path, Notice::done("The client is changed."))),
                Err(error) => {
                    let problem = curable(error)?;
                    let client = find(services, &client_id).await?;
                    // One of another version would undo what was changed meanwhile.
                    let is_current = brought.is_of(&client);
                    let brought = if is_current { brought } else { ClientForm::of(services, &client) };
                    Ok(client_page(&state, &visitor, (&client, brought), Some(&problem)))
                }
            }
        }
        Some("rotate_secret") => {
            let overlap = form.one("overlap_hours").map_or(Ok(0), str::parse::<u64>);
            let hours =
                overlap.map_err(|_| ProtocolError::invalid_request("overlap_hours must be a number"))?;
            let rotation = SecretRotation { overlap_seconds: hours.saturating_mul(3600) };
            let rotated =
                admin::clients::rotate_secret(services, &administrator, &client_id, &rotation).await?;
            let notice = Notice::done("The client has a new secret.");
            let notice = match rotated.client_secret() {
                Some(secret) => notice.with_secrets("This is the new secret.", [secret.clone()]),
                None => notice,
            };
            after(&state, &visitor, (&path, notice))
        }
        Some("delete") if form.one("confirm") == Some("yes") => {
            admin::clients::delete(services, &administrator, &client_id).await?;
            let text = format!("The client {client_id} is deleted, and its tokens are revoked.");
            after(&state, &visitor, (PLACE, Notice::done(text)))
        }
        _ => {
            let problem = "Nothing was done: the act has to be confirmed.";
            let form = ClientForm::of(services, &client);
            Ok(client_page(&state, &visitor, (&client, form), Some(problem)))
        }
    }
}

fn client_page(
    state: &State,
    visitor: &Visitor,
    (client, form): (&Client, ClientForm),
    problem: Option<&str>,
) -> actix_web::HttpResponse {
    let template = ShownClient {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        client_id: client.client_id.as_str(),
        name: &client.client_name,
        public: client.is_public(),
        registered_by: client.registrant.as_str(),
        owner: client.owner().map(crate::oauth::UserId::as_str),
        created: words::date(client.created_at),
        updated: words::date(client.updated_at),
        secrets: client.secrets.iter().map(SecretRow::from).collect(),
        form,
        registering: false,
    };
    show(problem, &template)
}
