use std::fmt::Write as _;
use std::io::Write as _;

use super::remote::admin_base;
use crate::app::{FirstClient, FirstClients};
use crate::config::Config;
use crate::oauth::shell_word;

/// Says where the service listens and, at the first start, shows the first clients' secrets and what to
/// try with them.
pub(super) fn print(config: &Config, first: Option<&FirstClients>) {
    let mut text = String::new();
    let _infallible = writeln!(
        text,
        "Signet serves {} on {}, metrics and health on http://{}",
        config.issuer, config.listen, config.management_listen
    );
    if let Some(first) = first {
        let _infallible = text.write_str(&introduction(config, first));
    }
    // A closed standard output must not stop the service.
    let _closed = std::io::stdout().write_all(text.as_bytes());
}

fn introduction(config: &Config, FirstClients { admin, demo }: &FirstClients) -> String {
    let issuer = &config.issuer;
    // As it was called: nothing says that it is on the path.
    let program = shell_word(&std::env::args().next().unwrap_or_else(|| "signet".to_owned()));
    let at = |path: &str| shell_word(&format!("{issuer}{path}"));
    let (named, token) = (at(""), at("/oauth2/token"));
    let rotate = shell_word(&format!("{}/admin/keys/rotate", admin_base(config)));
    let (admin_id, admin_secret) = shown(admin);
    let demo = demo.as_ref().zip(config.demo_resource());
    let (made, secrets, sample) = match demo {
        None => {
            let made = "One client was made; its secret is shown only now, and kept as a hash";
            (made, String::new(), String::new())
        }
        Some((demo, resource)) => {
            let (id, secret) = shown(demo);
            let secrets =
                format!("  demo client     client_id      {id}\n                  client_secret  {secret}\n");
            let made = "Two clients were made; their secrets are shown only now, and kept as hashes";
            (made, secrets, sample((id, secret), issuer, resource.uri.as_str()))
        }
    };
    format!(
        r#"
This is the first start. {made}:

{secrets}  administrator   client_id      {admin_id}
                  client_secret  {admin_secret}

Try next, in another terminal:

{sample}  # An account that administers; then sign in at {issuer}/console
  export SIGNET_ADMIN_CLIENT_ID={admin_id} SIGNET_ADMIN_CLIENT_SECRET={admin_secret}
  echo 'a sentence that nobody guesses' | {program} users add --name 'Your Name' --email you@example.com --admin --password-file - --issuer {named}

  # Rotate the signing key
  ADMIN=$(curl -s -u {admin_id}:{admin_secret} -d grant_type=client_credentials {token} | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl -sw '\n' -X POST -H "Authorization: Bearer $ADMIN" {rotate}

"#
    )
}

/// What to try with a client that may ask tokens for `resource`.
fn sample((id, secret): (&str, &str), issuer: &str, resource: &str) -> String {
    let at = |path: &str| shell_word(&format!("{issuer}{path}"));
    let [token, jwks, introspect, revoke] =
        ["/oauth2/token", "/.well-known/jwks.json", "/oauth2/introspect", "/oauth2/revoke"].map(at);
    format!(
        r#"  # A signed token for {resource}
  TOKEN=$(curl -s -u {id}:{secret} -d grant_type=client_credentials {token} | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  echo $TOKEN

  # The keys that verify it
  curl -sw '\n' {jwks}

  # Is it good? Then revoke it, and ask again
  curl -sw '\n' -u {id}:{secret} -d token=$TOKEN {introspect}
  curl -sw '\n' -u {id}:{secret} -d token=$TOKEN {revoke}
  curl -sw '\n' -u {id}:{secret} -d token=$TOKEN {introspect}

"#
    )
}

fn shown(registered: &FirstClient) -> (&str, &str) {
    (registered.client.client_id.as_str(), registered.client_secret.expose())
}
