//! What a request says of itself changes nothing of what is answered: no header that somebody else may set moves a URL, and
//! no line break in a parameter becomes a header.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::json;
use signet::clients::{ConsentRule, Registration};
use signet::oauth::RedirectUri;

use crate::browser::{
    Browser, CALLBACK, PASSWORD, ada, encoded, location, parameter, register, request, shop, state,
};
use crate::shell::{act, form_token};
use crate::test_app::{Answer, ISSUER, RESOURCE, TestApp, basic, bearer, form, part};

/// All that a proxy, or whoever pretends to be one, may say of where a request went.
const SPOOFED: [(&str, &str); 12] = [
    ("Host", "evil.example"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Port", "666"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-Server", "evil.example"),
    ("Forwarded", "host=evil.example;proto=https"),
    ("X-Original-URL", "/evil"),
    ("X-Rewrite-URL", "/evil"),
    ("X-Host", "evil.example"),
    ("Origin", "https://evil.example"),
    ("Referer", "https://evil.example/"),
];

/// With all of them at once.
fn spoofed(request: TestRequest) -> TestRequest {
    SPOOFED.into_iter().fold(request, TestRequest::insert_header)
}

/// Everything that was answered, as text.
fn whole(answer: &Answer) -> String {
    let headers: Vec<String> =
        answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    format!("{} {}\n{}", answer.status, headers.join("\n"), String::from_utf8_lossy(&answer.body))
}

#[track_caller]
fn unmoved(answer: &Answer) {
    let whole = whole(answer);
    assert!(!whole.contains("evil") && !whole.contains(":666"), "{whole}");
}

/// With a proxy that is trusted in front, and without: even that one only says for whom it asks.
async fn services() -> [TestApp; 2] {
    let direct = TestApp::start().await;
    let proxied = TestApp::start_with(|config| {
        config.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap(), "127.0.0.0/8".parse().unwrap()];
    })
    .await;
    for app in [&direct, &proxied] {
        ada(app).await;
        register(app, Registration { consent: ConsentRule::Implied, ..shop() }).await;
    }
    [direct, proxied]
}

#[actix_web::test]
async fn what_is_published_names_the_issuer_of_the_settings() {
    for app in services().await {
        for path in [
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
            "/.well-known/jwks.json",
            "/status",
        ] {
            let plain = app.send(TestRequest::get().uri(path)).await;
            let answer = app.send(spoofed(TestRequest::get().uri(path))).await;
            unmoved(&answer);
            assert_eq!((answer.status, &answer.body), (200, &plain.body), "{path}");
        }
        let metadata =
            app.send(spoofed(TestRequest::get().uri("/.well-known/openid-configuration"))).await.json();
        let mut urls = 0;
        for (name, value) in metadata.as_object().unwrap() {
            if name == "issuer" || name.ends_with("_endpoint") || name.ends_with("_uri") {
                let url = value.as_str().unwrap();
                assert!(url == ISSUER || url.starts_with(&format!("{ISSUER}/")), "{name}: {url}");
                urls += 1;
            }
        }
        assert!(urls >= 9, "{urls}");
    }
}

#[actix_web::test]
async fn what_is_issued_names_the_issuer_of_the_settings() {
    for app in services().await {
        let request = form("/oauth2/token", "grant_type=client_credentials").insert_header(basic(app.demo()));
        let answer = app.send(spoofed(request)).await;
        unmoved(&answer);
        let claims = part(&answer.access_token(), 1);
        assert_eq!(claims["iss"], ISSUER);
        let uri = claims["status"]["status_list"]["uri"].as_str().unwrap();
        assert!(uri.starts_with(&format!("{ISSUER}/status/")), "{uri}");
        let list = TestRequest::get().uri(uri.strip_prefix(ISSUER).unwrap());
        let list = app.send(spoofed(list)).await;
        unmoved(&list);
        assert_eq!(part(&String::from_utf8(list.body).unwrap(), 1)["sub"], uri);
        // What an administrator makes, and where it is.
        let token = app.admin_token().await;
        let new =
            json!({ "client_id": "moved", "client_name": "Moved", "scope": "read", "resources": [RESOURCE] });
        let made = TestRequest::post().uri("/admin/clients").insert_header(bearer(&token)).set_json(new);
        let made = app.send(spoofed(made)).await;
        assert_eq!(made.status, 201);
        unmoved(&made);
    }
}

#[actix_web::test]
async fn no_page_and_no_redirect_leads_elsewhere() {
    for app in services().await {
        let mut browser = Browser::default();
        let answers = [
            browser.send(&app, spoofed(TestRequest::get().uri("/oauth2/authorize"))).await,
            browser.send(&app, spoofed(TestRequest::get().uri("/oauth2/logout"))).await,
            browser.send(&app, spoofed(TestRequest::get().uri("/account"))).await,
            browser.send(&app, spoofed(TestRequest::get().uri("/console"))).await,
            browser.send(&app, spoofed(TestRequest::get().uri("/nowhere"))).await,
            browser.send(&app, spoofed(TestRequest::post().uri("/account"))).await,
            browser.send(&app, spoofed(form("/oauth2/authorize", "client_id=shop"))).await,
            browser.send(&app, spoofed(form("/oauth2/logout", "client_id=shop"))).await,
        ];
        answers.iter().for_each(unmoved);
        let page = browser.send(&app, spoofed(TestRequest::get().uri(&request(&[])))).await;
        unmoved(&page);
        let members = [("state", &*state(&page)), ("username", "ada@example.com"), ("password", PASSWORD)];
        let signed_in = browser.send(&app, spoofed(form("/oauth2/sign-in", &encoded(&members)))).await;
        assert!(location(&signed_in).starts_with(&format!("{CALLBACK}?code=")));
        assert_eq!(parameter(&signed_in, "iss").as_deref(), Some(ISSUER));
        unmoved(&signed_in);
        for cookie in signed_in.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(!cookie.contains("Domain") && cookie.contains("Path=/;"), "{cookie}");
        }
        let answer = browser.send(&app, spoofed(TestRequest::get().uri(&request(&[])))).await;
        assert!(location(&answer).starts_with(&format!("{CALLBACK}?code=")));
        assert_eq!(parameter(&answer, "iss").as_deref(), Some(ISSUER));
        unmoved(&answer);
        let page = browser.send(&app, spoofed(TestRequest::get().uri("/account"))).await;
        unmoved(&page);
        let members = [("form_token", &*form_token(&page)), ("name", "Ada")];
        let answer = browser.send(&app, spoofed(form("/account", &encoded(&members)))).await;
        assert_eq!(location(&answer), format!("{ISSUER}/account"));
        unmoved(&answer);
        let page = browser.send(&app, spoofed(TestRequest::get().uri("/oauth2/logout"))).await;
        let members = [("state", &*state(&page)), ("decision", "sign-out")];
        unmoved(&browser.send(&app, spoofed(form("/oauth2/sign-out", &encoded(&members)))).await);
    }
}

#[actix_web::test]
async fn whoever_signs_in_for_a_page_comes_back_to_this_service() {
    let [app, _] = services().await;
    for path in [
        "/account?next=https://evil.example/",
        "/account?%0d%0aLocation:%20https://evil.example/",
        "/account?a=%0aSet-Cookie:%20stolen=1&b=//evil.example",
        "/account?\u{5c}\u{5c}evil.example",
    ] {
        let mut browser = Browser::default();
        let page = browser.get(&app, &path.replace('\\', "%5c")).await;
        let next = location(&browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await);
        let url = url::Url::parse(&next).unwrap();
        assert_eq!((url.origin().ascii_serialization().as_str(), url.path()), (ISSUER, "/account"), "{next}");
    }
    // Nor is there a page whose path is another host.
    for path in ["//evil.example/account", "/%2f/evil.example", "/\\evil.example"] {
        let Ok(uri) = path.parse::<actix_web::http::Uri>() else { continue };
        let answer = app.send(TestRequest::get().uri(&uri.to_string())).await;
        assert_eq!((answer.status, answer.header("location")), (404, None), "{path}");
    }
    // Below the pages a stranger is asked to sign in, whatever is there, and stays here.
    let mut browser = Browser::default();
    let page = browser.get(&app, "/account//evil.example").await;
    let next = location(&browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await);
    assert_eq!(next, format!("{ISSUER}/account//evil.example"));
    assert_eq!(browser.get(&app, &next).await.status, 404);
}

/// A line break, and what would be a header behind it.
const INJECTED: &str = "a\r\nSet-Cookie: stolen=1\r\nX-Injected: 1\r\n\r\n<html>";

#[track_caller]
fn intact(answer: &Answer) {
    assert_eq!(answer.header("x-injected"), None);
    for (name, value) in &answer.headers {
        let text = value.to_str().unwrap_or_else(|_| panic!("{name}: {value:?}"));
        assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{name}: {text:?}");
        assert!(name != "set-cookie" || text.starts_with("signet-"), "{name}: {text}");
        assert!(name == "location" || !text.contains("stolen"), "{name}: {text}");
    }
}

#[actix_web::test]
async fn a_line_break_in_a_parameter_is_no_header() {
    let [app, _] = services().await;
    let mut browser = Browser::default();
    let signed_in = browser.allow(&app, &request(&[])).await;
    assert!(parameter(&signed_in, "code").is_some());
    // Every parameter of an authorization request, by GET and by POST.
    let names = [
        "client_id",
        "redirect_uri",
        "response_type",
        "response_mode",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "prompt",
        "max_age",
        "login_hint",
        "id_token_hint",
        "claims",
        "resource",
        "ui_locales",
    ];
    for name in names {
        let url = request(&[(name, INJECTED)]);
        let (path, query) = url.split_once('?').unwrap();
        let by_get = browser.get(&app, &url).await;
        intact(&by_get);
        assert!(matches!(by_get.status, 200 | 303 | 400), "{name}: {by_get:?}");
        intact(&browser.send(&app, form(path, query)).await);
    }
    let answer = browser.get(&app, &request(&[("state", INJECTED)])).await;
    assert_eq!(parameter(&answer, "state").as_deref(), Some(INJECTED), "it comes back as it was");
    // Of every other endpoint that reads parameters.
    let injected = encoded(&[
        ("grant_type", INJECTED),
        ("scope", INJECTED),
        ("token", INJECTED),
        ("code", INJECTED),
        ("state", INJECTED),
        ("post_logout_redirect_uri", INJECTED),
        ("username", INJECTED),
    ]);
    for path in [
        "/oauth2/token",
        "/oauth/token",
        "/auth/token",
        "/api/token.php",
        "/oauth2/revoke",
        "/oauth/revoke",
        "/oauth2/introspect",
        "/oauth2/userinfo",
        "/oauth2/logout",
        "/oauth2/sign-in",
        "/oauth2/second-factor",
        "/oauth2/consent",
        "/oauth2/sign-out",
    ] {
        for with_client in [false, true] {
            let request = form(path, &injected);
            let request = if with_client { request.insert_header(basic(app.demo())) } else { request };
            let answer = app.send(request).await;
            assert!((200..500).contains(&answer.status), "{path}: {answer:?}");
            intact(&answer);
        }
    }
    intact(&browser.get(&app, &format!("/users?limit={}", encoded(&[("", INJECTED)]))).await);
    intact(
        &app.send(TestRequest::get().uri("/.well-known/jwks.json").insert_header(("Origin", "https://a b")))
            .await,
    );
}

#[actix_web::test]
async fn a_line_break_is_in_no_name() {
    let [app, _] = services().await;
    let client = |name: &str, uri: &str| json!({ "client_name": name, "scope": "read", "resources": [RESOURCE], "redirect_uris": [uri] });
    for body in
        [client(INJECTED, CALLBACK), client("Shop", "https://a.example/\r\nX: y"), client("a\nb", CALLBACK)]
    {
        app.administer(Method::POST, "/admin/clients", Some(body)).await.refused(400, "invalid_request");
    }
    let user = json!({ "name": INJECTED, "email": "eve@example.com" });
    app.administer(Method::POST, "/admin/users", Some(user)).await.refused(400, "invalid_request");
    // And what is good without the line break is taken.
    let good = app.administer(Method::POST, "/admin/clients", Some(client("Shop", CALLBACK))).await;
    assert_eq!(good.status, 201);
    let key =
        json!({ "name": INJECTED, "client_id": app.demo().0, "scope": "read", "resources": [RESOURCE] });
    app.administer(Method::POST, "/admin/api-keys", Some(key)).await.refused(400, "invalid_request");
    let mut browser = Browser::default();
    browser.allow(&app, &request(&[])).await;
    assert_eq!(act(&mut browser, &app, "/account", &[("name", INJECTED)]).await.status, 400);
}

#[actix_web::test]
async fn a_redirect_uri_keeps_its_own_query_and_takes_no_headers() {
    let app = TestApp::start().await;
    ada(&app).await;
    let uri = "https://shop.example.com/callback?tenant=1";
    register(&app, Registration { redirect_uris: vec![RedirectUri::parse(uri).unwrap()], ..shop() }).await;
    let mut browser = Browser::default();
    let answer = browser.allow(&app, &request(&[("redirect_uri", uri), ("state", INJECTED)])).await;
    assert!(location(&answer).starts_with(&format!("{uri}&code=")));
    assert_eq!(parameter(&answer, "state").as_deref(), Some(INJECTED));
    intact(&answer);
}
