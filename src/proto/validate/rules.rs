//! The rules, generated from `proto/validate/validate.proto`.

#![allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]

tonic::include_proto!("validate");
