//! What a bare signature costs, by the library that Signet signs with, over as many bytes as the argument says: one
//! line an algorithm, `sign_ALG MICROSECONDS`, the median of 41 batches.

use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};

const BATCHES: usize = 41;

#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures time and prints it"
)]
fn measure(name: &str, batch: u32, mut sign: impl FnMut()) {
    let mut micros: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let begun = Instant::now();
            (0..batch).for_each(|_| sign());
            begun.elapsed().as_secs_f64() * 1e6 / f64::from(batch)
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    println!("sign_{name} {:.2}", micros[BATCHES / 2]);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let length: usize = std::env::args().nth(1).ok_or("how many bytes are signed?")?.parse()?;
    let message = vec![b'x'; length];
    let random = SystemRandom::new();
    let es256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    measure("ES256", 200, || {
        let _signed = std::hint::black_box(es256.sign(&random, &message));
    });
    let eddsa = Ed25519KeyPair::generate()?;
    measure("EdDSA", 200, || {
        let _signed = std::hint::black_box(eddsa.sign(&message));
    });
    let rs256 = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let mut signature = vec![0; rs256.public_modulus_len()];
    measure("RS256", 20, || {
        let _signed = std::hint::black_box(rs256.sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature));
    });
    Ok(())
}
