//! Encodes the sources of grants for their messages.

use crate::agent::c1z::blob;
use crate::agent::c1z::expand::Expansion;
use crate::agent::c1z::image::keys::ranks_of;
use crate::agent::expansion::SetId;

/// Above this size in bytes, the cache is cleared to limit memory.
const MAX_ENCODED: usize = 16 << 20;

/// Encoded sources; each set is encoded once.
pub(super) struct EncodedSources<'a> {
    expansion: &'a Expansion,
    /// The positions of the entitlements in the order of their ids.
    ranks: Vec<u32>,
    /// The range of each set in `bytes`; (0, 0) if the set is not encoded yet.
    places: Vec<(u32, u32)>,
    bytes: Vec<u8>,
}

impl<'a> EncodedSources<'a> {
    pub(super) fn new(expansion: &'a Expansion) -> Self {
        let names = &expansion.entitlements;
        let ranks = ranks_of(names.len(), |one, other| names.get(one).cmp(&names.get(other)));
        Self { expansion, ranks, places: vec![(0, 0); expansion.sets.len()], bytes: Vec::new() }
    }

    /// The encoded field of a set.
    pub(super) fn get(&mut self, set: SetId) -> &[u8] {
        let known = self.places.get(set.index()).copied().unwrap_or_default();
        let (start, end) = if known == (0, 0) { self.encode(set) } else { known };
        self.bytes.get(start as usize..end as usize).unwrap_or_default()
    }

    fn encode(&mut self, set: SetId) -> (u32, u32) {
        if self.bytes.len() > MAX_ENCODED {
            self.bytes.clear();
            self.places.fill((0, 0));
        }
        let mut members: Vec<(u32, bool)> = self.expansion.sets.members(set).collect();
        members.sort_unstable_by_key(|(entitlement, _)| self.ranks.get(*entitlement as usize));
        let entries = members.iter().filter_map(|(entitlement, direct)| {
            Some((&**self.expansion.entitlements.get(*entitlement as usize)?, *direct))
        });
        let start = self.bytes.len();
        self.bytes.extend(blob::sources(entries));
        let position = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let place = (position(start), position(self.bytes.len()));
        if let Some(known) = self.places.get_mut(set.index()) {
            *known = place;
        }
        place
    }
}
