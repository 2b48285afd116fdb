use std::io;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

use super::{CliError, banner, settings};
use crate::app::{App, Ground, LONGEST_PAUSE, Outage, StartError, interval};
use crate::audit::{Actor, Event, EventKind};
use crate::backup::BackupError;
use crate::config::{Config, Refusal, Sources};
use crate::http::{self, Listeners, Tls, TlsError};
use crate::store::Patience;
use crate::telemetry;

/// How long a change that another node committed stays unseen, where the store wakes nobody.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);

/// So much time lies between two steps of the follower, at least: a store that goes on saying that there is something new
/// must not take up the machine.
const FOLLOW_FLOOR: Duration = Duration::from_millis(20);

/// How often it is looked whether a logout token is due again.
const LOGOUT_PAUSE: Duration = Duration::from_secs(2);

/// The service could not start, or failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    /// It can't be put together.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A socket is not to be had.
    #[error("{}: {}; {}", .0.key, .0.reason, .0.remedy)]
    Bind(Refusal),
    /// The public listener's certificate can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The installation is another than when this was started.
    #[error(transparent)]
    Outlived(#[from] BackupError),
    /// A socket failed while it was served.
    #[error("a listener failed: {0}")]
    Listener(#[from] io::Error),
}

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
/// When the service can't start, a listener fails, or the installation was restored meanwhile.
pub(super) fn serve(config: &Config, sources: &Sources) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    telemetry::logging(&config.log, &config.node).map_err(|error| failed(&error))?;
    actix_web::rt::System::new().block_on(run(config)).map_err(|error| match error {
        ServeError::Bind(refusal) => CliError::Failed(settings::told(sources, refusal)),
        error => failed(&error),
    })
}

async fn run(config: &Config) -> Result<(), ServeError> {
    // Sockets first: whoever has them is the one who serves, and a second start says so at once.
    let public = bind("listen", config.listen)?;
    let management = bind("management_listen", config.management_listen)?;
    let ground = Ground::open(config).await?;
    let tls =
        config.tls.as_ref().map(|files| Tls::open(files, ground.clock.now())).transpose()?.map(Arc::new);
    let app = App::open(config, ground).await?;
    // Whoever restores or moves the installation meanwhile must see this node before it gives anything out.
    app.join().await?;
    let first = app.first_clients().await?;
    // Whoever reads the banner may end the service in order.
    let end = terminated();
    // Before anything else can fail: the secrets can't be had again.
    banner::print(config, first.as_ref());
    let unexplained = http::unexplained_scopes(config);
    if !unexplained.is_empty() {
        let scopes = unexplained.join(" ");
        tracing::warn!(%scopes, "the consent page shows scopes as they are: [pages.scope_descriptions] can say what they mean");
    }
    record(&app, config, EventKind::ServiceStarted).await?;
    let listeners = Listeners { public, tls: tls.clone(), management };
    let state = app.state.clone();
    let end = async {
        tokio::select! {
            () = end => {}
            () = state.services.fitness.outlived() => {}
        }
    };
    let served = tokio::select! {
        served = http::run(state.clone(), listeners, config.workers, end) => served,
        () = rotate(&app, config.keys.propagation) => Ok(()),
        () = follow(&app) => Ok(()),
        () = app.keep_house() => Ok(()),
        () = send_logouts(&app) => Ok(()),
        () = renew(tls, &app) => Ok(()),
    };
    // The end of a service waits for a slow store no longer than requests do.
    Patience::of_a_request(async {
        app.leave().await;
        record(&app, config, EventKind::ServiceStopped).await?;
        app.note_last_entry().await;
        if state.services.fitness.is_outlived() {
            return Err(BackupError::RestoredSince.into());
        }
        Ok::<_, ServeError>(served?)
    })
    .await
}

fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).map_err(|error| ServeError::Bind(not_bound(setting, address, &error)))
}

/// Why there is no listening at `address`, and what to do about that.
fn not_bound(setting: &str, address: SocketAddr, error: &io::Error) -> Refusal {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "stop whoever listens there, or set another address".to_owned(),
        io::ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {}: set one that it has, or 0.0.0.0 or [::] for all that it has",
            address.ip()
        ),
        io::ErrorKind::PermissionDenied => format!(
            "not everybody may listen at port {}: set one from 1024 on, which a proxy can stand before, or give the process \
             CAP_NET_BIND_SERVICE",
            address.port()
        ),
        _ => "set another address".to_owned(),
    };
    Refusal::new(setting, format!("can't listen at {address}: {error}"), remedy)
}

/// With the issuer, so that `signet doctor` can tell when it has changed.
async fn record(app: &App, config: &Config, kind: EventKind) -> Result<(), StartError> {
    let event = Event::new(kind, Actor::Service)
        .detail("version", env!("CARGO_PKG_VERSION"))
        .detail("issuer", config.issuer.as_str());
    Ok(app.state.services.audit.record(event).await?)
}

/// The rotator, for as long as the service runs: three times within P, at least every ten seconds.
async fn rotate(app: &App, propagation: Duration) {
    let mut ticks = interval((propagation / 3).min(LONGEST_PAUSE));
    loop {
        ticks.tick().await;
        if let Err(error) = app.rotate().await {
            tracing::error!(%error, "the key ring could not be brought up to date; it is tried again");
        }
    }
}

/// Takes in what all nodes commit, for as long as the service runs.
async fn follow(app: &App) {
    let mut outage = Outage::default();
    loop {
        let followed = app.follow().await;
        outage.tell(followed.as_ref().err().map(|error| error as _), "the store's changes can't be followed");
        if followed.is_err() {
            // A store that fails may go on saying that there is something.
            tokio::time::sleep(FOLLOW_PAUSE).await;
        } else {
            next_step(app.changed(), FOLLOW_FLOOR..FOLLOW_PAUSE).await;
        }
    }
}

/// Returns when there is something new, but not before the start of `bounds` nor after its end.
async fn next_step(changed: impl Future<Output = ()>, bounds: Range<Duration>) {
    tokio::time::sleep(bounds.start).await;
    _ = tokio::time::timeout(bounds.end.saturating_sub(bounds.start), changed).await;
}

/// Tells clients that sessions have ended, for as long as the service runs: at once, and again when that is due.
async fn send_logouts(app: &App) {
    let (mut ticks, mut outage) = (interval(LOGOUT_PAUSE), Outage::default());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = app.state.services.logouts.wanted() => {}
        }
        // The tasks go on by themselves; what they don't get done comes due again.
        let failed = app.send_logouts().await.err();
        let cause = failed
            .as_ref()
            .map(|error| error.cause.as_ref().map_or(&error.description as _, |cause| cause as _));
        outage.tell(cause, "logout tokens can't be sent");
    }
}

/// Takes a renewed certificate in, for as long as the service runs.
async fn renew(tls: Option<Arc<Tls>>, app: &App) {
    let Some(tls) = tls else { return std::future::pending().await };
    let mut ticks = interval(LONGEST_PAUSE);
    loop {
        tls.measure(&app.state.metrics);
        ticks.tick().await;
        let (tls, now) = (tls.clone(), app.state.services.clock.now());
        // It reads files.
        if let Err(error) = spawn_blocking(move || tls.reload(now)).await {
            tracing::error!(%error, "the certificate's files could not be looked at; it is tried again");
        }
    }
}

/// SIGTERM or SIGINT, from this call on.
fn terminated() -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut term), Ok(mut int)) = signals else {
            tracing::error!("signals can't be listened for: the service stops only by force");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_follower_takes_a_bounded_number_of_steps_whatever_the_store_says() {
        let began = Instant::now();
        for _ in 0..50 {
            next_step(ready(()), FOLLOW_FLOOR..FOLLOW_PAUSE).await;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        next_step(pending(), FOLLOW_FLOOR..FOLLOW_PAUSE).await;
        assert_eq!(began.elapsed(), Duration::from_millis(1500));
    }

    #[test]
    fn who_can_not_listen_is_told_what_to_do_about_the_reason() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let said = |address: &str| {
            let error = bind("management_listen", address.parse().unwrap()).unwrap_err();
            error.to_string()
        };
        let in_use = said(&taken.local_addr().unwrap().to_string());
        assert!(in_use.starts_with("management_listen: can't listen at 127.0.0.1:"), "{in_use}");
        assert!(in_use.contains("stop whoever listens there"), "{in_use}");
        // RFC 5737: nobody's.
        let elsewhere = said("192.0.2.1:0");
        assert!(elsewhere.contains("this machine has no address 192.0.2.1"), "{elsewhere}");
        assert!(!elsewhere.contains("whoever listens"), "{elsewhere}");
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        let privileged = not_bound("listen", "0.0.0.0:443".parse().unwrap(), &refused);
        assert!(privileged.remedy.contains("port 443") && privileged.remedy.contains("CAP_NET_BIND_SERVICE"));
    }
}
