//! Numbers for texts, so that millions of rows can refer to a few thousand of them.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::Hash;

use foldhash::quality::RandomState;

/// Numbers for values, from 0 in order of their first appearance.
#[derive(Debug)]
pub(super) struct Interner<T> {
    /// With a hash that is seeded for each process and faster than the standard one: it is taken several times for
    /// each grant.
    numbers: HashMap<T, u32, RandomState>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { numbers: HashMap::default() }
    }
}

impl<T: Hash + Eq> Interner<T> {
    /// The value's number; a new value gets the next one.
    pub(super) fn number<Q>(&mut self, value: &Q) -> u32
    where
        Q: Hash + Eq + ?Sized,
        T: Borrow<Q> + for<'a> From<&'a Q>,
    {
        if let Some(known) = self.numbers.get(value) {
            return *known;
        }
        let next = self.len();
        self.numbers.insert(T::from(value), next);
        next
    }

    /// The value's number, if it has one.
    pub(super) fn find<Q: Hash + Eq + ?Sized>(&self, value: &Q) -> Option<u32>
    where
        T: Borrow<Q>,
    {
        self.numbers.get(value).copied()
    }

    pub(super) fn len(&self) -> u32 {
        // Values come from a database of less than 2^32 pages, several of them on a page at most as numbers
        // that differ; memory ends long before.
        u32::try_from(self.numbers.len()).unwrap_or(u32::MAX)
    }

    /// The values in order of their numbers, borrowed.
    pub(super) fn values(&self) -> Vec<&T> {
        let mut values: Vec<(u32, &T)> =
            self.numbers.iter().map(|(value, number)| (*number, value)).collect();
        values.sort_unstable_by_key(|(number, _)| *number);
        values.into_iter().map(|(_, value)| value).collect()
    }

    /// The values in order of their numbers.
    pub(super) fn into_values(self) -> Vec<T> {
        let mut values: Vec<(u32, T)> =
            self.numbers.into_iter().map(|(value, number)| (number, value)).collect();
        values.sort_unstable_by_key(|(number, _)| *number);
        values.into_iter().map(|(_, value)| value).collect()
    }
}

/// Two texts that belong together, such as a resource's type and id.
pub(super) type Pair = (Box<str>, Box<str>);

/// Numbers for pairs.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    numbers: Interner<Box<str>>,
    values: Vec<Pair>,
    key: String,
    /// The answer before: rows with the same pair come in rows.
    last: u32,
}

impl Pairs {
    pub(super) fn number(&mut self, first: &str, second: &str) -> u32 {
        if let Some((one, other)) = self.values.get(self.last as usize)
            && **one == *first
            && **other == *second
        {
            return self.last;
        }
        // The length tells where the one ends and the other begins.
        self.key.clear();
        // Writing to a text does not fail.
        let _ = write!(self.key, "{}:", first.len());
        self.key.push_str(first);
        self.key.push_str(second);
        let number = self.numbers.number(self.key.as_str());
        if number as usize == self.values.len() {
            self.values.push((first.into(), second.into()));
        }
        self.last = number;
        number
    }

    pub(super) fn values(&self) -> &[Pair] {
        &self.values
    }

    pub(super) fn into_values(self) -> Vec<Pair> {
        self.values
    }
}
