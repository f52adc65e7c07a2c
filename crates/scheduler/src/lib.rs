//! Queue, snapshot, bind; the decision itself is placement.
