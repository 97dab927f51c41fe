//! The store as a whole: what it writes, and what it makes of files that others wrote.

mod content;
mod files;
mod goldens;
mod judge;
mod kills;
mod shapes;
mod support;
