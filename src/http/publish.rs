//! What anyone may read: keys, metadata, status lists. All from memory, all with validators.

use std::cell::RefCell;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{State, limits, reply};
use crate::keys::ServedJwks;
use crate::limits::ClientAddress;
use crate::oauth::{Algorithm, ErrorCode};
use crate::protocol::{self, ProtocolError, Services};
use crate::tokens::{StatusDocument, StatusError};

/// For how many seconds the metadata may be cached.
const METADATA_MAX_AGE: u32 = 3600;

/// Whether a path of the URL table is a document that anyone may read and any cache may keep.
pub(super) fn is_published(path: &str) -> bool {
    path.starts_with("/.well-known/") || path.starts_with("/status/")
}

/// Whether a published document is never made for a request, as a status list may be.
pub(super) fn is_in_memory(path: &str) -> bool {
    path.starts_with("/.well-known/")
}

/// Documents that change rarely or never while the service runs.
pub(super) struct Published {
    metadata: ArcSwap<PublishedMetadata>,
    /// The path of the issuer's URL without its first slash; empty if it has none.
    issuer_path: String,
}

/// The metadata, ready to send.
struct PublishedMetadata {
    /// What is signed with while a copy may be kept: the one thing in it that changes.
    algorithms: Vec<Algorithm>,
    body: Bytes,
    validators: Validators,
}

impl PublishedMetadata {
    fn new(services: &Services, algorithms: Vec<Algorithm>) -> Self {
        let body = serde_json::to_vec(&protocol::metadata(services, &algorithms)).unwrap_or_default();
        let digest = ring::digest::digest(&ring::digest::SHA256, &body);
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]));
        Self { algorithms, body: body.into(), validators: Validators::new(&etag, METADATA_MAX_AGE.into()) }
    }
}

/// The headers of a document that caches may keep, ready to send.
struct Validators {
    etag: HeaderValue,
    cache_control: HeaderValue,
}

impl Validators {
    #[expect(clippy::expect_used, reason = "an entity tag is base64url in quotes")]
    fn new(etag: &str, max_age: u64) -> Self {
        let value = |text: String| HeaderValue::try_from(text).expect("visible ASCII");
        let cache_control = value(format!("public, max-age={max_age}"));
        Self { etag: value(etag.to_owned()), cache_control }
    }
}

impl Published {
    pub(super) fn new(services: &Services) -> Self {
        let metadata = PublishedMetadata::new(services, services.keys.algorithms(METADATA_MAX_AGE.into()));
        let issuer = url::Url::parse(&services.issuer).ok();
        let issuer_path = issuer.map_or_else(String::new, |url| url.path()[1..].to_owned());
        Self { metadata: ArcSwap::from_pointee(metadata), issuer_path }
    }

    /// The metadata as they are now.
    fn metadata(&self, services: &Services) -> Arc<PublishedMetadata> {
        let metadata = self.metadata.load_full();
        let algorithms = services.keys.algorithms(METADATA_MAX_AGE.into());
        if metadata.algorithms == algorithms {
            return metadata;
        }
        let metadata = Arc::new(PublishedMetadata::new(services, algorithms));
        self.metadata.store(Arc::clone(&metadata));
        metadata
    }
}

/// RFC 8414, section 3 and OpenID Connect Discovery 1.0, section 4.
pub(super) async fn metadata(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let metadata = state.published.metadata(&state.services);
    let document =
        Document { validators: &metadata.validators, other_etag: None, media_type: "application/json" };
    document.answer(&request, || metadata.body.clone())
}

/// RFC 8414, section 3.1: where the metadata of an issuer with a path are, and of no other.
pub(super) async fn metadata_of_path(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let suffix = request.path().strip_prefix("/.well-known/oauth-authorization-server/").unwrap_or_default();
    if suffix.is_empty() || suffix != state.published.issuer_path {
        let reason = "this is not the issuer's path";
        return reply::refusal(&ProtocolError::new(ErrorCode::NotFound, reason));
    }
    metadata(state, request).await
}

/// The JWKS as one worker last sent it, with its own copies of what every answer holds a part of: workers that
/// counted the same references would wait for each other.
struct Sent {
    jwks: ServedJwks,
    body: Bytes,
    validators: Validators,
}

impl Sent {
    fn new(jwks: ServedJwks) -> Self {
        let body = Bytes::copy_from_slice(&jwks.document.body);
        let validators = Validators::new(&jwks.document.etag, jwks.max_age);
        Self { jwks, body, validators }
    }

    /// Whether this is what `jwks` is sent as.
    fn is_of(&self, jwks: &ServedJwks) -> bool {
        Arc::ptr_eq(&self.jwks.document, &jwks.document) && self.jwks.max_age == jwks.max_age
    }
}

thread_local! {
    static SENT: RefCell<Option<Sent>> = const { RefCell::new(None) };
}

/// RFC 7517, section 5. `max-age` never passes the next change of the keys.
pub(super) async fn jwks(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let fetcher = limits::address(&state, &request).map(ClientAddress::ip);
    match state.services.keys.jwks(fetcher) {
        Ok(jwks) => jwks_answer(&request, jwks),
        // The first start of an installation: they are being made, which takes a fraction of a second. In a box, for all
        // the other requests' sake, whose future would be as large.
        Err(_) => match Box::pin(state.services.keys.jwks_when_published(fetcher)).await {
            Ok(jwks) => jwks_answer(&request, jwks),
            Err(error) => reply::refusal(&error.into()),
        },
    }
}

fn jwks_answer(request: &HttpRequest, jwks: ServedJwks) -> HttpResponse {
    SENT.with_borrow_mut(|sent| {
        let sent = match sent {
            Some(sent) if sent.is_of(&jwks) => sent,
            _ => sent.insert(Sent::new(jwks)),
        };
        let document = Document {
            validators: &sent.validators,
            other_etag: None,
            media_type: "application/jwk-set+json",
        };
        document.answer(request, || sent.body.clone())
    })
}

/// draft-ietf-oauth-status-list, section 8.
pub(super) async fn status_list(
    state: web::Data<State>,
    request: HttpRequest,
    id: web::Path<String>,
) -> HttpResponse {
    if let Some(document) = state.services.status.cached(&id) {
        return status_answer(&request, &document);
    }
    let services = state.services.clone();
    let id = id.into_inner();
    match web::block(move || services.status.document(&id)).await {
        Ok(Ok(document)) => status_answer(&request, &document),
        Ok(Err(StatusError::Unknown)) => {
            reply::refusal(&ProtocolError::new(ErrorCode::NotFound, "there is no such status list"))
        }
        Ok(Err(StatusError::NoKey(error))) => reply::refusal(&error.into()),
        Ok(Err(error)) => reply::refusal(&ProtocolError::server_error(error)),
        Err(error) => reply::refusal(&ProtocolError::unavailable(1, error)),
    }
}

fn status_answer(request: &HttpRequest, list: &StatusDocument) -> HttpResponse {
    let gzip = accepts_gzip(request);
    // A strong validator is of one encoding only (RFC 9110, section 8.8.3.3).
    let gzip_etag = format!("{}-gzip\"", list.etag.trim_end_matches('"'));
    let (etag, other) = if gzip { (&gzip_etag, &list.etag) } else { (&list.etag, &gzip_etag) };
    let media_type = "application/statuslist+jwt";
    let validators = &Validators::new(etag, list.max_age);
    let document = Document { validators, other_etag: Some(other), media_type };
    let body = || if gzip { Bytes::from(list.gzip.clone()) } else { Bytes::from(list.body.clone()) };
    let mut response = document.answer(request, body);
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip && response.status() == StatusCode::OK {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// draft-ietf-oauth-status-list, section 9.3.
pub(super) async fn status_lists(state: web::Data<State>) -> HttpResponse {
    let body = serde_json::json!({ "status_lists": state.services.status_lists.uris() });
    reply::json(StatusCode::OK, &body)
}

/// A document that caches may keep.
struct Document<'a> {
    validators: &'a Validators,
    /// The validator of the same document in the other encoding: who has that one needs no other.
    other_etag: Option<&'a str>,
    media_type: &'static str,
}

impl Document<'_> {
    /// The document, or 304 with the matching validator for who has it already (RFC 9110, section 13.1.2).
    fn answer(&self, request: &HttpRequest, body: impl FnOnce() -> Bytes) -> HttpResponse {
        let Validators { etag, cache_control, .. } = self.validators;
        let other = self.other_etag.and_then(|etag| HeaderValue::from_str(etag).ok());
        let known =
            [Some(etag), other.as_ref()].into_iter().flatten().find(|etag| matches_etag(request, etag));
        let mut response = match known {
            Some(_) => HttpResponse::new(StatusCode::NOT_MODIFIED),
            None => HttpResponse::with_body(StatusCode::OK, BoxBody::new(body())),
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, cache_control.clone());
        headers.insert(header::ETAG, known.unwrap_or(etag).clone());
        if known.is_none() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        }
        response
    }
}

/// Whether `If-None-Match` names `etag`, by weak comparison.
fn matches_etag(request: &HttpRequest, etag: &HeaderValue) -> bool {
    request
        .headers()
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|each| each == "*" || etag == each.strip_prefix("W/").unwrap_or(each))
}

/// Whether `Accept-Encoding` takes gzip (RFC 9110, section 12.5.3): what it says of gzip itself counts before
/// what it says of the rest.
fn accepts_gzip(request: &HttpRequest) -> bool {
    let (mut gzip, mut rest) = (None, None);
    let values = request.headers().get_all(header::ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    for entry in values.flat_map(|value| value.split(',')) {
        let mut parts = entry.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let wanted = parts.all(is_wanted);
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            gzip = Some(wanted);
        } else if coding == "*" {
            rest = Some(wanted);
        }
    }
    gzip.or(rest).unwrap_or(false)
}

/// Whether a parameter is anything but a weight of zero or one that is no number.
fn is_wanted(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, weight)) if name.trim().eq_ignore_ascii_case("q") => {
            weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0)
        }
        _ => true,
    }
}
