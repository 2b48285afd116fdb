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
use crate::audit::EventKind;
use crate::backup::{self, BackupError, Sink};
use crate::oauth::ErrorCode;
use crate::protocol::{ProtocolError, Services};

/// How long whoever takes the copy may leave it waiting: meanwhile what is overwritten is kept in memory for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many pages wait to be taken.
const AHEAD: usize = 4;

/// A copy as it is made. It is whole only if it ends without an error.
pub struct CopyStream(Receiver<Result<Bytes, BackupError>>);

impl Stream for CopyStream {
    type Item = Result<Bytes, BackupError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// Begins a copy of the installation as it stands now, sealed under the key-encryption key: one at a time on a node.
///
/// # Errors
/// `conflict` while another one is taken.
pub async fn begin(
    services: &Arc<Services>,
    administrator: &Administrator,
) -> Result<CopyStream, ProtocolError> {
    let busy = |_| ProtocolError::new(ErrorCode::Conflict, "a copy is being taken already");
    let turn = Arc::clone(&services.copying).try_acquire_owned().map_err(busy)?;
    services.audit.record(administrator.event(EventKind::InstallationExported)).await?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let services = Arc::clone(services);
    tokio::spawn(async move {
        let _turn = turn;
        let mut sink = Taken(sender.clone());
        let (parts, entropy) = (services.keys.parts(), services.entropy.as_ref());
        if let Err(error) = backup::export(parts, entropy, &services.issuer, &mut sink).await {
            tracing::error!(%error, "a copy of the installation was not finished");
            // Whoever takes it sees it break off; nobody is left to tell if they have gone.
            sender.send(Err(error)).await.ok();
        }
    });
    Ok(CopyStream(receiver))
}

struct Taken(Sender<Result<Bytes, BackupError>>);

#[async_trait]
impl Sink for Taken {
    async fn take(&mut self, bytes: Vec<u8>) -> Result<(), BackupError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let taken = tokio::time::timeout(PATIENCE, self.0.send(Ok(bytes.into()))).await;
        if matches!(taken, Ok(Ok(()))) { Ok(()) } else { Err(BackupError::Abandoned) }
    }
}
