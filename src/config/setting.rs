/// A setting: its name, what it is unless it is set, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name, with a dot between section and setting; `resources[].` for those of each resource.
    pub key: &'static str,
    /// What holds unless it is set, as it would be written; `None` if the setting may be absent.
    pub default: Option<&'static str>,
    /// What it means, in one sentence.
    pub meaning: &'static str,
}

/// Every setting there is. `docs/settings.md` lists the same ones.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "issuer",
        default: None,
        meaning: "The issuer's identifier, the origin of every published URL; `http://{listen}`, or `https` with TLS, if that is loopback.",
    },
    Setting {
        key: "allow_insecure_issuer",
        default: Some("false"),
        meaning: "Accept an `http` issuer that is not on loopback.",
    },
    Setting { key: "listen", default: Some("127.0.0.1:8080"), meaning: "Where the public listener binds." },
    Setting {
        key: "tls.certificate_file",
        default: None,
        meaning: "A file of certificates in PEM, the public listener's own first: it then speaks TLS.",
    },
    Setting {
        key: "tls.private_key_file",
        default: None,
        meaning: "A file that holds that certificate's private key in PEM.",
    },
    Setting {
        key: "tls.strict_transport_security",
        default: Some("max-age=31536000"),
        meaning: "What browsers are told by `Strict-Transport-Security` where the public listener speaks TLS; `off` is nothing.",
    },
    Setting {
        key: "management_listen",
        default: Some("127.0.0.1:8081"),
        meaning: "Where metrics and health are served, without authentication.",
    },
    Setting {
        key: "admin.listener",
        default: Some("public"),
        meaning: "Which listener serves the admin API: `public`, or `management` alone.",
    },
    Setting {
        key: "admin.allow_plaintext",
        default: Some("false"),
        meaning: "Serve the admin API on a management listener that other machines reach, though it speaks no TLS.",
    },
    Setting {
        key: "node",
        default: None,
        meaning: "What this node is called in the log, the metrics and the audit log; the machine's name unless set.",
    },
    Setting {
        key: "workers",
        default: None,
        meaning: "Worker threads of the public listener; as many as there are cores unless set.",
    },
    Setting { key: "data_dir", default: Some("data"), meaning: "Where the store and the audit log live." },
    Setting {
        key: "store",
        default: Some("directory"),
        meaning: "Where what must be remembered is kept: `directory`, which is `data_dir`, or the `postgres://` URL of a database for several nodes.",
    },
    Setting {
        key: "postgres.password_file",
        default: None,
        meaning: "A file that holds the database's password, closed to others, read for every new connection.",
    },
    Setting {
        key: "postgres.ca_bundle",
        default: None,
        meaning: "A file of certificates in PEM that the database's must be signed by, instead of Mozilla's list.",
    },
    Setting {
        key: "postgres.allow_plaintext",
        default: Some("false"),
        meaning: "Accept a database on another machine without TLS.",
    },
    Setting {
        key: "postgres.timeout",
        default: Some("1500ms"),
        meaning: "How long a call to the database may take in all, waiting for a connection included; at most 30 seconds. A request waits in vain for an eighth more than this at most, whatever it asks for and however many wait for the same. What no request waits for, a node's announcement of itself for one, waits four times as long for its commits.",
    },
    Setting {
        key: "postgres.connections",
        default: Some("16"),
        meaning: "How many connections to the database this node may have, 2 at least: a quarter of them, one at least, never write, so that reads go on while commits wait. Three more listen for changes, read them and announce this node.",
    },
    Setting {
        key: "postgres.waiting",
        default: Some("1024"),
        meaning: "How many calls may wait for a connection; further ones fail at once.",
    },
    Setting {
        key: "log.filter",
        default: Some("info,actix_server=warn,actix_http=off"),
        meaning: "What is logged, in the syntax of `tracing-subscriber`; `actix_http` has a line for each head that is no HTTP.",
    },
    Setting {
        key: "log.json",
        default: Some("false"),
        meaning: "Log one JSON object a line instead of text.",
    },
    Setting {
        key: "keys.vault",
        default: None,
        meaning: "Where the sealed signing keys live: `directory`, or `store`, as they do with PostgreSQL unless set.",
    },
    Setting { key: "keys.dir", default: Some("keys"), meaning: "The directory of the sealed signing keys." },
    Setting {
        key: "keys.kek_file",
        default: None,
        meaning: "A file that holds the key-encryption key; not beside the keys.",
    },
    Setting {
        key: "keys.pkcs11.module",
        default: None,
        meaning: "The library of a PKCS#11 module that keeps the key-encryption key; it never leaves the module.",
    },
    Setting { key: "keys.pkcs11.token", default: None, meaning: "The token's label, or its serial number." },
    Setting {
        key: "keys.pkcs11.key",
        default: None,
        meaning: "The key's label, or `id:` and its identifier in hex.",
    },
    Setting {
        key: "keys.pkcs11.pin_file",
        default: None,
        meaning: "The file of the token's PIN; not beside the keys.",
    },
    Setting {
        key: "keys.algorithms",
        default: Some("ES256,RS256"),
        meaning: "Signature algorithms in use; the first whose key signs is the default, RS256 the default of ID tokens. One that is added waits for `keys.lead`.",
    },
    Setting {
        key: "keys.jwks_max_age",
        default: Some("5m"),
        meaning: "M: for how long the published keys may be cached.",
    },
    Setting {
        key: "keys.propagation",
        default: Some("30s"),
        meaning: "P: within what time every node loads a change.",
    },
    Setting {
        key: "keys.clock_skew",
        default: Some("90s"),
        meaning: "S: clock skew between nodes plus verifiers' leeway; with PostgreSQL at least 14 s.",
    },
    Setting {
        key: "keys.lead",
        default: Some("24h"),
        meaning: "How long a key is published before it signs; at least P + M + S.",
    },
    Setting {
        key: "keys.hold",
        default: Some("24h"),
        meaning: "How long a key stays published after it signed; at least P + T + S.",
    },
    Setting {
        key: "keys.rotation_period",
        default: Some("30d"),
        meaning: "How long a key signs; longer than `keys.lead`.",
    },
    Setting {
        key: "keys.sealing_period",
        default: Some("30d"),
        meaning: "How long a sealing key seals refresh tokens, cookies and forms before the next one does.",
    },
    Setting {
        key: "tokens.lifetime",
        default: Some("1h"),
        meaning: "How long an access token lives unless its resource or client says otherwise.",
    },
    Setting {
        key: "tokens.longest_lifetime",
        default: None,
        meaning: "T: no token may live longer; the largest lifetime in the settings unless set.",
    },
    Setting {
        key: "tokens.status_list_ttl",
        default: Some("10s"),
        meaning: "For how long a status list may be cached: how soon a revocation is seen.",
    },
    Setting {
        key: "codes.lifetime",
        default: Some("60s"),
        meaning: "Within what time an authorization code must be redeemed; at most 10 minutes.",
    },
    Setting {
        key: "refresh_tokens.lifetime",
        default: Some("30d"),
        meaning: "How long a grant can be refreshed, counted from when its code was redeemed.",
    },
    Setting {
        key: "refresh_tokens.idle",
        default: Some("14d"),
        meaning: "How long a refresh token may lie unused; at most `refresh_tokens.lifetime`.",
    },
    Setting {
        key: "passwords.hashing_permits",
        default: None,
        meaning: "How many passwords are hashed at once, 19 MiB each, and 19 MiB once more where other programs use the cores up; as many as there are cores unless set, and never more.",
    },
    Setting {
        key: "sessions.idle",
        default: Some("8h"),
        meaning: "Whoever did nothing for so long is signed out.",
    },
    Setting {
        key: "sessions.absolute",
        default: Some("7d"),
        meaning: "Whoever signed in so long ago is signed out. So long an ID token counts as a hint after its key has left \
                  the JWKS.",
    },
    Setting {
        key: "pages.service_name",
        default: Some("Signet"),
        meaning: "What the service calls itself on its pages.",
    },
    Setting {
        key: "pages.scope_descriptions.*",
        default: None,
        meaning: "What a scope token lets a client do, in words, for the consent page. Without it the token is shown as it is, and `signet doctor` and the log at start name it.",
    },
    Setting {
        key: "dialects.oauth_token_get",
        default: Some("false"),
        meaning: "Let `GET /oauth/token` issue tokens, as one old document's prose has it.",
    },
    Setting {
        key: "dialects.apps",
        default: Some("false"),
        meaning: "Let anybody register an application at `/api/v1/apps`, which then gets tokens of its own for the first resource.",
    },
    Setting {
        key: "dialects.apps_scope",
        default: Some("read write follow push"),
        meaning: "What an application may have that registers itself, as far as the first resource knows it; the scope of its document unless set.",
    },
    Setting {
        key: "dialects.most_apps",
        default: Some("1000"),
        meaning: "How many such applications there may be; further registrations are refused.",
    },
    Setting {
        key: "trusted_proxies",
        default: None,
        meaning: "Networks of the proxies in front of the service, such as `10.0.0.0/8`; only their forwarding header is believed.",
    },
    Setting {
        key: "forwarded_header",
        default: Some("x-forwarded-for"),
        meaning: "The one header in which they say for whom they ask: `x-forwarded-for` or `forwarded` (RFC 7239).",
    },
    Setting {
        key: "believe_request_id",
        default: Some("false"),
        meaning: "Call a request what they call it in `X-Request-Id`; only for proxies that replace what their own clients send.",
    },
    Setting {
        key: "limits.token_per_client",
        default: Some("6000000"),
        meaning: "Token requests of one client that has authenticated, with an API key too.",
    },
    Setting {
        key: "limits.token_per_address",
        default: Some("6000"),
        meaning: "Token and revocation requests from one address in which no client authenticates, and no API key \
                  is good.",
    },
    Setting {
        key: "limits.revocation_per_client",
        default: Some("60000"),
        meaning: "Revocations by one client.",
    },
    Setting {
        key: "limits.refused_per_address",
        default: Some("300"),
        meaning: "Requests from one address with wrong credentials, or without the permission that they need.",
    },
    Setting {
        key: "limits.authorize_per_address",
        default: Some("600"),
        meaning: "Authorization requests from one address.",
    },
    Setting {
        key: "limits.login_per_address",
        default: Some("60"),
        meaning: "Sign-ins from one address, on devices that are not known.",
    },
    Setting {
        key: "limits.login_per_account",
        default: Some("20"),
        meaning: "Sign-ins to one account by whoever has signed in to it before; a second factor counts too.",
    },
    Setting {
        key: "limits.registration_per_address",
        default: Some("10"),
        meaning: "Registrations from one address; counted apart, as many questions with one token which application \
                  it is of.",
    },
    Setting {
        key: "limits.acts_per_person",
        default: Some("60"),
        meaning: "What one person changes on the pages of the portal and the console.",
    },
    Setting { key: "limits.api_key", default: Some("100"), meaning: "Requests with one API key." },
    Setting {
        key: "api_keys.in_query",
        default: Some("false"),
        meaning: "Take API keys in the query parameter `api_key` too, where they end up in logs.",
    },
    Setting {
        key: "people.change_email",
        default: Some("false"),
        meaning: "Let people change their e-mail address in the portal. Nothing is sent to the new one, so it is not verified; and \"The email is taken.\" tells whoever is signed in which addresses have accounts.",
    },
    Setting {
        key: "people.client_credentials",
        default: Some("false"),
        meaning: "Let an application that people register in the portal, and that keeps a secret, have tokens of its own too (`client_credentials`), within what `people_scope` opens. Those registered meanwhile keep it.",
    },
    Setting {
        key: "people.made_per_day",
        default: Some("50"),
        meaning: "Applications and API keys that one person may make in any 24 hours, those included that are deleted again; at most 1000.",
    },
    Setting {
        key: "outgoing.allowed_networks",
        default: None,
        meaning: "Networks that outgoing requests may reach although they are not public, such as `10.0.0.0/8`; loopback ones by plain `http` too.",
    },
    Setting {
        key: "outgoing.ca_bundle",
        default: None,
        meaning: "A file of certificates in PEM that outgoing requests trust instead of Mozilla's list.",
    },
    Setting {
        key: "outgoing.timeout",
        default: Some("5s"),
        meaning: "How long an outgoing request may take in all; at most 20 seconds.",
    },
    Setting {
        key: "resources[].uri",
        default: None,
        meaning: "The resource server's identifier: the value of `resource` and `aud`.",
    },
    Setting {
        key: "resources[].scope",
        default: None,
        meaning: "The scope tokens that mean something to it, separated by spaces.",
    },
    Setting {
        key: "resources[].people_scope",
        default: None,
        meaning: "The part of it that people may open to API keys and applications of their own; nothing unless set.",
    },
    Setting {
        key: "resources[].lifetime",
        default: None,
        meaning: "How long tokens for it live; `tokens.lifetime` unless set.",
    },
    Setting {
        key: "resources[].algorithm",
        default: None,
        meaning: "With which algorithm tokens for it are signed, once its key signs; as everything else is unless set.",
    },
];

/// The resource server that is there while no `[[resources]]` is given.
pub(super) const DEMO_RESOURCE: [(&str, &str); 3] =
    [("uri", "http://127.0.0.1:9000"), ("scope", "read write"), ("people_scope", "read write")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_settings_share_an_environment_variable() {
        let mut names: Vec<String> = SETTINGS.iter().map(|setting| setting.key.replace('.', "_")).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
    }
}
