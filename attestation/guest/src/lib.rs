//! Evidence of the machine that this runs in: quotes from the kernel, runtime measurements, GPU evidence.
