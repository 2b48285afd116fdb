//! The forged tokens of the integration tests, and the genuine one, before Signet and before another library: a
//! difference that nobody has explained is a mistake of one of the two.

use std::fmt;
use std::time::Duration;

use signet::oauth::{Algorithm, Resource};
use signet::verify::{Expectations, ExpectedAudience, check};

use crate::forgeries::{Forgery, Target, bit_flips, for_others, forgeries};
use crate::issuer::{self, AUDIENCE, ISSUER, KEYS, NOW};
use crate::second;
use crate::support::Issuer;

/// Where Signet refuses what the other library takes, by how the forgery's name begins, and why.
const STRICTER: &[(&str, &str)] = &[
    ("over the size limit", "no access token of ours has more than 8 KiB"),
    ("exp 253402300800", "a date beyond the year 9999 is none"),
    ("iat -1", "a date before the epoch is none"),
    ("nbf -1", "a date before the epoch is none"),
    ("scope ", "a scope is one text of scope-tokens (RFC 6749, section 3.3)"),
    ("sub ", "a subject is at most 255 visible characters"),
    ("sid ", "a session's identifier is at most 64 letters that need no escaping"),
    ("status ", "a reference to a status list is whole, or the token's revocation could not be looked up"),
    ("iss twice", "a member twice is refused, the other library takes the last one"),
    ("sub twice", "as for iss"),
    ("aud twice", "as for iss"),
    ("client_id twice", "as for iss"),
    ("jti twice", "as for iss"),
];

/// What the comparison came to.
pub struct Report {
    /// How many tokens were compared.
    pub compared: usize,
    /// How many both take: the genuine ones.
    pub both: usize,
    /// How many Signet alone refuses, for a reason that is known.
    pub explained: usize,
    /// The others of which the two say different things.
    pub unexplained: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compared, both, explained, unexplained } = self;
        write!(
            f,
            "differential: {compared} tokens, {both} taken by both, {explained} by the other alone, explained"
        )?;
        unexplained.iter().try_for_each(|name| write!(f, "\nFAILED: {name}"))
    }
}

/// Compares the two on every forgery for each algorithm that both know.
#[must_use]
pub fn compare() -> Report {
    let mut report = Report { compared: 0, both: 0, explained: 0, unexplained: Vec::new() };
    for alg in [Algorithm::ES256, Algorithm::EdDSA] {
        let sign = |message: &[u8]| issuer::sign(alg, message);
        let target = Target::access_token(issuer::jwk(alg).clone(), &Issuer::claims(), &sign);
        let genuine = [("genuine".to_owned(), target.genuine())];
        let forged = forgeries(&target).into_iter().chain(for_others(&target)).chain(bit_flips(&target));
        for forgery in genuine.into_iter().chain(forged) {
            report.count(alg, &forgery);
        }
    }
    report
}

impl Report {
    fn count(&mut self, alg: Algorithm, (name, token): &Forgery) {
        self.compared += 1;
        match (signet_accepts(token), second::accepts(token, issuer::jwk(alg))) {
            (true, true) => self.both += 1,
            (false, false) => {}
            (false, true) if STRICTER.iter().any(|(start, _)| name.starts_with(start)) => self.explained += 1,
            (ours, theirs) => {
                self.unexplained.push(format!("{alg}, {name}: Signet {ours}, the other library {theirs}"));
            }
        }
    }
}

/// Whether Signet's verifier takes the token.
pub(crate) fn signet_accepts(token: &str) -> bool {
    let audience = [Resource::parse(AUDIENCE).expect("a resource")];
    check(token, &expectations(&audience), &KEYS).is_ok()
}

/// What an access token is measured by here.
pub(crate) fn expectations(audience: &[Resource]) -> Expectations<'_> {
    let audience = ExpectedAudience::AnyOf(audience);
    Expectations { issuer: ISSUER, audience, leeway: Duration::from_mins(1), now: NOW }
}
