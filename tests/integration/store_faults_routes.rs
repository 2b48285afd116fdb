//! Which flows let every call of the store fail (`House::hold`) at which route: a route that may write is in the list, with its flows
//! or with the reason why it has none.

use std::collections::BTreeSet;
use std::fs;

use signet::http::served;

use crate::grants_fixture::World;

/// What holds a route to its promise.
enum Held {
    /// Flows by what their names begin with.
    By(&'static [&'static str]),
    /// None, because of this.
    No(&'static str),
}
use Held::{By, No};

const SHAPE: Held = No("another shape of the one below /oauth2, which does the same");
const V1: Held = No("the same handler as without /v1");

/// By method and path. What one of the pages does by several acts has a flow each.
const ROUTES: [(&str, &str, Held); 56] = [
    (
        "POST",
        "/oauth2/token",
        By(&["redeem a code", "refresh", "a spent code comes again", "exchange an API key for a token"]),
    ),
    ("POST", "/oauth/token", SHAPE),
    ("POST", "/auth/token", SHAPE),
    ("POST", "/api/token.php", SHAPE),
    ("POST", "/oauth2/revoke", By(&["revoke a family", "revoke an access token"])),
    ("POST", "/oauth/revoke", SHAPE),
    ("GET", "/oauth2/authorize", By(&["authorize: a code is issued"])),
    ("POST", "/oauth2/authorize", No("reads its form as GET reads a query")),
    ("POST", "/oauth/authorize", SHAPE),
    ("POST", "/api/authorize.php", SHAPE),
    ("POST", "/oauth2/sign-in", By(&["sign in", "sign in by a password that is hashed anew"])),
    ("POST", "/oauth2/second-factor", By(&["sign in by a code of an app", "sign in by a recovery code"])),
    ("POST", "/oauth2/consent", By(&["consent: a code is issued", "consent: a no"])),
    ("GET", "/oauth2/logout", By(&["sign out by a hint"])),
    ("POST", "/oauth2/logout", No("sends the browser to GET, and asks the store for nothing")),
    ("POST", "/oauth2/sign-out", By(&["sign out"])),
    ("POST", "/account", By(&["change one's profile"])),
    ("POST", "/account/email", By(&["change one's e-mail address"])),
    ("POST", "/account/password", By(&["change one's password"])),
    (
        "POST",
        "/account/second-factor",
        By(&[
            "begin with a second factor",
            "set up a second factor",
            "renew one's recovery codes",
            "remove one's second factor",
        ]),
    ),
    ("POST", "/account/sessions", By(&["end one session of one's own", "end one's other sessions"])),
    ("POST", "/account/consents", By(&["withdraw a consent"])),
    ("POST", "/account/api-keys", By(&["make an API key for oneself", "revoke an API key of one's own"])),
    ("POST", "/account/applications", By(&["register an application of one's own"])),
    (
        "POST",
        "/account/applications/{client_id}",
        By(&[
            "change an application of one's own",
            "rotate the secret of an application of one's own",
            "delete an application of one's own",
        ]),
    ),
    ("POST", "/console/keys/rotate", By(&["console: rotate the keys"])),
    ("POST", "/console/keys/{kid}/compromise", By(&["console: declare a key compromised"])),
    ("POST", "/console/new-client", By(&["console: register a client"])),
    ("POST", "/console/clients/{client_id}", By(&["console: rotate a client's secret"])),
    ("POST", "/console/new-user", By(&["console: make an account"])),
    ("POST", "/console/users/{id}", By(&["console: disable an account"])),
    ("POST", "/console/revocations", By(&["console: revoke a token"])),
    ("POST", "/oauth2/userinfo", By(&["userinfo"])),
    ("POST", "/oauth2/introspect", By(&["introspect a refresh token"])),
    ("POST", "/users", By(&["/users: make an account"])),
    ("PUT", "/users/{id}", By(&["/users: change an account"])),
    ("DELETE", "/users/{id}", By(&["/users: delete an account"])),
    ("POST", "/v1/users", V1),
    ("PUT", "/v1/users/{id}", V1),
    ("DELETE", "/v1/users/{id}", V1),
    ("POST", "/api/v1/apps", By(&["/api/v1/apps: register"])),
    ("POST", "/admin/keys/rotate", By(&["rotate the keys"])),
    ("POST", "/admin/keys/import", By(&["import a key"])),
    ("POST", "/admin/keys/{kid}/compromise", By(&["declare a key compromised"])),
    ("POST", "/admin/clients", By(&["register a client"])),
    ("PATCH", "/admin/clients/{client_id}", By(&["change a client"])),
    ("DELETE", "/admin/clients/{client_id}", By(&["delete a client"])),
    ("POST", "/admin/clients/{client_id}/secret", By(&["rotate a client's secret"])),
    ("POST", "/admin/users", By(&["make an account"])),
    ("PATCH", "/admin/users/{id}", By(&["set a password", "change an e-mail address", "disable an account"])),
    ("DELETE", "/admin/users/{id}", By(&["delete an account with all it has"])),
    ("DELETE", "/admin/users/{id}/second-factor", By(&["remove somebody's second factor"])),
    ("POST", "/admin/api-keys", By(&["make an API key"])),
    ("DELETE", "/admin/api-keys/{id}", By(&["revoke an API key"])),
    ("POST", "/admin/backup", By(&["copy a running service"])),
    ("POST", "/admin/revocations", By(&["revoke by "])),
];

/// The routes that the flow `name` is said to hold.
fn held_by(name: &str) -> impl Iterator<Item = &'static str> {
    let begins = move |flow: &&str| if flow.ends_with(' ') { name.starts_with(flow) } else { name == *flow };
    let held = move |held: &Held| matches!(held, By(flows) if flows.iter().any(begins));
    ROUTES.iter().filter(move |(.., by)| held(by)).map(|(_, path, _)| *path)
}

/// How many requests of the route were answered.
async fn answered(world: &World, path: &str) -> u64 {
    let metrics = String::from_utf8(world.app.manage("/metrics").await.body).unwrap();
    let route = format!("route=\"{path}\"");
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("signet_http_requests_total{") && line.contains(&route));
    counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

/// Asserts that what the flow `name` does asks the routes that it is said to hold.
pub(crate) async fn asks_what_it_holds(name: &str, world: &World, act: impl Future) {
    let mut before = Vec::new();
    for path in held_by(name) {
        before.push((path, answered(world, path).await));
    }
    act.await;
    for (path, count) in before {
        assert!(answered(world, path).await > count, "{name} does not ask {path}");
    }
}

#[test]
fn every_route_that_may_write_has_a_flow_or_a_reason() {
    let listed: BTreeSet<_> = ROUTES.iter().map(|(method, path, _)| (*method, *path)).collect();
    assert_eq!(listed.len(), ROUTES.len(), "one of them is there twice");
    let served: BTreeSet<_> = served().iter().map(|route| (route.method.as_str(), route.path)).collect();
    let writing: BTreeSet<_> = served.iter().filter(|(method, _)| *method != "GET").copied().collect();
    let missing: Vec<_> = writing.difference(&listed).collect();
    assert!(missing.is_empty(), "no flow lets the store fail at {missing:?}");
    let gone: Vec<_> = listed.difference(&served).collect();
    assert!(gone.is_empty(), "{gone:?} are not served");
}

/// What each flow is said to ask, `House::hold` looks at when it runs; that it runs, this.
#[test]
fn every_flow_that_a_route_names_is_there() {
    let mut tests = String::new();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name.starts_with("store_faults") && name != "store_faults_routes" {
            tests.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    for (method, path, held) in &ROUTES {
        match held {
            By(flows) => {
                for flow in *flows {
                    let end = if flow.ends_with(' ') { "" } else { "\"" };
                    assert!(
                        tests.contains(&format!("\"{flow}{end}")),
                        "{method} {path}: no flow is called {flow}"
                    );
                }
            }
            No(reason) => assert!(!reason.is_empty()),
        }
    }
}
