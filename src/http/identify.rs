//! Gives each request its identifier. The answers that are published documents have none: caches hand them on to others,
//! and they would be called by a request that is not theirs.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::header::HeaderValue;
use actix_web::{Error, web};
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;

use super::State;
use super::request_id::{self, REQUEST_ID};
use crate::audit::Origin;

/// Identifies the requests of a route.
pub(super) struct Identify {
    /// Whose proxies are believed.
    pub(super) state: web::Data<State>,
}

/// The service around the route's own. Like `observe`, it stands on the hot path and boxes nothing.
pub(super) struct Identified<S> {
    state: web::Data<State>,
    inner: S,
}

impl<S, B> Transform<S, ServiceRequest> for Identify
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = Identified<S>;
    type InitError = ();
    type Future = Ready<Result<Identified<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(Identified { state: self.state.clone(), inner }))
    }
}

impl<S, B> Service<ServiceRequest> for Identified<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = Answering<S::Future>;

    forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let origin = request_id::origin(&self.state, request.request());
        let request_id = request_id::field(&origin.request_id);
        Answering { request_id, answer: origin.cause(self.inner.call(request)) }
    }
}

pin_project! {
    /// A request under way: whatever is recorded meanwhile, says where it came from.
    pub(super) struct Answering<F> {
        request_id: Option<HeaderValue>,
        #[pin]
        answer: TaskLocalFuture<Origin, F>,
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
            && let Some(request_id) = this.request_id.take()
        {
            response.headers_mut().insert(REQUEST_ID, request_id);
        }
        answered
    }
}
