//! The descriptor set of the protocol.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// All files under `proto/` with their imports and without comments, as an encoded
/// `google.protobuf.FileDescriptorSet`. gRPC reflection serves it.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// [`FILE_DESCRIPTOR_SET`], decoded once.
pub fn descriptor_pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(decode_pool);
    &POOL
}

// The compiler checked the bytes at build time, and tests load them.
#[allow(clippy::expect_used)]
fn decode_pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the embedded descriptor set is valid")
}
