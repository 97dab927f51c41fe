//! How many frames with little or no data a caller may send on a connection. hyper answers every PING and
//! SETTINGS, looks up a stream for every WINDOW_UPDATE, and wakes the call for every DATA frame, without a
//! limit, so a flood of them would keep a processor busy.
//!
//! Only the heads of frames are parsed. hyper's own limits cover the rest: the size of header blocks, and resets
//! of calls that have not begun. hyper has no limit on the time of a header block, so it is measured here.

use std::time::Instant;

/// The frames that a caller may still send.
#[derive(Debug)]
pub(super) struct FrameBudget {
    at: Position,
    tokens: u32,
    /// When tokens were last added for elapsed time.
    refilled: Instant,
    /// Bytes sent to the caller for which no token has been added yet.
    sent: usize,
    /// The same for bytes of DATA frames received.
    received: usize,
    /// The number of HEADERS frames received. Each begins a call.
    calls: u64,
    /// When the preface, the frame or the header block that has not ended began. `None` before the first byte,
    /// between frames, and in the data of a call, which has its own deadline.
    unfinished: Option<Instant>,
    /// A header block continues in the next frame.
    continues: bool,
}

/// The position of the next byte in the caller's frames.
#[derive(Debug, Clone, Copy)]
enum Position {
    /// In the preface, with the number of bytes left.
    Preface(usize),
    /// In a frame's payload, with the number of bytes left.
    Within(usize),
    /// In the head of a frame, with the number of bytes already read.
    Head([u8; HEAD], usize),
}

/// The length of a frame's head.
const HEAD: usize = 9;
/// The length of the connection preface.
const PREFACE: usize = 24;
/// The most tokens. A connection starts with this number.
const LIMIT: u32 = 2_000;
/// Tokens added per second.
const EACH_SECOND: u32 = 200;
/// Bytes sent to the caller per added token. A caller that reads answers sends at most two WINDOW_UPDATE for
/// a DATA frame of 16 KiB, and may send PING to measure the connection.
const BYTES_SENT: usize = 1024;
/// Bytes of DATA frames received per added token. A caller may split what it sends, for example where its
/// window ends.
const BYTES_RECEIVED: usize = 1024;
/// A shorter DATA frame costs a token, unless it ends its call.
const SHORT: usize = 256;
/// Flags of DATA frames.
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;
/// A flag of HEADERS and CONTINUATION frames.
const END_HEADERS: u8 = 4;
// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
/// Tokens added per call.
const CALL: u32 = 4;
/// Tokens that a cancelled call costs.
const RESET: u32 = 8;

impl FrameBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            at: Position::Preface(PREFACE),
            tokens: LIMIT,
            refilled: now,
            sent: 0,
            received: 0,
            calls: 0,
            unfinished: None,
            continues: false,
        }
    }

    /// Takes the tokens for the frames that the caller has sent.
    ///
    /// # Errors
    /// There were not enough tokens. The value is the number of bytes that belong to whole frames or to the
    /// rest of a frame that began earlier. It may be all bytes; the next call then returns an error as well.
    pub(super) fn receive(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), usize> {
        let all = bytes.len();
        self.refill(now);
        while let Some(first) = bytes.first() {
            if !matches!(self.at, Position::Within(_)) {
                self.unfinished.get_or_insert(now);
            }
            match &mut self.at {
                Position::Preface(left) | Position::Within(left) => {
                    let length = bytes.len().min(*left);
                    *left -= length;
                    bytes = &bytes[length..];
                }
                Position::Head(head, read) => {
                    if let Some(place) = head.get_mut(*read) {
                        *place = *first;
                    }
                    *read += 1;
                    bytes = &bytes[1..];
                    if *read == HEAD {
                        let head = *head;
                        self.take(head);
                        self.at = Position::Within(payload(head));
                    }
                }
            }
            if matches!(self.at, Position::Preface(0) | Position::Within(0)) {
                self.at = Position::Head([0; HEAD], 0);
                if !self.continues {
                    self.unfinished = None;
                }
                if self.tokens == 0 {
                    return Err(all - bytes.len());
                }
            }
        }
        Ok(())
    }

    /// How many calls the caller has begun, including refused calls.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// When the preface, the frame or the header block that has not ended began, unless it is the data of a call.
    pub(super) fn unfinished_since(&self) -> Option<Instant> {
        self.unfinished
    }

    /// Adds the tokens for this number of bytes sent to the caller.
    pub(super) fn send(&mut self, bytes: usize) {
        self.sent += bytes;
        let tokens = self.sent / BYTES_SENT;
        self.sent %= BYTES_SENT;
        self.add(u32::try_from(tokens).unwrap_or(LIMIT));
    }

    /// Takes tokens according to the type of the frame, the fourth byte of its head.
    fn take(&mut self, head: [u8; HEAD]) {
        let [.., kind, flags, _, _, _, _] = head;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.continues = flags & END_HEADERS == 0;
        }
        match kind {
            DATA => {
                self.unfinished = None;
                self.take_data(payload(head), flags);
            }
            // PUSH_PROMISE is an error.
            PUSH_PROMISE | CONTINUATION => {}
            HEADERS => {
                self.calls += 1;
                self.add(CALL);
            }
            RST_STREAM => self.tokens = self.tokens.saturating_sub(RESET),
            _ => self.tokens = self.tokens.saturating_sub(1),
        }
    }

    /// Padding makes a frame without data long, so it costs a token as well.
    fn take_data(&mut self, length: usize, flags: u8) {
        if flags & PADDED != 0 || length < SHORT && flags & END_STREAM == 0 {
            self.tokens = self.tokens.saturating_sub(1);
        }
        self.received += length;
        let tokens = self.received / BYTES_RECEIVED;
        self.received %= BYTES_RECEIVED;
        self.add(u32::try_from(tokens).unwrap_or(LIMIT));
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled);
        let tokens = passed.as_millis() * u128::from(EACH_SECOND) / 1000;
        if tokens > 0 {
            self.refilled = now;
            self.add(u32::try_from(tokens).unwrap_or(LIMIT));
        }
    }

    fn add(&mut self, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens).min(LIMIT);
    }
}

/// Reads the length of a frame's payload from its head.
fn payload(head: [u8; HEAD]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

/// A frame that no caller may send: SETTINGS for a stream. hyper ends the connection with a GOAWAY.
pub(super) const FORBIDDEN: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 1];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;

    fn frames(kind: u8, payload: u8, count: usize) -> Vec<u8> {
        let frame = [&[0, 0, payload, kind, 0, 0, 0, 0, 0][..], &vec![0; usize::from(payload)]].concat();
        frame.repeat(count)
    }

    /// How many frames are accepted before the budget is spent, if the bytes arrive in pieces of this size.
    fn taken(budget: &mut FrameBudget, kind: u8, payload: u8, piece: usize, now: Instant) -> Option<usize> {
        let bytes = frames(kind, payload, 10_000);
        let mut before = 0;
        for piece in bytes.chunks(piece) {
            if let Err(whole) = budget.receive(piece, now) {
                let end = before + whole;
                assert_eq!(end % (HEAD + usize::from(payload)), 0, "not at the end of a frame");
                return Some(end / (HEAD + usize::from(payload)));
            }
            before += piece.len();
        }
        None
    }

    fn begun(now: Instant) -> FrameBudget {
        let mut budget = FrameBudget::new(now);
        assert!(budget.receive(&[0; PREFACE], now).is_ok());
        budget
    }

    #[test]
    fn a_flood_ends_at_a_frame_boundary_for_any_piece_size() {
        let now = Instant::now();
        for piece in [1, 5, 17, 1000, 100_000] {
            for (kind, payload, count) in [
                (PING, 8, 2_000),
                (4, 0, 2_000),
                (8, 4, 2_000),
                (2, 5, 2_000),
                (77, 200, 2_000),
                (3, 4, 250),
                (DATA, 0, 2_000),
                (DATA, 1, 2_001),
                (DATA, 255, 2_662),
            ] {
                assert_eq!(taken(&mut begun(now), kind, payload, piece, now), Some(count), "{kind} {piece}");
            }
            for kind in [1, 9] {
                assert_eq!(taken(&mut begun(now), kind, 30, piece, now), None, "{kind} {piece}");
            }
        }
    }

    #[test]
    fn frames_with_much_data_and_the_last_frame_of_a_call_cost_nothing() {
        let now = Instant::now();
        let data = |length: u16, flags: u8| {
            let [high, low] = length.to_be_bytes();
            [&[0, high, low, DATA, flags, 0, 0, 0, 1][..], &vec![0; usize::from(length)]].concat()
        };
        let sent = |frames: &[u8]| begun(now).receive(&frames.repeat(10_000), now).is_ok();
        assert!(sent(&data(256, 0)));
        assert!(sent(&data(0, END_STREAM)) && sent(&data(5, END_STREAM)));
        assert!(sent(&[data(16_384, 0), data(10, 0)].concat()));
        assert!(!sent(&data(255, 0)));
        assert!(!sent(&data(256, PADDED)) && !sent(&data(200, PADDED | END_STREAM)));
        // A call with a message, and an empty frame at the end.
        let call = [frames(1, 30, 1), data(5, 0), data(9, 0), data(0, END_STREAM)].concat();
        assert!(sent(&call));
    }

    #[test]
    fn a_frame_or_a_header_block_is_unfinished_until_its_last_byte() {
        let begun = Instant::now();
        let second = |number| begun + Duration::from_secs(number);
        let head = |length: u8, kind: u8, flags: u8| [0, 0, length, kind, flags, 0, 0, 0, 1];
        let mut budget = FrameBudget::new(begun);
        let mut after = |number, bytes: &[u8]| {
            assert!(budget.receive(bytes, second(number)).is_ok());
            budget.unfinished_since().map(|since| since.duration_since(begun).as_secs())
        };
        assert_eq!(after(0, &[]), None);
        assert_eq!(after(0, &[0; PREFACE - 1]), Some(0));
        assert_eq!(after(1, &[0]), None);
        // Part of a head, then of a payload.
        assert_eq!(after(2, &head(2, PING, 0)[..3]), Some(2));
        assert_eq!(after(3, &head(2, PING, 0)[3..]), Some(2));
        assert_eq!(after(4, &[7]), Some(2));
        assert_eq!(after(5, &[7]), None);
        // A header block in several frames.
        assert_eq!(after(6, &[&head(1, HEADERS, 0)[..], &[7]].concat()), Some(6));
        assert_eq!(after(7, &[&head(1, CONTINUATION, 0)[..], &[7]].concat()), Some(6));
        assert_eq!(after(8, &head(1, CONTINUATION, END_HEADERS)), Some(6));
        assert_eq!(after(9, &[7]), None);
        // The data of a call can arrive slowly.
        assert_eq!(after(10, &head(2, HEADERS, END_HEADERS)), Some(10));
        assert_eq!(after(11, &[&[7, 7][..], &head(9, DATA, 0)[..5]].concat()), Some(11));
        assert_eq!(after(12, &head(9, DATA, 0)[5..]), None);
        assert_eq!(after(13, &[7; 8]), None);
        // The next frame begins in the same piece.
        assert_eq!(after(14, &[7, 0]), Some(14));
    }

    #[test]
    fn elapsed_time_calls_and_answers_add_tokens_to_the_budget() {
        let now = Instant::now();
        let spent = || {
            let mut budget = begun(now);
            assert!(taken(&mut budget, PING, 8, 100, now).is_some());
            budget
        };
        assert_eq!(taken(&mut spent(), PING, 8, 100, now + Duration::from_secs(1)), Some(200));
        assert_eq!(taken(&mut spent(), PING, 8, 100, now + Duration::from_secs(3600)), Some(2_000));
        let mut budget = spent();
        (0..2048).for_each(|_| budget.send(50));
        assert_eq!(taken(&mut budget, PING, 8, 100, now), Some(100));
        let mut budget = spent();
        assert!(budget.receive(&frames(1, 30, 10), now).is_ok());
        assert_eq!(taken(&mut budget, PING, 8, 100, now), Some(40));
    }
}
