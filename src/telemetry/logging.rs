use std::io::{IsTerminal as _, Write};
use std::sync::Arc;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::request_line::{Fields, Line};
use crate::config::LogConfig;

/// Whatever is set, nothing of it is logged: at the level `debug` this module of actix-http shows what it could not read of a head, which
/// may be a secret.
const NEVER: &str = "actix_http::h1::decoder";

/// Logs to standard error from now on, as text or as one JSON object a line, which begins with the node's name; once a
/// process.
///
/// Whatever the filter says, no third party's line shows bytes of a request. Values from outside belong into fields
/// recorded by `?`, which escapes line ends; secrets don't belong anywhere.
///
/// # Errors
/// When the filter can't be read or logging has begun already.
pub fn logging(config: &LogConfig, node: &str) -> Result<(), LoggingError> {
    let colors = !config.json && std::io::stderr().is_terminal();
    subscriber((config, node), colors, std::io::stderr)?
        .try_init()
        .map_err(|error| LoggingError(error.to_string()))
}

/// Logging can't begin.
#[derive(Debug, thiserror::Error)]
#[error("logging can't begin: {0}")]
pub struct LoggingError(String);

/// Writes a log line as it is, but for a JSON object's first member, the node's name. Each call brings a whole line.
struct Named<W> {
    node: Arc<str>,
    line: W,
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if let Some(members) = line.strip_prefix(b"{") {
            let mut named = format!("{{\"node\":\"{}\",", self.node).into_bytes();
            named.extend_from_slice(members);
            self.line.write_all(&named)?;
        } else {
            self.line.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.line.flush()
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Named<W> {
    type Writer = Named<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Named { node: self.node.clone(), line: self.line.make_writer() }
    }
}

fn subscriber(
    (config, node): (&LogConfig, &str),
    colors: bool,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Result<Box<dyn Subscriber + Send + Sync>, LoggingError> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| LoggingError(error.to_string()))?;
    // Beside that filter and not in it, where a directive that names a field or a span would come first.
    let may_be_logged = FilterFn::new(|metadata| !metadata.target().starts_with(NEVER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colors);
    Ok(if config.json {
        let writer = Named { node: node.into(), line: writer };
        let lines = builder.json().flatten_event(true).map_event_format(Line).with_writer(writer).finish();
        Box::new(lines.with(may_be_logged))
    } else {
        Box::new(builder.fmt_fields(Fields::default()).with_writer(writer).finish().with(may_be_logged))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, json: bool, log: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let config = LogConfig { filter: filter.into(), json };
        let subscriber = subscriber((&config, "eu-1"), false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_is_one_object_a_line() {
        let out = logged("info", true, || tracing::info!(kid = "k1", "a\nb"));
        let entry: serde_json::Value = serde_json::from_str(out.trim_end()).unwrap();
        assert_eq!((&entry["message"], &entry["kid"]), (&"a\nb".into(), &"k1".into()));
        assert_eq!(entry["node"], "eu-1");
        assert_eq!(out.lines().count(), 1);
    }

    #[test]
    fn text_escapes_what_is_recorded_as_debug() {
        let out = logged("info", false, || tracing::info!(path = ?"a\nb", "request"));
        assert_eq!(out.lines().count(), 1, "{out}");
    }

    #[tokio::test]
    async fn a_line_that_a_request_caused_says_which() {
        use crate::audit::{Origin, RequestId};
        let origin = Origin { address: None, request_id: RequestId::Own(1) };
        for json in [false, true] {
            let log = || tracing::info!(kid = "k1", "said");
            let out = logged("info", json, || {
                origin.clone().cause(std::future::ready(())).now_or_never();
                log();
            });
            assert!(!out.contains("request_id"), "{out}");
            let cause = origin.clone().cause(async move { log() });
            let out = logged("info", json, || cause.now_or_never().unwrap());
            assert_eq!(out.lines().count(), 1, "{out}");
            assert!(out.contains("k1") && out.contains("said"), "{out}");
            if json {
                let entry: serde_json::Value = serde_json::from_str(out.trim_end()).unwrap();
                assert_eq!(entry["request_id"], "0000000000000001");
            } else {
                assert!(out.ends_with(" request_id=0000000000000001\n"), "{out}");
            }
        }
    }

    /// actix-http has an error for each head that it can't read: whoever sends them would fill the log.
    #[test]
    fn no_stranger_fills_the_log() {
        let config = crate::config::Config::for_tests(std::path::Path::new("unused"));
        let out = logged(&config.log.filter, false, || {
            tracing::error!(target: "actix_http::h1::dispatcher", "stream error: request parse error");
            tracing::info!("said");
        });
        assert!(out.contains("said") && !out.contains("stream error"), "{out}");
    }

    /// Of what a filter says the longest target that matches decides, and one that names a field or a span comes before any that does not.
    #[test]
    fn what_shows_bytes_of_a_request_is_never_logged() {
        for filter in [
            "trace",
            "trace,actix_http=trace",
            "actix_http::h1::decoder=trace,trace",
            "trace,actix_http::h1::decoder[{message}]=trace",
            "trace,[request]=trace",
        ] {
            let out = logged(filter, false, || {
                let _request = tracing::info_span!("request").entered();
                tracing::debug!(target: "actix_http::h1::decoder", "illegal Content-Length: \"secret\"");
                tracing::trace!(target: "actix_http::h1::dispatcher", "parse error");
            });
            assert!(out.contains("parse error") && !out.contains("illegal"), "{filter}: {out}");
        }
    }

    #[test]
    fn what_fails_for_a_while_does_not_fill_the_log() {
        use crate::oauth::ErrorCode::{ServerError, TemporarilyUnavailable};
        use crate::telemetry::request_failed;
        let lines = |code| {
            let fail =
                || (0..100).for_each(|number| request_failed(code, &format!("a test waits {number} s")));
            logged("error", false, fail).lines().count()
        };
        assert_eq!((lines(TemporarilyUnavailable), lines(ServerError)), (1, 100));
    }

    #[test]
    fn the_filter_decides() {
        let out = logged("warn", false, || tracing::info!("hidden"));
        assert!(out.is_empty());
        let broken = LogConfig { filter: "x=y=z".into(), json: false };
        assert!(subscriber((&broken, "eu-1"), false, std::io::sink).is_err());
    }
}
