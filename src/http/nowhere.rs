//! How a request is answered that no route takes: of a path that is not there, or by a method that is not served at it.

use actix_web::http::Method;
use actix_web::http::header::{self, Header as _};
use actix_web::{HttpRequest, HttpResponse, web};

use super::dialects::AUTH_TOKEN;
use super::{State, pages, reply, users};
use crate::oauth::ErrorCode;
use crate::protocol::ProtocolError;

/// What the forms on the way to an application lead to: nobody can start there.
const FORMS: [&str; 4] = ["/oauth2/sign-in", "/oauth2/second-factor", "/oauth2/consent", "/oauth2/sign-out"];

/// How a refusal is shaped.
type Refuse = fn(&ProtocolError) -> HttpResponse;

/// How what is refused at a path is shaped, if the document has words for it that describes what is there.
fn refusal_at(path: &str) -> Option<Refuse> {
    let is_below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_below("/users") || is_below("/v1/users") {
        Some(users::refusal_of_path)
    } else if is_below("/auth/token") {
        Some(AUTH_TOKEN.refusal)
    } else {
        None
    }
}

/// RFC 9110, section 15.5.6.
pub(super) fn method_not_allowed(path: &str, allow: &str) -> HttpResponse {
    let error = ProtocolError::invalid_request("the method is not allowed here");
    only(allow, refusal_at(path).unwrap_or(reply::refusal)(&error))
}

/// The same, by a page for whoever opens by its address what a form leads to.
pub(super) fn not_by(method: &Method, state: &State, (path, allow): (&str, &str)) -> HttpResponse {
    if FORMS.contains(&path) && matches!(*method, Method::GET | Method::HEAD) {
        return only(allow, pages::form_opened(state));
    }
    method_not_allowed(path, allow)
}

fn only(allow: &str, mut response: HttpResponse) -> HttpResponse {
    *response.status_mut() = actix_web::http::StatusCode::METHOD_NOT_ALLOWED;
    if let Ok(allow) = header::HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// What is served nowhere, as a page for people and in the words of the document that describes what is there.
pub(super) async fn not_found(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let path = request.path();
    let below = || path.strip_prefix(&state.frame.base).and_then(refusal_at);
    match refusal_at(path).or_else(below) {
        Some(refuse) => refuse(&nothing_here()),
        None if prefers_pages(&request) => pages::no_such_page(&state),
        None => reply::refusal(&nothing_here()),
    }
}

pub(super) fn nothing_here() -> ProtocolError {
    ProtocolError::new(ErrorCode::NotFound, "there is nothing here")
}

/// Whether `Accept` names HTML, and JSON less (RFC 9110, section 12.5.1): a browser that opens an address does. What takes
/// anything is a program.
fn prefers_pages(request: &HttpRequest) -> bool {
    let Ok(accept) = header::Accept::parse(request) else { return false };
    let quality = |name: &str| {
        let items = accept.iter().filter(|each| each.item.essence_str() == name);
        items.map(|each| each.quality).max()
    };
    quality("text/html")
        .is_some_and(|html| html > header::Quality::ZERO && Some(html) > quality("application/json"))
}
