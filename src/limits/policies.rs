use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::share::Share;
use super::{AddressPrefix, Limit, Quota, SlidingWindow};
use crate::clock::SharedClock;
use crate::config::LimitsConfig;
use crate::oauth::{ApiKeyId, ClientId, TokenId, UserId};

/// A limit by its name, as the headers and the metrics have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Token requests of one client that has authenticated, with an API key too.
    TokenPerClient,
    /// Token and revocation requests from one address in which no client authenticates, and no API key is good.
    TokenPerAddress,
    /// Revocations by one client.
    RevocationPerClient,
    /// Requests from one address with wrong credentials, or without the permission that they need.
    RefusedPerAddress,
    /// Authorization requests from one address.
    AuthorizePerAddress,
    /// Sign-ins from one address.
    LoginPerAddress,
    /// Sign-ins to one account by whoever has signed in to it before.
    LoginPerAccount,
    /// Registrations from one address; counted apart, as many questions with one token which application it is of.
    RegistrationPerAddress,
    /// What one person changes on the pages of the portal and the console.
    ActsPerPerson,
    /// Requests with one API key.
    ApiKey,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Self; 10] = [
        Self::TokenPerClient,
        Self::TokenPerAddress,
        Self::RevocationPerClient,
        Self::RefusedPerAddress,
        Self::AuthorizePerAddress,
        Self::LoginPerAddress,
        Self::LoginPerAccount,
        Self::RegistrationPerAddress,
        Self::ActsPerPerson,
        Self::ApiKey,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenPerClient => "token_per_client",
            Self::TokenPerAddress => "token_per_address",
            Self::RevocationPerClient => "revocation_per_client",
            Self::RefusedPerAddress => "refused_per_address",
            Self::AuthorizePerAddress => "authorize_per_address",
            Self::LoginPerAddress => "login_per_address",
            Self::LoginPerAccount => "login_per_account",
            Self::RegistrationPerAddress => "registration_per_address",
            Self::ActsPerPerson => "acts_per_person",
            Self::ApiKey => "apikey",
        }
    }
}

/// How a limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which one.
    pub policy: Policy,
    /// What is left of it.
    pub quota: Quota,
    /// When one more request is let through, in seconds since the epoch; for who was refused never too early.
    pub resets_at: i64,
}

/// A request is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are too many requests")]
pub struct Exceeded(Standing);

impl Exceeded {
    /// How the limit stands that the request goes beyond.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.0
    }
}

/// What limits count by.
#[derive(Clone)]
struct Basis {
    clock: SharedClock,
    share: Share,
}

/// All limits, as the settings have them. Each is kept by all nodes together: this one lets through its share.
pub struct Limits {
    share: Share,
    /// See [`Policy::TokenPerClient`].
    pub token_per_client: Limited<ClientId>,
    /// See [`Policy::TokenPerAddress`].
    pub token_per_address: Limited<AddressPrefix>,
    /// See [`Policy::RevocationPerClient`].
    pub revocation_per_client: Limited<ClientId>,
    /// See [`Policy::RefusedPerAddress`].
    pub refused_per_address: Limited<AddressPrefix>,
    /// See [`Policy::AuthorizePerAddress`].
    pub authorize_per_address: Limited<AddressPrefix>,
    /// See [`Policy::LoginPerAddress`].
    pub login_per_address: Limited<AddressPrefix>,
    /// See [`Policy::LoginPerAccount`].
    pub login_per_account: Limited<UserId>,
    /// See [`Policy::RegistrationPerAddress`].
    pub registration_per_address: Limited<AddressPrefix>,
    /// The same limit, of questions with one token which application it is of: so often as one registers one can ask, and a
    /// neighbour's questions are no hindrance.
    pub questions_per_token: Limited<TokenId>,
    /// See [`Policy::ActsPerPerson`].
    pub acts_per_person: Limited<UserId>,
    /// See [`Policy::ApiKey`]. All of it, for whoever counts it for all nodes.
    pub api_key: Limited<ApiKeyId>,
}

impl Limits {
    /// The limits of the settings; nobody has asked for anything yet, and there is one node.
    #[must_use]
    pub fn new(config: &LimitsConfig, clock: &SharedClock) -> Self {
        let whole = Basis { clock: clock.clone(), share: Share::whole() };
        let of = Basis { share: Share::whole(), ..whole.clone() };
        Self {
            token_per_client: Limited::new(Policy::TokenPerClient, config.token_per_client, &of),
            token_per_address: Limited::by_address(Policy::TokenPerAddress, config.token_per_address, &of),
            revocation_per_client: Limited::new(
                Policy::RevocationPerClient,
                config.revocation_per_client,
                &of,
            ),
            refused_per_address: Limited::by_address(
                Policy::RefusedPerAddress,
                config.refused_per_address,
                &of,
            ),
            authorize_per_address: Limited::by_address(
                Policy::AuthorizePerAddress,
                config.authorize_per_address,
                &of,
            ),
            login_per_address: Limited::by_address(Policy::LoginPerAddress, config.login_per_address, &of),
            login_per_account: Limited::new(Policy::LoginPerAccount, config.login_per_account, &of),
            registration_per_address: Limited::by_address(
                Policy::RegistrationPerAddress,
                config.registration_per_address,
                &of,
            ),
            questions_per_token: Limited::new(
                Policy::RegistrationPerAddress,
                config.registration_per_address,
                &of,
            ),
            acts_per_person: Limited::new(Policy::ActsPerPerson, config.acts_per_person, &of),
            api_key: Limited::new(Policy::ApiKey, config.api_key, &whole),
            share: of.share,
        }
    }

    /// There are so many nodes now, this one included: each lets through as large a part of every limit.
    pub fn share_among(&self, nodes: usize) {
        self.share.divide(nodes);
    }

    /// Forgets whoever has not asked for a while.
    pub fn sweep(&self) {
        self.token_per_client.sweep();
        self.token_per_address.sweep();
        self.revocation_per_client.sweep();
        self.refused_per_address.sweep();
        self.authorize_per_address.sweep();
        self.login_per_address.sweep();
        self.login_per_account.sweep();
        self.registration_per_address.sweep();
        self.questions_per_token.sweep();
        self.acts_per_person.sweep();
        self.api_key.sweep();
    }

    /// How many requests each policy has refused since the service was started.
    #[must_use]
    pub fn refused(&self) -> [(Policy, u64); Policy::ALL.len()] {
        let (policy, registrations) = self.registration_per_address.refused();
        let (_, questions) = self.questions_per_token.refused();
        [
            self.token_per_client.refused(),
            self.token_per_address.refused(),
            self.revocation_per_client.refused(),
            self.refused_per_address.refused(),
            self.authorize_per_address.refused(),
            self.login_per_address.refused(),
            self.login_per_account.refused(),
            (policy, registrations.saturating_add(questions)),
            self.acts_per_person.refused(),
            self.api_key.refused(),
        ]
    }
}

impl Policy {
    /// How many times the limit of one IPv6 network its whole /48 has. A site has 65,536 networks; it may be one person's, or
    /// a university's, whose people all want tokens, while few of them register or get something wrong in one minute.
    fn networks_a_site(self) -> u32 {
        match self {
            Self::TokenPerAddress | Self::AuthorizePerAddress => 256,
            _ => 16,
        }
    }
}

/// How to find what a key is part of, and the windows of that.
type Wider<K> = (fn(&K) -> Option<K>, SlidingWindow<K>);

/// One limit; without a window it is switched off.
pub struct Limited<K> {
    policy: Policy,
    limit: Option<Limit>,
    window: Option<SlidingWindow<K>>,
    /// What the key is part of, and the window of that.
    wider: Option<Wider<K>>,
    basis: Basis,
    refused: AtomicU64,
}

impl<K: Hash + Eq + Clone> Limited<K> {
    /// So many requests a minute; 0 switches the limit off.
    fn new(policy: Policy, per_minute: u32, basis: &Basis) -> Self {
        let limit = Limit::per_minute(per_minute);
        let window = limit.map(|limit| SlidingWindow::new(limit, basis.clock.clone()));
        Self { policy, limit, window, wider: None, basis: basis.clone(), refused: AtomicU64::new(0) }
    }

    /// Takes a request's share of a window, as far as this node may.
    fn take(&self, window: &SlidingWindow<K>, key: &K) -> Quota {
        window.spend_within(key, self.basis.share.of(window.limit()))
    }

    /// What [`Self::take`] would say.
    fn peek(&self, window: &SlidingWindow<K>, key: &K) -> Quota {
        window.look_within(key, self.basis.share.of(window.limit()))
    }

    /// Takes a request's share of the key's quota. Says how it stands, unless the limit is switched off.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn spend(&self, key: &K) -> Result<Option<Quota>, Exceeded> {
        let Some(window) = &self.window else { return Ok(None) };
        let wider = self.wider(key);
        // First, for what is refused there is not counted for the key.
        if let Some(quota) =
            wider.as_ref().map(|(wider, whole)| self.peek(wider, whole)).filter(|quota| !quota.admitted)
        {
            return Err(self.exceeded(quota));
        }
        let quota = self.take(window, key);
        if !quota.admitted {
            return Err(self.exceeded(quota));
        }
        match wider.map(|(wider, whole)| self.take(wider, &whole)).filter(|quota| !quota.admitted) {
            None => Ok(Some(quota)),
            Some(quota) => Err(self.exceeded(quota)),
        }
    }

    fn wider(&self, key: &K) -> Option<(&SlidingWindow<K>, K)> {
        let (whole_of, window) = self.wider.as_ref()?;
        Some((window, whole_of(key)?))
    }

    /// What a quota comes to that was counted elsewhere; a refusal is one of this limit.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn judge(&self, quota: Quota) -> Result<Option<Quota>, Exceeded> {
        if quota.admitted { Ok(Some(quota)) } else { Err(self.exceeded(quota)) }
    }

    fn exceeded(&self, quota: Quota) -> Exceeded {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Exceeded(self.standing(quota))
    }

    /// What [`Self::spend`] would say, without taking anything; nothing if the limit is switched off.
    #[must_use]
    pub fn look(&self, key: &K) -> Option<Quota> {
        self.window.as_ref().map(|window| self.peek(window, key))
    }

    /// The limit, unless it is switched off.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// Whether [`Self::spend`] would refuse.
    #[must_use]
    pub fn is_used_up(&self, key: &K) -> bool {
        self.look(key).is_some_and(|quota| !quota.admitted)
            || self.wider(key).is_some_and(|(wider, whole)| !self.peek(wider, &whole).admitted)
    }

    /// How the limit stands with this quota.
    #[must_use]
    pub fn standing(&self, quota: Quota) -> Standing {
        let span = quota.limit.span;
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let now = self.basis.clock.millis();
        // A request counts from the end of its millisecond, which is up to one more than the span away.
        let resets_at = now.saturating_add(millis(quota.resets_after.min(span)));
        let resets_at = resets_at.saturating_add(999).div_euclid(1000);
        let span_from_now = now.div_euclid(1000).saturating_add(millis(span) / 1000);
        // Whoever was let through has nothing to wait for; who was refused is never told too early a date.
        let resets_at = if quota.admitted { resets_at.min(span_from_now) } else { resets_at };
        Standing { policy: self.policy, quota, resets_at }
    }

    fn sweep(&self) {
        let wider = self.wider.as_ref().map(|(_, window)| window);
        for window in self.window.iter().chain(wider) {
            window.sweep();
        }
    }

    fn refused(&self) -> (Policy, u64) {
        (self.policy, self.refused.load(Ordering::Relaxed))
    }
}

impl Limited<AddressPrefix> {
    /// The same by address: a whole IPv6 site has [`Policy::networks_a_site`] times as many.
    fn by_address(policy: Policy, per_minute: u32, basis: &Basis) -> Self {
        let windows = |limit| SlidingWindow::new(limit, basis.clock.clone());
        let wider = Limit::per_minute(per_minute.saturating_mul(policy.networks_a_site()))
            .map(|limit| (AddressPrefix::site as fn(&_) -> _, windows(limit)));
        Self { wider, ..Self::new(policy, per_minute, basis) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::limits::ClientAddress;

    fn prefix(text: &str) -> AddressPrefix {
        ClientAddress::from(text.parse::<IpAddr>().unwrap()).prefix()
    }

    #[test]
    fn a_site_with_many_networks_has_no_more_than_sixteen_of_them() {
        let clock = Arc::new(ManualClock::at(0));
        let basis = Basis { clock: clock.clone(), share: Share::whole() };
        let limited = Limited::by_address(Policy::LoginPerAddress, 2, &basis);
        let mut admitted = 0;
        for network in 0..100 {
            let key = prefix(&format!("2001:db8:0:{network:x}::1"));
            admitted += (0..3).filter(|_| limited.spend(&key).is_ok()).count();
        }
        assert_eq!(admitted, 32);
        let fresh = prefix("2001:db8:0:ffff::1");
        assert!(limited.is_used_up(&fresh));
        assert_eq!(limited.spend(&fresh).unwrap_err().standing().quota.limit.requests.get(), 32);
        // Neither the site next to it nor anybody with IPv4 pays for that.
        assert!(limited.spend(&prefix("2001:db8:1::1")).is_ok());
        for number in 0..100 {
            assert!(limited.spend(&prefix(&format!("192.0.2.{number}"))).is_ok());
        }
        clock.advance(Duration::from_mins(1) + Duration::from_millis(1));
        assert!(limited.spend(&fresh).is_ok());
    }

    #[test]
    fn a_university_behind_one_site_gets_its_tokens() {
        let basis = Basis { clock: Arc::new(ManualClock::at(0)), share: Share::whole() };
        for policy in [Policy::TokenPerAddress, Policy::AuthorizePerAddress] {
            let limited = Limited::by_address(policy, 2, &basis);
            let network = |network: u32| prefix(&format!("2001:db8:0:{network:x}::1"));
            let admitted =
                (0..300).map(|each| (0..3).filter(|_| limited.spend(&network(each)).is_ok()).count());
            assert_eq!(admitted.sum::<usize>(), 512, "{}", policy.as_str());
        }
    }
}
