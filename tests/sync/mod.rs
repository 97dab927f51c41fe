//! The agent: syncs of scripted connectors, and the commands that use it.

mod annotations;
mod answers;
mod calls;
mod errors;
mod external;
mod kills;
mod one_shot;
mod resume;
mod sdk;
mod show;
mod targets;
