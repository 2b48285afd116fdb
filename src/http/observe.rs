//! Counts and times requests by route, and gives each its identifier, unless its answer is a published document: caches
//! hand that on to others, and it would be called by a request that is not theirs. Labels come from the URL table only,
//! never from a request.
//!
//! A service of its own rather than a function: it stands on the hot path, and boxes nothing.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{Error, web};
use pin_project_lite::pin_project;

use tokio::task::futures::TaskLocalFuture;

use super::{State, request_id};
use crate::audit::Origin;

/// The field by which an answer, and a trusted proxy's request, says which request it is.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Observes one route of the table.
pub(super) struct Observe {
    /// Its path, with parameters in braces.
    pub(super) route: &'static str,
    /// Whether its requests get identifiers.
    pub(super) named: bool,
    /// Whose clock and metrics.
    pub(super) state: web::Data<State>,
}

/// The service around the route's own.
pub(super) struct Observed<S> {
    route: &'static str,
    named: bool,
    state: web::Data<State>,
    inner: S,
}

impl<S, B> Transform<S, ServiceRequest> for Observe
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = Observed<S>;
    type InitError = ();
    type Future = Ready<Result<Observed<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(Observed { route: self.route, named: self.named, state: self.state.clone(), inner }))
    }
}

impl<S, B> Service<ServiceRequest> for Observed<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = Answering<S::Future>;

    forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let state = self.state.clone();
        let begun = state.services.clock.monotonic();
        let (answer, request_id) = if self.named {
            let origin = request_id::origin(&state, request.request());
            let request_id = request_id::field(&origin.request_id);
            (Answer::Named { future: origin.cause(self.inner.call(request)) }, request_id)
        } else {
            (Answer::Unnamed { future: self.inner.call(request) }, None)
        };
        Answering { route: self.route, state, begun, request_id, answer }
    }
}

pin_project! {
    /// What the route makes of a request.
    #[project = AnswerProjection]
    enum Answer<F> {
        Named { #[pin] future: TaskLocalFuture<Origin, F> },
        Unnamed { #[pin] future: F },
    }
}

pin_project! {
    /// A request under way.
    pub(super) struct Answering<F> {
        route: &'static str,
        state: web::Data<State>,
        begun: Duration,
        request_id: Option<HeaderValue>,
        #[pin]
        answer: Answer<F>,
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answered = match this.answer.project() {
            AnswerProjection::Named { future } => future.poll(context),
            AnswerProjection::Unnamed { future } => future.poll(context),
        };
        if let Poll::Ready(Ok(response)) = &mut answered {
            if let Some(request_id) = this.request_id.take() {
                response.headers_mut().insert(REQUEST_ID, request_id);
            }
            let elapsed = this.state.services.clock.monotonic().saturating_sub(*this.begun);
            this.state.metrics.request(this.route, response.status().as_u16(), elapsed);
        }
        answered
    }
}
