use std::collections::HashMap;
use std::error::Error;

use openidconnect::url::Url;
use regex_lite::Regex;
use reqwest::blocking::{Client, Response};
use reqwest::header::LOCATION;

/// A browser without scripts: keeps cookies, follows redirects, fills in forms.
pub struct Browser(Client);

impl Browser {
    pub fn new() -> Result<Self, Box<dyn Error>> {
        let policy = reqwest::redirect::Policy::none();
        Ok(Self(Client::builder().cookie_store(true).redirect(policy).build()?))
    }

    /// Signs in, allows what is asked, and gives the parameters with which the client gets its answer.
    pub fn authorize(
        &self,
        url: Url,
        name: &str,
        password: &str,
    ) -> Result<HashMap<String, String>, Box<dyn Error>> {
        let redirect_uri =
            url.query_pairs().find(|(key, _)| key == "redirect_uri").map(|(_, value)| value.into_owned());
        let redirect_uri = redirect_uri.ok_or("there is no redirect_uri")?;
        let mut response = self.0.get(url).send()?;
        for _ in 0..8 {
            if let Some(location) = response.headers().get(LOCATION) {
                let next = response.url().join(location.to_str()?)?;
                if next.as_str().starts_with(&redirect_uri) {
                    return Ok(next.query_pairs().into_owned().collect());
                }
                response = self.0.get(next).send()?;
                continue;
            }
            response = self.fill_in(response, name, password)?;
        }
        Err("there are too many pages".into())
    }

    fn fill_in(&self, page: Response, name: &str, password: &str) -> Result<Response, Box<dyn Error>> {
        let (status, url, html) = (page.status(), page.url().clone(), page.text()?);
        let form = Regex::new(r#"(?s)<form[^>]*method="post"[^>]*>.*?</form>"#)?;
        let form =
            form.find(&html).ok_or_else(|| format!("{status}: a page without a form: {html}"))?.as_str();
        let action = attribute(form, "action").unwrap_or_default();
        let mut fields: Vec<(String, String)> = Vec::new();
        for input in Regex::new(r"(?s)<input[^>]*>")?.find_iter(form) {
            let input = input.as_str();
            if attribute(input, "type").as_deref() == Some("hidden") {
                let field = attribute(input, "name").ok_or("a hidden field without a name")?;
                fields.push((field, attribute(input, "value").unwrap_or_default()));
            }
        }
        if form.contains(r#"name="password""#) {
            fields.push(("username".into(), name.into()));
            fields.push(("password".into(), password.into()));
        } else if form.contains(r#"name="decision""#) {
            fields.push(("decision".into(), "allow".into()));
        } else {
            return Err(format!("a form that nobody told us of: {form}").into());
        }
        Ok(self.0.post(url.join(&action)?).form(&fields).send()?)
    }
}

/// The value of an attribute of the first tag of `html`, its references resolved.
fn attribute(html: &str, name: &str) -> Option<String> {
    let tag = &html[..html.find('>')?];
    let value = Regex::new(&format!(r#"\s{name}="([^"]*)""#)).ok()?.captures(tag)?.get(1)?.as_str();
    let resolved = [
        "&quot;\"", "&#34;\"", "&#39;'", "&#x27;'", "&lt;<", "&#60;<", "&gt;>", "&#62;>", "&#38;&", "&amp;&",
    ];
    Some(resolved.iter().fold(value.to_owned(), |text, each| {
        let (reference, character) = each.split_at(each.len() - 1);
        text.replace(reference, character)
    }))
}
