//! What bare Argon2id costs at the service's setting, with memory that is used again: `password_cost THREADS SECONDS`
//! prints `argon2 HASHES_A_SECOND`.

use std::thread;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use signet::config::HashingCost;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn hash_for(time: Duration) -> Result<f64, argon2::Error> {
    let HashingCost { memory_kib, passes } = HashingCost::ADVISED;
    let params = Params::new(memory_kib, passes, 1, Some(32))?;
    let mut blocks = vec![Block::new(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0; 32];
    let mut once =
        || argon2.hash_password_into_with_memory(b"a sentence", &[7; 16], &mut hash, blocks.as_mut_slice());
    once()?;
    let (begun, mut done) = (Instant::now(), 0.0);
    while begun.elapsed() < time {
        once()?;
        done += 1.0;
    }
    Ok(done / begun.elapsed().as_secs_f64())
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut number =
        || args.next().and_then(|text| text.parse().ok()).ok_or("usage: password_cost THREADS SECONDS");
    let (threads, time) = (number()?, Duration::from_secs(number()?));
    let working: Vec<_> = (0..threads).map(|_| thread::spawn(move || hash_for(time))).collect();
    let mut rate = 0.0;
    for thread in working {
        rate += thread.join().map_err(|_| "a thread gave up")??;
    }
    println!("argon2 {rate:.2}");
    Ok(())
}
