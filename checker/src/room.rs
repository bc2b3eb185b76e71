//! The prepared target of the exercise *locked-room*.
