//! The sandbox's own image, made here, so that no registry is needed before the first Pod runs.
//!
//! Upstream's counterpart is `registry.k8s.io/pause`. [`program`] assembles the executable, [`archive`] packs it as
//! an OCI image whose bytes are the same each time. What it does not know: how an image gets into the runtime.

mod archive;
mod program;

pub use archive::archive;
pub(crate) use archive::hex;
pub use program::{Architecture, program};

/// The image's name in the runtime. The number rises with the program.
pub const IMAGE: &str = "everynode.local/pause:1";
