//! Renders what the judge said. Never reads the kernel.
