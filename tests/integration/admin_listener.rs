//! Where the admin API is served: by the public listener, or by the management listener alone.

use std::process::Command;
use std::sync::Arc;

use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use futures_util::future::join_all;
use signet::clock::ManualClock;
use signet::config::AdminListener;
use signet::http::{Served, served};
use tokio::sync::oneshot;

use crate::faulty_store::{Fault, FaultyStore};
use crate::process::{Process, free_port};
use crate::test_app::{START, TestApp, bearer};

async fn app(listener: AdminListener, issuer_path: &str) -> TestApp {
    TestApp::start_with(|config| {
        config.admin.listener = listener;
        config.issuer.push_str(issuer_path);
    })
    .await
}

fn admin_routes() -> impl Iterator<Item = &'static Served> {
    served().iter().filter(|route| route.path.starts_with("/admin"))
}

/// Some path that the pattern fits.
fn path_of(route: &Served) -> String {
    route.path.replace("{client_id}", "x").replace("{kid}", "x").replace("{id}", "x")
}

/// The status, and the body, which is not held against the document: that says where the admin API is unless the settings say
/// otherwise.
async fn said(
    (app, listener): (&TestApp, AdminListener),
    method: &Method,
    path: &str,
    token: Option<&str>,
) -> (u16, String) {
    let request = TestRequest::with_uri(path).method(method.clone());
    let request = token.into_iter().fold(request, |request, token| request.insert_header(bearer(token)));
    let state = web::Data::from(app.app.state.clone());
    let answer = match listener {
        AdminListener::Public => {
            let service = init_service(App::new().configure(signet::http::configure(state))).await;
            call_service(&service, request.to_request()).await
        }
        AdminListener::Management => {
            let service = init_service(App::new().configure(signet::http::configure_management(state))).await;
            call_service(&service, request.to_request()).await
        }
    };
    let status = answer.status().as_u16();
    (status, String::from_utf8_lossy(&read_body(answer).await).into_owned())
}

fn is_not_there((status, body): &(u16, String)) -> bool {
    *status == 404 && body.contains("there is nothing here")
}

/// Over the whole table: the one listener guards and serves each route, with and without the issuer's path, the other has none.
#[actix_web::test]
async fn one_listener_has_the_admin_api_and_the_other_has_nothing_of_it() {
    for (listener, base) in [
        (AdminListener::Public, ""),
        (AdminListener::Public, "/tenant"),
        (AdminListener::Management, ""),
        (AdminListener::Management, "/tenant"),
    ] {
        let app = app(listener, base).await;
        let token = app.admin_token().await;
        let (public, management) = ((&app, AdminListener::Public), (&app, AdminListener::Management));
        let (here, there) = match listener {
            AdminListener::Public => (public, management),
            AdminListener::Management => (management, public),
        };
        let mut routes = 0;
        for start in ["", base] {
            let table = admin_routes().map(|route| (route.method.clone(), path_of(route)));
            let rest = ["/admin", "/admin/", "/admin/nothing"].map(|path| (Method::GET, path.to_owned()));
            for (method, path) in table.chain(rest.clone()) {
                let path = format!("{start}{path}");
                for token in [None, Some(&*token)] {
                    let answer = said(there, &method, &path, token).await;
                    assert!(is_not_there(&answer), "{listener:?}: {method} {path}: {answer:?}");
                }
                let answer = said(here, &method, &path, None).await;
                assert_eq!(answer.0, 401, "{listener:?}: {method} {path}: {answer:?}");
                let is_rest = rest.iter().any(|(_, rest)| path.ends_with(rest));
                // It reads an answer as long as the installation.
                if !path.ends_with("/backup") {
                    let answer = said(here, &method, &path, Some(&token)).await;
                    assert_eq!(is_not_there(&answer), is_rest, "{listener:?}: {method} {path}: {answer:?}");
                }
                routes += 1;
            }
        }
        assert!(routes > 50, "{routes}");
        // The rest stays where it is.
        for (path, status) in [("/console", 200), ("/.well-known/openid-configuration", 200), ("/users", 401)]
        {
            let answer = said(public, &Method::GET, path, None).await;
            assert_eq!(answer.0, status, "{path}: {answer:?}");
            assert!(is_not_there(&said(management, &Method::GET, path, None).await));
        }
        for path in ["/metrics", "/health/live", "/health/ready"] {
            assert_eq!(said(management, &Method::GET, path, None).await.0, 200, "{path}");
        }
    }
}

/// What the document says of its answers is true there too.
#[actix_web::test]
async fn the_management_listener_answers_as_the_document_has_it() {
    let app = app(AdminListener::Management, "").await;
    let token = app.admin_token().await;
    for route in admin_routes().filter(|route| route.method == Method::GET) {
        let request = || TestRequest::with_uri(&path_of(route));
        app.send_to_management(request()).await.refused(401, "invalid_token");
        let answer = app.send_to_management(request().insert_header(bearer(&token))).await;
        assert!(matches!(answer.status, 200 | 404), "{answer:?}");
    }
}

#[test]
fn the_command_line_finds_the_admin_api_on_the_management_listener() {
    let dir = tempfile::tempdir().unwrap();
    let setting = ("SIGNET_ADMIN_LISTENER", "management");
    let service = Process::start(dir.path(), free_port(), &[setting]);
    let (id, secret) = service.credentials("administrator");
    let rotate = format!("http://{}/admin/keys/rotate", service.management);
    assert!(service.banner.contains(&rotate), "{}", service.banner);
    let signet = |args: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_signet"));
        program.args(args).args([
            "--json",
            "--issuer",
            &service.issuer,
            "--management-listen",
            &service.management,
        ]);
        program.current_dir(dir.path()).env_clear().env(setting.0, setting.1);
        program
            .env("SIGNET_ADMIN_CLIENT_ID", &id)
            .env("SIGNET_ADMIN_CLIENT_SECRET", &secret)
            .output()
            .unwrap()
    };
    for args in [&["keys", "rotate"][..], &["clients", "list"], &["export", "copy"]] {
        let done = signet(args);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{args:?}: {said}");
        assert!(!said.contains("could not be revoked"), "{args:?}: {said}");
    }
    let log = std::fs::read_to_string(dir.path().join("data/audit.jsonl")).unwrap();
    assert_eq!(log.matches("\"event\":\"token.revoked\"").count(), 3, "each ended with its call: {log}");
    let found = signet(&["doctor"]);
    let found = String::from_utf8_lossy(&found.stdout);
    assert!(found.contains("the admin API too"), "{found}");
    let token = service.token((&id, &secret)).unwrap();
    assert_eq!(service.get("/admin/keys", &token).map(|reply| reply.status), Some(404));
    assert_eq!(service.terminate(), Some(0));
}

/// Without a bound whoever reaches the listener could have it ask the store and the vault as often as they like at once.
#[actix_web::test]
async fn all_who_ask_at_a_time_whether_it_is_ready_share_a_look() {
    let clock = Arc::new(ManualClock::at(START));
    let store = FaultyStore::new(clock.clone());
    let app = TestApp::start_on(store.clone(), clock, |_| {}).await;
    let (go_on, held) = oneshot::channel::<()>();
    store.after(1, async { held.await.unwrap() });
    // One look for the first, one for the rest: each reads the store once.
    store.fail(3, (Fault::Refused, true));
    let all = join_all((0..20).map(|_| app.manage("/health/ready")));
    let release = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        go_on.send(()).unwrap();
    };
    let (answers, ()) = tokio::join!(all, release);
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200; 20]);
    // Asked afterwards, it is looked at anew.
    assert_eq!(app.manage("/health/ready").await.json()["store"], "failing");
    assert!(store.heal());
    assert_eq!(app.manage("/health/ready").await.json()["store"], "ok");
}
