//! The graph of entitlements, with cycles collapsed and nodes in topological order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// Holders of `source` also hold `destination`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The entitlement whose holders receive the destination.
    pub source: u32,
    /// The entitlement that they receive.
    pub destination: u32,
    /// Whether only direct holders of the source count.
    pub shallow: bool,
    /// The resource types of principals that count; `None` for all.
    pub kinds: Option<Vec<u32>>,
}

/// The nodes with edges: single entitlements, and cycles of them.
pub(super) struct Nodes {
    /// Sources come before destinations.
    nodes: Vec<Stored>,
    cycles: u64,
}

struct Stored {
    members: Vec<u32>,
    incoming: Vec<NodeEdge>,
}

/// One node.
pub(super) struct Node<'a> {
    /// Its entitlements, in the order of their numbers.
    pub(super) members: &'a [u32],
    /// The edges that lead here, in the order of their source nodes.
    pub(super) incoming: &'a [NodeEdge],
}

/// All edges between two nodes, merged: deep if one of them is deep, for all principals if one of them is.
pub(super) struct NodeEdge {
    pub(super) from: usize,
    pub(super) shallow: bool,
    pub(super) kinds: Option<Vec<u32>>,
}

impl Nodes {
    pub(super) fn new(entitlements: u32, edges: &[Edge]) -> Self {
        let known =
            || edges.iter().filter(|edge| edge.source < entitlements && edge.destination < entitlements);
        let mut graph = DiGraph::<(), ()>::with_capacity(entitlements as usize, edges.len());
        for _ in 0..entitlements {
            graph.add_node(());
        }
        for edge in known() {
            graph.add_edge(NodeIndex::from(edge.source), NodeIndex::from(edge.destination), ());
        }
        // The algorithm returns destinations first.
        let mut components = kosaraju_scc(&graph);
        components.reverse();
        let mut node_of = vec![0; entitlements as usize];
        let mut nodes = Vec::with_capacity(components.len());
        let mut cycles = 0;
        for component in components {
            let mut members: Vec<u32> =
                component.iter().filter_map(|member| u32::try_from(member.index()).ok()).collect();
            members.sort_unstable();
            cycles += u64::from(members.len() > 1);
            for member in &members {
                if let Some(node) = node_of.get_mut(*member as usize) {
                    *node = nodes.len();
                }
            }
            nodes.push(Stored { members, incoming: Vec::new() });
        }
        let node = |entitlement: u32| node_of.get(entitlement as usize).copied().unwrap_or_default();
        let mut merged: BTreeMap<(usize, usize), NodeEdge> = BTreeMap::new();
        for edge in known() {
            let (from, to) = (node(edge.source), node(edge.destination));
            if from == to {
                continue;
            }
            let one = NodeEdge { from, shallow: edge.shallow, kinds: filter(edge) };
            match merged.entry((to, from)) {
                Entry::Vacant(vacant) => {
                    vacant.insert(one);
                }
                Entry::Occupied(mut there) => there.get_mut().merge(one),
            }
        }
        for ((to, _), edge) in merged {
            if let Some(stored) = nodes.get_mut(to) {
                stored.incoming.push(edge);
            }
        }
        Self { nodes, cycles }
    }

    pub(super) fn in_order(&self) -> impl Iterator<Item = Node<'_>> {
        self.nodes.iter().map(|stored| Node { members: &stored.members, incoming: &stored.incoming })
    }

    pub(super) fn members(&self, node: usize) -> &[u32] {
        self.nodes.get(node).map_or(&[], |stored| &stored.members)
    }

    /// The number of entitlements that have incoming edges.
    pub(super) fn destinations(&self) -> u64 {
        let reached = self.nodes.iter().filter(|stored| !stored.incoming.is_empty());
        reached.map(|stored| stored.members.len() as u64).sum()
    }

    pub(super) fn edges(&self) -> u64 {
        self.nodes.iter().map(|stored| stored.incoming.len() as u64).sum()
    }

    pub(super) fn cycles(&self) -> u64 {
        self.cycles
    }
}

impl NodeEdge {
    fn merge(&mut self, other: Self) {
        self.shallow &= other.shallow;
        self.kinds = match (self.kinds.take(), other.kinds) {
            (Some(mut ours), Some(theirs)) => {
                ours.extend(theirs);
                ours.sort_unstable();
                ours.dedup();
                Some(ours)
            }
            _ => None,
        };
    }
}

/// An empty filter allows all principals.
fn filter(edge: &Edge) -> Option<Vec<u32>> {
    edge.kinds.clone().filter(|kinds| !kinds.is_empty())
}
