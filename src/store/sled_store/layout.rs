//! How rows, expiries and changes lie in the one sled tree. All numbers are big-endian, so that the
//! order of bytes is the order of numbers.
//!
//! | first byte | rest of the key | value |
//! | --- | --- | --- |
//! | `r` | table, `0`, key | schema byte, version u64, `expires_at` i64 milliseconds, value |
//! | `v` | version u64, number u32 | a piece of a long value |
//! | `x` | `expires_at` u64, table, `0`, key | nothing |
//! | `c` | place in the log u64 | table, `0`, key |
//! | `m` | a name | what the store notes about itself |

use chrono::DateTime;

use crate::store::{Row, StoreError, Table};

/// The version of this layout; a store of a later one is refused.
pub(super) const FORMAT: u8 = 1;
/// Under which key the layout's version stands.
pub(super) const FORMAT_KEY: &[u8] = b"mformat";
/// Under which key stands a version that no row has reached.
pub(super) const VERSIONS_KEY: &[u8] = b"mversions";

/// Longer values are cut into pieces of this many bytes. A sled page holds some 20 entries; if it grew
/// over 128 KiB, sled would write it to a file of its own, whose loss in a power cut it does not notice.
pub(super) const PIECE: usize = 2048;

const HEADER: usize = 1 + 8 + 8;
/// The value follows the header.
const SCHEMA_INLINE: u8 = 1;
/// The value's length as u64 follows the header, and the value lies in pieces.
const SCHEMA_PIECES: u8 = 2;
const NEVER: i64 = i64::MAX;

/// A row as it is stored.
pub(super) struct Stored {
    /// The row; its value is empty if it lies in pieces.
    pub(super) row: Row,
    /// How long the value is, if it lies in pieces.
    pub(super) in_pieces: Option<usize>,
}

impl Stored {
    /// Reads what [`encode`] wrote.
    pub(super) fn decode(table: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |reason: &str| damaged(table, reason);
        let Some((header, value)) = bytes.split_at_checked(HEADER) else {
            return Err(damaged("it is too short"));
        };
        let (schema, numbers) = (header[0], &header[1..]);
        let version = number(&numbers[..8]);
        let expires_at = match number(&numbers[8..]).cast_signed() {
            NEVER => None,
            millis => Some(
                DateTime::from_timestamp_millis(millis).ok_or_else(|| damaged("its expiry is no date"))?,
            ),
        };
        let (value, in_pieces) = match schema {
            SCHEMA_INLINE => (value.to_vec(), None),
            SCHEMA_PIECES if value.len() == 8 => (
                Vec::new(),
                Some(usize::try_from(number(value)).map_err(|_| damaged("its length is no length"))?),
            ),
            SCHEMA_PIECES => return Err(damaged("its length is missing")),
            _ => return Err(damaged("its schema is unknown: was it written by a later Signet?")),
        };
        Ok(Self { row: Row { version, expires_at, value }, in_pieces })
    }

    /// The keys of the pieces in which the value lies.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Vec<u8>> + use<> {
        let version = self.row.version;
        let count = self.in_pieces.unwrap_or(0).div_ceil(PIECE);
        (0u32..).take(count).map(move |number| piece_key(version, number))
    }
}

/// A row's bytes; a value longer than [`PIECE`] is left out, for it goes into pieces.
pub(super) fn encode(row: &Row) -> Vec<u8> {
    let in_pieces = row.value.len() > PIECE;
    let mut bytes = Vec::with_capacity(HEADER + row.value.len().clamp(8, PIECE));
    bytes.push(if in_pieces { SCHEMA_PIECES } else { SCHEMA_INLINE });
    bytes.extend(row.version.to_be_bytes());
    bytes.extend(row.expires_at.map_or(NEVER, |instant| instant.timestamp_millis()).to_be_bytes());
    if in_pieces {
        bytes.extend((row.value.len() as u64).to_be_bytes());
    } else {
        bytes.extend(&row.value);
    }
    bytes
}

/// Where a row lies.
pub(super) fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'r'];
    push_place(&mut bytes, table.name, key);
    bytes
}

/// From where on the rows of `table` behind `after` lie, or all of them.
pub(super) fn scan_start(table: Table, after: Option<&[u8]>) -> Vec<u8> {
    let mut start = row_key(table, after.unwrap_or_default());
    if after.is_some() {
        // The least key behind it.
        start.push(0);
    }
    start
}

/// Where the piece `number` of the value with `version` lies.
pub(super) fn piece_key(version: u64, number: u32) -> Vec<u8> {
    let mut bytes = vec![b'v'];
    bytes.extend(version.to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes
}

/// Where it stands that the row at `row_key` ceases to exist at `millis`.
pub(super) fn expiry_key(millis: i64, row_key: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'x'];
    bytes.extend(sortable(millis).to_be_bytes());
    bytes.extend(&row_key[1..]);
    bytes
}

/// Behind all expiries up to and including `millis`.
pub(super) fn expiries_end(millis: i64) -> Vec<u8> {
    let mut bytes = vec![b'x'];
    bytes.extend(sortable(millis.saturating_add(1)).to_be_bytes());
    bytes
}

/// The row's key, from an expiry's key.
pub(super) fn row_key_of_expiry(expiry_key: &[u8]) -> Option<Vec<u8>> {
    let place = expiry_key.get(9..)?;
    let mut bytes = vec![b'r'];
    bytes.extend(place);
    Some(bytes)
}

/// Where the change at `place` in the log lies.
pub(super) fn change_key(place: u64) -> Vec<u8> {
    let mut bytes = vec![b'c'];
    bytes.extend(place.to_be_bytes());
    bytes
}

/// The place in the log, from a change's key.
pub(super) fn place_of_change(change_key: &[u8]) -> u64 {
    number(&change_key[1..])
}

/// Table and key, from what follows the first byte of a row's key.
pub(super) fn split_place(place: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = place.iter().position(|&byte| byte == 0)?;
    let table = std::str::from_utf8(&place[..end]).ok()?;
    Some((table.to_owned(), place[end + 1..].to_vec()))
}

/// A row that can't be what was written.
pub(super) fn damaged(table: &str, reason: &str) -> StoreError {
    StoreError::Damaged { table: table.to_owned(), reason: reason.to_owned() }
}

/// A big-endian number of up to 8 bytes.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn push_place(bytes: &mut Vec<u8>, table: &str, key: &[u8]) {
    debug_assert!(!table.contains('\0'), "a table's name holds no NUL");
    bytes.extend(table.as_bytes());
    bytes.push(0);
    bytes.extend(key);
}

/// Moves the sign out of the way: the order of the bytes becomes the order of the numbers.
fn sortable(millis: i64) -> u64 {
    millis.cast_unsigned() ^ (1 << 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table::plain("codes");

    fn row(value: &[u8], millis: Option<i64>) -> Row {
        let expires_at = millis.map(|millis| DateTime::from_timestamp_millis(millis).unwrap());
        Row { version: 7, expires_at, value: value.to_vec() }
    }

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        for row in [row(b"", None), row(b"v", Some(-1)), row(&[9; PIECE], Some(1_700_000_000_123))] {
            let stored = Stored::decode("codes", &encode(&row)).unwrap();
            assert_eq!((stored.row, stored.in_pieces), (row, None));
        }
    }

    #[test]
    fn a_long_value_lies_in_pieces() {
        let stored = Stored::decode("codes", &encode(&row(&[9; PIECE + 1], None))).unwrap();
        assert_eq!(stored.in_pieces, Some(PIECE + 1));
        assert_eq!(stored.pieces().collect::<Vec<_>>(), [piece_key(7, 0), piece_key(7, 1)]);
    }

    #[test]
    fn whatever_the_bytes_are_decoding_does_not_panic() {
        let good = encode(&row(b"value", Some(5)));
        for length in 0..HEADER {
            assert!(Stored::decode("codes", &good[..length]).is_err(), "{length}");
        }
        let mut later = good.clone();
        later[0] = 3;
        let message = Stored::decode("codes", &later).err().unwrap().to_string();
        assert!(message.contains("later Signet"), "{message}");
        let mut no_length = good;
        no_length[0] = SCHEMA_PIECES;
        assert!(Stored::decode("codes", &no_length).is_err());
        let mut no_date = encode(&row(b"value", Some(5)));
        no_date[9..17].copy_from_slice(&(i64::MAX - 1).to_be_bytes());
        assert!(Stored::decode("codes", &no_date).is_err());
    }

    #[test]
    fn expiries_sort_by_time_also_before_the_epoch() {
        let row_key = row_key(TABLE, b"k");
        let keys = [i64::MIN, -1, 0, 1, i64::MAX - 1].map(|millis| expiry_key(millis, &row_key));
        assert!(keys.is_sorted());
        assert!(keys[2] < expiries_end(0) && expiries_end(0) <= keys[3]);
        assert_eq!(row_key_of_expiry(&keys[0]).unwrap(), row_key);
    }

    #[test]
    fn a_table_whose_name_begins_like_anothers_keeps_its_own_rows() {
        let key = row_key(Table::plain("codes_old"), b"k");
        assert!(!key.starts_with(&row_key(TABLE, b"")));
        assert_eq!(split_place(&key[1..]), Some(("codes_old".to_owned(), b"k".to_vec())));
    }
}
