//! Where the service keeps what lasts, and what nodes must share.

use super::*;

/// What a node needs that shares its store with others.
pub(super) const SHARED: [(&str, &str); 1] =
    [("SIGNET_KEYS_KEK", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")];

fn database(url: &str) -> Result<Box<PostgresConfig>, ConfigError> {
    let toml = format!("store = {url:?}");
    match given(&toml, &SHARED)?.store {
        StoreConfig::Postgres(database) => Ok(database),
        StoreConfig::Directory => panic!("{url} is a directory"),
    }
}

#[test]
fn a_database_is_named_by_its_url() {
    let hosts = "db1.example.com:5433,db2.example.com,[fd00::1]:6000";
    let url = format!(
        "postgres://sig%40net:p%3Aw@{hosts}/tokens?target_session_attrs=read-write&sslmode=require&options=-csearch_path%3Dx"
    );
    let read = database(&url).unwrap();
    let names: Vec<_> = read.hosts.iter().map(|(host, port)| (host.as_str(), *port)).collect();
    assert_eq!(names, [("db1.example.com", 5433), ("db2.example.com", 5432), ("fd00::1", 6000)]);
    assert_eq!((read.user.as_str(), read.database.as_str(), read.tls), ("sig@net", "tokens", true));
    assert_eq!(read.session_options.as_deref(), Some("-csearch_path=x"));
    assert!(matches!(read.password, Some(PasswordSource::Value(secret)) if secret.expose() == "p:w"));
    assert_eq!(read.timeout, std::time::Duration::from_millis(1500));
    for wrong in
        ["mysql://a@b/c", "postgres://a@/c", "postgres://b/c", "postgres://a@b", "postgres://a@b:x/c"]
    {
        assert!(database(wrong).is_err(), "{wrong}");
    }
    for parameter in ["target_session_attrs=any", "sslmode=off", "passwd=x", "options=%zz"] {
        assert!(database(&format!("postgres://a@localhost/c?{parameter}")).is_err(), "{parameter}");
    }
}

/// Its tables may be a database administrator's, who opens no key.
#[test]
fn nodes_of_a_database_share_a_key_encryption_key_which_its_tables_do_not_need() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signet.toml");
    let sources = |toml: &str| {
        std::fs::write(&path, toml).unwrap();
        Sources { file: Some(path.clone()), env: Vec::new(), flags: FlagOverrides::default() }
    };
    let owner = sources("store = \"postgres://owner@localhost/c\"");
    assert!(load(&owner).unwrap_err().to_string().contains("keys.kek_file"));
    assert!(matches!(load_for_tables(&owner).unwrap().store, StoreConfig::Postgres(_)));
    // All else is asked of it too.
    let twice = sources("store = \"postgres://owner@localhost/c\"\nlisten = \"127.0.0.1:8081\"");
    assert!(load_for_tables(&twice).unwrap_err().to_string().contains("management_listen"));
}

#[test]
fn that_one_connection_is_too_few_is_told_with_its_reason() {
    let with = |connections: &str| {
        let toml = format!("store = \"postgres://a@localhost/c\"\n[postgres]\nconnections = {connections}");
        given(&toml, &SHARED)
    };
    let error = with("1").unwrap_err().to_string();
    assert!(
        error.contains("postgres.connections = 1: must be 2 at least: one of them never writes"),
        "{error}"
    );
    for wrong in ["0", "1001"] {
        assert!(with(wrong).unwrap_err().to_string().contains("from 2 to 1000"), "{wrong}");
    }
    with("2").unwrap();
}

#[test]
fn a_database_elsewhere_is_reached_by_tls_unless_plain_text_is_allowed() {
    assert!(database("postgres://a@db.example.com/c").unwrap().tls);
    assert!(!database("postgres://a@127.0.0.1/c").unwrap().tls);
    assert!(!database("postgres://a@/c?host=/var/run/postgresql").unwrap().tls);
    for mode in ["disable", "prefer", "allow"] {
        let error = database(&format!("postgres://a@localhost,db.example.com/c?sslmode={mode}")).unwrap_err();
        assert!(error.to_string().contains("sslmode=verify-full"), "{error}");
    }
    let toml =
        "store = \"postgres://a@db.example.com/c?sslmode=disable\"\n[postgres]\nallow_plaintext = true";
    given(toml, &SHARED).unwrap();
}

#[test]
fn a_password_of_the_database_is_never_shown() {
    let config = database("postgres://a:hunter2@localhost/c").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    for wrong in
        ["postgres://a:hunter2@localhost/c?x=y", "postgres://a:hunter2@h/c?sslmode=disable", "a:hunter2@h"]
    {
        let error = database(wrong).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let twice = [SHARED[0], ("SIGNET_POSTGRES_PASSWORD", "hunter2")];
    let error = given("store = \"postgres://a:hunter3@localhost/c\"", &twice).unwrap_err().to_string();
    assert!(error.contains("more than once") && !error.contains("hunter"), "{error}");
    assert!(problem("[postgres]\npassword = \"hunter2\"").contains("SIGNET_POSTGRES_PASSWORD"));
}

#[test]
fn nodes_that_share_a_store_share_their_key_encryption_key() {
    for toml in ["store = \"postgres://a@localhost/c\"", "[keys]\nvault = \"store\""] {
        assert!(problem(toml).contains("give every node the same"), "{}", problem(toml));
        assert_eq!(given(toml, &SHARED).unwrap().keys.vault, VaultPlace::Store);
    }
}
