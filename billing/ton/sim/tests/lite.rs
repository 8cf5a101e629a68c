//! The client of lite-servers against the simulated chain's front, and against servers that lie.

#[path = "lite/honest.rs"]
mod honest;
#[path = "lite/lying.rs"]
mod lying;
#[path = "lite/scene.rs"]
mod scene;
