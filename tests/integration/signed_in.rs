//! A browser that has signed in to a service in a process of its own, and comes back with codes.

use serde_json::json;
use url::Url;

use crate::grants_fixture::CHALLENGE;
use crate::process::Process;

/// Settings for a client that asks as fast as it can.
pub(crate) const WITHOUT_LIMITS: [(&str, &str); 2] =
    [("SIGNET_LIMITS_AUTHORIZE_PER_ADDRESS", "0"), ("SIGNET_LIMITS_LOGIN_PER_ADDRESS", "0")];

const NAME: &str = "ada@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The browser's session, and the client that it is sent back to: one whose consent is implied.
pub(crate) struct SignedIn {
    /// The client's identifier and secret.
    pub(crate) client: (String, String),
    cookies: String,
    agent: ureq::Agent,
}

impl SignedIn {
    pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1:1/callback";

    /// Makes the client and the account, and signs in.
    pub(crate) fn new(process: &Process) -> Self {
        let (id, secret) = process.credentials("administrator");
        let admin = process.token((&id, &secret)).expect("a token");
        let client = process.post_json(
            "/admin/clients",
            &admin,
            &json!({
                "client_name": "Load", "scope": "read offline_access", "resources": ["http://127.0.0.1:9000"],
                "redirect_uris": [Self::REDIRECT_URI], "consent": "implied",
            }),
        );
        let client = client.expect("an answer").json();
        let account = json!({ "name": "Ada Lovelace", "email": NAME, "password": PASSWORD });
        let made = process.post_json("/admin/users", &admin, &account).expect("an answer");
        assert_eq!(made.status, 201, "{made:?}");
        let text = |name: &str| client[name].as_str().expect("a client").to_owned();
        let agent = ureq::Agent::config_builder().max_redirects(0).http_status_as_error(false).build().into();
        let mut new =
            Self { client: (text("client_id"), text("client_secret")), cookies: String::new(), agent };
        new.sign_in(process);
        new
    }

    /// A new code, asked for until the service is able to give one; `None` if it was killed before it came.
    pub(crate) fn code(&self, process: &Process) -> Option<String> {
        loop {
            let asked = self.agent.get(self.authorize(process).as_str()).header("Cookie", &self.cookies);
            let answer = asked.call().ok()?;
            let location = answer.headers().get("Location").expect("a redirect").to_str().expect("text");
            let location = Url::parse(location).expect("a URL");
            let told = |name: &str| {
                location.query_pairs().find(|(told, _)| told == name).map(|(_, value)| value.into_owned())
            };
            if let Some(code) = told("code") {
                return Some(code);
            }
            assert_eq!(told("error").as_deref(), Some("temporarily_unavailable"), "{location}");
        }
    }

    /// What its cookies hold, but for those that were taken away.
    pub(crate) fn cookie_values(&self) -> impl Iterator<Item = &str> {
        let values = self.cookies.split("; ").filter_map(|cookie| cookie.split_once('='));
        values.map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    fn authorize(&self, process: &Process) -> Url {
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.client.0),
            ("redirect_uri", Self::REDIRECT_URI),
            ("scope", "read offline_access"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        Url::parse_with_params(&format!("{}/oauth2/authorize", process.issuer), parameters).expect("a URL")
    }

    fn sign_in(&mut self, process: &Process) {
        let mut page = self.agent.get(self.authorize(process).as_str()).call().expect("a page");
        let before = cookies(&page);
        let html = page.body_mut().read_to_string().expect("text");
        let (_, state) = html.split_once("name=\"state\" value=\"").expect("a form");
        let (state, _) = state.split_once('"').expect("a value");
        let form = [("state", state), ("username", NAME), ("password", PASSWORD)];
        let url = format!("{}/oauth2/sign-in", process.issuer);
        let answer =
            self.agent.post(url).header("Cookie", before.join("; ")).send_form(form).expect("an answer");
        assert_eq!(answer.status(), 303);
        self.cookies = [before, cookies(&answer)].concat().join("; ");
    }
}

fn cookies<B>(answer: &ureq::http::Response<B>) -> Vec<String> {
    let values = answer.headers().get_all("Set-Cookie").iter().filter_map(|value| value.to_str().ok());
    values.filter_map(|cookie| cookie.split(';').next()).map(str::to_owned).collect()
}
