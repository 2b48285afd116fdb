//! Which flows let every call of the store fail (`House::hold`) at which route: a route that may write is in the list, with its flows
//! or with the reason why it has none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use signet::http::served;

use crate::grants_fixture::World;
use crate::test_app::Wrote;

/// What holds a route to its promise.
enum Held {
    /// Flows by what their names begin with.
    By(&'static [&'static str]),
    /// The acts that a page's forms order there, each with its flow.
    Acts(&'static [(&'static str, &'static str)]),
    /// None, because of this.
    No(&'static str),
}
use Held::{Acts, By, No};

impl Held {
    fn flows(&self) -> Vec<&'static str> {
        match self {
            By(flows) => flows.to_vec(),
            Acts(acts) => acts.iter().map(|(_, flow)| *flow).collect(),
            No(_) => Vec::new(),
        }
    }
}

const SHAPE: Held = No("another shape of the one below /oauth2, which does the same");
const V1: Held = No("the same handler as without /v1");

/// By method and path.
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
    (
        "GET",
        "/oauth2/authorize",
        By(&["authorize: a code is issued", "authorize: a code is issued, seen two minutes ago"]),
    ),
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
        Acts(&[
            ("enroll", "begin with a second factor"),
            ("confirm", "set up a second factor"),
            ("new_recovery_codes", "renew one's recovery codes"),
            ("remove", "remove one's second factor"),
        ]),
    ),
    (
        "POST",
        "/account/sessions",
        Acts(&[("end", "end one session of one's own"), ("end_others", "end one's other sessions")]),
    ),
    ("POST", "/account/consents", By(&["withdraw a consent"])),
    ("POST", "/account/api-keys", By(&["make an API key for oneself", "revoke an API key of one's own"])),
    ("POST", "/account/applications", By(&["register an application of one's own"])),
    (
        "POST",
        "/account/applications/{client_id}",
        Acts(&[
            ("change", "change an application of one's own"),
            ("rotate_secret", "rotate the secret of an application of one's own"),
            ("delete", "delete an application of one's own"),
        ]),
    ),
    ("POST", "/console/keys/rotate", By(&["console: rotate the keys"])),
    ("POST", "/console/keys/{kid}/compromise", By(&["console: declare a key compromised"])),
    ("POST", "/console/new-client", By(&["console: register a client"])),
    (
        "POST",
        "/console/clients/{client_id}",
        Acts(&[
            ("change", "console: change a client"),
            ("rotate_secret", "console: rotate a client's secret"),
            ("delete", "console: delete a client"),
        ]),
    ),
    ("POST", "/console/new-user", By(&["console: make an account"])),
    (
        "POST",
        "/console/users/{id}",
        Acts(&[
            ("change", "console: change an account"),
            ("disable", "console: disable an account"),
            ("enable", "console: enable an account"),
            ("set_password", "console: set a password"),
            ("remove_second_factor", "console: remove a second factor"),
            ("delete", "console: delete an account"),
        ]),
    ),
    (
        "POST",
        "/console/revocations",
        Acts(&[
            ("client", "console: revoke all of a client"),
            ("subject", "console: revoke all of a subject"),
            ("token", "console: revoke a token"),
        ]),
    ),
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
    let held = move |held: &Held| held.flows().iter().any(begins);
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

/// What is written down of whoever is known, whatever they ask for: that their session or their API key was used. The one has a flow
/// at the authorization endpoint, the other one that no route names ("count a request with an API key").
const OF_ANYBODY: [&str; 4] = ["sessions", "user_sessions", "api_keys", "api_key_requests"];

/// Asserts that a GET wrote nothing, unless it is listed: every test looks that asks a service on a store which can fail.
pub(crate) fn reading_writes_as_listed(path: &str, written: &BTreeSet<(&'static str, Wrote)>) {
    let listed = ROUTES.iter().any(|(method, route, _)| (*method, *route) == ("GET", path));
    let more =
        written.iter().filter(|(table, wrote)| !OF_ANYBODY.contains(table) || *wrote == Wrote::Deleted);
    let more: Vec<_> = more.collect();
    assert!(
        listed || more.is_empty(),
        "GET {path} writes to {more:?}, and no flow lets the store fail at it"
    );
}

/// A file below `src/http`, if there is one.
fn source(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http").join(path)).ok()
}

/// The code of the page that a POST to `path` is answered by, and its handler; none where it is no page.
fn page(path: &str) -> Option<(String, String)> {
    let table = source("routes.rs").unwrap();
    let (_, route) = table.split_once(&format!("post(\"{path}\",")).expect("a route");
    let handler = route.split_once(".to(").and_then(|(_, rest)| rest.split(')').next()).expect("a handler");
    let (module, function) = handler.trim_start_matches("pages::").rsplit_once("::").expect("a module");
    let code = source(&format!("pages/{}.rs", module.replace("::", "/")))?;
    let (_, body) = code.split_once(&format!("fn {function}(")).expect("the handler");
    let body = body.split("\n}\n").next().expect("its end").to_owned();
    Some((code, body))
}

/// What a handler compares the field `act` with; where it asks for none, which requests the page makes out of what was entered.
fn acts(code: &str, handler: &str) -> BTreeSet<String> {
    const FIELD: &str = ".one(\"act\")";
    const MADE: &str = "RevocationRequest::";
    if !handler.contains(FIELD) {
        let name = |rest: &str| rest.split(|c: char| !c.is_ascii_lowercase()).next().map(str::to_owned);
        return code.split(MADE).skip(1).filter_map(name).collect();
    }
    // What is shown is a sentence.
    let is_word = |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let mut acts = BTreeSet::new();
    for (at, some) in handler.match_indices("Some(") {
        let compared = handler[..at].trim_end().strip_suffix("==").map(str::trim_end);
        let literals = handler[at + some.len()..].split(')').next().expect("its end");
        if compared.is_none_or(|field| field.ends_with(FIELD)) {
            acts.extend(literals.split('"').skip(1).step_by(2).filter(is_word).map(str::to_owned));
        }
    }
    acts
}

#[test]
fn every_act_of_a_page_has_a_flow() {
    for route in served().iter().filter(|route| route.method == "POST") {
        let Some((code, handler)) = page(route.path) else { continue };
        let mut held = BTreeSet::new();
        for (_, _, by) in ROUTES.iter().filter(|(method, path, _)| (*method, *path) == ("POST", route.path)) {
            if let Acts(listed) = by {
                held.extend(listed.iter().map(|(act, _)| (*act).to_owned()));
                let flows: BTreeSet<_> = by.flows().into_iter().collect();
                assert_eq!(flows.len(), listed.len(), "{}: one flow for two acts", route.path);
            }
        }
        assert_eq!(held, acts(&code, &handler), "{}: acts with a flow, and acts that are taken", route.path);
    }
}

#[test]
fn an_act_is_seen_however_it_is_compared() {
    let handler = "match form.one(\"act\") { Some(\"a\") if form.one(\"confirm\") == Some(\"yes\") => 1,
        Some(\n\"b\"\n| \"c\"\n) => 2, (Some(\"d\"), Some(sid)) => 3, _ => page(Some(\"No.\")) } || form.one(\"act\") == Some(\"e\")";
    assert_eq!(acts("", handler), ["a", "b", "c", "d", "e"].map(str::to_owned).into());
    let made = acts("match x { RevocationRequest::all(1), RevocationRequest::one }", "");
    assert_eq!(made, ["all", "one"].map(str::to_owned).into());
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
        for flow in held.flows() {
            let end = if flow.ends_with(' ') { "" } else { "\"" };
            assert!(tests.contains(&format!("\"{flow}{end}")), "{method} {path}: no flow is called {flow}");
        }
        assert!(!matches!(held, No("")), "{method} {path}: no flow and no reason");
    }
}
