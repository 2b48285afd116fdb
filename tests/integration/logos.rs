//! A client's logo on the pages on the way to a code: shown, fetched without a word about who asks, and nothing else let in.

use signet::clients::Registration;
use signet::oauth::WebUri;

use crate::browser::{Browser, PASSWORD, ada, register, request, shop, text};
use crate::test_app::{Answer, TestApp};

const LOGO: &str = "https://cdn.example:8443/shop/logo.png";

async fn service(issuer: &str, logo: &str) -> TestApp {
    let issuer = issuer.to_owned();
    let app = TestApp::start_with(|config| config.issuer = issuer).await;
    ada(&app).await;
    register(&app, Registration { logo_uri: Some(WebUri::parse(logo).unwrap()), ..shop() }).await;
    app
}

/// The sign-in page, the same with a problem, and the consent page.
async fn pages(app: &TestApp) -> [Answer; 3] {
    let mut browser = Browser::default();
    let sign_in = browser.get(app, &request(&[])).await;
    let problem = browser.sign_in(app, &sign_in, ("ada@example.com", "not the password")).await;
    let signed_in = browser.sign_in(app, &problem, ("ada@example.com", PASSWORD)).await;
    assert_eq!(signed_in.status, 303, "{}", text(&signed_in));
    let consent = browser.get(app, &request(&[])).await;
    assert!(text(&consent).contains("name=\"decision\""));
    [sign_in, problem, consent]
}

fn images(page: &Answer) -> String {
    let policy = page.header("content-security-policy").unwrap();
    policy.split("; ").find_map(|part| part.strip_prefix("img-src ")).unwrap().to_owned()
}

#[actix_web::test]
async fn stands_on_every_page_and_its_host_learns_neither_who_nor_where() {
    let app = service("https://id.example.com", LOGO).await;
    for page in pages(&app).await {
        let text = text(&page);
        let tag = text.split("<img").nth(1).and_then(|rest| rest.split('>').next()).unwrap();
        assert!(tag.contains(&format!(" src=\"{LOGO}\"")), "{tag}");
        assert!(tag.contains(" referrerpolicy=\"no-referrer\""), "{tag}");
        assert!(tag.contains(" alt=\"\"") && tag.contains(" data-initial=\"T\""), "{tag}");
        assert_eq!(images(&page), "'self' https://cdn.example:8443", "the origin, and no more");
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("cross-origin-embedder-policy"), Some("credentialless"));
    }
}

#[actix_web::test]
async fn by_plain_http_it_stands_only_on_pages_that_come_so_themselves() {
    let plain = "http://cdn.example/logo.png";
    for (issuer, shown) in [("https://id.example.com", false), ("http://127.0.0.1:8080", true)] {
        let app = service(issuer, plain).await;
        for page in pages(&app).await {
            assert_eq!(text(&page).contains("cdn.example"), shown, "{issuer}");
            assert_eq!(images(&page).contains("cdn.example"), shown, "{issuer}");
            // Otherwise the first letter stands there.
            assert_eq!(text(&page).contains("monogram"), !shown, "{issuer}");
        }
    }
}
