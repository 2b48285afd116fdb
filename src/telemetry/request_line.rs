//! Lines of the service's own log that a request caused say which. No span is opened for that: most requests write no
//! line, and a span costs each of them.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::audit::Origin;

/// The fields of a line of text, with the request's behind them.
#[derive(Default)]
pub(super) struct Fields(DefaultFields);

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        // A text for what can be lent once only.
        let mut text = String::new();
        self.0.format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&text)?;
        match Origin::current() {
            Some(origin) => write!(writer, " request_id={}", origin.request_id),
            None => Ok(()),
        }
    }
}

/// A line of JSON, with the request's member behind the others.
pub(super) struct Line<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Line<F>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(origin) = Origin::current() else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // An identifier needs no escape: it is letters, digits and a few marks.
        match line.trim_end().strip_suffix('}') {
            Some(members) => writeln!(writer, "{members},\"request_id\":\"{}\"}}", origin.request_id),
            None => writer.write_str(&line),
        }
    }
}
