use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::config::Config;
use crate::entropy::SeededEntropy;
use crate::store::SledStore;
use crate::users::{Email, Username};

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
    async fn wait(&self, attempt: &Attempt) -> Duration {
        let begun = self.clock.monotonic();
        while let Err(error) = self.throttle.check(attempt).await {
            self.clock.advance(retry_after(error));
        }
        self.clock.monotonic().saturating_sub(begun)
    }

    async fn sign_in(&self, attempt: &Attempt) -> DeviceId {
        let arrival = self.throttle.check(attempt).await.unwrap();
        let cookie = self.succeeded(attempt, &arrival).await;
        DeviceId::parse(cookie.value.expose()).unwrap()
    }

    async fn succeeded(&self, attempt: &Attempt, arrival: &Arrival) -> DeviceCookie {
        let Tried::Account(user) = &attempt.tried else { panic!("nobody signs in") };
        self.throttle.succeeded(user, arrival).await.unwrap()
    }

    async fn rows(&self, table: &'static str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.throttle.store.scan(Table::plain(table), None, 100_000).await.unwrap();
        rows.into_iter().map(|(key, row)| (key, row.value)).collect()
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

fn user(name: &str) -> UserId {
    UserId::parse(&format!("user_{name}")).unwrap()
}

fn stranger(account: &str, number: u32) -> Attempt {
    Attempt {
        tried: Tried::Account(user(account)),
        address: from(number),
        device: None,
        patience: Duration::ZERO,
    }
}

fn invented(name: &str, number: u32) -> Attempt {
    Attempt {
        tried: Tried::Nobody(name.to_owned()),
        address: from(number),
        device: None,
        patience: Duration::ZERO,
    }
}

#[tokio::test]
async fn ten_thousand_addresses_get_a_hundred_guesses_at_one_account() {
    let fixture = Fixture::new();
    let mut checked = 0;
    for number in 0..10_000 {
        if fixture.throttle.check(&stranger("alice", number)).await.is_ok() {
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
        let account = format!("user{number}");
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
    let device = fixture.sign_in(&stranger("alice", 1)).await;
    for number in 0..1000 {
        let _refused = fixture.throttle.check(&stranger("alice", number % 200)).await;
        fixture.clock.advance(Duration::from_mins(1));
    }
    assert!(fixture.throttle.check(&stranger("alice", 5000)).await.is_err());
    // From the very address that is used up, too.
    for _ in 0..100 {
        // As often as the account's own quota lets anybody in.
        fixture.clock.advance(Duration::from_secs(3));
        for _ in 0..61 {
            let _refused = fixture.throttle.check(&stranger("bob", 1)).await;
        }
        let owner = Attempt { device: Some(device.clone()), ..stranger("alice", 1) };
        let arrival = fixture.throttle.check(&owner).await.unwrap();
        let cookie = fixture.succeeded(&owner, &arrival).await;
        assert!(
            DeviceId::parse(cookie.value.expose()).unwrap().key() == device.key(),
            "the cookie stays good"
        );
    }
}

#[tokio::test]
async fn a_known_device_has_a_count_of_its_own_and_then_is_none() {
    let fixture = Fixture::new();
    let device = fixture.sign_in(&stranger("alice", 1)).await;
    let owner = Attempt { device: Some(device), ..stranger("alice", 1) };
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
async fn a_withdrawn_try_is_given_back_to_whom_it_was_taken_from() {
    let fixture = Fixture::new();
    let device = fixture.sign_in(&stranger("alice", 1)).await;
    let owner = Attempt { device: Some(device), ..stranger("alice", 1) };
    for _ in 0..5 {
        fixture.throttle.check(&owner).await.unwrap();
    }
    for _ in 0..95 {
        fixture.wait(&owner).await;
    }
    // The device has used up its tries, so this is a stranger's.
    for _ in 0..20 {
        let arrival = fixture.throttle.check(&owner).await.unwrap();
        fixture.throttle.withdrawn(&owner, &arrival).await.unwrap();
        fixture.clock.advance(Duration::from_secs(3));
    }
    for _ in 0..5 {
        fixture.throttle.check(&owner).await.unwrap();
    }
    assert_eq!(retry_after(fixture.throttle.check(&owner).await.unwrap_err()), Duration::from_secs(30));
}

#[tokio::test]
async fn whoever_knows_the_password_pays_for_the_account_and_for_nobody_else() {
    let fixture = Fixture::new();
    let mut alice = stranger("alice", 1);
    alice.device = Some(fixture.sign_in(&alice).await);
    for _ in 0..19 {
        let arrival = fixture.throttle.check(&alice).await.unwrap();
        // Also where the service was too busy to look at the password.
        fixture.throttle.withdrawn(&alice, &arrival).await.unwrap();
    }
    let wait = retry_after(fixture.throttle.check(&alice).await.unwrap_err());
    assert!(wait <= Duration::from_mins(1), "{wait:?}");
    assert!(fixture.throttle.check(&stranger("alice", 2)).await.is_err(), "nor from another device");
    fixture.throttle.check(&stranger("bob", 1)).await.unwrap();
    fixture.clock.advance(wait);
    fixture.throttle.check(&alice).await.unwrap();

    // From a new device each time.
    for number in 0..20 {
        fixture.sign_in(&stranger("carol", number)).await;
    }
    assert!(fixture.throttle.check(&stranger("carol", 99)).await.is_err());
}

#[tokio::test]
async fn a_device_is_known_for_the_accounts_that_signed_in_with_it_and_no_other() {
    let fixture = Fixture::new();
    let device = fixture.sign_in(&stranger("mallory", 1)).await;
    for number in 0..100 {
        fixture.wait(&stranger("alice", number)).await;
    }
    let planted = Attempt { device: Some(device.clone()), ..stranger("alice", 1) };
    assert!(fixture.throttle.check(&planted).await.is_err(), "mallory's cookie is none of alice's");
    // Alice signs in with a browser that mallory's cookie was planted in: mallory's copy becomes worthless.
    fixture.throttle.recovered(&user("alice")).await.unwrap();
    let fresh = fixture.sign_in(&planted).await;
    assert!(fresh.key() != device.key());
    for _ in 0..5 {
        fixture.throttle.check(&planted).await.unwrap();
    }
    assert!(fixture.throttle.check(&planted).await.is_err(), "counts as a stranger");
    for account in ["alice", "mallory"] {
        let known = Attempt { device: Some(fresh.clone()), ..stranger(account, 1) };
        assert!(fixture.throttle.check(&known).await.is_ok(), "{account}");
    }
}

#[tokio::test]
async fn no_crash_resets_a_count() {
    let mut fixture = Fixture::new();
    let device = fixture.sign_in(&stranger("bob", 1)).await;
    let mut checked = 0;
    for number in 0..300 {
        checked += u32::from(fixture.throttle.check(&stranger("alice", number)).await.is_ok());
        fixture.clock.advance(Duration::from_hours(1));
        if number % 10 == 0 {
            fixture = fixture.restart();
        }
    }
    assert_eq!(checked, 100);
    let owner = Attempt { device: Some(device), ..stranger("bob", 1) };
    fixture.throttle.check(&owner).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_set_back_locks_nobody_out() {
    let fixture = Fixture::new();
    let now = fixture.clock.numeric_date();
    let device = fixture.sign_in(&stranger("alice", 1)).await;
    let lanes = [
        Attempt { device: Some(device), ..stranger("alice", 1) },
        stranger("alice", 2),
        invented("nobody", 3),
    ];
    fixture.clock.jump_to(now + 30 * 24 * 3600);
    for lane in &lanes {
        for _ in 0..5 {
            fixture.throttle.check(lane).await.unwrap();
        }
        assert!(fixture.throttle.check(lane).await.is_err());
    }
    fixture.clock.jump_to(now);
    for lane in &lanes {
        fixture.throttle.check(lane).await.unwrap();
        // But they count.
        assert_eq!(retry_after(fixture.throttle.check(lane).await.unwrap_err()), Duration::from_mins(1));
    }
}

/// Who signs in without a cookie, again and again, leaves a row each time.
#[tokio::test]
async fn an_account_is_known_on_so_many_devices_at_most_and_goes_on_being_known_on_those_in_use() {
    let fixture = Fixture::new();
    let on =
        |device: &DeviceId, account: &str| Attempt { device: Some(device.clone()), ..stranger(account, 1) };
    let is_known = async |device: &DeviceId, account: &str| {
        let record = fixture.throttle.known(Some(device)).await.unwrap();
        record.is_some_and(|(_, record)| record.value.knows(&account_key(&user(account))))
    };
    let mut in_use = fixture.sign_in(&stranger("alice", 1)).await;
    // Of two people: it is known to both, under a name of its own.
    let shared = fixture.sign_in(&on(&fixture.sign_in(&stranger("bob", 1)).await, "alice")).await;
    let (first, mut last) = (fixture.sign_in(&stranger("alice", 1)).await, None);
    assert!(is_known(&shared, "alice").await && is_known(&shared, "bob").await);
    for number in 0..150 {
        fixture.clock.advance(Duration::from_mins(1));
        last = Some(fixture.sign_in(&stranger("alice", number)).await);
        if number % 30 == 0 {
            in_use = fixture.sign_in(&on(&in_use, "alice")).await;
        }
    }
    for (device, account, known) in [
        (&in_use, "alice", true),
        (last.as_ref().unwrap(), "alice", true),
        (&first, "alice", false),
        (&shared, "alice", false),
        (&shared, "bob", true),
    ] {
        assert_eq!(is_known(device, account).await, known, "{account}");
    }
    let counted = async || {
        (fixture.rows("login_devices").await.len(), fixture.rows("login_account_devices").await.len())
    };
    assert_eq!(counted().await, (of_account::MOST + 1, of_account::MOST + 1), "Bob's, too");
    // One that can't be read goes like any other.
    let mut batch = Batch::new();
    for (key, _) in fixture.rows("login_devices").await {
        batch = batch.put(DEVICES_TABLE, key, Condition::Always, crate::store::Put::lasting(b"?".to_vec()));
    }
    assert_eq!(fixture.throttle.store.commit(batch).await.unwrap(), Committed::Applied);
    fixture.clock.advance(Duration::from_mins(1));
    fixture.sign_in(&stranger("alice", 1)).await;
    assert_eq!(counted().await, (of_account::MOST + 1, of_account::MOST + 1));
    fixture.clock.advance(Duration::from_hours(24 * 181));
    assert_eq!(fixture.rows("login_account_devices").await.len(), 0, "they end with the devices");
}

/// As where a script signs in again and again without a cookie while a password is hashed.
#[tokio::test]
async fn a_device_that_is_pushed_out_after_its_try_was_let_through_has_paid() {
    let fixture = Fixture::new();
    let device = fixture.sign_in(&stranger("alice", 1)).await;
    let pushed_out = Attempt { device: Some(device.clone()), ..stranger("alice", 1) };
    fixture.clock.advance(Duration::from_mins(1));
    let arrival = fixture.throttle.check(&pushed_out).await.unwrap();
    for number in 0..64 {
        fixture.clock.advance(Duration::from_mins(1));
        fixture.sign_in(&stranger("alice", number)).await;
    }
    assert!(fixture.throttle.known(Some(&device)).await.unwrap().is_none());
    let left = || fixture.throttle.limits.login_per_account.look(&user("alice")).unwrap().remaining;
    let before = left();
    let cookie = fixture.succeeded(&pushed_out, &arrival).await;
    assert_eq!(left(), before);
    // It is known again, by another cookie, and pays from the next try on.
    let device = DeviceId::parse(cookie.value.expose());
    fixture.throttle.check(&Attempt { device, ..stranger("alice", 1) }).await.unwrap();
    assert_eq!(left(), before - 1);
}

#[tokio::test]
async fn at_once_is_no_more_than_one_after_another() {
    let fixture = Fixture::new();
    let throttle = Arc::new(fixture.throttle);
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..400 {
        let throttle = throttle.clone();
        tries.spawn(async move { throttle.check(&stranger("alice", number)).await.is_ok() });
    }
    let checked = tries.join_all().await.into_iter().filter(|checked| *checked).count();
    assert_eq!(checked, 5);
}

#[tokio::test]
async fn a_success_and_a_recovery_begin_anew_and_a_withdrawal_does_not_count() {
    let fixture = Fixture::new();
    for _ in 0..3 {
        for number in 0..4 {
            fixture.throttle.check(&stranger("alice", number)).await.unwrap();
        }
        fixture.sign_in(&stranger("alice", 9)).await;
    }
    for number in 0..5 {
        fixture.throttle.check(&stranger("alice", number)).await.unwrap();
    }
    assert!(fixture.throttle.check(&stranger("alice", 10)).await.is_err());
    fixture.throttle.recovered(&user("alice")).await.unwrap();
    for number in 0..50 {
        let busy = stranger("alice", number);
        let arrival = fixture.throttle.check(&busy).await.unwrap();
        fixture.throttle.withdrawn(&busy, &arrival).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_that_belongs_to_nobody_is_counted_like_an_account() {
    let mut fixture = Fixture::new();
    let mut waits = Vec::new();
    for number in 0..400 {
        let both = [stranger("alice", number), invented("alice@example.com", number + 1000)];
        let mut answers = Vec::new();
        for attempt in &both {
            answers.push(fixture.throttle.check(attempt).await.map(drop).map_err(retry_after));
        }
        assert_eq!(answers[0], answers[1], "{number}");
        let wait = answers[0].err().unwrap_or_default();
        waits.push(wait);
        fixture.clock.advance(wait.min(Duration::from_hours(24)));
        if number % 50 == 0 {
            fixture = fixture.restart();
        }
    }
    let longest = *waits.iter().max().unwrap();
    assert!(waits.contains(&Duration::from_hours(1)) && longest > Duration::from_hours(24 * 89));
    // Tries that were none are given back to both.
    for attempt in [stranger("bob", 1), invented("bob", 2)] {
        for _ in 0..20 {
            let arrival = fixture.throttle.check(&attempt).await.unwrap();
            fixture.throttle.withdrawn(&attempt, &arrival).await.unwrap();
        }
    }
    // And both are forgotten after as long.
    fixture.clock.advance(Duration::from_hours(24 * 90));
    for attempt in [stranger("alice", 1), invented("alice@example.com", 1)] {
        fixture.throttle.check(&attempt).await.unwrap();
    }
}

#[tokio::test]
async fn every_form_of_a_name_that_would_be_one_accounts_is_one() {
    let fixture = Fixture::new();
    let forms = ["jos\u{e9}@example.com", " JOS\u{c9}@Example.COM ", "Jos\u{e9}@EXAMPLE.com"];
    for number in 0..5 {
        fixture.throttle.check(&invented(forms[number as usize % 3], number)).await.unwrap();
    }
    for form in forms {
        assert_eq!(
            retry_after(fixture.throttle.check(&invented(form, 9)).await.unwrap_err()),
            Duration::from_secs(30)
        );
    }
}

#[tokio::test]
async fn nobody_is_locked_out_by_a_name_that_looks_like_an_identifier() {
    let fixture = Fixture::new();
    for number in 0..5 {
        fixture.throttle.check(&invented("user_alice", number)).await.unwrap();
    }
    fixture.throttle.check(&stranger("alice", 9)).await.unwrap();
}

#[tokio::test]
async fn invented_names_leave_no_trace_that_can_be_read_and_take_no_room_without_end() {
    let fixture = Fixture::new();
    fixture.throttle.check(&invented("nobody-of-this-name", 1)).await.unwrap();
    let rows = fixture.rows("login_names").await;
    assert_eq!((rows.len(), rows[0].0.len()), (1, 2), "so there are no more than 65,536");
    assert!(!String::from_utf8_lossy(&rows[0].1).contains("nobody"));
    assert_eq!(fixture.rows("login_tries").await.len(), 0);
    // All names that share its row: it holds eight, and the one that was tried last among them.
    let counts = &fixture.throttle.counts;
    let now = fixture.clock.now();
    let mut longest = 0;
    let mut tried = 0;
    for number in 0.. {
        let name = format!("name{number}");
        if counts.place_of(&name).await.unwrap().0.as_slice() != rows[0].0 {
            continue;
        }
        let mut count = counts.read(&Tried::Nobody(name.clone()), now).await.unwrap();
        count.tries.take_unless_used_up(now).unwrap();
        assert!(counts.write(count, Duration::ZERO).await.unwrap());
        let row = fixture.rows("login_names").await;
        longest = longest.max(row[0].1.len());
        tried += 1;
        if tried == 20 {
            break;
        }
    }
    assert!(longest < 2000, "{longest}");
    let forgotten = counts.read(&Tried::Nobody("nobody-of-this-name".into()), now).await.unwrap();
    assert!(forgotten.tries.are_none(), "it was tried longest ago");
    // In the end all of it is swept.
    fixture.clock.advance(Duration::from_hours(24 * 91));
    assert_eq!(fixture.throttle.store.sweep(fixture.clock.now(), 10).await.unwrap(), 1);
}

/// Where two forms of a name are one account's, they are one name that nobody has; and nowhere else. A Kelvin sign is a k in lower
/// case, but in no user name.
#[tokio::test]
async fn names_that_nobody_has_are_folded_as_accounts_are() {
    let fixture = Fixture::new();
    let place = async |name: &str| fixture.throttle.counts.place_of(name).await.unwrap();
    for (one, other, same) in [
        ("Kelly", "kelly", true),
        ("\u{212a}elly", "kelly", false),
        ("JOSÉ@example.com", "josé@EXAMPLE.com", true),
        ("\u{212a}elly@example.com", "kelly@example.com", true),
        ("JOSÉ", "josé", false),
        ("x@BÜCHER.example", "x@xn--bcher-kva.example", true),
    ] {
        let found = |name: &str| (Email::parse(name).ok(), Username::parse(name).ok());
        let account = match (found(one), found(other)) {
            ((Some(one), _), (Some(other), _)) => one.normalized() == other.normalized(),
            ((_, Some(one)), (_, Some(other))) => one.normalized() == other.normalized(),
            _ => false,
        };
        assert_eq!((account, place(one).await == place(other).await), (same, same), "{one} {other}");
    }
}

#[test]
fn what_is_no_device_is_not_taken_for_one() {
    for value in ["", "abc", &"A".repeat(42), &"A".repeat(44), &"!".repeat(43)] {
        assert!(DeviceId::parse(value).is_none(), "{value}");
    }
    let device = DeviceId::parse(&"A".repeat(43)).unwrap();
    assert!(!format!("{device:?}").contains("AAA"));
}
