//! Bodies that nobody reads to their end.
//!
//! A chunked body that is dropped actix-http goes on reading, after the answer too, without a timer and without an end: whoever drips
//! would hold a connection for ever. While somebody holds the body when the answer is sent, it closes the connection instead, as it
//! does where the length is known, and passes over what still comes for a second.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage as _};
use futures_core::Stream;
use pin_project_lite::pin_project;

use super::connection::Connection;

/// What is left of a body; the handler reads it, and the answer holds it. The connection hears that more of it is wanted, and of its end.
#[derive(Clone)]
struct Shared(Rc<RefCell<Payload>>, Option<Rc<Connection>>);

impl Shared {
    /// Passes over what has come of it: if that is all, the connection hears of it, and goes on.
    fn pass_over(&self) {
        let mut payload = self.0.borrow_mut();
        let mut next = || Pin::new(&mut *payload).poll_next(&mut Context::from_waker(Waker::noop()));
        let rest = std::iter::from_fn(|| Some(next())).find(|next| !matches!(next, Poll::Ready(Some(Ok(_)))));
        if let (Some(Poll::Ready(None)), Some(connection)) = (rest, &self.1) {
            connection.has_body();
        }
    }
}

impl Stream for Shared {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut *self.0.borrow_mut()).poll_next(context);
        match (&next, &self.1) {
            (Poll::Pending, Some(connection)) => connection.wants_body(),
            (Poll::Ready(None), Some(connection)) => connection.has_body(),
            _ => {}
        }
        next
    }
}

pin_project! {
    /// The body of an answer, and what its request's is held by until it is sent.
    pub(super) struct Holding<B> {
        #[pin]
        body: B,
        unread: Option<Shared>,
    }
}

impl<B: MessageBody> MessageBody for Holding<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.project().body.poll_next(context)
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        match self {
            Self { body, unread: None } => body.try_into_bytes().map_err(|body| Self { body, unread: None }),
            held => Err(held),
        }
    }
}

/// Has `service` answer, and the answer hold the body of the request where that has no length (RFC 9112, section 6.3).
pub(super) fn held<S, B>(
    mut request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse<Holding<B>>, Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    use actix_web::http::header::TRANSFER_ENCODING;
    let unread = request.headers().contains_key(TRANSFER_ENCODING).then(|| {
        let connection = request.conn_data::<Rc<Connection>>().cloned();
        let shared = Shared(Rc::new(RefCell::new(request.take_payload())), connection);
        request.set_payload(Payload::Stream { payload: Box::pin(shared.clone()) });
        shared
    });
    let answer = service.call(request);
    async move {
        let answer = answer.await?;
        if let Some(unread) = &unread {
            unread.pass_over();
        }
        Ok(answer.map_body(|_, body| Holding { body, unread }))
    }
}
