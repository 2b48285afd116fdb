//! A stream sealed under the key-encryption key: for files that hold an installation.
//!
//! 64 bytes of prefix (magic and version, the name of the key-encryption key, a salt), then pieces of 64 KiB under
//! AES-256-GCM by a key that is derived for this file alone. A piece's nonce is its number and whether it is the
//! last one, so pieces can't be moved, left out, added or cut off; the prefix is authenticated with each.

use std::io::{self, Read};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::kek::{Derived, Kek, KekId, KekUnavailable};

const MAGIC: &[u8; 15] = b"signet archive\0";
const VERSION: u8 = 1;
/// A name of a key-encryption key is so many characters.
const KEK_ID: usize = 16;
const SALT: usize = 32;
const PREFIX: usize = MAGIC.len() + 1 + KEK_ID + SALT;
/// How much is sealed at once.
const PIECE: usize = 64 * 1024;
const TAG: usize = 16;
/// What the key of an archive is derived for.
const INFO: &[u8] = b"signet archive";

/// An archive can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It begins otherwise.
    #[error("it is no archive of Signet")]
    NoArchive,
    /// A later release wrote it.
    #[error("its format is version {0}, this release reads version {VERSION}: use the release that wrote it")]
    UnknownVersion(u8),
    /// It was sealed under another key-encryption key.
    #[error(
        "it was sealed under the key-encryption key {sealed_under}, the settings give {given}: set keys.kek_file, or \
         keys.pkcs11.*, to the former"
    )]
    WrongKek {
        /// What sealed it.
        sealed_under: KekId,
        /// What the settings give.
        given: KekId,
    },
    /// It is not what was written.
    #[error("it is damaged, was changed, or was cut off")]
    Damaged,
    /// What it is sealed under can't be asked now.
    #[error(transparent)]
    Kek(#[from] KekUnavailable),
    /// The file fails.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Seals a stream, in memory: whoever writes takes the sealed bytes out with [`Self::take`].
pub struct ArchiveWriter {
    sealing: Sealing,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

/// Opens what an [`ArchiveWriter`] sealed, piece by piece. A piece is given out only once it is authenticated; that
/// the stream is whole is known at its end.
pub struct ArchiveReader<R> {
    from: R,
    sealing: Sealing,
    /// What was read and belongs to the next piece, and the piece that is being given out.
    ahead: Vec<u8>,
    piece: Vec<u8>,
    given: usize,
    ended: bool,
}

struct Sealing {
    key: LessSafeKey,
    prefix: Vec<u8>,
    pieces: u64,
}

/// The salt at the end of a prefix.
fn salt(prefix: &[u8]) -> &[u8] {
    &prefix[PREFIX - SALT..]
}

impl Sealing {
    fn new(key: &Derived, prefix: Vec<u8>) -> Self {
        #[expect(clippy::expect_used, reason = "the key has the algorithm's length")]
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("32 bytes"));
        Self { key, prefix, pieces: 0 }
    }

    fn next_nonce(&mut self, last: bool) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&self.pieces.to_be_bytes());
        nonce[8] = u8::from(last);
        self.pieces += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    fn aad(&self) -> Aad<&[u8]> {
        Aad::from(&self.prefix)
    }
}

impl ArchiveWriter {
    /// Begins an archive under `kek`, with 32 random bytes that no other archive has. May block: the key-encryption key may
    /// be in a module.
    ///
    /// # Errors
    /// When the module that keeps it fails.
    pub fn new(kek: &Kek, random: [u8; SALT]) -> Result<Self, ArchiveError> {
        let mut prefix = MAGIC.to_vec();
        prefix.push(VERSION);
        prefix.extend_from_slice(kek.id().as_bytes());
        prefix.extend_from_slice(&random);
        let key = kek.derive(salt(&prefix), INFO)?;
        Ok(Self { sealing: Sealing::new(&key, prefix.clone()), plain: Vec::new(), sealed: prefix })
    }

    /// Adds to the stream.
    pub fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // A full piece waits for a next byte: the last one is marked.
            if self.plain.len() == PIECE {
                self.seal(false);
            }
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.plain.len()));
            self.plain.extend_from_slice(now);
            bytes = later;
        }
    }

    /// The sealed bytes so far: none before there is a whole piece, the prefix says nothing of what comes.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        if self.sealing.pieces == 0 { Vec::new() } else { std::mem::take(&mut self.sealed) }
    }

    /// Ends the stream; gives the rest of the sealed bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.seal(true);
        self.sealed
    }

    #[expect(clippy::expect_used, reason = "AES-GCM seals 64 GiB; a piece has 64 KiB")]
    fn seal(&mut self, last: bool) {
        let nonce = self.sealing.next_nonce(last);
        let mut piece = std::mem::take(&mut self.plain);
        let sealed = self.sealing.key.seal_in_place_append_tag(nonce, self.sealing.aad(), &mut piece);
        sealed.expect("a piece is short enough");
        self.sealed.extend_from_slice(&piece);
    }
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the prefix. May block, as the other calls may.
    ///
    /// # Errors
    /// When this is no archive, or not one under `kek`, and when the module that keeps it fails.
    pub fn new(mut from: R, kek: &Kek) -> Result<Self, ArchiveError> {
        let mut prefix = Vec::with_capacity(PREFIX);
        from.by_ref().take(PREFIX as u64).read_to_end(&mut prefix)?;
        let rest = prefix.strip_prefix(MAGIC).ok_or(ArchiveError::NoArchive)?;
        match rest.first() {
            Some(&VERSION) => {}
            Some(&later) => return Err(ArchiveError::UnknownVersion(later)),
            None => return Err(ArchiveError::Damaged),
        }
        if prefix.len() < PREFIX {
            return Err(ArchiveError::Damaged);
        }
        let sealed_under = String::from_utf8_lossy(&rest[1..=KEK_ID]);
        if !sealed_under.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ArchiveError::Damaged);
        }
        if sealed_under != kek.id() {
            return Err(ArchiveError::WrongKek { sealed_under: sealed_under.into_owned(), given: kek.id() });
        }
        let sealing = Sealing::new(&kek.derive(salt(&prefix), INFO)?, prefix);
        Ok(Self { from, sealing, ahead: Vec::new(), piece: Vec::new(), given: 0, ended: false })
    }

    /// The next bytes of the stream, `buffer` full of them.
    ///
    /// # Errors
    /// When the stream ends before, and when it is not what was written.
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.given == self.piece.len() {
                if self.ended {
                    return Err(ArchiveError::Damaged);
                }
                self.open_next()?;
                continue;
            }
            let count = (buffer.len() - filled).min(self.piece.len() - self.given);
            buffer[filled..filled + count].copy_from_slice(&self.piece[self.given..self.given + count]);
            self.given += count;
            filled += count;
        }
        Ok(())
    }

    /// Whether the stream ends here, as it was ended by whoever wrote it.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn is_at_end(&mut self) -> Result<bool, ArchiveError> {
        while self.given == self.piece.len() && !self.ended {
            self.open_next()?;
        }
        Ok(self.given == self.piece.len())
    }

    fn open_next(&mut self) -> Result<(), ArchiveError> {
        // One byte more than the piece tells whether it is the last one.
        let wanted = (PIECE + TAG + 1 - self.ahead.len()) as u64;
        self.from.by_ref().take(wanted).read_to_end(&mut self.ahead)?;
        let last = self.ahead.len() <= PIECE + TAG;
        let rest = self.ahead.split_off(self.ahead.len().min(PIECE + TAG));
        self.piece = std::mem::replace(&mut self.ahead, rest);
        let nonce = self.sealing.next_nonce(last);
        let aad = Aad::from(&self.sealing.prefix);
        let opened = self.sealing.key.open_in_place(nonce, aad, &mut self.piece);
        let length = opened.map_err(|_| ArchiveError::Damaged)?.len();
        self.piece.truncate(length);
        (self.given, self.ended) = (0, last);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn kek(byte: u8) -> Kek {
        Kek::new(Zeroizing::new([byte; 32]))
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut writer = ArchiveWriter::new(&kek(1), [1; SALT]).unwrap();
        let mut sealed = Vec::new();
        for part in plain.chunks(10_007) {
            writer.write(part);
            sealed.extend(writer.take());
        }
        sealed.extend(writer.finish());
        sealed
    }

    fn opened(sealed: &[u8], length: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut reader = ArchiveReader::new(sealed, &kek(1))?;
        let mut plain = vec![0; length];
        reader.read_exact(&mut plain)?;
        if reader.is_at_end()? { Ok(plain) } else { Err(ArchiveError::Damaged) }
    }

    #[test]
    fn what_was_written_is_read_whatever_its_length() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 7] {
            let plain: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let sealed = sealed(&plain);
            assert_eq!(sealed.len(), PREFIX + length + length.div_ceil(PIECE).max(1) * TAG);
            assert_eq!(opened(&sealed, length).unwrap(), plain, "{length}");
            assert!(matches!(opened(&sealed, length + 1), Err(ArchiveError::Damaged)));
        }
    }

    #[test]
    fn a_changed_byte_is_noticed_wherever_it_stands() {
        let sealed = sealed(&[7; 300]);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(opened(&changed, 300).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_stream_that_was_cut_off_is_noticed_wherever_that_was() {
        let whole = sealed(&[7; 300]);
        for length in 0..whole.len() {
            assert!(opened(&whole[..length], 300).is_err(), "{length}");
        }
        // Between two pieces, where nothing is left over.
        let long = sealed(&vec![7; 3 * PIECE]);
        for pieces in 0..3 {
            let cut = &long[..PREFIX + pieces * (PIECE + TAG)];
            assert!(opened(cut, pieces * PIECE).is_err(), "{pieces}");
        }
    }

    #[test]
    fn pieces_can_be_neither_moved_nor_doubled_nor_added() {
        let plain: Vec<u8> = (0..3 * PIECE).map(|at| u8::try_from(at / PIECE).unwrap()).collect();
        let sealed = sealed(&plain);
        let (prefix, pieces) = sealed.split_at(PREFIX);
        let pieces: Vec<&[u8]> = pieces.chunks(PIECE + TAG).collect();
        let orders: [&[usize]; 5] = [&[1, 0, 2], &[0, 0, 1, 2], &[0, 2], &[0, 1, 2, 2], &[0, 1, 2, 1]];
        for order in orders {
            let mut forged = prefix.to_vec();
            for &at in order {
                forged.extend_from_slice(pieces[at]);
            }
            assert!(opened(&forged, order.len() * PIECE).is_err(), "{order:?}");
        }
    }

    #[test]
    fn a_wrong_kek_and_a_later_version_are_told_apart_from_damage() {
        let sealed = sealed(b"x");
        let open = |bytes: &[u8], kek: &Kek| ArchiveReader::new(bytes, kek).err();
        assert!(matches!(open(&sealed, &kek(2)), Some(ArchiveError::WrongKek { .. })));
        assert!(matches!(open(b"-----BEGIN", &kek(1)), Some(ArchiveError::NoArchive)));
        let mut later = sealed.clone();
        later[MAGIC.len()] = 2;
        assert!(matches!(open(&later, &kek(1)), Some(ArchiveError::UnknownVersion(2))));
        // Under the name of a key that did not seal it.
        let mut renamed = sealed;
        renamed[MAGIC.len() + 1..=MAGIC.len() + KEK_ID].copy_from_slice(kek(2).id().as_bytes());
        let mut reader = ArchiveReader::new(renamed.as_slice(), &kek(2)).unwrap();
        assert!(matches!(reader.is_at_end(), Err(ArchiveError::Damaged)));
    }

    #[test]
    fn two_archives_share_nothing() {
        let seal = |byte| ArchiveWriter::new(&kek(1), [byte; SALT]).unwrap().finish();
        assert_ne!(seal(1)[PREFIX..], seal(2)[PREFIX..]);
    }
}
