//! The JSON of the APIs, and whole requests.

use actix_web::http::Method;
use serde_json::Value;
use signet::oauth::RedirectUri;

use super::first_line;
use crate::service::{PERSON, Request, renew, with_service};

/// A client as an administrator registers it. What is registered is shown as it is kept, has redirect URIs that a
/// client may have, and goes away again.
pub(crate) fn client(data: &[u8]) {
    with_service(|service| {
        let body = service.fill(data);
        let bearer = format!("Bearer {}", service.secrets.admin);
        let request = Request::post("/admin/clients", "application/json", &body);
        let answer = service.send(request.with("authorization", bearer.as_str())).expect("a request");
        let change = Request {
            method: Some(Method::PATCH),
            ..Request::post("/admin/clients/nobody", "application/json", &body)
        };
        let changed = service.send(change.with("authorization", bearer.as_str())).expect("a request");
        assert!(changed.status >= 400, "{changed:?}");
        if answer.status != 201 {
            assert!((400..500).contains(&answer.status), "{answer:?}");
            return;
        }
        let made = answer.json();
        let asked: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(made["client_name"], asked["client_name"]);
        for uri in made["redirect_uris"].as_array().into_iter().flatten() {
            RedirectUri::parse(uri.as_str().expect("text")).expect("a redirect URI");
        }
        let scope = made["scope"].as_str().expect("a scope");
        let admin = scope.split(' ').any(|token| token.starts_with("signet:"));
        let asked_scope = asked["scope"].as_str().unwrap_or_default();
        assert!(!admin || asked_scope.contains("signet:"), "{scope} of {asked_scope}");
        let path = format!("/admin/clients/{}", made["client_id"].as_str().expect("an identifier"));
        let show = Request::get(path.as_bytes()).with("authorization", bearer.as_str());
        let shown = service.send(show).expect("a request");
        assert_eq!((shown.status, &shown.json()["redirect_uris"]), (200, &made["redirect_uris"]));
        assert!(shown.json().get("client_secret").is_none(), "a secret is shown once");
        let delete = Request { method: Some(Method::DELETE), ..Request::get(path.as_bytes()) };
        assert_eq!(service.send(delete.with("authorization", bearer)).expect("a request").status, 204);
    });
}

/// An account in JSON, made and changed by an API key, or read with a query where the first line is `?`.
pub(crate) fn users(data: &[u8]) {
    with_service(|service| {
        let body = service.fill(data);
        let key = service.secrets.api_key.as_str();
        if let Some(query) = body.strip_prefix(b"?") {
            let target = [b"/users?".as_slice(), query].concat();
            if let Some(answer) = service.send(Request::get(&target).with("x-api-key", key)) {
                assert!(answer.status == 400 || answer.json().is_array(), "{answer:?}");
            }
            return;
        }
        let request = Request::post("/users", "application/json", &body).with("x-api-key", key);
        let answer = service.send(request).expect("a request");
        if answer.status != 201 {
            return;
        }
        let (made, asked) = (answer.json(), serde_json::from_slice::<Value>(&body).expect("JSON"));
        assert_eq!(made["email"], asked["email"]);
        assert!(made.get("password").is_none());
        let path = format!("/users/{}", made["id"].as_str().expect("an identifier"));
        let show = service.send(Request::get(path.as_bytes()).with("x-api-key", key)).expect("a request");
        assert_eq!((show.status, &show.json()["email"]), (200, &made["email"]));
        let change = Request { method: Some(Method::PUT), ..Request::post(&path, "application/json", &body) };
        service.send(change.with("x-api-key", key)).expect("a request");
        let delete = Request { method: Some(Method::DELETE), ..Request::get(path.as_bytes()) };
        assert_eq!(service.send(delete.with("x-api-key", key)).expect("a request").status, 204);
    });
}

/// A line with method and target below `/admin/`, and a JSON body, by an administrator. Nobody else gets anything; a secret is shown
/// once; and a revocation names one thing.
pub(crate) fn api(data: &[u8]) {
    let changed = with_service(|service| {
        let data = service.fill(data);
        let (line, body) = first_line(&data);
        let Some((method, target)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' '))
        else {
            return false;
        };
        let Ok(method) = Method::from_bytes(method.as_bytes()) else { return false };
        if !target.starts_with("/admin/") {
            return false;
        }
        let is_read = method == Method::GET;
        let request =
            || Request { method: Some(method.clone()), ..Request::post(target, "application/json", body) };
        let Some(stranger) = service.send(request()) else { return false };
        assert!(stranger.status >= 400, "{stranger:?}");
        let bearer = format!("Bearer {}", service.secrets.admin);
        let answer = service.send(request().with("authorization", bearer.as_str())).expect("a request");
        if is_read || answer.status >= 300 {
            return false;
        }
        let asked = || serde_json::from_slice::<Value>(body).expect("JSON");
        match target.split('?').next().unwrap_or_default() {
            "/admin/api-keys" if answer.status == 201 => {
                let (made, asked) = (answer.json(), asked());
                assert_eq!((&made["name"], &made["scope"]), (&asked["name"], &asked["scope"]), "{made}");
                let secret = made["api_key"].as_str().expect("a secret");
                let list = Request::get(b"/admin/api-keys").with("authorization", bearer.as_str());
                let list = String::from_utf8(service.send(list).expect("a request").body).expect("text");
                assert!(!list.contains(secret), "a secret is shown once");
            }
            "/admin/revocations" => {
                let asked = asked();
                let named = ["client_id", "sub", "token"].iter().filter(|name| !asked[**name].is_null());
                assert_eq!(named.count(), 1, "{asked}");
            }
            _ => {}
        }
        true
    });
    if changed {
        renew();
    }
}

/// Any request by nobody: a line with method and target, lines of headers, an empty line, a body. No row is made of
/// it, and nothing that needs somebody is answered.
pub(crate) fn request(data: &[u8]) {
    let (start, mut rest) = first_line(data);
    let Some((method, target)) = std::str::from_utf8(start).ok().and_then(|line| line.split_once(' ')) else {
        return;
    };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let mut request = Request { method: Some(method), ..Request::get(target.as_bytes()) };
    loop {
        let (line, behind) = first_line(rest);
        rest = behind;
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(": "))
        else {
            break;
        };
        request = request.with(name, value);
    }
    request.body = rest;
    with_service(|service| {
        let Some(answer) = service.send(request) else { return };
        let path = target.split('?').next().unwrap_or_default();
        let page = String::from_utf8_lossy(&answer.body);
        assert!(!page.contains(PERSON), "a page of hers was shown to nobody: {page}");
        let closed = ["/admin/", "/users", "/v1/users"];
        if closed.iter().any(|each| path.starts_with(each)) {
            assert!(
                answer.status >= 300 || answer.header("access-control-allow-origin").is_some(),
                "{answer:?}"
            );
        }
        assert!(answer.json().get("access_token").is_none(), "{answer:?}");
    });
}
