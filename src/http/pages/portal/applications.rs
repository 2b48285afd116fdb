//! The person's own applications: registered, changed, given new secrets, deleted, with what a developer needs to copy.

use actix_web::{HttpResponse, web};
use askama::Template;
use url::form_urlencoded;

use super::scope_choice::{choices, chosen};
use super::{curable, words};
use crate::clients::{Client, GrantType};
use crate::http::State;
use crate::http::pages::fields::{joined, lines, text};
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::http::pages::views::ScopeView;
use crate::oauth::{RedirectUri, shell_word};
use crate::protocol::admin::clients::ClientWithSecret;
use crate::protocol::portal::{self, ApplicationChange, NewApplication};
use crate::protocol::{Params, ProtocolError};

const PLACE: &str = "/account/applications";

#[derive(Template)]
#[template(path = "portal/applications.html")]
struct ApplicationsPage<'a> {
    shell: Shell<'a>,
    applications: Vec<(String, String)>,
    client_name: String,
    redirect_uris: String,
    public: bool,
    /// Whether it gets tokens of its own too.
    client_credentials: bool,
    /// What may be chosen, and whether it is.
    scopes: Vec<(ScopeView<'a>, bool)>,
}

#[derive(Template)]
#[template(path = "portal/application.html")]
struct Application<'a> {
    shell: Shell<'a>,
    client_id: &'a str,
    name: String,
    redirect_uris: String,
    /// Words of a shell, for the snippet, as the next two.
    token_endpoint: String,
    client: String,
    redirect_uri: String,
    authorize: String,
    scope: String,
    public: bool,
    /// Whether it gets tokens of its own too.
    client_credentials: bool,
    created: String,
}

/// The person's applications, and the form of a new one.
pub(in crate::http) async fn list(state: web::Data<State>, visitor: Visitor) -> Answered {
    list_page(&state, &visitor, &Params::default(), None)
}

/// Registers an application.
pub(in crate::http) async fn register(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let registered = match read(&state, &form) {
        Ok(new) => portal::register_application(&state.services, &visitor.present, new).await,
        Err(error) => Err(error),
    };
    match registered {
        Ok(registered) => {
            let path = format!("{PLACE}/{}", registered.client_id());
            after(&state, &visitor, (&path, with_secret("Your application is registered.", &registered)))
        }
        Err(error) => list_page(&state, &visitor, &form, Some(&curable(error)?)),
    }
}

fn read(state: &State, form: &Params<'_>) -> Result<NewApplication, ProtocolError> {
    let offered = portal::offered_scope(&state.services)?;
    Ok(NewApplication {
        client_name: text(form, "client_name"),
        public: form.one("public") == Some("yes"),
        redirect_uris: redirect_uris(form)?,
        scope: chosen(&offered, form)?,
        client_credentials: state.client_credentials,
    })
}

fn redirect_uris(form: &Params<'_>) -> Result<Vec<RedirectUri>, ProtocolError> {
    lines("redirect_uris", &text(form, "redirect_uris"), RedirectUri::parse)
}

fn with_secret(words: &str, made: &ClientWithSecret) -> Notice {
    match made.client_secret() {
        Some(secret) => Notice::done(words).with_secrets("This is its secret.", [secret.clone()]),
        None => Notice::done(words),
    }
}

fn list_page(state: &State, visitor: &Visitor, form: &Params<'_>, problem: Option<&str>) -> Answered {
    let offered = portal::offered_scope(&state.services)?;
    let own = portal::applications(&state.services, &visitor.present);
    let template = ApplicationsPage {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        applications: own.iter().map(|each| (each.client_id.to_string(), each.client_name.clone())).collect(),
        client_name: text(form, "client_name"),
        redirect_uris: text(form, "redirect_uris"),
        public: form.one("public") == Some("yes"),
        client_credentials: state.client_credentials,
        scopes: choices(state, &offered, form),
    };
    Ok(show(problem, &template))
}

/// One application.
pub(in crate::http) async fn one(
    state: web::Data<State>,
    visitor: Visitor,
    client_id: web::Path<String>,
) -> Answered {
    let client = portal::find_application(&state.services, &visitor.present, &client_id).await?;
    let shown = (client.client_name.clone(), joined(&client.redirect_uris));
    Ok(page(&state, &visitor, (&client, shown), None))
}

/// Changes an application, gives it a new secret, or deletes it.
pub(in crate::http) async fn act(
    state: web::Data<State>,
    visitor: Visitor,
    (client_id, form): (web::Path<String>, Form),
) -> Answered {
    let (services, present) = (&state.services, &visitor.present);
    let client = portal::find_application(services, present, &client_id).await?;
    let path = format!("{PLACE}/{}", client.client_id);
    match form.one("act") {
        Some("change") => {
            let client_name = text(&form, "client_name");
            let changed = match redirect_uris(&form) {
                Ok(redirect_uris) => {
                    let change = ApplicationChange { client_name: client_name.clone(), redirect_uris };
                    portal::change_application(services, present, (&client_id, change)).await
                }
                Err(error) => Err(error),
            };
            match changed {
                Ok(()) => after(&state, &visitor, (&path, Notice::done("Your application is changed."))),
                Err(error) => {
                    let problem = curable(error)?;
                    let shown = (client_name, text(&form, "redirect_uris"));
                    Ok(page(&state, &visitor, (&client, shown), Some(&problem)))
                }
            }
        }
        Some("rotate_secret") => {
            let made = portal::rotate_application_secret(services, present, &client_id).await?;
            let words = "Your application has a new secret. The old one counts no more.";
            after(&state, &visitor, (&path, with_secret(words, &made)))
        }
        Some("delete") if form.one("confirm") == Some("yes") => {
            portal::delete_application(services, present, &client_id).await?;
            after(&state, &visitor, (PLACE, Notice::done("Your application is deleted.")))
        }
        _ => {
            let shown = (client.client_name.clone(), joined(&client.redirect_uris));
            let problem = "Nothing was done: the act has to be confirmed.";
            Ok(page(&state, &visitor, (&client, shown), Some(problem)))
        }
    }
}

fn page(
    state: &State,
    visitor: &Visitor,
    (client, (name, redirect_uris)): (&Client, (String, String)),
    problem: Option<&str>,
) -> HttpResponse {
    let redirect_uri = client.redirect_uris.first().map(ToString::to_string).unwrap_or_default();
    let issuer = &state.services.issuer;
    let template = Application {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        client_id: client.client_id.as_str(),
        name,
        redirect_uris,
        token_endpoint: shell_word(&format!("{issuer}/oauth2/token")),
        client: shell_word(&if client.is_public() {
            format!("client_id={}", client.client_id)
        } else {
            format!("{}:CLIENT_SECRET", client.client_id)
        }),
        authorize: authorize(issuer, client, &redirect_uri),
        redirect_uri: shell_word(&format!("redirect_uri={redirect_uri}")),
        scope: client.scope.to_string(),
        public: client.is_public(),
        client_credentials: client.may(GrantType::ClientCredentials),
        created: words::date(client.created_at),
    };
    show(problem, &template)
}

/// Where the application sends people; the words in capitals are its own.
fn authorize(issuer: &str, client: &Client, redirect_uri: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("response_type", "code")
        .append_pair("client_id", client.client_id.as_str())
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("scope", client.scope.as_str())
        .append_pair("code_challenge", "CODE_CHALLENGE")
        .append_pair("code_challenge_method", "S256")
        .append_pair("state", "STATE")
        .finish();
    format!("{issuer}/oauth2/authorize?{query}")
}
