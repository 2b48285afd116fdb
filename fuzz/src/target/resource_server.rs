//! What a resource server reads of a request: the extractor with its verifier. The issuer is the tests' own.

use std::sync::LazyLock;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::http::{StatusCode, Uri};
use actix_web::test::TestRequest;
use actix_web::{FromRequest as _, HttpRequest, ResponseError as _, web};
use signet::oauth::AccessTokenClaims;
use signet::verify::{Bearer, Challenge, RequiredScope, Verifier};

use super::first_line;
use super::published::{RUNTIME, network, token, verifier};
use crate::issuer::AUDIENCE;
use crate::members::Members;
use crate::support::Issuer;

static VERIFIER: LazyLock<web::Data<Verifier>> = LazyLock::new(|| web::Data::new(verifier(network())));

/// What stands for `{TOKEN}`: an EdDSA signature has no second form.
static TOKEN: LazyLock<String> = LazyLock::new(|| token(&Issuer::claims()));

/// What the token permits.
struct Read;
impl RequiredScope for Read {
    const SCOPE: &'static str = "read";
}

/// What it does not permit.
struct Delete;
impl RequiredScope for Delete {
    const SCOPE: &'static str = "read delete";
}

/// What a request shows.
enum Shown<'a> {
    Nothing,
    /// Something that can't be understood, or in two ways.
    Malformed,
    Token(&'a [u8]),
}

/// Three lines: `Authorization`, a second `Authorization` and a query. The claims are the handler's only where the one header, and
/// nothing else, shows the issuer's token; everybody else is told what RFC 6750 says, in an answer that holds nothing of the
/// request.
pub(crate) fn bearer(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return read(data) };
    read(text.replace("{TOKEN}", &TOKEN).as_bytes());
}

fn read(data: &[u8]) {
    let (first, rest) = first_line(data);
    let (second, query) = first_line(rest);
    let Ok(uri) = Uri::try_from([b"/?".as_slice(), query].concat()) else { return };
    let mut request = TestRequest::with_uri(&uri.to_string()).app_data(VERIFIER.clone());
    let headers: Vec<&[u8]> = [first, second].into_iter().filter(|value| !value.is_empty()).collect();
    for value in &headers {
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        request = request.append_header((AUTHORIZATION, value));
    }
    let request = request.to_http_request();
    let shown = shown(&headers, uri.query().unwrap_or_default().as_bytes());
    let (let_in, barred) = (admitted::<Read>(&request), admitted::<Delete>(&request));
    match shown {
        Shown::Token(token) if token == TOKEN.as_bytes() => {
            assert_eq!(let_in.expect("the issuer's own token"), Issuer::claims());
            refuses(barred, StatusCode::FORBIDDEN, Some("insufficient_scope"));
        }
        Shown::Token(_) => both_refuse((let_in, barred), StatusCode::UNAUTHORIZED, Some("invalid_token")),
        Shown::Malformed => both_refuse((let_in, barred), StatusCode::BAD_REQUEST, Some("invalid_request")),
        Shown::Nothing => both_refuse((let_in, barred), StatusCode::UNAUTHORIZED, None),
    }
}

/// RFC 6750, sections 2 and 2.1, byte by byte.
fn shown<'a>(headers: &[&'a [u8]], query: &[u8]) -> Shown<'a> {
    let header = match headers {
        [] => return Shown::Nothing,
        [one] => *one,
        _ => return Shown::Malformed,
    };
    if !header.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Shown::Malformed;
    }
    let end = header.iter().position(|byte| *byte == b' ').unwrap_or(header.len());
    if header[..end].to_ascii_lowercase() != b"bearer" {
        return Shown::Nothing;
    }
    let mut token = &header[end..];
    while let [b' ', rest @ ..] | [rest @ .., b' '] = token {
        token = rest;
    }
    let is_one = !token.is_empty() && !token.iter().any(|byte| matches!(byte, b' ' | b'\t' | b','));
    let is_repeated = Members::of_form(query).0.iter().any(|(name, _)| name == "access_token");
    if is_one && !is_repeated { Shown::Token(token) } else { Shown::Malformed }
}

fn admitted<S: RequiredScope + 'static>(request: &HttpRequest) -> Result<AccessTokenClaims, Challenge> {
    let reading = Bearer::<S>::from_request(request, &mut Payload::None);
    RUNTIME.block_on(reading).map(Bearer::into_claims)
}

fn both_refuse(
    (one, other): (Result<AccessTokenClaims, Challenge>, Result<AccessTokenClaims, Challenge>),
    status: StatusCode,
    error: Option<&str>,
) {
    refuses(one, status, error);
    refuses(other, status, error);
}

/// The challenge names the resource, and an error where credentials were shown (RFC 6750, section 3).
fn refuses(outcome: Result<AccessTokenClaims, Challenge>, status: StatusCode, error: Option<&str>) {
    let challenge = outcome.expect_err("nobody that may come in");
    let response = challenge.error_response();
    assert_eq!(response.status(), status, "{challenge:?}");
    let header = response.headers().get(WWW_AUTHENTICATE).expect("a challenge").to_str().expect("text");
    let rest = header.strip_prefix(&format!("Bearer realm=\"{AUDIENCE}\"")).expect("the resource");
    let described = match error {
        Some(error) => {
            assert_eq!(challenge.error_code(), error);
            format!(", error=\"{error}\", error_description=\"{}\"", challenge.description())
        }
        None => String::new(),
    };
    let scope = if status == StatusCode::FORBIDDEN { ", scope=\"read delete\"" } else { "" };
    assert_eq!(rest, format!("{described}{scope}"));
    // Of the texts that there are, none that a request wrote.
    assert!(!challenge.description().contains(['"', '\\', '<', '\r', '\n']));
}
