//! Request bodies and credentials, decoded into the protocol's own terms.

use std::borrow::Cow;
use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_core::Stream as _;
use futures_util::future::{Either, Ready, ready};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use tokio::time::Sleep;
use url::form_urlencoded;

use super::bearer;
use super::connection::Connection;
use crate::oauth::Secret;
use crate::protocol::{Credentials, Params, ProtocolError};

/// The largest body that is read; no request of OAuth needs more.
const MAX_BODY: usize = 16 * 1024;

/// How long a body may take at least: whoever drips it holds a connection, and not for much longer than this.
const BODY_TIMEOUT: Duration = Duration::from_secs(6);

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// How a request's parameters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Form,
    Json,
}

/// The body's encoding, by its media type; parameters of the media type (`charset`) don't matter.
pub(super) fn encoding(request: &HttpRequest) -> Option<Encoding> {
    let value = request.headers().get(header::CONTENT_TYPE)?;
    // As most clients write it.
    if value == FORM {
        return Some(Encoding::Form);
    }
    let value = value.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(FORM) {
        Some(Encoding::Form)
    } else if essence.eq_ignore_ascii_case(JSON) {
        Some(Encoding::Json)
    } else {
        None
    }
}

/// A body that was read whole, or why not.
#[derive(Clone)]
pub(super) struct Body(Result<Bytes, BodyError>);

impl Body {
    /// The body of a request that has none.
    pub(super) const NONE: Self = Self(Ok(Bytes::new()));

    /// The whole body.
    pub(super) fn bytes(&self) -> Result<&Bytes, BodyError> {
        self.0.as_ref().map_err(|error| *error)
    }
}

/// Reads the body before anybody looks who asks; the handler's [`Body`] is this one. So what was found of them is not as old as the
/// body took, when it is acted upon.
pub(super) async fn read_first(request: &mut ServiceRequest) {
    let Ok(body) = request.extract::<Body>().await;
    request.extensions_mut().insert(body);
}

impl FromRequest for Body {
    type Error = Infallible;
    type Future = Either<Ready<Result<Self, Infallible>>, Reading>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if let Some(read) = request.extensions().get::<Self>() {
            return Either::Left(ready(Ok(read.clone())));
        }
        let payload = payload.take();
        let connection = request.conn_data::<Rc<Connection>>();
        let patience = connection.map_or(BODY_TIMEOUT, |connection| connection.patience(BODY_TIMEOUT));
        Either::Right(Reading { payload, first: Bytes::new(), rest: Vec::new(), patience, deadline: None })
    }
}

/// Reads the body, at most [`MAX_BODY`] of it and for as long as the connection has patience. Most bodies have arrived with
/// their heads, in one piece: those are neither copied nor timed.
pub(super) struct Reading {
    payload: Payload,
    first: Bytes,
    rest: Vec<u8>,
    patience: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Reading {
    fn keep(&mut self, part: Bytes) {
        if self.first.is_empty() {
            self.first = part;
        } else {
            self.rest.extend_from_slice(&part);
        }
    }

    fn whole(&mut self) -> Bytes {
        let first = std::mem::take(&mut self.first);
        if self.rest.is_empty() { first } else { [&*first, &*self.rest].concat().into() }
    }
}

impl Future for Reading {
    type Output = Result<Body, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let done = match Pin::new(&mut self.payload).poll_next(context) {
                Poll::Ready(Some(Ok(part))) => {
                    if self.first.len() + self.rest.len() + part.len() > MAX_BODY {
                        Err(BodyError::TooLong)
                    } else {
                        self.keep(part);
                        continue;
                    }
                }
                Poll::Ready(Some(Err(_))) => Err(BodyError::Unreadable),
                Poll::Ready(None) => Ok(self.whole()),
                Poll::Pending => {
                    let patience = self.patience;
                    let deadline =
                        self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                    std::task::ready!(deadline.as_mut().poll(context));
                    Err(BodyError::TooSlow)
                }
            };
            return Poll::Ready(Ok(Body(done)));
        }
    }
}

/// A body could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is over [`MAX_BODY`].
    TooLong,
    /// It broke off or its encoding is damaged.
    Unreadable,
    /// It took too long.
    TooSlow,
}

impl From<BodyError> for ProtocolError {
    fn from(error: BodyError) -> Self {
        Self::invalid_request(match error {
            BodyError::TooLong => "the body is too long",
            BodyError::Unreadable => "the body can not be read",
            BodyError::TooSlow => "the body took too long to arrive",
        })
    }
}

/// The text of a form that a browser has sent.
pub(super) fn form_text(request: &HttpRequest, body: &Body) -> Result<String, ProtocolError> {
    let bytes = body.bytes()?;
    match encoding(request) {
        Some(Encoding::Form) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    }
    .ok_or_else(|| ProtocolError::invalid_request("the body must be application/x-www-form-urlencoded"))
}

/// The form as a query string: the same parameters, in the characters that a URL may have.
pub(super) fn as_query(form: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form_urlencoded::parse(form.as_bytes()))
        .finish()
}

/// Parameters of a form or a query string.
pub(super) fn form(text: &[u8]) -> Result<Params<'_>, ProtocolError> {
    match str::from_utf8(text) {
        Ok(text) => Params::new(pairs(text)),
        Err(_) => Params::new(form_urlencoded::parse(text)),
    }
}

/// The pairs of a form. Most are not percent-encoded: those are lent, and nothing is decoded.
fn pairs(form: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    // Not `any`: all bytes at once are faster than one by one.
    let is_encoded = form.bytes().fold(false, |found, byte| found | matches!(byte, b'%' | b'+'));
    form.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        if is_encoded && pair.contains(['%', '+']) {
            return form_urlencoded::parse(pair.as_bytes()).next().unwrap_or_default();
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.into(), value.into())
    })
}

/// Parameters of a JSON object: strings, or for `resource` an array of strings.
pub(super) fn json(text: &[u8]) -> Result<Params<'static>, ProtocolError> {
    let Members(members) = serde_json::from_slice(text).map_err(|_| {
        ProtocolError::invalid_request("the body must be one JSON object with string members, each once")
    })?;
    Params::new(members.into_iter().map(|(name, value)| (Cow::Owned(name), Cow::Owned(value))))
}

/// The members of a JSON object, in order.
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with string members")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let (mut members, mut seen) = (Vec::new(), HashSet::new());
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    // Also one that says nothing: who reads the last of two would see another request than this one.
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom("repeated"));
                    }
                    match value {
                        Value::String(text) => members.push((name, text)),
                        Value::Null => {}
                        Value::Array(values) if name == "resource" => {
                            for value in values {
                                let Value::String(text) = value else {
                                    return Err(A::Error::custom("not a string"));
                                };
                                members.push((name.clone(), text));
                            }
                        }
                        _ => return Err(A::Error::custom("not a string")),
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// The client's credentials in the `Authorization` header (RFC 6749, section 2.3.1).
pub(super) fn credentials(request: &HttpRequest) -> Credentials {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    match (headers.next(), headers.next()) {
        (None, _) => Credentials::Absent,
        (Some(value), None) => value.to_str().ok().and_then(basic).unwrap_or(Credentials::Unusable),
        (Some(_), Some(_)) => Credentials::Unusable,
    }
}

/// The same where clients send their access token with every request: one in the header authenticates no client, and what
/// is in the body counts as if it were not there.
pub(super) fn credentials_beside_token(request: &HttpRequest) -> Credentials {
    match credentials(request) {
        Credentials::Unusable if bearer::token(request.headers()).is_ok() => Credentials::Absent,
        credentials => credentials,
    }
}

fn basic(value: &str) -> Option<Credentials> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (client_id, client_secret) = decoded.split_once(':')?;
    // Both are form-encoded before they are joined: RFC 6749, section 2.3.1 and appendix B.
    let plain = |text: &str| -> Option<String> {
        let encoded = format!("v={text}");

        form_urlencoded::parse(encoded.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some(Credentials::Basic {
        client_id: plain(client_id)?,
        client_secret: Secret::new(plain(client_secret)?),
    })
}

#[cfg(test)]
mod tests {
    use actix_web::error::PayloadError;
    use proptest::prelude::*;

    use super::*;

    type BoxedPayloadStream = Pin<Box<dyn futures_core::Stream<Item = Result<Bytes, PayloadError>>>>;

    /// A body that arrives in these parts, or never ends.
    struct Parts {
        parts: std::vec::IntoIter<&'static [u8]>,
        ends: bool,
    }

    impl futures_core::Stream for Parts {
        type Item = Result<Bytes, PayloadError>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            match self.parts.next() {
                Some(part) => Poll::Ready(Some(Ok(Bytes::from_static(part)))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    async fn read(parts: Vec<&'static [u8]>, ends: bool) -> Result<Bytes, BodyError> {
        let stream: BoxedPayloadStream = Box::pin(Parts { parts: parts.into_iter(), ends });
        let mut payload = Payload::from(stream);
        let request = actix_web::test::TestRequest::default().to_http_request();
        let Ok(Body(read)) = Body::from_request(&request, &mut payload).await;
        read
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_whole_within_its_limits() {
        static HALF: [u8; MAX_BODY / 2] = [b'x'; MAX_BODY / 2];
        assert_eq!(read(vec![], true).await.unwrap(), "");
        assert_eq!(read(vec![b"grant", b"", b"_ty", b"pe"], true).await.unwrap(), "grant_type");
        assert_eq!(read(vec![&HALF, &HALF], true).await.unwrap().len(), MAX_BODY);
        assert_eq!(read(vec![&HALF, &HALF, b"x"], true).await, Err(BodyError::TooLong));
        assert_eq!(read(vec![b"grant_type="], false).await, Err(BodyError::TooSlow));
    }

    proptest! {
        /// However much of it is encoded: URL standard, section 5.1.
        #[test]
        fn a_form_is_read_as_the_url_standard_has_it(form in "([a-c]|[=&%+]|%[0-9a-fA-F]{2}|\\PC){0,40}") {
            prop_assert!(pairs(&form).eq(form_urlencoded::parse(form.as_bytes())), "{}", form);
        }
    }

    #[test]
    fn what_is_no_utf_8_is_read_too() {
        assert_eq!(form(b"scope=a\xff&state=b").unwrap().one("state"), Some("b"));
    }

    #[test]
    fn basic_is_form_decoded() {
        let header = format!("bAsIc {}", STANDARD.encode("shop%3Aone:s%2Bcret"));
        let Some(Credentials::Basic { client_id, client_secret }) = basic(&header) else {
            panic!("not understood")
        };
        assert_eq!((client_id.as_str(), client_secret.expose()), ("shop:one", "s+cret"));
    }

    #[test]
    fn what_is_not_basic_is_unusable() {
        for header in ["Basic", "Basic ", "Basic !!!", "Bearer abc", "Basic bm9jb2xvbg=="] {
            assert!(basic(header).is_none(), "{header}");
        }
    }

    #[test]
    fn a_json_body_holds_strings_each_once() {
        assert_eq!(json(br#"{"grant_type":"x","state":null}"#).unwrap().one("grant_type"), Some("x"));
        let repeated = [
            r#"{"a":"x","a":"y"}"#,
            r#"{"a":null,"a":"y"}"#,
            r#"{"a":"x","a":null}"#,
            r#"{"a":null,"a":null}"#,
            r#"{"resource":[],"resource":["x"]}"#,
            r#"{"resource":[],"resource":[]}"#,
            r#"{"resource":"x","resource":"y"}"#,
        ];
        let others = ["", "[]", "\"x\"", r#"{"a":1}"#, r#"{"a":{}}"#, r#"{"a":["x"]}"#];
        for text in others.into_iter().chain(repeated) {
            assert!(json(text.as_bytes()).is_err(), "{text}");
        }
        let deep = format!("{}{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
        assert!(json(deep.as_bytes()).is_err());
    }
}
