//! The wire: generated messages, clients and servers of the baton connector protocol, and the few
//! helpers that everything above shares.
//!
//! The modules follow the proto packages, since generated code refers to its neighbours by them; the
//! short names [`connector`], [`config`], [`ratelimit`], [`utls`] and [`connector_wrapper`] are the ones
//! to use.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost::{DecodeError, Message as _, Name};
use prost_reflect::DescriptorPool;
use prost_types::value::Kind;
use prost_types::{Any, Struct, Timestamp, Value};
use time::OffsetDateTime;

pub use c1::config::v1 as config;
pub use c1::connector::v2 as connector;
pub use c1::connector_wrapper::v1 as connector_wrapper;
pub use c1::ratelimit::v1 as ratelimit;
pub use c1::utls::v1 as utls;

pub mod codec;
pub mod grants;
pub mod log_text;
mod secret;
pub mod validate;

/// The `c1` packages as generated; the comments in `proto/` are their documentation.
#[allow(missing_docs, unreachable_pub, deprecated, clippy::all, rustdoc::all)]
pub mod c1 {
    pub mod connector {
        pub mod v2 {
            pub use crate::proto::grants::GrantsServiceListGrantsResponse;

            tonic::include_proto!("c1.connector.v2");
        }
    }
    pub mod config {
        pub mod v1 {
            tonic::include_proto!("c1.config.v1");
        }
    }
    pub mod ratelimit {
        pub mod v1 {
            tonic::include_proto!("c1.ratelimit.v1");
        }
    }
    pub mod utls {
        pub mod v1 {
            tonic::include_proto!("c1.utls.v1");
        }
    }
    pub mod connector_wrapper {
        pub mod v1 {
            tonic::include_proto!("c1.connector_wrapper.v1");
        }
    }
}

/// Everything under `proto/` with its imports and without comments, as an encoded
/// `google.protobuf.FileDescriptorSet`; what gRPC reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// [`FILE_DESCRIPTOR_SET`], decoded once.
pub fn descriptor_pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(decode_pool);
    &POOL
}

// The compiler that wrote the bytes at build time has checked them, and tests load them.
#[allow(clippy::expect_used)]
fn decode_pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the embedded descriptor set is valid")
}

/// Decodes the descriptor set and compiles the validation rules, which the first request would wait for
/// otherwise.
pub fn warm_up() {
    validate::warm_up();
}

/// Packs a message the way annotations want it: the type URL is `type.googleapis.com/` and the name as
/// the protocol spells it, which is not always Rust's (`BatonID`).
pub fn any<M: Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// Takes a message out of an `Any`: nothing when another type is packed, an error when the type is
/// right but the bytes are not. Whatever stands before the last `/` of the type URL is ignored.
pub fn unpack<M: Name + Default>(any: &Any) -> Option<Result<M, DecodeError>> {
    is::<M>(any).then(|| M::decode(any.value.as_slice()))
}

/// The first annotation of this type: nothing when there is none, an error when its bytes are not such
/// a message. For a marker without fields, `is_some()` on the answer is the question.
pub fn find_annotation<M: Name + Default>(annotations: &[Any]) -> Option<Result<M, DecodeError>> {
    annotations.iter().find_map(unpack)
}

/// A `google.protobuf.Struct` out of pairs; of two with one key, the last counts.
///
/// ```
/// use baton_retool::proto::{number, string, structure};
///
/// let profile = structure([("email", string("ada@example.com")), ("organization_id", number(1.0))]);
/// assert_eq!(profile.fields.len(), 2);
/// ```
pub fn structure<K: Into<String>>(fields: impl IntoIterator<Item = (K, Value)>) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, value)| (key.into(), value)).collect::<BTreeMap<_, _>>() }
}

/// Packs a `Struct`, whose message is Google's, so that [`any`] does not know its name.
pub fn packed(said: &Struct) -> Any {
    Any { type_url: "type.googleapis.com/google.protobuf.Struct".to_owned(), value: said.encode_to_vec() }
}

/// A text in a `Struct`.
pub fn string(value: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(value.into())) }
}

/// A number in a `Struct`, where every number is a double.
pub fn number(value: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(value)) }
}

/// A yes or no in a `Struct`.
pub fn boolean(value: bool) -> Value {
    Value { kind: Some(Kind::BoolValue(value)) }
}

/// The same instant as a proto timestamp, to the nanosecond, whatever the offset.
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    // Both count forward from the second below, also before 1970; a nanosecond fits an i32.
    Timestamp { seconds: time.unix_timestamp(), nanos: time.nanosecond() as i32 }
}

fn is<M: Name>(any: &Any) -> bool {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    name == M::full_name()
}

#[cfg(test)]
mod tests;
