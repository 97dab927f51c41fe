//! Grant expansion: derives who holds an entitlement because they hold another one.
//!
//! A grant of entitlement D to a principal that itself has holders (a group, for example) may extend D to the
//! holders of entitlements of that principal. Each such entitlement S adds an edge from S to D, along which
//! grants propagate. In topological order, each destination receives the grants of its sources, as they are
//! after the expansion of the sources. Entitlements in a cycle form one node of the graph: they do not
//! exchange holders, and a grant that reaches one of them reaches all.
//!
//! The module only handles numbers. Entitlements, principals and resource types are indexes that the caller
//! assigns, so that millions of grants are arrays of a few words each.

mod graph;
mod sources;

use std::ops::ControlFlow;

use graph::Nodes;

pub use graph::Edge;
pub use sources::{SetId, SourceSets};

/// The parts of a grant that expansion needs: the entitlement, the principal and the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The entitlement.
    pub entitlement: u32,
    /// The principal; `None` for a grant without one, which is never expanded.
    pub principal: Option<Principal>,
    /// Its sources; [`SetId::EMPTY`] for a direct grant without sources.
    pub sources: SetId,
    /// A value that a derived grant copies from its origin; the caller defines it.
    pub carried: u32,
}

/// The holder of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Principal {
    /// Its index, counted from 0: tables have a row for each index up to the largest.
    pub index: u32,
    /// Its resource type.
    pub kind: u32,
}

/// A grant that derives from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derived {
    /// The destination.
    pub entitlement: u32,
    /// The holder.
    pub principal: Principal,
    /// The entitlements that it derives from.
    pub sources: SetId,
    /// Copied from the first grant that it derives from.
    pub carried: u32,
}

/// The result of an expansion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The grants to add; those of one destination are adjacent.
    pub derived: Vec<Derived>,
    /// How many existing grants got other sources.
    pub updated: u64,
    /// The number of edges after edges between the same two nodes were merged.
    pub edges: u64,
    /// How many cycles became one node.
    pub cycles: u64,
}

/// Expands `grants` along `edges`. Existing grants keep their position and get new sources. Entitlements are
/// numbered below `entitlements`; larger numbers are skipped. Calls `progress` with the number of finished
/// destinations and their total number. If it returns `Break`, the result is `None`.
pub fn expand(
    entitlements: u32,
    grants: &mut [Grant],
    edges: &[Edge],
    sets: &mut SourceSets,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Option<Outcome> {
    let nodes = Nodes::new(entitlements, edges);
    let mut run = Run {
        existing: ByEntitlement::new(entitlements, grants),
        derived_of: vec![(0, 0); entitlements as usize],
        grants,
        sets,
        found: Found::default(),
        outcome: Outcome { edges: nodes.edges(), cycles: nodes.cycles(), ..Outcome::default() },
    };
    let total = nodes.destinations();
    let mut done = 0;
    for node in nodes.in_order() {
        if node.incoming.is_empty() {
            continue;
        }
        for &destination in node.members {
            run.collect(&nodes, &node, destination);
            run.settle(destination);
            done += 1;
            if progress(done, total).is_break() {
                return None;
            }
        }
    }
    Some(run.outcome)
}

struct Run<'a> {
    grants: &'a mut [Grant],
    existing: ByEntitlement,
    /// The range of an entitlement's derived grants in the outcome.
    derived_of: Vec<(u32, u32)>,
    sets: &'a mut SourceSets,
    found: Found,
    outcome: Outcome,
}

impl Run<'_> {
    /// Collects the grants that reach a destination along all its edges.
    fn collect(&mut self, nodes: &Nodes, node: &graph::Node<'_>, destination: u32) {
        self.found.begin();
        for edge in node.incoming {
            for &source in nodes.members(edge.from) {
                for &index in self.existing.of(source) {
                    let Some(grant) = self.grants.get(index as usize) else { continue };
                    if let Some(principal) = grant.principal {
                        let held = Held { principal, sources: grant.sources, carried: grant.carried };
                        self.found.add(edge, source, held, self.sets);
                    }
                }
                let (start, end) = self.derived_of.get(source as usize).copied().unwrap_or_default();
                for grant in self.outcome.derived.get(start as usize..end as usize).unwrap_or_default() {
                    let held =
                        Held { principal: grant.principal, sources: grant.sources, carried: grant.carried };
                    self.found.add(edge, source, held, self.sets);
                }
            }
        }
        debug_assert!(node.members.contains(&destination));
    }

    /// Adds the contributions to existing grants, and derives a grant for every other principal.
    fn settle(&mut self, destination: u32) {
        for &index in self.existing.of(destination) {
            let Some(grant) = self.grants.get_mut(index as usize) else { continue };
            let Some(entry) = grant.principal.and_then(|principal| self.found.of(principal.index)) else {
                continue;
            };
            entry.has_grant = true;
            let own = match grant.sources {
                SetId::EMPTY => self.sets.with(SetId::EMPTY, destination, true),
                filled => filled,
            };
            let sources = self.sets.union(own, entry.sources);
            if sources != grant.sources {
                grant.sources = sources;
                self.outcome.updated += 1;
            }
        }
        let start = self.outcome.derived.len();
        self.outcome.derived.extend(self.found.entries.iter().filter(|entry| !entry.has_grant).map(
            |entry| Derived {
                entitlement: destination,
                principal: entry.principal,
                sources: entry.sources,
                carried: entry.carried,
            },
        ));
        if let Some(range) = self.derived_of.get_mut(destination as usize) {
            let position = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
            *range = (position(start), position(self.outcome.derived.len()));
        }
    }
}

/// A source's grant from the view of a destination.
#[derive(Clone, Copy)]
struct Held {
    principal: Principal,
    sources: SetId,
    carried: u32,
}

/// The contributions that reached one destination, by principal.
#[derive(Default)]
struct Found {
    entries: Vec<Entry>,
    /// For each principal, its round and its entry.
    places: Vec<(u32, u32)>,
    round: u32,
    /// Whether a set makes a grant direct on the current source; grants with the same set are often adjacent.
    last: Option<(u32, SetId, bool)>,
}

struct Entry {
    principal: Principal,
    /// The contributing sources.
    sources: SetId,
    carried: u32,
    /// Whether the principal already holds the destination.
    has_grant: bool,
}

impl Found {
    fn begin(&mut self) {
        self.entries.clear();
        self.round += 1;
    }

    fn add(&mut self, edge: &graph::NodeEdge, source: u32, held: Held, sets: &mut SourceSets) {
        if edge.kinds.as_ref().is_some_and(|kinds| !kinds.contains(&held.principal.kind)) {
            return;
        }
        let direct = match self.last {
            Some((of, set, direct)) if of == source && set == held.sources => direct,
            _ => held.sources == SetId::EMPTY || sets.contains(held.sources, source),
        };
        self.last = Some((source, held.sources, direct));
        if edge.shallow && !direct {
            return;
        }
        let index = held.principal.index as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, (0, 0));
        }
        let Some(place) = self.places.get_mut(index) else { return };
        match self.entries.get_mut(place.1 as usize).filter(|_| place.0 == self.round) {
            Some(entry) => entry.sources = sets.with(entry.sources, source, direct),
            None => {
                *place = (self.round, u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
                self.entries.push(Entry {
                    principal: held.principal,
                    sources: sets.with(SetId::EMPTY, source, direct),
                    carried: held.carried,
                    has_grant: false,
                });
            }
        }
    }

    fn of(&mut self, principal: u32) -> Option<&mut Entry> {
        let (round, entry) = *self.places.get(principal as usize)?;
        if round == self.round { self.entries.get_mut(entry as usize) } else { None }
    }
}

/// The indexes of grants, grouped by entitlement, in order.
struct ByEntitlement {
    starts: Vec<u32>,
    indexes: Vec<u32>,
}

impl ByEntitlement {
    fn new(entitlements: u32, grants: &[Grant]) -> Self {
        let mut starts = vec![0_u32; entitlements as usize + 1];
        let known = || {
            let numbered = (0_u32..).zip(grants);
            numbered.filter(|(_, grant)| grant.entitlement < entitlements)
        };
        for (_, grant) in known() {
            if let Some(count) = starts.get_mut(grant.entitlement as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut next = starts.clone();
        let mut indexes = vec![0; sum as usize];
        for (index, grant) in known() {
            if let Some(place) = next.get_mut(grant.entitlement as usize) {
                if let Some(slot) = indexes.get_mut(*place as usize) {
                    *slot = index;
                }
                *place += 1;
            }
        }
        Self { starts, indexes }
    }

    fn of(&self, entitlement: u32) -> &[u32] {
        let at = entitlement as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(&start), Some(&end)) => self.indexes.get(start as usize..end as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests;
