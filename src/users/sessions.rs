use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};

use super::{Authentication, LogoutQueue, NewSession, Party, Session, StartedSession, index};
use crate::clock::{FURTHEST_AHEAD, SharedClock};
use crate::config::SessionsConfig;
use crate::entropy::SharedEntropy;
use crate::oauth::{ClientId, Secret, SecretHash, SessionId, UserId};
use crate::store::typed::{Record, TypedTable};
use crate::store::{Batch, Committed, Condition, Store, StoreError, Table, scan_each};

pub(super) const SESSIONS_TABLE: Table = Table::plain("sessions");
/// Sessions under the hash of what their cookie holds.
const SESSIONS: TypedTable<Session> = TypedTable::new(SESSIONS_TABLE);
pub(super) const OF_USER_TABLE: Table = Table::plain("user_sessions");
/// For each session, under its account and its `sid`, the key of its row in [`SESSIONS`].
const OF_USER: TypedTable<SecretHash> = TypedTable::new(OF_USER_TABLE);

/// That a session was used is written no more often: most requests write nothing. Nor more often than four times in the idle lifetime,
/// which is counted from what was written: whoever goes on must not be signed out.
const LAST_SEEN_STEP: Duration = Duration::seconds(60);

/// How often a write is tried again when another one came first.
const ATTEMPTS: usize = 5;

/// The same for those who join: a person may open many applications at once.
const JOIN_ATTEMPTS: usize = 100;

/// The longest part of a `User-Agent` that is kept, in characters.
const LONGEST_USER_AGENT: usize = 256;

/// The sessions. One that was not used for the idle lifetime, or is as old as the absolute one, does not exist any
/// more; nobody is told of that. Of one that is ended its parties are told, by way of the queue.
pub struct Sessions {
    store: Arc<dyn Store>,
    clock: SharedClock,
    entropy: SharedEntropy,
    logouts: Arc<LogoutQueue>,
    idle: Duration,
    absolute: Duration,
}

impl Sessions {
    /// The sessions in `store`, with the lifetimes of the settings.
    #[must_use]
    pub fn new(
        config: &SessionsConfig,
        store: Arc<dyn Store>,
        (clock, entropy): (SharedClock, SharedEntropy),
        logouts: Arc<LogoutQueue>,
    ) -> Self {
        let lifetime = |setting| Duration::from_std(setting).unwrap_or(Duration::MAX);
        let (idle, absolute) = (lifetime(config.idle), lifetime(config.absolute));
        Self { store, clock, entropy, logouts, idle, absolute }
    }

    /// Starts a session.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn start(&self, new: NewSession) -> Result<StartedSession, StoreError> {
        let (started, batch) = self.starting(Batch::new(), new)?;
        match self.store.commit(batch).await? {
            Committed::Applied => Ok(started),
            Committed::Conflict => Err(StoreError::Invalid("a new session's identifier was there already")),
        }
    }

    /// A new session, and the same batch, with which it starts: until that is applied there is none.
    ///
    /// # Errors
    /// When it has no form in the store.
    pub fn starting(&self, batch: Batch, new: NewSession) -> Result<(StartedSession, Batch), StoreError> {
        let now = self.clock.now();
        let session = Session {
            sid: self.new_sid(),
            user: new.user,
            authentication: new.authentication,
            created_at: now,
            last_seen: now,
            user_agent: new.user_agent.map(|text| text.chars().take(LONGEST_USER_AGENT).collect()),
            address: new.address,
            parties: Vec::new(),
        };
        let cookie = Secret::new(self.entropy.token::<32>());
        let batch = self.put(batch, (&session, &cookie.hash()), Condition::Absent)?;
        Ok((StartedSession { session, cookie }, batch))
    }

    /// The session whose cookie holds `cookie`, if it has not ended. It counts as used.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, cookie: &Secret) -> Result<Option<Session>, StoreError> {
        let hash = cookie.hash();
        for _ in 0..ATTEMPTS {
            let Some(Record { version, value: mut session, .. }) = self.row(&hash).await? else {
                return Ok(None);
            };
            let now = self.clock.now();
            let age = now - session.last_seen;
            if -FURTHEST_AHEAD <= age && age < LAST_SEEN_STEP.min(self.idle / 4) {
                return Ok(Some(session));
            }
            session.last_seen = now;
            // It began by a clock that was ahead: until then neither lifetime would end it.
            session.created_at = session.created_at.min(now);
            let batch = self.put(Batch::new(), (&session, &hash), Condition::VersionIs(version))?;
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(Some(session));
            }
            // Somebody else used it, or ended it: only the store knows.
        }
        Err(contended())
    }

    /// The session called `sid` of `user`, if it has not ended. It does not count as used.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find_by_sid(&self, user: &UserId, sid: &SessionId) -> Result<Option<Session>, StoreError> {
        for _ in 0..JOIN_ATTEMPTS {
            let Some(pointer) = self.pointer(user, sid).await? else { return Ok(None) };
            if let Some(record) = self.row(&pointer.value).await? {
                return Ok(Some(record.value));
            }
            // Its cookie was renewed in between, or it has ended: the pointer says which.
        }
        Err(contended())
    }

    /// Adds to `batch` that it applies only as long as the session called `sid` of `user` lives and is as it is now. `None` if
    /// it has ended. Where the batch does not apply, it may merely have been used: ask again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn living(
        &self,
        batch: Batch,
        user: &UserId,
        sid: &SessionId,
    ) -> Result<Option<Batch>, StoreError> {
        // The pointer alone: the row that it names is another one whenever the cookie is renewed.
        let as_now = |pointer: Record<_>| {
            let condition = Condition::VersionIs(pointer.version);
            batch.check(OF_USER.table(), index::key(user, sid.as_str()), condition)
        };
        Ok(self.pointer(user, sid).await?.map(as_now))
    }

    /// Notes that a client takes part in the session called `sid`, so that it is told when that is ended; `false` if it
    /// has ended. A client of the same name that took part before this one was registered was another one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn join(
        &self,
        user: &UserId,
        sid: &SessionId,
        (client_id, registered_at): (&ClientId, DateTime<Utc>),
    ) -> Result<bool, StoreError> {
        for _ in 0..JOIN_ATTEMPTS {
            let Some(pointer) = self.pointer(user, sid).await? else { return Ok(false) };
            // None: it was ended, or its cookie renewed, in between.
            let Some(Record { version, value: mut session, .. }) = self.row(&pointer.value).await? else {
                continue;
            };
            let is_known = |party: &Party| party.client_id == *client_id && registered_at <= party.joined_at;
            if session.parties.iter().any(is_known) {
                return Ok(true);
            }
            session.parties.retain(|party| party.client_id != *client_id);
            // Never before it was registered: that may have been by a clock that was ahead, and who is told later is to be this one.
            let joined_at = self.clock.now().max(registered_at);
            session.parties.push(Party { client_id: client_id.clone(), joined_at });
            let batch = self.put(Batch::new(), (&session, &pointer.value), Condition::VersionIs(version))?;
            if self.store.commit(batch).await? == Committed::Applied {
                return Ok(true);
            }
        }
        Err(contended())
    }

    /// The session as it is when the person has proved anew who they are, and the same batch, with which it is so. The cookie
    /// changes with it, so that one that was planted or copied before is worth nothing; `sid` and the age stay. `None` if the
    /// session has ended; the batch does not apply if it ends or changes before that.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn renewing(
        &self,
        batch: Batch,
        cookie: &Secret,
        authentication: Authentication,
    ) -> Result<Option<(StartedSession, Batch)>, StoreError> {
        let old = cookie.hash();
        let Some(Record { version, value: mut session, .. }) = self.row(&old).await? else {
            return Ok(None);
        };
        session.authentication = authentication;
        session.last_seen = self.clock.now();
        let cookie = Secret::new(self.entropy.token::<32>());
        let batch = batch.delete(SESSIONS.table(), key(&old), Condition::VersionIs(version));
        let batch = self.put(batch, (&session, &cookie.hash()), Condition::Absent)?;
        Ok(Some((StartedSession { session, cookie }, batch)))
    }

    /// The sessions of `user` that have not ended, in no particular order, without those that can't be read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn of_user(&self, user: &UserId) -> Result<Vec<Session>, StoreError> {
        let mut sessions = Vec::new();
        for sid in self.names(user).await? {
            match self.find_by_sid(user, &sid).await {
                Err(error @ StoreError::Damaged { .. }) => {
                    tracing::error!(%error, %sid, "a session can't be read, and is not shown");
                }
                found => sessions.extend(found?),
            }
        }
        Ok(sessions)
    }

    /// Ends one session, without the tokens that were issued in it: where all of a person's end, a cut-off ends those. Who ends one
    /// alone ends them too, by `protocol::users::end_session`. In the same commit its parties are put into the queue.
    pub(super) async fn end(&self, user: &UserId, sid: &SessionId) -> Result<Option<Session>, StoreError> {
        for _ in 0..ATTEMPTS {
            let Some((ended, batch)) = self.ending(Batch::new(), user, sid).await? else { return Ok(None) };
            if self.store.commit(batch).await? == Committed::Applied {
                self.logouts.wake();
                return Ok(ended);
            }
        }
        Err(contended())
    }

    /// The session, and the same batch, with which it ends and its parties are put into the queue: wake that afterwards.
    /// `None` if there is none. One whose row can't be read ends too: who takes part in it is not known then, and is not told. So
    /// does one of which it can't be read where its row is: that is looked for among all.
    ///
    /// # Errors
    /// When the store fails, or neither the session's row can be read nor what says where it is: it may be the row of any session.
    pub async fn ending(
        &self,
        batch: Batch,
        user: &UserId,
        sid: &SessionId,
    ) -> Result<Option<(Option<Session>, Batch)>, StoreError> {
        let index = index::key(user, sid.as_str());
        let Some(pointer) = self.store.get(OF_USER.table(), &index).await? else { return Ok(None) };
        let place = match OF_USER.decode(&pointer) {
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(%error, %sid, "where a session that ends is can't be read: it is looked for");
                self.searched(user, sid, error).await?
            }
            pointer => Some(key(&pointer?.value)),
        };
        // The condition: a cookie that was renewed meanwhile must not survive.
        let mut batch = batch.delete(OF_USER.table(), index, Condition::VersionIs(pointer.version));
        let mut session = None;
        if let Some(place) = place {
            session = match SESSIONS.get(self.store.as_ref(), &place).await {
                Err(error @ StoreError::Damaged { .. }) => {
                    tracing::error!(%error, %sid, "a session that ends can't be read: nobody who takes part in it is told");
                    None
                }
                row => row?.map(|record| record.value),
            };
            batch = batch.delete(SESSIONS.table(), place, Condition::Always);
        }
        let batch = match &session {
            Some(session) => self.logouts.add(batch, session)?,
            None => batch,
        };
        Ok(Some((session, batch)))
    }

    /// The key of the row of the session called `sid`, found by reading all sessions, where nothing else says which it is. None if
    /// it is gone.
    ///
    /// # Errors
    /// When the store fails, and with `error` where rows can't be read among which it may be: a session must not live on because it
    /// was not found.
    async fn searched(
        &self,
        user: &UserId,
        sid: &SessionId,
        error: StoreError,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (mut found, mut unreadable) = (None, false);
        scan_each(self.store.as_ref(), SESSIONS.table(), |key, row| {
            match SESSIONS.decode(&row) {
                Ok(Record { value, .. }) if value.user == *user && value.sid == *sid => found = Some(key),
                Ok(_) => {}
                Err(_) => unreadable = true,
            }
            Ok(())
        })
        .await?;
        if found.is_none() && unreadable { Err(error) } else { Ok(found) }
    }

    /// Ends every session of `user`; answers with them. One that is damaged holds up no other.
    ///
    /// # Errors
    /// When the store fails: then some may have ended. When one is so damaged that it can't be ended: then all others have.
    pub async fn end_all(&self, user: &UserId) -> Result<Vec<Session>, StoreError> {
        let (mut ended, mut failed) = (Vec::new(), None);
        for sid in self.names(user).await? {
            match self.end(user, &sid).await {
                Err(error @ StoreError::Damaged { .. }) => {
                    tracing::error!(%error, %sid, "a session can't be ended");
                    failed = Some(error);
                }
                answered => ended.extend(answered?),
            }
        }
        failed.map_or(Ok(ended), Err)
    }

    async fn names(&self, user: &UserId) -> Result<Vec<SessionId>, StoreError> {
        let rows = index::of_user(self.store.as_ref(), OF_USER.table(), user).await?;
        Ok(rows.iter().filter_map(|(key, _)| SessionId::parse(index::name(key)?).ok()).collect())
    }

    /// What says whether there is such a session: as long as it lives it is there.
    async fn pointer(
        &self,
        user: &UserId,
        sid: &SessionId,
    ) -> Result<Option<Record<SecretHash>>, StoreError> {
        OF_USER.get(self.store.as_ref(), &index::key(user, sid.as_str())).await
    }

    async fn row(&self, hash: &SecretHash) -> Result<Option<Record<Session>>, StoreError> {
        SESSIONS.get(self.store.as_ref(), &key(hash)).await
    }

    /// Both rows of a session; `condition` is for the row under the cookie's hash.
    fn put(
        &self,
        batch: Batch,
        (session, hash): (&Session, &SecretHash),
        condition: Condition,
    ) -> Result<Batch, StoreError> {
        let idle_end = session.last_seen.checked_add_signed(self.idle);
        let end =
            [idle_end, session.created_at.checked_add_signed(self.absolute)].into_iter().flatten().min();
        let index = index::key(&session.user, session.sid.as_str());
        Ok(batch.put(SESSIONS.table(), key(hash), condition, SESSIONS.encode(session, end)?).put(
            OF_USER.table(),
            index,
            Condition::Always,
            OF_USER.encode(hash, end)?,
        ))
    }

    fn new_sid(&self) -> SessionId {
        #[expect(clippy::expect_used, reason = "base64url is what an identifier may hold")]
        SessionId::parse(&self.entropy.token::<16>()).expect("a sid")
    }
}

fn key(hash: &SecretHash) -> Vec<u8> {
    String::from(hash.clone()).into_bytes()
}

fn contended() -> StoreError {
    StoreError::Unavailable("a session is changed by too many at once".into())
}
