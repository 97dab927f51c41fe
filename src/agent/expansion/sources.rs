//! Sets of sources. Grants share them: one number says which, and adding to one is a look-up.

use std::collections::HashMap;

/// A set in [`SourceSets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetId(u32);

impl SetId {
    /// No sources.
    pub const EMPTY: Self = Self(0);

    /// For tables with a row for each set.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Every set of sources that some grant has or had.
#[derive(Debug)]
pub struct SourceSets {
    /// One after the other, each in order: an entitlement times two, and one more when it is direct.
    members: Vec<u32>,
    /// Where each begins in `members`; one more than there are sets.
    starts: Vec<u32>,
    by_members: HashMap<Box<[u32]>, SetId>,
    /// What a set becomes with one more member.
    grown: HashMap<(SetId, u32), SetId>,
    /// What two sets become together.
    united: HashMap<(SetId, SetId), SetId>,
    /// The answers before, since the same questions come in rows.
    last: Option<(SetId, u32, SetId)>,
}

impl Default for SourceSets {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            starts: vec![0, 0],
            by_members: HashMap::from([(Box::default(), SetId::EMPTY)]),
            grown: HashMap::new(),
            united: HashMap::new(),
            last: None,
        }
    }
}

impl SourceSets {
    /// The set with a source added, or with its flag raised from indirect to direct. Flags are never lowered.
    pub fn with(&mut self, set: SetId, entitlement: u32, direct: bool) -> SetId {
        let member = entitlement << 1 | u32::from(direct);
        if let Some((from, with, to)) = self.last
            && from == set
            && with == member
        {
            return to;
        }
        let to = match self.grown.get(&(set, member)) {
            Some(known) => *known,
            None => {
                let to = self.grow(set, member);
                self.grown.insert((set, member), to);
                to
            }
        };
        self.last = Some((set, member, to));
        to
    }

    /// Both sets in one; a source is direct when it is in either.
    pub fn union(&mut self, one: SetId, other: SetId) -> SetId {
        if let Some(known) = self.united.get(&(one, other)) {
            return *known;
        }
        let added: Vec<u32> = self.slice(other).to_vec();
        let mut members = self.slice(one).to_vec();
        for member in added {
            add(&mut members, member);
        }
        let to = self.intern(members);
        self.united.insert((one, other), to);
        to
    }

    /// Whether the entitlement is among the sources.
    pub fn contains(&self, set: SetId, entitlement: u32) -> bool {
        self.slice(set).binary_search_by_key(&entitlement, |member| member >> 1).is_ok()
    }

    /// The sources and whether they are direct, in order of the entitlements' numbers.
    pub fn members(&self, set: SetId) -> impl Iterator<Item = (u32, bool)> {
        self.slice(set).iter().map(|member| (member >> 1, member & 1 == 1))
    }

    /// Every set.
    pub fn ids(&self) -> impl Iterator<Item = SetId> {
        (0..).take(self.len()).map(SetId)
    }

    /// How many sets there are, the empty one included.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is only the empty set.
    pub fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// Frees what only growing needs.
    pub fn freeze(&mut self) {
        self.by_members = HashMap::new();
        self.grown = HashMap::new();
        self.united = HashMap::new();
        self.last = None;
    }

    fn slice(&self, set: SetId) -> &[u32] {
        match (self.starts.get(set.index()), self.starts.get(set.index() + 1)) {
            (Some(&start), Some(&end)) => self.members.get(start as usize..end as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    fn grow(&mut self, set: SetId, member: u32) -> SetId {
        let mut members = self.slice(set).to_vec();
        add(&mut members, member);
        self.intern(members)
    }

    fn intern(&mut self, members: Vec<u32>) -> SetId {
        if let Some(known) = self.by_members.get(members.as_slice()) {
            return *known;
        }
        let id = SetId(u32::try_from(self.len()).unwrap_or(u32::MAX));
        self.members.extend_from_slice(&members);
        self.starts.push(u32::try_from(self.members.len()).unwrap_or(u32::MAX));
        self.by_members.insert(members.into_boxed_slice(), id);
        id
    }
}

fn add(members: &mut Vec<u32>, member: u32) {
    match members.binary_search_by_key(&(member >> 1), |there| there >> 1) {
        Ok(at) => {
            if let Some(there) = members.get_mut(at) {
                *there |= member & 1;
            }
        }
        Err(at) => members.insert(at, member),
    }
}
