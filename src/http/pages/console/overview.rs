use actix_web::web;
use askama::Template;

use super::entries::{EntryView, latest};
use super::words;
use crate::http::State;
use crate::http::pages::shell::{Answered, Shell, Visitor, show};
use crate::keys::{Health, Phase};

#[derive(Template)]
#[template(path = "console/overview.html")]
struct Overview<'a> {
    shell: Shell<'a>,
    issuer: &'a str,
    /// A style class.
    health: &'static str,
    health_words: &'static str,
    next_change: Option<String>,
    published: usize,
    clients: usize,
    resources: usize,
    audited: bool,
    entries: Vec<EntryView>,
}

/// How the service is, at a glance.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    let services = &state.services;
    let list = crate::protocol::admin::keys::list(services).signing;
    let (health, health_words) = match services.keys.health() {
        Health::Green => ("green", "all is well"),
        Health::Amber { .. } => ("amber", "the last attempts to change them failed; they still sign"),
        Health::Red { .. } => ("red", "not read for too long; nothing is signed"),
    };
    let published = |phase: Phase| !matches!(phase, Phase::Forgotten | Phase::Compromised);
    let template = Overview {
        shell: Shell::new(&state, &visitor, "/console"),
        issuer: &services.issuer,
        health,
        health_words,
        next_change: list.next_change.map(words::seconds),
        published: list.keys.iter().filter(|key| published(key.phase)).count(),
        clients: services.clients.count(),
        resources: services.resources.all().len(),
        audited: services.audit.is_writable(),
        entries: latest(services, 8).await?,
    };
    Ok(show(None, &template))
}
