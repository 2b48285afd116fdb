//! Recovery codes: what a person who has lost the second factor signs in with, each once.

use base32::Alphabet;
use zeroize::Zeroizing;

use crate::entropy::SharedEntropy;
use crate::oauth::{Secret, SecretHash};

/// How many are given at once.
pub(super) const COUNT: usize = 10;

/// 80 bits: 16 characters of base32.
const BYTES: usize = 10;

/// Fresh codes as they are shown, such as `mzxw-6ytb-oi4d-qmzs`.
pub(super) fn generate(entropy: &SharedEntropy) -> Vec<Secret> {
    let code = || {
        let random = Zeroizing::new(entropy.bytes::<BYTES>());
        let text = Zeroizing::new(base32::encode(Alphabet::Rfc4648Lower { padding: false }, &*random));
        let (groups, _) = text.as_bytes().as_chunks::<4>();
        let groups: Vec<_> = groups.iter().map(|group| String::from_utf8_lossy(group)).collect();
        Secret::new(groups.join("-"))
    };
    std::iter::repeat_with(code).take(COUNT).collect()
}

/// What is stored of a code, itself sealed. Hyphens, spaces and the case of letters don't matter.
pub(super) fn hash(code: &Secret) -> SecretHash {
    SecretHash::of(&plain(code))
}

/// Takes the code out of `hashes`; says whether it was there. Compares with each, in constant time.
pub(super) fn take(hashes: &mut Vec<SecretHash>, code: &Secret) -> bool {
    let plain = plain(code);
    let found = hashes
        .iter()
        .enumerate()
        .fold(None, |found, (at, hash)| hash.matches(&plain).then_some(at).or(found));
    found.map(|at| hashes.remove(at)).is_some()
}

fn plain(code: &Secret) -> Zeroizing<String> {
    let kept = code.expose().chars().filter(|c| !c.is_whitespace() && *c != '-');
    Zeroizing::new(kept.map(|c| c.to_ascii_lowercase()).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn a_code_is_found_once_however_it_is_written() {
        let entropy: SharedEntropy = Arc::new(SeededEntropy::new(1));
        let codes = generate(&entropy);
        let mut hashes: Vec<_> = codes.iter().map(hash).collect();
        assert_eq!(codes.len(), 10);
        assert_eq!(codes[3].expose().len(), 19);
        let typed = Secret::new(format!(" {} ", codes[3].expose().to_uppercase().replace('-', " ")));
        assert!(take(&mut hashes, &typed));
        assert!(!take(&mut hashes, &typed));
        assert_eq!(hashes.len(), 9);
        assert!(!take(&mut hashes, &Secret::new(String::new())));
    }
}
