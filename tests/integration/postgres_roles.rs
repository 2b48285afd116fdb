//! The two roles of docs/operations.md: one owns the tables, and the nodes' one does everything a node does with what the chapter grants it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use signet::store::postgres::TimeSource;
use tokio_postgres::{Client, NoTls};

use crate::grants_fixture::VERIFIER;
use crate::postgres_fixture::{Database, roles_and_grants};
use crate::process::{Process, Reply, free_port};
use crate::signed_in::SignedIn;

/// A server on which the chapter is followed, and what roles and database are called there.
struct Server {
    host: String,
    name: String,
}

impl Server {
    fn url(&self, role: &str) -> String {
        format!("postgres://{role}@{}/{}", self.host, self.name)
    }

    async fn client(&self, role: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(role), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

/// `signet` as the role that the URL `store` names.
fn signet(dir: &Path, store: &str, args: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_signet"));
    program.args(args).current_dir(dir).env_clear().envs(settings(store)).output().unwrap()
}

fn settings(store: &str) -> [(&str, &str); 3] {
    [("SIGNET_STORE", store), ("SIGNET_KEYS__VAULT", "store"), ("SIGNET_KEYS_KEK", KEK)]
}

const KEK: &str = "abababababababababababababababababababababababababababababababab";

fn refused(output: &Output, text: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(text), "{said}");
}

/// Servers have roles and databases, not schemas of tests: these are removed by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_role_of_postgres_does_everything_with_what_the_chapter_grants() {
    let Some(database) = Database::fresh().await else { return };
    let at = database.options(TimeSource::Database).hosts.swap_remove(0);
    let name = format!("granted_{}", std::process::id());
    let server = Server { host: format!("{}:{}", at.host, at.port), name: name.clone() };
    let superuser = database.client().await;
    let remove = [
        format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        format!("DROP ROLE IF EXISTS {name}"),
        format!("DROP ROLE IF EXISTS {name}_owner"),
    ];
    let [roles, grants] = roles_and_grants(&name);
    // Each by itself: a database is made in no transaction.
    for statement in remove.iter().chain(&roles) {
        superuser.batch_execute(statement).await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let (owner, node) = (server.url(&format!("{name}_owner")), server.url(&name));
    refused(&signet(dir.path(), &node, &["store", "migrate"]), "as the owner of the schema");
    let migrated = signet(dir.path(), &owner, &["store", "migrate"]);
    assert!(migrated.status.success(), "{migrated:?}");
    refused(&signet(dir.path(), &node, &["store", "check"]), "docs/operations.md");
    let user = database.options(TimeSource::Database).user;
    server.client(&user).await.batch_execute(&grants.join(";")).await.unwrap();

    let path = dir.path().to_owned();
    tokio::task::spawn_blocking(move || everything(&path, &node)).await.unwrap();
    for statement in &remove {
        superuser.batch_execute(statement).await.unwrap();
    }
}

/// Start, sign-in, code, refresh, revocation, a copy, another start, and a cut-off.
fn everything(dir: &Path, store: &str) {
    let port = free_port();
    let service = Process::start(dir, port, &settings(store));
    let (admin, admin_secret) = service.credentials("administrator");
    let administrators = service.token((&admin, &admin_secret)).unwrap();
    assert_eq!(service.get("/.well-known/jwks.json", &administrators).unwrap().status, 200);
    let browser = SignedIn::new(&service);
    let (id, secret) = browser.client.clone();
    let ask = |service: &Process, path: &str, form: &[(&str, &str)]| -> Reply {
        let client = [("client_id", id.as_str()), ("client_secret", secret.as_str())];
        service.post(path, &[form, &client].concat()).unwrap()
    };
    let tokens = |reply: &Reply| -> [String; 2] {
        assert_eq!(reply.status, 200, "{reply:?}");
        ["access_token", "refresh_token"].map(|name| reply.json()[name].as_str().unwrap().to_owned())
    };
    let refresh = |service: &Process, token: &str| {
        ask(service, "/oauth2/token", &[("grant_type", "refresh_token"), ("refresh_token", token)])
    };
    let is_active = |service: &Process, token: &str| {
        ask(service, "/oauth2/introspect", &[("token", token)]).json()["active"] == true
    };
    let code = browser.code(&service).unwrap();
    let redirect_uri = ("redirect_uri", SignedIn::REDIRECT_URI);
    let grant =
        [("grant_type", "authorization_code"), ("code", &code), redirect_uri, ("code_verifier", VERIFIER)];
    let [first, second] = tokens(&ask(&service, "/oauth2/token", &grant));
    let [kept, _] = tokens(&refresh(&service, &second));
    assert_eq!(ask(&service, "/oauth2/revoke", &[("token", &first)]).status, 200);
    let rotated =
        service.post_json("/admin/keys/rotate", &administrators, &json!({ "force": true })).unwrap();
    assert_eq!(rotated.status, 200, "{rotated:?}");
    assert!(!is_active(&service, &first) && is_active(&service, &kept));
    assert_eq!(service.terminate(), Some(0));

    let issuer = format!("http://127.0.0.1:{port}");
    let offline = |args: &[&str]| -> Value {
        let output = signet(dir, store, &[&["--json", "--issuer", &issuer], args].concat());
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(offline(&["store", "check"])["warnings"], json!([]));
    offline(&["export", "copy", "--offline"]);
    let service = Process::start(dir, port, &settings(store));
    assert!(!is_active(&service, &first) && is_active(&service, &kept));
    assert_eq!(service.terminate(), Some(0));
    offline(&["restore", "--in-place"]);
    let service = Process::start(dir, port, &settings(store));
    assert!(!is_active(&service, &kept) && service.token((&admin, &admin_secret)).is_some());
}
