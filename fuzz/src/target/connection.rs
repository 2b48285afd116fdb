//! What is found in the bytes of a connection before HTTP is given them.

use httparse::{EMPTY_HEADER, Request, Status};

use self::heads::Heads;
use self::pieces::{Body, Pieces};
use super::first_line;

// As they stand: no door leads there but a socket, behind which nobody sees where an end was found, or how much was taken.
#[path = "../../../src/http/heads.rs"]
mod heads;
#[path = "../../../src/http/pieces.rs"]
mod pieces;

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

/// The sizes of pieces on a line, and what a connection brings in such pieces: requests, one behind another, with bodies of a length or
/// in chunks. Of each piece something is taken apart, at most one head before its request has begun, and what is left of a body is counted
/// as httparse and the chunks have it.
pub(crate) fn requests(data: &[u8]) {
    let (sizes, bytes) = first_line(data);
    take_apart([bytes]);
    take_apart(bytes.chunks(1));
    take_apart(pieces(sizes, bytes));
}

/// Where a connection is, by other code than what is tried.
#[derive(Clone, Copy)]
enum Place {
    /// In a head, or before it, that begins there.
    Head(usize),
    /// In chunks that begin there.
    Chunks(usize),
}

fn take_apart<'a>(come: impl IntoIterator<Item = &'a [u8]>) {
    let (mut pieces, mut handed, mut place) = (Pieces::default(), Vec::new(), Place::Head(0));
    for piece in come {
        let mut rest = piece;
        while !rest.is_empty() {
            let taken = pieces.take(rest);
            assert!((1..=rest.len()).contains(&taken), "{taken} of {}", rest.len());
            handed.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            let Some(next) = follow(&mut pieces, &handed, place) else { return };
            place = next;
        }
    }
}

/// Has the request begin, or end, for which enough was handed on. Nothing where it is refused, which ends the connection.
fn follow(pieces: &mut Pieces, handed: &[u8], mut place: Place) -> Option<Place> {
    let mut begun = false;
    loop {
        match place {
            Place::Head(begin) if begin >= handed.len() => return Some(place),
            Place::Head(begin) => {
                let mut fields = vec![EMPTY_HEADER; FIELDS];
                let mut request = Request::new(&mut fields);
                let Status::Complete(length) = request.parse(&handed[begin..]).ok()? else {
                    return Some(place);
                };
                assert!(!begun, "two heads at once");
                assert!(pieces.has_head, "a head that was not noticed");
                begun = true;
                let (end, along) = (begin + length, (handed.len() - begin - length) as u64);
                place = match length_of(&request)? {
                    Some(length) => {
                        pieces.begin(Body::Left(length));
                        assert_eq!(pieces.body, Body::Left(length.saturating_sub(along)));
                        Place::Head(end.checked_add(usize::try_from(length).ok()?)?)
                    }
                    None => {
                        pieces.begin(Body::Unknown { wanted: true });
                        Place::Chunks(end)
                    }
                };
                assert!(!pieces.has_head);
            }
            Place::Chunks(begin) => match chunks(&handed[begin..])? {
                Some(length) => {
                    pieces.body = Body::Left(0);
                    place = Place::Head(begin + length);
                }
                None => return Some(place),
            },
        }
    }
}

/// How long its body is; nothing inside where that stands in chunks, and nothing at all where it says both, or neither clearly.
fn length_of(request: &Request<'_, '_>) -> Option<Option<u64>> {
    let named = |name: &str| -> Vec<&[u8]> {
        request
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
            .collect()
    };
    match (&named("transfer-encoding")[..], &named("content-length")[..]) {
        ([], []) => Some(Some(0)),
        ([], [length]) => Some(Some(std::str::from_utf8(length).ok()?.parse().ok()?)),
        ([b"chunked"], []) => Some(None),
        _ => None,
    }
}

/// How long a body in chunks is with all that frames it (RFC 9112, section 7.1); nothing inside where its end has not come, and
/// nothing at all where it is no such body.
fn chunks(body: &[u8]) -> Option<Option<usize>> {
    let mut at = 0;
    loop {
        let Some(length) = body[at..].windows(2).position(|pair| pair == b"\r\n") else { return Some(None) };
        let size = std::str::from_utf8(&body[at..at + length]).ok()?;
        let size =
            usize::from_str_radix(size, 16).ok().filter(|_| size.len() < 8 && !size.starts_with('+'))?;
        at += length + 2;
        // Behind the last one there is nothing more of it: trailers are refused here.
        match body.get(at + size..at + size + 2) {
            None => return Some(None),
            Some(b"\r\n") if size == 0 => return Some(Some(at + 2)),
            Some(b"\r\n") => at += size + 2,
            Some(_) => return None,
        }
    }
}
