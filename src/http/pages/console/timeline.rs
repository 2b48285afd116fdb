//! The keys' lives as a drawing: each key a bar through published, signing and retired, over one scale of time.
//! Here is the geometry, a pure function of the list of keys; the template draws it.

use chrono::DateTime;

use crate::keys::{KeyList, KeyView};

/// In the drawing's own units, which the browser scales.
const WIDTH: i64 = 1000;
const MARGIN: i64 = 12;
const TOP: i64 = 34;
const ROW: i64 = 58;
const BAR: i64 = 24;
const BOTTOM: i64 = 52;

/// A bar that is narrower has no room for its name.
const ROOM_FOR_NAME: i64 = 84;

/// The most dates on the scale.
const MOST_TICKS: i64 = 8;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// How far apart the dates on the scale may be.
const STEPS: [i64; 12] = [
    HOUR / 4,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
    90 * DAY,
    365 * DAY,
];

/// The drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timeline {
    pub(super) width: i64,
    pub(super) height: i64,
    /// Where the rows end and the scale begins.
    pub(super) floor: i64,
    pub(super) rows: Vec<Row>,
    pub(super) ticks: Vec<Tick>,
    pub(super) now: Mark,
    pub(super) next_change: Option<Mark>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) kid: String,
    /// What stands over the bar.
    pub(super) label: String,
    /// The line of the label.
    pub(super) label_y: i64,
    pub(super) bars: Vec<Bar>,
}

/// One stretch of a key's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) stretch: Stretch,
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) width: i64,
    pub(super) height: i64,
    /// It goes on beyond the drawing: no date ends it yet.
    pub(super) open: bool,
}

/// What a stretch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    Published,
    Signing,
    Retired,
    Compromised,
}

/// A date on the scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) x: i64,
    pub(super) label: String,
}

/// A date that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) x: i64,
    /// Which side of the line its words stand on: `start` is the right one.
    pub(super) anchor: &'static str,
    /// Where its words begin or end.
    pub(super) text_x: i64,
}

impl Stretch {
    /// Its name, which is its style class too.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Signing => "signing",
            Self::Retired => "retired",
            Self::Compromised => "compromised",
        }
    }
}

impl Bar {
    pub(super) fn has_room(&self) -> bool {
        self.width >= ROOM_FOR_NAME
    }

    pub(super) fn middle(&self) -> (i64, i64) {
        (self.x + self.width / 2, self.y + self.height / 2)
    }
}

/// The stretch of time that is drawn.
#[derive(Clone, Copy)]
struct Scale {
    from: i64,
    to: i64,
}

impl Scale {
    /// All dates of the keys, and a little more on both sides.
    fn of(list: &KeyList) -> Self {
        let dates = || list.keys.iter().flat_map(dates).chain([list.now]).chain(list.next_change);
        let (first, end) = (dates().min().unwrap_or(list.now), dates().max().unwrap_or(list.now));
        // A lead ahead, so that what has no end yet can be seen to go on.
        let end = end.max(list.now.saturating_add(list.lead.max(HOUR)));
        let rim = (end.saturating_sub(first) / 20).max(60);
        Self { from: first.saturating_sub(rim), to: end.saturating_add(rim) }
    }

    fn x(self, date: i64) -> i64 {
        let (from, to) = (i128::from(self.from), i128::from(self.to));
        let inside = i128::from(date).clamp(from, to) - from;
        let x = i128::from(MARGIN) + inside * i128::from(WIDTH - 2 * MARGIN) / (to - from).max(1);
        i64::try_from(x).unwrap_or(MARGIN)
    }

    fn ticks(self) -> Vec<Tick> {
        let span = self.to.saturating_sub(self.from);
        let fits = |step: &&i64| span / **step <= MOST_TICKS;
        let step = STEPS.iter().find(fits).copied().unwrap_or_else(|| span / MOST_TICKS + 1);
        let first = self.from.div_euclid(step).saturating_add(1).saturating_mul(step);
        let (mut ticks, mut date) = (Vec::new(), first);
        while date < self.to {
            ticks.push(Tick { x: self.x(date), label: label(date, step) });
            date = date.saturating_add(step);
        }
        ticks
    }

    fn mark(self, date: i64) -> Mark {
        let x = self.x(date);
        if x > WIDTH * 3 / 4 {
            Mark { x, anchor: "end", text_x: x - 6 }
        } else {
            Mark { x, anchor: "start", text_x: x + 6 }
        }
    }
}

fn dates(key: &KeyView) -> impl Iterator<Item = i64> {
    let ends = [key.retire_at, key.forget_at, key.compromised_at];
    [key.publish_at, key.sign_from].into_iter().chain(ends.into_iter().flatten())
}

fn label(date: i64, step: i64) -> String {
    let format = match step {
        step if step < DAY => "%-d %b %H:%M",
        step if step < 90 * DAY => "%-d %b",
        _ => "%b %Y",
    };
    DateTime::from_timestamp(date, 0).map(|date| date.format(format).to_string()).unwrap_or_default()
}

/// Draws the keys in the order of the list, one below the other.
pub(super) fn draw(list: &KeyList) -> Timeline {
    let scale = Scale::of(list);
    let top = |index: usize| TOP + ROW * i64::try_from(index).unwrap_or_default();
    let rows: Vec<Row> =
        list.keys.iter().enumerate().map(|(index, key)| row(key, scale, top(index))).collect();
    let floor = top(rows.len());
    Timeline {
        width: WIDTH,
        height: floor + BOTTOM,
        floor,
        rows,
        ticks: scale.ticks(),
        now: scale.mark(list.now),
        next_change: list.next_change.map(|date| scale.mark(date)),
    }
}

fn row(key: &KeyView, scale: Scale, top: i64) -> Row {
    let signs = if key.signs { ", signs now" } else { "" };
    let bars = stretches(key).into_iter().filter_map(|(stretch, from, to)| {
        let (x, end) = (scale.x(from), scale.x(to.unwrap_or(scale.to)));
        let open = to.is_none();
        (end > x).then_some(Bar { stretch, x, y: top + 22, width: end - x, height: BAR, open })
    });
    Row {
        kid: key.kid.to_string(),
        label: format!("{} {}{signs}", key.algorithm, short(key.kid.as_str())),
        label_y: top + 15,
        bars: bars.collect(),
    }
}

/// A key's life in order: what it is, from when, until when if that is known.
fn stretches(key: &KeyView) -> Vec<(Stretch, i64, Option<i64>)> {
    // A key that was condemned signs and waits no longer.
    let end = key.compromised_at.or(key.retire_at);
    let begin = end.map_or(key.sign_from, |end| key.sign_from.min(end));
    let mut stretches = Vec::new();
    let mut add = |stretch, from: i64, to: Option<i64>| {
        if to.is_none_or(|to| from < to) {
            stretches.push((stretch, from, to));
        }
    };
    add(Stretch::Published, key.publish_at, Some(begin));
    add(Stretch::Signing, begin, end);
    if let Some(compromised_at) = key.compromised_at {
        add(Stretch::Compromised, compromised_at, key.forget_at);
    } else if let Some(retire_at) = key.retire_at {
        add(Stretch::Retired, retire_at, key.forget_at);
    }
    stretches
}

/// Enough of a key's identifier to tell it from the others.
pub(super) fn short(kid: &str) -> String {
    match kid.char_indices().nth(10) {
        Some((end, _)) => format!("{}…", &kid[..end]),
        None => kid.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Origin, Phase};
    use crate::oauth::{Algorithm, KeyId};

    const NOW: i64 = 1_800_000_000;

    fn key(kid: &str, (publish_at, sign_from): (i64, i64), end: Option<(i64, i64)>) -> KeyView {
        KeyView {
            kid: KeyId::parse(kid).unwrap(),
            algorithm: Algorithm::ES256,
            phase: Phase::Signing,
            signs: false,
            origin: Origin::Generated,
            created_at: publish_at,
            publish_at,
            sign_from,
            retire_at: end.map(|(retire_at, _)| retire_at),
            forget_at: end.map(|(_, forget_at)| forget_at),
            compromised_at: None,
            age: 0,
            longest_lifetime: HOUR,
            fetchers: 0,
        }
    }

    fn list(keys: Vec<KeyView>) -> KeyList {
        KeyList {
            now: NOW,
            snapshot_age: 0,
            next_change: Some(NOW + DAY),
            max_age: 300,
            lead: DAY,
            waiting: Vec::new(),
            keys,
        }
    }

    fn spans(row: &Row) -> Vec<(Stretch, i64, i64)> {
        row.bars.iter().map(|bar| (bar.stretch, bar.x, bar.x + bar.width)).collect()
    }

    #[test]
    fn a_life_is_drawn_without_gaps_in_the_order_of_its_dates() {
        let whole = key("a", (NOW - 10 * DAY, NOW - 8 * DAY), Some((NOW + DAY, NOW + 2 * DAY)));
        let drawn = draw(&list(vec![whole]));
        let spans = spans(&drawn.rows[0]);
        let stretches: Vec<Stretch> = spans.iter().map(|(stretch, ..)| *stretch).collect();
        assert_eq!(stretches, [Stretch::Published, Stretch::Signing, Stretch::Retired]);
        assert!(spans.windows(2).all(|pair| pair[0].2 == pair[1].1), "{spans:?}");
        let widths: Vec<i64> = spans.iter().map(|(_, from, to)| to - from).collect();
        assert!(widths[1] > 4 * widths[0] && widths[0] > widths[2], "nine days, two days, one: {widths:?}");
        assert!(drawn.rows[0].bars.iter().all(|bar| !bar.open));
    }

    #[test]
    fn what_has_no_end_goes_on_to_the_edge() {
        let drawn = draw(&list(vec![key("a", (NOW - DAY, NOW), None)]));
        let last = drawn.rows[0].bars.last().unwrap();
        assert!(last.open && last.x + last.width == WIDTH - MARGIN, "{last:?}");
    }

    #[test]
    fn now_and_the_next_change_lie_where_their_dates_are() {
        let drawn = draw(&list(vec![key("a", (NOW - DAY, NOW), None)]));
        let signing = &drawn.rows[0].bars[1];
        assert_eq!(drawn.now.x, signing.x, "it signs from now on");
        assert!(drawn.next_change.unwrap().x > drawn.now.x);
        assert_eq!(draw(&KeyList { next_change: None, ..list(vec![]) }).next_change, None);
    }

    #[test]
    fn a_condemned_key_ends_when_it_was_condemned() {
        let mut signing = key("a", (NOW - 4 * DAY, NOW - 3 * DAY), None);
        (signing.compromised_at, signing.forget_at) = (Some(NOW - DAY), Some(NOW + DAY));
        let mut waiting = key("b", (NOW - 4 * DAY, NOW + 3 * DAY), None);
        (waiting.compromised_at, waiting.forget_at) = (Some(NOW - DAY), Some(NOW + DAY));
        let drawn = draw(&list(vec![signing, waiting]));
        let [signing, waiting] = &drawn.rows[..] else { panic!("two rows") };
        let kinds = |row: &Row| row.bars.iter().map(|bar| bar.stretch).collect::<Vec<_>>();
        assert_eq!(kinds(signing), [Stretch::Published, Stretch::Signing, Stretch::Compromised]);
        assert_eq!(kinds(waiting), [Stretch::Published, Stretch::Compromised], "it never signed");
        assert_eq!(spans(signing).last(), spans(waiting).last());
    }

    #[test]
    fn everything_lies_inside_the_drawing_and_rows_do_not_touch() {
        let extremes = [(0, i64::MAX / 4), (NOW - 1, NOW), (NOW - 400 * DAY, NOW + 400 * DAY)];
        for (publish_at, sign_from) in extremes {
            let keys = vec![
                key("a", (publish_at, sign_from), None),
                key("b", (NOW, NOW + DAY), Some((NOW + 9 * DAY, NOW + 10 * DAY))),
            ];
            let drawn = draw(&list(keys));
            let bars: Vec<&Bar> = drawn.rows.iter().flat_map(|row| &row.bars).collect();
            assert!(!bars.is_empty());
            for bar in bars {
                assert!(bar.x >= MARGIN && bar.x + bar.width <= WIDTH - MARGIN, "{bar:?}");
                assert!(bar.y + bar.height < drawn.floor && drawn.floor < drawn.height, "{bar:?}");
            }
            let [first, second] = &drawn.rows[..] else { panic!("two rows") };
            assert!(first.bars[0].y + BAR < second.label_y);
            let ticks = drawn.ticks.len();
            assert!((1..=9).contains(&ticks), "{ticks} ticks");
            assert!(drawn.ticks.windows(2).all(|pair| pair[0].x < pair[1].x), "{:?}", drawn.ticks);
        }
    }

    #[test]
    fn dates_are_written_as_finely_as_they_lie_apart() {
        assert_eq!(label(NOW, HOUR), "15 Jan 08:00");
        assert_eq!(label(NOW, DAY), "15 Jan");
        assert_eq!(label(NOW, 90 * DAY), "Jan 2027");
    }

    #[test]
    fn words_stay_inside_near_the_right_edge() {
        let scale = Scale { from: 0, to: 1000 };
        assert_eq!(scale.mark(100).anchor, "start");
        assert_eq!(scale.mark(990).anchor, "end");
    }

    #[test]
    fn a_long_identifier_is_cut() {
        assert_eq!(short("abcdefghijklmnop"), "abcdefghij…");
        assert_eq!(short("abc"), "abc");
    }
}
