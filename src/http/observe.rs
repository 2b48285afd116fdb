//! Counts and times requests by route. Labels come from the URL table only, never from a request.
//!
//! A service of its own rather than a function: it stands on the hot path, and boxes nothing.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::{Error, web};
use pin_project_lite::pin_project;

use super::State;
use crate::protocol::Patience;

/// Observes one route of the table.
#[derive(Clone)]
pub(super) struct Observe {
    /// Its path, with parameters in braces.
    pub(super) route: &'static str,
    /// Whether its answers take any time: where all come from memory, two readings of the clock are a twentieth of the
    /// work, and always say the same.
    pub(super) timed: bool,
    /// Whose clock and metrics.
    pub(super) state: web::Data<State>,
}

/// The service around the route's own.
pub(super) struct Observed<S> {
    /// Of this worker alone: counted without an atomic operation.
    observe: Rc<Observe>,
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
        ready(Ok(Observed { observe: Rc::new(self.clone()), inner }))
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
        let observe = Rc::clone(&self.observe);
        let begun = observe.timed.then(|| observe.state.services.clock.monotonic());
        let patience = begun.map(|_| Patience::default());
        Answering { observe, begun, patience, answer: self.inner.call(request) }
    }
}

pin_project! {
    /// A request under way.
    pub(super) struct Answering<F> {
        observe: Rc<Observe>,
        begun: Option<Duration>,
        // What it has waited for the store, which nothing asks that comes from memory.
        patience: Option<Patience>,
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
        let answer = this.answer;
        let answered = match this.patience {
            Some(patience) => patience.during(|| answer.poll(context)),
            None => answer.poll(context),
        };
        if let Poll::Ready(Ok(response)) = &answered {
            let Observe { route, state, .. } = &**this.observe;
            state.metrics.request(route, response.status().as_u16());
            if let Some(begun) = *this.begun {
                state.metrics.took(route, state.services.clock.monotonic().saturating_sub(begun));
            }
        }
        answered
    }
}
