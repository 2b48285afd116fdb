use std::io;
use std::path::PathBuf;

use crate::keys::{ArchiveError, KeyRingError, RingUnreadable, VaultError};
use crate::oauth::KeyId;
use crate::store::StoreError;

/// An installation could not be copied, or a copy not be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is not what an export wrote, or not for this key-encryption key.
    #[error("the file can't be used: {0}")]
    Archive(#[from] ArchiveError),
    /// What was decrypted is not what this release writes.
    #[error("the file can't be used: {0}")]
    Contents(String),
    /// The file is of another issuer.
    #[error("the file is of {of}, the settings say issuer = {given}: use the settings of the former")]
    Issuer {
        /// Whose it is.
        of: String,
        /// What the settings say.
        given: String,
    },
    /// There is something in the store already.
    #[error(
        "the store is not empty: it has rows in {0}; name another data_dir or database, or move this one away"
    )]
    NotEmpty(String),
    /// There are private keys already, and they may be somebody else's.
    #[error(
        "there are {keys} private keys already where the settings keep them, and they are not of this copy: another installation \
         may need them; move the key files away or name another keys.dir"
    )]
    VaultNotEmpty {
        /// How many.
        keys: usize,
    },
    /// The private keys beside a store that was put back are not its own.
    #[error(
        "none of the private keys that the key ring names is where the settings keep them: keys.dir may be that of another \
         installation, whose keys would be destroyed; correct it, or say --keys-lost if they are gone"
    )]
    NoneOfItsKeys,
    /// It was copied to go on elsewhere.
    #[error(
        "this installation was moved elsewhere by `signet export --move` and must not run beside the one that was made of \
         it; the same command copies it again, `signet restore --in-place` takes it back into use with a cut-off"
    )]
    Moved,
    /// The installation that was copied may go on.
    #[error(
        "the copy is a backup: what was copied may have gone on, and two must not run on the same keys; stop the service and \
         take one by `signet export --offline --move`, or put this one back by `signet restore`"
    )]
    NotForMove,
    /// It is not the copy that was meant.
    #[error("the copy has sha256 {found}, not the one that was named")]
    OtherCopy {
        /// What it has.
        found: String,
    },
    /// Its first start has not ended.
    #[error("the keys of the first start are not published yet: let the service start once, then copy it")]
    NeverPublished,
    /// There is nothing to copy.
    #[error("the store holds no installation")]
    NoInstallation,
    /// An import or a restore was cut off.
    #[error(
        "the store holds half of {0}: run the same command again to finish it; until then nothing may be served from it"
    )]
    Unfinished(&'static str),
    /// The target has lost something, or somebody else has written to it.
    #[error(
        "the target does not hold what was put into it: {place}: {what}; nothing is served from it: look at its disk or \
         its server, then run the same command again, which begins anew"
    )]
    NotAsCopied {
        /// Where.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// It was restored or filled while a node slept.
    #[error(
        "the installation was restored, or its store filled anew, after this node was started: what it keeps in memory is of before \
         that, and it ends; start it again"
    )]
    RestoredSince,
    /// A key that the ring needs is not there.
    #[error("the private key {0} is not in the vault, but the key ring needs it")]
    KeyMissing(KeyId),
    /// There is a file of that name.
    #[error("{} exists already; name another file", .0.display())]
    Exists(PathBuf),
    /// The file can't be written or read.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Whoever takes the file has gone.
    #[error("nobody takes the rest of the copy, or not fast enough")]
    Abandoned,
    /// The store fails, or somebody else writes to it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are nodes that would go on with what they hold in memory.
    #[error(
        "nodes use the store: {0}; stop every node, then run the same command again. One that was killed counts for a minute; if \
         you know that none runs, add --nodes-are-stopped"
    )]
    NodesRun(String),
    /// Somebody else writes to the store.
    #[error("somebody else writes to the store: stop every node, then run the same command again")]
    Contended,
    /// The vault fails.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The keys can't be replaced.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// The ring can't be read.
    #[error(transparent)]
    Ring(#[from] RingUnreadable),
}

impl BackupError {
    /// Whether the installation is restored, filled or moved just now, or was while this node slept: nothing may be served from it
    /// here.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        matches!(self, Self::Unfinished(_) | Self::Moved | Self::RestoredSince)
    }
}
