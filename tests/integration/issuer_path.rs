//! An issuer whose URL has a path: whatever is served is served below it, as the metadata name it, and without it, as a
//! proxy asks that takes the path away.

use std::collections::BTreeSet;

use actix_web::test::TestRequest;
use serde_json::{Value, json};
use signet::config::{self, Sources};

use crate::browser::{Browser, PASSWORD, location, text};
use crate::shell::{account, hidden};
use crate::test_app::{TestApp, basic, bearer, form, part};

const ORIGIN: &str = "http://127.0.0.1:8080";
const PATHS: [&str; 3] = ["/tenant", "/auth", "/a/b.c"];

async fn app_at(path: &str) -> TestApp {
    TestApp::start_with(|config| config.issuer = format!("{ORIGIN}{path}")).await
}

#[actix_web::test]
async fn whatever_the_metadata_name_is_served_where_they_say() {
    for path in ["", "/tenant", "/auth", "/a/b.c"] {
        let app = app_at(path).await;
        let well_known = format!("/.well-known/oauth-authorization-server{path}");
        let metadata = app.send(TestRequest::get().uri(&well_known)).await;
        // OpenID Connect Discovery 1.0, section 4, puts it behind the path.
        for other in [path, ""].map(|start| format!("{start}/.well-known/openid-configuration")) {
            assert_eq!(app.send(TestRequest::get().uri(&other)).await.body, metadata.body, "{other}");
        }
        let metadata = metadata.json();
        let members = metadata.as_object().expect("an object").iter();
        let mut named = 0;
        for (name, value) in members
            .filter(|(name, _)| *name == "issuer" || name.ends_with("_endpoint") || name.ends_with("_uri"))
        {
            let whole = value.as_str().and_then(|url| url.strip_prefix(ORIGIN)).expect("our own URL");
            let below = whole.strip_prefix(path).expect("below the issuer");
            for at in [whole, below] {
                let answer = app.send(TestRequest::get().uri(if at.is_empty() { "/" } else { at })).await;
                assert_ne!(answer.status, 404, "{name}: {at}");
            }
            named += 1;
        }
        assert_eq!(named, 9, "{metadata}");
        assert_eq!(app.send(TestRequest::get().uri(&format!("{path}/oauth2"))).await.status, 404);
    }
}

#[actix_web::test]
async fn tokens_are_issued_introspected_and_administer_below_the_path() {
    for path in PATHS {
        for start in [path, ""] {
            let app = app_at(path).await;
            let demo = app.demo();
            let asked = |to: &str, body: &str| form(&format!("{start}{to}"), body);
            let grant = "grant_type=client_credentials";
            let token =
                app.send(asked("/oauth2/token", grant).insert_header(basic(demo))).await.access_token();
            assert_eq!(part(&token, 1)["iss"], format!("{ORIGIN}{path}"));
            let list = part(&token, 1)["status"]["status_list"]["uri"].clone();
            let list =
                list.as_str().and_then(|uri| uri.strip_prefix(ORIGIN)).expect("our own URL").to_owned();
            assert_eq!(app.send(TestRequest::get().uri(&list)).await.status, 200, "{list}");
            let body = format!("token={token}");
            let shown = app.send(asked("/oauth2/introspect", &body).insert_header(basic(demo))).await;
            assert_eq!(shown.json()["active"], true);
            let admin = app
                .send(asked("/oauth2/token", grant).insert_header(basic(app.admin())))
                .await
                .access_token();
            let at = |path: &str| TestRequest::with_uri(&format!("{start}{path}"));
            assert_eq!(app.send(at("/admin/keys").insert_header(bearer(&admin))).await.status, 200);
            // What guards it guards it here too.
            for guarded in ["/admin/keys", "/admin/nothing", "/users", "/users/a/b"] {
                assert_eq!(app.send(at(guarded)).await.status, 401, "{start}{guarded}");
            }
            assert_eq!(app.send(at("/admin/keys").insert_header(bearer(&token))).await.status, 401);
            let shape = app.send(at("/auth/token/nothing")).await.json();
            assert!(shape["message"].is_string(), "as the document has it: {shape}");
            keeps_accounts(&app, start, &admin).await;
        }
    }
}

/// The accounts of the older document, whose answers say where one is.
async fn keeps_accounts(app: &TestApp, start: &str, admin: &str) {
    let issuer = &app.app.state.services.issuer;
    let path = issuer.strip_prefix(ORIGIN).expect("ours");
    let client = json!({
        "client_name": "Directory", "scope": "users:read users:write", "resources": [format!("{issuer}/users")],
    });
    let registered = TestRequest::post().uri(&format!("{start}/admin/clients")).insert_header(bearer(admin));
    let client: Value = app.send(registered.set_json(client)).await.json();
    let keeper =
        (client["client_id"].as_str().expect("an id"), client["client_secret"].as_str().expect("one"));
    let asked = form(&format!("{start}/oauth2/token"), "grant_type=client_credentials");
    let token = app.send(asked.insert_header(basic(keeper))).await.access_token();
    let new = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD });
    let made = TestRequest::post().uri(&format!("{start}/v1/users")).insert_header(bearer(&token));
    let made = app.send(made.set_json(new)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let place = made.header("location").expect("a location");
    // At `/v1` what is asked for without the path reads like the accounts' other name below it: those are the same accounts.
    let is_twin = path == "/v1" && place.starts_with("/v1/users/user_");
    assert!(place.starts_with(&format!("{path}/v1/users/user_")) || is_twin, "{place}");
    for place in [place, place.strip_prefix(path).expect("below the path")] {
        let found = app.send(TestRequest::get().uri(place).insert_header(bearer(&token))).await;
        assert_eq!(found.status, 200, "{place}");
    }
}

/// Where the page leads and what it loads, as far as that is ours.
fn links(page: &str) -> BTreeSet<String> {
    let values = ["href=\"", "src=\"", "action=\""].into_iter().flat_map(|start| page.split(start).skip(1));
    let values = values.filter_map(|rest| rest.split('"').next());
    values
        .filter_map(|link| link.strip_prefix(ORIGIN).or(link.starts_with('/').then_some(link)))
        .map(str::to_owned)
        .collect()
}

#[actix_web::test]
async fn pages_lead_to_pages_below_the_path() {
    for path in PATHS {
        for start in [path, ""] {
            let app = app_at(path).await;
            account(&app, ("Root", "root@example.com"), true).await;
            let mut root = Browser::default();
            // What a proxy has taken away, the browser's next request has again.
            let proxied = |url: &str| {
                let below =
                    url.strip_prefix(ORIGIN).unwrap_or(url).strip_prefix(path).expect("below the issuer");
                format!("{start}{below}")
            };
            let asked = root.get(&app, &format!("{start}/console/keys?x=1")).await;
            let members = [
                ("state", &*hidden(&asked, "state")),
                ("username", "root@example.com"),
                ("password", PASSWORD),
            ];
            let action =
                links(&text(&asked)).into_iter().find(|link| link.ends_with("/sign-in")).expect("a form");
            let signed_in = root.post(&app, &proxied(&action), &members).await;
            assert_eq!(location(&signed_in), format!("{ORIGIN}{path}/console/keys?x=1"));
            let mut waiting = vec![location(&signed_in), format!("{ORIGIN}{path}/account")];
            let mut seen = BTreeSet::new();
            while let Some(next) = waiting.pop() {
                if !seen.insert(next.clone()) {
                    continue;
                }
                let page = root.get(&app, &proxied(&next)).await;
                assert!(matches!(page.status, 200 | 303 | 405), "{next}: {page:?}");
                let found = if page.status == 303 {
                    BTreeSet::from([location(&page)])
                } else {
                    links(&String::from_utf8_lossy(&page.body))
                };
                waiting.extend(found);
            }
            assert!(seen.len() > 20, "{seen:?}");
            // A form that was sent too late leads back to its page.
            let late = Browser::default().post(&app, &format!("{start}/account/password"), &[]).await;
            assert_eq!(location(&late), format!("{ORIGIN}{path}/account/password"));
        }
    }
}

fn is_taken(base: &str) -> bool {
    let env = vec![("SIGNET_ISSUER".to_owned(), format!("{ORIGIN}{base}"))];
    config::load(&Sources { env, ..Sources::default() }).is_ok()
}

/// A path of the table that reads like another one below an issuer's path would be the wrong one for a proxy that takes the
/// path away. Such issuers are refused; no other path may come to that, and no other is refused.
#[test]
fn no_issuer_is_taken_whose_paths_could_be_mistaken() {
    let paths: Vec<Vec<&str>> =
        signet::http::served().iter().map(|each| each.path[1..].split('/').collect()).collect();
    let fits = |pattern: &[&str], path: &[&str]| {
        let same =
            |(part, other): (&&str, &&str)| part == other || part.starts_with('{') || other.starts_with('{');
        pattern.len() == path.len() && pattern.iter().zip(path).all(same)
    };
    // The two names of the same accounts: whichever is meant, the same is done.
    let is_twin = |path: &[&str], other: &[&str]| path.strip_prefix(&["v1"]) == Some(other);
    let mut mistaken = BTreeSet::new();
    for path in paths.iter().filter(|path| !path[0].is_empty()) {
        for base in (1..path.len()).map(|length| &path[..length]) {
            let ambiguous = paths.iter().any(|other| {
                fits(path, &[base, other].concat()) && !(base == ["v1"] && is_twin(path, other))
            });
            let base = format!("/{}", base.join("/").replace(['{', '}'], ""));
            assert!(!ambiguous || !is_taken(&base), "an issuer at {base}: {path:?}");
            mistaken.extend(ambiguous.then_some(base));
        }
        // Without more the issuer is the front page.
        let whole = format!("/{}", path.join("/"));
        if ["/users", "/v1/users", "/account", "/console", "/status"].contains(&&*whole) {
            mistaken.insert(whole);
        }
    }
    for refused in ["/account", "/admin", "/assets", "/console", "/status", "/users", "/v1/users"] {
        assert!(mistaken.contains(refused), "{refused} is refused for nothing: {mistaken:?}");
        assert!(!is_taken(refused) && !is_taken(&format!("{refused}/x")), "{refused}");
        assert!(is_taken(&format!("{refused}x")), "{refused}x");
    }
    for fine in ["/v1", "/v1/tenant", "/v2", "/api", "/api/v1", "/oauth2", "/user", "/tenant/admin"] {
        assert!(is_taken(fine), "{fine}");
    }
}

/// Every route of the table, with and without the issuer's path: both are the same route, and neither is missing.
#[actix_web::test]
async fn every_route_is_served_in_both_forms() {
    for base in ["/tenant", "/a/b.c", "/v1"] {
        let app = TestApp::start_with(|config| {
            config.issuer = format!("{ORIGIN}{base}");
            (config.dialects.apps, config.dialects.oauth_token_get) = (true, true);
        })
        .await;
        let token = app.admin_token().await;
        for route in signet::http::served() {
            // It names the issuer's path by itself.
            if route.path.ends_with("/{path}") {
                continue;
            }
            let path = route.path.replace("{name}", "x").replace("{client_id}", "x").replace("{kid}", "x");
            let path = path.replace("{id}", "x");
            let mut answers = Vec::new();
            for start in [base, ""] {
                let request =
                    || TestRequest::with_uri(&format!("{start}{path}")).method(route.method.clone());
                let anonymous = app.send(request()).await;
                // What would act does nothing: it is given a parameter that it does not take.
                let asked = match route.scope {
                    Some(_) => TestRequest::with_uri(&format!("{start}{path}?x=1")),
                    None => TestRequest::with_uri(&format!("{start}{path}")),
                };
                let asked = asked.method(route.method.clone()).insert_header(bearer(&token));
                let administrator = app.send(asked).await;
                // Of what these have, nothing is called that.
                let has_no_x = ["/assets/x", "/status/x"].contains(&&*path);
                for answer in [&anonymous, &administrator] {
                    assert_ne!(answer.status, 405, "{base}: {} {path}", route.method);
                    let text = String::from_utf8_lossy(&answer.body);
                    assert!(
                        has_no_x || !text.contains("there is nothing here"),
                        "{base}: {} {start}{path}",
                        route.method
                    );
                }
                answers.push((anonymous.status, administrator.status));
            }
            assert_eq!(answers[0], answers[1], "{base}: {} {path}", route.method);
            if route.scope.is_some() {
                assert_eq!(answers[0], (401, 400), "{base}: {} {path}", route.method);
            }
        }
    }
}

/// A proxy that takes the issuer's path away, and one that leaves it: an account is found where its answer says.
#[actix_web::test]
async fn an_issuer_at_v1_keeps_accounts_with_and_without_its_path() {
    for start in ["/v1", ""] {
        let app = app_at("/v1").await;
        let admin = app.admin_token().await;
        keeps_accounts(&app, start, &admin).await;
    }
}
