//! Addresses that nobody should have opened: people get a page, programs what they understand.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::Value;

use crate::browser::{Browser, ada, text};
use crate::test_app::{Answer, TestApp};

/// As browsers ask for what is typed into the address bar.
const BROWSERS: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

const FORMS: [&str; 4] = ["/oauth2/sign-in", "/oauth2/consent", "/oauth2/second-factor", "/oauth2/sign-out"];

fn is_page(answer: &Answer) -> bool {
    answer.header("content-type") == Some("text/html; charset=utf-8")
}

#[actix_web::test]
async fn what_a_form_leads_to_is_opened_by_its_address() {
    let app = TestApp::start().await;
    ada(&app).await;
    for path in FORMS {
        for method in [Method::GET, Method::HEAD] {
            let request = TestRequest::with_uri(path).method(method).insert_header(("Accept", BROWSERS));
            let answer = app.send(request).await;
            assert_eq!((answer.status, answer.header("allow"), is_page(&answer)), (405, Some("POST"), true));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert!(answer.header("content-security-policy").is_some());
        }
        // However it is asked: nobody but a browser has a reason to.
        let answer = Browser::default().get(&app, path).await;
        let page = text(&answer);
        assert!(
            page.contains("start again at the application") && page.contains("href=\"/account\""),
            "{page}"
        );
        let other = app.send(TestRequest::with_uri(path).method(Method::PUT)).await;
        assert_eq!((other.status, other.header("allow"), is_page(&other)), (405, Some("POST"), false));
    }
    // Elsewhere GET is a program's mistake.
    let token = app.send(TestRequest::get().uri("/oauth2/token").insert_header(("Accept", BROWSERS))).await;
    assert_eq!((token.status, is_page(&token)), (405, false));
}

#[actix_web::test]
async fn the_links_lead_below_the_issuers_path() {
    let app = TestApp::start_with(|config| config.issuer = "http://127.0.0.1:8080/id".into()).await;
    for path in ["/id/oauth2/sign-in", "/oauth2/sign-in", "/id/nothing", "/nothing"] {
        let answer = app.send(TestRequest::get().uri(path).insert_header(("Accept", BROWSERS))).await;
        assert!(is_page(&answer) && text(&answer).contains("href=\"/id/account\""), "{path}");
    }
}

#[actix_web::test]
async fn what_is_not_there_is_a_page_for_those_who_prefer_one() {
    let app = TestApp::start().await;
    let ask = async |path: &str, accept: Option<&str>| {
        let request = TestRequest::get().uri(path);
        app.send(match accept {
            Some(accept) => request.insert_header(("Accept", accept)),
            None => request,
        })
        .await
    };
    for (accept, page) in [
        (Some(BROWSERS), true),
        (Some("text/html"), true),
        (Some("application/json;q=0.5, text/html;q=0.6"), true),
        (Some("TEXT/HTML; charset=utf-8"), true),
        (None, false),
        (Some(""), false),
        (Some("*/*"), false),
        (Some("text/*"), false),
        (Some("application/json"), false),
        (Some("application/json, text/html"), false),
        (Some("text/html;q=0"), false),
        (Some("text/html;q=0.1, application/json;q=0.2"), false),
        (Some("text/html;q=x"), false),
    ] {
        let answer = ask("/nothing", accept).await;
        assert_eq!((answer.status, is_page(&answer)), (404, page), "{accept:?}");
        if page {
            assert!(text(&answer).contains("There is nothing here"));
            assert!(!text(&answer).contains("/nothing"), "nothing of the request is repeated");
        } else {
            answer.refused(404, "not_found");
        }
    }
    // What a document describes has its own words, whoever asks.
    for path in ["/auth/token/", "/users/", "/v1/users/user_abc123/keys"] {
        let answer = ask(path, Some(BROWSERS)).await;
        let Value::Object(members) = answer.json() else { panic!("{answer:?}") };
        assert_eq!(members.keys().collect::<Vec<_>>(), ["error", "message"]);
    }
    let managed = TestRequest::get().uri("/nothing").insert_header(("Accept", BROWSERS));
    app.send_to_management(managed).await.refused(404, "not_found");
}
