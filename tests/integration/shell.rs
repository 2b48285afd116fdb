//! What the tests of the portal and of the console share.

use signet::oauth::Secret;
use signet::users::{Account, Email, NewAccount};

use crate::browser::{Browser, PASSWORD, location, text};
use crate::test_app::{Answer, TestApp};

/// Somebody's account; the name is meant to break out of a page that does not escape it.
pub(crate) async fn account(app: &TestApp, (name, email): (&str, &str), administrator: bool) -> Account {
    let new = NewAccount {
        password: Some(Secret::new(PASSWORD.to_owned())),
        administrator,
        ..NewAccount::new(name, Email::parse(email).expect("an address"))
    };
    app.app.state.services.accounts.register(new).await.expect("an account")
}

/// A browser in which that person is signed in, by way of the page at `path`.
pub(crate) async fn signed_in(app: &TestApp, email: &str, path: &str) -> Browser {
    let mut browser = Browser::default();
    let asked = browser.get(app, path).await;
    let answer = browser.sign_in(app, &asked, (email, PASSWORD)).await;
    assert!(location(&answer).ends_with(path), "one comes back to where one wanted to go: {answer:?}");
    browser
}

/// The page's anti-forgery token.
#[track_caller]
pub(crate) fn form_token(page: &Answer) -> String {
    hidden(page, "form_token")
}

/// A hidden field of the page's first form that has it.
#[track_caller]
pub(crate) fn hidden(page: &Answer, name: &str) -> String {
    let text = text(page);
    let start = format!("name=\"{name}\" value=\"");
    let (_, rest) = text.split_once(&*start).unwrap_or_else(|| panic!("no {name}: {text}"));
    rest.split('"').next().expect("a value").to_owned()
}

/// Sends a form as the page at `path` would, with its token and the version of what it shows.
pub(crate) async fn act(
    browser: &mut Browser,
    app: &TestApp,
    path: &str,
    members: &[(&str, &str)],
) -> Answer {
    let page = browser.get(app, "/account").await;
    let token = form_token(&page);
    let whole = path.starts_with("/console/") && members.contains(&("act", "change"));
    let version = if whole { hidden(&browser.get(app, path).await, "version") } else { String::new() };
    let members = [&[("form_token", &*token), ("version", &*version)], members].concat();
    browser.post(app, path, &members).await
}

/// The page that an act leads to.
pub(crate) async fn done(browser: &mut Browser, app: &TestApp, answer: &Answer) -> Answer {
    let next = location(answer);
    browser.get(app, &next).await
}

/// What the page shows once.
#[track_caller]
pub(crate) fn shown_secrets(page: &Answer) -> Vec<String> {
    let text = text(page);
    let (_, list) = text.split_once("<ul class=\"shown\">").unwrap_or_else(|| panic!("no secret: {text}"));
    let list = list.split("</ul>").next().expect("its end");
    list.split("<code>").skip(1).map(|rest| rest.split('<').next().expect("a value").to_owned()).collect()
}
