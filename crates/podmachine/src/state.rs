//! Where a Pod stands on this node, and the one function that moves it.

/// Where a Pod stands on this node. It only ever moves downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Shall run: is being started, kept, restarted.
    Syncing,
    /// Shall go, has failed or has finished: containers are being stopped.
    Terminating,
    /// No container lives: sandboxes are stopped, volumes and directories removed.
    CleaningUp,
    /// Has ended by itself and is cleaned up; its object stays, and so do its dead containers with their logs.
    Finished,
    /// Its object shall go: dead containers and sandboxes are removed, then the API object.
    Removing,
    /// Nothing is left on the node.
    Gone,
}

/// What is asked of a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Run,
    /// It ended by itself, was refused or evicted, or ran out of time: the object stays.
    End,
    /// Deleted or gone from its source.
    Remove,
}

/// What is left of it on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Left {
    /// A container lives or is just being started.
    Life,
    /// Sandboxes to stop, volumes to unmount.
    Mess,
    /// Dead containers and sandboxes, or the API object.
    Remains,
    Nothing,
}

impl State {
    /// The only way from state to state. Total: every state answers every wish and every remainder.
    pub(crate) fn next(self, wish: Wish, left: Left) -> State {
        match (self, wish, left) {
            (State::Syncing, Wish::Run, _) => State::Syncing,
            (State::Syncing, Wish::End | Wish::Remove, _) => State::Terminating,
            (State::Terminating, _, Left::Life) => State::Terminating,
            (State::Terminating, _, Left::Mess | Left::Remains | Left::Nothing) => State::CleaningUp,
            (State::CleaningUp, _, Left::Life | Left::Mess) => State::CleaningUp,
            (State::CleaningUp, Wish::Remove, Left::Remains | Left::Nothing) => State::Removing,
            (State::CleaningUp, Wish::Run | Wish::End, Left::Remains | Left::Nothing) => State::Finished,
            (State::Finished, Wish::Remove, _) => State::Removing,
            (State::Finished, Wish::Run | Wish::End, _) => State::Finished,
            (State::Removing, _, Left::Life | Left::Mess | Left::Remains) => State::Removing,
            (State::Removing, _, Left::Nothing) => State::Gone,
            (State::Gone, _, _) => State::Gone,
        }
    }
}
