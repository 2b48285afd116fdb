//! What is found in the bytes of a connection before HTTP is given them.

use httparse::{EMPTY_HEADER, Request, Status};

use self::heads::Heads;
use super::first_line;

// As it stands: no door leads there but a socket, behind which nobody sees where an end was found.
#[path = "../../../src/http/heads.rs"]
mod heads;

/// More header fields than fit into an input.
const FIELDS: usize = 2048;

/// The sizes of pieces on a line, and what a connection brings in such pieces, again and again. The same ends are found in them as
/// in one piece; and as far as HTTP takes it as heads, one behind another, they are the ends of these and no others.
pub(crate) fn heads(data: &[u8]) {
    let (sizes, bytes) = first_line(data);
    let found = ends([bytes]);
    assert_eq!(ends(bytes.chunks(1)), found, "a byte at a time");
    assert_eq!(ends(pieces(sizes, bytes)), found, "in pieces of {sizes:?}");
    let (mut begin, mut found) = (0, found.into_iter());
    loop {
        match Request::new(&mut vec![EMPTY_HEADER; FIELDS]).parse(&bytes[begin..]) {
            Ok(Status::Complete(length)) => {
                begin += length;
                assert_eq!(found.next(), Some(begin), "a head ends at {begin}");
            }
            Ok(Status::Partial) => {
                assert_eq!(found.next(), None, "a head is found that has not come to its end");
                break;
            }
            Err(_) => break,
        }
    }
}

/// Where heads end in pieces that come one after another.
fn ends<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<usize> {
    let (mut heads, mut ends, mut before) = (Heads::default(), Vec::new(), 0);
    for piece in pieces {
        let mut begin = 0;
        while let Some(end) = heads.end_in(&piece[begin..]) {
            begin += end;
            ends.push(before + begin);
        }
        before += piece.len();
    }
    ends
}

/// The bytes cut into pieces of these sizes; nothing has come in one of none.
fn pieces<'a>(sizes: &[u8], mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in sizes {
        let (piece, rest) = bytes.split_at(bytes.len().min(usize::from(*size)));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}
