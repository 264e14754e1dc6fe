//! What can go wrong in the simulated cloud.

use crate::model::Span;
use crate::provider::ErrorKind;

/// What happens to one launch call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchTrouble {
    /// It is refused for this reason, and nothing is launched.
    Refused(ErrorKind),
    /// The request is lost on its way: nothing is launched, and the caller cannot know.
    LostBefore,
    /// The instance is launched and the answer is lost.
    LostAfter,
    /// The answer is lost, and the instance is launched this much later, unless the call is repeated
    /// before.
    Late(Span),
}

/// What happens to one listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListTrouble {
    /// It shows only so many instances, and says that it is not complete.
    Incomplete(usize),
    /// It fails for this reason.
    Failed(ErrorKind),
}

/// How an instance comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// Its SSH server answers this long after the launch.
    After(Span),
    /// Its SSH server never answers.
    Never,
    /// It answers after this time, and is not the machine that was launched: another host key.
    WrongHostKey(Span),
    /// It answers after the first span, and is gone without a trace after the second, counted from
    /// the launch.
    Dies(Span, Span),
}
