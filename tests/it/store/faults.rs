//! Sequences over a backend that fails before or after a put took effect.
