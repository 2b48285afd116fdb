//! Copying the installation while it runs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::Administrator;
use crate::audit::{Event, EventKind, Outcome};
use crate::backup::{self, Assurances, BackupError, Contents, Purpose, Sink};
use crate::clock::SharedClock;
use crate::oauth::ErrorCode;
use crate::protocol::{ProtocolError, Services};

/// How long whoever takes the copy may leave it waiting: meanwhile what is overwritten is kept in memory for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a copy may take, whoever takes it: until then a view of the store is kept open.
const LONGEST: Duration = Duration::from_hours(1);

/// How many pages wait to be taken.
const AHEAD: usize = 4;

/// A copy as it is made. It is whole only if it ends without an error.
pub struct CopyStream {
    /// What [`begin`] waited for, until it is taken.
    first: Option<Bytes>,
    rest: Receiver<Result<Bytes, BackupError>>,
}

impl Stream for CopyStream {
    type Item = Result<Bytes, BackupError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.rest.poll_recv(context),
        }
    }
}

/// Begins a copy of the installation as it stands now, sealed under the key-encryption key: one at a time on a node, and for
/// an hour at most. Waits for the first bytes: whoever asks is told of what fails before them, and only of what fails later by a
/// stream that breaks off. A copy of less than 64 KiB is whole by then.
///
/// # Errors
/// `conflict` while another one is taken, `temporarily_unavailable` until the keys of a first start are published and while the
/// store or the vault fails, `server_error` where what they hold can't be copied.
pub async fn begin(
    services: &Arc<Services>,
    administrator: &Administrator,
) -> Result<CopyStream, ProtocolError> {
    services.keys.jwks(None).map_err(|error| ProtocolError::unavailable(1, error))?;
    let busy = |_| ProtocolError::new(ErrorCode::Conflict, "a copy is being taken already");
    let turn = Arc::clone(&services.copying).try_acquire_owned().map_err(busy)?;
    let begun = administrator.event(EventKind::InstallationCopyBegun).detail("act", "backup");
    services.audit.record(begun).await?;
    let (sender, mut rest) = mpsc::channel(AHEAD);
    let (services, event) = (Arc::clone(services), administrator.event(EventKind::InstallationExported));
    tokio::spawn(async move {
        let clock = services.clock.clone();
        let mut sink = Taken { sender: sender.clone(), until: clock.monotonic() + LONGEST, clock };
        let (parts, entropy) = (services.keys.parts(), services.entropy.as_ref());
        let purpose = (Purpose::Backup, Assurances::default());
        let copied = backup::export(parts, entropy, &services.issuer, purpose, &mut sink).await;
        if let Err(error) = services.audit.record(ended(event, &copied)).await {
            tracing::error!(%error, "how the copy of an installation ended is not in the audit log");
        }
        // Before whoever takes it sees that it has ended: the next one may be asked for at once.
        drop((turn, sink));
        if let Err(error) = copied {
            tracing::error!(%error, "a copy of the installation was not finished");
            // Whoever takes it sees it break off; nobody is left to tell if they have gone.
            sender.send(Err(error)).await.ok();
        }
    });
    match rest.recv().await {
        Some(Ok(first)) => Ok(CopyStream { first: Some(first), rest }),
        Some(Err(error)) => Err(error.into()),
        // It ends with some bytes or an error, unless the service stops.
        None => Err(ProtocolError::unavailable(1, BackupError::Abandoned)),
    }
}

impl From<BackupError> for ProtocolError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Store(error) => error.into(),
            BackupError::Keys(error) => error.into(),
            // The directory or the module may be right again in a moment, as may what goes on at the store.
            BackupError::Vault(_)
            | BackupError::Archive(_)
            | BackupError::NeverPublished
            | BackupError::Unfinished(_)
            | BackupError::Moved
            | BackupError::Abandoned => Self::unavailable(5, error),
            other => Self::server_error(other),
        }
    }
}

fn ended(event: Event, copied: &Result<Contents, BackupError>) -> Event {
    match copied {
        Ok(contents) => event
            .detail("sha256", contents.sha256.as_str())
            .detail("taken_at", contents.taken_at.to_rfc3339())
            .detail("keys", contents.keys)
            .detail("rows", contents.rows.values().sum::<u64>()),
        Err(error) => event.outcome(Outcome::Failed).detail("error", error.to_string()),
    }
}

struct Taken {
    sender: Sender<Result<Bytes, BackupError>>,
    /// In monotonic time.
    until: Duration,
    clock: SharedClock,
}

#[async_trait]
impl Sink for Taken {
    async fn take(&mut self, bytes: Vec<u8>) -> Result<(), BackupError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let taken = tokio::time::timeout(PATIENCE, self.sender.send(Ok(bytes.into()))).await;
        if matches!(taken, Ok(Ok(()))) && self.clock.monotonic() < self.until {
            Ok(())
        } else {
            Err(BackupError::Abandoned)
        }
    }
}
