#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod wire;

use prost::Name as _;
use prost_types::{Any, Timestamp};
use time::macros::datetime;

use crate::proto::connector::{BatonId, GrantAlreadyExists, GrantReplaced, UserTrait, user_trait};
use crate::proto::*;

#[test]
fn type_urls_keep_the_protocols_spelling() {
    assert_eq!(any(&BatonId::default()).type_url, "type.googleapis.com/c1.connector.v2.BatonID");
    assert_eq!(user_trait::Status::full_name(), "c1.connector.v2.UserTrait.Status");
    assert_eq!(
        any(&ratelimit::RateLimitDescription::default()).type_url,
        "type.googleapis.com/c1.ratelimit.v1.RateLimitDescription"
    );
}

#[test]
fn annotations_are_found_by_type() {
    let replaced = GrantReplaced { replaced_grant_id: "g1".into() };
    let annotations = [any(&BatonId::default()), any(&replaced)];
    assert_eq!(find_annotation::<GrantReplaced>(&annotations).unwrap().unwrap(), replaced);
    assert!(find_annotation::<GrantAlreadyExists>(&annotations).is_none());
    assert!(unpack::<BatonId>(&annotations[1]).is_none());

    let elsewhere = Any { type_url: "example.com/x/c1.connector.v2.BatonID".into(), value: Vec::new() };
    assert!(unpack::<BatonId>(&elsewhere).unwrap().is_ok());
    let nested = Any { type_url: "/c1.connector.v2.UserTrait.BatonID".into(), value: Vec::new() };
    assert!(unpack::<BatonId>(&nested).is_none());
    let broken = Any { type_url: GrantReplaced::type_url(), value: vec![0xff] };
    assert!(find_annotation::<GrantReplaced>(&[broken]).unwrap().is_err());
}

#[test]
fn structs_contain_the_given_values() {
    let made = structure([("a", string("x")), ("b", number(1.5)), ("c", boolean(true)), ("a", string("y"))]);
    assert_eq!(
        made.fields.into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), "y".into()), ("b".to_owned(), 1.5.into()), ("c".to_owned(), true.into())]
    );
}

#[test]
fn timestamps_are_the_same_instant() {
    assert_eq!(timestamp(datetime!(1970-01-01 01:00 +1)), Timestamp { seconds: 0, nanos: 0 });
    assert_eq!(
        timestamp(datetime!(2024-02-29 12:00:00.000000001 UTC)),
        Timestamp { seconds: 1_709_208_000, nanos: 1 }
    );
    assert_eq!(
        timestamp(datetime!(1969-12-31 23:59:59.25 UTC)),
        Timestamp { seconds: -1, nanos: 250_000_000 }
    );
}

#[test]
fn every_deprecated_field_is_still_encoded() {
    #[allow(deprecated)]
    let user = UserTrait { profile: Some(structure([("k", string("v"))])), ..UserTrait::default() };
    assert_eq!(unpack::<UserTrait>(&any(&user)).unwrap().unwrap(), user);
}

#[test]
fn the_descriptor_set_has_all_packages_and_no_source_info() {
    let files: Vec<_> = descriptor_pool().files().collect();
    for name in ["c1/connector/v2/grant.proto", "validate/validate.proto", "google/protobuf/any.proto"] {
        assert!(files.iter().any(|file| file.name() == name), "{name}");
    }
    assert!(files.iter().all(|file| file.file_descriptor_proto().source_code_info.is_none()));
}
