use actix_web::web;
use askama::Template;

use crate::clients::ResourceServer;
use crate::http::State;
use crate::http::pages::scopes;
use crate::http::pages::shell::{Answered, Shell, Visitor, show};
use crate::http::pages::views::ScopeView;
use crate::oauth::Algorithm;
use crate::protocol::Services;

#[derive(Template)]
#[template(path = "console/resources.html")]
struct Resources<'a> {
    shell: Shell<'a>,
    resources: Vec<ResourceRow<'a>>,
}

struct ResourceRow<'a> {
    uri: &'a str,
    lifetime: i64,
    algorithm: String,
    scopes: Vec<ScopeView<'a>>,
    /// What people may open to programs of their own.
    people_scope: &'a str,
}

/// With which algorithm tokens for it are signed, and with which until that one signs.
fn algorithm(services: &Services, server: &ResourceServer) -> String {
    let in_use = services.keys.policy().algorithms();
    let wanted = server.algorithm.or(in_use.first().copied()).map_or("none", Algorithm::as_str);
    match services.keys.signing_key(server.algorithm).map(|key| key.algorithm().as_str()) {
        Ok(now) if now != wanted => format!("{wanted}; {now} until its key signs"),
        Ok(_) | Err(_) => wanted.to_owned(),
    }
}

/// The resources and what their scope tokens mean. They are settings: nothing can be changed here.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    let all = state.services.resources.all().iter();
    let template = Resources {
        shell: Shell::new(&state, &visitor, "/console/resources"),
        resources: all
            .map(|server| ResourceRow {
                uri: server.uri.as_str(),
                lifetime: server.lifetime,
                algorithm: algorithm(&state.services, server),
                people_scope: server.people_scope.as_str(),
                scopes: server.scope.iter().map(|token| scopes::view(&state, token)).collect(),
            })
            .collect(),
    };
    Ok(show(None, &template))
}
