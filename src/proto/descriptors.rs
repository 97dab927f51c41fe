//! The descriptor set of the protocol.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

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
