//! Token requests in their three encodings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signet::clients::{ConsentRule, Registrant};
use signet::oauth::Scope;

use crate::members::Members;
use crate::service::{Answer, OPEN_SCOPE, Request, Service, with_open_service, with_service};

const FORM: &str = "application/x-www-form-urlencoded";
const BOUNDARY: &str = "zz";

/// A form at each token endpoint, by a client that authenticates itself in the header, and at the endpoints for
/// revocation and introspection.
pub(crate) fn form(data: &[u8]) {
    with_service(|service| {
        let body = service.fill(data);
        let members = Members::of_form(&body);
        let basic = basic(service);
        for path in ["/oauth2/token", "/oauth/token", "/auth/token", "/api/token.php"] {
            let request = Request::post(path, FORM, &body).with("authorization", basic.clone());
            let answer = service.send(request).expect("a request");
            hold(&answer, &members, path);
        }
        let request = Request::post("/oauth2/introspect", FORM, &body).with("authorization", basic.clone());
        let answer = service.send(request).expect("a request");
        if answer.status == 200 {
            assert!(!members.has_repeated());
            let asked = members.one("token").expect("a token");
            assert!(answer.json()["active"] == false || asked == service.secrets.token, "{asked} is active");
        }
    });
}

/// A JSON object at the endpoint that takes one; it holds the credentials too.
pub(crate) fn json(data: &[u8]) {
    with_service(|service| {
        let body = service.fill(data);
        let answer =
            service.send(Request::post("/oauth/token", "application/json", &body)).expect("a request");
        if answer.status == 200 {
            let members = Members::of_json(&body).expect("an object");
            assert_eq!(members.one("client_id"), Some("shop"));
            assert_eq!(members.one("client_secret"), Some(&*service.secrets.client));
            hold(&answer, &members, "/oauth/token");
        }
    });
}

/// Parts between boundaries. Where a token is issued, the body has each parameter in one part alone.
pub(crate) fn multipart(data: &[u8]) {
    with_service(|service| {
        let body = service.fill(data);
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let basic = basic(service);
        for path in ["/oauth/token", "/oauth/revoke", "/api/v1/apps"] {
            let request = Request::post(path, &content_type, &body).with("authorization", basic.clone());
            let answer = service.send(request).expect("a request");
            if answer.status == 200 && path == "/oauth/token" {
                let text = String::from_utf8_lossy(&body).to_ascii_lowercase();
                assert!(text.contains("client_credentials") && !text.contains("filename="));
                assert_eq!(text.matches("name=\"grant_type\"").count().max(1), 1, "{text}");
            }
        }
    });
}

/// An application that registers itself, in the encoding that the first byte tells. It gets no more than the operator opens to anybody,
/// people are asked before it gets anything of theirs, and it says who it is.
pub(crate) fn app(data: &[u8]) {
    with_open_service(|service| {
        let body = service.fill(data);
        let content_type = match body.first() {
            Some(b'{') => "application/json".to_owned(),
            Some(b'-') => format!("multipart/form-data; boundary={BOUNDARY}"),
            _ => FORM.to_owned(),
        };
        let answer = service.send(Request::post("/api/v1/apps", &content_type, &body)).expect("a request");
        if answer.status != 200 {
            assert!(matches!(answer.status, 400 | 409 | 413 | 415), "{answer:?}");
            return;
        }
        let made = answer.json();
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        let (id, secret) = (text("client_id"), text("client_secret"));
        let client = service.state().services.clients.find(&id).expect("a client");
        assert_eq!((client.registrant.clone(), client.consent), (Registrant::Anybody, ConsentRule::Required));
        assert!(client.scope.is_subset(&Scope::parse(OPEN_SCOPE).expect("a scope")), "{}", client.scope);
        assert_eq!(client.client_name, text("name"));
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let issued = service.send(Request::post("/oauth2/token", FORM, form.as_bytes())).expect("a request");
        if let Some(token) = issued.json()["access_token"].as_str() {
            let bearer = format!("Bearer {token}");
            let asked = Request::get(b"/api/v1/apps/verify_credentials").with("authorization", bearer);
            assert_eq!(service.send(asked).expect("a request").json()["name"], made["name"]);
        }
    });
}

fn basic(service: &Service) -> String {
    format!("Basic {}", STANDARD.encode(format!("shop:{}", service.secrets.client)))
}

/// A token is issued only for what a request says once, and for no more than the client may have.
fn hold(answer: &Answer, members: &Members, path: &str) {
    if answer.status != 200 {
        return;
    }
    assert!(!members.has_repeated(), "a parameter was repeated at {path}");
    // There is no code and no refresh token that an input could name.
    let grant = members.one("grant_type");
    assert!(matches!(grant, Some("client_credentials")), "{path} granted {grant:?}");
    let json = answer.json();
    assert!(json["access_token"].is_string() && json.get("refresh_token").is_none(), "{json}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let may = Scope::parse("read write").expect("a scope");
    // Where the answer does not name it, it is what was asked for (RFC 6749, section 5.1).
    let granted = json["scope"].as_str().or(members.one("scope")).unwrap_or("read");
    assert!(Scope::parse(granted).expect("a scope").is_subset(&may), "{granted}");
    if let Some(asked) = members.one("scope") {
        let asked = Scope::parse(asked).expect("a scope");
        assert!(Scope::parse(granted).expect("a scope").is_subset(&asked), "{granted} of {asked}");
    }
    let resources = members.0.iter().filter(|(name, value)| name == "resource" && !value.is_empty());
    assert!(resources.into_iter().all(|(_, value)| value == crate::service::RESOURCE));
}
