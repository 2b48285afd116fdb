//! What a listener does with a connection: TLS if need be, and HTTP/1.1, read by turns. As actix-web's own server, from the same parts,
//! which has no place for a reader of one's own.

use std::fmt::Debug;
use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol, Request, Response};
use actix_server::{GracefulShutdownSignal, ServerBuilder};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, apply_fn_factory, fn_service,
    map_config,
};
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::connection::LINGER;
use super::paced::Paced;
use super::socket::Socket;
use super::turns;
use crate::telemetry::Metrics;

/// How long a client may take for the TLS handshake, before the time for the head begins.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// For how long actix-http passes over what still comes on a connection that ends; it has been told before that all has come.
const DISCONNECT_TIMEOUT: Duration = LINGER.saturating_mul(2);

/// A worker that is given connections has them served by what `app` makes; `tls` first unless there is none.
///
/// # Errors
/// When the listener can't be waited for.
pub(super) fn listen<F, I, S, B>(
    server: ServerBuilder,
    listener: TcpListener,
    tls: Option<ServerConfig>,
    metrics: Arc<Metrics>,
    app: F,
) -> io::Result<ServerBuilder>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error>,
    S::InitError: Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let stopping = server.graceful_shutdown_signal();
    let name = listener.local_addr()?.to_string();
    let Some(mut tls) = tls else {
        return server.listen(name, listener, move || {
            let counted = metrics.clone();
            let plain = fn_service(move |io: TcpStream| {
                let peer = io.peer_addr().ok();
                ready(Ok((Paced::new(io, counted.clone()), Protocol::Http1, peer)))
            });
            http(plain, app(), stopping.clone(), metrics.clone())
        });
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.listen(name, listener, move || {
        http(handshakes(tls.clone(), metrics.clone()), app(), stopping.clone(), metrics.clone())
    })
}

/// Makes connections of those that get through a TLS handshake, each step of which takes its turn: a signature among them, and whoever holds
/// many connections may have them all go on in the same moment.
fn handshakes(
    tls: ServerConfig,
    metrics: Arc<Metrics>,
) -> impl ServiceFactory<
    TcpStream,
    Config = (),
    Response = (Paced<TlsStream<TcpStream>>, Protocol, Option<SocketAddr>),
    Error = DispatchError,
    InitError = (),
> {
    let mut acceptor = Acceptor::new(tls);
    acceptor.set_handshake_timeout(HANDSHAKE_TIMEOUT);
    let in_turn = apply_fn_factory::<_, _, _, _, _, TcpStream, _, _>(acceptor, |io: TcpStream, acceptor| {
        turns::handshake(acceptor.call(io))
    });
    in_turn.map_err(|error| DispatchError::Io(io::Error::other(format!("{error:?}")))).map(
        move |io: TlsStream<TcpStream>| {
            let peer = io.get_ref().0.peer_addr().ok();
            (Paced::new(io, metrics.clone()), Protocol::Http1, peer)
        },
    )
}

/// HTTP/1.1 over what `front` makes of connections: it begins a few at a time, and they are read by turns.
fn http<C, F, T, I, S, B>(
    front: F,
    app: I,
    stopping: GracefulShutdownSignal,
    metrics: Arc<Metrics>,
) -> impl ServiceFactory<C, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    C: 'static,
    F: ServiceFactory<C, Config = (), Error = DispatchError, InitError = ()> + 'static,
    F: ServiceFactory<C, Response = (Paced<T>, Protocol, Option<SocketAddr>)>,
    T: Socket + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error>,
    S::InitError: Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let app = app.into_factory().map_err(|error| error.into().error_response());
    let http = HttpService::build()
        // Connections on which nothing is under way end with the server instead of being waited for.
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        // Of a connection on which nothing is under way its reader tells the end: thousands that end by actix-http's clock, which ticks
        // twice a second, end all at once.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .on_connect_ext(|io: &Paced<T>, extensions| io.introduce(extensions))
        // Nothing here asks for the name or the address of the server: the issuer is in the settings.
        .finish(map_config(app, |()| AppConfig::default()));
    let begun = fn_service(move |connection: C| {
        let metrics = metrics.clone();
        async move {
            turns::new_connection(&metrics).await.map_err(DispatchError::Io)?;
            Ok(connection)
        }
    });
    begun.and_then(front).and_then(http)
}

#[cfg(test)]
mod tests;
