use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use askama::Template;

use super::assets::{FORM_POST, ICON, STYLE_SHEET};
use crate::http::reply;
use crate::oauth::WebUri;
use crate::protocol::ProtocolError;

/// What surrounds every page.
#[derive(Clone, Debug)]
pub(in crate::http) struct Frame {
    /// What the service calls itself.
    pub(super) service_name: String,
    /// The path of the issuer's URL, without its last slash: where links begin.
    pub(in crate::http) base: String,
    /// Whether the pages come by https.
    https: bool,
}

impl Frame {
    /// The frame of an issuer's pages.
    pub(in crate::http) fn new(issuer: &str, service_name: &str) -> Self {
        let path = url::Url::parse(issuer).map(|url| url.path().trim_end_matches('/').to_owned());
        Self {
            service_name: service_name.to_owned(),
            base: path.unwrap_or_default(),
            https: issuer.starts_with("https:"),
        }
    }

    /// Whether a page may show this picture: one that comes by plain http tells the network between that somebody signs in,
    /// and may be replaced there (W3C Mixed Content, section 2). Pages that come by http themselves have nothing to lose.
    pub(super) fn may_show(&self, picture: &WebUri) -> bool {
        !self.https || picture.as_str().starts_with("https:")
    }

    pub(super) fn style_sheet(&self) -> String {
        format!("{}/assets/{}", self.base, STYLE_SHEET.name)
    }

    pub(super) fn icon(&self) -> String {
        format!("{}/assets/{}", self.base, ICON.name)
    }

    pub(super) fn form_post_script(&self) -> String {
        format!("{}/assets/{}", self.base, FORM_POST.name)
    }
}

/// What a page may load and where its forms may lead, beyond this service (Content Security Policy Level 3).
///
/// `form-action` also holds for the redirects that follow a form, and a client may redirect further. So it is
/// not the client's origin that is allowed but the scheme of its redirect URI.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowed {
    /// The origin of the client's logo.
    pub(super) images: Option<String>,
    /// The scheme of the client's redirect URI.
    pub(super) forms: Option<String>,
    /// Whether the page has a script.
    pub(super) script: bool,
}

impl Allowed {
    /// For a page that shows a client's logo and whose form may lead to the client.
    pub(super) fn of(logo: Option<&str>, redirect_uri: Option<&str>) -> Self {
        let parsed = |uri: Option<&str>| uri.and_then(|uri| url::Url::parse(uri).ok());
        Self {
            images: parsed(logo).map(|url| url.origin().ascii_serialization()),
            forms: parsed(redirect_uri).map(|url| url.scheme().to_owned()),
            script: false,
        }
    }

    fn policy(&self) -> String {
        let mut policy =
            "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'".to_owned();
        policy.push_str("; img-src 'self'");
        if let Some(origin) = &self.images {
            policy.push(' ');
            policy.push_str(origin);
        }
        if self.script {
            policy.push_str("; script-src 'self'");
        }
        policy.push_str("; form-action 'self'");
        if let Some(scheme) = &self.forms {
            policy.push_str(" https:");
            if scheme != "https" {
                policy.push(' ');
                policy.push_str(scheme);
                policy.push(':');
            }
        }
        policy
    }
}

/// A page as an answer: never stored, never framed, without scripts or styles of its own.
pub(super) fn page(status: StatusCode, template: &impl Template, allowed: &Allowed) -> HttpResponse {
    let text = match template.render() {
        Ok(text) => text,
        Err(error) => return reply::refusal(&ProtocolError::server_error(error)),
    };
    let mut response = HttpResponse::with_body(status, BoxBody::new(text));
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A client's logo is asked for without cookies: its host is not told who is about to sign in (HTML Living Standard,
        // section 7.1.4).
        (header::CROSS_ORIGIN_EMBEDDER_POLICY, "credentialless"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    match HeaderValue::try_from(allowed.policy()) {
        Ok(policy) => {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        // A page without its policy is not shown.
        Err(error) => reply::refusal(&ProtocolError::server_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_what_the_client_needs_and_no_more() {
        let policy = Allowed::default().policy();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(policy.ends_with("form-action 'self'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
        let of = |uri| Allowed::of(Some("https://cdn.example.com/logo.png"), Some(uri)).policy();
        let https = of("https://shop.example.com/callback");
        assert!(
            https.ends_with("img-src 'self' https://cdn.example.com; form-action 'self' https:"),
            "{https}"
        );
        assert!(of("http://127.0.0.1/callback").ends_with("form-action 'self' https: http:"));
        assert!(of("com.example.app:/callback").ends_with("form-action 'self' https: com.example.app:"));
    }

    #[test]
    fn links_begin_at_the_issuers_path() {
        assert_eq!(Frame::new("https://id.example.com", "Signet").base, "");
        assert_eq!(Frame::new("https://example.com/auth", "Signet").base, "/auth");
    }

    #[test]
    fn pictures_come_by_https_where_the_pages_do() {
        let [plain, secure] =
            ["http://cdn.example/a.png", "https://cdn.example/a.png"].map(|uri| WebUri::parse(uri).unwrap());
        let [http, https] =
            ["http://127.0.0.1:8080", "https://id.example.com"].map(|issuer| Frame::new(issuer, "Signet"));
        assert!(http.may_show(&plain) && http.may_show(&secure));
        assert!(!https.may_show(&plain) && https.may_show(&secure));
    }
}
