//! How much goes into one answer, and where the next one starts.

use std::ops::ControlFlow;

use prost::Message;

use crate::connector::error::Error;
use crate::connector::page_token::{Listing, Position};
use crate::proto::connector::Resource;
use crate::proto::grants::{GrantList, GrantListBuilder, GrantParts};
use crate::retool::tables::Page;

/// How many rows the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageSize {
    /// As many as keep the answer under 2 MiB.
    Any,
    /// So many exactly, while there are so many; 1 to 250.
    Exactly(u8),
}

impl TryFrom<u32> for PageSize {
    type Error = Error;

    fn try_from(given: u32) -> Result<Self, Error> {
        match u8::try_from(given) {
            Ok(0) => Ok(Self::Any),
            Ok(size @ 1..=250) => Ok(Self::Exactly(size)),
            _ => Err(Error::PageSize { given }),
        }
    }
}

impl PageSize {
    /// How many rows one answer may hold at the most.
    fn most(self) -> usize {
        match self {
            Self::Any => usize::MAX,
            Self::Exactly(size) => usize::from(size),
        }
    }
}

/// What a listing request says about paging.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest<'a> {
    /// How many rows are wanted.
    pub size: PageSize,
    /// Where to go on; empty to start.
    pub token: &'a str,
    /// How many bytes of rows an answer may have.
    pub bytes: usize,
}

impl PageRequest<'_> {
    /// Bytes of rows in one answer where nothing asks for less. Under 2 MiB with space for the token and the
    /// framing; clients refuse more than 4 MiB.
    pub(crate) const BYTES: usize = 2_000_000;

    /// The part of this listing that is asked for.
    ///
    /// # Errors
    /// [`Error::PageToken`]
    pub(crate) fn bounds<'l>(&self, listing: &'l Listing) -> Result<PageBounds<'l>, Error> {
        Ok(PageBounds { listing, size: self.size, bytes: self.bytes, start: listing.position(self.token)? })
    }
}

/// One answer of a listing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AnswerPage<T> {
    /// The rows.
    pub items: T,
    /// The token for the rest; empty when this was all.
    pub next_page_token: String,
}

impl<T: Default> AnswerPage<T> {
    /// An answer without rows, and no more to come.
    pub(crate) fn empty() -> Self {
        Self { items: T::default(), next_page_token: String::new() }
    }
}

/// Which part of a listing an answer is to have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageBounds<'a> {
    /// The listing that its token will belong to.
    pub(crate) listing: &'a Listing,
    /// How many rows are wanted.
    pub(crate) size: PageSize,
    /// How many bytes of rows it may have.
    pub(crate) bytes: usize,
    /// The first row that belongs into it.
    pub(crate) start: Position,
}

impl PageBounds<'_> {
    /// The rows to ask the database for when one takes about `bytes` in the answer. Two more than are wanted: one
    /// that an earlier answer may have had already, one that tells whether there is more.
    pub(crate) fn page(&self, bytes: usize) -> Page {
        let rows = match self.size {
            PageSize::Any => (self.bytes / bytes.max(1)).clamp(1, MOST_ROWS),
            PageSize::Exactly(size) => usize::from(size),
        };
        let limit = i64::try_from(rows).unwrap_or(i64::MAX).saturating_add(2);
        Page { from: i64::from(self.start.key), limit }
    }
}

/// Rows asked of the database at once.
const MOST_ROWS: usize = 16_000;
/// The largest resource that is repeated in an answer. Ours have a few hundred bytes.
pub(crate) const LARGEST_RESOURCE: usize = 64 * 1024;

/// Takes as many `rows` as an answer may hold. `position` tells where a row stands and `message` what it
/// says; `fetched` is how many rows were asked for.
pub(crate) fn fill<R, M: Message>(
    bounds: &PageBounds<'_>,
    rows: Vec<R>,
    fetched: i64,
    position: impl Fn(&R) -> Position,
    message: impl Fn(R) -> M,
) -> AnswerPage<Vec<M>> {
    let more_in_database = i64::try_from(rows.len()).is_ok_and(|count| count >= fetched);
    let mut next = rows
        .last()
        .filter(|_| more_in_database)
        .map(|row| Position { ordinal: 0, key: position(row).key.saturating_add(1) });
    let mut items = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let at = position(&row);
        let made = message(row);
        bytes += made.encoded_len() + FRAMING;
        if items.len() == bounds.size.most() || (bytes > bounds.bytes && !items.is_empty()) {
            next = Some(at);
            break;
        }
        items.push(made);
    }
    AnswerPage { items, next_page_token: next.map(|next| bounds.listing.token(next)).unwrap_or_default() }
}

/// Tag and length of one row in an answer.
const FRAMING: usize = 6;

/// Collects the grants of one answer.
pub(crate) struct GrantPage<'a> {
    bounds: PageBounds<'a>,
    builder: GrantListBuilder,
}

/// The answer is full; the grant at this position begins the next one.
pub(crate) struct Full(Position);

impl<'a> GrantPage<'a> {
    /// An answer without grants.
    ///
    /// # Errors
    /// [`Error::ResourceTooLarge`]
    pub(crate) fn new(bounds: &PageBounds<'a>, resource: &Resource) -> Result<Self, Error> {
        check_size(resource)?;
        Ok(Self { bounds: *bounds, builder: GrantListBuilder::new(resource, bounds.bytes) })
    }

    /// About how many bytes one grant on `resource` takes in an answer.
    pub(crate) fn grant_bytes(resource: &Resource) -> usize {
        const IDS: usize = 110;
        resource.encoded_len() + IDS
    }

    /// Adds the grant at `position` unless an earlier answer has it.
    ///
    /// # Errors
    /// [`Full`] when it belongs into the next answer.
    pub(crate) fn push(&mut self, position: Position, grant: GrantParts<'_>) -> ControlFlow<Full> {
        if position < self.bounds.start {
            return ControlFlow::Continue(());
        }
        if self.builder.len() == self.bounds.size.most() || !self.builder.push(grant) {
            return ControlFlow::Break(Full(position));
        }
        ControlFlow::Continue(())
    }

    /// The answer. `last` is the last key that the database returned, if it may have more behind it.
    pub(crate) fn finish(self, outcome: ControlFlow<Full>, last: Option<u32>) -> AnswerPage<GrantList> {
        let next = match outcome {
            ControlFlow::Break(Full(position)) => Some(position),
            ControlFlow::Continue(()) => last.map(Position::after_key),
        };
        AnswerPage {
            items: self.builder.finish(),
            next_page_token: next.map(|next| self.bounds.listing.token(next)).unwrap_or_default(),
        }
    }
}

/// The key behind which there may be more rows: that of the last one, if as many came as were asked for.
pub(crate) fn last_key<R>(rows: &[R], fetched: i64, key: impl Fn(&R) -> u32) -> Option<u32> {
    if i64::try_from(rows.len()).is_ok_and(|count| count < fetched) {
        return None;
    }
    rows.last().map(key)
}

/// Refuses a resource that would make an answer too large.
///
/// # Errors
/// [`Error::ResourceTooLarge`]
pub(crate) fn check_size(resource: &Resource) -> Result<(), Error> {
    let size = resource.encoded_len();
    if size > LARGEST_RESOURCE {
        return Err(Error::ResourceTooLarge { size, limit: LARGEST_RESOURCE });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proto::connector::ResourceId;

    fn listing() -> Listing {
        Listing::new("test", &[])
    }

    fn taken(size: PageSize, rows: Vec<u32>, fetched: i64) -> AnswerPage<Vec<ResourceId>> {
        let bounds =
            PageBounds { listing: &listing(), size, bytes: PageRequest::BYTES, start: Position::START };
        fill(&bounds, rows, fetched, at, message)
    }

    fn message(row: u32) -> ResourceId {
        ResourceId { resource: "x".repeat(row as usize), ..Default::default() }
    }

    fn at(row: &u32) -> Position {
        Position { key: *row, ordinal: 0 }
    }

    #[test]
    fn an_exact_page_ends_where_the_next_begins() {
        let first = taken(PageSize::Exactly(2), vec![1, 2, 3, 4], 4);
        assert_eq!(first.items.len(), 2);
        assert_eq!(listing().position(&first.next_page_token), Ok(at(&3)));
        let all = taken(PageSize::Exactly(2), vec![1, 2], 4);
        assert_eq!((all.items.len(), all.next_page_token.as_str()), (2, ""));
    }

    #[test]
    fn a_full_fetch_goes_on_behind_its_last_row() {
        let full = taken(PageSize::Any, vec![1, 2, 7], 3);
        assert_eq!(full.items.len(), 3);
        assert_eq!(listing().position(&full.next_page_token), Ok(at(&8)));
    }

    #[test]
    fn an_answer_stays_within_its_budget_and_always_moves_on() {
        let rows = vec![1_500_000, 1_500_000, 3_000_000];
        let first = taken(PageSize::Any, rows, 9);
        assert_eq!(first.items.len(), 1);
        assert!(!first.next_page_token.is_empty());
        let huge = taken(PageSize::Any, vec![3_000_000], 9);
        assert_eq!((huge.items.len(), huge.next_page_token.as_str()), (1, ""));
    }

    #[test]
    fn page_sizes_are_the_protocols() {
        assert_eq!(PageSize::try_from(0).unwrap(), PageSize::Any);
        assert_eq!(PageSize::try_from(250).unwrap(), PageSize::Exactly(250));
        assert!(PageSize::try_from(251).is_err());
        assert!(PageSize::try_from(u32::MAX).is_err());
    }
}
