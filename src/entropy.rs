//! The one source of chance. Identifiers, secrets and nonces are drawn from an [`Entropy`]; tests
//! hand in a seeded one. Key generation and signatures draw from their libraries' own generators.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom as _;

/// Fills buffers with unpredictable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `buffer`. An implementation that can't must abort rather than return predictable bytes.
    fn fill(&self, buffer: &mut [u8]);

    /// 128 bits for an identifier that no other has. **Not for secrets**: they may have been drawn ahead, and
    /// have waited in memory.
    fn identifier(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }
}

/// A shared source of entropy.
pub type SharedEntropy = Arc<dyn Entropy>;

impl dyn Entropy {
    /// `N` fresh bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// `N` fresh bytes as base64url without padding.
    #[must_use]
    pub fn token<const N: usize>(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<N>())
    }
}

/// How many identifiers one call of the operating system gives: every token needs one.
const IDENTIFIERS_AHEAD: usize = 64;

thread_local! {
    static AHEAD: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
}

/// The operating system's generator, through ring.
#[derive(Debug)]
pub struct SystemEntropy(ring::rand::SystemRandom);

impl SystemEntropy {
    /// The operating system's generator, ready to share.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    pub fn shared() -> SharedEntropy {
        Arc::new(Self(ring::rand::SystemRandom::new()))
    }
}

impl Entropy for SystemEntropy {
    #[expect(clippy::expect_used, reason = "predictable bytes would be worse than stopping")]
    fn fill(&self, buffer: &mut [u8]) {
        self.0.fill(buffer).expect("the operating system gives random bytes");
    }

    fn identifier(&self) -> [u8; 16] {
        AHEAD.with_borrow_mut(|ahead| {
            ahead.pop().unwrap_or_else(|| {
                let mut drawn = [0; 16 * IDENTIFIERS_AHEAD];
                self.fill(&mut drawn);
                let (chunks, _) = drawn.as_chunks();
                ahead.extend_from_slice(&chunks[1..]);
                chunks[0]
            })
        })
    }
}

/// A repeatable source for tests: SHA-256 over a seed and a counter. **Not secret, never for service.**
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    drawn: AtomicU64,
}

impl SeededEntropy {
    /// A source that repeats itself for equal seeds.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let mut context = ring::digest::Context::new(&ring::digest::SHA256);
            context.update(&self.seed.to_be_bytes());
            context.update(&self.drawn.fetch_add(1, Ordering::SeqCst).to_be_bytes());
            chunk.copy_from_slice(&context.finish().as_ref()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_identifiers_are_alike() {
        let entropy = SystemEntropy::shared();
        let drawn: std::collections::HashSet<_> =
            (0..10 * IDENTIFIERS_AHEAD).map(|_| entropy.identifier()).collect();
        assert_eq!(drawn.len(), 10 * IDENTIFIERS_AHEAD);
    }
}
