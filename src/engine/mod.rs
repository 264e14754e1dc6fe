//! Floor 3: the only place where decisions meet effects.

mod desk;

pub use desk::{
    Accepted, Applied, ApplyError, Declaration, Desk, DeskError, ProbeVerdict, Submission,
};
