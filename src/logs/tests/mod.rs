//! The room as its callers use it, over an index and a storage in memory that fail on demand.

mod disk;
mod faults;
mod followers;
mod limits;
mod model;
mod packs;
mod reading;
mod world;
