//! Markup stays text on every page, in every name that anybody can choose and in everything that is echoed.

use actix_web::http::Method;
use serde_json::json;
use signet::clients::Registration;
use signet::http::Served;
use signet::oauth::{ClientId, Scope, Secret, WebUri};
use signet::users::{Email, NewAccount};

use crate::browser::{Browser, PASSWORD, encoded, location, register, request, shop, state, text};
use crate::shell::{act, form_token};
use crate::test_app::{Answer, RESOURCE, TestApp, form, part};

/// Breaks out of text, of attributes in either quotes, and out of references.
const MARKUP: &str = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>&amp;";
/// The same as far as a scope token may hold it.
const TOKEN: &str = "<script>alert('x')</script>'><img/src=x/onerror=alert(1)>&amp;";
const ADA: &str = "ada@example.com";

/// Asserts that nothing of it is markup; gives the page, and whether the text is there.
#[track_caller]
fn harmless(page: &Answer) -> bool {
    let text = text(page);
    for tag in ["<script>", "<img src=x", "<img/", "onerror=alert(1)>", "<b>", "\"'>", "alert('x')"] {
        assert!(!text.contains(tag), "{tag} in {text}");
    }
    text.contains("&#60;script&#62;alert(&#39;x&#39;)")
}

/// A service where everything has that name, and its person signed in as an administrator by a browser of that name.
struct World {
    app: TestApp,
    browser: Browser,
    user: String,
    application: String,
    kid: String,
}

impl World {
    async fn start() -> Self {
        let app = TestApp::start_with(|config| {
            config.people.change_email = true;
            config.limits.acts_per_person = 0;
            config.pages.service_name = MARKUP.into();
            config.pages.scope_descriptions = [("read".to_owned(), MARKUP.to_owned())].into();
            config.resources[0].scope = Scope::parse(&format!("read write {TOKEN}")).unwrap();
        })
        .await;
        let ada = NewAccount {
            password: Some(Secret::new(PASSWORD.into())),
            administrator: true,
            ..NewAccount::new(MARKUP, Email::parse(ADA).unwrap())
        };
        let user = app.app.state.services.accounts.register(ada).await.unwrap().id.to_string();
        let link = WebUri::parse("https://shop.example.com/?a='<b>%22").ok();
        assert!(link.is_some());
        let scope = Scope::parse(&format!("openid email offline_access read {TOKEN}")).unwrap();
        let hostile = Registration {
            client_id: Some(ClientId::parse("shop").unwrap()),
            client_name: MARKUP.into(),
            client_uri: link.clone(),
            logo_uri: link.clone(),
            policy_uri: link.clone(),
            tos_uri: link,
            scope,
            ..shop()
        };
        register(&app, hostile).await;
        let mut browser = Browser::default();
        let page = browser.get(&app, "/account").await;
        let members = [("state", &*state(&page)), ("username", ADA), ("password", PASSWORD)];
        let signing_in = form("/oauth2/sign-in", &encoded(&members)).insert_header(("User-Agent", MARKUP));
        assert_eq!(browser.send(&app, signing_in).await.status, 303);
        let key = [("name", MARKUP), ("scope:read", "yes"), (&*format!("scope:{TOKEN}"), "yes")];
        let made = act(&mut browser, &app, "/account/api-keys", &key).await;
        assert_eq!(made.status, 303, "{}", text(&made));
        let application = [
            ("client_name", MARKUP),
            ("redirect_uris", "https://shop.example.com/?a='&b"),
            ("scope:read", "yes"),
        ];
        let made = act(&mut browser, &app, "/account/applications", &application).await;
        let application = location(&made).rsplit('/').next().unwrap().to_owned();
        let kid = part(&app.demo_token().await, 0)["kid"].as_str().unwrap().to_owned();
        Self { app, browser, user, application, kid }
    }

    /// The path of a route of the portal or the console, with what its parameters stand for here.
    fn path(&self, route: &Served) -> String {
        let client = if route.path.starts_with("/account") { &self.application } else { "shop" };
        route.path.replace("{client_id}", client).replace("{id}", &self.user).replace("{kid}", &self.kid)
    }
}

fn of_the_shell(method: &Method) -> impl Iterator<Item = &'static Served> {
    let shell = |route: &&Served| route.path.starts_with("/account") || route.path.starts_with("/console");
    signet::http::served().iter().filter(shell).filter(move |route| route.method == *method)
}

#[actix_web::test]
async fn on_the_way_to_a_code() {
    let World { app, .. } = World::start().await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[("login_hint", MARKUP), ("prompt", "select_account")])).await;
    assert!(harmless(&page));
    assert!(harmless(&browser.sign_in(&app, &page, (MARKUP, MARKUP)).await));
    let scope = format!("openid read {TOKEN}");
    let asking = request(&[("state", MARKUP), ("response_mode", "form_post"), ("scope", &scope)]);
    let page = browser.get(&app, &asking).await;
    let next = location(&browser.sign_in(&app, &page, (ADA, PASSWORD)).await);
    let page = browser.get(&app, &next).await;
    assert!(harmless(&page) && text(&page).contains("You are signed in as"));
    let names = text(&page).matches("&#60;script&#62;").count();
    assert!(names >= 5, "the service's, the client's, the person's and two scopes': {names}");
    assert!(harmless(&browser.decide(&app, &page, "allow").await));
    assert!(harmless(&browser.get(&app, &request(&[("prompt", "select_account")])).await));
    assert!(harmless(&browser.get(&app, "/oauth2/logout").await));
    for wrong in [("client_id", MARKUP), ("redirect_uri", MARKUP)] {
        harmless(&browser.get(&app, &request(&[wrong])).await);
    }
    for wrong in [("scope", MARKUP), ("prompt", MARKUP), ("response_type", MARKUP), ("resource", MARKUP)] {
        harmless(&browser.get(&app, &request(&[wrong, ("response_mode", "form_post")])).await);
    }
}

#[actix_web::test]
async fn on_every_page_of_the_portal_and_the_console() {
    let mut world = World::start().await;
    // A consent, a second session and an audit trail with something in it.
    world.browser.allow(&world.app, &request(&[("scope", &format!("openid read {TOKEN}"))])).await;
    let mut shown = Vec::new();
    for route in of_the_shell(&Method::GET) {
        let path = world.path(route);
        let page = world.browser.get(&world.app, &path).await;
        assert_eq!(page.status, 200, "{path}: {}", text(&page));
        // The service's own name is on every page: it counts only beside another one.
        if harmless(&page) && text(&page).matches("&#60;script&#62;").count() > 3 {
            shown.push(route.path);
        }
    }
    for path in [
        "/account",
        "/account/sessions",
        "/account/consents",
        "/account/api-keys",
        "/account/applications",
        "/account/applications/{client_id}",
        "/console/clients",
        "/console/clients/{client_id}",
        "/console/users",
        "/console/users/{id}",
        "/console/resources",
    ] {
        assert!(shown.contains(&path), "{path} does not show it: {shown:?}");
    }
    for search in ["event", "actor", "subject"] {
        let page =
            world.browser.get(&world.app, &format!("/console/audit?{}", encoded(&[(search, MARKUP)]))).await;
        assert!(harmless(&page) && page.status == 200);
    }
    for query in
        [("algorithm", MARKUP), ("force", MARKUP), ("after", MARKUP), ("before", MARKUP), ("offset", MARKUP)]
    {
        for path in ["/console/keys/rotate", "/console/clients", "/console/users", "/console/audit"] {
            harmless(&world.browser.get(&world.app, &format!("{path}?{}", encoded(&[query]))).await);
        }
    }
}

#[actix_web::test]
async fn in_whatever_a_form_repeats() {
    let mut world = World::start().await;
    // Every field of every form of the portal and the console.
    let fields = [
        "name",
        "client_name",
        "redirect_uris",
        "post_logout_redirect_uris",
        "allowed_origins",
        "scope",
        "default_scope",
        "resource",
        "client_uri",
        "logo_uri",
        "policy_uri",
        "tos_uri",
        "client_id",
        "sub",
        "sid",
        "reason",
        "days",
        "code",
        "algorithm",
        "plan",
        "enrollment",
        "username",
        "current_password",
        "new_password",
    ];
    let mut repeated = 0;
    for route in of_the_shell(&Method::POST) {
        let path = world.path(route);
        for act in ["", "change", "confirm", "revoke", MARKUP] {
            let token = form_token(&world.browser.get(&world.app, "/account").await);
            let mut members = vec![("form_token", &*token), ("act", act)];
            members.extend(fields.map(|field| (field, MARKUP)));
            let answer = world.browser.post(&world.app, &path, &members).await;
            assert!(matches!(answer.status, 303 | 400 | 404 | 409 | 429), "{path} {act}: {}", answer.status);
            // The service's name alone is there three times.
            repeated +=
                usize::from(harmless(&answer) && text(&answer).matches("&#60;script&#62;").count() > 3);
        }
    }
    assert!(repeated >= 5, "{repeated}");
}

#[actix_web::test]
async fn a_logo_adds_its_host_to_the_policy_and_nothing_else() {
    for host in
        ["a.example;sandbox", "a.example,x", "a'unsafe-inline'", "*", "a*b.example", "a.example;script-src"]
    {
        assert!(WebUri::parse(&format!("https://{host}/logo.png")).is_err(), "{host}");
    }
    let app = TestApp::start().await;
    let body = json!({ "client_name": "S", "scope": "read", "resources": [RESOURCE], "logo_uri": "https://a.example;sandbox/logo.png" });
    app.administer(Method::POST, "/admin/clients", Some(body)).await.refused(400, "invalid_request");
    let body = json!({ "client_name": "S", "scope": "read", "resources": [RESOURCE], "logo_uri": "https://cdn.example:8443/;,'*.png" });
    assert_eq!(app.administer(Method::POST, "/admin/clients", Some(body)).await.status, 201);
}

/// An engine that does not escape would need a filter that says so.
#[test]
fn no_template_turns_escaping_off() {
    let mut templates = 0;
    let mut directories = vec![std::path::PathBuf::from("src/http/pages/templates")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(
                path.extension().is_some_and(|extension| extension == "html"),
                "{path:?} would not be escaped"
            );
            for word in ["|safe", "| safe", "{% autoescape", "<style", "onclick", "javascript:", "style=\""] {
                assert!(!text.contains(word), "{word} in {path:?}");
            }
            templates += 1;
        }
    }
    assert!(templates >= 20, "{templates}");
}
