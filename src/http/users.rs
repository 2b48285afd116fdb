//! `/users` and `/v1/users`: the accounts as an older API document describes them, errors as `error` and `message`.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bearer::{self, Unadmitted};
use super::body::{self, Body};
use super::routes::path_of_table;
use super::{State, api_key, limits, reply, to_the_end};
use crate::limits::Standing;
use crate::oauth::{ErrorCode, unreadable};
use crate::protocol::users::{self, Keeper, NewUser, PageRequest, UserChange, UserView};
use crate::protocol::{self, ProtocolError};

/// Who may read the accounts.
const READ: &str = "users:read";
/// Who may change them.
const WRITE: &str = "users:write";

/// Lets a request through only with the scope that its method needs.
pub(super) async fn guard(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        let refusal = refusal(&ProtocolError::server_error("the service has no state"));
        return Ok(request.into_response(refusal));
    };
    body::read_first(&mut request).await;
    let mut standing = None;
    let mut response = match admit(&state, &request, &mut standing).await {
        Ok(keeper) => {
            request.extensions_mut().insert(keeper);
            next.call(request).await?
        }
        Err(unadmitted) => {
            let unadmitted = unadmitted.counted(&state, request.request());
            request.into_response(challenge(&unadmitted))
        }
    };
    if let Some(standing) = standing {
        limits::announce(response.response_mut(), &standing);
    }
    Ok(response)
}

/// Every way of proving that one may keep accounts ends in a [`Keeper`]. If it is an API key, `standing` says how its
/// limit stands.
async fn admit(
    state: &State,
    request: &ServiceRequest,
    standing: &mut Option<Standing>,
) -> Result<Keeper, Unadmitted> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let scope = if reads { READ } else { WRITE };
    // Nobody shall fill the disk with refusals.
    let record = !limits::is_refused_too_often(state, request.request());
    if let Some(secret) = api_key::sent(state, request.request())? {
        let presented = protocol::present_api_key(&state.services, secret.expose()).await?;
        *standing = presented.standing;
        return Ok(protocol::admit_api_key(&state.services, &presented.key, scope, record).await?);
    }
    let token = bearer::token(request.headers())?;
    Ok(users::admit(&state.services, token, scope, record).await?)
}

pub(super) async fn list(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let page = body::form(request.query_string().as_bytes()).and_then(|params| PageRequest::parse(&params));
    let listed = match page {
        Ok(request) => users::list(&state.services, request.page()).await,
        Err(error) => Err(error),
    };
    match listed {
        Ok(accounts) => reply::json(StatusCode::OK, &accounts.iter().map(UserView::of).collect::<Vec<_>>()),
        Err(error) => refusal(&error),
    }
}

pub(super) async fn show(state: web::Data<State>, id: web::Path<String>) -> HttpResponse {
    match users::show(&state.services, &id).await {
        Ok(account) => reply::json(StatusCode::OK, &UserView::of(&account)),
        Err(error) => refusal(&error),
    }
}

pub(super) async fn register(
    state: web::Data<State>,
    keeper: web::ReqData<Keeper>,
    request: HttpRequest,
    body: Body,
) -> HttpResponse {
    let below = format!("{}{}", state.frame.base, path_of_table(&request, &state.frame.base));
    let registered = match parse::<NewUser>(&body).and_then(TryInto::try_into) {
        Ok(new) => {
            to_the_end(async move { users::register(&state.services, &keeper.into_inner(), new).await }).await
        }
        Err(error) => Err(error),
    };
    match registered {
        Ok(account) => {
            let mut response = reply::json(StatusCode::CREATED, &UserView::of(&account));
            if let Ok(location) = header::HeaderValue::from_str(&format!("{below}/{}", account.id)) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Err(error) => reply::unread(refusal(&error), &body),
    }
}

pub(super) async fn change(
    state: web::Data<State>,
    keeper: web::ReqData<Keeper>,
    id: web::Path<String>,
    body: Body,
) -> HttpResponse {
    // Whether there is such a user is said before what is wrong with the change.
    let found = users::show(&state.services, &id).await;
    let changed = match found.and_then(|_| parse::<UserChange>(&body)?.try_into()) {
        Ok(change) => {
            let act = async move { users::change(&state.services, &keeper.into_inner(), &id, change).await };
            to_the_end(act).await
        }
        Err(error) => Err(error),
    };
    match changed {
        Ok(account) => reply::json(StatusCode::OK, &UserView::changed(&account)),
        Err(error) => reply::unread(refusal(&error), &body),
    }
}

pub(super) async fn delete(
    state: web::Data<State>,
    keeper: web::ReqData<Keeper>,
    id: web::Path<String>,
) -> HttpResponse {
    let deleted = async move { users::delete(&state.services, &keeper.into_inner(), &id).await };
    match to_the_end(deleted).await {
        Ok(()) => HttpResponse::NoContent().insert_header((header::CACHE_CONTROL, "no-store")).finish(),
        Err(error) => refusal(&error),
    }
}

fn parse<T: DeserializeOwned>(body: &Body) -> Result<T, ProtocolError> {
    serde_json::from_slice(body.bytes()?).map_err(|error| ProtocolError::invalid_request(unreadable(&error)))
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    message: &'a str,
}

/// A refusal in the document's shape; for a user that is not there, in its very words.
fn refusal(error: &ProtocolError) -> HttpResponse {
    if error.code == ErrorCode::NotFound {
        let body = ErrorBody { error: "User not found", message: "The specified user ID does not exist." };
        return shaped(error, &body);
    }
    refusal_of_path(error)
}

/// A refusal in the document's shape, by the error's own words.
pub(super) fn refusal_of_path(error: &ProtocolError) -> HttpResponse {
    shaped(error, &ErrorBody { error: error.code.as_str(), message: &error.description })
}

fn shaped(error: &ProtocolError, body: &ErrorBody<'_>) -> HttpResponse {
    let response = reply::with_retry(reply::json(reply::status(error.code), body), error);
    bearer::challenged(response, error)
}

fn challenge(unadmitted: &Unadmitted) -> HttpResponse {
    match unadmitted {
        Unadmitted::Refused(error) => refusal(error),
        Unadmitted::Anonymous => {
            let error = ProtocolError::new(ErrorCode::InvalidToken, "an access token is needed");
            reply::challenge_bearer(refusal(&error), "")
        }
    }
}
