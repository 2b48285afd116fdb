use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_server::{Server, ServerBuilder};
use actix_tls::accept::max_concurrent_tls_connect;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::STRICT_TRANSPORT_SECURITY;
use actix_web::middleware::DefaultHeaders;
use actix_web::{App, Error, web};

use super::listener::listen;
use super::paced::SEND_BUFFER;
use super::{State, Tls, configure, configure_management, place, unread};
use crate::config::AdminListener;

/// How many connections a worker has at most, as far as there are files for them. Handshakes count as connections and have no
/// smaller bound of their own: with actix-web's 256 so many silent clients would keep everybody else waiting.
const MOST_CONNECTIONS: usize = 25_000;

/// How many connections the system accepts before a worker takes them, if it allows so many (`net.core.somaxconn`): a moment's worth for
/// those that come all at once. Whoever finds no room tries again a second later. The standard library's number is 128.
const BACKLOG: i32 = 4096;

/// How many the management listener has at most: few have business there.
const MOST_MANAGEMENT_CONNECTIONS: usize = 1024;

/// How long a client may leave what it was sent unread; the system looks at growing intervals, and cuts it off up to two
/// seconds later. actix-web has no such limit: a client that asks and never reads
/// would hold its connection for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(8);

/// How much of what arrives the system keeps for a connection, in bytes; it takes twice this, and so much more is read
/// of a body that is too long for an answer. No request needs more.
const RECEIVE_BUFFER: usize = 16 * 1024;

/// How long requests under way are waited for at the end.
const GRACE_SECONDS: u64 = 30;

/// The sockets that are served.
#[derive(Debug)]
pub struct Listeners {
    /// For clients, resource servers and people, and for administrators unless the settings say otherwise.
    pub public: TcpListener,
    /// With what it speaks TLS, unless it is left to a proxy. The management listener never does.
    pub tls: Option<Arc<Tls>>,
    /// For metrics and health, and for administrators if the settings say so.
    pub management: TcpListener,
}

/// Serves until `shutdown` is over; then says that it is not ready, takes no new connections, and answers
/// the requests under way.
///
/// # Errors
/// When a socket can't be served.
pub async fn run(
    state: Arc<State>,
    listeners: Listeners,
    workers: usize,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    guard(&listeners.public)?;
    guard(&listeners.management)?;
    let (connections, management_connections) = most_connections(files(), workers);
    let (public_state, metrics) = (state.clone(), state.metrics.clone());
    // Only where it is TLS that the header comes by: over plain http browsers must ignore it (RFC 6797, section 8.1).
    let policy = listeners.tls.as_ref().and_then(|tls| tls.strict_transport_security());
    let tls = listeners.tls.as_ref().map(|tls| tls.server_config()).transpose().map_err(io::Error::other)?;
    // It counts handshakes, and is one number for all servers of a process.
    max_concurrent_tls_connect(connections);
    let server = bounded(workers, connections, GRACE_SECONDS);
    let app = move || {
        App::new().configure(configure(web::Data::from(public_state.clone()))).wrap_fn(connection_matters)
    };
    let public = match policy {
        Some(policy) => listen(server, listeners.public, tls, metrics, move || {
            app().wrap(DefaultHeaders::new().add((STRICT_TRANSPORT_SECURITY, policy.clone())))
        }),
        None => listen(server, listeners.public, tls, metrics, app),
    }?
    .run();
    let management_state = state.clone();
    // Acts under way are waited for wherever they come from.
    let grace = if state.admin_listener == AdminListener::Management { GRACE_SECONDS } else { 1 };
    let server = bounded(1, management_connections, grace);
    let management = listen(server, listeners.management, None, state.metrics.clone(), move || {
        App::new()
            .configure(configure_management(web::Data::from(management_state.clone())))
            .wrap_fn(connection_matters)
    })?
    .run();
    let (public_handle, management_handle) = (public.handle(), management.handle());
    let stop = async {
        shutdown.await;
        state.services.stop();
        public_handle.stop(true).await;
        // Last, so that health can be asked for until the end.
        management_handle.stop(true).await;
    };
    let (public, management, ()) = tokio::join!(public, management, stop);
    public.and(management)
}

/// What the answer to `request` has to do with others on its connection.
pub(super) fn connection_matters<S, B>(
    request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse<unread::Holding<B>>, Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    let place = place::place(&request);
    place::in_turn(place, unread::held(request, service))
}

/// A server within its limits: of each worker `connections`, and in the end requests under way are waited for `grace` seconds.
fn bounded(workers: usize, connections: usize, grace: u64) -> ServerBuilder {
    Server::build()
        .workers(workers)
        .max_concurrent_connections(connections)
        .shutdown_timeout(grace)
        .disable_signals()
}

/// How many files this process may have open: each connection is one. A shell gives few, for programs that count on it; more are
/// to be had for asking.
fn files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Refused, it stays as it was.
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// How many connections each public worker may have, and the management listener, where there are so many files: five eighths
/// are for the public listener and one for the other, so that whoever takes all connections leaves enough to the store, the keys, the
/// audit log and whom the service asks.
fn most_connections(files: usize, workers: usize) -> (usize, usize) {
    let public = files / 8 * 5 / workers.max(1);
    (public.clamp(1, MOST_CONNECTIONS), (files / 8).clamp(1, MOST_MANAGEMENT_CONNECTIONS))
}

/// Sets what the system does for connections by itself; those that are accepted inherit it.
fn guard(listener: &TcpListener) -> io::Result<()> {
    use rustix::net::{listen, sockopt};
    listen(listener, BACKLOG)?;
    sockopt::set_socket_recv_buffer_size(listener, RECEIVE_BUFFER)?;
    sockopt::set_socket_send_buffer_size(listener, SEND_BUFFER)?;
    // tcp(7): also where the window of the other side stays closed.
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(listener, u32::try_from(READ_TIMEOUT.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn all_connections_together_leave_files_for_everything_else() {
        // As in deploy/signet.service, for a shell, and for one that has no limit.
        for files in [65_536, 1024, 256, usize::MAX] {
            for workers in [1, 2, 4, 64] {
                let (public, management) = most_connections(files, workers);
                assert!(public * workers + management <= files / 8 * 6, "{files} files, {workers} workers");
                assert!(
                    public >= 1 && management >= 32,
                    "{files} files, {workers} workers: {public}, {management}"
                );
            }
        }
        assert_eq!(most_connections(65_536, 1), (25_000, 1024));
        assert_eq!(most_connections(65_536, 4), (10_240, 1024));
        assert_eq!(most_connections(0, 0), (1, 1));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn more_connect_at_once_than_the_standard_library_lets_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        guard(&listener).unwrap();
        let address = listener.local_addr().unwrap();
        let allowed: usize =
            std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
        // Nobody accepts them. Who finds no room would be told nothing for a second.
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(500)).unwrap();
        let connected: Vec<_> = (0..allowed.min(200)).map(connect).collect();
        assert_eq!(connected.len(), allowed.min(200));
    }

    #[test]
    fn the_process_takes_all_the_files_that_it_may_have() {
        use rustix::process::{Resource, getrlimit};
        let files = files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert!(files >= 256, "{files}");
    }
}
