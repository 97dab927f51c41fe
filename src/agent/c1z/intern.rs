//! Assigns numbers to texts, so that millions of rows can refer to a few thousand texts.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::Hash;

use foldhash::quality::RandomState;

/// Numbers for values, starting at 0 in the order of their first appearance.
#[derive(Debug)]
pub(super) struct Interner<T> {
    /// The hash function is seeded for each process and is faster than the standard one, because it runs
    /// several times for each grant.
    numbers: HashMap<T, u32, RandomState>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { numbers: HashMap::default() }
    }
}

impl<T: Hash + Eq> Interner<T> {
    /// Returns the value's number; a new value gets the next one.
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

    /// Returns the value's number, if it has one.
    pub(super) fn find<Q: Hash + Eq + ?Sized>(&self, value: &Q) -> Option<u32>
    where
        T: Borrow<Q>,
    {
        self.numbers.get(value).copied()
    }

    pub(super) fn len(&self) -> u32 {
        // The values come from a database of fewer than 2^32 pages with only a few distinct values on each;
        // memory is exhausted long before the numbers are.
        u32::try_from(self.numbers.len()).unwrap_or(u32::MAX)
    }

    /// References to the values in the order of their numbers.
    pub(super) fn values(&self) -> Vec<&T> {
        let mut values: Vec<(u32, &T)> =
            self.numbers.iter().map(|(value, number)| (*number, value)).collect();
        values.sort_unstable_by_key(|(number, _)| *number);
        values.into_iter().map(|(_, value)| value).collect()
    }

    /// The values in the order of their numbers.
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
    /// The previous result: rows with the same pair are often adjacent.
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
        // The length separates the two texts unambiguously.
        self.key.clear();
        // Writing to a string does not fail.
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
