//! What reads what the network brings has a fuzz target (`docs/decisions/0019-fuzzing.md`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::architecture::{Source, rooms};

/// The rooms that requests, answers and tokens come to as they are.
const ROOMS: [&str; 9] =
    ["clients", "http", "limits", "oauth", "outgoing", "protocol", "tokens", "users", "verify"];

/// By what it is seen that a file takes bytes or text apart.
const PARSING: [&str; 16] = [
    "fn parse(",
    "FromStr for",
    "serde_json::from_",
    "form_urlencoded::parse",
    "memchr_iter",
    ".end_in(",
    "multer::parse",
    "split_once(",
    ".split('",
    ".split([",
    "strip_prefix(",
    ".parse()",
    ".parse::<",
    "str::parse",
    "STANDARD.decode(",
    "PAD.decode(",
];

/// The files that do, and the targets that reach them.
const REACHED: &[(&str, &[&str])] = &[
    ("clients/client.rs", &["register_client"]),
    ("http/admin/mod.rs", &["admin_api"]),
    ("http/api_key.rs", &["api_credentials"]),
    ("http/apps.rs", &["register_app"]),
    ("http/bearer.rs", &["api_credentials"]),
    ("http/body.rs", &["token_form", "token_json"]),
    ("http/heads.rs", &["heads"]),
    ("http/multipart.rs", &["token_multipart"]),
    ("http/nowhere.rs", &["request"]),
    ("http/pages/answers.rs", &["page_form", "shown_form", "step_form"]),
    ("http/pages/console/client_form.rs", &["shown_form"]),
    ("http/pages/console/clients.rs", &["shown_form"]),
    ("http/pages/console/keys.rs", &["shown_form"]),
    ("http/pages/cookies.rs", &["cookie"]),
    ("http/pages/fields.rs", &["shown_form"]),
    ("http/pages/portal/api_keys.rs", &["shown_form"]),
    ("http/pages/shell/anti_forgery.rs", &["shown_form"]),
    ("http/pages/shell/guard.rs", &["page_form", "shown_form"]),
    ("http/pieces.rs", &["requests"]),
    ("http/publish.rs", &["request"]),
    ("http/users.rs", &["users_api"]),
    ("limits/forwarded.rs", &["forwarded"]),
    ("oauth/acr.rs", &["authorize"]),
    ("oauth/algorithm.rs", &["jwks", "register_client"]),
    ("oauth/id.rs", &["identifiers"]),
    ("oauth/pkce.rs", &["pkce"]),
    ("oauth/redirect_uri.rs", &["redirect_uri"]),
    ("oauth/scope.rs", &["scope"]),
    ("oauth/unreadable.rs", &["admin_api", "users_api"]),
    ("protocol/admin/audit.rs", &["admin_api"]),
    ("protocol/admin/users.rs", &["admin_api"]),
    ("protocol/apps.rs", &["register_app"]),
    ("protocol/authorize/asked_claims.rs", &["authorize"]),
    ("protocol/authorize/form.rs", &["step_form"]),
    ("protocol/authorize/prompt.rs", &["authorize", "signed_hint"]),
    ("protocol/authorize/redirect.rs", &["authorize"]),
    ("protocol/authorize/request.rs", &["authorize"]),
    ("protocol/authorize/step.rs", &["authorize", "step_form"]),
    ("protocol/users/request.rs", &["users_api"]),
    ("users/api_keys.rs", &["api_credentials"]),
    ("users/email.rs", &["step_form", "users_api"]),
    ("users/registration.rs", &["shown_form"]),
    ("users/throttle/device.rs", &["step_form"]),
    ("verify/extractor.rs", &["bearer"]),
    ("verify/fetch.rs", &["cache_control"]),
    ("verify/key.rs", &["jwks"]),
    ("verify/key_source.rs", &["jwks", "metadata"]),
    ("verify/status_list.rs", &["status_bits", "status_list"]),
    ("verify/token.rs", &["jwt", "jwt_signed"]),
];

/// Those that read what this service has written itself, or what was read before.
const ITS_OWN: [&str; 11] = [
    // Of the table of routes.
    "http/routes.rs",
    // Of a token that it has signed.
    "tokens/status_list.rs",
    // Of the audit log.
    "http/pages/console/entries.rs",
    // `Content-Length`, which is a number by then: the HTTP library has read it, behind no door that a target goes through.
    "http/place.rs",
    // Sealed.
    "http/pages/portal/second_factor.rs",
    "http/pages/shell/notice.rs",
    "tokens/refresh.rs",
    "users/second_factor.rs",
    // Out of the store.
    "protocol/admin/difference.rs",
    "tokens/revocation_rows.rs",
    "users/index.rs",
];

fn parses(source: &Source) -> bool {
    let code = source.code();
    let tests = source.path.contains("/tests/");
    !tests && ROOMS.contains(&source.room()) && PARSING.iter().any(|mark| code.contains(mark))
}

#[test]
fn whatever_parses_is_reached_by_a_target() {
    let known: BTreeSet<&str> = REACHED.iter().map(|(file, _)| *file).chain(ITS_OWN).collect();
    let sources = rooms();
    let parsing: BTreeSet<&str> =
        sources.iter().filter(|source| parses(source)).map(|source| source.path.as_str()).collect();
    let missing: Vec<_> = parsing.difference(&known).collect();
    assert!(missing.is_empty(), "a fuzz target has to reach what takes input apart: {missing:?}");
    let gone: Vec<_> = known.difference(&parsing).collect();
    assert!(gone.is_empty(), "nothing is taken apart any more in {gone:?}");
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let code = fs::read_to_string(fuzz.join("src/lib.rs")).unwrap();
    let targets: BTreeSet<&str> =
        code.lines().filter_map(|line| line.trim().strip_prefix("target(\"")?.split('"').next()).collect();
    let corpora = fs::read_dir(fuzz.join("corpus")).unwrap().map(|entry| entry.unwrap().path());
    let filled = corpora.filter(|path| fs::read_dir(path).unwrap().next().is_some());
    let filled: Vec<_> = filled.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(targets, filled.iter().map(String::as_str).collect());
    for name in REACHED.iter().flat_map(|(_, names)| *names) {
        assert!(targets.contains(name), "there is no target {name}");
    }
}
