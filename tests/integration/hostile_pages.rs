//! What somebody hostile sends to the pages: nothing of it gets through.

use std::collections::BTreeSet;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::json;
use signet::clients::{AuthMethod, Registration};
use signet::oauth::{ClientId, RedirectUri};

use crate::browser::{
    Browser, CALLBACK, PASSWORD, ada, location, parameter, register, request, shop, state, text,
};
use crate::grants_fixture::VERIFIER;
use crate::hostile_forms::near;
use crate::shell::{account, signed_in};
use crate::test_app::{TestApp, basic, bearer, form};

pub(crate) async fn service() -> TestApp {
    let app = TestApp::start_with(|config| config.limits.authorize_per_address = 0).await;
    ada(&app).await;
    register(&app, shop()).await;
    app
}

/// Redirect URIs that look like the registered one, and are another.
fn near_misses() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let (scheme, host, path) = ("https", "shop.example.com", "/callback");
    let usual = format!("{scheme}://{host}{path}");
    // One letter more, at every place.
    for at in 0..=usual.len() {
        for letter in ["a", "%00", "."] {
            all.push(format!("{}{letter}{}", &usual[..at], &usual[at..]));
        }
    }
    for behind in [
        "/",
        "?",
        "#",
        "?x=1",
        "#x",
        "/..",
        "/../callback",
        "//",
        ";x",
        "%2f",
        "%20",
        " ",
        "\t",
        "\0",
        "\u{e9}",
        ":",
        "@",
        "/%2e%2e/",
        "\\",
        "*",
        "%0d%0aLocation:x",
        "&state=x",
    ] {
        all.push(format!("{usual}{behind}"));
    }
    for hosts in [
        "shop.example.com.",
        "SHOP.example.com",
        "evil.example",
        "shop.example.com.evil.example",
        "evil.example/shop.example.com",
        "shop.example.com@evil.example",
        "shop.example.com:443",
        "shop.example.com:8443",
        "user@shop.example.com",
        "shop.example.com%2eevil.example",
        "shop.example.com\\.evil.example",
        "sh\u{f6}p.example.com",
        "xn--shp-tna.example.com",
        "evil.example#shop.example.com",
        "evil.example?shop.example.com",
        "[::1]",
        "127.0.0.1",
        "example.com",
        "a.shop.example.com",
        "shop-example.com",
        "shop.example.com%00.evil.example",
        "shop.example.com:443@evil.example",
    ] {
        all.push(format!("{scheme}://{hosts}{path}"));
    }
    for schemes in ["http", "HTTPS", "javascript", "data", "https+x", "ftp", "shop", ""] {
        all.push(format!("{schemes}://{host}{path}"));
    }
    for paths in [
        "",
        "/",
        "/Callback",
        "/callback2",
        "/call%62ack",
        "/x/../callback",
        "/./callback",
        "//callback",
        "/callback/x",
    ] {
        all.push(format!("{scheme}://{host}{paths}"));
    }
    all.extend(
        [
            "//shop.example.com/callback",
            "/callback",
            "https:shop.example.com/callback",
            "https:/shop.example.com/callback",
            "https:///shop.example.com/callback",
            "javascript:alert(1)//https://shop.example.com/callback",
        ]
        .map(str::to_owned),
    );
    all
}

#[actix_web::test]
async fn no_near_miss_of_a_redirect_uri_is_taken() {
    let app = service().await;
    let mut browser = Browser::default();
    browser.allow(&app, &request(&[])).await;
    let misses: BTreeSet<String> = near_misses().into_iter().collect();
    assert!(misses.len() >= 150 && !misses.contains(CALLBACK), "{}", misses.len());
    for uri in misses {
        let answer = browser.get(&app, &request(&[("redirect_uri", &uri)])).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{uri:?}");
    }
    assert!(parameter(&browser.get(&app, &request(&[])).await, "code").is_some());
}

#[actix_web::test]
async fn no_near_miss_of_a_loopback_redirect_uri_is_taken() {
    let app = service().await;
    let native = Registration {
        client_id: Some(ClientId::parse("native").unwrap()),
        token_endpoint_auth_method: AuthMethod::None,
        redirect_uris: vec![RedirectUri::parse("http://127.0.0.1/callback").unwrap()],
        ..shop()
    };
    register(&app, native).await;
    let mut browser = Browser::default();
    let asking = |uri: &str| request(&[("client_id", "native"), ("redirect_uri", uri)]);
    for uri in ["http://127.0.0.1/callback", "http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback"]
    {
        assert!(text(&browser.get(&app, &asking(uri)).await).contains("name=\"password\""), "{uri}");
    }
    let ports = [
        "0",
        "00",
        "080",
        "000000080",
        "065535",
        "65536",
        "99999",
        "4294967376",
        "18446744073709551617",
        "-1",
        "+80",
        " 80",
        "80 ",
        "8_0",
        "8.0",
        "0x50",
        "0b1",
        "1e2",
        "%38%30",
        "\u{666}\u{660}",
        "\u{ff18}\u{ff10}",
        "",
        ":80",
        "80:80",
        "80@evil.example",
        "@evil.example",
        "80.evil.example",
        "80\\@evil.example",
        "80#",
        "80?",
        "80;",
        "80//",
        "x",
    ];
    let hosts = [
        "localhost",
        "127.0.0.2",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "127.0.0.1.evil.example",
        "evil.example",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "user@127.0.0.1",
        "127.0.0.1%00",
        "\u{ff11}27.0.0.1",
        "0",
        "0.0.0.0",
    ];
    let misses = ports.iter().map(|port| format!("http://127.0.0.1:{port}/callback"));
    let misses = misses.chain(hosts.iter().map(|host| format!("http://{host}:80/callback")));
    let more = [
        "https://127.0.0.1:80/callback",
        "HTTP://127.0.0.1:80/callback",
        "http:127.0.0.1:80/callback",
        "http://127.0.0.1:80/callback/",
        "http://127.0.0.1:80/callback?x=1",
        "http://127.0.0.1:80/%63allback",
    ];
    for uri in misses.chain(more.map(str::to_owned)) {
        let answer = browser.get(&app, &asking(&uri)).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{uri:?}");
    }
}

#[actix_web::test]
async fn what_another_installation_made_opens_nothing_here() {
    let (here, elsewhere) = (service().await, TestApp::start_elsewhere().await);
    ada(&elsewhere).await;
    let registered = register(&elsewhere, shop()).await;
    let mut theirs = Browser::default();
    let sign_in = theirs.get(&elsewhere, &request(&[])).await;
    let unknown = theirs.clone();
    let next = location(&theirs.sign_in(&elsewhere, &sign_in, ("ada@example.com", PASSWORD)).await);
    let consent = theirs.get(&elsewhere, &next).await;
    let logout = theirs.get(&elsewhere, "/oauth2/logout").await;
    // Their cookies: nobody is signed in by them.
    let answer = theirs.clone().get(&here, &request(&[("prompt", "none")])).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("login_required"));
    for page in ["/account", "/console"] {
        assert!(text(&theirs.clone().get(&here, page).await).contains("name=\"password\""), "{page}");
    }
    // Their forms, with their cookies and with ours.
    let mut ours = Browser::default();
    ours.allow(&here, &request(&[])).await;
    for browser in [&theirs, &ours, &unknown] {
        for (path, page) in
            [("/oauth2/sign-in", &sign_in), ("/oauth2/consent", &consent), ("/oauth2/sign-out", &logout)]
        {
            let members = [
                ("state", &*state(page)),
                ("username", "ada@example.com"),
                ("password", PASSWORD),
                ("decision", "allow"),
            ];
            let answer = browser.clone().post(&here, path, &members).await;
            assert_eq!((answer.status, answer.header("location")), (400, None), "{path}");
        }
    }
    // Their codes and refresh tokens.
    let code = parameter(&theirs.decide(&elsewhere, &consent, "allow").await, "code").unwrap();
    let usual = ("scope", "openid offline_access read");
    let other = parameter(&theirs.allow(&elsewhere, &request(&[usual])).await, "code").unwrap();
    let tokens = crate::browser::redeem(&elsewhere, &registered, &other).await;
    assert!(tokens["refresh_token"].is_string());
    let rotated = here.administer(Method::POST, "/admin/clients/shop/secret", Some(json!({}))).await.json();
    let client = ("shop", rotated["client_secret"].as_str().unwrap());
    for body in [
        format!("grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}&code_verifier={VERIFIER}"),
        format!("grant_type=refresh_token&refresh_token={}", tokens["refresh_token"].as_str().unwrap()),
    ] {
        let answer = here.send(form("/oauth2/token", &body).insert_header(basic(client))).await;
        answer.refused(400, "invalid_grant");
    }
    let userinfo = TestRequest::get().uri("/oauth2/userinfo");
    let userinfo = userinfo.insert_header(bearer(tokens["access_token"].as_str().unwrap()));
    here.send(userinfo).await.refused(401, "invalid_token");
}

#[actix_web::test]
async fn a_planted_or_copied_cookie_is_worth_nothing() {
    let app = service().await;
    let mut browser = Browser::default();
    // Planted before the sign-in: the session gets a new value all the same.
    browser.cookies.insert("signet-session".into(), "planted".into());
    let page = browser.get(&app, &request(&[])).await;
    let planted = browser.clone();
    let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert_ne!(browser.cookies["signet-session"], "planted");
    assert!(!browser.cookies.contains_key("signet-browser"), "{answer:?}");
    let silent = request(&[("prompt", "none")]);
    let who = |answer| parameter(&answer, "error");
    assert_eq!(who(planted.clone().get(&app, &silent).await).as_deref(), Some("login_required"));
    assert_eq!(who(browser.get(&app, &silent).await).as_deref(), Some("consent_required"));
    // Copied, and then signed in anew: the copy is dead.
    let copied = browser.clone();
    let page = browser.get(&app, &request(&[("prompt", "login")])).await;
    browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert_eq!(who(copied.clone().get(&app, &silent).await).as_deref(), Some("login_required"));
    // Copied, and then signed out.
    let copied = browser.clone();
    let page = browser.get(&app, "/oauth2/logout").await;
    browser.post(&app, "/oauth2/sign-out", &[("state", &*state(&page)), ("decision", "sign-out")]).await;
    assert_eq!(who(copied.clone().get(&app, &silent).await).as_deref(), Some("login_required"));
    for value in ["", "x", &"A".repeat(43), "%00", "\"quoted\""] {
        let mut forged = Browser::default();
        forged.cookies.insert("signet-session".into(), value.to_owned());
        assert_eq!(who(forged.get(&app, &silent).await).as_deref(), Some("login_required"), "{value}");
    }
    // Cut off, changed or longer.
    let mut again = Browser::default();
    again.allow(&app, &request(&[])).await;
    let genuine = again.cookies["signet-session"].clone();
    assert!(parameter(&again.get(&app, &silent).await, "code").is_some());
    for value in near(&genuine) {
        let mut forged = again.clone();
        forged.cookies.insert("signet-session".into(), value.clone());
        assert_eq!(who(forged.get(&app, &silent).await).as_deref(), Some("login_required"), "{value}");
    }
    // Two of a name: one of them is somebody else's, and who knows which.
    let page = browser.get(&app, &request(&[])).await;
    browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    let live = browser.cookies["signet-session"].clone();
    for cookies in [
        format!("signet-session={live}; signet-session=x"),
        format!("signet-session=x; signet-session={live}"),
    ] {
        let twice = TestRequest::get().uri(&silent).insert_header(("Cookie", cookies));
        assert_eq!(who(app.send(twice).await).as_deref(), Some("login_required"));
    }
    assert!(parameter(&browser.get(&app, &silent).await, "code").is_some());
}

#[actix_web::test]
async fn every_page_is_locked_down() {
    let app = service().await;
    account(&app, ("Root", "root@example.com"), true).await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let wrong = browser.sign_in(&app, &page, ("ada@example.com", "wrong")).await;
    let next = location(&browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await);
    let consent = browser.get(&app, &next).await;
    let error = browser.get(&app, "/oauth2/authorize").await;
    let sign_out = browser.get(&app, "/oauth2/logout").await;
    let mut pages = vec![page, wrong, consent, error, sign_out];
    // Of the portal and the console all: those of somebody, and where there is nobody by that name.
    let mut root = signed_in(&app, "root@example.com", "/console").await;
    let own = |path: &&str| path.starts_with("/account") || path.starts_with("/console");
    let served = signet::http::served().iter().filter(|served| served.method == Method::GET);
    let paths: Vec<&str> = served.map(|served| served.path).filter(own).collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        let named =
            path.replace("{client_id}", "shop").replace("{id}", "user_nobody").replace("{kid}", "none");
        let mine = root.get(&app, &named).await;
        assert!(matches!(mine.status, 200 | 404), "{named} {}", mine.status);
        pages.extend([mine, Browser::default().get(&app, &named).await, browser.get(&app, &named).await]);
    }
    for page in pages {
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("cross-origin-embedder-policy"), Some("credentialless"));
        assert_eq!(page.header("access-control-allow-origin"), None);
        let policy = page.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        let text = text(&page);
        assert!(
            !text.contains("style=\"") && !text.contains("<script>") && !text.contains("onclick"),
            "{text}"
        );
    }
}

#[actix_web::test]
async fn cookies_are_out_of_reach() {
    let app = TestApp::start_with(|config| config.issuer = "https://id.example.com/auth".into()).await;
    ada(&app).await;
    register(&app, shop()).await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    assert!(text(&page).contains("action=\"/auth/oauth2/sign-in\""), "links begin at the issuer's path");
    let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert!(location(&answer).starts_with("https://id.example.com/auth/oauth2/authorize?"));
    let cookies: Vec<String> =
        answer.headers.get_all("set-cookie").map(|c| c.to_str().unwrap().to_owned()).collect();
    assert_eq!(cookies.len(), 3, "{cookies:?}");
    for cookie in cookies {
        assert!(cookie.starts_with("__Host-signet-"), "{cookie}");
        for attribute in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
    }
}
