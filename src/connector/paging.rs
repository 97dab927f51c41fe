//! The size of an answer, and the start of the next one.

use std::ops::ControlFlow;

use prost::Message;

use crate::connector::error::Error;
use crate::connector::page_token::{Listing, Position};
use crate::proto::connector::Resource;
use crate::proto::grants::{GrantList, GrantListBuilder, GrantParts};
use crate::retool::tables::Page;

/// The number of rows that the caller requests (decision page-size).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageSize {
    /// As many as keep the answer under 2 MiB.
    Any,
    /// Exactly this number if available; 1 to 250.
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
    /// The maximum number of rows in one answer.
    fn most(self) -> usize {
        match self {
            Self::Any => usize::MAX,
            Self::Exactly(size) => usize::from(size),
        }
    }
}

/// The paging parameters of a listing request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest<'a> {
    /// The requested number of rows.
    pub size: PageSize,
    /// The token to continue with; empty for the start.
    pub token: &'a str,
    /// The maximum size of an answer's rows, in bytes.
    pub bytes: usize,
}

impl PageRequest<'_> {
    /// The default size of an answer's rows, in bytes. It keeps the answer under 2 MiB including the token
    /// and the framing; clients refuse more than 4 MiB.
    pub(crate) const BYTES: usize = 2_000_000;

    /// The requested part of this listing.
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
    /// The token of the next answer; empty at the end.
    pub next_page_token: String,
}

impl<T: Default> AnswerPage<T> {
    /// An answer without rows at the end of a listing.
    pub(crate) fn empty() -> Self {
        Self { items: T::default(), next_page_token: String::new() }
    }
}

/// The part of a listing for one answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageBounds<'a> {
    /// The listing of its page token.
    pub(crate) listing: &'a Listing,
    /// The requested number of rows.
    pub(crate) size: PageSize,
    /// The maximum size of the rows, in bytes.
    pub(crate) bytes: usize,
    /// The first row of the answer.
    pub(crate) start: Position,
}

impl PageBounds<'_> {
    /// The rows to read from the database if one row takes about `bytes` in the answer. It has two rows more
    /// than requested: one that an earlier answer may already contain, and one that shows whether more rows
    /// follow.
    pub(crate) fn page(&self, bytes: usize) -> Page {
        let rows = match self.size {
            PageSize::Any => (self.bytes / bytes.max(1)).clamp(1, MAX_ROWS),
            PageSize::Exactly(size) => usize::from(size),
        };
        let limit = i64::try_from(rows).unwrap_or(i64::MAX).saturating_add(2);
        Page { from: i64::from(self.start.key), limit }
    }
}

/// Limit of rows per database query.
const MAX_ROWS: usize = 16_000;
/// Largest resource that is repeated in an answer, in bytes. Resources of this connector have a few hundred
/// bytes.
pub(crate) const LARGEST_RESOURCE: usize = 64 * 1024;

/// Takes as many `rows` as fit in an answer. `position` returns the position of a row, and `message` its
/// message. `fetched` is the number of rows that were requested from the database.
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

/// Tag and length of one row in an answer, in bytes.
const FRAMING: usize = 6;

/// Collects the grants of one answer.
pub(crate) struct GrantPage<'a> {
    bounds: PageBounds<'a>,
    builder: GrantListBuilder,
}

/// The answer is full. The grant at this position begins the next one.
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

    /// The approximate size of one grant on `resource` in an answer, in bytes.
    pub(crate) fn grant_bytes(resource: &Resource) -> usize {
        const IDS: usize = 110;
        resource.encoded_len() + IDS
    }

    /// Adds the grant at `position` unless an earlier answer contains it.
    ///
    /// # Errors
    /// [`Full`] if it belongs in the next answer.
    pub(crate) fn push(&mut self, position: Position, grant: GrantParts<'_>) -> ControlFlow<Full> {
        if position < self.bounds.start {
            return ControlFlow::Continue(());
        }
        if self.builder.len() == self.bounds.size.most() || !self.builder.push(grant) {
            return ControlFlow::Break(Full(position));
        }
        ControlFlow::Continue(())
    }

    /// Builds the answer. `last` is the last key that the database returned, if more rows may follow.
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

/// The last key if more rows may follow it, that is, if the database returned as many rows as requested.
pub(crate) fn last_key<R>(rows: &[R], fetched: i64, key: impl Fn(&R) -> u32) -> Option<u32> {
    if i64::try_from(rows.len()).is_ok_and(|count| count < fetched) {
        return None;
    }
    rows.last().map(key)
}

/// Rejects a resource that would make an answer too large.
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
    fn a_full_fetch_continues_after_its_last_row() {
        let full = taken(PageSize::Any, vec![1, 2, 7], 3);
        assert_eq!(full.items.len(), 3);
        assert_eq!(listing().position(&full.next_page_token), Ok(at(&8)));
    }

    #[test]
    fn an_answer_respects_its_limit_and_has_at_least_one_row() {
        let rows = vec![1_500_000, 1_500_000, 3_000_000];
        let first = taken(PageSize::Any, rows, 9);
        assert_eq!(first.items.len(), 1);
        assert!(!first.next_page_token.is_empty());
        let huge = taken(PageSize::Any, vec![3_000_000], 9);
        assert_eq!((huge.items.len(), huge.next_page_token.as_str()), (1, ""));
    }

    #[test]
    fn page_sizes_have_the_limits_of_the_protocol() {
        assert_eq!(PageSize::try_from(0).unwrap(), PageSize::Any);
        assert_eq!(PageSize::try_from(250).unwrap(), PageSize::Exactly(250));
        assert!(PageSize::try_from(251).is_err());
        assert!(PageSize::try_from(u32::MAX).is_err());
    }
}
