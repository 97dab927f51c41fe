//! The resources that callers can use, and callers that try to exceed their share.

mod control_frames;
mod decoding;
mod headers;
mod hostile;
mod memory;
mod per_client;
mod quota;
mod unauthenticated;
mod unread;
