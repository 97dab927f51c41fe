//! The generated code of the `c1` packages, documented by the comments in `proto/`. The modules have the
//! names of the packages, because generated code refers to other packages by them.

#![allow(missing_docs, unreachable_pub, deprecated, clippy::all, rustdoc::all)]

pub mod connector {
    pub mod v2 {
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
pub mod transport {
    pub mod v1 {
        tonic::include_proto!("c1.transport.v1");
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
pub mod connectorapi {
    pub mod baton {
        pub mod v1 {
            tonic::include_proto!("c1.connectorapi.baton.v1");
        }
    }
}
