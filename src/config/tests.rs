mod documentation;
mod stores;

use std::time::Duration;

use super::*;

fn given(toml: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signet.toml");
    std::fs::write(&path, toml).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sources = Sources { file: Some(path), env, flags: FlagOverrides::default() };
    load(&sources)
}

/// The problems, the file's directory left out.
fn problems(toml: &str, env: &[(&str, &str)]) -> Vec<String> {
    let problems = given(toml, env).expect_err("refused").problems;
    let line = |problem: &Problem| {
        let line = problem.to_string();
        line.split_once("/signet.toml").map_or_else(|| line.clone(), |(_, rest)| format!("signet.toml{rest}"))
    };
    problems.iter().map(line).collect()
}

fn problem(toml: &str) -> String {
    let problems = problems(toml, &[]);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn the_defaults_are_a_working_service() {
    let config = load(&Sources::default()).unwrap();
    assert_eq!(config.issuer, "http://127.0.0.1:8080");
    assert_eq!(config.keys.algorithms, [Algorithm::ES256, Algorithm::RS256]);
    assert_eq!(config.keys.lead, Duration::from_hours(24));
    assert_eq!(config.tokens.longest_lifetime, Duration::from_hours(1));
    assert_eq!(config.resources.len(), 1);
    assert_eq!(config.resources[0].scope.as_str(), "read write");
    assert!(matches!(config.keys.kek, KekSource::Developer));
    assert!(config.workers >= 1);
}

/// More would only have the threads that answer requests wait for their core.
#[test]
fn no_more_passwords_are_hashed_at_once_than_there_are_cores() {
    let permits = |toml| given(toml, &[]).unwrap().passwords.hashing_permits;
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(permits(""), cores);
    assert_eq!(permits("passwords.hashing_permits = 1"), 1);
    assert_eq!(permits("passwords.hashing_permits = 1024"), cores);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "[keys]\nlead = \"10h\"\nhold = \"11h\"\npropagation = \"12s\"\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signet.toml");
    std::fs::write(&path, file).unwrap();
    let sources = Sources {
        file: Some(path),
        env: vec![
            ("SIGNET_KEYS__HOLD".into(), "21h".into()),
            ("SIGNET_KEYS_PROPAGATION".into(), "22s".into()),
        ],
        flags: FlagOverrides::default().set("--propagation", "keys.propagation", Some("32s".into())),
    };
    let keys = load(&sources).unwrap().keys;
    let seconds = |duration: Duration| duration.as_secs();
    assert_eq!((seconds(keys.lead), seconds(keys.hold), seconds(keys.propagation)), (36_000, 75_600, 32));
}

#[test]
fn the_environment_can_say_everything() {
    let config = given(
        "",
        &[
            ("SIGNET_KEYS_ALGORITHMS", "EdDSA, RS256"),
            ("SIGNET_WORKERS", "3"),
            ("SIGNET_LOG_JSON", "true"),
            ("SIGNET_RESOURCES", r#"[{uri = "https://a.example", scope = "x y", lifetime = "2h"}]"#),
            ("SIGNET_KEYS_KEK", "c2VjcmV0"),
            ("SIGNET_CONFIG", "ignored"),
            ("SIGNET_SERVICE_HOST", "10.0.0.1"),
            ("SIGNET_PORT", "tcp://10.0.0.1:80"),
        ],
    )
    .unwrap();
    assert_eq!(config.keys.algorithms, [Algorithm::EdDSA, Algorithm::RS256]);
    assert_eq!((config.workers, config.log.json), (3, true));
    assert_eq!(config.resources[0].uri.as_str(), "https://a.example");
    assert_eq!(config.tokens.longest_lifetime, Duration::from_hours(2));
    assert!(matches!(config.keys.kek, KekSource::Value(_)));
    assert!(!format!("{config:?}").contains("c2VjcmV0"));
}

#[test]
fn everything_wrong_is_reported_together_with_origin_and_remedy() {
    let problems = problems(
        "issuer = \"ftp://x\"\nworkres = 4\n[keys]\nlead = \"1 fortnight\"\nhold = 5\n",
        &[("SIGNET_KEYS__LEED", "1h"), ("SIGNET_WORKERS", "0")],
    );
    let expected = [
        "environment variable SIGNET_KEYS__LEED: is not a setting; did you mean SIGNET_KEYS_LEAD?",
        "signet.toml: keys.lead = \"1 fortnight\": is not a duration: unknown time unit \"fortnight\", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations); write a number with its unit, such as \"30s\", \"5m\", \"24h\" or \"30d\"",
        "signet.toml: keys.hold = 5: must be a duration; write a number with its unit, such as \"30s\", \"5m\", \"24h\" or \"30d\"",
        "signet.toml: issuer = \"ftp://x\": must be an https URL; write, say, \"https://id.example.com\"",
        "environment variable SIGNET_WORKERS: workers = \"0\": must be a number from 1 to 1024; write, say, 1",
        "signet.toml: workres: is not a setting; did you mean workers?",
    ];
    assert_eq!(problems, expected, "{problems:#?}");
}

#[test]
fn issuers_that_are_no_issuer_are_refused() {
    for (issuer, reason) in [
        ("id.example.com", "must be an absolute URL"),
        ("https://id.example.com/", "must not end with a slash"),
        ("https://id.example.com?x=1", "no query"),
        ("https://id.example.com#x", "no query and no fragment"),
        ("https://user:pw@id.example.com", "no user name"),
        ("https://ID.example.com", "write \"https://id.example.com\""),
        ("https://id.example.com:443", "write \"https://id.example.com\""),
        ("http://id.example.com", "must be https unless its host is loopback"),
        ("mailto:x@example.com", "with a host"),
        ("https://example.com/a%20b", "written in several ways"),
        ("https://example.com/a*", "written in several ways"),
        ("https://example.com/users", "as pages and documents of Signet itself do"),
        ("https://example.com/v1/users", "as pages and documents of Signet itself do"),
        ("https://example.com/status/a", "as pages and documents of Signet itself do"),
        ("", "must not be empty"),
    ] {
        let problem = problem(&format!("issuer = {issuer:?}"));
        assert!(problem.contains(reason), "{issuer}: {problem}");
    }
    let with_paths = [
        "https://example.com/id",
        "https://example.com/v1",
        "https://example.com/usersx",
        "https://example.com/auth/v1",
        "https://example.com/a.b/~c_d-E",
    ];
    for issuer in
        ["https://id.example.com", "http://localhost:1", "http://[::1]:1"].into_iter().chain(with_paths)
    {
        assert_eq!(given(&format!("issuer = {issuer:?}"), &[]).unwrap().issuer, issuer);
    }
    let insecure = "issuer = \"http://id.internal\"\nallow_insecure_issuer = true";
    assert!(given(insecure, &[]).is_ok());
}

#[test]
fn an_issuer_is_guessed_from_a_loopback_listener_only() {
    assert_eq!(given("listen = \"127.0.0.1:9999\"", &[]).unwrap().issuer, "http://127.0.0.1:9999");
    let problem = problem("listen = \"0.0.0.0:8080\"");
    assert!(problem.contains("issuer: must be set"), "{problem}");
}

#[test]
fn the_listeners_must_not_overlap() {
    for listen in ["127.0.0.1:8081", "0.0.0.0:8081", "[::]:8081"] {
        let problem = problem(&format!("listen = {listen:?}\nissuer = \"https://id.example.com\""));
        assert!(problem.contains("management_listen"), "{listen}: {problem}");
    }
}

#[test]
fn the_admin_api_is_not_served_in_plaintext_to_other_machines_unless_that_is_said() {
    let with = |listen: &str, more: &str| {
        given(&format!("management_listen = {listen:?}\n[admin]\nlistener = \"management\"\n{more}"), &[])
    };
    for listen in ["0.0.0.0:8081", "[::]:8081", "192.0.2.1:8081"] {
        let error = with(listen, "").unwrap_err().to_string();
        assert!(error.contains("admin.listener = \"management\"") && error.contains(listen), "{error}");
        with(listen, "allow_plaintext = true").unwrap();
        given(&format!("management_listen = {listen:?}"), &[]).unwrap();
    }
    for listen in ["127.0.0.1:8081", "[::1]:8081", "[::ffff:127.0.0.1]:8081"] {
        with(listen, "").unwrap();
    }
    assert!(problem("[admin]\nlistener = \"both\"").contains("public or management"));
}

#[test]
fn a_key_encryption_key_has_one_source_and_stays_out_of_the_file() {
    let in_file = problem("[keys]\nkek = \"hunter2\"");
    assert!(in_file.contains("a secret does not belong"), "{in_file}");
    assert!(!in_file.contains("hunter2"));
    let twice = problems("[keys]\nkek_file = \"/run/kek\"", &[("SIGNET_KEYS_KEK", "hunter2")]);
    assert!(twice[0].contains("gives the key-encryption key too"), "{twice:?}");
    assert!(!twice[0].contains("hunter2"));
    let empty = problems("", &[("SIGNET_KEYS_KEK", "")]);
    assert!(empty[0].contains("set but empty"), "{empty:?}");
    let beside = problem("[keys]\ndir = \"k\"\nkek_file = \"k/kek\"");
    assert!(beside.contains("must not lie beside"), "{beside}");
    let here = std::env::current_dir().unwrap();
    for (dir, kek) in [
        ("k", "./k/kek"),
        ("./k", "k/kek"),
        ("k", "x/../k/kek"),
        ("x/../k", "k/sub/kek"),
        ("/a/k", "/a/./b/../k/kek"),
        ("/k", "/../k/kek"),
        ("k", here.join("k/kek").to_str().unwrap()),
        (here.join("k").to_str().unwrap(), "k/kek"),
    ] {
        let beside = problem(&format!("[keys]\ndir = {dir:?}\nkek_file = {kek:?}"));
        assert!(beside.contains("must not lie beside"), "{dir} {kek}: {beside}");
    }
    for kek in ["k/../kek", "k-kek", "k/sub/../../kek", "../k/kek"] {
        assert!(given(&format!("[keys]\ndir = \"k\"\nkek_file = {kek:?}"), &[]).is_ok(), "{kek}");
    }
    assert!(matches!(given("[keys]\nkek_file = \"/run/kek\"", &[]).unwrap().keys.kek, KekSource::File(_)));
}

const MODULE: &str = "[keys.pkcs11]\nmodule = \"/m.so\"\ntoken = \"t\"\nkey = \"k\"\n";
const PIN: (&str, &str) = ("SIGNET_KEYS_PKCS11_PIN", "hunter2");

#[test]
fn a_module_is_named_whole_and_is_the_only_source() {
    let KekSource::Module(key) = given(MODULE, &[PIN]).unwrap().keys.kek else { panic!("no module") };
    assert_eq!((key.module.to_str(), &*key.token, &*key.key), (Some("/m.so"), "t", "k"));
    let by_file = given(&format!("{MODULE}pin_file = \"/pin\""), &[]).unwrap().keys.kek;
    assert!(matches!(by_file, KekSource::Module(key) if matches!(key.pin, PinSource::File(_))));
    // For `signet keys rekey` into a module.
    assert!(matches!(given("", &[PIN]).unwrap().keys.kek, KekSource::Developer));

    let lines: Vec<&str> = MODULE.lines().collect();
    for (left_out, missing) in [(2, "keys.pkcs11.token"), (3, "keys.pkcs11.key")] {
        let rest: Vec<&str> =
            lines.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| *line).collect();
        let said = problems(&rest.join("\n"), &[PIN]);
        assert!(said.len() == 1 && said[0].contains(missing), "{said:?}");
    }
    let said = problem("[keys.pkcs11]\ntoken = \"t\"");
    assert!(said.contains("must be given with keys.pkcs11.module"), "{said}");
    assert!(problem(MODULE).contains("SIGNET_KEYS_PKCS11_PIN"));
    let twice = problems(&format!("{MODULE}pin_file = \"/pin\""), &[PIN]);
    assert!(twice.len() == 1 && twice[0].contains("gives the PIN too"), "{twice:?}");
    let beside = problem(&format!("{MODULE}pin_file = \"keys/pin\""));
    assert!(beside.contains("keys.pkcs11.pin_file") && beside.contains("must not lie beside"), "{beside}");
    let with_file = problems(&format!("[keys]\nkek_file = \"/kek\"\n{MODULE}"), &[PIN]);
    assert!(with_file.len() == 1 && with_file[0].contains("keys.kek_file gives"), "{with_file:?}");
    let with_value = problems(MODULE, &[PIN, ("SIGNET_KEYS_KEK", "hunter3")]);
    assert!(with_value.len() == 1 && with_value[0].contains("SIGNET_KEYS_KEK gives"), "{with_value:?}");
    assert!(problems(MODULE, &[("SIGNET_KEYS_PKCS11_PIN", " ")])[0].contains("set but empty"));
    for wrong in ["id:", "id:abc", "id:xx"] {
        let said = problems(&MODULE.replace("\"k\"", &format!("{wrong:?}")), &[PIN]);
        assert!(said.len() == 1 && said[0].contains("keys.pkcs11.key"), "{wrong}: {said:?}");
    }
    let in_file = problem(&format!("{MODULE}pin = \"hunter2\"\npin_file = \"/pin\""));
    assert!(in_file.contains("a secret does not belong") && !in_file.contains("hunter2"), "{in_file}");
}

#[test]
fn lifetimes_are_bounded_by_the_longest() {
    let resource = "[[resources]]\nuri = \"https://a.example\"\nscope = \"x\"\n";
    for (toml, expected) in [
        ("[tokens]\nlifetime = \"25h\"", "at most 1d"),
        ("[tokens]\nlifetime = \"0s\"", "at least 1s"),
        ("[tokens]\nlifetime = \"1500ms\"", "must be whole seconds"),
        ("[tokens]\nlifetime = \"2h\"\nlongest_lifetime = \"1h\"", "at most 1h (tokens.longest_lifetime)"),
        ("[tokens]\nlifetime = \"5s\"", "tokens.status_list_ttl = \"10s\": must be at most 5s"),
    ] {
        let problem = problem(toml);
        assert!(problem.contains(expected), "{toml}: {problem}");
    }
    let long = format!("[tokens]\nlongest_lifetime = \"1h\"\n{resource}lifetime = \"2h\"");
    assert!(problem(&long).contains("resources[0].lifetime = \"2h\": must be at most 1h"));
    let unset = format!("{resource}lifetime = \"2h\"");
    assert_eq!(given(&unset, &[]).unwrap().tokens.longest_lifetime, Duration::from_hours(2));
}

#[test]
fn resources_are_distinct_and_know_their_algorithms() {
    let resource = |uri: &str, more: &str| format!("[[resources]]\nuri = {uri:?}\nscope = \"x\"\n{more}\n");
    let twice = resource("https://a.example", "") + &resource("https://a.example", "");
    assert!(problem(&twice).contains("resources[1].uri = \"https://a.example\": is given twice"));
    assert!(problem(&resource("http://127.0.0.1:8080/admin", "")).contains("built in"));
    assert!(
        problem(&resource("https://a.example", "algorithm = \"PS256\"")).contains("among keys.algorithms")
    );
    assert!(problem(&resource("https://a.example", "algorithm = \"none\"")).contains("unknown algorithm"));
    assert!(
        problem(&resource("https://a.example", "scopes = \"y\"")).contains("did you mean resources[].scope?")
    );
    assert!(problem("[[resources]]\nuri = \"https://a.example\"").contains("resources[0].scope: is missing"));
    let admin = "[[resources]]\nuri = \"https://a.example\"\nscope = \"signet:keys\"";
    assert!(problem(admin).contains("the admin API's"));
    assert!(given("resources = []", &[]).unwrap().resources.is_empty());
}

#[test]
fn a_rule_that_is_broken_hides_no_other() {
    let toml = "[keys]\nalgorithms = [\"ES256\"]\n[tokens]\nlifetime = \"1h\"\nlongest_lifetime = \"30m\"\n[[resources]]\nuri = \"https://a.example\"\nscope = \"x\"\n\
                people_scope = \"y\"\nalgorithm = \"RS256\"\nlifetime = \"2h\"\n";
    let problems = problems(toml, &[]).join("\n");
    for key in
        ["tokens.lifetime", "resources[0].people_scope", "resources[0].algorithm", "resources[0].lifetime"]
    {
        assert!(problems.contains(&format!("{key} = ")), "{key}: {problems}");
    }
}

#[test]
fn algorithms_are_known_distinct_and_present() {
    for (list, expected) in [
        ("[]", "must name an algorithm"),
        ("[\"HS256\"]", "unknown algorithm"),
        ("[\"ES256\", \"ES256\"]", "names ES256 twice"),
        ("5", "must be a list"),
    ] {
        let problem = problem(&format!("[keys]\nalgorithms = {list}"));
        assert!(problem.contains(expected), "{list}: {problem}");
    }
}

#[test]
fn files_that_are_missing_or_no_toml_are_refused_without_quoting_them() {
    let syntax = problem("a = 1\nkek = hunter2\n");
    assert!(syntax.starts_with("signet.toml: line 2 is not TOML"), "{syntax}");
    assert!(syntax.ends_with("write text in quotation marks") && !syntax.contains("hunter2"), "{syntax}");
    assert!(problem("a = [1").ends_with("correct it"));
    let sources = Sources { file: Some("/nonexistent/signet.toml".into()), ..Sources::default() };
    let error = load(&sources).unwrap_err().to_string();
    assert!(error.contains("can't be read") && error.contains("--config or SIGNET_CONFIG"), "{error}");
    let single = problem("[resources]\nuri = \"https://a.example\"\nscope = \"x\"");
    assert!(single.contains("[[resources]]"), "{single}");
}

#[test]
fn names_that_only_look_like_settings_are_refused() {
    assert!(problem("\"keys.lead\" = \"1h\"").contains("is not a setting"));
    assert!(problem("keys = 5").contains("is not a setting"));
    assert!(problem("listen = { port = 5 }").contains("is not a setting"));
    let twice = problems("", &[("SIGNET_KEYS_LEAD", "9h"), ("SIGNET_KEYS__LEAD", "9h")]);
    assert!(twice[0].contains("sets keys.lead, as"), "{twice:?}");
}

#[test]
fn types_are_strict_in_the_file() {
    for toml in ["workers = \"4\"", "allow_insecure_issuer = \"true\"", "listen = 8080", "issuer = true"] {
        problem(toml);
    }
    assert!(problem("[log]\nfilter = \"info,=\"").contains("is not a filter"));
}

#[test]
fn rules_of_other_rooms_are_reported_with_the_origin() {
    let sources = Sources { env: vec![("SIGNET_KEYS__LEAD".into(), "1m".into())], ..Sources::default() };
    let rule = |_: &Config| vec![Refusal::new("keys.lead", "must be at least 7m", "raise keys.lead")];
    let error = load_with(&sources, rule).unwrap_err().to_string();
    assert_eq!(
        error,
        "environment variable SIGNET_KEYS__LEAD: keys.lead = \"1m\": must be at least 7m; raise keys.lead"
    );
}

#[test]
fn a_rule_is_silent_about_a_setting_that_could_not_be_read() {
    let toml = "[tokens]\nlongest_lifetime = \"1x\"\nlifetime = \"23h\"";
    assert!(problem(toml).contains("longest_lifetime = \"1x\""));
}

#[test]
fn scopes_are_described_by_name() {
    let toml = "[pages.scope_descriptions]\nread = \"See\"\n\"orders.read\" = \"See orders\"";
    let described = given(toml, &[]).unwrap().pages.scope_descriptions;
    assert_eq!(described["read"], "See");
    assert_eq!(described["orders.read"], "See orders");
    assert!(given("[pages.scope_descriptions]\nread = 1", &[]).is_err());
}

#[test]
fn a_node_has_a_plain_name() {
    assert_eq!(given("node = \"eu-1.b_2\"", &[]).unwrap().node, "eu-1.b_2");
    assert!(!load(&Sources::default()).unwrap().node.is_empty());
    for name in ["a b", "a\\nb", "\u{e9}", &"x".repeat(65)] {
        assert!(problem(&format!("node = \"{name}\"")).contains("is no name of a node"), "{name}");
    }
}

#[test]
fn a_limit_is_a_number_or_off() {
    let config =
        given("[limits]\nlogin_per_address = 7\napi_key = \"off\"\ntoken_per_client = 0", &[]).unwrap();
    let limits = config.limits;
    assert_eq!((limits.login_per_address, limits.api_key, limits.token_per_client), (7, 0, 0));
    let config = given("", &[("SIGNET_LIMITS_API_KEY", "250")]).unwrap();
    assert_eq!(config.limits.api_key, 250);
    for toml in ["[limits]\napi_key = -1", "[limits]\napi_key = \"none\"", "[limits]\napi_key = 1.5"] {
        assert!(problem(toml).contains("or \"off\""), "{}", problem(toml));
    }
}

#[test]
fn proxies_are_networks_or_single_addresses() {
    let config =
        given("trusted_proxies = [\"10.0.0.0/8\", \"fd00::1\"]\nforwarded_header = \"Forwarded\"", &[]);
    let config = config.unwrap();
    let shown: Vec<String> = config.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "fd00::1/128"]);
    assert_eq!(config.forwarded_header, ForwardedHeader::Forwarded);
    let config = given("", &[("SIGNET_TRUSTED_PROXIES", "10.0.0.1, 10.0.0.2")]).unwrap();
    assert_eq!(config.trusted_proxies.len(), 2);
    assert!(problem("trusted_proxies = [\"10.0.0.0/33\"]").contains("is not a network"));
    assert!(problem("trusted_proxies = [\"proxy.example\"]").contains("is not a network"));
    assert!(problem("forwarded_header = \"x-real-ip\"").contains("x-forwarded-for"));
}

#[test]
fn no_outgoing_request_outlasts_the_end_of_the_service() {
    for (timeout, good) in [("20s", true), ("21s", false), ("1m", false)] {
        let env = vec![
            ("SIGNET_ISSUER".into(), "https://id.example.com".into()),
            ("SIGNET_OUTGOING_TIMEOUT".into(), timeout.into()),
        ];
        let read = load(&Sources { env, ..Sources::default() });
        assert_eq!(read.is_ok(), good, "{timeout}: {read:?}");
    }
}

const TLS: &str = "[tls]\ncertificate_file = \"a\"\nprivate_key_file = \"b\"";

#[test]
fn half_a_pair_is_no_listener_without_tls() {
    let without_key = problem("[tls]\ncertificate_file = \"a\"");
    assert!(
        without_key.contains("tls.private_key_file: must be given with tls.certificate_file"),
        "{without_key}"
    );
    let without_certificate = problem("[tls]\nprivate_key_file = \"b\"");
    assert!(
        without_certificate.contains("tls.certificate_file: must be given with"),
        "{without_certificate}"
    );
}

#[test]
fn what_browsers_are_told_about_later_visits() {
    let told = |value: &str| {
        let toml = format!("{TLS}\nstrict_transport_security = \"{value}\"");
        given(&toml, &[]).map(|config| config.tls.unwrap().strict_transport_security)
    };
    let usual = given(TLS, &[]).unwrap().tls.unwrap().strict_transport_security.unwrap();
    assert_eq!(usual.as_str(), "max-age=31536000");
    assert_eq!(told("off").unwrap(), None);
    for value in ["max-age=0", "max-age=63072000; includeSubDomains; preload"] {
        assert_eq!(told(value).unwrap().unwrap().as_str(), value);
    }
    for wrong in [
        "",
        "on",
        "preload",
        "max-age",
        "max-age=",
        "max-age=1d",
        "max-age=1;max-age=2",
        "max-age=1;",
        "max-age=1, x",
    ] {
        assert!(told(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn with_tls_the_issuer_is_https() {
    assert_eq!(given(TLS, &[]).unwrap().issuer, "https://127.0.0.1:8080");
    let problem = problem(&format!("issuer = \"http://127.0.0.1:8080\"\n{TLS}"));
    assert!(problem.contains("issuer = \"http://127.0.0.1:8080\": must be https where"), "{problem}");
}
