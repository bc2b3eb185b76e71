//! podlab: reads the kernel and says what of an exercise holds, what does not, and why.
