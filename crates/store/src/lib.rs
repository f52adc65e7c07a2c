//! Ordered keys, revisions, watch; backends: memory (the model), embedded (durable).
