//! Who a request says that it is from.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::first_line;
use crate::members::Members;
use crate::service::{PERSON, Request, with_service};

/// An `Authorization` header, and a form behind it. A token is issued only to whoever shows the client's identifier and
/// secret, in one way alone.
pub(crate) fn client(data: &[u8]) {
    with_service(|service| {
        let data = service.fill(data);
        let (header, form) = first_line(&data);
        // `Basic:` stands for the header of what is behind it.
        let header = match header.strip_prefix(b"Basic:") {
            Some(pair) => format!("Basic {}", STANDARD.encode(pair)).into_bytes(),
            None => header.to_vec(),
        };
        let body = [b"grant_type=client_credentials&".as_slice(), form].concat();
        let content_type = "application/x-www-form-urlencoded";
        let mut request = Request::post("/oauth2/token", content_type, &body);
        if !header.is_empty() {
            request = request.with("authorization", header.clone());
        }
        let Some(answer) = service.send(request) else { return };
        if answer.status != 200 {
            return;
        }
        let members = Members::of_form(&body);
        let secret = Some(&*service.secrets.client);
        let in_form = members.one("client_secret") == secret && members.one("client_id") == Some("shop");
        match pair(&header) {
            Some((id, shown)) => {
                assert!(id == "shop" && Some(&*shown) == secret, "{id} was taken for the client");
                assert_eq!(members.one("client_secret"), None, "authenticated in two ways");
                assert!(members.one("client_id").is_none_or(|named| named == "shop"));
            }
            None => assert!(header.is_empty() && in_form, "nobody was taken for the client"),
        }
    });
}

/// The pair of HTTP Basic, each half decoded as a form's (RFC 6749, section 2.3.1).
fn pair(header: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let at = decoded.iter().position(|byte| *byte == b':')?;
    let plain = |half: &[u8]| {
        let form = Members::of_form(&[b"v=", half].concat());
        form.0.into_iter().next().map(|(_, value)| value)
    };
    Some((plain(&decoded[..at])?, plain(&decoded[at + 1..])?))
}

/// Three lines: `Authorization`, `X-API-Key` and a query. Whoever is let through to accounts or to the admin API shows
/// a credential for it, and no second one.
pub(crate) fn api(data: &[u8]) {
    with_service(|service| {
        let data = service.fill(data);
        let (authorization, rest) = first_line(&data);
        let (api_key, query) = first_line(rest);
        let targets = ["/users", "/admin/clients", "/oauth2/userinfo", "/v1/users/user_1"];
        for path in targets {
            let target = [path.as_bytes(), b"?", query].concat();
            let mut request = Request::get(&target);
            for (name, value) in [("authorization", authorization), ("x-api-key", api_key)] {
                if !value.is_empty() {
                    request = request.with(name, value);
                }
            }
            let Some(answer) = service.send(request) else { return };
            if answer.status == 401 || answer.status == 403 || answer.status == 400 {
                continue;
            }
            let shown = shown(authorization, api_key, query);
            let allowed = match path {
                "/admin/clients" => vec![&service.secrets.admin],
                "/oauth2/userinfo" => vec![],
                _ => vec![&service.secrets.api_key],
            };
            // The admin API and userinfo look at the header alone.
            let counted =
                if path.starts_with("/admin") { shown.into_iter().take(1).collect() } else { shown };
            let genuine = counted.iter().any(|each| allowed.iter().any(|secret| each == secret.as_bytes()));
            assert!(genuine, "{path} answered {answer:?}");
        }
    });
}

/// Every credential that the request could be said to show, the header's first.
fn shown(authorization: &[u8], api_key: &[u8], query: &[u8]) -> Vec<Vec<u8>> {
    let at = authorization.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1);
    let mut shown = vec![authorization[at..].trim_ascii().to_vec(), api_key.trim_ascii().to_vec()];
    let query = Members::of_form(query);
    shown.extend(query.0.into_iter().filter(|(name, _)| name == "api_key").map(|(_, key)| key.into_bytes()));
    shown
}

/// A `Cookie` header. The account's page is shown only to whoever sends the session's cookie, once.
pub(crate) fn cookie(data: &[u8]) {
    with_service(|service| {
        let header = service.fill(data);
        for path in ["/account", "/account/sessions", "/console"] {
            let Some(answer) = service.send(Request::get(path.as_bytes()).with("cookie", header.clone()))
            else {
                return;
            };
            // Whoever is not signed in is shown where to do so.
            if !String::from_utf8_lossy(&answer.body).contains(PERSON) {
                continue;
            }
            assert!(path != "/console" || answer.status == 403, "Ada is no administrator");
            let text = String::from_utf8_lossy(&header).into_owned();
            let name = "signet-session=";
            let values: Vec<&str> =
                text.split(';').filter_map(|pair| pair.trim().strip_prefix(name)).collect();
            assert_eq!(values, [service.secrets.session.as_str()], "{path} was shown for {text}");
        }
    });
}
