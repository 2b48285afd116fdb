//! Where the heads of requests end in what a connection brings.

use memchr::memchr_iter;

/// The shortest head that there is, in bytes: `A / HTTP/1.0` and two line feeds. What is shorter and ends with an empty line is none, but
/// part of a body, or is passed over (RFC 9112, section 2.2).
const SHORTEST_HEAD: usize = 14;

/// The shortest end of a chunked body: `0` and two line ends (RFC 9112, section 7.1). What is shorter and ends with an empty line is none.
const SHORTEST_END: usize = 5;

/// Where heads end, in pieces that come one after another.
#[derive(Clone, Copy, Default)]
pub(super) struct Heads {
    /// How many bytes have come since the last empty line.
    length: usize,
    line: Line,
}

/// What has come of a line.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Nothing,
    CarriageReturn,
    Text,
}

impl Heads {
    /// Where the first head in `piece` ends: with an empty line, and a line feed alone ends a line too (RFC 9112, section 2.2).
    pub(super) fn end_in(&mut self, piece: &[u8]) -> Option<usize> {
        self.empty_line_in(piece, SHORTEST_HEAD)
    }

    /// Where a chunked body may end in `piece`, which comes of it: what follows may be a head.
    pub(super) fn body_end_in(&mut self, piece: &[u8]) -> Option<usize> {
        self.empty_line_in(piece, SHORTEST_END)
    }

    /// Where the first empty line in `piece` ends behind which so many bytes, with its own, have come without one.
    fn empty_line_in(&mut self, piece: &[u8], behind: usize) -> Option<usize> {
        let (mut head, mut line) = (0, 0);
        for end in memchr_iter(b'\n', piece) {
            let is_empty = self.line.and(&piece[line..end]) != Line::Text;
            (line, self.line) = (end + 1, Line::Nothing);
            if is_empty {
                let length = std::mem::take(&mut self.length) + line - head;
                head = line;
                if length >= behind {
                    return Some(line);
                }
            }
        }
        self.length += piece.len() - head;
        self.line = self.line.and(&piece[line..]);
        None
    }
}

impl Line {
    fn and(self, more: &[u8]) -> Self {
        match (self, more) {
            (line, b"") => line,
            (Self::Nothing, b"\r") => Self::CarriageReturn,
            _ => Self::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_however_it_comes() {
        let heads = |bytes: &str, size: usize| {
            let (mut heads, mut ends, mut before) = (Heads::default(), Vec::new(), 0);
            for piece in bytes.as_bytes().chunks(size) {
                let mut begin = 0;
                while let Some(end) = heads.end_in(&piece[begin..]) {
                    begin += end;
                    ends.push(before + begin);
                }
                before += piece.len();
            }
            ends
        };
        for (bytes, ends) in [
            ("GET / HTTP/1.0\n\n", vec![16]),
            ("A / HTTP/1.0\n\nA / HTTP/1.0\n\n", vec![14, 28]),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\nbody", vec![27]),
            ("GET / HTTP/1.1\nHost: x\n\r\nGET / HTTP/1.1\r\n\n", vec![25, 42]),
            // Empty lines before it belong to none, nor does what is too short.
            ("\r\n\n\r\n\n\n\n\r\n\n\n\n\nGET / HTTP/1.0\n\n", vec![30]),
            ("GET / HTTP/1.0\n\n0\r\n\r\nGET / HTTP/1.0\n\n", vec![16, 37]),
            ("", vec![]),
            ("GET / HTTP/1.1\r\n\r", vec![]),
            ("GET / HTTP/1.1\r\n\r\r\nb", vec![]),
            ("GET / HTTP/1.1\r\r", vec![]),
        ] {
            for size in 1..=bytes.len().max(1) {
                assert_eq!(heads(bytes, size), ends, "{bytes:?}, {size} at a time");
            }
        }
    }
}
