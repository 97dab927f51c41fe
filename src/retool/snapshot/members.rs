//! Members of groups in the order of their keys, and the union of many groups.

use std::ops::ControlFlow;

/// A user's number, and whether the user is an admin of the group, in 4 bytes. Sorts by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member(u32);

impl Member {
    /// A number has at most 31 bits, like a key.
    pub(super) fn new(number: u32, is_admin: bool) -> Self {
        Self(number << 1 | u32::from(is_admin))
    }

    pub(super) fn number(self) -> u32 {
        self.0 >> 1
    }

    pub(super) fn is_admin(self) -> bool {
        self.0 & 1 != 0
    }
}

/// The members with this number or a higher one.
pub(super) fn behind(members: &[Member], from: u32) -> &[Member] {
    let start = members.partition_point(|member| member.number() < from);
    members.get(start..).unwrap_or_default()
}

/// How many numbers a window covers: few enough to fit in the fastest CPU cache.
const WINDOW: usize = 1024;

/// Calls `each` for every number from `from` on that any source contains, in ascending order, with the
/// combined bits of all sources that contain it.
///
/// The time is proportional to the number of members visited. The memory is constant for any number of
/// sources.
pub(super) fn union<B>(
    mut sources: Vec<(&[Member], u16)>,
    from: u32,
    mut each: impl FnMut(u32, u16) -> ControlFlow<B>,
) -> ControlFlow<B> {
    for (members, _) in &mut sources {
        *members = behind(members, from);
    }
    let mut window = [0_u16; WINDOW];
    loop {
        sources.retain(|(members, _)| !members.is_empty());
        let firsts = sources.iter().filter_map(|(members, _)| members.first());
        let Some(first) = firsts.min().map(|member| member.number()) else {
            return ControlFlow::Continue(());
        };
        for (members, bits) in &mut sources {
            let mut inside = 0;
            for member in *members {
                let Some(slot) = window.get_mut((member.number() - first) as usize) else { break };
                *slot |= *bits;
                inside += 1;
            }
            *members = members.get(inside..).unwrap_or_default();
        }
        for (number, slot) in (first..).zip(&mut window) {
            let bits = std::mem::take(slot);
            if bits != 0 {
                each(number, bits)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn united(sources: &[(Vec<Member>, u16)], from: u32) -> Vec<(u32, u16)> {
        let sources = sources.iter().map(|(members, bits)| (members.as_slice(), *bits)).collect();
        let mut found = Vec::new();
        let _: ControlFlow<Infallible> = union(sources, from, |number, bits| {
            found.push((number, bits));
            ControlFlow::Continue(())
        });
        found
    }

    #[test]
    fn a_member_stores_the_largest_number() {
        let member = Member::new((1 << 31) - 1, true);
        assert_eq!((member.number(), member.is_admin()), ((1 << 31) - 1, true));
        assert!(!Member::new(0, false).is_admin());
    }

    proptest! {
        #[test]
        fn a_union_has_each_number_once_with_all_its_bits(
            sets in prop::collection::vec(prop::collection::btree_set(0_u32..9_000, 0..40), 0..12),
            from in 0_u32..9_000,
        ) {
            let sources: Vec<(Vec<Member>, u16)> = sets
                .iter()
                .enumerate()
                .map(|(index, set)| {
                    (set.iter().map(|number| Member::new(*number, number % 3 == 0)).collect(), 1 << index)
                })
                .collect();
            let mut expected = BTreeMap::new();
            for (index, set) in sets.iter().enumerate() {
                for number in set.range(from..) {
                    *expected.entry(*number).or_insert(0_u16) |= 1 << index;
                }
            }
            prop_assert_eq!(united(&sources, from), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
