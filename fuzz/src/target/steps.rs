//! The forms on the way to an answer, as browsers send them that were shown the page: sign-in, second factor, consent, sign-out.

use signet::users::Email;

use super::first_line;
use crate::members::Members;
use crate::people::{ADA, GRACE, PASSWORD};
use crate::service::{Answer, CALLBACK, GRANTED, Request, Service, renew, with_service};

const FORM: &str = "application/x-www-form-urlencoded";
/// A longer form is refused.
const LONGEST: usize = 16 * 1024;

/// The path of a form on a line, and behind a space the cookie of a device if it has one, and the form, by the browser in which Ada has signed in and which was shown all four: an input names the
/// state of each, `{SIGN_IN}` and so on. Somebody signs in by the right form with what is right alone, who has a second factor not
/// by a password; a client gets its code where that was allowed, and nobody is signed out who did not say so.
pub(crate) fn step_form(data: &[u8]) {
    let changed = with_service(|service| {
        let data = service.fill(data);
        let (path, form) = first_line(&data);
        let (path, device) =
            std::str::from_utf8(path).map_or(("", ""), |line| line.split_once(' ').unwrap_or((line, "")));
        if !device.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
            return false;
        }
        let Some(at) = STEPS.iter().position(|step| step.path == path) else { return false };
        let step = &STEPS[at];
        let mut browser = Browser::of_ada(service, device);
        let form = browser.fill(form);
        let members = Members::of_form(&form);
        let state = browser.states[at].as_deref();
        let is_right = state.is_some()
            && members.one("state") == state
            && !members.has_repeated()
            && (step.is_right)(service, &members);
        let answer = browser.post(step.path, &form);
        let (in_, out) = (has_signed_in(&answer), has_signed_out(&answer));
        let done = match step.what {
            What::SignsIn => in_,
            What::Allows => has_code(&answer),
            What::SignsOut => out,
        };
        assert!(is_right || !done, "{} was taken: {answer:?}", step.path);
        let is_plain = form.is_ascii() && form.len() < LONGEST && members.0.len() < 16;
        assert!(done || !(is_right && is_plain), "{} was not taken: {answer:?}", step.path);
        assert!(!in_ || step.what == What::SignsIn, "{answer:?}");
        assert!(!out || step.what == What::SignsOut, "{answer:?}");
        assert!(!has_code(&answer) || (done && step.what != What::SignsOut), "{answer:?}");
        if let Some(location) = answer.header("location") {
            let home = format!("{}/", service.state().services.issuer);
            let back = location.strip_prefix(CALLBACK).is_some_and(|rest| rest.starts_with('?'));
            assert!(location.starts_with(&home) || back, "a browser was sent to {location}");
        }
        answer.status == 303 || out
    });
    // A code that was used is none any more, and who has signed out is nobody.
    if changed {
        renew();
    }
}

/// A form on the way.
struct Step {
    path: &'static str,
    /// By what an input names its state.
    state: &'static str,
    what: What,
    /// Whether what is typed into it is what it asks for, by another reading than Signet's.
    is_right: fn(&Service, &Members) -> bool,
}

/// What comes of a form.
#[derive(PartialEq, Eq)]
enum What {
    SignsIn,
    Allows,
    SignsOut,
}

const STEPS: [Step; 4] = [
    Step {
        path: "/oauth2/sign-in",
        state: "{SIGN_IN}",
        what: What::SignsIn,
        is_right: |_, members| is_adas_password(members),
    },
    Step {
        path: "/oauth2/second-factor",
        state: "{SECOND_FACTOR}",
        what: What::SignsIn,
        is_right: is_a_code,
    },
    Step {
        path: "/oauth2/consent",
        state: "{CONSENT}",
        what: What::Allows,
        is_right: |_, members| members.one("decision") == Some("allow"),
    },
    Step {
        path: "/oauth2/sign-out",
        state: "{SIGN_OUT}",
        what: What::SignsOut,
        is_right: |_, members| members.one("decision") == Some("sign-out"),
    },
];

/// Who goes on as who is signed in does not sign in.
fn is_adas_password(members: &Members) -> bool {
    let named = members.one("username").and_then(|name| Email::parse(name.trim()).ok());
    let ada = Email::parse(ADA).expect("an address");
    named.is_some_and(|named| named.normalized() == ada.normalized())
        && members.one("password") == Some(PASSWORD)
        && members.one("account") != Some("current")
}

/// The app's six digits, or one of the recovery codes however it is written.
fn is_a_code(service: &Service, members: &Members) -> bool {
    let Some(code) = members.one("code") else { return false };
    let plain = |code: &str| code.replace(|c: char| c == '-' || c.is_whitespace(), "").to_ascii_lowercase();
    code.trim() == service.secrets.code || plain(code) == plain(&service.secrets.recovery)
}

fn has_code(answer: &Answer) -> bool {
    answer.header("location").is_some_and(|to| to.starts_with(CALLBACK) && to.contains("code="))
}

fn has_signed_in(answer: &Answer) -> bool {
    cookie(answer, "signet-session").is_some_and(|value| !value.is_empty())
}

fn has_signed_out(answer: &Answer) -> bool {
    cookie(answer, "signet-session").is_some_and(|value| value.is_empty())
}

/// What a cookie is set to.
fn cookie(answer: &Answer, name: &str) -> Option<String> {
    let mut set = answer.headers.get_all("set-cookie").filter_map(|value| value.to_str().ok());
    set.find_map(|value| {
        let (pair, _) = value.split_once(';')?;
        pair.split_once('=').filter(|(each, _)| *each == name).map(|(_, value)| value.to_owned())
    })
}

/// A browser in which Ada has signed in.
struct Browser<'a> {
    service: &'a Service,
    cookies: String,
    /// Of the forms that it was shown, as in [`STEPS`].
    states: [Option<String>; 4],
}

impl<'a> Browser<'a> {
    fn of_ada(service: &'a Service, device: &str) -> Self {
        // Before, it has no cookie that ties forms to it.
        let shown = service.send(Request::get(sign_in().as_bytes())).expect("a page");
        let holder = cookie(&shown, "signet-browser").expect("a cookie");
        let session = &service.secrets.session;
        let cookies = format!("signet-browser={holder}; signet-session={session}; signet-device={device}");
        Self { service, cookies, states: Default::default() }
    }

    fn get(&self, target: &str) -> Answer {
        let request = Request::get(target.as_bytes()).with("cookie", self.cookies.as_str());
        self.service.send(request).expect("a page")
    }

    fn post(&self, path: &str, form: &[u8]) -> Answer {
        let request = Request::post(path, FORM, form).with("cookie", self.cookies.as_str());
        self.service.send(request).expect("a request")
    }

    /// The form with the states that it names; the pages are shown for that.
    fn fill(&mut self, form: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(form) else { return form.to_vec() };
        let mut text = text.to_owned();
        for (at, step) in STEPS.iter().enumerate() {
            if text.contains(step.state) {
                let state = self.shown(step.path);
                text = text.replace(step.state, &state);
                self.states[at] = Some(state);
            }
        }
        text.into_bytes()
    }

    /// The state of the form that belongs to this path.
    fn shown(&self, path: &str) -> String {
        let page = match path {
            "/oauth2/sign-in" => self.get(&sign_in()),
            "/oauth2/second-factor" => {
                let state = self.shown("/oauth2/sign-in");
                let form = format!("state={state}&username={GRACE}&password={PASSWORD}");
                self.post("/oauth2/sign-in", form.as_bytes())
            }
            "/oauth2/consent" => self.get(&format!("/oauth2/authorize?{GRANTED}&prompt=consent")),
            _ => self.get("/oauth2/logout"),
        };
        let text = String::from_utf8(page.body).expect("text");
        let (_, rest) = text.split_once("name=\"state\" value=\"").expect("a form");
        rest.split('"').next().expect("a state").to_owned()
    }
}

/// Where somebody is asked for a name although somebody is signed in.
fn sign_in() -> String {
    format!("/oauth2/authorize?{GRANTED}&prompt=select_account")
}
