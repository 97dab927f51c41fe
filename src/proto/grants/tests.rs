#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::proto::connector::{Entitlement, GrantExpandable, GrantImmutable, ResourceId};
use crate::proto::{any, descriptor_pool};

/// The fields of one grant in a test.
#[derive(Debug, Clone)]
struct Plain {
    id: String,
    entitlement_id: String,
    principal_type: String,
    principal_id: String,
    annotations: Vec<Any>,
}

impl Plain {
    fn message(&self, resource: &Resource) -> Grant {
        let principal_id = ResourceId {
            resource_type: self.principal_type.clone(),
            resource: self.principal_id.clone(),
            ..ResourceId::default()
        };
        Grant {
            entitlement: Some(Entitlement {
                resource: Some(resource.clone()),
                id: self.entitlement_id.clone(),
                ..Entitlement::default()
            }),
            principal: Some(Resource { id: Some(principal_id), ..Resource::default() }),
            id: self.id.clone(),
            annotations: self.annotations.clone(),
            sources: None,
        }
    }

    fn push(&self, builder: &mut GrantListBuilder) -> bool {
        builder.push(GrantParts {
            id: &self.id,
            entitlement_id: &self.entitlement_id,
            principal_type: &self.principal_type,
            principal_id: &self.principal_id,
            annotations: &encode_grant_annotations(&self.annotations),
        })
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    // The texts need lengths of one, two and three bytes.
    let text = || prop_oneof![Just(String::new()), ".{1,20}", "a{120,300}", "é{9000}"];
    let annotation = prop_oneof![
        Just(any(&GrantImmutable::default())),
        proptest::collection::vec(".{0,40}", 0..6).prop_map(|entitlement_ids| any(&GrantExpandable {
            entitlement_ids,
            shallow: true,
            resource_type_ids: vec!["user".into()],
        })),
    ];
    let annotations = proptest::collection::vec(annotation, 0..3);
    (text(), text(), text(), text(), annotations).prop_map(
        |(id, entitlement_id, principal_type, principal_id, annotations)| Plain {
            id,
            entitlement_id,
            principal_type,
            principal_id,
            annotations,
        },
    )
}

fn resource() -> impl Strategy<Value = Resource> {
    (".{0,200}", proptest::option::of(".{0,20}")).prop_map(|(display_name, id)| Resource {
        id: id.map(|resource| ResourceId { resource_type: "page".into(), resource, ..ResourceId::default() }),
        display_name,
        ..Resource::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn built_and_plain_lists_have_the_same_encoding(
        resource in resource(),
        grants in proptest::collection::vec(plain(), 0..5),
        next_page_token in ".{0,5}",
    ) {
        let mut builder = GrantListBuilder::new(&resource, usize::MAX);
        for grant in &grants {
            prop_assert!(grant.push(&mut builder));
        }
        prop_assert_eq!(builder.len(), grants.len());
        let messages: Vec<_> = grants.iter().map(|grant| grant.message(&resource)).collect();
        let response = |list| GrantsServiceListGrantsResponse {
            list,
            next_page_token: next_page_token.clone(),
            annotations: vec![any(&GrantImmutable::default())],
        };
        let (built, plain) = (response(builder.finish()), response(messages.clone().into()));

        let encoded = built.encode_to_vec();
        prop_assert_eq!(&encoded, &plain.encode_to_vec());
        prop_assert_eq!(encoded.len(), built.encoded_len());
        prop_assert_eq!(encoded.len(), plain.encoded_len());
        prop_assert_eq!(&built, &plain);
        let decoded = GrantsServiceListGrantsResponse::decode(encoded.as_slice()).unwrap();
        prop_assert_eq!(&decoded, &plain);
        prop_assert_eq!(decoded.list.into_grants().unwrap(), messages.clone());
        prop_assert_eq!(built.list.into_grants().unwrap(), messages);
    }

    #[test]
    fn a_list_does_not_exceed_its_budget(
        grants in proptest::collection::vec(plain(), 1..6),
        budget in 0_usize..60_000,
    ) {
        let resource = Resource::default();
        let mut builder = GrantListBuilder::new(&resource, budget);
        let mut taken = Vec::new();
        for grant in &grants {
            let mut longer = taken.clone();
            longer.push(grant.message(&resource));
            let length = message::encoded_len_repeated(tag::response::LIST, &longer);
            let fits = taken.is_empty() || length <= budget;
            prop_assert_eq!(grant.push(&mut builder), fits);
            if fits {
                taken = longer;
            }
        }
        prop_assert_eq!(builder.finish(), GrantList::from(taken));
    }
}

#[test]
fn the_encoding_matches_the_declared_message() {
    let response = GrantsServiceListGrantsResponse {
        list: GrantList::from(vec![Grant { id: "g".into(), ..Grant::default() }]),
        next_page_token: "t".into(),
        annotations: vec![any(&GrantImmutable::default())],
    };
    let name = GrantsServiceListGrantsResponse::full_name();
    let declared = descriptor_pool().get_message_by_name(&name).unwrap();
    let dynamic = prost_reflect::DynamicMessage::decode(declared, response.encode_to_vec().as_slice());
    let dynamic = dynamic.unwrap();
    assert_eq!(dynamic.unknown_fields().count(), 0);
    assert_eq!(dynamic.get_field_by_name("list").unwrap().as_list().unwrap().len(), 1);
    assert_eq!(dynamic.get_field_by_name("next_page_token").unwrap().as_str(), Some("t"));
    assert_eq!(dynamic.get_field_by_name("annotations").unwrap().as_list().unwrap().len(), 1);
    assert_eq!(dynamic.transcode_to::<GrantsServiceListGrantsResponse>().unwrap(), response);
}

#[test]
fn decoding_skips_unknown_fields_and_rejects_malformed_bytes() {
    // Field 9, a varint; then a list record that is cut off.
    let unknown = GrantsServiceListGrantsResponse::decode([0x48, 0x01].as_slice()).unwrap();
    assert_eq!(unknown, GrantsServiceListGrantsResponse::default());
    assert!(GrantsServiceListGrantsResponse::decode([0x0a, 0x05].as_slice()).is_err());
    assert!(GrantsServiceListGrantsResponse::decode([0x08, 0x05].as_slice()).is_err());

    let mut builder = GrantListBuilder::new(&Resource::default(), 0);
    let broken = GrantParts {
        id: "",
        entitlement_id: "",
        principal_type: "",
        principal_id: "",
        annotations: &[0x22, 0x7f],
    };
    assert!(builder.push(broken));
    assert!(builder.finish().into_grants().is_err());
}

#[test]
fn merging_appends_to_a_built_list() {
    let mut builder = GrantListBuilder::new(&Resource::default(), 0);
    let grant = Plain {
        id: "1".into(),
        entitlement_id: "e".into(),
        principal_type: "user".into(),
        principal_id: "u1".into(),
        annotations: Vec::new(),
    };
    assert!(grant.push(&mut builder));
    let mut response = GrantsServiceListGrantsResponse { list: builder.finish(), ..Default::default() };
    let more = response.encode_to_vec();
    response.merge(more.as_slice()).unwrap();
    let ids: Vec<_> = response.list.clone().into_grants().unwrap().into_iter().map(|g| g.id).collect();
    assert_eq!(ids, ["1", "1"]);
    response.clear();
    assert!(response.list.is_empty());
}
