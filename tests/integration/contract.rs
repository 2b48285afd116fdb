//! Holds an HTTP answer against `openapi.yaml`: what is not documented there must not be answered.

#![expect(clippy::expect_used, reason = "a test that panics says where")]

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

/// Below these paths a guard comes before the path and its method: what it answers stands at another path, where there is a
/// guard; and refusals have another shape, where the responses have names of their own that end so.
const BELOW: [(&str, Option<&str>, &str); 4] = [
    ("/admin", Some("/admin/keys"), ""),
    ("/users", Some("/users"), "InMessage"),
    ("/v1/users", Some("/v1/users"), "InMessage"),
    ("/auth/token", None, "InMessage"),
];

/// Below these what is not there is answered as the pages themselves are, of which [`OWN`] is one.
const PAGES: [&str; 2] = ["/account/", "/console/"];
const OWN: &str = "/account";

/// How a guard may refuse.
const GUARDED: [u16; 4] = [401, 403, 429, 503];

fn below(path: &str) -> Option<&'static (&'static str, Option<&'static str>, &'static str)> {
    let path = path.split('?').next().unwrap_or_default();
    let is_below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    BELOW.iter().find(|(root, ..)| is_below(root))
}

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

/// Headers that mean something to a client: they are documented, or not sent.
const MEANINGFUL: [&str; 20] = [
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
    "Allow",
    "Cache-Control",
    "Content-Encoding",
    "ETag",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Set-Cookie",
    "Vary",
    "WWW-Authenticate",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
];

/// The public contract, read from `openapi.yaml`.
pub(crate) struct Contract {
    document: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// What was answered.
struct Answer<'a> {
    status: u16,
    content_type: Option<&'a str>,
    headers: &'a dyn Fn(&str) -> Option<String>,
    body: &'a [u8],
}

/// One operation of the document.
pub(crate) struct Operation<'a> {
    pub(crate) method: String,
    pub(crate) path: &'a str,
    pub(crate) definition: &'a Value,
}

impl Contract {
    /// The contract of this checkout. Keep it: validators are compiled once for each.
    pub(crate) fn load() -> Self {
        let document =
            yaml_serde::from_str(include_str!("../../openapi.yaml")).expect("the document is YAML");
        Self { document, validators: Mutex::default() }
    }

    /// The whole document.
    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    /// Every operation. Those of the management listener stand on paths with `servers` of their own.
    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        members(&self.document["paths"]).flat_map(|(path, item)| {
            let defined = METHODS.iter().filter_map(|method| item.get(*method).map(|each| (method, each)));
            defined.map(move |(method, definition)| Operation {
                method: method.to_uppercase(),
                path,
                definition,
            })
        })
    }

    /// Whether the document has an answer of this kind to a request of `method` to `path`: its status, media
    /// type, headers and body. `path` is a pattern of the document or a concrete path, with or without a
    /// query; `headers` finds a header by its name, in whatever letter case.
    ///
    /// HEAD is answered wherever GET is public, as GET is. A path that the document does not have must be answered with `NothingHere`, a method that the path
    /// does not have with `MethodNotAllowed`, or where there is a guard as it refuses; see [`BELOW`].
    #[expect(clippy::too_many_arguments, reason = "the parts of an exchange, which every test has at hand")]
    pub(crate) fn check(
        &self,
        method: &str,
        path: &str,
        status: u16,
        content_type: Option<&str>,
        headers: impl Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Result<(), String> {
        let answer = Answer { status, content_type, headers: &headers, body };
        let checked = self.response(method, path, &answer).and_then(|response| {
            self.check_headers(response, self.common(path), &answer)?;
            self.check_body(response, method, &answer)
        });
        checked.map_err(|what| format!("{method} {path} answered {status}: {what}"))
    }

    fn response(&self, method: &str, path: &str, answer: &Answer<'_>) -> Result<&Value, String> {
        let status = answer.status;
        let undocumented = || "the status is not documented".to_owned();
        let shape = below(path).map_or("", |(.., shape)| shape);
        let guard = || {
            let guarded = below(path)?.1.filter(|_| GUARDED.contains(&status))?;
            self.documented(&self.document["paths"][guarded]["get"], status)
        };
        let Some((_, item)) = self.path_item(path) else {
            if PAGES.iter().any(|root| path.starts_with(root)) {
                let method = if method == "HEAD" { "GET" } else { method };
                let page = &self.document["paths"][OWN][method.to_lowercase()];
                return self.documented(page, status).ok_or_else(undocumented);
            }
            return match status {
                404 => Ok(self.component(&format!("NothingHere{shape}"))),
                _ => guard().ok_or_else(undocumented),
            };
        };
        if method == "OPTIONS"
            && status == 204
            && item["x-headers"].get("Access-Control-Allow-Origin").is_some()
        {
            return Ok(self.component("Preflight"));
        }
        let method = if method == "HEAD" && reads(item) { "GET" } else { method };
        if let Some(operation) = item.get(method.to_lowercase()) {
            return self.documented(operation, status).ok_or_else(undocumented);
        }
        if status == 405 {
            check_allow(item, answer)?;
            return Ok(self.component(&format!("MethodNotAllowed{shape}")));
        }
        guard().ok_or_else(undocumented)
    }

    /// What any answer of the path may carry, if any does.
    fn common(&self, path: &str) -> &Value {
        let guarded = || self.document["paths"].get(below(path)?.1?);
        let item = self.path_item(path).map(|(_, item)| item).or_else(guarded);
        item.map_or(&Value::Null, |item| &item["x-headers"])
    }

    fn documented<'a>(&'a self, operation: &'a Value, status: u16) -> Option<&'a Value> {
        operation["responses"].get(status.to_string()).map(|response| self.resolve(response))
    }

    fn component(&self, response: &str) -> &Value {
        &self.document["components"]["responses"][response]
    }

    /// The path's pattern and definition; of several patterns that fit, the most literal one.
    fn path_item(&self, path: &str) -> Option<(&str, &Value)> {
        let path = path.split('?').next().unwrap_or_default();
        let parameters = |pattern: &str| pattern.matches('{').count();
        members(&self.document["paths"])
            .filter(|(pattern, _)| *pattern == path || fits(pattern, path))
            .min_by_key(|(pattern, _)| parameters(pattern))
    }

    fn check_headers(&self, response: &Value, common: &Value, answer: &Answer<'_>) -> Result<(), String> {
        let own = |name: &str| members(&response["headers"]).any(|(each, _)| each == name);
        let documented =
            || members(&response["headers"]).chain(members(common).filter(|(name, _)| !own(name)));
        for (name, header) in documented() {
            let header = self.resolve(header);
            let required = own(name) && header["required"] == true;
            match (answer.headers)(name) {
                Some(value) => self
                    .check_text(&header["schema"], &value)
                    .map_err(|error| format!("the header {name}: {value} does not fit: {error}"))?,
                None if required => return Err(format!("the header {name} is missing")),
                None => {}
            }
        }
        for name in MEANINGFUL {
            if !documented().any(|(each, _)| each.eq_ignore_ascii_case(name))
                && let Some(value) = (answer.headers)(name)
            {
                return Err(format!("the header {name}: {value} is not documented"));
            }
        }
        Ok(())
    }

    fn check_body(&self, response: &Value, method: &str, answer: &Answer<'_>) -> Result<(), String> {
        if method == "HEAD" {
            return Ok(());
        }
        let Some(content) = response.get("content") else {
            let empty = answer.body.is_empty() && answer.content_type.is_none();
            return if empty { Ok(()) } else { Err("a body is not documented".to_owned()) };
        };
        let essence = answer.content_type.and_then(|value| value.split(';').next()).unwrap_or("").trim();
        let schema = match content.get(essence) {
            Some(documented) => &documented["schema"],
            None => return Err(format!("the media type {essence:?} is not documented")),
        };
        if essence == "application/json" || essence.ends_with("+json") {
            let value = serde_json::from_slice(answer.body).map_err(|error| format!("not JSON: {error}"))?;
            return self.validate(schema, &value).map_err(|error| format!("the body does not fit: {error}"));
        }
        if schema["format"] == "binary" || (answer.headers)("Content-Encoding").is_some() {
            return if answer.body.is_empty() { Err("the body is empty".to_owned()) } else { Ok(()) };
        }
        let text = std::str::from_utf8(answer.body).map_err(|error| format!("not text: {error}"))?;
        self.check_text(schema, text).map_err(|error| format!("the body does not fit: {error}"))
    }

    /// Whether a text, of a header or a body, fits `schema`: as a number where that asks for one.
    pub(crate) fn check_text(&self, schema: &Value, text: &str) -> Result<(), String> {
        let number = || text.parse::<i64>().map(Value::from).ok();
        let value = if schema["type"] == "integer" { number() } else { None };
        self.validate(schema, &value.unwrap_or_else(|| text.into()))
    }

    /// Whether `value` fits `schema`, whose references point into this document.
    pub(crate) fn validate(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let errors: Vec<String> = self
            .validator(schema)
            .iter_errors(value)
            .map(|error| match error.instance_path().as_str() {
                "" => error.to_string(),
                at => format!("{at}: {error}"),
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let build = || {
            let rooted = json!({ "components": self.document["components"], "allOf": [schema] });
            let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
            Arc::new(options.build(&rooted).expect("the schema is one, and its references resolve"))
        };
        validators.entry(schema.to_string()).or_insert_with(build).clone()
    }

    /// What a reference into this document refers to, or the value itself.
    pub(crate) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
        let pointer = reference.strip_prefix('#').expect("references point into the document");
        self.document.pointer(pointer).unwrap_or_else(|| panic!("{reference} refers to nothing"))
    }
}

/// The members of an object; none of anything else.
pub(crate) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, member)| (name.as_str(), member))
}

fn fits(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(expected), Some(segment)) if expected == segment => {}
            (Some(expected), Some(segment)) if expected.starts_with('{') && !segment.is_empty() => {}
            _ => return false,
        }
    }
}

/// Whether anyone who reaches the listener may GET the path.
fn reads(item: &Value) -> bool {
    let administers = |operation: &Value| operation["security"][0].get("admin").is_some();
    item.get("get").is_some_and(|operation| !administers(operation))
}

fn check_allow(item: &Value, answer: &Answer<'_>) -> Result<(), String> {
    let mut documented: BTreeSet<String> =
        METHODS.iter().filter(|each| item.get(**each).is_some()).map(|each| each.to_uppercase()).collect();
    if reads(item) {
        documented.insert("HEAD".to_owned());
    }
    let allow = (answer.headers)("Allow").unwrap_or_default();
    let allowed: BTreeSet<String> = allow.split(',').map(|each| each.trim().to_owned()).collect();
    if allowed == documented { Ok(()) } else { Err(format!("Allow: {allow}, documented are {documented:?}")) }
}
