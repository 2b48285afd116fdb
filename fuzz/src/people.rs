//! The people of the service that is fuzzed.

use base32::Alphabet;
use ring::hmac;
use signet::oauth::{Secret, UserId};
use signet::protocol::Services;
use signet::users::{Authentication, Email, NewAccount, NewSession};

use crate::service::{NOW, PERSON};

/// Where Ada signs in, who has no second factor.
pub(crate) const ADA: &str = "ada@example.com";
/// Where Grace does, who has one.
pub(crate) const GRACE: &str = "grace@example.com";
/// Theirs.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Somebody who has signed in.
pub(crate) struct Present {
    pub(crate) user: UserId,
    pub(crate) sid: String,
    /// What the session's cookie holds.
    pub(crate) cookie: String,
}

/// Ada has signed in.
pub(crate) async fn ada(services: &Services) -> Present {
    sign_in(services, account(services, (PERSON, ADA, PASSWORD), false).await).await
}

/// An administrator has.
pub(crate) async fn root(services: &Services) -> Present {
    sign_in(
        services,
        account(services, ("Root", "root@example.com", "another horse battery staple"), true).await,
    )
    .await
}

/// What Grace's app shows now, and a recovery code of hers.
pub(crate) async fn grace(services: &Services) -> (String, String) {
    let grace = account(services, ("Grace Hopper", GRACE, PASSWORD), false).await;
    let factors = &services.second_factors;
    let enrollment = factors.enroll(&grace, GRACE).await.expect("a secret");
    let code = |at: i64| code(enrollment.secret.expose(), at);
    // That of a step before, which is taken too: whichever was used does not count again.
    let codes = factors.confirm(&grace, &code(NOW - 30)).await.expect("a factor").expect("a right code");
    (code(NOW), codes[0].expose().to_owned())
}

async fn account(
    services: &Services,
    (name, email, password): (&str, &str, &str),
    administrator: bool,
) -> UserId {
    let email = Email::parse(email).expect("an address");
    let password = Some(Secret::new(password.into()));
    let new = NewAccount { password, administrator, email_verified: true, ..NewAccount::new(name, email) };
    services.accounts.register(new).await.expect("an account").id
}

async fn sign_in(services: &Services, user: UserId) -> Present {
    let authentication = Authentication { auth_time: NOW, amr: vec!["pwd".into()] };
    let session = NewSession { user: user.clone(), authentication, user_agent: None, address: None };
    let session = services.sessions.start(session).await.expect("a session");
    let (sid, cookie) = (session.session.sid.to_string(), session.cookie.expose().to_owned());
    Present { user, sid, cookie }
}

/// The six digits of RFC 6238 at a time, by another reading than Signet's.
fn code(secret: &str, at: i64) -> String {
    let secret = base32::decode(Alphabet::Rfc4648 { padding: false }, secret).expect("base32");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret);
    let tag = hmac::sign(&key, &(at / 30).to_be_bytes());
    let offset = usize::from(tag.as_ref()[19] & 15);
    let digits = tag.as_ref()[offset..].first_chunk().expect("four bytes");
    format!("{:06}", (u32::from_be_bytes(*digits) & 0x7fff_ffff) % 1_000_000)
}
