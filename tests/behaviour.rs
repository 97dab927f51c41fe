//! Black box: the real server on a real Postgres, through a real client.

mod shared_resources;
mod support;
