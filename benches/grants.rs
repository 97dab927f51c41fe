//! Measures how fast the grants of an answer are encoded, by our builder and by the generated code.
//! Run with `cargo bench --bench grants`.

// The macros of criterion generate undocumented functions.
#![allow(missing_docs)]

use std::hint::black_box;

use baton_retool::proto::connector::{Entitlement, Grant, Resource, ResourceId};
use baton_retool::proto::grants::{GrantListBuilder, GrantParts, GrantsServiceListGrantsResponse};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;

/// About as many grants as fit into an answer.
const GRANTS: u32 = 8_000;

/// A resource as in an agent's request; every grant of an answer repeats it.
fn resource() -> Resource {
    Resource {
        id: Some(id("resource", "r12")),
        parent_resource_id: Some(id("org", "o1")),
        display_name: "Orders, production".to_owned(),
        description: "postgresql".to_owned(),
        ..Default::default()
    }
}

fn id(resource_type: &str, resource: &str) -> ResourceId {
    ResourceId {
        resource_type: resource_type.to_owned(),
        resource: resource.to_owned(),
        ..Default::default()
    }
}

/// The parts that differ between grants. They are built in advance, because both encoders need them.
fn principals() -> Vec<(String, String)> {
    (1..=GRANTS).map(|user| (format!("u{user}"), format!("entitlement:r12:read:user:u{user}"))).collect()
}

fn built(resource: &Resource, principals: &[(String, String)]) -> Vec<u8> {
    let mut builder = GrantListBuilder::new(resource, usize::MAX);
    for (principal, grant) in principals {
        let taken = builder.push(GrantParts {
            id: grant,
            entitlement_id: "entitlement:r12:read",
            principal_type: "user",
            principal_id: principal,
            annotations: &[],
        });
        assert!(taken);
    }
    GrantsServiceListGrantsResponse { list: builder.finish(), ..Default::default() }.encode_to_vec()
}

fn generated(resource: &Resource, principals: &[(String, String)]) -> Vec<u8> {
    let grants: Vec<Grant> = principals
        .iter()
        .map(|(principal, grant)| Grant {
            entitlement: Some(Entitlement {
                resource: Some(resource.clone()),
                id: "entitlement:r12:read".to_owned(),
                ..Default::default()
            }),
            principal: Some(Resource { id: Some(id("user", principal)), ..Default::default() }),
            id: grant.clone(),
            ..Default::default()
        })
        .collect();
    GrantsServiceListGrantsResponse { list: grants.into(), ..Default::default() }.encode_to_vec()
}

fn encode(criterion: &mut Criterion) {
    let (resource, principals) = (resource(), principals());
    assert_eq!(built(&resource, &principals), generated(&resource, &principals));
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(u64::from(GRANTS))).sample_size(30);
    for (name, encoder) in
        [("builder", built as fn(&Resource, &[(String, String)]) -> Vec<u8>), ("generated", generated)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| encoder(black_box(&resource), black_box(&principals)));
        });
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
