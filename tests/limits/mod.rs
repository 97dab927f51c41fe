//! What callers can use up, and callers that try to use up more.

mod control_frames;
mod decoding;
mod hostile;
mod memory;
mod per_client;
mod places;
mod strangers;
