use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::config::Config;
use crate::entropy::SeededEntropy;
use crate::store::SledStore;

struct Fixture {
    throttle: LoginThrottle,
    clock: Arc<ManualClock>,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(1_800_000_000)))
    }

    fn on(dir: tempfile::TempDir, clock: Arc<ManualClock>) -> Self {
        let store = SledStore::open(dir.path().join("store"), clock.clone()).unwrap();
        let seed = u64::try_from(clock.now().timestamp_millis()).unwrap();
        let shared: SharedClock = clock.clone();
        let limits = Arc::new(Limits::new(&Config::for_tests(dir.path()).limits, &shared));
        let throttle = LoginThrottle::new(store, shared, Arc::new(SeededEntropy::new(seed)), limits);
        Self { throttle, clock, dir }
    }

    /// As after `kill -9`: nothing but what is on disk is left.
    fn restart(self) -> Self {
        let Self { throttle, clock, dir } = self;
        drop(throttle);
        Self::on(dir, clock)
    }

    /// Tries until let through; how long that took.
    async fn wait(&self, attempt: &Attempt<'_>) -> Duration {
        let begun = self.clock.monotonic();
        while let Err(error) = self.throttle.check(attempt).await {
            self.clock.advance(retry_after(error));
        }
        self.clock.monotonic().saturating_sub(begun)
    }

    async fn sign_in(&self, attempt: &Attempt<'_>) -> DeviceId {
        self.throttle.check(attempt).await.unwrap();
        let cookie = self.throttle.succeeded(attempt).await.unwrap();
        DeviceId::parse(cookie.value.expose()).unwrap()
    }
}

fn retry_after(error: ThrottleError) -> Duration {
    match error {
        ThrottleError::TooMany { retry_after } => retry_after,
        ThrottleError::Store(error) => panic!("{error}"),
    }
}

fn from(number: u32) -> ClientAddress {
    IpAddr::V4(Ipv4Addr::from_bits(number)).into()
}

fn stranger(account: &str, number: u32) -> Attempt<'_> {
    Attempt { account, address: from(number), device: None }
}

#[tokio::test]
async fn ten_thousand_addresses_get_a_hundred_guesses_at_one_account() {
    let fixture = Fixture::new();
    let mut checked = 0;
    for number in 0..10_000 {
        if fixture.throttle.check(&stranger("alice@example.com", number)).await.is_ok() {
            checked += 1;
        }
        fixture.clock.advance(Duration::from_mins(10));
    }
    assert_eq!(checked, 100);
}

#[tokio::test]
async fn one_address_gets_sixty_checks_a_minute_at_any_number_of_accounts() {
    let fixture = Fixture::new();
    let mut checked = Vec::new();
    for number in 0..10_000 {
        let account = format!("user{number}@example.com");
        if fixture.throttle.check(&stranger(&account, 1)).await.is_ok() {
            checked.push(fixture.clock.monotonic());
        }
        fixture.clock.advance(Duration::from_millis(100));
    }
    assert!(checked.len() > 900);
    let minute = Duration::from_mins(1);
    assert!(checked.windows(61).all(|span| span[0] + minute <= span[60]));
}

#[tokio::test]
async fn however_many_strangers_try_the_owner_is_let_in() {
    let fixture = Fixture::new();
    let device = fixture.sign_in(&stranger("alice@example.com", 1)).await;
    for number in 0..1000 {
        let _refused = fixture.throttle.check(&stranger("alice@example.com", number % 200)).await;
        fixture.clock.advance(Duration::from_mins(1));
    }
    assert!(fixture.throttle.check(&stranger("alice@example.com", 5000)).await.is_err());
    // From the very address that is used up, too.
    for _ in 0..200 {
        let _refused = fixture.throttle.check(&stranger("bob@example.com", 1)).await;
    }
    for _ in 0..100 {
        let owner = Attempt { device: Some(device.clone()), ..stranger("alice@example.com", 1) };
        fixture.throttle.check(&owner).await.unwrap();
        let cookie = fixture.throttle.succeeded(&owner).await.unwrap();
        assert!(
            DeviceId::parse(cookie.value.expose()).unwrap().key() == device.key(),
            "the cookie stays good"
        );
    }
}

#[tokio::test]
async fn a_known_device_has_a_count_of_its_own_and_then_is_none() {
    let fixture = Fixture::new();
    let device = fixture.sign_in(&stranger("alice@example.com", 1)).await;
    let owner = Attempt { device: Some(device), ..stranger("alice@example.com", 1) };
    for _ in 0..5 {
        fixture.throttle.check(&owner).await.unwrap();
    }
    assert_eq!(retry_after(fixture.throttle.check(&owner).await.unwrap_err()), Duration::from_secs(30));
    for _ in 0..95 {
        fixture.wait(&owner).await;
    }
    // Now as a stranger: with five free tries, and no more than a hundred.
    for _ in 0..5 {
        fixture.throttle.check(&owner).await.unwrap();
    }
    assert_eq!(retry_after(fixture.throttle.check(&owner).await.unwrap_err()), Duration::from_secs(30));
}

#[tokio::test]
async fn a_device_is_known_for_the_accounts_that_signed_in_with_it_and_no_other() {
    let fixture = Fixture::new();
    let device = fixture.sign_in(&stranger("mallory@example.com", 1)).await;
    for number in 0..100 {
        fixture.wait(&stranger("alice@example.com", number)).await;
    }
    let planted = Attempt { device: Some(device.clone()), ..stranger("alice@example.com", 1) };
    assert!(fixture.throttle.check(&planted).await.is_err(), "mallory's cookie is none of alice's");
    // Alice signs in with a browser that mallory's cookie was planted in: mallory's copy becomes worthless.
    fixture.throttle.recovered("alice@example.com").await.unwrap();
    let fresh = fixture.sign_in(&planted).await;
    assert!(fresh.key() != device.key());
    for _ in 0..5 {
        fixture.throttle.check(&planted).await.unwrap();
    }
    assert!(fixture.throttle.check(&planted).await.is_err(), "counts as a stranger");
    for account in ["alice@example.com", "mallory@example.com"] {
        let known = Attempt { device: Some(fresh.clone()), ..stranger(account, 1) };
        assert!(fixture.throttle.check(&known).await.is_ok(), "{account}");
    }
}

#[tokio::test]
async fn no_crash_resets_a_count() {
    let mut fixture = Fixture::new();
    let device = fixture.sign_in(&stranger("bob@example.com", 1)).await;
    let mut checked = 0;
    for number in 0..300 {
        checked += u32::from(fixture.throttle.check(&stranger("alice@example.com", number)).await.is_ok());
        fixture.clock.advance(Duration::from_hours(1));
        if number % 10 == 0 {
            fixture = fixture.restart();
        }
    }
    assert_eq!(checked, 100);
    let owner = Attempt { device: Some(device), ..stranger("bob@example.com", 1) };
    fixture.throttle.check(&owner).await.unwrap();
}

#[tokio::test]
async fn at_once_is_no_more_than_one_after_another() {
    let fixture = Fixture::new();
    let throttle = Arc::new(fixture.throttle);
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..400 {
        let throttle = throttle.clone();
        tries.spawn(async move { throttle.check(&stranger("alice@example.com", number)).await.is_ok() });
    }
    let checked = tries.join_all().await.into_iter().filter(|checked| *checked).count();
    assert_eq!(checked, 5);
}

#[tokio::test]
async fn a_success_and_a_recovery_begin_anew_and_a_withdrawal_does_not_count() {
    let fixture = Fixture::new();
    for _ in 0..3 {
        for number in 0..4 {
            fixture.throttle.check(&stranger("alice@example.com", number)).await.unwrap();
        }
        fixture.sign_in(&stranger(" Alice@Example.COM ", 9)).await;
    }
    for number in 0..5 {
        fixture.throttle.check(&stranger("alice@example.com", number)).await.unwrap();
    }
    assert!(fixture.throttle.check(&stranger("alice@example.com", 10)).await.is_err());
    fixture.throttle.recovered("alice@example.com").await.unwrap();
    for number in 0..50 {
        let busy = stranger("alice@example.com", number);
        fixture.throttle.check(&busy).await.unwrap();
        fixture.throttle.withdrawn(&busy).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_that_belongs_to_nobody_is_no_row_that_tells_it() {
    let fixture = Fixture::new();
    fixture.throttle.check(&stranger("nobody-of-this-name", 1)).await.unwrap();
    let rows = fixture.throttle.store.scan(ACCOUNTS.table(), None, 10).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].0.len(), 32);
    assert!(!String::from_utf8_lossy(&rows[0].1.value).contains("nobody"));
    // In the end it is swept.
    fixture.clock.advance(Duration::from_hours(24 * 91));
    assert_eq!(fixture.throttle.store.sweep(fixture.clock.now(), 10).await.unwrap(), 1);
}

#[test]
fn what_is_no_device_is_not_taken_for_one() {
    for value in ["", "abc", &"A".repeat(42), &"A".repeat(44), &"!".repeat(43)] {
        assert!(DeviceId::parse(value).is_none(), "{value}");
    }
    let device = DeviceId::parse(&"A".repeat(43)).unwrap();
    assert!(!format!("{device:?}").contains("AAA"));
}
