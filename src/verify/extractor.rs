use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};

use super::Verifier;
use super::challenge::{Challenge, Reason};
use crate::oauth::AccessTokenClaims;

/// What a handler demands of a token, as a type: a handler that takes [`Bearer`] can't forget it.
///
/// ```
/// use signet::verify::RequiredScope;
///
/// struct Read;
/// impl RequiredScope for Read {
///     const SCOPE: &'static str = "read";
/// }
/// ```
pub trait RequiredScope {
    /// The scope tokens that the token must hold, all of them, separated by single spaces.
    const SCOPE: &'static str;
}

/// Demands no scope: any token for this resource will do.
///
/// ```
/// use signet::verify::{AnyScope, RequiredScope};
///
/// assert_eq!(AnyScope::SCOPE, "");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AnyScope;

impl RequiredScope for AnyScope {
    const SCOPE: &'static str = "";
}

/// An extractor: the claims of the verified access token that came with the request, holding the scope `S`.
///
/// Only the `Authorization` header is read (RFC 6750, section 2.1); a token in the query or the body is no
/// token. Set the [`Verifier`] up by `app_data(web::Data::new(verifier))`; without one every request is
/// answered with 500. Requests are turned away with a [`Challenge`].
///
/// ```
/// use actix_web::{App, HttpResponse, Responder, web};
/// use signet::verify::{Bearer, RequiredScope, Verifier};
///
/// struct Read;
/// impl RequiredScope for Read {
///     const SCOPE: &'static str = "read";
/// }
///
/// async fn greet(token: Bearer<Read>) -> impl Responder {
///     HttpResponse::Ok().body(format!("hello {}", token.sub))
/// }
///
/// # fn main() -> Result<(), signet::verify::BuildError> {
/// let verifier = Verifier::builder("https://auth.example").audience("https://api.example").build()?;
/// let app = App::new().app_data(web::Data::new(verifier)).route("/greet", web::get().to(greet));
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Bearer<S> {
    claims: AccessTokenClaims,
    scope: PhantomData<S>,
}

impl<S> Bearer<S> {
    /// The claims, for keeps.
    #[must_use]
    pub fn into_claims(self) -> AccessTokenClaims {
        self.claims
    }
}

impl<S> Deref for Bearer<S> {
    type Target = AccessTokenClaims;

    fn deref(&self) -> &AccessTokenClaims {
        &self.claims
    }
}

impl<S: RequiredScope + 'static> FromRequest for Bearer<S> {
    type Error = Challenge;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Challenge>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let Some(verifier) = request.app_data::<web::Data<Verifier>>() else {
                tracing::error!("no web::Data<Verifier> is set up: requests are refused");
                return Err(Challenge::new(Reason::NotSetUp, String::new(), &request));
            };
            let realm = verifier.audience().first().map_or("", |resource| resource.as_str());
            admit(verifier, &request, S::SCOPE)
                .await
                .map(|claims| Self { claims, scope: PhantomData })
                .map_err(|reason| Challenge::new(reason, realm.to_owned(), &request))
        })
    }
}

async fn admit(
    verifier: &Verifier,
    request: &HttpRequest,
    scope: &'static str,
) -> Result<AccessTokenClaims, Reason> {
    let claims = verifier.verify(bearer_token(request)?).await.map_err(|refusal| {
        tracing::debug!(reason = refusal.as_str(), path = request.path(), "a token was refused");
        Reason::Refused(refusal)
    })?;
    if scope.split(' ').filter(|token| !token.is_empty()).all(|token| claims.permits(token)) {
        Ok(claims)
    } else {
        Err(Reason::InsufficientScope(scope))
    }
}

/// The token in the `Authorization` header (RFC 6750, section 2.1; the scheme in any letter case, RFC 9110,
/// section 11.1).
fn bearer_token(request: &HttpRequest) -> Result<&str, Reason> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let Some(header) = headers.next() else {
        return Err(Reason::NoCredentials);
    };
    if headers.next().is_some() {
        return Err(Reason::MalformedRequest("there is more than one Authorization header"));
    }
    let Ok(header) = header.to_str() else {
        return Err(Reason::MalformedRequest("the Authorization header is malformed"));
    };
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Reason::NoCredentials);
    }
    let token = token.trim_matches(' ');
    if token.is_empty() || token.contains([' ', '\t', ',']) {
        return Err(Reason::MalformedRequest("the Authorization header is malformed"));
    }
    // RFC 6750, section 2: no more than one method to send a token.
    let has_second = url::form_urlencoded::parse(request.query_string().as_bytes())
        .any(|(name, _)| name == "access_token");
    if has_second {
        return Err(Reason::MalformedRequest("the access token is sent in more than one way"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests;
