//! The signing keys: how they live, and the two acts that an administrator may ask for. Both first show what they
//! would do, and do it only if it is confirmed and still the same.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::timeline::{self, Timeline};
use super::{administrator, words};
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::http::{State, body};
use crate::keys::{Compromised, KeyView, Phase, Rotations, SealingKeyView};
use crate::oauth::Algorithm;
use crate::protocol::admin::keys::{AllKeys, CompromiseRequest, RotationRequest};
use crate::protocol::{Params, ProtocolError, admin};

const PLACE: &str = "/console/keys";

/// Said where what was shown is not what would be done any more.
const CHANGED: &str = "The plan has changed since it was shown, or was not confirmed. Please read it again.";

#[derive(Template)]
#[template(path = "console/keys.html")]
struct KeysPage<'a> {
    shell: Shell<'a>,
    timeline: Timeline,
    /// The algorithms that no key signs with yet, and from when.
    waiting: Vec<(Algorithm, Option<String>)>,
    keys: Vec<KeyRow>,
    sealing: Vec<SealingRow>,
    events: Vec<Event>,
}

struct KeyRow {
    kid: String,
    algorithm: Algorithm,
    phase: String,
    made: String,
    published: String,
    signs_from: String,
    retires: String,
    forgotten: String,
    fetchers: usize,
    can_be_condemned: bool,
}

struct SealingRow {
    id: String,
    phase: &'static str,
    made: String,
    seals_from: String,
    forgotten: String,
}

struct Event {
    date: String,
    words: String,
}

#[derive(Template)]
#[template(path = "console/rotate.html")]
struct Rotate<'a> {
    shell: Shell<'a>,
    /// Which one was chosen; all if empty.
    algorithm: &'a str,
    algorithms: Vec<(&'static str, bool)>,
    force: bool,
    rotations: Vec<RotationRow>,
    refusal: Option<String>,
    plan: String,
}

struct RotationRow {
    algorithm: Algorithm,
    kid: String,
    previous: Option<String>,
    signs_from: String,
    wait: String,
    breaks: Vec<BreakageRow>,
}

#[derive(Template)]
#[template(path = "console/compromise.html")]
struct Compromise<'a> {
    shell: Shell<'a>,
    kid: &'a str,
    /// Whether it seals rather than signs.
    seals: bool,
    signs_now: Option<String>,
    named_until: Option<String>,
    breaks: Vec<BreakageRow>,
    plan: String,
    reason: &'a str,
}

struct BreakageRow {
    what: String,
    until: String,
}

impl From<&KeyView> for KeyRow {
    fn from(key: &KeyView) -> Self {
        let phase = match (key.phase, key.signs) {
            (_, true) => "signs now",
            (Phase::Pending, _) => "not yet published",
            (Phase::Published, _) => "published, waits",
            (Phase::Signing, _) => "overtaken",
            (Phase::Retired, _) => "retired, still verifies",
            (Phase::Forgotten, _) => "forgotten",
            (Phase::Compromised, _) => "compromised",
        };
        Self {
            kid: key.kid.to_string(),
            algorithm: key.algorithm,
            phase: phase.to_owned(),
            made: words::seconds(key.created_at),
            published: words::seconds(key.publish_at),
            signs_from: words::seconds(key.sign_from),
            retires: words::optional(key.compromised_at.or(key.retire_at)),
            forgotten: words::optional(key.forget_at),
            fetchers: key.fetchers,
            can_be_condemned: !matches!(key.phase, Phase::Compromised | Phase::Forgotten),
        }
    }
}

impl From<&SealingKeyView> for SealingRow {
    fn from(key: &SealingKeyView) -> Self {
        Self {
            id: key.id.to_string(),
            phase: if key.seals { "seals now" } else { "opens" },
            made: words::seconds(key.created_at),
            seals_from: words::seconds(key.seal_from),
            forgotten: words::optional(key.forget_at),
        }
    }
}

/// How the keys live.
pub(in crate::http) async fn list(state: web::Data<State>, visitor: Visitor) -> Answered {
    let AllKeys { signing: list, sealing } = admin::keys::list(&state.services);
    let events = admin::keys::plan(&state.services).events.into_iter();
    let template = KeysPage {
        shell: Shell::new(&state, &visitor, PLACE),
        timeline: timeline::draw(&list),
        waiting: list
            .waiting
            .iter()
            .map(|each| (each.algorithm, each.sign_from.map(words::seconds)))
            .collect(),
        keys: list.keys.iter().map(KeyRow::from).collect(),
        sealing: sealing.iter().map(SealingRow::from).collect(),
        events: events.map(|event| Event { date: words::seconds(event.at), words: event.words }).collect(),
    };
    Ok(show(None, &template))
}

/// What a rotation would do.
pub(in crate::http) async fn ask_rotation(
    state: web::Data<State>,
    visitor: Visitor,
    request: HttpRequest,
) -> Answered {
    let params = body::form(request.query_string().as_bytes())?;
    rotation_page(&state, &visitor, (&params, None))
}

/// Rotates, if that is what was shown and confirmed.
pub(in crate::http) async fn rotate(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let request = rotation(&form)?;
    let seen = match admin::keys::preview_rotation(&state.services, &request) {
        Ok(preview) => form.one("plan") == Some(&*rotation_plan(&preview)),
        Err(_) => false,
    };
    if !seen || form.one("confirm") != Some("yes") {
        return rotation_page(&state, &visitor, (&form, Some(CHANGED)));
    }
    let done = admin::keys::rotate(&state.services, &administrator(&visitor), &request).await?;
    let when = |each: &crate::keys::Rotated| {
        format!(
            "The {} key {} signs {}.",
            each.algorithm,
            timeline::short(each.kid.as_str()),
            words::wait(each.wait)
        )
    };
    let text = done.rotations.iter().map(when).collect::<Vec<_>>().join(" ");
    after(&state, &visitor, (PLACE, Notice::done(text)))
}

fn rotation(params: &Params<'_>) -> Result<RotationRequest, ProtocolError> {
    let algorithm = params.one("algorithm").map(str::parse).transpose();
    let algorithm = algorithm.map_err(|_| ProtocolError::invalid_request("algorithm is not known"))?;
    Ok(RotationRequest { algorithm, force: params.one("force") == Some("yes") })
}

fn rotation_page(
    state: &State,
    visitor: &Visitor,
    (params, problem): (&Params<'_>, Option<&str>),
) -> Answered {
    let request = rotation(params)?;
    let preview = admin::keys::preview_rotation(&state.services, &request);
    let (preview, refusal) = match preview {
        Ok(preview) => (preview, None),
        Err(error) => (Rotations { rotations: Vec::new() }, Some(error.description.into_owned())),
    };
    let row = |each: &crate::keys::Rotated| RotationRow {
        algorithm: each.algorithm,
        kid: each.kid.to_string(),
        previous: each.previous.as_ref().map(ToString::to_string),
        signs_from: words::seconds(each.sign_from),
        wait: words::wait(each.wait),
        breaks: breakages(&each.breaks),
    };
    let algorithms = state.services.keys.policy().algorithms().iter();
    let template = Rotate {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        algorithm: request.algorithm.map_or("", Algorithm::as_str),
        algorithms: algorithms.map(|each| (each.as_str(), request.algorithm == Some(*each))).collect(),
        force: request.force,
        rotations: preview.rotations.iter().map(row).collect(),
        refusal,
        plan: rotation_plan(&preview),
    };
    Ok(show(problem, &template))
}

/// What of the plan has to stay as it was shown: not the dates, which move while it is read.
fn rotation_plan(preview: &Rotations) -> String {
    let each = preview.rotations.iter().map(|each| {
        let previous = each.previous.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{}.{previous}.{}", each.kid, each.breaks.len())
    });
    each.collect::<Vec<_>>().join(" ")
}

/// What declaring a key compromised would do.
pub(in crate::http) async fn ask_compromise(
    state: web::Data<State>,
    visitor: Visitor,
    kid: web::Path<String>,
) -> Answered {
    compromise_page(&state, &visitor, (&kid, ""), None)
}

/// Declares a key compromised, if what that does was shown and confirmed.
pub(in crate::http) async fn compromise(
    state: web::Data<State>,
    visitor: Visitor,
    (kid, form): (web::Path<String>, Form),
) -> Answered {
    let preview = admin::keys::preview_compromise(&state.services, &kid)?;
    let seen = form.one("plan") == Some(&*compromise_plan(&preview));
    let reason = form.one("reason").map(str::to_owned);
    if !seen || form.one("confirm") != Some("yes") {
        return compromise_page(
            &state,
            &visitor,
            (&kid, reason.as_deref().unwrap_or_default()),
            Some(CHANGED),
        );
    }
    let request = CompromiseRequest { reason };
    let done = admin::keys::compromise(&state.services, &administrator(&visitor), &kid, &request).await?;
    let signs = done
        .signs_now
        .map_or_else(String::new, |signs| format!(" {} signs now.", timeline::short(signs.as_str())));
    let text = format!("The key {} is compromised.{signs}", timeline::short(&kid));
    after(&state, &visitor, (PLACE, Notice::done(text)))
}

fn compromise_page(
    state: &State,
    visitor: &Visitor,
    (kid, reason): (&str, &str),
    problem: Option<&str>,
) -> Answered {
    let preview = admin::keys::preview_compromise(&state.services, kid)?;
    let template = Compromise {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        kid,
        seals: state.services.sealing_keys.contains(kid),
        signs_now: preview.signs_now.as_ref().map(ToString::to_string),
        named_until: preview.named_until.map(words::seconds),
        breaks: breakages(&preview.breaks),
        plan: compromise_plan(&preview),
        reason,
    };
    Ok::<HttpResponse, _>(show(problem, &template))
}

fn compromise_plan(preview: &Compromised) -> String {
    let signs_now = preview.signs_now.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{}.{signs_now}.{}", preview.kid, preview.breaks.len())
}

fn breakages(breaks: &[crate::keys::intervene::Breakage]) -> Vec<BreakageRow> {
    breaks
        .iter()
        .map(|each| BreakageRow { what: each.what.clone(), until: words::seconds(each.until) })
        .collect()
}
