use zeroize::Zeroizing;

use super::*;
use crate::keys::{DataKey, Kek};

async fn factors(ground: &Ground) -> SecondFactors {
    let kek = Kek::new(Zeroizing::new([1; 32]));
    let key = DataKey::open(ground.store.as_ref(), &kek, ground.entropy.clone()).await.unwrap();
    SecondFactors::new(
        "id.example.com".into(),
        ground.store.clone(),
        key,
        ground.clock(),
        ground.entropy.clone(),
    )
}

/// What an authenticator app shows at a time: our own reading of RFC 6238, with another library.
fn code(enrollment: &Enrollment, at: i64) -> String {
    let secret = enrollment.secret.expose();
    let secret = base32::decode(base32::Alphabet::Rfc4648 { padding: false }, secret).unwrap();
    assert_eq!(secret.len(), 20);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret);
    let tag = ring::hmac::sign(&key, &(at / 30).to_be_bytes());
    let offset = usize::from(tag.as_ref()[19] & 15);
    let number = u32::from_be_bytes(tag.as_ref()[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

async fn enrolled(ground: &Ground, factors: &SecondFactors) -> (Enrollment, Vec<Secret>) {
    let enrollment = factors.enroll(&user("alice"), "alice@example.com").await.unwrap();
    let now = ground.clock.numeric_date();
    let codes = factors.confirm(&user("alice"), &code(&enrollment, now)).await.unwrap().unwrap();
    (enrollment, codes)
}

#[tokio::test]
async fn a_factor_is_in_use_only_after_an_app_has_shown_that_it_has_the_secret() {
    let ground = Ground::new();
    let factors = factors(&ground).await;
    let alice = user("alice");
    let enrollment = factors.enroll(&alice, "alice@example.com").await.unwrap();
    let secret = enrollment.secret.expose();
    assert_eq!(
        enrollment.uri.expose(),
        format!("otpauth://totp/id.example.com:alice%40example.com?secret={secret}&issuer=id.example.com")
    );
    let now = ground.clock.numeric_date();
    assert_eq!(factors.find(&alice).await.unwrap(), None);
    assert_eq!(factors.check(&alice, &code(&enrollment, now)).await.unwrap(), None);
    assert!(factors.confirm(&alice, &code(&enrollment, now + 3600)).await.unwrap().is_none());
    assert!(factors.confirm(&user("bob"), &code(&enrollment, now)).await.unwrap().is_none());
    assert_eq!(factors.confirm(&alice, &code(&enrollment, now)).await.unwrap().unwrap().len(), 10);
    let found = factors.find(&alice).await.unwrap().unwrap();
    assert_eq!((found.confirmed_at, found.recovery_codes), (ground.clock.now(), 10));
    assert!(factors.confirm(&alice, &code(&enrollment, now)).await.unwrap().is_none(), "confirmed once");
}

#[tokio::test]
async fn an_enrollment_that_is_not_confirmed_ends() {
    let ground = Ground::new();
    let factors = factors(&ground).await;
    let enrollment = factors.enroll(&user("alice"), "alice").await.unwrap();
    ground.pass(15 * 60);
    let code = code(&enrollment, ground.clock.numeric_date());
    assert!(factors.confirm(&user("alice"), &code).await.unwrap().is_none());
}

#[tokio::test]
async fn a_code_counts_once_and_only_near_its_time() {
    let ground = Ground::new();
    let factors = factors(&ground).await;
    let alice = user("alice");
    let (enrollment, _) = enrolled(&ground, &factors).await;
    let start = ground.clock.numeric_date();
    // What confirmed the app does not sign in, and neither does an earlier code.
    for at in [start, start - 30] {
        assert_eq!(factors.check(&alice, &code(&enrollment, at)).await.unwrap(), None);
    }
    ground.pass(90);
    let now = start + 90;
    for wrong in [now - 60, now + 60] {
        assert_eq!(factors.check(&alice, &code(&enrollment, wrong)).await.unwrap(), None);
    }
    for right in [now - 30, now, now + 30] {
        assert_eq!(factors.check(&alice, &code(&enrollment, right)).await.unwrap(), Some(Factor::Totp));
        assert_eq!(factors.check(&alice, &code(&enrollment, right)).await.unwrap(), None, "used");
    }
    assert_eq!(factors.check(&user("bob"), &code(&enrollment, now)).await.unwrap(), None);
    for nonsense in ["", "12345", "1234567", "+12345", "abcdef", "１２３４５６"] {
        assert_eq!(factors.check(&alice, nonsense).await.unwrap(), None, "{nonsense}");
    }
}

#[tokio::test]
async fn of_many_who_send_one_code_at_once_one_gets_in() {
    let ground = Ground::new();
    let factors = Arc::new(factors(&ground).await);
    let (enrollment, codes) = enrolled(&ground, &factors).await;
    ground.pass(60);
    let totp = code(&enrollment, ground.clock.numeric_date());
    for code in [totp, codes[0].expose().to_owned()] {
        let tries = (0..32).map(|_| {
            let (factors, code) = (factors.clone(), code.clone());
            tokio::spawn(async move { factors.check(&user("alice"), &code).await })
        });
        let mut admitted = 0;
        for each in tries.collect::<Vec<_>>() {
            admitted += usize::from(matches!(each.await.unwrap(), Ok(Some(_))));
        }
        assert_eq!(admitted, 1);
    }
}

#[tokio::test]
async fn each_recovery_code_counts_once_and_new_ones_replace_them() {
    let ground = Ground::new();
    let factors = factors(&ground).await;
    let alice = user("alice");
    assert!(factors.new_recovery_codes(&alice).await.unwrap().is_none());
    let (_, codes) = enrolled(&ground, &factors).await;
    let typed = codes[2].expose().to_uppercase();
    assert_eq!(factors.check(&alice, &typed).await.unwrap(), Some(Factor::RecoveryCode { left: 9 }));
    assert_eq!(factors.check(&alice, &typed).await.unwrap(), None);
    let anew = factors.new_recovery_codes(&alice).await.unwrap().unwrap();
    assert_eq!(factors.check(&alice, codes[3].expose()).await.unwrap(), None);
    assert_eq!(
        factors.check(&alice, anew[3].expose()).await.unwrap(),
        Some(Factor::RecoveryCode { left: 9 })
    );
    factors.remove(&alice).await.unwrap();
    assert_eq!(factors.find(&alice).await.unwrap(), None);
    assert_eq!(factors.check(&alice, anew[4].expose()).await.unwrap(), None);
}

#[tokio::test]
async fn nothing_of_it_lies_readable_in_the_store() {
    let ground = Ground::new();
    let factors = factors(&ground).await;
    let (enrollment, codes) = enrolled(&ground, &factors).await;
    let again = factors.enroll(&user("alice"), "alice").await.unwrap();
    for table in ["second_factors", "second_factor_enrollments"] {
        let rows = ground.store.scan(crate::store::Table::plain(table), None, 10).await.unwrap();
        assert_eq!(rows.len(), 1);
        let text = String::from_utf8_lossy(&rows[0].1.value).into_owned();
        let code = codes[0].expose().replace('-', "");
        for secret in [enrollment.secret.expose(), again.secret.expose(), &code] {
            assert!(!text.contains(secret), "{table}");
        }
    }
    // Under another data key it is an error, not a wrong code.
    let key = Kek::new(Zeroizing::new([9; 32]));
    let other = Ground::new();
    let other_key =
        DataKey::open(other.store.as_ref(), &key, Arc::new(SeededEntropy::new(99))).await.unwrap();
    let foreign = SecondFactors::new(
        "x".into(),
        ground.store.clone(),
        other_key,
        ground.clock(),
        ground.entropy.clone(),
    );
    assert!(matches!(foreign.check(&user("alice"), "123456").await, Err(SecondFactorError::Unreadable)));
}

#[tokio::test]
async fn an_account_is_deleted_with_its_second_factor_in_one_commit() {
    let ground = Ground::new();
    let (accounts, factors) = (ground.accounts(), factors(&ground).await);
    let account = accounts.register(new_account("alice")).await.unwrap();
    let alice = account.id.clone();
    let enrollment = factors.enroll(&alice, "alice@example.com").await.unwrap();
    let now = ground.clock.numeric_date();
    factors.confirm(&alice, &code(&enrollment, now)).await.unwrap().unwrap();
    factors.enroll(&alice, "alice@example.com").await.unwrap();
    let before = ground.store.flushes();
    accounts.delete(&account).await.unwrap();
    assert_eq!(ground.store.flushes(), before + 1);
    assert_eq!(factors.find(&alice).await.unwrap(), None);
}
