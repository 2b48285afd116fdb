//! What somebody hostile sends to the pages: nothing of it gets through.

use actix_web::test::TestRequest;
use signet::clients::Registration;
use signet::oauth::{RedirectUri, Secret, WebUri};
use signet::users::{Email, NewAccount};

use crate::browser::{
    Browser, CALLBACK, PASSWORD, ada, location, parameter, register, request, shop, state, text,
};
use crate::test_app::{ISSUER, RESOURCE, TestApp};

async fn service() -> TestApp {
    let app = TestApp::start().await;
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
    let misses = near_misses();
    assert!(misses.len() >= 150, "{}", misses.len());
    for uri in misses {
        let answer = browser.get(&app, &request(&[("redirect_uri", &uri)])).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{uri:?}");
    }
    assert!(parameter(&browser.get(&app, &request(&[])).await, "code").is_some());
}

#[actix_web::test]
async fn a_tampered_or_foreign_form_does_nothing() {
    let app = service().await;
    let mut browser = Browser::default();
    let sign_in_page = browser.get(&app, &request(&[])).await;
    let before = browser.clone();
    let next = location(&browser.sign_in(&app, &sign_in_page, ("ada@example.com", PASSWORD)).await);
    let page = browser.get(&app, &next).await;
    let good = state(&page);
    let mut forged: Vec<String> = (0..40)
        .map(|n| {
            let at = n * good.len() / 40;
            let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &good[..at], &good[at + 1..])
        })
        .collect();
    forged.extend(["", "x", "null", &good[1..], &good[..good.len() - 1]].map(str::to_owned));
    forged.extend([format!("{good}A"), format!("{good}="), good.to_lowercase()]);
    // A form of another purpose, sealed by the same service for the same person.
    forged.push(state(&sign_in_page));
    forged.push(state(&browser.get(&app, "/oauth2/logout").await));
    assert!(forged.len() >= 50, "{}", forged.len());
    for state in &forged {
        let members = [("state", &**state), ("decision", "allow")];
        let answer = browser.post(&app, "/oauth2/consent", &members).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{state}");
    }
    // Another scope beside the state changes nothing: what is granted is what was shown.
    let members = [
        ("state", &*good),
        ("decision", "allow"),
        ("scope", "write"),
        ("redirect_uri", "https://evil.example/"),
    ];
    let answer = browser.post(&app, "/oauth2/consent", &members).await;
    assert!(location(&answer).starts_with(CALLBACK));
    let services = &app.app.state.services;
    let client = services.clients.find("shop").unwrap();
    let user = services.accounts.named("ada@example.com").await.unwrap().unwrap();
    let consent =
        services.consents.granted(&user, &client.client_id, client.created_at).await.unwrap().unwrap();
    let allowed: Vec<(&str, &str)> =
        consent.resources.iter().map(|(uri, scope)| (uri.as_str(), scope.as_str())).collect();
    assert_eq!(allowed, [(RESOURCE, "openid email read")]);
    // Nobody's browser, and the browser as it was before the sign-in.
    for mut other in [Browser::default(), before] {
        let answer = other.decide(&app, &page, "allow").await;
        assert_eq!((answer.status, answer.header("location")), (400, None));
    }
}

#[actix_web::test]
async fn a_form_belongs_to_one_browser_and_ends() {
    let app = service().await;
    let (mut mine, mut theirs) = (Browser::default(), Browser::default());
    let page = mine.get(&app, &request(&[])).await;
    theirs.get(&app, &request(&[])).await;
    // Somebody else's form, put before a person to have them sign in to it.
    let answer = theirs.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    assert_eq!(answer.status, 400);
    assert!(text(&answer).contains("Start again") && !theirs.cookies.contains_key("signet-session"));
    app.pass(std::time::Duration::from_mins(10)).await;
    assert_eq!(mine.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await.status, 400);
    let page = mine.get(&app, &request(&[])).await;
    app.pass(std::time::Duration::from_secs(599)).await;
    assert_eq!(mine.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await.status, 303);
}

#[actix_web::test]
async fn a_session_belongs_to_one_form_of_consent() {
    let app = service().await;
    let email = Email::parse("eve@example.com").unwrap();
    let eve = NewAccount { password: Some(Secret::new(PASSWORD.into())), ..NewAccount::new("Eve", email) };
    app.app.state.services.accounts.register(eve).await.unwrap();
    let mut pages = Vec::new();
    for who in ["ada@example.com", "eve@example.com"] {
        let mut browser = Browser::default();
        let page = browser.get(&app, &request(&[])).await;
        let next = location(&browser.sign_in(&app, &page, (who, PASSWORD)).await);
        pages.push((browser.get(&app, &next).await, browser));
    }
    let (page_of_eve, _) = pages.pop().unwrap();
    let (_, mut browser_of_ada) = pages.pop().unwrap();
    let answer = browser_of_ada.decide(&app, &page_of_eve, "allow").await;
    assert_eq!((answer.status, answer.header("location")), (400, None));
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
    assert_eq!(who(browser.get(&app, &silent).await).as_deref(), Some("consent_required"));
}

#[actix_web::test]
async fn markup_in_any_name_stays_text() {
    const MARKUP: &str = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>&amp;";
    let app = TestApp::start().await;
    let email = Email::parse("ada@example.com").unwrap();
    let ada = NewAccount { password: Some(Secret::new(PASSWORD.into())), ..NewAccount::new(MARKUP, email) };
    app.app.state.services.accounts.register(ada).await.unwrap();
    let link = "https://shop.example.com/?a='<b>\"".replace('"', "%22");
    let hostile = Registration {
        client_name: MARKUP.into(),
        client_uri: WebUri::parse(&link).ok(),
        logo_uri: WebUri::parse(&link).ok(),
        ..shop()
    };
    register(&app, hostile).await;
    let mut browser = Browser::default();
    let harmless = |page: &crate::test_app::Answer| {
        let text = text(page);
        for tag in ["<script>", "<img src=x", "onerror=alert(1)>", "<b>"] {
            assert!(!text.contains(tag), "{tag} in {text}");
        }
        text
    };
    let page = browser.get(&app, &request(&[("login_hint", MARKUP), ("prompt", "select_account")])).await;
    assert!(harmless(&page).contains("&#60;script&#62;"));
    harmless(&browser.sign_in(&app, &page, (MARKUP, MARKUP)).await);
    let page = browser.get(&app, &request(&[("state", MARKUP), ("response_mode", "form_post")])).await;
    let next = location(&browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await);
    let page = browser.get(&app, &next).await;
    assert!(harmless(&page).contains("You are signed in as"));
    harmless(&browser.decide(&app, &page, "allow").await);
    harmless(&browser.get(&app, "/oauth2/logout").await);
    harmless(&browser.get(&app, &request(&[("client_id", MARKUP)])).await);
    harmless(&browser.get(&app, &request(&[("redirect_uri", MARKUP)])).await);
}

#[actix_web::test]
async fn no_header_of_a_request_changes_where_it_leads() {
    let app = service().await;
    let spoofed = [
        ("Host", "evil.example"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/evil"),
        ("Forwarded", "host=evil.example;proto=https"),
        ("X-Original-URL", "/evil"),
        ("Origin", "https://evil.example"),
        ("Referer", "https://evil.example/"),
    ];
    let mut browser = Browser::default();
    browser.allow(&app, &request(&[])).await;
    for header in spoofed {
        let get = TestRequest::get().uri("/oauth2/authorize").insert_header(header);
        assert!(!text(&browser.send(&app, get).await).contains("evil"), "{header:?}");
        let asking = request(&[]);
        let get = TestRequest::get().uri(&asking).insert_header(header);
        assert_eq!(parameter(&browser.send(&app, get).await, "iss").as_deref(), Some(ISSUER), "{header:?}");
        let page = browser.get(&app, &request(&[("prompt", "login")])).await;
        let body = crate::browser::encoded(&[
            ("state", &state(&page)),
            ("username", "ada@example.com"),
            ("password", PASSWORD),
        ]);
        let post = crate::test_app::form("/oauth2/sign-in", &body).insert_header(header);
        let answer = browser.send(&app, post).await;
        assert!(location(&answer).starts_with(&format!("{ISSUER}/")), "{header:?}");
    }
}

#[actix_web::test]
async fn every_page_is_locked_down() {
    let app = service().await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[])).await;
    let wrong = browser.sign_in(&app, &page, ("ada@example.com", "wrong")).await;
    let next = location(&browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await);
    let consent = browser.get(&app, &next).await;
    let error = browser.get(&app, "/oauth2/authorize").await;
    let sign_out = browser.get(&app, "/oauth2/logout").await;
    for page in [page, wrong, consent, error, sign_out] {
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
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

#[actix_web::test]
async fn a_redirect_uri_keeps_its_own_query_and_takes_no_headers() {
    let app = TestApp::start().await;
    ada(&app).await;
    let uri = "https://shop.example.com/callback?tenant=1";
    register(&app, Registration { redirect_uris: vec![RedirectUri::parse(uri).unwrap()], ..shop() }).await;
    let injected = "a\r\nSet-Cookie: stolen=1\r\n\r\n<html>";
    let mut browser = Browser::default();
    let answer = browser.allow(&app, &request(&[("redirect_uri", uri), ("state", injected)])).await;
    assert!(location(&answer).starts_with(&format!("{uri}&code=")));
    assert_eq!(parameter(&answer, "state").as_deref(), Some(injected));
    assert!(!answer.headers.get_all("set-cookie").any(|c| c.to_str().unwrap().contains("stolen")));
}
