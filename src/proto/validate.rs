//! The protocol's validation rules.

pub use rules::StringRules;

/// The rules as generated from `proto/validate/validate.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
mod rules {
    tonic::include_proto!("validate");
}
