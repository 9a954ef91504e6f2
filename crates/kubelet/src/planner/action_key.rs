//! [`ActionKey`]: by what actions exclude one another and failures are remembered.

/// What an action is about; no two actions with the same key run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActionKey {
    Volumes,
    NewSandbox,
    Sandbox(String),
    Image(String),
    Start(String),
    Stop(String),
    Resize,
    Remove(String),
    Release,
    Object,
}
