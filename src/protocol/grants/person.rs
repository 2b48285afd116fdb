//! What the grants that speak for a person have in common.

use std::sync::Arc;

use futures_util::future::try_join;

use super::Granted;
use super::target::{Target, asked_for, cut_down};
use crate::clients::{AuthenticatedClient, GrantType};
use crate::keys::SigningKey;
use crate::oauth::{ErrorCode, Resource, Scope, Secret, UserId};
use crate::protocol::{ProtocolError, Services, claims};
use crate::store::{Batch, StoreError};
use crate::tokens::{Authorized, Grant, NewIdToken, Prepared, RefreshToken};
use crate::users::Account;

/// Whoever granted it, if they still may: the account exists and is not disabled, and nothing was revoked since, by what the store
/// says, for this node may not have heard of it. `ended` is the answer otherwise. Whether the session lives is for [`in_session`] to
/// say.
async fn standing(
    services: &Services,
    grant: &Grant,
    ended: fn() -> ProtocolError,
) -> Result<Account, ProtocolError> {
    let user = UserId::parse(grant.subject.as_str()).map_err(|_| ended())?;
    let cut_off = services.revocations.refresh_cutoffs_of(&grant.client_id, &grant.subject);
    let (account, ()) = try_join(services.accounts.find(&user), cut_off).await?;
    not_revoked(services, grant, ended)?;
    account.filter(|account| !account.disabled).ok_or_else(ended)
}

/// Whether a grant can be refreshed as far as its session goes: that lives, unless the grant outlives it.
pub(super) async fn while_it_lasts(
    services: &Services,
    grant: &Grant,
    ended: fn() -> ProtocolError,
) -> Result<(), ProtocolError> {
    if grant.is_offline() { Ok(()) } else { in_session(services, grant, ended).await }
}

/// Whether the session that the grant came from lives, however long the grant itself would outlive it: a code that is not redeemed
/// yet gives nothing for somebody who has signed out.
pub(super) async fn in_session(
    services: &Services,
    grant: &Grant,
    ended: fn() -> ProtocolError,
) -> Result<(), ProtocolError> {
    while_in_session(services, grant, Batch::new()).await?.map(drop).ok_or_else(ended)
}

/// Adds to the batch that spends something the condition that the session lives until it is applied; `None` if it has ended.
/// A look after the commit would not do: it may fail when what was spent can't be presented again.
pub(super) async fn while_in_session(
    services: &Services,
    grant: &Grant,
    batch: Batch,
) -> Result<Option<Batch>, StoreError> {
    let Some(sid) = &grant.sid else { return Ok(Some(batch)) };
    let Ok(user) = UserId::parse(grant.subject.as_str()) else { return Ok(None) };
    services.sessions.living(batch, &user, sid).await
}

/// Whether neither the client's nor the person's tokens were revoked as a whole since it was given. To be asked once more when
/// something was spent for it: what was revoked meanwhile ends what it was too late to see.
pub(super) fn not_revoked(
    services: &Services,
    grant: &Grant,
    ended: fn() -> ProtocolError,
) -> Result<(), ProtocolError> {
    let cutoff = services.revocations.cutoff(&grant.client_id, &grant.subject);
    if cutoff.is_some_and(|before| grant.granted_at <= before) { Err(ended()) } else { Ok(()) }
}

/// Whether a refresh token would be taken now, if its own client presented it.
///
/// # Errors
/// The store's.
pub(in crate::protocol) async fn is_live(
    services: &Services,
    token: &RefreshToken,
) -> Result<bool, ProtocolError> {
    let (grant, ended) = (&token.grant, || invalid_grant("ended"));
    let granted = async {
        standing(services, grant, ended).await?;
        while_it_lasts(services, grant, ended).await
    };
    match granted.await {
        Ok(()) => Ok(services.refresh_tokens.is_newest(token).await?),
        Err(error) if error.code == ErrorCode::InvalidGrant => Ok(false),
        Err(error) => Err(error),
    }
}

/// What of a grant a request asks for.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// All of it if absent.
    pub(super) scope: Option<String>,
    /// The first resource if empty.
    pub(super) resources: Vec<String>,
    /// Whether an ID token that can't be issued is worth a refusal, or is left out (OpenID Connect Core 1.0, section 12.2).
    pub(super) needs_id_token: bool,
}

/// Everything that is decided before anything is written. What is still to come can only fail with the keys.
pub(super) struct Plan<'a> {
    client: &'a AuthenticatedClient,
    grant: &'a Grant,
    target: Target<'a>,
    audience: Vec<&'a Resource>,
    scope: Scope,
    id_token_key: Option<Arc<SigningKey>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        services: &'a Services,
        client: &'a AuthenticatedClient,
        grant: &'a Grant,
        wish: &Wish,
    ) -> Result<Self, ProtocolError> {
        let asked = wish.resources.iter().map(String::as_str);
        let target = Target::new(services, client, &grant.resources, asked)?;
        // What the client may no longer have, it does not get.
        let grantable = |token: &str| {
            let known = target.lends(client, token) || Scope::is_of_openid(token);
            grant.scope.contains(token) && services.clients.may_have(client, token) && known
        };
        let scope = match &wish.scope {
            Some(asked) => asked_for(asked, grantable)?,
            None => cut_down(&grant.scope, grantable)?,
        };
        let target = target.with_scope(services, client, &scope);
        let is_openid = scope.contains(Scope::OPENID);
        // Before a code is spent for a token that nobody can sign.
        let id_token_key = if is_openid { services.id_token_key(client)? } else { None };
        if is_openid && id_token_key.is_none() && wish.needs_id_token {
            return Err(services.no_id_token(client));
        }
        let audience = target.audience();
        Ok(Self { client, grant, target, audience, scope, id_token_key })
    }

    fn authorized(&self) -> Authorized<'_> {
        Authorized {
            subject: &self.grant.subject,
            client_id: &self.grant.client_id,
            audience: &self.audience,
            scope: &self.scope,
            lifetime: self.target.lifetime(self.client),
            algorithms: self.target.algorithms(),
            grant: Some(self.grant),
        }
    }

    /// Whether an ID token is issued.
    pub(super) fn names_the_person(&self) -> bool {
        self.id_token_key.is_some()
    }

    /// Takes the access token's place, and looks then whether whoever granted it still may; `ended` is the answer otherwise. In this order:
    /// the token bears its date already, so a cut-off that is set after the look covers it, however late it is issued, and one
    /// that was set before is seen, however far this node is behind.
    pub(super) async fn prepare(
        &self,
        services: &Services,
        ended: fn() -> ProtocolError,
    ) -> Result<(Prepared, Account), ProtocolError> {
        let Grant { client_id, subject, .. } = self.grant;
        not_revoked(services, self.grant, ended)?;
        loop {
            let prepared = services.access_tokens.prepare(&self.authorized())?;
            let account = standing(services, self.grant, ended).await?;
            let cutoff = services.revocations.cutoff(client_id, subject);
            if cutoff.is_none_or(|before| prepared.issued_at() > before) {
                return Ok((prepared, account));
            }
            // The grant is dated behind a cut-off that this node has only now heard of: so must the token be.
        }
    }

    /// Issues what was planned, after all that had to be written is.
    pub(super) fn issue(
        &self,
        services: &Services,
        prepared: &Prepared,
        (grant_type, refresh_token): (GrantType, Option<Secret>),
        account: &Account,
    ) -> Result<Granted, ProtocolError> {
        let issued = services.access_tokens.sign(&self.authorized(), prepared)?;
        let id_token = match &self.id_token_key {
            None => None,
            Some(key) => Some(services.id_tokens.issue(NewIdToken {
                grant: self.grant,
                nonce: self.grant.nonce.as_deref(),
                access_token: Some(&issued.access_token),
                key,
                issued_at: issued.issued_at,
                claims: claims::for_id_token(account, &self.scope, self.grant.claims.as_ref()),
            })?),
        };
        Ok(Granted { grant_type, issued, refresh_token, id_token })
    }
}

/// Whether refresh tokens are issued for the grant: the client may use them, and they end with something: with the
/// session, or by `offline_access` with their own dates.
pub(super) fn is_refreshable(client: &AuthenticatedClient, grant: &Grant) -> bool {
    client.may(GrantType::RefreshToken) && (grant.is_offline() || grant.sid.is_some())
}

/// What a code or refresh token that does not count is answered with: one text for every reason.
pub(super) fn invalid_grant(description: &'static str) -> ProtocolError {
    ProtocolError::new(ErrorCode::InvalidGrant, description)
}
