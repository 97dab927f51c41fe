//! The rules for the imports of a [`Tree`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::imports::{Edge, Tree, module};

/// Top-level modules, and the modules that each may import.
#[derive(Clone, Copy)]
pub(crate) struct Layers<'a>(pub(crate) &'a [(&'a str, &'a [&'a str])]);

/// One line for each import that the layers forbid.
pub(crate) fn misplaced_imports(tree: &Tree, layers: Layers<'_>) -> Vec<String> {
    let top = |file: &str| module(file).first().cloned();
    let mut wrong = Vec::new();
    for edge in tree.edges() {
        // The root of the crate only declares the modules.
        let (Some(from), Some(to)) = (top(edge.from), top(edge.to)) else { continue };
        if from != to && !layers.allow(&from, &to) {
            wrong.push(format!("{edge}: {from} must not import {to}"));
        }
    }
    wrong
}

/// Import cycles, each with all its imports. No two cycles share an import.
pub(crate) fn import_cycles(tree: &Tree) -> Vec<String> {
    let mut graph = Graph::new(tree.edges());
    let mut cycles = Vec::new();
    graph.prune();
    while let Some(cycle) = graph.shortest_cycle() {
        let lines: Vec<String> = cycle.iter().map(ToString::to_string).collect();
        cycles.push(format!("- {}", lines.join("\n  ")));
        for edge in cycle {
            graph.remove(edge);
        }
        graph.prune();
    }
    cycles
}

impl Layers<'_> {
    fn allow(self, from: &str, to: &str) -> bool {
        let find = |module: &str| self.0.iter().find(|(name, _)| *name == module);
        match (find(from), find(to)) {
            (_, None) => find(from).is_some(),
            (None, Some(_)) => false,
            (Some((_, below)), Some(_)) => below.contains(&to),
        }
    }
}

/// The imports of each file.
struct Graph<'a>(BTreeMap<&'a str, BTreeMap<&'a str, Edge<'a>>>);

impl<'a> Graph<'a> {
    fn new(edges: impl Iterator<Item = Edge<'a>>) -> Self {
        let mut graph = BTreeMap::<_, BTreeMap<_, _>>::new();
        for edge in edges {
            graph.entry(edge.from).or_default().insert(edge.to, edge);
        }
        Self(graph)
    }

    fn remove(&mut self, edge: Edge<'a>) {
        if let Some(targets) = self.0.get_mut(edge.from) {
            targets.remove(edge.to);
        }
    }

    /// Removes imports that are part of no cycle, because their files are not imported or import nothing.
    fn prune(&mut self) {
        loop {
            let before: usize = self.0.values().map(BTreeMap::len).sum();
            let imported: BTreeSet<&str> = self.0.values().flat_map(BTreeMap::keys).copied().collect();
            self.0.retain(|file, targets| !targets.is_empty() && imported.contains(file));
            let importing: BTreeSet<&str> = self.0.keys().copied().collect();
            self.0.values_mut().for_each(|targets| targets.retain(|file, _| importing.contains(file)));
            if self.0.values().map(BTreeMap::len).sum::<usize>() == before {
                return;
            }
        }
    }

    fn shortest_cycle(&self) -> Option<Vec<Edge<'a>>> {
        let cycles = self.0.keys().filter_map(|file| self.way(file, file));
        // The first of the shortest cycles: `min_by_key` keeps the order of the files.
        cycles.min_by_key(Vec::len)
    }

    /// The shortest chain of imports from one file to another, with at least one import.
    fn way(&self, from: &str, to: &str) -> Option<Vec<Edge<'a>>> {
        let mut queue = VecDeque::from([(from, Vec::new())]);
        let mut seen = BTreeSet::new();
        while let Some((at, way)) = queue.pop_front() {
            for edge in self.0.get(at).into_iter().flat_map(BTreeMap::values) {
                let longer: Vec<Edge<'a>> = way.iter().copied().chain([*edge]).collect();
                if edge.to == to {
                    return Some(longer);
                }
                if seen.insert(edge.to) {
                    queue.push_back((edge.to, longer));
                }
            }
        }
        None
    }
}
