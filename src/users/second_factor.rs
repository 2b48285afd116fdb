use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use totp_rs::{Builder, Totp};
use url::form_urlencoded::byte_serialize;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::recovery;
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::keys::DataKey;
use crate::oauth::{Secret, SecretHash, UserId};
use crate::store::typed::{Record, TypedTable};
use crate::store::{Batch, Committed, Condition, Store, StoreError, Table};

pub(super) const FACTORS_TABLE: Table = Table::plain("second_factors");
const FACTORS: TypedTable<Stored> = TypedTable::new(FACTORS_TABLE);
pub(super) const ENROLLMENTS_TABLE: Table = Table::plain("second_factor_enrollments");
/// Secrets that were shown but not confirmed; their rows end by themselves.
const ENROLLMENTS: TypedTable<String> = TypedTable::new(ENROLLMENTS_TABLE);

/// How long a shown secret waits to be confirmed.
const ENROLLMENT: Duration = Duration::minutes(15);

/// RFC 6238, section 4.1 and RFC 4226, section 4: what every authenticator app knows.
const STEP: u64 = 30;
const DIGITS: u8 = 6;
/// A code of the step before or after is taken too (RFC 6238, section 5.2).
const SKEW: u16 = 1;
/// RFC 4226, section 4, R6.
const SECRET: usize = 20;

/// How often a write is tried again when another one came first.
const ATTEMPTS: usize = 5;

/// How many are changed at once when all are.
const PAGE: usize = 500;

/// A secret for an authenticator app: shown once, and in use after it was confirmed.
#[derive(Clone, Debug)]
pub struct Enrollment {
    /// For typing in: base32.
    pub secret: Secret,
    /// For scanning: an `otpauth` URI.
    pub uri: Secret,
}

/// A second factor in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondFactor {
    /// Since when.
    pub confirmed_at: DateTime<Utc>,
    /// How many recovery codes are unused.
    pub recovery_codes: usize,
}

/// What somebody proved to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// The authenticator app.
    Totp,
    /// A recovery code, which is used up now.
    RecoveryCode {
        /// How many are left.
        left: usize,
    },
}

/// The second factor could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SecondFactorError {
    /// What is stored does not open.
    #[error(
        "a second factor can't be unsealed: was the key-encryption key replaced without `signet keys rekey`?"
    )]
    Unreadable,
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Second factors: one authenticator app an account, by time-based one-time passwords (RFC 6238), and recovery
/// codes. How often somebody may guess is not decided here.
pub struct SecondFactors {
    store: Arc<dyn Store>,
    clock: SharedClock,
    entropy: SharedEntropy,
    data_key: DataKey,
    issuer: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    confirmed_at: DateTime<Utc>,
    /// The last step whose code was used: neither it nor an earlier one counts again (RFC 6238, section 5.2).
    last_step: u64,
    /// [`Secrets`].
    sealed: String,
    /// The recovery codes count no more, because one that was used may have come back with an earlier state of the store.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    recovery_ended: bool,
}

#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
struct Secrets {
    /// In base32.
    totp: String,
    #[zeroize(skip)]
    recovery: Vec<SecretHash>,
}

/// A secret whose app was shown to be there.
struct Waiting {
    version: u64,
    secret: Zeroizing<String>,
    step: u64,
}

impl SecondFactors {
    /// The second factors in `store`. `issuer` names the service in authenticator apps.
    #[must_use]
    pub fn new(
        issuer: String,
        store: Arc<dyn Store>,
        data_key: DataKey,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Self {
        Self { store, clock, entropy, data_key, issuer }
    }

    /// The account's second factor, if it has one.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn find(&self, user: &UserId) -> Result<Option<SecondFactor>, SecondFactorError> {
        let Some(record) = self.record(user).await? else { return Ok(None) };
        let recovery_codes = self.unsealed(user, &record.value)?.recovery.len();
        Ok(Some(SecondFactor { confirmed_at: record.value.confirmed_at, recovery_codes }))
    }

    /// Makes a secret for an authenticator app. A factor that is in use stays so until the new one is confirmed.
    /// `label` tells the person which account it is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn enroll(&self, user: &UserId, label: &str) -> Result<Enrollment, SecondFactorError> {
        let random = Zeroizing::new(self.entropy.bytes::<SECRET>());
        let secret = totp_rs::Secret::from(*random).to_base32();
        let sealed = self.data_key.seal(&context(user), secret.as_bytes());
        let end = self.clock.now().checked_add_signed(ENROLLMENT);
        let put = ENROLLMENTS.encode(&sealed, end)?;
        let batch = Batch::new().put(ENROLLMENTS.table(), user.as_str(), Condition::Always, put);
        let _unconditional = self.store.commit(batch).await?;
        let plain = |text: &str| byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
        let (issuer, label) = (plain(&self.issuer), plain(label));
        let uri = format!("otpauth://totp/{issuer}:{label}?secret={secret}&issuer={issuer}");
        Ok(Enrollment { secret: Secret::new(secret), uri: Secret::new(uri) })
    }

    /// Whether `code` shows that an app has the secret that was made last. Changes nothing.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn would_confirm(&self, user: &UserId, code: &str) -> Result<bool, SecondFactorError> {
        Ok(self.waiting(user, code).await?.is_some())
    }

    /// Puts the secret that was made last into use if `code` shows that an app has it. Answers with the recovery
    /// codes, the only time they can be seen, or with nothing if the code is wrong or nothing waits.
    ///
    /// # Errors
    /// When it can't be read or stored.
    pub async fn confirm(&self, user: &UserId, code: &str) -> Result<Option<Vec<Secret>>, SecondFactorError> {
        let Some(Waiting { version, secret, step }) = self.waiting(user, code).await? else {
            return Ok(None);
        };
        let codes = recovery::generate(&self.entropy);
        let recovery = codes.iter().map(recovery::hash).collect();
        let secrets = Secrets { totp: String::clone(&secret), recovery };
        let (confirmed_at, sealed) = (self.clock.now(), self.sealed(user, &secrets)?);
        let stored = Stored { confirmed_at, last_step: step, sealed, recovery_ended: false };
        let batch = Batch::new().delete(ENROLLMENTS.table(), user.as_str(), Condition::VersionIs(version));
        let batch = FACTORS.put(batch, user.as_str(), Condition::Always, &stored)?;
        Ok((self.store.commit(batch).await? == Committed::Applied).then_some(codes))
    }

    /// What `code` proves: that the person has the app, or a recovery code. Each code counts once.
    ///
    /// # Errors
    /// When it can't be read or stored.
    pub async fn check(&self, user: &UserId, code: &str) -> Result<Option<Factor>, SecondFactorError> {
        let code = Secret::new(code.trim().to_owned());
        for _ in 0..ATTEMPTS {
            let Some(Record { version, value: mut stored, .. }) = self.record(user).await? else {
                return Ok(None);
            };
            let mut secrets = self.unsealed(user, &stored)?;
            let factor = if code.expose().len() == usize::from(DIGITS) {
                match self.matching_step(&secrets.totp, code.expose())? {
                    Some(step) if step > stored.last_step => stored.last_step = step,
                    _ => return Ok(None),
                }
                Factor::Totp
            } else {
                if !recovery::take(&mut secrets.recovery, &code) {
                    return Ok(None);
                }
                stored.sealed = self.sealed(user, &secrets)?;
                Factor::RecoveryCode { left: secrets.recovery.len() }
            };
            let batch = FACTORS.put(Batch::new(), user.as_str(), Condition::VersionIs(version), &stored)?;
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(Some(factor));
            }
        }
        Err(contended())
    }

    /// Makes new recovery codes; the old ones count no more. `None` if there is no second factor.
    ///
    /// # Errors
    /// When it can't be read or stored.
    pub async fn new_recovery_codes(&self, user: &UserId) -> Result<Option<Vec<Secret>>, SecondFactorError> {
        for _ in 0..ATTEMPTS {
            let Some(Record { version, value: mut stored, .. }) = self.record(user).await? else {
                return Ok(None);
            };
            let codes = recovery::generate(&self.entropy);
            let mut secrets = self.unsealed(user, &stored)?;
            secrets.recovery = codes.iter().map(recovery::hash).collect();
            stored.recovery_ended = false;
            stored.sealed = self.sealed(user, &secrets)?;
            let batch = FACTORS.put(Batch::new(), user.as_str(), Condition::VersionIs(version), &stored)?;
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(Some(codes));
            }
        }
        Err(contended())
    }

    /// Removes the second factor, and a secret that waits to be confirmed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, user: &UserId) -> Result<(), StoreError> {
        let _unconditional = self.store.commit(Self::removed(Batch::new(), user)).await?;
        Ok(())
    }

    /// The secret that waits to be confirmed, if `code` is one of its codes now.
    async fn waiting(&self, user: &UserId, code: &str) -> Result<Option<Waiting>, SecondFactorError> {
        let store = self.store.as_ref();
        let Some(waiting) = ENROLLMENTS.get(store, user.as_str().as_bytes()).await? else { return Ok(None) };
        let secret =
            self.data_key.unseal(&context(user), &waiting.value).ok_or(SecondFactorError::Unreadable)?;
        let secret = Zeroizing::new(String::from_utf8_lossy(&secret).into_owned());
        let step = self.matching_step(&secret, code)?;
        Ok(step.map(|step| Waiting { version: waiting.version, secret, step }))
    }

    /// Adds to `batch` that nobody is asked for it any more.
    pub(super) fn removed(batch: Batch, user: &UserId) -> Batch {
        let batch = batch.delete(FACTORS.table(), user.as_str(), Condition::Always);
        batch.delete(ENROLLMENTS.table(), user.as_str(), Condition::Always)
    }

    async fn record(&self, user: &UserId) -> Result<Option<Record<Stored>>, StoreError> {
        FACTORS.get(self.store.as_ref(), user.as_str().as_bytes()).await
    }

    fn matching_step(&self, secret: &str, code: &str) -> Result<Option<u64>, SecondFactorError> {
        let now = u64::try_from(self.clock.numeric_date()).unwrap_or_default();
        Ok(totp(secret).ok_or(SecondFactorError::Unreadable)?.check(code, now))
    }

    fn sealed(&self, user: &UserId, secrets: &Secrets) -> Result<String, StoreError> {
        let json = serde_json::to_vec(secrets).map(Zeroizing::new);
        let json = json.map_err(|_| StoreError::Invalid("a second factor has no form in JSON"))?;
        Ok(self.data_key.seal(&context(user), &json))
    }

    fn unsealed(&self, user: &UserId, stored: &Stored) -> Result<Secrets, SecondFactorError> {
        let json = self.data_key.unseal(&context(user), &stored.sealed);
        let json = json.ok_or(SecondFactorError::Unreadable)?;
        let mut secrets: Secrets =
            serde_json::from_slice(&json).map_err(|_| SecondFactorError::Unreadable)?;
        if stored.recovery_ended {
            secrets.recovery.clear();
        }
        Ok(secrets)
    }
}

/// Ends every recovery code of `store`, in which one that was used may count again; second factors stay. Says of how many
/// accounts. Nobody else may write meanwhile.
///
/// # Errors
/// When the store fails.
pub async fn end_recovery_codes(store: &dyn Store) -> Result<usize, StoreError> {
    let (mut ended, mut after) = (0, None);
    loop {
        let rows = store.scan(FACTORS.table(), after.as_deref(), PAGE).await?;
        let last = rows.len() < PAGE;
        after = rows.last().map(|(key, _)| key.clone());
        let mut batch = Batch::new();
        for (key, row) in rows {
            let stored = Stored { recovery_ended: true, ..FACTORS.decode(&row)?.value };
            batch = FACTORS.put(batch, key, Condition::Always, &stored)?;
            ended += 1;
        }
        let _unconditional = store.commit(batch).await?;
        if last {
            return Ok(ended);
        }
    }
}

fn totp(secret: &str) -> Option<Totp> {
    let secret = totp_rs::Secret::try_from_base32(secret).ok()?;
    Builder::new()
        .with_digits(DIGITS)
        .with_skew(SKEW)
        .with_step_duration(STEP)
        .with_secret(secret)
        .build()
        .ok()
}

/// One person's secret is no other's.
fn context(user: &UserId) -> String {
    format!("second factor of {user}")
}

fn contended() -> SecondFactorError {
    StoreError::Unavailable("a second factor is changed by too many at once".into()).into()
}
