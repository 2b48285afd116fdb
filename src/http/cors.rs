//! Cross-origin requests of scripts (Fetch standard, section 3.2): what anyone may read is open to every origin, the
//! endpoints that a client's script calls to the origins that clients have registered. Never with cookies, and never
//! the authorization endpoint (RFC 9700, section 2.6).

use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{Error, HttpRequest, HttpResponse, web};
use pin_project_lite::pin_project;

use super::{State, publish};

/// Which origins a path is open to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// To none but its own.
    No,
    /// To those that some client has registered.
    ToClients,
    /// To all.
    ToAll,
}

impl Open {
    /// Which origins `path` is open to.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/oauth2/token" | "/oauth2/userinfo" | "/oauth2/revoke" => Self::ToClients,
            // The older documents' doors to the same: some of their samples ask from a page.
            "/oauth/token" | "/auth/token" | "/api/token.php" | "/oauth/revoke" | "/api/userinfo.php" => {
                Self::ToClients
            }
            "/status" => Self::ToAll,
            path if publish::is_published(path) => Self::ToAll,
            _ => Self::No,
        }
    }

    /// What `Access-Control-Allow-Origin` says to a script that so asks. What is open to all says so to whoever asks: caches
    /// keep the answer, and hand it to scripts.
    fn allowed(self, state: &State, asked: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::No => None,
            Self::ToAll => Some(HeaderValue::from_static("*")),
            Self::ToClients => asked
                .get(header::ORIGIN)
                .filter(|origin| origin.to_str().is_ok_and(|text| state.services.clients.admit(text)))
                .cloned(),
        }
    }
}

/// The answer to a script that asks whether it may ask; `None` if this is no such question, or the answer is no.
pub(super) fn preflight(open: Open, state: &State, request: &HttpRequest) -> Option<HttpResponse> {
    let asks = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let origin = open.allowed(state, request.headers()).filter(|_| asks)?;
    let mut response = HttpResponse::new(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let fixed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// Lets scripts read the answers of a path.
pub(super) struct Cors {
    pub(super) open: Open,
    /// Whose clients' origins.
    pub(super) state: web::Data<State>,
}

/// The service around the path's own. Like `observe`, it stands on the hot path and boxes nothing.
pub(super) struct Crossing<S> {
    open: Open,
    state: web::Data<State>,
    inner: S,
}

impl<S, B> Transform<S, ServiceRequest> for Cors
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = Crossing<S>;
    type InitError = ();
    type Future = Ready<Result<Crossing<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(Crossing { open: self.open, state: self.state.clone(), inner }))
    }
}

impl<S, B> Service<ServiceRequest> for Crossing<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = Answering<S::Future>;

    forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let origin = self.open.allowed(&self.state, request.headers());
        Answering { open: self.open, origin, answer: self.inner.call(request) }
    }
}

pin_project! {
    /// A request under way.
    pub(super) struct Answering<F> {
        open: Open,
        origin: Option<HeaderValue>,
        #[pin]
        answer: F,
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answered = this.answer.poll(context);
        if let Poll::Ready(Ok(response)) = &mut answered
            && let Some(origin) = this.origin.take()
        {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            // A published document has none of them, and is served too often to name them for nothing.
            if *this.open == Open::ToClients || !is_document(response.status()) {
                let readable = HeaderValue::from_static(READABLE);
                response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, readable);
            }
        }
        answered
    }
}

/// What a script may read of an answer's headers beside those that every script may: why it was refused, when to come
/// back, and how its limit stands (Fetch standard, section 3.3.5).
const READABLE: &str = "Retry-After, WWW-Authenticate, RateLimit, RateLimit-Policy, X-RateLimit-Limit, \
                        X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id";

fn is_document(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::NOT_MODIFIED
}
