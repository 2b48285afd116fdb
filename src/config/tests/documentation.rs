//! Every setting is documented, and is read.

use super::stores::SHARED;
use super::*;

const DOCUMENT: &str = include_str!("../../../docs/settings.md");

#[test]
fn every_setting_is_documented_with_its_default() {
    for setting in SETTINGS {
        let default = setting.default.map_or_else(|| "—".to_owned(), |default| format!("`{default}`"));
        let row = format!("| `{}` | {default} | {} |", setting.key, setting.meaning);
        assert!(DOCUMENT.contains(&row), "docs/settings.md lacks the row\n{row}");
    }
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 4);
    assert_eq!(rows.count(), SETTINGS.len(), "docs/settings.md documents a setting that is not there");
}

#[test]
fn the_sample_in_the_documentation_names_every_setting_and_loads() {
    let sample = DOCUMENT.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    given(sample, &[]).unwrap();
    for setting in SETTINGS {
        // A table whose keys are not settings is named by its section.
        let line_of = match setting.key.strip_suffix(".*") {
            Some(section) => format!("[{section}]"),
            None => format!("{} =", setting.key.rsplit('.').next().unwrap()),
        };
        let named = sample.lines().any(|line| line.trim_start_matches("# ").starts_with(&line_of));
        assert!(named, "the sample does not name {}", setting.key);
    }
}

#[test]
fn every_field_is_a_setting() {
    // Destructured whole, so that a new field does not compile until it is read and documented.
    let Config {
        issuer,
        listen,
        tls: _of_two_settings,
        management_listen,
        admin,
        node,
        workers,
        data_dir,
        store,
        log,
        keys,
        tokens,
        codes,
        refresh_tokens,
        passwords,
        sessions,
        resources,
        pages,
        dialects,
        trusted_proxies,
        forwarded_header,
        believe_request_id,
        limits,
        api_keys,
        people,
        outgoing,
    } = Config::for_tests(Path::new("t"));
    let LogConfig { filter, json } = log;
    let KeysConfig {
        vault,
        dir,
        kek,
        algorithms,
        jwks_max_age,
        propagation,
        clock_skew,
        lead,
        hold,
        rotation_period,
        sealing_period,
    } = keys;
    let TokensConfig { lifetime, longest_lifetime, status_list_ttl } = tokens;
    let CodesConfig { lifetime: code_lifetime } = codes;
    let RefreshTokensConfig { lifetime: refresh_lifetime, idle } = refresh_tokens;
    let PasswordsConfig { hashing_permits, cost: _no_setting } = passwords;
    let SessionsConfig { idle: session_idle, absolute } = sessions;
    let PagesConfig { service_name, scope_descriptions } = pages;
    let AdminConfig { listener, allow_plaintext } = admin;
    let DialectsConfig { oauth_token_get, apps, apps_scope, most_apps } = dialects;
    let LimitsConfig {
        token_per_client,
        token_per_address,
        revocation_per_client,
        refused_per_address,
        authorize_per_address,
        login_per_address,
        login_per_account,
        registration_per_address,
        acts_per_person,
        api_key,
    } = limits;
    let ApiKeysConfig { in_query } = api_keys;
    let PeopleConfig { change_email, client_credentials, made_per_day } = people;
    let OutgoingConfig { allowed_networks, ca_bundle, timeout } = outgoing;
    let ResourceConfig { uri, scope, people_scope, lifetime: own_lifetime, algorithm } = resources[0].clone();
    let mut fields = 0;
    macro_rules! count { ($($field:ident)*) => { $(let _ = &$field; fields += 1;)* } }
    count!(issuer listen management_listen node workers data_dir filter json dir kek algorithms jwks_max_age);
    count!(propagation clock_skew lead hold rotation_period lifetime longest_lifetime status_list_ttl);
    count!(trusted_proxies forwarded_header believe_request_id token_per_client token_per_address revocation_per_client);
    count!(refused_per_address authorize_per_address login_per_address registration_per_address api_key);
    count!(login_per_account);
    count!(made_per_day client_credentials);
    count!(in_query change_email apps apps_scope most_apps acts_per_person allowed_networks ca_bundle timeout);
    count!(sealing_period code_lifetime refresh_lifetime idle);
    count!(hashing_permits session_idle absolute);
    count!(service_name scope_descriptions);
    count!(oauth_token_get uri scope people_scope own_lifetime algorithm);
    count!(listener allow_plaintext);
    count!(store vault);
    // The settings of PostgreSQL are those of a store that is not the default.
    let StoreConfig::Postgres(database) =
        given("store = \"postgres://a@localhost/b\"", &SHARED).unwrap().store
    else {
        panic!("it is a database")
    };
    let PostgresConfig { hosts, user, database, password, tls, ca_bundle, session_options, .. } = *database;
    // All but the last are said by the URL and what belongs to it.
    let _ = (hosts, user, database, session_options);
    count!(password tls ca_bundle);
    // timeout, connections and waiting.
    fields += 3;
    let TlsConfig { certificate_file, private_key_file, strict_transport_security } =
        given(TLS, &[]).unwrap().tls.unwrap();
    count!(certificate_file private_key_file strict_transport_security);
    let KekSource::Module(key) = given(MODULE, &[PIN]).unwrap().keys.kek else { panic!("it is in a module") };
    let ModuleKeyConfig { module, token, key, pin } = *key;
    count!(module token key pin);
    // allow_insecure_issuer is only a permission for `issuer`, and kept nowhere.
    assert_eq!(fields + 1, SETTINGS.len());
}
