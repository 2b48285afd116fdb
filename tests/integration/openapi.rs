//! `openapi.yaml` is true and complete: it lists what is served, and its examples fit its own schemas.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that panics says where")]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::contract::{Contract, Operation, members};

static CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::load);

/// The scope of the admin API that an operation asks for.
fn admin_scope(operation: &Operation<'_>) -> Option<String> {
    operation.definition["security"][0]["admin"][0].as_str().map(str::to_owned)
}

#[test]
fn it_lists_what_is_served_and_nothing_else() {
    let served: BTreeSet<_> = signet::http::served()
        .iter()
        .map(|route| (route.method.to_string(), route.path.to_owned(), route.scope.map(str::to_owned)))
        .collect();
    let contract = &*CONTRACT;
    let (managed, public): (Vec<_>, Vec<_>) = contract
        .operations()
        .partition(|operation| contract.document()["paths"][operation.path].get("servers").is_some());
    let documented: BTreeSet<_> = public
        .iter()
        .map(|operation| (operation.method.clone(), operation.path.to_owned(), admin_scope(operation)))
        .collect();
    assert!(!served.is_empty());
    let managed: BTreeSet<_> = managed.iter().map(|each| (each.method.as_str(), each.path)).collect();
    assert_eq!(managed, signet::http::managed().map(|path| ("GET", path)).collect());
    assert_eq!(documented.difference(&served).collect::<Vec<_>>(), [] as [&_; 0], "documented, not served");
    assert_eq!(served.difference(&documented).collect::<Vec<_>>(), [] as [&_; 0], "served, not documented");
}

#[test]
fn every_admin_operation_asks_for_one_described_scope() {
    let contract = &*CONTRACT;
    let scheme = &contract.document()["components"]["securitySchemes"]["admin"];
    let described = &scheme["flows"]["clientCredentials"]["scopes"];
    for operation in contract.operations() {
        let name = format!("{} {}", operation.method, operation.path);
        let security = &operation.definition["security"];
        if operation.path.starts_with("/admin") {
            let scope = admin_scope(&operation).unwrap_or_else(|| panic!("{name} asks for no scope"));
            assert_eq!(*security, json!([{ "admin": [scope] }]), "{name}");
            assert!(described.get(&scope).is_some(), "{name} asks for {scope}, which is not described");
        } else {
            assert_eq!(admin_scope(&operation), None, "{name}");
        }
    }
}

/// The admin API refuses query parameters by the table, so the table has those of the document.
#[test]
fn every_admin_operation_takes_the_query_parameters_that_are_described() {
    let contract = &*CONTRACT;
    let mut described: Vec<(String, String, Vec<&str>)> = Vec::new();
    for operation in contract.operations().filter(|operation| operation.path.starts_with("/admin")) {
        let of_path = &contract.document()["paths"][operation.path]["parameters"];
        let all = [of_path, &operation.definition["parameters"]].into_iter().filter_map(Value::as_array);
        let all = all.flatten().map(|parameter| contract.resolve(parameter));
        let mut names: Vec<_> =
            all.filter(|each| each["in"] == "query").filter_map(|each| each["name"].as_str()).collect();
        names.sort_unstable();
        described.push((operation.path.to_owned(), operation.method.clone(), names));
    }
    let routes = signet::http::served().iter().filter(|route| route.scope.is_some());
    let mut taken: Vec<_> = routes
        .map(|route| {
            let mut names = route.query.to_vec();
            names.sort_unstable();
            (route.path.to_owned(), route.method.to_string(), names)
        })
        .collect();
    taken.sort();
    described.sort();
    assert_eq!(taken, described);
    assert!(taken.iter().any(|(.., names)| names == &["after", "limit"]));
}

#[test]
fn it_is_a_document_of_openapi_3_1() {
    let document = oas3::from_yaml(include_str!("../../openapi.yaml")).unwrap();
    assert!(document.validate_version().is_ok());
    assert_eq!(document.info.license.unwrap().name, "Apache-2.0");
    assert_eq!(document.info.version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_operation_is_named_described_and_tagged() {
    let contract = &*CONTRACT;
    let tags: Vec<&Value> =
        contract.document()["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut names = BTreeSet::new();
    for operation in contract.operations() {
        let definition = operation.definition;
        let name =
            definition["operationId"].as_str().unwrap_or_else(|| panic!("{} has no name", operation.path));
        assert!(names.insert(name), "{name} is there twice");
        assert!(definition["summary"].is_string(), "{name} has no summary");
        assert!(tags.contains(&&definition["tags"][0]), "{name} has no tag that is described");
        let successes =
            members(&definition["responses"]).filter(|(status, _)| status.starts_with('2')).count();
        // A form that only leads on has no answer of its own.
        let leads_on = definition["responses"].get("303").is_some();
        assert!(successes == 1 || (successes == 0 && leads_on), "{name}");
    }
}

#[test]
fn every_answer_says_whether_it_may_be_stored() {
    let contract = &*CONTRACT;
    let mut answers = 0;
    for operation in contract.operations().filter(|operation| operation.path != "/metrics") {
        for (status, response) in members(&operation.definition["responses"]) {
            let header = &contract.resolve(response)["headers"]["Cache-Control"];
            let name = format!("{} {} {status}", operation.method, operation.path);
            assert_eq!(contract.resolve(header)["required"], true, "{name}");
            answers += 1;
        }
    }
    assert!(answers > 100);
}

#[test]
fn nothing_refers_to_what_is_not_there_and_every_component_is_used() {
    let contract = &*CONTRACT;
    let mut used = BTreeSet::from([
        "#/components/responses/MethodNotAllowed".to_owned(),
        "#/components/responses/MethodNotAllowedInMessage".to_owned(),
        "#/components/responses/NothingHere".to_owned(),
        "#/components/responses/NothingHereInMessage".to_owned(),
        "#/components/responses/Preflight".to_owned(),
    ]);
    walk(contract.document(), &mut |node| {
        if let Some(reference) = node.get("$ref") {
            contract.resolve(node);
            used.insert(reference.as_str().unwrap().to_owned());
        }
    });
    for (kind, components) in members(&contract.document()["components"]) {
        for (name, _) in members(components).filter(|_| kind != "securitySchemes") {
            assert!(used.contains(&format!("#/components/{kind}/{name}")), "{kind}/{name} is used nowhere");
        }
    }
}

#[test]
fn every_example_fits_its_schema() {
    let contract = &*CONTRACT;
    let (mut checked, mut misfits) = (0, Vec::new());
    walk(contract.document(), &mut |node| {
        let Some(schema) = node.get("schema") else { return };
        let several = members(&node["examples"]).map(|(_, example)| &contract.resolve(example)["value"]);
        for value in several.chain(node.get("example")) {
            checked += 1;
            if let Err(error) = contract.validate(schema, value) {
                misfits.push(format!("{value}: {error}"));
            }
        }
    });
    assert!(misfits.is_empty(), "{}", misfits.join("\n"));
    assert!(checked > 60, "{checked}");
}

#[test]
fn every_json_answer_has_an_example() {
    let contract = &*CONTRACT;
    walk(contract.document(), &mut |node| {
        for (_, response) in members(&node["responses"]) {
            for (_, content) in members(&contract.resolve(response)["content"]) {
                let sealed = content["schema"]["format"] == "binary";
                assert!(sealed || members(&content["examples"]).next().is_some(), "{response}");
            }
        }
    });
}

fn walk<'a>(node: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    visit(node);
    match node {
        Value::Object(members) => members.values().for_each(|each| walk(each, visit)),
        Value::Array(items) => items.iter().for_each(|each| walk(each, visit)),
        _ => {}
    }
}

/// The checker refuses what it must, so that none of the tests that ask it can pass for nothing.
mod the_checker {
    use super::{CONTRACT, Value, json};

    const JWT: &str = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl";

    fn token(extra: &Value) -> Value {
        let mut token =
            json!({ "access_token": JWT, "token_type": "Bearer", "expires_in": 3600, "scope": "read" });
        token.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        token
    }

    fn check(request: &str, status: u16, headers: &[(&str, &str)], body: &str) -> Result<(), String> {
        let (method, path) = request.split_once(' ').unwrap();
        let find = |name: &str| {
            let header = headers.iter().find(|(each, _)| each.eq_ignore_ascii_case(name));
            header.map(|(_, value)| (*value).to_owned())
        };
        CONTRACT.check(method, path, status, find("Content-Type").as_deref(), find, body.as_bytes())
    }

    const JSON: (&str, &str) = ("Content-Type", "application/json");
    const NO_STORE: (&str, &str) = ("Cache-Control", "no-store");

    fn refused(result: Result<(), String>, because: &str) {
        let error = result.expect_err(because);
        assert!(error.contains(because), "{error}");
    }

    #[test]
    fn takes_a_documented_answer() {
        let body = token(&json!({})).to_string();
        check("POST /oauth2/token", 200, &[JSON, NO_STORE], &body).unwrap();
        check("POST /oauth2/revoke", 200, &[NO_STORE], "").unwrap();
        check("GET /status/abc?x=y", 200, &STATUS_LIST, JWT).unwrap();
    }

    #[test]
    fn refuses_an_undocumented_status() {
        refused(check("POST /oauth2/token", 418, &[JSON, NO_STORE], "{}"), "status is not documented");
        refused(check("POST /oauth2/token", 404, &[JSON, NO_STORE], "{}"), "status is not documented");
    }

    #[test]
    fn refuses_a_wrong_body() {
        let ask = |body: &str| check("POST /oauth2/token", 200, &[JSON, NO_STORE], body);
        refused(ask(&token(&json!({ "created_at": 1 })).to_string()), "created_at");
        refused(ask(&token(&json!({ "expires_in": "3600" })).to_string()), "/expires_in");
        refused(ask(&token(&json!({ "token_type": "bearer" })).to_string()), "/token_type");
        refused(ask(&token(&json!({ "access_token": "opaque" })).to_string()), "/access_token");
        refused(ask("{}"), "required");
        refused(ask("token"), "not JSON");
        refused(ask(""), "not JSON");
        refused(check("POST /oauth2/revoke", 200, &[NO_STORE], "{}"), "a body is not documented");
    }

    #[test]
    fn refuses_a_missing_or_wrong_header() {
        let body = token(&json!({})).to_string();
        refused(check("POST /oauth2/token", 200, &[JSON], &body), "Cache-Control is missing");
        let cached = ("Cache-Control", "public, max-age=60");
        refused(check("POST /oauth2/token", 200, &[JSON, cached], &body), "Cache-Control");
        let busy = r#"{"error":"temporarily_unavailable","error_description":"later"}"#;
        refused(check("POST /oauth2/token", 503, &[JSON, NO_STORE], busy), "Retry-After is missing");
        let soon = ("Retry-After", "soon");
        refused(check("POST /oauth2/token", 503, &[JSON, NO_STORE, soon], busy), "Retry-After");
        check("POST /oauth2/token", 503, &[JSON, NO_STORE, ("Retry-After", "5")], busy).unwrap();
    }

    #[test]
    fn refuses_an_undocumented_header() {
        let body = token(&json!({})).to_string();
        let cookie = ("Set-Cookie", "a=b");
        refused(check("POST /oauth2/token", 200, &[JSON, NO_STORE, cookie], &body), "Set-Cookie");
    }

    #[test]
    fn refuses_what_only_other_paths_say_to_scripts_and_keys() {
        let body = token(&json!({})).to_string();
        let with = |path: &str, name: &'static str, value: &'static str| {
            check(&format!("POST {path}"), 200, &[JSON, NO_STORE, (name, value)], &body)
        };
        let (origin, remaining) = ("Access-Control-Allow-Origin", "X-RateLimit-Remaining");
        with("/oauth2/token", origin, "https://spa.example.com").unwrap();
        refused(with("/oauth2/token", origin, "*"), "does not fit");
        with("/oauth2/token", remaining, "99").unwrap();
        refused(with("/oauth2/token", remaining, "-1"), "does not fit");
        refused(with("/oauth2/token", "Access-Control-Allow-Credentials", "true"), "is not documented");
        let ask = |path: &str, headers: &[(&str, &str)]| check(&format!("OPTIONS {path}"), 204, headers, "");
        let said = [
            NO_STORE,
            (origin, "https://spa.example.com"),
            ("Access-Control-Allow-Methods", "GET, POST"),
            ("Access-Control-Allow-Headers", "Authorization, Content-Type"),
            ("Access-Control-Max-Age", "600"),
        ];
        ask("/oauth2/token", &said).unwrap();
        refused(ask("/oauth2/token", &said[..4]), "is missing");
        refused(ask("/oauth2/authorize", &said), "status is not documented");
        refused(check("GET /users", 200, &[JSON, NO_STORE, (origin, "*")], "[]"), "is not documented");
        check("GET /users", 200, &[JSON, NO_STORE, (remaining, "99")], "[]").unwrap();
    }

    #[test]
    fn refuses_another_media_type() {
        let body = token(&json!({})).to_string();
        refused(
            check("POST /oauth2/token", 200, &[("Content-Type", "text/html"), NO_STORE], &body),
            "text/html",
        );
        refused(check("POST /oauth2/token", 200, &[NO_STORE], &body), "media type");
    }

    #[test]
    fn refuses_a_private_member_in_a_published_key() {
        let key = |extra: &str| {
            let members = r#""kid":"k","kty":"OKP","crv":"Ed25519","x":"AA","alg":"EdDSA","use":"sig""#;
            format!(r#"{{"keys":[{{{members}{extra}}}]}}"#)
        };
        let headers = [
            ("Content-Type", "application/jwk-set+json"),
            ("Cache-Control", "public, max-age=300"),
            ("ETag", "\"abc\""),
        ];
        let ask = |body: &str| check("GET /.well-known/jwks.json", 200, &headers, body);
        ask(&key("")).unwrap();
        refused(ask(&key(r#","d":"AA""#)), "Unevaluated");
    }

    const STATUS_LIST: [(&str, &str); 4] = [
        ("Content-Type", "application/statuslist+jwt"),
        ("Cache-Control", "public, max-age=10"),
        ("ETag", "\"abc\""),
        ("Vary", "Accept-Encoding"),
    ];

    #[test]
    fn looks_into_text_bodies() {
        refused(check("GET /status/abc", 200, &STATUS_LIST, "not a token"), "does not fit");
    }

    #[test]
    fn knows_what_is_not_there() {
        let nothing = r#"{"error":"not_found","error_description":"there is nothing here"}"#;
        check("GET /nowhere", 404, &[JSON, NO_STORE], nothing).unwrap();
        check("GET /oauth2/token/", 404, &[JSON, NO_STORE], nothing).unwrap();
        refused(check("GET /nowhere", 200, &[JSON, NO_STORE], nothing), "status is not documented");
    }

    #[test]
    fn knows_the_methods_of_a_path() {
        let body = r#"{"error":"invalid_request","error_description":"the method is not allowed here"}"#;
        let ask = |allow: &str| check("PUT /oauth/token", 405, &[JSON, NO_STORE, ("Allow", allow)], body);
        ask("POST, GET, HEAD").unwrap();
        refused(ask("POST"), "Allow");
        refused(ask("POST, GET"), "Allow");
        refused(check("PUT /oauth/token", 200, &[JSON, NO_STORE], body), "status is not documented");
    }

    #[test]
    fn knows_that_head_is_answered_where_get_is_public() {
        let cached = [
            ("Content-Type", "application/json"),
            ("Cache-Control", "public, max-age=300"),
            ("ETag", "\"abc\""),
        ];
        check("HEAD /.well-known/openid-configuration", 200, &cached, "").unwrap();
        refused(check("HEAD /.well-known/openid-configuration", 200, &[JSON], ""), "is missing");
        refused(check("HEAD /admin/keys", 200, &[JSON, NO_STORE], ""), "status is not documented");
        refused(check("HEAD /oauth2/token", 200, &[JSON, NO_STORE], ""), "status is not documented");
    }

    #[test]
    fn knows_that_the_guard_comes_first() {
        let body = r#"{"error":"invalid_token","error_description":"an access token is needed"}"#;
        let challenge = ("WWW-Authenticate", r#"Bearer realm="signet", error="invalid_token""#);
        check("PUT /admin/keys", 401, &[JSON, NO_STORE, challenge], body).unwrap();
        refused(check("PUT /admin/keys", 401, &[JSON, NO_STORE], body), "WWW-Authenticate is missing");
        refused(check("PUT /admin/keys", 200, &[JSON, NO_STORE], body), "status is not documented");
    }

    #[test]
    fn prefers_the_literal_path() {
        let page = r#"{"now":"2026-11-21T12:00:00Z","events":[]}"#;
        check("GET /admin/keys/plan", 200, &[JSON, NO_STORE], page).unwrap();
    }
}
