//! Writes the grants of holders into an answer.

use std::fmt::Write;
use std::ops::ControlFlow;

use crate::connector::holder::Holder;
use crate::connector::ids::EntitlementId;
use crate::connector::page_token::Position;
use crate::connector::paging::{AnswerPage, Full, GrantPage};
use crate::proto::grants::{GrantList, GrantParts};

/// Writes the grants of one resource, holder after holder. Texts that differ between grants are built in the
/// same two buffers.
pub(crate) struct GrantWriter<'a, E> {
    answer: GrantPage<'a>,
    entitlements: Vec<Named<E>>,
    principal: String,
    grant: String,
}

/// An entitlement on the resource.
struct Named<E> {
    entitlement: E,
    /// The position of its grants among the rows with one key, for page tokens.
    ordinal: u8,
    id: EntitlementId,
    text: String,
}

impl<'a, E: Copy> GrantWriter<'a, E> {
    /// A writer of grants of these entitlements into this answer. Each entitlement has its ordinal and its
    /// id.
    pub(crate) fn new(
        answer: GrantPage<'a>,
        entitlements: impl Iterator<Item = (E, u8, EntitlementId)>,
    ) -> Self {
        let named = |(entitlement, ordinal, id): (E, u8, EntitlementId)| Named {
            entitlement,
            ordinal,
            id,
            text: id.to_string(),
        };
        Self {
            answer,
            entitlements: entitlements.map(named).collect(),
            principal: String::new(),
            grant: String::new(),
        }
    }

    /// Adds the grants of the holder.
    ///
    /// # Errors
    /// [`Full`] if not all of them fit into this answer.
    pub(crate) fn write(&mut self, holder: &impl Holder<E>) -> ControlFlow<Full> {
        let (kind, key) = holder.principal();
        self.principal.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.principal, "{}{key}", kind.letter());
        for Named { entitlement, ordinal, id, text } in &self.entitlements {
            let Some(annotations) = holder.grant_annotations(*entitlement) else { continue };
            self.grant.clear();
            id.write_grant_id(text, kind.type_id(), &self.principal, &mut self.grant);
            self.answer.push(
                Position { key: holder.order(), ordinal: *ordinal },
                GrantParts {
                    id: &self.grant,
                    entitlement_id: text,
                    principal_type: kind.type_id(),
                    principal_id: &self.principal,
                    annotations,
                },
            )?;
        }
        ControlFlow::Continue(())
    }

    /// See [`GrantPage::finish`].
    pub(crate) fn finish(self, outcome: ControlFlow<Full>, last: Option<u32>) -> AnswerPage<GrantList> {
        self.answer.finish(outcome, last)
    }
}
