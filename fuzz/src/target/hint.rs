//! ID tokens that come back as hints.

use serde_json::{Map, Value};

use super::first_line;
use crate::service::{Answer, GRANTED, Request, Service, renew, with_service};

type Object = Map<String, Value>;

/// A header and a payload, on a line each, which the service's own key signs whatever they say, as the `id_token_hint` of Ada's
/// browser. She is signed out without a question, and answers a request that forbids to ask, only where the two are an ID
/// token of the issuer's about her: of her session, and for the client that asks.
pub(crate) fn signed_hint(data: &[u8]) {
    let signed_out = with_service(|service| {
        let data = service.fill(data);
        let (header, payload) = first_line(&data);
        let hint = service.signed(header, payload);
        let cookie = format!("signet-session={}", service.secrets.session);
        let ask = |target: String| {
            let request = Request::get(target.as_bytes()).with("cookie", cookie.as_str());
            service.send(request)
        };
        let silent = format!("/oauth2/authorize?{GRANTED}&prompt=none&id_token_hint={hint}");
        let Some(answer) = ask(silent) else { return false };
        let location = answer.header("location").unwrap_or_default();
        let said = said(service, header, payload);
        let is_for_shop = said.as_ref().is_some_and(|claims| match &claims["aud"] {
            Value::Array(clients) => clients.iter().any(|client| client == "shop"),
            client => client == "shop",
        });
        let text = String::from_utf8_lossy(&data);
        assert!(is_for_shop || !location.contains("code="), "{text} has answered for Ada");
        let Some(answer) = ask(format!("/oauth2/logout?id_token_hint={hint}")) else { return false };
        let signed_out = is_signed_out(&answer);
        let is_of_session = said.as_ref().is_some_and(|claims| {
            claims.get("sid").is_none_or(|sid| sid.is_null() || *sid == *service.secrets.sid)
        });
        assert!(is_of_session || !signed_out, "{text} has signed Ada out");
        signed_out
    });
    if signed_out {
        renew();
    }
}

/// The claims of an ID token about Ada, read by other code than Signet's; nothing if it is none.
fn said(service: &Service, header: &[u8], payload: &[u8]) -> Option<Object> {
    let header: Object = serde_json::from_slice(header).ok()?;
    let claims: Object = serde_json::from_slice(payload).ok()?;
    let key = service.state().services.keys.signing_key(None).expect("a key");
    let typ = header.get("typ")?.as_str()?.to_ascii_lowercase();
    let forbidden = ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip", "enc"];
    let is = |object: &Object, name: &str, value: &str| object.get(name).is_some_and(|each| each == value);
    let is_hers = is(&header, "kid", key.kid().as_str())
        && is(&header, "alg", key.algorithm().as_str())
        && matches!(typ.as_str(), "jwt" | "application/jwt")
        && !forbidden.iter().any(|name| header.contains_key(*name))
        && is(&claims, "iss", &service.state().services.issuer)
        && is(&claims, "sub", &service.secrets.ada)
        && claims.contains_key("aud");
    is_hers.then_some(claims)
}

/// Whether the hint is the ID token that the service has issued. Not the whole of it is compared: of an ECDSA signature everybody
/// can make a second one.
pub(super) fn is_issued(service: &Service, hint: &str) -> bool {
    let input = |token: &str| token.rsplit_once('.').map(|(input, _)| input.to_owned());
    input(hint) == input(&service.secrets.hint)
}

/// Whether the answer ends the browser's session.
pub(super) fn is_signed_out(answer: &Answer) -> bool {
    let set = answer.headers.get_all("set-cookie").filter_map(|value| value.to_str().ok());
    set.into_iter().any(|cookie| cookie.starts_with("signet-session=") && cookie.contains("Max-Age=0"))
}
