use std::future::{Future, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request};
use actix_server::GracefulShutdownSignal;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, apply_fn_factory, map_config};
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_tls::accept::{TlsError, max_concurrent_tls_connect};
use actix_web::dev::{AppConfig, Server, Service, ServiceFactory, fn_service};
use actix_web::http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpServer, web};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Connection, Requests};
use super::{State, Tls, configure, configure_management};

/// How long a client may take to send the head of a request, and how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a client may take for the TLS handshake, before the time for the head begins.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client is waited for that is told that its connection ends.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How many connections a worker has at most. Handshakes count as connections and have no smaller bound of their own: with
/// actix-web's 256 so many silent clients would keep everybody else waiting.
const MOST_CONNECTIONS: usize = 25_000;

/// How long a client may leave what it was sent unread; the system looks at growing intervals, and cuts it off up to some
/// seconds later. actix-web has no such limit: a client that asks and never reads
/// would hold its connection for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of what arrives the system keeps for a connection, in bytes; it takes twice this, and so much more is read
/// of a body that is too long for an answer. No request needs more.
const RECEIVE_BUFFER: usize = 16 * 1024;

/// How much of what is answered the system keeps for a connection, in bytes; it takes twice this. Left to itself it keeps
/// megabytes for each client that does not read.
const SEND_BUFFER: usize = 64 * 1024;

/// How long requests under way are waited for at the end.
const GRACE_SECONDS: u64 = 30;

/// The sockets that are served.
#[derive(Debug)]
pub struct Listeners {
    /// For clients, resource servers and administrators.
    pub public: TcpListener,
    /// With what it speaks TLS, unless it is left to a proxy. The management listener never does.
    pub tls: Option<Arc<Tls>>,
    /// For metrics and health.
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
    let public = public(&state, listeners.public, listeners.tls.as_deref(), workers)?;
    let management_state = state.clone();
    let management = HttpServer::new(move || {
        App::new().app_data(web::Data::from(management_state.clone())).configure(configure_management)
    })
    .workers(1)
    .client_request_timeout(HEAD_TIMEOUT)
    .shutdown_timeout(1)
    .disable_signals()
    .listen(listeners.management)?
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

/// Serves the public listener. Put together from what [`HttpServer`] is made of, for it has no place for a stream of our own.
fn public(
    state: &Arc<State>,
    listener: TcpListener,
    tls: Option<&Tls>,
    workers: usize,
) -> io::Result<Server> {
    max_concurrent_tls_connect(MOST_CONNECTIONS);
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(MOST_CONNECTIONS)
        .shutdown_timeout(GRACE_SECONDS)
        .disable_signals();
    let (state, stopping) = (state.clone(), builder.graceful_shutdown_signal());
    let builder = match tls {
        Some(tls) => {
            let config = tls.server_config().map_err(io::Error::other)?;
            let https_only = tls.strict_transport_security();
            builder.listen("public", listener, move || {
                let mut acceptor = Acceptor::new(config.clone());
                acceptor.set_handshake_timeout(HANDSHAKE_TIMEOUT);
                acceptor
                    .map_init_err(drop)
                    .map_err(TlsError::into_service_error)
                    .map(|stream: TlsStream<TcpStream>| {
                        let peer = stream.get_ref().0.peer_addr().ok();
                        (Connection::new(stream), peer)
                    })
                    .and_then(
                        protocol(state.clone(), stopping.clone(), https_only.clone())
                            .map_err(TlsError::Service),
                    )
            })?
        }
        None => builder.listen("public", listener, move || {
            fn_service(|stream: TcpStream| {
                let peer = stream.peer_addr().ok();
                ready(Ok((Connection::new(stream), peer)))
            })
            // Over plain http browsers must ignore that they are to stay with https (RFC 6797, section 8.1).
            .and_then(protocol(state.clone(), stopping.clone(), None))
        })?,
    };
    Ok(builder.run())
}

/// HTTP/1.1 on connections of the public listener, and what it is served.
fn protocol<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    state: Arc<State>,
    stopping: GracefulShutdownSignal,
    https_only: Option<HeaderValue>,
) -> impl ServiceFactory<
    (Connection<S>, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
> {
    let app = App::new().configure(configure(web::Data::from(state))).into_factory();
    let app = map_config(app.map_err(|error| error.error_response()), |()| AppConfig::default());
    let counted = apply_fn_factory(app, move |request: Request, app: &_| {
        let begun = request.conn_data::<Rc<Requests>>().map(Requests::begin);
        let https_only = https_only.clone();
        let answer = Service::call(app, request);
        async move {
            let _under_way = begun;
            let mut answered = answer.await;
            if let (Ok(response), Some(policy)) = (&mut answered, https_only) {
                response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, policy);
            }
            answered
        }
    });
    HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .on_connect_ext(|connection: &Connection<S>, data| {
            data.insert(connection.requests().clone());
        })
        .h1(counted)
}

/// Sets what the system does for connections by itself; those that are accepted inherit it.
fn guard(listener: &TcpListener) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_recv_buffer_size(listener, RECEIVE_BUFFER)?;
    sockopt::set_socket_send_buffer_size(listener, SEND_BUFFER)?;
    // tcp(7): also where the window of the other side stays closed.
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(listener, u32::try_from(READ_TIMEOUT.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}
