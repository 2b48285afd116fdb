use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::ZlibDecoder;

use crate::oauth::StatusList;

/// The largest list, unpacked, in bytes: 134 million tokens of one bit.
pub(super) const LARGEST_LIST: usize = 16 * 1024 * 1024;

/// An unpacked status list (draft-ietf-oauth-status-list, section 4.1).
#[derive(Debug)]
pub(super) struct Statuses {
    bits: u8,
    bytes: Vec<u8>,
}

/// The list can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnreadableList {
    #[error("a status has 1, 2, 4 or 8 bits, not {0}")]
    Bits(u8),
    #[error("the list is not base64url")]
    Encoding,
    #[error("the list is not in the ZLIB format")]
    Compression,
    #[error("the list is over {0} bytes")]
    TooLarge(usize),
}

impl Statuses {
    /// Unpacks a list.
    pub(super) fn unpack(list: &StatusList) -> Result<Self, UnreadableList> {
        if !matches!(list.bits, 1 | 2 | 4 | 8) {
            return Err(UnreadableList::Bits(list.bits));
        }
        let packed = URL_SAFE_NO_PAD.decode(&list.lst).map_err(|_| UnreadableList::Encoding)?;
        let mut bytes = Vec::new();
        // A few kilobytes may unpack to gigabytes: stop one byte beyond the limit.
        let mut unpacked = ZlibDecoder::new(packed.as_slice()).take(LARGEST_LIST as u64 + 1);
        unpacked.read_to_end(&mut bytes).map_err(|_| UnreadableList::Compression)?;
        if bytes.len() > LARGEST_LIST {
            return Err(UnreadableList::TooLarge(LARGEST_LIST));
        }
        bytes.shrink_to_fit();
        Ok(Self { bits: list.bits, bytes })
    }

    /// The status at `index`, counted from the least significant bit of the first byte; 0 is valid.
    /// Nothing beyond the end of the list.
    pub(super) fn at(&self, index: u64) -> Option<u8> {
        let per_byte = u64::from(8 / self.bits);
        let byte = self.bytes.get(usize::try_from(index / per_byte).ok()?)?;
        let shift = u8::try_from(index % per_byte).ok()? * self.bits;
        // Masked in 16 bits: 8-bit statuses would overflow in 8.
        let mask = (1_u16 << self.bits) - 1;
        u8::try_from((u16::from(*byte) >> shift) & mask).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    fn packed(bits: u8, bytes: &[u8]) -> StatusList {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        StatusList { bits, lst: URL_SAFE_NO_PAD.encode(encoder.finish().unwrap()) }
    }

    fn statuses(list: &StatusList, count: u64) -> Vec<u8> {
        let list = Statuses::unpack(list).unwrap();
        assert_eq!(list.at(count), None);
        (0..count).map(|index| list.at(index).unwrap()).collect()
    }

    #[test]
    fn the_examples_of_the_draft_are_read() {
        // Section 4.1 and 4.2: bytes B9 A3, one bit a status.
        let one_bit = StatusList { bits: 1, lst: "eNrbuRgAAhcBXQ".into() };
        assert_eq!(statuses(&one_bit, 16), [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]);
        // Section 4.1: bytes C9 44 F9, two bits a status.
        let two_bits = packed(2, &[0xc9, 0x44, 0xf9]);
        assert_eq!(statuses(&two_bits, 12), [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]);
    }

    #[test]
    fn four_and_eight_bits_are_read() {
        assert_eq!(statuses(&packed(4, &[0x21, 0x43]), 4), [1, 2, 3, 4]);
        assert_eq!(statuses(&packed(8, &[0xff, 0x01]), 2), [0xff, 1]);
    }

    #[test]
    fn an_index_beyond_the_list_has_no_status() {
        let list = Statuses::unpack(&packed(1, &[0])).unwrap();
        assert_eq!((list.at(7), list.at(8), list.at(u64::MAX)), (Some(0), None, None));
        assert_eq!(Statuses::unpack(&packed(8, &[])).unwrap().at(0), None);
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let largest = packed(1, &vec![0; LARGEST_LIST]);
        assert!(Statuses::unpack(&largest).is_ok());
        let bomb = packed(1, &vec![0; LARGEST_LIST * 4]);
        assert!(bomb.lst.len() < 100_000);
        assert_eq!(Statuses::unpack(&bomb).unwrap_err(), UnreadableList::TooLarge(LARGEST_LIST));
    }

    #[test]
    fn what_is_not_a_list_is_refused() {
        for bits in [0, 3, 5, 7, 9, 255] {
            assert_eq!(Statuses::unpack(&packed(bits, &[0])).unwrap_err(), UnreadableList::Bits(bits));
        }
        let list = |lst: &str| Statuses::unpack(&StatusList { bits: 1, lst: lst.into() }).unwrap_err();
        assert_eq!(list("eNrbuRgAAhcBXQ=="), UnreadableList::Encoding);
        assert_eq!(list("AAAA"), UnreadableList::Compression);
        assert_eq!(list(""), UnreadableList::Compression);
        // Cut off: the checksum is missing.
        assert_eq!(list("eNrbuRgA"), UnreadableList::Compression);
    }
}
