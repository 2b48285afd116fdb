//! What browsers are sent with, by whoever sends them.

use url::Url;

use super::first_line;
use super::hint::{is_issued, is_signed_out};
use crate::members::Members;
use crate::service::{Answer, CALLBACK, LOOPBACK, Request, SIGNED_OUT, Service, renew, with_service};

/// The query of an authorization request, by a browser that has signed in, at each of the endpoints; by GET and as a
/// form. A browser is sent to the service itself or to a registered redirect URI, and a code only there. Where nobody may be
/// asked, a hint that is there is an ID token that was issued.
pub(crate) fn authorize(data: &[u8]) {
    with_service(|service| {
        let query = service.fill(data);
        let members = Members::of_form(&query);
        let cookie = format!("signet-session={}", service.secrets.session);
        let hint = members.one("id_token_hint").filter(|_| members.one("prompt") == Some("none"));
        for path in ["/oauth2/authorize", "/oauth/authorize", "/api/authorize.php"] {
            let target = [path.as_bytes(), b"?", &query].concat();
            if let Some(answer) = service.send(Request::get(&target).with("cookie", cookie.as_str())) {
                leads_home(service, &answer, &members, &[CALLBACK, LOOPBACK]);
                let has_code = answer.header("location").is_some_and(|location| location.contains("code="));
                let may = path != "/oauth2/authorize" || hint.is_none_or(|hint| is_issued(service, hint));
                assert!(may || !has_code, "{hint:?} has answered for somebody");
            }
            let request = Request::post(path, "application/x-www-form-urlencoded", &query);
            let answer = service.send(request.with("cookie", cookie.as_str())).expect("a request");
            leads_home(service, &answer, &members, &[CALLBACK, LOOPBACK]);
        }
    });
}

/// The query of a request to sign out, with its `id_token_hint`, by a browser that nobody has signed in and by Ada's. Only an
/// ID token that was issued signs her out without a question, or says by itself whose the place is that a browser is sent to.
pub(crate) fn logout(data: &[u8]) {
    let signed_out = with_service(|service| {
        let query = service.fill(data);
        let members = Members::of_form(&query);
        let is_issued = members.one("id_token_hint").is_some_and(|hint| is_issued(service, hint));
        let target = [b"/oauth2/logout?".as_slice(), &query].concat();
        let Some(answer) = service.send(Request::get(&target)) else { return false };
        leads_home(service, &answer, &members, &[SIGNED_OUT]);
        let leaves = answer.header("location").is_some_and(|location| location.starts_with(SIGNED_OUT));
        assert!(!leaves || is_issued || members.one("client_id").is_some(), "nobody said whose place it is");
        let cookie = format!("signet-session={}", service.secrets.session);
        let answer = service.send(Request::get(&target).with("cookie", cookie)).expect("a request");
        leads_home(service, &answer, &members, &[SIGNED_OUT]);
        let signed_out = is_signed_out(&answer);
        assert!(!signed_out || is_issued, "Ada was signed out and not asked");
        let is_plain = query == format!("id_token_hint={}", service.secrets.hint).into_bytes();
        assert!(signed_out || !is_plain, "her own ID token did not sign Ada out: {answer:?}");
        signed_out
    });
    if signed_out {
        renew();
    }
}

/// Where the browser goes is the service itself, or what the request names and the client has registered.
fn leads_home(service: &Service, answer: &Answer, members: &Members, registered: &[&str]) {
    let Some(location) = answer.header("location") else { return };
    let home = &service.state().services.issuer;
    if location.strip_prefix(home.as_str()).is_some_and(|rest| rest.starts_with('/'))
        || location.starts_with('/')
    {
        assert!(!location.starts_with("//"), "{location}");
        return;
    }
    assert!(!members.has_repeated(), "a parameter was repeated");
    let mut url = Url::parse(location).expect("a URL");
    url.set_query(None);
    url.set_fragment(None);
    let is_registered = registered.iter().any(|each| {
        let (each, mut url) = (Url::parse(each).expect("a URL"), url.clone());
        if each.host_str() == Some("127.0.0.1") {
            url.set_port(None).expect("a host");
        }
        url == each
    });
    assert!(is_registered, "a browser was sent to {location}");
    if location.contains("code=") && registered.contains(&CALLBACK) {
        assert_eq!(members.one("client_id"), Some("shop"));
        assert_eq!(members.one("response_type").unwrap_or("code"), "code");
    }
}

/// The path of a form of a page on a line, and the form. Nobody has shown the page that it would belong to: nothing
/// comes of it but a refusal, or the page.
pub(crate) fn page_form(data: &[u8]) {
    const FORMS: [&str; 9] = [
        "/oauth2/sign-in",
        "/oauth2/second-factor",
        "/oauth2/consent",
        "/oauth2/sign-out",
        "/account",
        "/account/password",
        "/account/api-keys",
        "/account/applications",
        "/console/new-client",
    ];
    with_service(|service| {
        let data = service.fill(data);
        let (path, form) = first_line(&data);
        let Some(path) = FORMS.iter().find(|each| each.as_bytes() == path) else { return };
        for cookie in [String::new(), format!("signet-session={}", service.secrets.session)] {
            let mut request = Request::post(path, "application/x-www-form-urlencoded", form);
            if !cookie.is_empty() {
                request = request.with("cookie", cookie);
            }
            let answer = service.send(request).expect("a request");
            let set = answer.headers.get_all("set-cookie").filter_map(|value| value.to_str().ok());
            let begins =
                |cookie: &str| cookie.starts_with("signet-session=") && !cookie.contains("Max-Age=0");
            assert!(!set.into_iter().any(begins), "a form that was never shown has signed somebody in");
            let home = &service.state().services.issuer;
            if let Some(location) = answer.header("location") {
                assert!(location.starts_with(home.as_str()) || location.starts_with('/'), "{location}");
                assert!(!location.starts_with("//"), "{location}");
            }
        }
        let services = &service.state().services;
        assert_eq!(services.clients.count(), 4, "a form that was never shown has registered a client");
    });
}

/// The path of a form of the portal or the console on a line, and the form, as an administrator sends it who was shown the page.
/// What is refused has made no client and no key.
pub(crate) fn shown_form(data: &[u8]) {
    let changed = with_service(|service| {
        let data = service.fill(data);
        let (path, form) = first_line(&data);
        let Some(path) = std::str::from_utf8(path).ok().filter(|path| is_shown(path)) else { return false };
        let cookie = format!("signet-session={}", service.secrets.root_session);
        let show = |path: &str| {
            let page = service.send(Request::get(path.as_bytes()).with("cookie", cookie.as_str()))?;
            String::from_utf8(page.body).ok()
        };
        let token = show("/account").and_then(|page| hidden(&page, "form_token")).expect("a form");
        let version = show(path).and_then(|page| hidden(&page, "version")).unwrap_or_default();
        let form = [format!("form_token={token}&version={version}&").as_bytes(), form].concat();
        let before = counts(service);
        let request = Request::post(path, "application/x-www-form-urlencoded", &form);
        let Some(answer) = service.send(request.with("cookie", cookie.as_str())) else { return false };
        if answer.status >= 400 {
            assert_eq!(counts(service), before, "{answer:?}");
            return false;
        }
        leads_home(service, &answer, &Members::of_form(&form), &[]);
        true
    });
    if changed {
        renew();
    }
}

fn is_shown(path: &str) -> bool {
    (path == "/account" || path.starts_with("/account/") || path.starts_with("/console/"))
        && !path.contains('?')
}

fn hidden(page: &str, name: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\""))?;
    rest.split('"').next().map(str::to_owned)
}

/// How many clients there are, and keys.
fn counts(service: &Service) -> (usize, usize) {
    let services = &service.state().services;
    (services.clients.count(), services.keys.list().keys.len())
}
