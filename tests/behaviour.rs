//! Black box: the real server on a real Postgres, through a real client.

mod support;

#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod behaviour {
    mod data_access;
    mod data_identity;
    mod data_isolation;
    mod data_items;
    mod data_oracle;
    mod data_paging;
    mod data_profiles;
}
