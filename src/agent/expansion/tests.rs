//! Compares the expansion with its definition, on random graphs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;

/// A grant in the definition: entitlement, principal and sources.
type Row = (u32, u32, BTreeMap<u32, bool>);

/// The input of an expansion: entitlements, grants and edges.
#[derive(Debug, Clone)]
struct Case {
    entitlements: u32,
    grants: Vec<Row>,
    edges: Vec<Edge>,
}

/// The definition, implemented without regard to speed: the components of the graph by reachability, then
/// each destination after all its sources are done.
fn define(case: &Case) -> BTreeMap<(u32, u32), Vec<BTreeMap<u32, bool>>> {
    let all: Vec<u32> = (0..case.entitlements).collect();
    let mut reach: BTreeSet<(u32, u32)> =
        case.edges.iter().map(|edge| (edge.source, edge.destination)).collect();
    reach.extend(all.iter().map(|one| (*one, *one)));
    for middle in &all {
        for from in &all {
            for to in &all {
                if reach.contains(&(*from, *middle)) && reach.contains(&(*middle, *to)) {
                    reach.insert((*from, *to));
                }
            }
        }
    }
    let same = |one: u32, other: u32| reach.contains(&(one, other)) && reach.contains(&(other, one));
    let before = |one: u32, other: u32| reach.contains(&(one, other)) && !same(one, other);

    let mut grants: BTreeMap<(u32, u32), Vec<BTreeMap<u32, bool>>> = BTreeMap::new();
    for (entitlement, principal, sources) in &case.grants {
        grants.entry((*entitlement, *principal)).or_default().push(sources.clone());
    }
    let mut order = all.clone();
    order.sort_by_key(|one| all.iter().filter(|other| before(**other, *one)).count());
    for destination in order {
        let mut contributions: BTreeMap<u32, BTreeMap<u32, bool>> = BTreeMap::new();
        for source in &all {
            // Every edge between the two components applies to every pair of their members.
            let between: Vec<&Edge> = case
                .edges
                .iter()
                .filter(|edge| {
                    same(edge.source, *source)
                        && same(edge.destination, destination)
                        && !same(edge.source, edge.destination)
                })
                .collect();
            if between.is_empty() {
                continue;
            }
            let deep = between.iter().any(|edge| !edge.shallow);
            let open = between.iter().any(|edge| edge.kinds.as_ref().is_none_or(Vec::is_empty));
            let kinds: BTreeSet<u32> =
                between.iter().flat_map(|edge| edge.kinds.clone().unwrap_or_default()).collect();
            for ((_, principal), held) in grants.iter().filter(|((of, _), _)| of == source) {
                if !open && !kinds.contains(&kind(*principal)) {
                    continue;
                }
                for sources in held {
                    let direct = sources.is_empty() || sources.contains_key(source);
                    if deep || direct {
                        *contributions.entry(*principal).or_default().entry(*source).or_default() |= direct;
                    }
                }
            }
        }
        for (principal, given) in contributions {
            let held = grants.entry((destination, principal)).or_default();
            if held.is_empty() {
                held.push(given);
                continue;
            }
            for sources in held {
                if sources.is_empty() {
                    sources.insert(destination, true);
                }
                for (source, direct) in &given {
                    *sources.entry(*source).or_default() |= direct;
                }
            }
        }
    }
    grants
}

fn kind(principal: u32) -> u32 {
    principal % 3
}

/// Expands to the end.
#[allow(clippy::expect_used)]
fn to_the_end(entitlements: u32, grants: &mut [Grant], edges: &[Edge], sets: &mut SourceSets) -> Outcome {
    expand(entitlements, grants, edges, sets, &mut |_, _| ControlFlow::Continue(()))
        .expect("nothing stops it")
}

fn run(case: &Case) -> BTreeMap<(u32, u32), Vec<BTreeMap<u32, bool>>> {
    let mut sets = SourceSets::default();
    let mut grants: Vec<Grant> = case
        .grants
        .iter()
        .map(|(entitlement, principal, sources)| Grant {
            entitlement: *entitlement,
            principal: Some(Principal { index: *principal, kind: kind(*principal) }),
            sources: sources.iter().fold(SetId::EMPTY, |set, (of, direct)| sets.with(set, *of, *direct)),
            carried: 0,
        })
        .collect();
    let outcome = to_the_end(case.entitlements, &mut grants, &case.edges, &mut sets);
    sets.freeze();
    let mut found: BTreeMap<(u32, u32), Vec<BTreeMap<u32, bool>>> = BTreeMap::new();
    for grant in &grants {
        let principal = grant.principal.map_or(u32::MAX, |principal| principal.index);
        found.entry((grant.entitlement, principal)).or_default().push(sets.members(grant.sources).collect());
    }
    for one in &outcome.derived {
        found
            .entry((one.entitlement, one.principal.index))
            .or_default()
            .push(sets.members(one.sources).collect());
    }
    found
}

fn cases() -> impl Strategy<Value = Case> {
    (2_u32..9).prop_flat_map(|entitlements| {
        let sources = prop::collection::btree_map(0..entitlements, any::<bool>(), 0..3);
        // Most grants have no sources.
        let sources = prop_oneof![4 => Just(BTreeMap::new()), 1 => sources];
        let grants = prop::collection::vec((0..entitlements, 0_u32..6, sources), 0..16);
        let kinds = prop::option::of(prop::collection::vec(0_u32..4, 0..3));
        let edge = (0..entitlements, 0..entitlements, any::<bool>(), kinds);
        let edge = edge.prop_map(|(source, destination, shallow, kinds)| Edge {
            source,
            destination,
            shallow,
            kinds,
        });
        (grants, prop::collection::vec(edge, 0..14)).prop_map(move |(grants, edges)| Case {
            entitlements,
            grants,
            edges,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_expansion_equals_its_definition(case in cases()) {
        prop_assert_eq!(run(&case), define(&case));
    }

    #[test]
    fn a_second_run_changes_nothing(case in cases()) {
        let once = run(&case);
        let grants = once
            .iter()
            .flat_map(|((of, principal), held)| held.iter().map(|sources| (*of, *principal, sources.clone())))
            .collect();
        prop_assert_eq!(run(&Case { grants, ..case }), once);
    }
}

/// Two nested groups and a page, with a deep or shallow second edge: entitlements 0 (g2), 1 (g1), 2 (page).
fn nested(shallow: bool) -> BTreeMap<(u32, u32), Vec<BTreeMap<u32, bool>>> {
    let plain = |entitlement, principal| (entitlement, principal, BTreeMap::new());
    let edge = |source, destination, shallow| Edge { source, destination, shallow, kinds: None };
    run(&Case {
        entitlements: 3,
        grants: vec![plain(0, 2), plain(0, 3), plain(1, 1), plain(1, 2), plain(2, 1)],
        edges: vec![edge(0, 1, false), edge(1, 2, shallow)],
    })
}

#[test]
fn expands_through_nested_groups() {
    let found = nested(false);
    assert_eq!(found[&(1, 2)], [BTreeMap::from([(1, true), (0, true)])]);
    assert_eq!(found[&(1, 3)], [BTreeMap::from([(0, true)])]);
    assert_eq!(found[&(2, 1)], [BTreeMap::from([(2, true), (1, true)])]);
    assert_eq!(found[&(2, 2)], [BTreeMap::from([(1, true)])]);
    assert_eq!(found[&(2, 3)], [BTreeMap::from([(1, false)])]);
}

#[test]
fn a_shallow_edge_stops_derived_holders() {
    let found = nested(true);
    assert_eq!(found[&(2, 2)], [BTreeMap::from([(1, true)])]);
    assert!(!found.contains_key(&(2, 3)));
}

#[test]
fn expands_a_chain_of_20000_entitlements() {
    let length = 20_000;
    let edge = |source| Edge { source, destination: source + 1, shallow: false, kinds: None };
    let case = Case {
        entitlements: length,
        grants: vec![(0, 0, BTreeMap::new())],
        edges: (0..length - 1).map(edge).collect(),
    };
    assert_eq!(run(&case).len(), length as usize);
}

#[test]
fn grants_without_a_principal_stay_unchanged() {
    let mut sets = SourceSets::default();
    let mut grants = [Grant { entitlement: 0, principal: None, sources: SetId::EMPTY, carried: 0 }];
    let edge = Edge { source: 0, destination: 1, shallow: false, kinds: None };
    let outcome = to_the_end(2, &mut grants, &[edge], &mut sets);
    assert_eq!((outcome.derived.len(), outcome.updated), (0, 0));
}
