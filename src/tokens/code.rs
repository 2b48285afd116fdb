use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::family::{Families, session_prefix};
use super::status_list::date;
use super::{Grant, LiveToken};
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::oauth::{ClientId, CodeChallenge, CodeVerifier, FamilyId, Secret, SecretHash};
use crate::store::typed::{Record, TypedTable};
use crate::store::{Batch, Committed, Condition, Store, StoreError, Table};

pub(super) const TABLE: Table = Table::plain("codes");
/// Codes under their hashes.
const CODES: TypedTable<CodeRecord> = TypedTable::new(TABLE);

/// The authorization codes (RFC 6749, section 4.1.2): 256 random bits, kept as a hash, each redeemed once.
pub struct Codes {
    store: Arc<dyn Store>,
    clock: SharedClock,
    entropy: SharedEntropy,
    families: Arc<Families>,
    lifetime: i64,
}

/// A code that is to be issued.
#[derive(Clone, Debug)]
pub struct NewCode {
    /// What the person let the client do.
    pub grant: Grant,
    /// The `redirect_uri` of the authorization request, if it had one.
    pub redirect_uri: Option<String>,
    /// The `code_challenge` of the authorization request, if it had one.
    pub code_challenge: Option<CodeChallenge>,
}

#[derive(Serialize, Deserialize)]
struct CodeRecord {
    #[serde(flatten)]
    binding: Binding,
    #[serde(flatten)]
    state: State,
}

/// What a code is bound to: who presents it must know all of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Binding {
    client_id: ClientId,
    redirect_uri: Option<String>,
    code_challenge: Option<CodeChallenge>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum State {
    Fresh { grant: Box<Grant> },
    Spent { family: FamilyId, end: i64 },
}

/// What a code is presented with.
#[derive(Clone, Debug)]
pub struct Presented<'a> {
    /// By which client.
    pub client_id: &'a ClientId,
    /// The `redirect_uri`.
    pub redirect_uri: PresentedRedirectUri<'a>,
    /// The `code_verifier`.
    pub code_verifier: Option<CodeVerifier>,
}

/// The `redirect_uri` of a token request.
#[derive(Clone, Copy, Debug)]
pub enum PresentedRedirectUri<'a> {
    /// It is this one.
    Named(&'a str),
    /// There is none.
    Absent,
    /// There is none, and the document for which the client was written has none.
    NotAsked,
}

/// A code that was presented with all that it is bound to.
#[derive(Debug)]
pub enum FoundCode {
    /// It was not redeemed yet.
    Fresh(Box<FreshCode>),
    /// It was; what it produced is this family, whose last refresh token ends then.
    Spent {
        /// Which family.
        family: FamilyId,
        /// In seconds since the epoch.
        end: i64,
    },
}

/// A code that can be redeemed.
#[derive(Debug)]
pub struct FreshCode {
    /// What it grants.
    pub grant: Grant,
    /// Whether it is bound by PKCE.
    pub has_challenge: bool,
    binding: Binding,
    key: String,
    version: u64,
}

impl Codes {
    /// The codes in `store`, which live for `lifetime` seconds.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        (clock, entropy): (SharedClock, SharedEntropy),
        families: Arc<Families>,
        lifetime: i64,
    ) -> Self {
        Self { store, clock, entropy, families, lifetime }
    }

    /// Issues a code. Checks nothing of what is granted, nor whether the client must use PKCE.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn issue(&self, new: NewCode) -> Result<Secret, StoreError> {
        let (code, batch) = self.issuing(Batch::new(), new)?;
        match self.store.commit(batch).await? {
            Committed::Applied => Ok(code),
            Committed::Conflict => Err(StoreError::Invalid("a new code was there already")),
        }
    }

    /// A code, and the same batch, with which it is issued: until that is applied nobody can redeem it. Checks as little as
    /// [`Self::issue`].
    ///
    /// # Errors
    /// When it has no form in the store.
    pub fn issuing(&self, batch: Batch, new: NewCode) -> Result<(Secret, Batch), StoreError> {
        let code = Secret::new(self.entropy.token::<32>());
        let NewCode { grant, redirect_uri, code_challenge } = new;
        let binding = Binding { client_id: grant.client_id.clone(), redirect_uri, code_challenge };
        let record = CodeRecord { binding, state: State::Fresh { grant: Box::new(grant) } };
        let end = date(self.clock.numeric_date() + self.lifetime);
        let put = CODES.encode(&record, Some(end))?;
        let batch = batch.put(CODES.table(), String::from(code.hash()), Condition::Absent, put);
        Ok((code, batch))
    }

    /// The code, if it has not ended and is presented with all that it is bound to. Changes nothing: whoever has a
    /// code but not what it is bound to can't spend it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, code: &str, presented: &Presented<'_>) -> Result<Option<FoundCode>, StoreError> {
        let key = String::from(SecretHash::of(code));
        let Some(Record { version, value, .. }) = CODES.get(self.store.as_ref(), key.as_bytes()).await?
        else {
            refused(presented, "it is unknown or has ended");
            return Ok(None);
        };
        let CodeRecord { binding, state } = value;
        if let Some(reason) = binding.unmet_by(presented) {
            refused(presented, reason);
            return Ok(None);
        }
        Ok(Some(match state {
            State::Spent { family, end } => FoundCode::Spent { family, end },
            State::Fresh { grant } => {
                let has_challenge = binding.code_challenge.is_some();
                let fresh = FreshCode { grant: *grant, has_challenge, binding, key, version };
                FoundCode::Fresh(Box::new(fresh))
            }
        }))
    }

    /// Spends a code, in one commit with `batch` and all that must be remembered of what it produces: the access token, and a
    /// family whose last refresh token ends at `end`. `false` if somebody else was faster, or a condition of `batch` does
    /// not hold.
    ///
    /// # Errors
    /// When the store fails: then it may or may not be spent.
    pub async fn redeem(
        &self,
        batch: Batch,
        code: &FreshCode,
        family: &FamilyId,
        (token, end): (&LiveToken, i64),
    ) -> Result<bool, StoreError> {
        let end = end.max(token.exp);
        let state = State::Spent { family: family.clone(), end };
        let spent = CodeRecord { binding: code.binding.clone(), state };
        let put = CODES.encode(&spent, Some(date(end)))?;
        let condition = Condition::VersionIs(code.version);
        let batch = batch.put(CODES.table(), code.key.as_str(), condition, put);
        let batch = self.families.remember(batch, family, token);
        Ok(self.store.commit(batch).await? == Committed::Applied)
    }

    /// A family for a code that is about to be redeemed. One that ends with a session stands under that one's name.
    #[must_use]
    #[expect(clippy::expect_used, reason = "base64url and a dot are a valid identifier")]
    pub fn new_family(&self, grant: &Grant) -> FamilyId {
        let mut name = grant.ends_with().map(session_prefix).unwrap_or_default();
        name.push_str(&self.entropy.token::<16>());
        FamilyId::parse(&name).expect("a valid identifier")
    }
}

impl Binding {
    /// What is not as it was bound, if anything: for the log, never for the answer.
    fn unmet_by(&self, presented: &Presented<'_>) -> Option<&'static str> {
        let redirect_uri = match (&self.redirect_uri, presented.redirect_uri) {
            (Some(bound), PresentedRedirectUri::Named(named)) => bound == named,
            (None, PresentedRedirectUri::Absent) | (_, PresentedRedirectUri::NotAsked) => true,
            (None, PresentedRedirectUri::Named(_)) | (Some(_), PresentedRedirectUri::Absent) => false,
        };
        // A verifier for a code without challenge is one whose challenge somebody took away (RFC 9700, section 4.8.2).
        let verifier = match (&self.code_challenge, &presented.code_verifier) {
            (Some(challenge), Some(verifier)) if verifier.meets(challenge) => None,
            (None, None) => None,
            (Some(_), Some(_)) => Some("code_verifier does not meet the code_challenge"),
            (Some(_), None) => Some("code_verifier is missing"),
            (None, Some(_)) => Some("there is a code_verifier, but there was no code_challenge"),
        };
        if self.client_id != *presented.client_id {
            Some("it was issued to another client")
        } else if !redirect_uri {
            Some("redirect_uri is not that of the authorization request")
        } else {
            verifier
        }
    }
}

/// The client learns no more than that the code is no good; its operator may ask.
fn refused(presented: &Presented<'_>, reason: &str) {
    tracing::info!(client_id = %presented.client_id, reason, "an authorization code was refused");
}
