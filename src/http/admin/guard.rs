use std::future::{Ready, ready};

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, HttpResponse, web};

use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::http::bearer::{self, Unadmitted};
use crate::http::{Served, State, body, limits, reply, routes};
use crate::oauth::{ErrorCode, Scope, quotable};
use crate::protocol::ProtocolError;
use crate::protocol::admin::Administrator;

/// Who administers: present in every admin handler, put there by [`guard`].
#[derive(Clone, Debug)]
pub(in crate::http) struct Admitted(pub(super) Administrator);

/// Lets a request through to an admin handler only with an access token of this issuer, made for the admin
/// API, not revoked, whose scope holds what the URL table asks of the route; and only while this node can know that. A query
/// parameter that the route does not take is refused then.
pub(in crate::http) async fn guard(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        let refusal = reply::refusal(&ProtocolError::server_error("the service has no state"));
        return Ok(request.into_response(refusal));
    };
    body::read_first(&mut request).await;
    match admit(&state, &request).await {
        Ok((administrator, taken)) => {
            if let Err(error) = taken.map_or(Ok(()), |taken| only_taken(request.query_string(), taken)) {
                return Ok(request.into_response(reply::refusal(&error)));
            }
            request.extensions_mut().insert(Admitted(administrator));
            next.call(request).await
        }
        Err(refusal) => {
            let refusal = refusal.counted(&state, request.request());
            Ok(request.into_response(challenge(&refusal)))
        }
    }
}

/// Who asks, and the query parameters that the route takes, if there is such a route.
async fn admit(
    state: &State,
    request: &ServiceRequest,
) -> Result<(Administrator, Option<&'static [&'static str]>), Unadmitted> {
    let services = &state.services;
    let token = bearer::token(request.headers())?;
    let invalid = || ProtocolError::new(ErrorCode::InvalidToken, "the access token is not valid here");
    let admin_api = services.resources.admin();
    let claims = services.live_token_for(token, admin_api)?.ok_or_else(invalid)?;
    // What a client may no longer ask for, it may no longer use: a token does not outlive a demotion here.
    let client = services.clients.find(claims.client_id.as_str()).ok_or_else(invalid)?;
    let still_may =
        |scope: &str| services.clients.may_have(&client, scope) && client.resources.contains(&admin_api.uri);
    let actor = Actor::Client(claims.client_id.clone());
    let Some(path) = request.match_pattern() else { return Err(not_served().into()) };
    let Some((needed, query)) = needed_by(routes::served(), request.method(), &path)? else {
        // Another method than the path has, or no path of the table: the answer is 405 or 404, and nothing is done.
        return Ok((Administrator { actor, scope: Scope::default() }, None));
    };
    if claims.permits(needed) && still_may(needed) {
        return Ok((Administrator { actor, scope: claims.scope }, Some(query)));
    }
    // Nobody shall fill the disk with refusals.
    if !limits::is_refused_too_often(state, request.request()) {
        let route = format!("{} {path}", request.method());
        let event = Event::new(EventKind::AdminRefused, actor).outcome(Outcome::Refused);
        services.audit.record(event.detail("route", route)).await?;
    }
    Err(ProtocolError::new(ErrorCode::InsufficientScope, format!("this needs the scope {needed}")).into())
}

/// The scope that a route needs, and the query parameters that it takes.
type Needed = (&'static str, &'static [&'static str]);

/// What a route of `table` needs; nothing where there is no such route. A route that names no scope is denied: there is no
/// default scope.
fn needed_by(table: &[Served], method: &Method, path: &str) -> Result<Option<Needed>, ProtocolError> {
    // A handler of GET may answer HEAD too.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let route = table.iter().find(|each| each.method == *method && each.path == path);
    route.map(|route| Ok((route.scope.ok_or_else(not_served)?, route.query))).transpose()
}

/// Refuses a query parameter that the route does not take: what somebody meant by it would not be done, and something else
/// instead.
fn only_taken(query: &str, taken: &[&str]) -> Result<(), ProtocolError> {
    let params = body::form(query.as_bytes())?;
    let Some(unknown) = params.names().find(|name| !taken.contains(name)) else { return Ok(()) };
    let taken = if taken.is_empty() { "none".to_owned() } else { taken.join(" and ") };
    let unknown = quotable(unknown);
    Err(ProtocolError::invalid_request(format!(
        "unknown query parameter `{unknown}`: {taken} may stand here"
    )))
}

fn not_served() -> ProtocolError {
    ProtocolError::new(ErrorCode::InsufficientScope, "no scope permits this")
}

/// A refusal with its challenge (RFC 6750, section 3.1): without an error code for whoever sent no token.
fn challenge(unadmitted: &Unadmitted) -> HttpResponse {
    match unadmitted {
        Unadmitted::Refused(error) => reply::refusal(error),
        Unadmitted::Anonymous => reply::challenge_bearer(reply::refusal(&bearer::anonymous()), ""),
    }
}

impl FromRequest for Admitted {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    /// Fails closed where the guard was not passed.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let admitted = request.extensions().get::<Self>().cloned();
        ready(admitted.ok_or_else(|| actix_web::error::ErrorForbidden("not an administrator")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &[&str] = &["after", "limit"];

    #[test]
    fn a_query_parameter_is_taken_or_refused_by_its_name() {
        for fine in ["", "after=x", "limit=1&after=x", "&", "limit="] {
            only_taken(fine, PAGE).unwrap();
        }
        for (query, named) in [("limt=1", "`limt`"), ("limit=1&%22\n=", "`''`"), ("rotate", "`rotate`")] {
            let error = only_taken(query, PAGE).unwrap_err();
            assert!(error.description.contains(named), "{query}: {}", error.description);
            assert!(error.description.contains("after and limit may"), "{}", error.description);
        }
        assert!(only_taken("limit=1", &[]).is_err());
        assert!(only_taken("limit=1&limit=1", PAGE).is_err());
    }

    #[test]
    fn a_route_that_names_no_scope_lets_nobody_in() {
        let served = |method, path, scope| Served {
            method,
            path,
            scope,
            query: PAGE,
            route: || web::to(HttpResponse::Ok),
        };
        let table = [
            served(Method::GET, "/admin/keys", Some("signet:keys")),
            served(Method::GET, "/admin/forgotten", None),
        ];
        let asked = |method, path| needed_by(&table, &method, path).map_err(|error| error.code);
        assert_eq!(asked(Method::GET, "/admin/keys"), Ok(Some(("signet:keys", PAGE))));
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(asked(method, "/admin/forgotten"), Err(ErrorCode::InsufficientScope));
        }
        // Nothing is there to be let in to: the answer is 405 or 404.
        assert_eq!(asked(Method::POST, "/admin/forgotten"), Ok(None));
        assert_eq!(asked(Method::GET, "/admin/{rest:.*}"), Ok(None));
    }
}
