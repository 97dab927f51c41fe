//! What callers can use up, and callers that try to use up more.

mod hostile;
mod per_client;
mod places;
