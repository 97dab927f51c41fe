//! The agent: what it reads from scripted connectors, and the commands that use it.

mod annotations;
mod answers;
mod calls;
mod errors;
mod external;
mod one_shot;
mod resume;
mod show;
mod targets;
