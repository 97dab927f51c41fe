//! Sets of sources. Grants share them: a number identifies a set, and adding to one is a lookup.

use std::collections::HashMap;

/// A set in [`SourceSets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetId(u32);

impl SetId {
    /// No sources.
    pub const EMPTY: Self = Self(0);

    /// The index in tables with a row for each set.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// All sets of sources that any grant has or had.
#[derive(Debug)]
pub struct SourceSets {
    /// The sets, one after the other, each in order. A member is twice the entitlement's number, plus one if
    /// it is direct.
    members: Vec<u32>,
    /// The start of each set in `members`, plus the end of the last one.
    starts: Vec<u32>,
    by_members: HashMap<Box<[u32]>, SetId>,
    /// The result of adding a member to a set.
    grown: HashMap<(SetId, u32), SetId>,
    /// The union of two sets.
    united: HashMap<(SetId, SetId), SetId>,
    /// The previous result, because equal requests are often adjacent.
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
    /// Adds a source to a set, or changes its flag from indirect to direct. A direct source stays direct.
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

    /// The union of two sets; a source is direct if it is direct in either.
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

    /// Whether the entitlement is one of the sources.
    pub fn contains(&self, set: SetId, entitlement: u32) -> bool {
        self.slice(set).binary_search_by_key(&entitlement, |member| member >> 1).is_ok()
    }

    /// The sources and whether they are direct, in the order of the entitlements' numbers.
    pub fn members(&self, set: SetId) -> impl Iterator<Item = (u32, bool)> {
        self.slice(set).iter().map(|member| (member >> 1, member & 1 == 1))
    }

    /// All sets.
    pub fn ids(&self) -> impl Iterator<Item = SetId> {
        (0..).take(self.len()).map(SetId)
    }

    /// The number of sets, including the empty one.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether only the empty set exists.
    pub fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// Frees the tables that only adding to sets needs.
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
