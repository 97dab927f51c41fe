//! Tests of the whole store: the files that it writes, and how it handles files of other writers.

mod content;
mod files;
mod goldens;
mod judge;
mod kills;
mod shapes;
mod support;
