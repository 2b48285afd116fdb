//! How much of what a connection brings is taken apart at once.

use super::heads::Heads;

/// What may still come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Left(u64),
    /// It says itself where it ends. Whoever reads it asks for more of it, or does not.
    Unknown { wanted: bool },
}

impl Default for Body {
    fn default() -> Self {
        Self::Left(0)
    }
}

impl Body {
    fn without(self, length: usize) -> Self {
        match self {
            Self::Left(left) => Self::Left(left.saturating_sub(length.try_into().unwrap_or(u64::MAX))),
            unknown @ Self::Unknown { .. } => unknown,
        }
    }
}

/// What of a connection's bytes was taken apart, and what of them comes next.
#[derive(Clone, Copy, Default)]
pub(super) struct Pieces {
    /// What may still come of the body of the request that began last.
    pub(super) body: Body,
    /// How many bytes came behind the head that was taken last.
    along: usize,
    /// What was read of the head that is under way.
    heads: Heads,
    /// A head was taken, and its request has not begun: it is not known yet what of that which follows is its body.
    pub(super) has_head: bool,
    /// Some of the next head came with the request that began last.
    pub(super) has_next: bool,
}

impl Pieces {
    /// Some `bytes` have come. How many of them are to be taken apart now: what belongs to a body whose length is known, or what may, up to
    /// where it may end; or else one head and what has come of its body. Taken apart a head is many times as large, and all that have come
    /// would be.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        match self.body {
            Body::Left(left @ 1..) => {
                let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.body = Body::Left(left - taken as u64);
                return taken;
            }
            Body::Unknown { .. } => {
                self.body = Body::Unknown { wanted: false };
                return self.heads.body_end_in(bytes).unwrap_or(bytes.len());
            }
            Body::Left(0) => {}
        }
        let end = self.heads.end_in(bytes);
        let taken = match end {
            Some(end) if { self.heads }.end_in(&bytes[end..]).is_some() => end,
            Some(end) => {
                self.heads.end_in(&bytes[end..]);
                bytes.len()
            }
            None => bytes.len(),
        };
        if end.is_some() {
            self.has_head = true;
        }
        self.along = end.map_or_else(|| self.along + taken, |end| taken - end);
        taken
    }

    /// The request begins whose head was taken, with its `body`, of which some may have come along.
    pub(super) fn begin(&mut self, body: Body) {
        let along = std::mem::take(&mut self.along);
        self.has_next = matches!(body, Body::Left(length) if length < along as u64);
        self.body = body.without(along);
        self.has_head = false;
        if let Body::Left(1..) = self.body {
            // What has come is of this body. Else it may be of the next head.
            self.heads = Heads::default();
        }
    }
}
