//! Evidence of the machine that this runs in: quotes from the kernel, runtime measurements, GPU evidence.
//!
//! Everything here blocks, and asks the kernel or a program that the operator named. Nothing is believed because the
//! host said it: a quote is returned only if it holds the report data that were asked for, a register is extended only
//! from a value that the events explain.
//! Whether a quote is worth anything is not for the machine itself to say; that is the package `attestation`.

pub mod choice;
pub mod configfs;
pub mod device;
pub mod gpu;
pub mod qgs;
pub mod quote;
pub mod register;

#[cfg(test)]
mod testing;
